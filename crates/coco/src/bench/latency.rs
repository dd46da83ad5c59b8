//! Percentiles of latencies.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What users feel, milliseconds: half, a tenth and a hundredth of the requests took longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
}

impl Percentiles {
    /// Of these samples, in any order; zeros if there are none.
    pub fn of(samples: &mut [Duration]) -> Self {
        samples.sort_unstable();
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
            samples.get(rank).map_or(0.0, |sample| (sample.as_secs_f64() * 1e5).round() / 100.0)
        };
        Self { p50_ms: at(50), p90_ms: at(90), p99_ms: at(99) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms", self.p50_ms, self.p90_ms, self.p99_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_that_occurred() {
        let mut samples: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(Percentiles::of(&mut samples), Percentiles { p50_ms: 50.0, p90_ms: 90.0, p99_ms: 99.0 });
        let mut one = [Duration::from_millis(7)];
        assert_eq!(Percentiles::of(&mut one), Percentiles { p50_ms: 7.0, p90_ms: 7.0, p99_ms: 7.0 });
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }
}
