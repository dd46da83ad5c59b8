//! `coco bench recovery`: how many senders this machine recovers from their signatures, and nothing else.
//!
//! Each Ethereum transaction takes one recovery, whoever executes it: with this library, the same as nodes use, no server on this machine
//! does more transactions than that.

use std::fmt;
use std::num::NonZero;
use std::thread;
use std::time::Instant;

use alloy_primitives::{B256, keccak256};
use anyhow::{Context, anyhow, ensure};
use clap::Args;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};
use serde::Serialize;

use crate::accounts::{self, Account, DEV_MNEMONIC};
use crate::bench::cpu;
use crate::output::Output;

/// Signed beforehand; recovered again and again.
const SIGNATURES: usize = 1_000;

/// Measure the recovery of senders from signatures alone, which bounds every Ethereum server
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Recoveries in all
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    count: u32,
    /// Threads that recover [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    threads: Option<u32>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    threads: usize,
    recoveries: usize,
    seconds: f64,
    recoveries_per_second: f64,
    cpu_microseconds_each: f64,
}

struct Signed {
    digest: B256,
    recovery: RecoveryId,
    compact: [u8; 64],
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let signer = accounts::derive(DEV_MNEMONIC, 1)?.pop().context("the mnemonic has an account")?;
    let signed = (0..SIGNATURES).map(|number| sign(&signer, number)).collect::<anyhow::Result<Vec<Signed>>>()?;
    let threads = match options.threads {
        Some(threads) => usize::try_from(threads)?,
        None => thread::available_parallelism().map_or(1, NonZero::get),
    };
    let share = usize::try_from(options.count)?.div_ceil(threads);
    let (cpu, started) = (cpu::used_by_self()?, Instant::now());
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads).map(|_| scope.spawn(|| recover(&signed, &signer, share))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a lane panicked"))?)
    })?;
    let (seconds, recoveries) = (started.elapsed().as_secs_f64(), share * threads);
    let cpu = cpu::used_by_self()?.saturating_sub(cpu).as_secs_f64();
    output.print(&Report {
        threads,
        recoveries,
        seconds,
        recoveries_per_second: recoveries as f64 / seconds,
        cpu_microseconds_each: cpu * 1e6 / recoveries as f64,
    })
}

fn sign(signer: &Account, number: usize) -> anyhow::Result<Signed> {
    let digest = keccak256(number.to_be_bytes());
    let signature = signer.sign(&digest);
    let mut compact = [0; 64];
    let (r, s) = compact.split_at_mut(32);
    r.copy_from_slice(&signature.r().to_be_bytes::<32>());
    s.copy_from_slice(&signature.s().to_be_bytes::<32>());
    Ok(Signed { digest, recovery: RecoveryId::try_from(i32::from(signature.v()))?, compact })
}

/// From the bytes of a signature to the sender's address, so many times.
fn recover(signed: &[Signed], signer: &Account, count: usize) -> anyhow::Result<()> {
    for signed in signed.iter().cycle().take(count) {
        let signature = RecoverableSignature::from_compact(&signed.compact, signed.recovery)?;
        let key = SECP256K1.recover_ecdsa(&Message::from_digest(signed.digest.0), &signature)?;
        let [_, point @ ..] = key.serialize_uncompressed();
        ensure!(keccak256(point)[12..] == signer.address[..], "somebody else was recovered");
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} a second: {} recoveries in {:.2} s on {} threads; {:.1} µs of CPU each",
            self.recoveries_per_second, self.recoveries, self.seconds, self.threads, self.cpu_microseconds_each
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_gives_its_signer_and_nobody_else() {
        let accounts = accounts::derive(DEV_MNEMONIC, 2).unwrap();
        let signed = [sign(&accounts[0], 1).unwrap()];
        recover(&signed, &accounts[0], 3).unwrap();
        assert!(recover(&signed, &accounts[1], 1).is_err());
    }
}
