# The habits. `just --list` shows them; each is one or two lines, longer ones live in xtask or scripts.

# Build everything
build:
    cargo build --workspace --all-targets

# Every test
test:
    cargo test --workspace

# Format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The rules that a program can check
tidy:
    cargo run -q -p xtask -- tidy

# Whole networks by seed
sim:
    cargo test --release -p coco-sim

# The tests that all Ethereum clients share: just ethereum-tests ~/tests, a checkout of github.com/ethereum/tests
ethereum-tests folder:
    COCO_ETHEREUM_TESTS={{folder}} cargo test --release -p coco-ethereum ethereum_tests -- --nocapture

# Feed a decoder for a minute: just fuzz ledger_entry, just fuzz evidence_snp
fuzz target seconds="60":
    cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}}

# Start a network and measure it: just bench --transactions 50000
bench *options:
    cargo run --release -- bench ethereum {{options}}

# A network on this machine
dev *options:
    cargo run --release -- dev {{options}}

# The executable that members vote on, and its hash
release:
    cargo run -q -p xtask -- release

# What CI runs
ci:
    .ci/run
