//! An application's bundle, as CCF's tools make it: a file that has all of it, or the folder that it is made from.
//!
//! ```text
//!   app.json   {"endpoints": {"/path/{name}": {"get": {"js_module": "lib/a.js", …}}}}
//!   src/       lib/a.js …      every file is a module, named by its path in here
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::actions::read_json;
use crate::governance::read_text;

pub fn bundle(path: &Path) -> anyhow::Result<Value> {
    if !path.is_dir() {
        let read = read_json(path)?;
        // What a proposal has, too.
        let bundle = read.get("bundle").cloned().unwrap_or(read);
        let is_bundle = bundle["metadata"].is_object() && bundle["modules"].is_array();
        ensure!(is_bundle, "{} has no \"metadata\" and \"modules\"", path.display());
        return Ok(bundle);
    }
    let metadata = read_json(&path.join("app.json"))?;
    let mut modules = Vec::new();
    collect(&path.join("src"), "", &mut modules)?;
    Ok(json!({ "metadata": metadata, "modules": modules }))
}

/// Files below `folder`, in order of their names.
fn collect(folder: &Path, prefix: &str, modules: &mut Vec<Value>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(|| folder.display().to_string())?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), modules)?;
        } else {
            modules.push(json!({ "name": format!("{prefix}{name}"), "module": read_text(&path)? }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_the_file_made_of_it_are_the_same_bundle() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/lib")).unwrap();
        let metadata = json!({"endpoints": {}});
        fs::write(folder.path().join("app.json"), metadata.to_string()).unwrap();
        fs::write(folder.path().join("src/b.js"), "export {}").unwrap();
        fs::write(folder.path().join("src/lib/a.js"), "//").unwrap();
        let expected = json!({ "metadata": metadata, "modules": [
            {"name": "b.js", "module": "export {}"}, {"name": "lib/a.js", "module": "//"},
        ]});
        assert_eq!(bundle(folder.path()).unwrap(), expected);
        let file = folder.path().join("bundle.json");
        for written in [expected.clone(), json!({ "bundle": expected })] {
            fs::write(&file, written.to_string()).unwrap();
            assert_eq!(bundle(&file).unwrap(), expected);
        }
        fs::write(&file, "{}").unwrap();
        assert!(bundle(&file).is_err());
    }
}
