//! CPU time of processes, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// `/proc` counts in hundredths of a second on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time that these processes have used, together.
pub fn used_by(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
        ticks += ticks_in(&stat).with_context(|| format!("/proc/{pid}/stat"))?;
    }
    Ok(TICK * ticks)
}

/// User and system time of this process.
pub fn used_by_self() -> anyhow::Result<Duration> {
    used_by(&[std::process::id()])
}

/// Fields 14 and 15 (proc(5)), counted after the command's name, which may contain anything but ends at the last `)`.
fn ticks_in(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_process_is_called() {
        let stat = "42 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("42"), None);
    }
}
