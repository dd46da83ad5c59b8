//! What an operator watches of a node beside its listeners: consensus, ledger, disk, state, and the process.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use coco_governance::secrets;
use coco_kv::Store;
use coco_rpc::metrics::{Ask, Counter, Histogram, Kind, Metrics, Scale};

use crate::handle::Shared;
use crate::shell::outlook::PrimaryClock;

/// What the machines' threads count as they go.
pub struct NodeMetrics {
    /// Of the files of a batch, before anything that depends on them leaves the node.
    pub sync_seconds: Arc<Histogram>,
    pub batch_transactions: Arc<Histogram>,
    /// How late the consensus's clock ticks.
    pub tick_delay: Arc<Histogram>,
    pub transactions: Arc<Counter>,
    pub alarms: Arc<Counter>,
    pub primary_clock: Arc<PrimaryClock>,
}

impl NodeMetrics {
    /// `clock` tells milliseconds since 1970.
    pub fn register(metrics: &Metrics, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self {
            sync_seconds: metrics.histogram(
                "coco_disk_sync_duration_seconds",
                "Syncs of ledger and consensus log.",
                &[],
                Scale::Seconds,
            ),
            tick_delay: metrics.histogram(
                "coco_tick_delay_seconds",
                "How late the consensus's clock ticks, by which heartbeats leave.",
                &[],
                Scale::Seconds,
            ),
            batch_transactions: metrics.histogram(
                "coco_batch_transactions",
                "Transactions in a committed batch, its signature included.",
                &[],
                Scale::Count,
            ),
            transactions: metrics.counter("coco_transactions_committed", "Transactions made visible here.", &[]),
            alarms: metrics.counter("coco_alarms", "Views whose primary contradicted this replica.", &[]),
            primary_clock: Arc::new(PrimaryClock::new(clock)),
        }
    }

    /// A batch became visible.
    pub fn note_batch(&self, transactions: usize) {
        self.batch_transactions.observe(transactions as u64);
        self.transactions.add(transactions as u64);
    }
}

/// Registers what is known elsewhere and only asked for.
pub fn register_asked(metrics: &Metrics, shared: &Arc<Shared>, store: &Store) {
    let gauge = |name, help, ask: fn(&Shared) -> f64| {
        let shared = Arc::clone(shared);
        metrics.asked(Kind::Gauge, name, help, &[], Box::new(move || Some(ask(&shared))));
    };
    gauge("coco_view", "The view of consensus.", |node| node.standing.read().view.0 as f64);
    gauge("coco_is_primary", "1 on the primary.", |node| f64::from(u8::from(node.standing.read().is_primary)));
    gauge("coco_has_primary", "1 while a primary is known.", |node| {
        f64::from(u8::from(node.standing.read().primary.is_some()))
    });
    gauge("coco_voters", "Replicas that vote.", |node| node.standing.read().voters.len() as f64);
    gauge("coco_replicas_answering", "On the primary: replicas heard of lately.", |node| {
        node.standing.read().answering.len() as f64
    });
    gauge("coco_caught_up", "1 when all that is committed, as far as the primary has said, is applied.", |node| {
        f64::from(u8::from(node.standing.read().caught_up))
    });
    gauge("coco_committed_seqno", "The newest transaction that readers see.", |node| {
        node.visible.txid().seqno.0 as f64
    });
    gauge(
        "coco_rekey_owed",
        "1 while a removed node or holder knows the ledger secret, as too few hold shares.",
        |node| f64::from(u8::from(matches!(secrets::owed_since(&mut node.visible.state()), Ok(Some(_))))),
    );
    gauge("coco_ledger_seqno", "The newest transaction in the ledger files, committed or not.", |node| {
        node.ledger.last_seqno().0 as f64
    });
    let gauge = |name, help, ask: fn(&Store) -> f64| {
        let store = store.clone();
        metrics.asked(Kind::Gauge, name, help, &[], Box::new(move || Some(ask(&store))));
    };
    gauge("coco_state_keys", "Keys of the live state.", |store| store.len() as f64);
    gauge("coco_state_bytes", "Estimated memory of the live state.", |store| store.memory_bytes() as f64);
    gauge("coco_state_older_versions", "Superseded versions kept for readers.", |store| store.older_versions() as f64);
    register_process(metrics);
}

/// The names that Prometheus gives every exporter's process. Linux only; elsewhere they are absent.
fn register_process(metrics: &Metrics) {
    let add = |kind, name, help, ask: fn() -> Option<f64>| metrics.asked(kind, name, help, &[], Box::new(ask) as Ask);
    add(Kind::Counter, "process_cpu_seconds", "User and system time.", || cpu_time().map(|time| time.as_secs_f64()));
    add(Kind::Gauge, "process_resident_memory_bytes", "Resident memory.", resident_bytes);
    add(Kind::Gauge, "process_open_fds", "Open file descriptors.", || {
        Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
    });
}

/// Fields 14 and 15 of `/proc/self/stat` (proc(5)), in hundredths of a second, after the command's name in parentheses.
fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_in_both_places_and_the_process_tells_of_itself() {
        let metrics = Metrics::new();
        let node = NodeMetrics::register(&metrics, Arc::new(|| 0));
        node.note_batch(3);
        register_process(&metrics);
        let text = metrics.render();
        assert!(text.contains("coco_transactions_committed_total 3\n"), "{text}");
        assert!(text.contains("coco_batch_transactions_count 1\n"), "{text}");
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name}: {text}");
        }
    }
}
