//! Ledger time: the host's clock, made never to go back.
//!
//! A clock that is set back would stop everything that waits for a time, such as a batch that is due, until it has come as far again.
//! This one goes on at half the pace instead, until the host's has caught up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// See the module's text.
pub struct Clock {
    /// What was last told, and when.
    told: Mutex<(u64, Instant)>,
}

impl Clock {
    pub fn new() -> Self {
        Self { told: Mutex::new((host_ms(), Instant::now())) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.after(host_ms(), Instant::now())
    }

    fn after(&self, host_ms: u64, now: Instant) -> u64 {
        let mut told = self.told.lock();
        let (last_ms, at) = *told;
        if host_ms > last_ms {
            *told = (host_ms, now);
            return host_ms;
        }
        let slow_ms = u64::try_from(now.saturating_duration_since(at).as_millis() / 2).unwrap_or(0);
        // What does not make a millisecond yet counts the next time.
        *told = (last_ms.saturating_add(slow_ms), at + Duration::from_millis(2 * slow_ms));
        told.0
    }
}

fn host_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_clock_that_is_set_back_slows_time_down_and_stops_nothing() {
        let start = Instant::now();
        let clock = Clock { told: Mutex::new((10_000, start)) };
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.after(10_100, at(100)), 10_100);
        for ms in 101..200 {
            assert_eq!(clock.after(5_000 + ms, at(ms)), 10_100 + (ms - 100) / 2);
        }
        assert_eq!(clock.after(10_200, at(300)), 10_200);
    }

    #[test]
    fn time_that_is_asked_for_often_passes_all_the_same() {
        let start = Instant::now();
        let clock = Clock { told: Mutex::new((10_000, start)) };
        let mut last = 0;
        for tenth in 0..=100 {
            last = clock.after(0, start + Duration::from_micros(100 * tenth));
        }
        assert_eq!(last, 10_005);
    }
}
