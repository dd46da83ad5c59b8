//! Resident memory of processes, from `/proc`.

use std::fs;

use anyhow::Context;

/// What these processes have in memory, together.
pub fn resident_bytes(pids: &[u32]) -> anyhow::Result<u64> {
    let mut kib = 0;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
        kib += resident_kib(&status).with_context(|| format!("/proc/{pid}/status"))?;
    }
    Ok(kib * 1024)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(resident_kib("Name:\tcoco\nVmRSS:\t   51200 kB\nThreads:\t9\n"), Some(51_200));
        assert_eq!(resident_kib("Name:\tcoco\n"), None);
    }
}
