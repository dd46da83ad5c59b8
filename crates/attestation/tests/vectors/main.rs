//! Evidence recorded from real hardware, by others: each file gets the outcome that its origin states, at the time that it states.
//!
//! The recordings are not part of this repository. Where they are absent the tests say so and pass.

mod attested_service;
mod azure;
mod cca;
mod dcap;
mod nitro;
mod snp;

use std::path::PathBuf;

use coco_attestation::{Anchors, Root, Trust};

/// The bytes of a recording; `None`, said aloud, if there are none here.
fn recorded(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/attestation");
    if !folder.exists() {
        eprintln!("skipped: no recorded evidence at {}", folder.display());
        return None;
    }
    let path = folder.join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The vendors' roots. There are no recorded revocation lists of AMD.
fn trust() -> Trust {
    let crl_optional = [Root::AmdMilan, Root::AmdGenoa, Root::AmdTurin].into();
    Trust { anchors: Anchors::vendors(), crl_optional, ..Trust::default() }
}

/// Midnight, in Unix seconds.
fn day(year: u64, month: u64, day: u64) -> u64 {
    let (y, m) = if month <= 2 { (year - 1, month + 12) } else { (year, month) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * (m - 3) + 2) / 5 + day - 719_469;
    days * 86_400
}

#[test]
fn days_are_counted_from_1970() {
    assert_eq!(day(1970, 1, 1), 0);
    assert_eq!(day(2026, 3, 1), 1_772_323_200);
}
