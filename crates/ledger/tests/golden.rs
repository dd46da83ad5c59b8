//! The golden files are what the code writes today. Regenerate with the example `ledger_testdata`.

mod fixture;
#[path = "fixture/golden.rs"]
mod golden;

use std::path::Path;

#[test]
fn every_golden_file_is_written_again_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for (name, bytes) in golden::files() {
        let golden = std::fs::read(folder.join(&name)).unwrap_or_default();
        assert!(golden == bytes, "{name} differs from its golden file");
    }
}
