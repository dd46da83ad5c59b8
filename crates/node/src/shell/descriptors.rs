//! Files and connections count against one limit of the process, and many systems begin with a low one. A node asks for all that it
//! may have, and lets its listeners have what its own files leave: no flood of connections keeps it from its ledger.

use coco_types::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections each of so many listeners may have.
pub fn connections_max(listeners: usize) -> usize {
    let descriptors = raised();
    let each = share(descriptors, listeners);
    if each < limits::CONNECTIONS_MAX {
        tracing::info!(
            descriptors,
            connections_a_listener = each,
            "this process may open few files: raise its hard limit"
        );
    }
    each
}

/// The limit of this process, once it is as high as the system lets it be.
fn raised() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

fn share(descriptors: usize, listeners: usize) -> usize {
    let left = descriptors.saturating_sub(limits::DESCRIPTORS_RESERVED);
    left.checked_div(listeners).unwrap_or(left).clamp(1, limits::CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let all = raised();
        let limit = getrlimit(Resource::Nofile);
        assert!(limit.maximum.is_none_or(|maximum| usize::try_from(maximum).is_ok_and(|maximum| maximum <= all)));
        assert_eq!(raised(), all);
    }

    #[test]
    fn listeners_leave_the_ledger_its_files() {
        assert_eq!(share(1 << 20, 5), limits::CONNECTIONS_MAX);
        assert_eq!(share(1_024, 6), 128);
        assert!(6 * share(4_096, 6) + limits::DESCRIPTORS_RESERVED <= 4_096);
        assert_eq!(share(100, 5), 1);
    }
}
