//! Layers 0 to 2 decide and do nothing else: no runtime, file, socket, clock, entropy or thread. So the simulator can run
//! them from a seed, and so the same code fits a split enclave.

use super::{Finding, code, layers};
use crate::tree::Tree;

/// Words that pure code does not use.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "an async runtime"),
    ("async", "async code"),
    ("std::fs", "files"),
    ("TcpStream", "sockets"),
    ("TcpListener", "sockets"),
    ("UdpSocket", "sockets"),
    ("std::thread", "threads"),
    ("SystemTime", "the clock"),
    ("Instant", "the clock"),
    ("std::env", "the environment"),
    ("rand", "entropy"),
    ("getrandom", "entropy"),
    ("thread_rng", "entropy"),
];

/// The one door to entropy, which the simulator replaces; and the keys of vendors that exist in tests only.
const EXCEPTIONS: &[(&str, &str)] = &[("crates/crypto/src/random.rs", "rand"), ("crates/testpki/src/key.rs", "rand")];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in layers::pure_folders() {
        for (path, text) in tree.files(&folder, ".rs") {
            // Files of tests: `tests.rs` beside the code, or a folder of them.
            if path.ends_with("/tests.rs") || path.contains("/tests/") {
                continue;
            }
            for (line, code) in code::lines(text) {
                for (word, what) in IMPURE {
                    if code::has_word(code, word) && !EXCEPTIONS.contains(&(path, word)) {
                        findings.push(Finding::new(path, line, format!("uses {what} ({word}) in the pure core")));
                    }
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_clock_in_the_core_is_found_and_one_in_the_shell_is_not() {
        let text = "//! x\nlet now = Instant::now();\n";
        assert_eq!(findings("crates/kv/src/lib.rs", text), 1);
        assert_eq!(findings("crates/node/src/lib.rs", text), 0);
        assert_eq!(findings("crates/kv/benches/kv.rs", text), 0);
    }

    #[test]
    fn tests_and_comments_of_the_core_may_speak_of_threads() {
        assert_eq!(findings("crates/kv/src/lib.rs", "//! std::thread\n#[cfg(test)]\nuse std::thread;\n"), 0);
        assert_eq!(findings("crates/ledger/src/tests.rs", "use std::thread;\n"), 0);
    }
}
