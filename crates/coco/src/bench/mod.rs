//! Load generators and how they measure.

pub mod cpu;
pub mod ethereum;
pub mod latency;
pub mod memory;
pub mod progress;
pub mod records;
pub mod recovery;
pub mod sawtooth;
pub mod streams;
