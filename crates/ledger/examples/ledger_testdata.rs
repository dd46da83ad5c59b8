//! Writes the golden files of this crate into the folder given, or a larger ledger with `--large`.
//!
//! `cargo run -p coco-ledger --example ledger_testdata -- crates/ledger/testdata`; the tests compare byte for byte.

#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[path = "../tests/fixture/golden.rs"]
mod golden;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (large, folder) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--large", folder] => (true, folder.to_owned()),
        [folder] => (false, folder.to_owned()),
        _ => return Err(std::io::Error::other("usage: ledger_testdata [--large] FOLDER")),
    };
    let files = if large { golden::large_files() } else { golden::files() };
    for (name, bytes) in files {
        let path = Path::new(&folder).join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
