//! The two devices that give evidence by `ioctl` only: AMD's guest device and AWS's security module.
//!
//! What is asked and what is answered are bytes here; `coco_attestation::sources` knows what they mean. So the only file of Coco that may be
//! `unsafe`, [`ioctl`], moves buffers in and out of the kernel and does nothing else. It was never run against either device.

mod ioctl;

pub use ioctl::{SevGuestAnswer, nsm, sev_guest_derived_key, sev_guest_extended_report, sev_guest_report};
