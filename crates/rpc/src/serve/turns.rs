//! Whose job is next: one of the asker who has had the least time.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng 1996), by the time that jobs took, since nobody knows it before. Who comes, or comes back, stands shortly before
//! where equal shares would have brought everybody by now: of the time that one did not want a little is saved up, so that who asks for little is served at once, and time
//! that nobody else wanted is not paid for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Whose jobs are done in turn with those of others.
pub(crate) type Asker = IpAddr;

/// The node itself.
pub(crate) const OWN: Asker = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// How much of their shares those may save up who want less.
const SAVED_MAX: Duration = Duration::from_millis(50);

/// What waits: each asker's jobs in order, the askers in turn.
pub(super) struct Turns<J> {
    lines: BTreeMap<Asker, Line<J>>,
    /// Who has a job that may begin, by the time had.
    ready: BTreeSet<(Duration, Asker)>,
    /// Who has none at all and is remembered for having had more than a share.
    resting: BTreeSet<(Duration, Asker)>,
    /// What equal shares come to.
    share: Duration,
    running: usize,
    of_one_max: usize,
}

struct Line<J> {
    jobs: VecDeque<J>,
    running: usize,
    had: Duration,
}

impl<J> Turns<J> {
    /// Of one asker, at most `of_one_max` jobs run at a time.
    pub(super) fn new(of_one_max: usize) -> Self {
        Self {
            lines: BTreeMap::new(),
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            share: Duration::ZERO,
            running: 0,
            of_one_max: of_one_max.max(1),
        }
    }

    /// How many of an asker's jobs wait.
    pub(super) fn waiting(&self, asker: Asker) -> usize {
        self.lines.get(&asker).map_or(0, |line| line.jobs.len())
    }

    pub(super) fn push(&mut self, asker: Asker, job: J) {
        let had = self.newcomers_had();
        let line = self.lines.entry(asker).or_insert_with(|| Line { jobs: VecDeque::new(), running: 0, had });
        self.resting.remove(&(line.had, asker));
        line.jobs.push_back(job);
        if line.running < self.of_one_max {
            self.ready.insert((line.had, asker));
        }
    }

    /// The oldest job of the asker whose turn it is; [`Turns::done`] has to follow.
    pub(super) fn take(&mut self) -> Option<(Asker, J)> {
        let (had, asker) = self.ready.pop_first()?;
        let line = self.lines.get_mut(&asker).expect("who is ready has a line");
        let job = line.jobs.pop_front().expect("who is ready has a job");
        line.running += 1;
        self.running += 1;
        if line.running < self.of_one_max && !line.jobs.is_empty() {
            self.ready.insert((had, asker));
        }
        Some((asker, job))
    }

    /// One of the asker's jobs ended, after so much time. Tells whether that lets another one begin.
    pub(super) fn done(&mut self, asker: Asker, took: Duration) -> bool {
        let busy = self.lines.len() - self.resting.len();
        self.share += took / u32::try_from(busy).unwrap_or(u32::MAX);
        let line = self.lines.get_mut(&asker).expect("who has a job running has a line");
        let was_ready = self.ready.remove(&(line.had, asker));
        line.running -= 1;
        line.had += took;
        self.running -= 1;
        let is_ready = !line.jobs.is_empty();
        if is_ready {
            self.ready.insert((line.had, asker));
        } else if line.running == 0 {
            self.resting.insert((line.had, asker));
        }
        self.forget();
        is_ready && !was_ready
    }

    /// Who rests and stands no worse than a newcomer; everybody, once nothing is left to do.
    fn forget(&mut self) {
        let (idle, newcomers_had) = (self.running == 0 && self.ready.is_empty(), self.newcomers_had());
        while let Some((_, asker)) = self.resting.first().filter(|(had, _)| idle || *had <= newcomers_had) {
            self.lines.remove(asker);
            self.resting.pop_first();
        }
        if idle {
            self.share = Duration::ZERO;
        }
    }

    /// Where those stand who are not remembered.
    fn newcomers_had(&self) -> Duration {
        self.share.saturating_sub(SAVED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LONG: Asker = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
    const SHORT: Asker = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    const MS: Duration = Duration::from_millis(1);

    /// One thread does the next job, which takes as many milliseconds as it says.
    fn step(turns: &mut Turns<u32>) -> (Asker, u32) {
        let (asker, took_ms) = turns.take().expect("a job waits");
        turns.done(asker, MS * took_ms);
        (asker, took_ms)
    }

    #[test]
    fn who_asks_for_long_jobs_gets_no_more_time_than_who_asks_for_short_ones() {
        let mut turns = Turns::new(1);
        for _ in 0..100 {
            turns.push(LONG, 50);
        }
        let (mut of_long, mut of_short) = (0, 0);
        for _ in 0..1_000 {
            turns.push(SHORT, 1);
        }
        for _ in 0..510 {
            let (asker, took_ms) = step(&mut turns);
            *if asker == LONG { &mut of_long } else { &mut of_short } += took_ms;
        }
        assert_eq!((of_long, of_short), (500, 500));
    }

    #[test]
    fn who_comes_while_others_wait_with_long_jobs_is_next_and_is_so_again() {
        let others = (3..9).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        let mut turns = Turns::new(1);
        for other in others {
            (0..10).for_each(|_| turns.push(other, 50));
        }
        for _ in 0..6 {
            step(&mut turns);
        }
        for _ in 0..20 {
            turns.push(SHORT, 1);
            assert_eq!(step(&mut turns), (SHORT, 1));
        }
        assert_ne!(step(&mut turns).0, SHORT, "nothing of it waits");
    }

    #[test]
    fn newcomers_without_end_do_not_keep_away_who_has_had_more() {
        let mut turns = Turns::new(1);
        turns.push(LONG, 50);
        turns.push(SHORT, 1);
        step(&mut turns);
        turns.push(LONG, 50);
        let served = (0..1_000u32).map(|number| {
            turns.push(IpAddr::V6(Ipv6Addr::from_bits(number.into())), 10);
            step(&mut turns).0
        });
        let before = served.into_iter().position(|asker| asker == LONG);
        assert!(before.is_some_and(|before| before < 40), "{before:?}");
        assert!(turns.lines.len() < 50, "{} are remembered", turns.lines.len());
    }

    #[test]
    fn of_one_asker_no_more_run_at_a_time_than_may_and_the_others_jobs_begin() {
        let mut turns = Turns::new(2);
        for number in 0..4 {
            turns.push(LONG, number);
        }
        let first = [turns.take(), turns.take(), turns.take()];
        assert_eq!(first, [Some((LONG, 0)), Some((LONG, 1)), None]);
        turns.push(SHORT, 9);
        assert_eq!(turns.take(), Some((SHORT, 9)));
        turns.push(LONG, 4);
        assert_eq!(turns.take(), None);
        assert!(turns.done(LONG, MS), "another one may begin");
        assert_eq!(turns.take(), Some((LONG, 2)));
    }

    #[test]
    fn nobody_is_remembered_once_nothing_is_left_to_do() {
        let mut turns = Turns::new(2);
        for asker in [LONG, SHORT, LONG] {
            turns.push(asker, 5);
        }
        assert_eq!((turns.waiting(LONG), turns.waiting(SHORT)), (2, 1));
        for _ in 0..3 {
            step(&mut turns);
        }
        assert!(turns.lines.is_empty() && turns.resting.is_empty() && turns.ready.is_empty());
        assert_eq!(turns.share, Duration::ZERO);
    }
}
