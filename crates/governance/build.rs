//! Puts the default constitution together: the folder `constitution/` is the list, so that adding an action is adding a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../constitution");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = vec![root.join("helpers.js")];
    files.extend(scripts(&root.join("actions"))?);
    files.extend(scripts(&root.join("policies"))?);
    files.extend(["validate.js", "resolve.js", "apply.js", "describe.js"].map(|name| root.join(name)));
    let mut module = String::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        module.push_str(&fs::read_to_string(&file)?);
        module.push('\n');
    }
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(out.join("default.js"), module)
}

/// The scripts of a folder that are not tests, by name.
fn scripts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".js") && !name.ends_with(".test.js") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
