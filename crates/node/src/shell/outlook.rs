//! What operators should see coming: a disk that fills up, a clock that is off, a ledger whose beginning is not here.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use coco_rpc::metrics::{Kind, Metrics};
use coco_types::TxId;
use parking_lot::Mutex;

use crate::handle::Shared;

/// A forecast is made from as much of the past, if it is there, and from no less than a sixtieth of it.
const PAST: Duration = Duration::from_secs(3_600);
const PAST_LEAST: Duration = Duration::from_secs(60);
/// Between two samples that are kept.
const SAMPLE: Duration = Duration::from_secs(10);
/// A primary's clock that is off by more is told of, at most so often.
const OFFSET_S: i64 = 5;
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How far the primary's clock is ahead of this node's, by the time that it signed the newest batch at. Seconds.
pub struct PrimaryClock {
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    offset_s: AtomicI64,
    told: Mutex<Option<Instant>>,
}

impl PrimaryClock {
    pub fn new(now_ms: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self { now_ms, offset_s: AtomicI64::new(0), told: Mutex::new(None) }
    }

    /// A batch that has just come from the primary was signed then, by its clock. What is read again later says nothing.
    pub fn signed_at(&self, signed_s: u64) {
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let offset_s = whole(signed_s).saturating_sub(whole((self.now_ms)() / 1000));
        self.offset_s.store(offset_s, Ordering::Relaxed);
        let mut told = self.told.lock();
        if offset_s.abs() > OFFSET_S && told.is_none_or(|at| at.elapsed() > TELL_AGAIN) {
            *told = Some(Instant::now());
            tracing::warn!(
                offset_s,
                "the primary signed a batch at a time that this node's clock does not show: one of the clocks is off, or this node lags"
            );
        }
    }
}

/// Free space, over time.
#[derive(Default)]
struct Room {
    samples: VecDeque<(Instant, u64)>,
}

impl Room {
    fn note(&mut self, now: Instant, free: u64) {
        if self.samples.back().is_some_and(|(at, _)| now.duration_since(*at) < SAMPLE) {
            return;
        }
        while self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > PAST) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, free));
    }

    /// Until nothing is left, if it goes on as it went; `None` while nothing is lost, or too little is known.
    fn full_in(&self, now: Instant, free: u64) -> Option<Duration> {
        let (began, before) = *self.samples.front()?;
        let past = now.duration_since(began);
        let lost = before.checked_sub(free).filter(|lost| *lost > 0)?;
        (past >= PAST_LEAST).then(|| Duration::from_secs_f64(past.as_secs_f64() * free as f64 / lost as f64))
    }
}

pub fn register(metrics: &Metrics, shared: &Arc<Shared>, clock: &Arc<PrimaryClock>, folder: &Path) {
    let room = Arc::new(Mutex::new(Room::default()));
    let (sampled, path, folder) = (room.clone(), folder.to_owned(), folder.to_owned());
    let free = Box::new(move || {
        let free = free_bytes(&path)?;
        sampled.lock().note(Instant::now(), free);
        Some(free as f64)
    });
    metrics.asked(Kind::Gauge, "coco_disk_free_bytes", "Room left on the disk of this node's folder.", &[], free);
    let forecast = Box::new(move || {
        let free = free_bytes(&folder)?;
        room.lock().full_in(Instant::now(), free).map(|left| left.as_secs_f64())
    });
    let help = "Until that disk is full, if it goes on as in the last hour; absent while nothing is lost.";
    metrics.asked(Kind::Gauge, "coco_disk_full_in_seconds", help, &[], forecast);
    let offset = clock.clone();
    let help = "How far the primary's clock is ahead of this node's, as its newest signature says.";
    let ask = Box::new(move || Some(offset.offset_s.load(Ordering::Relaxed) as f64));
    metrics.asked(Kind::Gauge, "coco_primary_clock_offset_seconds", help, &[], ask);
    let node = shared.clone();
    let help = "1 when the ledger here begins with its first transaction: only then may others that have it go.";
    let whole = Box::new(move || Some(f64::from(u8::from(node.ledger.base() == TxId::default()))));
    metrics.asked(Kind::Gauge, "coco_ledger_whole", help, &[], whole);
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_loses_room_is_full_when_the_rest_is_gone_at_that_pace() {
        let (mut room, began) = (Room::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        room.note(at(0), 1_000);
        assert_eq!(room.full_in(at(30), 900), None, "too little is known");
        assert_eq!(room.full_in(at(100), 900), Some(Duration::from_secs(900)));
        assert_eq!(room.full_in(at(100), 1_000), None, "nothing is lost");
        // What is older than an hour counts no more.
        room.note(at(200), 800);
        room.note(at(3_700), 700);
        assert_eq!(room.full_in(at(3_700), 700), Some(Duration::from_secs(24_500)));
    }

    #[test]
    fn the_room_of_a_folder_and_of_none() {
        assert!(free_bytes(&std::env::temp_dir()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn a_primary_that_signs_in_the_future_or_the_past_is_told_of_by_how_much() {
        let clock = PrimaryClock::new(Arc::new(|| 1_000_000));
        for (signed_s, offset_s) in [(1_010, 10), (990, -10), (u64::MAX, i64::MAX - 1_000)] {
            clock.signed_at(signed_s);
            assert_eq!(clock.offset_s.load(Ordering::Relaxed), offset_s);
        }
    }
}
