//! The repository's text files, read once. Built things and installed packages are not part of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Folders that hold nothing that we wrote.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", ".venv", "__pycache__", "corpus", "artifacts", "build"];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Text by path from the root, with `/` between folders.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: BTreeMap<String, String>,
}

impl Tree {
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Files whose path starts and ends so.
    pub fn files<'a>(&'a self, start: &'a str, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let wanted = move |(path, _): &(&'a String, &'a String)| path.starts_with(start) && path.ends_with(end);
        self.files.iter().filter(wanted).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                // What is not UTF-8 is data.
                if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                    self.files.insert(path, text);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of these files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_things_and_data_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in
            [("a/b.rs", &b"x"[..]), ("target/c.rs", b"x"), ("a/node_modules/d.js", b"x"), ("e.bin", b"\xff")]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let tree = Tree::read(root.path()).unwrap();
        assert_eq!(tree.files.into_keys().collect::<Vec<_>>(), ["a/b.rs"]);
    }
}
