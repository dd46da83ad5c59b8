//! One file per platform.

pub mod virtual_tee;
