//! What fuzz targets share.
//!
//! A decoder of signed evidence refuses nearly every random input at its first check. So half of the inputs are not bytes to decode but
//! *edits* of genuine evidence, minted by a PKI that exists for tests: they arrive at the checks behind the signatures.

mod answering;
pub mod node;
pub mod raft_log;
pub mod script;
/// The small service that the ledger's own tests write their ledgers with.
#[path = "../../crates/ledger/tests/fixture/mod.rs"]
pub mod service;

use std::hint::black_box;
use std::time::{Duration, Instant};

use coco_attestation::collateral::CollateralItem;
use coco_attestation::{Anchors, Aux, Evidence, ReportData, TeeKind, Trust, examine};

pub use answering::Answering;

/// When minted evidence is judged.
pub const AT: u64 = 1_790_000_000;
pub const DATA: ReportData = ReportData([0x42; 64]);
pub const CODE: [u8; 48] = [0xc0; 48];

/// No input may take longer than this.
const SLOWEST: Duration = Duration::from_millis(50);
/// A busy machine interrupts a run; it does not interrupt every one.
const ATTEMPTS: usize = 5;
const EDITS_MAX: usize = 256;
const EDIT_BYTES: usize = 5;

/// Genuine evidence of one kind, and what a verifier needs to accept it.
pub struct Sample {
    pub evidence: Evidence,
    pub trust: Trust,
}

impl Sample {
    /// `trust` adds the anchors, `items` is the collateral.
    pub fn new(evidence: Evidence, trust: impl Fn(&mut Anchors), items: Vec<CollateralItem>) -> Self {
        let mut anchors = Anchors::vendors();
        trust(&mut anchors);
        let mut all = Trust { anchors, ..Trust::default() };
        items.into_iter().for_each(|item| all.collateral.insert(item).expect("minted collateral is well-formed"));
        let sample = Self { evidence, trust: all };
        examine(&sample.evidence, &sample.trust, AT).expect("minted evidence is genuine");
        sample
    }
}

/// Judges one input as evidence of this kind: the first byte says whether it is raw bytes or edits of the sample.
pub fn judge(kind: TeeKind, sample: &Sample, input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else { return };
    let evidence = if mode & 1 == 0 { raw(kind, rest) } else { edited(&sample.evidence, rest) };
    in_time(|| {
        black_box(examine(&evidence, &sample.trust, AT).is_ok());
    });
}

/// Runs it, and fails if it cannot be done in time: of this thread's own on a processor, since a busy machine shares them out.
pub fn in_time(work: impl Fn()) {
    let slow = |_| {
        let (start, spent) = (Instant::now(), on_processor());
        work();
        // The kernel's count lags by up to a tick; it is asked only when the clock already says that it was long.
        start.elapsed() > SLOWEST && on_processor().saturating_sub(spent) > SLOWEST
    };
    assert!(!(0..ATTEMPTS).all(slow), "this input takes more than {SLOWEST:?} each of {ATTEMPTS} times");
}

fn on_processor() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counts.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// The first two bytes say how much of the rest is the evidence itself; what is left stands for everything beside it.
fn raw(kind: TeeKind, input: &[u8]) -> Evidence {
    let (length, rest) = input.split_at(input.len().min(2));
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (raw, beside) = rest.split_at(length.min(rest.len()));
    let bare = Evidence::bare(kind, raw.to_vec());
    Aux::ALL.into_iter().fold(bare, |evidence, part| evidence.with(part, beside.to_vec()))
}

/// Each edit: which part, where (two bytes), what to do, and one byte to do it with.
fn edited(genuine: &Evidence, edits: &[u8]) -> Evidence {
    let mut evidence = genuine.clone();
    for edit in edits.chunks_exact(EDIT_BYTES).take(EDITS_MAX) {
        let parts = evidence.aux.len() + 1;
        let bytes = match usize::from(edit[0]) % parts {
            0 => &mut evidence.raw,
            n => evidence.aux.values_mut().nth(n - 1).expect("there are as many parts"),
        };
        apply(edit, bytes);
    }
    evidence
}

/// The same of bytes that have no parts.
pub fn edit(bytes: &mut Vec<u8>, edits: &[u8]) {
    edits.chunks_exact(EDIT_BYTES).take(EDITS_MAX).for_each(|edit| apply(edit, bytes));
}

fn apply(edit: &[u8], bytes: &mut Vec<u8>) {
    let &[_, high, low, how, byte] = edit else { return };
    let at = usize::from(u16::from_be_bytes([high, low]));
    match how % 5 {
        0 if at < bytes.len() => bytes[at] = byte,
        1 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
        2 if at <= bytes.len() => bytes.insert(at, byte),
        3 if at < bytes.len() => drop(bytes.drain(at..bytes.len().min(at + usize::from(byte)))),
        4 => bytes.truncate(at),
        _ => {}
    }
}
