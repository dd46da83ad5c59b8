//! A disk in memory with a volatile and a durable half, for tests and the simulator.
//!
//! Cloning gives another handle to the same disk, as a restarted process has. [`MemoryDisk::crash`] drops the volatile
//! half; the caller says, change by change, which unsynced ones happened to reach the disk, and how much of them. The power may go in the
//! middle of something: after a number of changes, whichever disk of the machine they are made on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::Disk;

/// See the module's text. All handles to one disk share its state.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    power: Power,
}

/// What the disks of one machine run on. Once it is gone they change no more, until it is back.
#[derive(Clone, Default)]
pub struct Power {
    /// So many changes it lasts for; `None`: for all.
    lasts: Arc<Mutex<Option<u64>>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    durable_names: BTreeMap<String, File>,
    /// What was done to names since they were synced, and the files that have none any more.
    renamed: Vec<NameChange>,
    nameless: Vec<File>,
    next_identity: u64,
    fail_writes: bool,
    fail_syncs: bool,
    bytes_max: Option<u64>,
}

/// One file's content. The identity ties a name to its content over renames.
#[derive(Clone, Default)]
struct File {
    identity: u64,
    volatile: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, identity: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl Power {
    /// It goes when so many more changes have been made.
    pub fn lasts_for(&self, changes: u64) {
        *self.lasts.lock() = Some(changes);
    }

    pub fn is_gone(&self) -> bool {
        *self.lasts.lock() == Some(0)
    }

    pub fn comes_back(&self) {
        *self.lasts.lock() = None;
    }

    /// Something happens that is not done without it.
    pub fn spend(&self) -> io::Result<()> {
        match &mut *self.lasts.lock() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl MemoryDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// One of several disks of a machine.
    pub fn on(power: &Power) -> Self {
        Self { power: power.clone(), ..Self::default() }
    }

    pub fn power(&self) -> &Power {
        &self.power
    }

    /// A power cut. `survives(len)` is asked for each unsynced change in order, with its length in bytes (0 for a
    /// truncation and for what was done to names), and returns how many of its bytes reached the disk; `None` means that it did not
    /// happen at all. Of what was done to names nothing survives behind the first that did not: journals keep their order.
    pub fn crash(&self, mut survives: impl FnMut(usize) -> Option<usize>) {
        let mut state = self.state.lock();
        let known = state.files.values().chain(&state.nameless);
        let contents: BTreeMap<u64, File> = known.map(|file| (file.identity, file.clone())).collect();
        let mut files = state.durable_names.clone();
        for change in std::mem::take(&mut state.renamed) {
            if survives(0).is_none() {
                break;
            }
            change.apply(&mut files);
        }
        state.nameless.clear();
        for file in files.values_mut() {
            let Some(latest) = contents.get(&file.identity) else { continue };
            *file = latest.clone();
        }
        for file in files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                change.survive(&mut file.durable, &mut survives);
            }
            file.volatile.clone_from(&file.durable);
        }
        state.durable_names.clone_from(&files);
        state.files = files;
    }

    /// An independent copy of everything written so far, as if every write had been synced: an old disk image for
    /// rollback tests.
    pub fn image(&self) -> Self {
        let mut files = self.state.lock().files.clone();
        for file in files.values_mut() {
            file.durable.clone_from(&file.volatile);
            file.unsynced.clear();
        }
        let next_identity = self.state.lock().next_identity;
        let state = State { durable_names: files.clone(), files, next_identity, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), power: self.power.clone() }
    }

    /// Makes every write fail (`StorageFull`), or lets them succeed again.
    pub fn fail_writes(&self, fail: bool) {
        self.state.lock().fail_writes = fail;
    }

    /// Makes every sync fail (an I/O error), or lets them succeed again.
    pub fn fail_syncs(&self, fail: bool) {
        self.state.lock().fail_syncs = fail;
    }

    /// The disk's size: a write that would exceed it fails with `StorageFull`.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.state.lock().bytes_max = bytes_max;
    }

    /// Flips bits of one byte in both halves: bit rot.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file_mut(name)?;
        let offset = usize::try_from(offset).map_err(|_| eof(name))?;
        *file.volatile.get_mut(offset).ok_or_else(|| eof(name))? ^= mask;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.state.lock().file_mut(name)?.volatile.len() as u64)
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock();
        let file = state.file_mut(name)?;
        let start = usize::try_from(offset).map_err(|_| eof(name))?;
        let end = start.checked_add(len).ok_or_else(|| eof(name))?;
        file.volatile.get(start..end).map(<[u8]>::to_vec).ok_or_else(|| eof(name))
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        if state.fail_writes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let offset = usize::try_from(offset).map_err(|_| eof(name))?;
        let end = offset.checked_add(bytes.len()).ok_or_else(|| eof(name))?;
        state.check_room(name, end)?;
        let identity = state.next_identity;
        let file = state.files.entry(name.to_owned()).or_insert_with(|| File { identity, ..File::default() });
        let created = file.identity == identity;
        let change = Change::Write { offset, bytes: bytes.to_vec() };
        change.clone().apply(&mut file.volatile, bytes.len());
        file.unsynced.push(change);
        if created {
            state.next_identity += 1;
            state.renamed.push(NameChange::Create { name: name.to_owned(), identity });
        }
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        let file = state.file_mut(name)?;
        let len = usize::try_from(len).map_err(|_| eof(name))?;
        file.volatile.truncate(len);
        file.unsynced.push(Change::Truncate { len });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        let file = state.files.remove(from).ok_or_else(|| not_found(from))?;
        let replaced = state.files.insert(to.to_owned(), file);
        state.nameless.extend(replaced);
        state.renamed.push(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        let file = state.files.remove(name).ok_or_else(|| not_found(name))?;
        state.nameless.push(file);
        state.renamed.push(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        if state.fail_syncs {
            return Err(io::Error::other("the disk failed a sync"));
        }
        let file = state.file_mut(name)?;
        for change in std::mem::take(&mut file.unsynced) {
            change.survive(&mut file.durable, &mut Some);
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.power.spend()?;
        let mut state = self.state.lock();
        if state.fail_syncs {
            return Err(io::Error::other("the disk failed a sync"));
        }
        state.durable_names = state.files.clone();
        state.renamed.clear();
        state.nameless.clear();
        Ok(())
    }
}

impl State {
    fn file_mut(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| not_found(name))
    }

    fn check_room(&self, name: &str, end: usize) -> io::Result<()> {
        let Some(bytes_max) = self.bytes_max else { return Ok(()) };
        let others: usize = self.files.iter().filter(|(other, _)| *other != name).map(|(_, f)| f.volatile.len()).sum();
        let own = self.files.get(name).map_or(0, |file| file.volatile.len()).max(end);
        if (others + own) as u64 > bytes_max { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl NameChange {
    fn apply(self, files: &mut BTreeMap<String, File>) {
        match self {
            Self::Create { name, identity } => drop(files.insert(name, File { identity, ..File::default() })),
            Self::Rename { from, to } => {
                let file = files.remove(&from);
                files.extend(file.map(|file| (to, file)));
            }
            Self::Remove { name } => drop(files.remove(&name)),
        }
    }
}

impl Change {
    /// Applies the first `len` bytes of a write, or a truncation.
    fn apply(self, content: &mut Vec<u8>, len: usize) {
        match self {
            Self::Write { offset, bytes } => {
                let bytes = &bytes[..len.min(bytes.len())];
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[offset..end].copy_from_slice(bytes);
            }
            Self::Truncate { len } => content.truncate(len),
        }
    }

    fn survive(self, content: &mut Vec<u8>, survives: &mut impl FnMut(usize) -> Option<usize>) {
        let len = match &self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::Truncate { .. } => 0,
        };
        if let Some(len) = survives(len) {
            self.apply(content, len);
        }
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

fn eof(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_synced_bytes_under_synced_names_survive_a_crash() {
        let disk = MemoryDisk::new();
        disk.write("kept", 0, b"synced").unwrap();
        disk.sync("kept").unwrap();
        disk.sync_names().unwrap();
        disk.write("kept", 6, b" lost").unwrap();
        disk.write("nameless", 0, b"bytes").unwrap();
        disk.sync("nameless").unwrap();
        disk.crash(|_| None);
        assert_eq!(disk.read_all("kept").unwrap(), b"synced");
        assert!(!disk.exists("nameless").unwrap());
    }

    #[test]
    fn an_unsynced_write_can_be_torn() {
        let disk = MemoryDisk::new();
        disk.write("file", 0, b"0123").unwrap();
        disk.sync("file").unwrap();
        disk.sync_names().unwrap();
        disk.write("file", 4, b"4567").unwrap();
        disk.crash(|_| Some(2));
        assert_eq!(disk.read_all("file").unwrap(), b"012345");
    }

    #[test]
    fn a_replaced_file_is_old_or_new_after_a_crash() {
        let disk = MemoryDisk::new();
        disk.replace("state", b"old").unwrap();
        disk.replace("state", b"new").unwrap();
        disk.crash(|_| None);
        assert_eq!(disk.read_all("state").unwrap(), b"new");
    }

    #[test]
    fn names_that_were_not_synced_survive_up_to_the_first_that_did_not() {
        let crashed = |survive: usize| {
            let disk = MemoryDisk::new();
            disk.replace("state", b"old").unwrap();
            disk.write("next", 0, b"new").unwrap();
            disk.sync("next").unwrap();
            disk.rename("next", "state").unwrap();
            disk.write("more", 0, b"more").unwrap();
            let mut left = survive;
            disk.crash(|len| {
                let name = len == 0 && left > 0;
                left -= usize::from(name);
                name.then_some(0)
            });
            let read = |name| disk.read_all(name).ok().map(|bytes| String::from_utf8(bytes).unwrap());
            (read("state"), read("next"), read("more"))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(crashed(0), (text("old"), None, None));
        assert_eq!(crashed(1), (text("old"), text("new"), None));
        assert_eq!(crashed(2), (text("new"), None, None));
        assert_eq!(crashed(3), (text("new"), None, text("")));
    }

    #[test]
    fn power_that_goes_stops_all_disks_of_a_machine() {
        let power = Power::default();
        let (one, other) = (MemoryDisk::on(&power), MemoryDisk::on(&power));
        power.lasts_for(2);
        one.write("file", 0, b"0").unwrap();
        other.write("file", 0, b"0").unwrap();
        assert!(power.is_gone());
        one.sync("file").unwrap_err();
        other.write("file", 1, b"1").unwrap_err();
        power.comes_back();
        one.sync("file").unwrap();
    }

    #[test]
    fn a_full_disk_says_so() {
        let disk = MemoryDisk::new();
        disk.set_bytes_max(Some(4));
        disk.write("file", 0, b"0123").unwrap();
        assert_eq!(disk.write("file", 4, b"4").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
