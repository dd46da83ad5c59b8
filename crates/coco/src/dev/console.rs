//! What contracts write with `console.log`, on the terminal: read from the log of the lone node as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use coco_ethereum::developer::console::TARGET;

/// Read at once; a log that grows faster is caught up with later.
const BYTES_MAX: u64 = 1 << 20;

/// A log file, and how far it was read.
pub struct Console {
    path: PathBuf,
    read: u64,
    /// The beginning of a line that has not ended yet.
    partial: Vec<u8>,
}

impl Console {
    /// From the file's present end on.
    pub fn new(path: PathBuf) -> Self {
        let read = std::fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, read, partial: Vec::new() }
    }

    /// What was written since.
    pub fn lines(&mut self) -> std::io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.take(BYTES_MAX).read_to_end(&mut self.partial)? as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let marker = format!(" {TARGET}: ");
        let told = |line: &str| line.split_once(&marker).map(|(_, told)| told.to_owned());
        Ok(String::from_utf8_lossy(&whole).lines().filter_map(told).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_of_contracts_are_told_once_they_are_whole_and_others_are_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "2026-01-01T00:00:00Z  INFO console.log: from before").unwrap();
        let mut console = Console::new(file.path().to_owned());
        assert_eq!(console.lines().unwrap(), [""; 0]);
        write!(file, "2026-01-01T00:00:00Z  INFO coco_node: started\n2026-01-01T00:00:00Z  INFO console.log: hel")
            .unwrap();
        assert_eq!(console.lines().unwrap(), [""; 0]);
        write!(file, "lo\n2026-01-01T00:00:00Z  INFO console.log: \n").unwrap();
        assert_eq!(console.lines().unwrap(), ["hello", ""]);
    }
}
