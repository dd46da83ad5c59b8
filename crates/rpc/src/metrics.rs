//! Counters, gauges and histograms, and their OpenMetrics text.
//!
//! Updating one is a relaxed atomic operation on an object that its owner holds, so that the hottest path can afford it; only
//! registering and reading take a lock. What somebody else keeps count of already is asked for when the text is made. Names
//! begin with `coco_` (`process_` for what every exporter has), are constants, and carry their unit last.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a process.
#[derive(Default)]
pub struct Metrics {
    families: Mutex<Vec<Family>>,
}

/// Only grows.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

/// Goes up and down.
#[derive(Default, Debug)]
pub struct Gauge(AtomicI64);

/// How observed values are spread over fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    /// One per bound, and one for what is above them all.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// What the integers of a histogram mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Microseconds, shown in seconds: 50 µs to 30 s.
    Seconds,
    /// Plain numbers, in powers of four up to 2^24.
    Count,
}

struct Family {
    name: &'static str,
    help: &'static str,
    series: Vec<(String, Series)>,
}

enum Series {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Histogram(Arc<Histogram>),
    Asked(Kind, Ask),
}

/// Gives a value when the text is made; `None` shows nothing.
pub type Ask = Box<dyn Fn() -> Option<f64> + Send + Sync>;

/// What an asked value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// `name` without the suffix `_total`, which the text adds.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        self.add(name, help, labels, Series::Counter(Arc::clone(&counter)));
        counter
    }

    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        self.add(name, help, labels, Series::Gauge(Arc::clone(&gauge)));
        gauge
    }

    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        scale: Scale,
    ) -> Arc<Histogram> {
        let counts = (0..=scale.bounds().len()).map(|_| AtomicU64::new(0)).collect();
        let histogram = Arc::new(Histogram { scale, counts, sum: AtomicU64::new(0) });
        self.add(name, help, labels, Series::Histogram(Arc::clone(&histogram)));
        histogram
    }

    /// A value that is asked for. `ask` must be quick and must not register anything.
    pub fn asked(&self, kind: Kind, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], ask: Ask) {
        self.add(name, help, labels, Series::Asked(kind, ask));
    }

    /// The OpenMetrics text of everything registered.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8 << 10);
        for family in self.families.lock().iter() {
            family.render(&mut text);
        }
        text.push_str("# EOF\n");
        text
    }

    /// Registers a series. Registering the same name and labels again replaces the older one: a listener may be restarted.
    fn add(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], series: Series) {
        let of_process = name.starts_with("process_");
        debug_assert!(
            (name.starts_with("coco_") || of_process) && !name.ends_with("_total"),
            "{name}: see the module's rules"
        );
        let labels = rendered(labels);
        let mut families = self.families.lock();
        let index = families.iter().position(|family| family.name == name).unwrap_or_else(|| {
            families.push(Family { name, help, series: Vec::new() });
            families.len() - 1
        });
        let family = &mut families[index];
        match family.series.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, old)) => *old = series,
            None => family.series.push((labels, series)),
        }
    }
}

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub fn add(&self, difference: i64) {
        self.0.fetch_add(difference, Ordering::Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// In microseconds for [`Scale::Seconds`].
    pub fn observe(&self, value: u64) {
        let slot = self.scale.bounds().partition_point(|bound| *bound < value);
        self.counts[slot].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// For [`Scale::Seconds`].
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
}

impl Scale {
    fn bounds(self) -> &'static [u64] {
        match self {
            Self::Seconds => &[
                50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
                2_500_000, 5_000_000, 10_000_000, 30_000_000,
            ],
            Self::Count => &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24],
        }
    }

    /// As text; floating point would print some bounds with stray digits.
    fn show(self, value: u64) -> String {
        match self {
            Self::Seconds => format!("{}.{:06}", value / 1_000_000, value % 1_000_000),
            Self::Count => value.to_string(),
        }
    }
}

impl Family {
    fn render(&self, text: &mut String) {
        let kind = match self.series.first() {
            Some((_, Series::Counter(_) | Series::Asked(Kind::Counter, _))) => "counter",
            Some((_, Series::Gauge(_) | Series::Asked(Kind::Gauge, _))) => "gauge",
            Some((_, Series::Histogram(_))) => "histogram",
            None => return,
        };
        let name = self.name;
        let mut write = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("writing to a string");
        write(format_args!("# TYPE {name} {kind}\n# HELP {name} {}\n", self.help.replace('\\', "\\\\")));
        for (labels, series) in &self.series {
            match series {
                Series::Counter(counter) => write(format_args!("{name}_total{} {}\n", braced(labels), counter.value())),
                Series::Gauge(gauge) => write(format_args!("{name}{} {}\n", braced(labels), gauge.value())),
                Series::Histogram(histogram) => histogram.render(name, labels, &mut write),
                Series::Asked(kind, ask) => {
                    let suffix = if *kind == Kind::Counter { "_total" } else { "" };
                    if let Some(value) = ask() {
                        write(format_args!("{name}{suffix}{} {value}\n", braced(labels)));
                    }
                }
            }
        }
    }
}

impl Histogram {
    fn render(&self, name: &str, labels: &str, write: &mut dyn FnMut(std::fmt::Arguments<'_>)) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let bound = self.scale.bounds().get(index).map_or("+Inf".to_owned(), |bound| self.scale.show(*bound));
            write(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}\n"));
        }
        let sum = self.scale.show(self.sum.load(Ordering::Relaxed));
        write(format_args!("{name}_count{} {below}\n{name}_sum{} {sum}\n", braced(labels), braced(labels)));
    }
}

fn rendered(labels: &[(&'static str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let parts: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    parts.join(",")
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_open_metrics() {
        let metrics = Metrics::new();
        metrics.counter("coco_things", "Things seen.", &[("kind", "a\"b")]).add(3);
        metrics.gauge("coco_depth", "Depth now.", &[]).set(7);
        let expected = "# TYPE coco_things counter\n# HELP coco_things Things seen.\n\
                        coco_things_total{kind=\"a\\\"b\"} 3\n\
                        # TYPE coco_depth gauge\n# HELP coco_depth Depth now.\ncoco_depth 7\n# EOF\n";
        assert_eq!(metrics.render(), expected);
    }

    #[test]
    fn a_value_is_asked_for_when_the_text_is_made() {
        let metrics = Metrics::new();
        let depth = Arc::new(Gauge::default());
        let asked = Arc::clone(&depth);
        metrics.asked(Kind::Gauge, "coco_asked", "A.", &[], Box::new(move || Some(asked.value() as f64)));
        metrics.asked(Kind::Counter, "process_cpu_seconds", "B.", &[], Box::new(|| Some(0.25)));
        metrics.asked(Kind::Gauge, "coco_untold", "C.", &[], Box::new(|| None));
        depth.set(9);
        let text = metrics.render();
        assert!(text.contains("# TYPE coco_asked gauge\n# HELP coco_asked A.\ncoco_asked 9\n"), "{text}");
        assert!(text.contains("process_cpu_seconds_total 0.25\n") && !text.contains("\ncoco_untold "), "{text}");
    }

    #[test]
    fn a_histogram_counts_cumulatively_and_in_seconds() {
        let metrics = Metrics::new();
        let histogram = metrics.histogram("coco_wait_seconds", "Waiting.", &[("of", "x")], Scale::Seconds);
        histogram.observe_duration(Duration::from_micros(100));
        histogram.observe_duration(Duration::from_secs(60));
        let text = metrics.render();
        assert!(text.contains("coco_wait_seconds_bucket{of=\"x\",le=\"0.000050\"} 0\n"), "{text}");
        assert!(text.contains("coco_wait_seconds_bucket{of=\"x\",le=\"0.000100\"} 1\n"), "{text}");
        assert!(text.contains("coco_wait_seconds_bucket{of=\"x\",le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("coco_wait_seconds_sum{of=\"x\"} 60.000100\n"), "{text}");
    }

    #[test]
    fn series_of_one_name_form_one_family_and_registering_again_replaces() {
        let metrics = Metrics::new();
        metrics.counter("coco_x", "X.", &[("l", "1")]).add(1);
        metrics.counter("coco_x", "X.", &[("l", "2")]).add(2);
        metrics.counter("coco_x", "X.", &[("l", "1")]).add(5);
        let text = metrics.render();
        assert_eq!(text.matches("# TYPE").count(), 1);
        assert!(text.contains("coco_x_total{l=\"1\"} 5\n") && text.contains("coco_x_total{l=\"2\"} 2\n"));
    }
}
