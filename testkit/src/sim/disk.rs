//! A disk that keeps no more than it promised.
//!
//! It behaves like a good disk until the power goes: then each sector that was written and not synced is kept, lost, or
//! torn; each file size that changed may be the old or the new one or one between; and each creation, rename or removal
//! since the last directory sync may have happened or not. All of it follows from a seed.
//!
//! On request a sync fails (what it should have kept is then lost for good, though later syncs succeed), space runs out,
//! or the machine stops at a given effect. An *effect* is anything that changes the disk: write, resize, sync, create,
//! rename, remove, directory sync. They are counted, so that a test can stop at each of them in turn.

mod partitions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coordinator::store::{Disk, DiskFile};

use super::random::Random;
use partitions::name_inside;

const SECTOR_BYTES: usize = 512;
/// What a torn sector lacks at least. Real disks write sectors whole; if one did not, it would still not get less than
/// this at once from the bus, and a log could not tell the loss of a byte or two from records that end in zeros.
const WORD_BYTES: usize = 8;

/// The simulated disk; clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default, Clone)]
struct State {
    files: BTreeMap<u64, Content>,
    next_file: u64,
    /// What the process sees.
    names: BTreeMap<String, u64>,
    /// What a power cut leaves for sure.
    durable_names: BTreeMap<String, u64>,
    /// What happened to names since the last directory sync.
    pending_names: Vec<NameChange>,
    effects: u64,
    stop_at: Option<u64>,
    stopped: bool,
    failing_syncs: BTreeSet<u64>,
    capacity: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// What the process sees.
    bytes: Vec<u8>,
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// Sectors that were written since the last sync.
    dirty: BTreeSet<usize>,
    resized: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, u64),
    Rename(String, String, u64),
    Remove(String),
    /// A directory's.
    RenameDir(String, String),
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::at("/sim")
    }

    /// One that says that it is here.
    pub fn at(path: &str) -> SimDisk {
        SimDisk { path: path.into(), state: Arc::default() }
    }

    fn with_state(&self, state: State) -> SimDisk {
        SimDisk { path: self.path.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// As the store takes it.
    pub fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many effects there were.
    pub fn effects(&self) -> u64 {
        self.lock().effects
    }

    /// The machine stops during the effect with this number, counted from zero; from then on every call fails.
    pub fn stop_at(&self, effect: u64) {
        self.lock().stop_at = Some(effect);
    }

    /// Whether the machine stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// If the effect with this number is a sync, it fails.
    pub fn fail_sync_at(&self, effect: u64) {
        self.lock().failing_syncs.insert(effect);
    }

    /// Limits the sum of all files' sizes, or lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// The sum of all files' sizes.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// The disk after the process died and the operating system lived: everything is as it was seen, but what was not
    /// synced is not any safer.
    pub fn after_kill(&self) -> SimDisk {
        let state = self.lock().clone();
        self.with_state(State {
            effects: 0,
            stop_at: None,
            stopped: false,
            failing_syncs: BTreeSet::new(),
            ..state
        })
    }

    /// The disk after a power cut.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        let mut random = Random::new(seed);
        let state = self.lock().clone();
        let mut names = state.durable_names;
        for change in state.pending_names {
            if random.coin() {
                change.apply(&mut names);
            }
        }
        let mut files = state.files;
        for content in files.values_mut() {
            content.cut(&mut random);
        }
        self.with_state(State {
            files,
            next_file: state.next_file,
            durable_names: names.clone(),
            names,
            capacity: state.capacity,
            ..State::default()
        })
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> SimDisk {
        self.with_state(self.lock().clone())
    }

    /// All files' names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// A file's content.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let id = state.names.get(name)?;
        Some(state.files[id].bytes.clone())
    }

    /// Replaces a file's content behind everybody's back, durably; `None` removes the file.
    pub fn tamper(&self, name: &str, content: Option<Vec<u8>>) {
        let mut state = self.lock();
        match content {
            Some(bytes) => {
                let id = state.names.get(name).copied().unwrap_or_else(|| state.new_file(name));
                let durable = bytes.clone();
                state.files.insert(id, Content { bytes, durable, ..Content::default() });
                state.durable_names.insert(name.into(), id);
            }
            None => {
                state.names.remove(name);
                state.durable_names.remove(name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an effect; true if the machine stops during it.
    fn effect(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.stopped = self.stop_at == Some(self.effects);
        self.effects += 1;
        Ok(self.stopped)
    }

    fn alive(&self) -> io::Result<()> {
        if self.stopped { Err(power_is_off()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].bytes.len() as u64).sum()
    }

    fn new_file(&mut self, name: &str) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, Content::default());
        self.names.insert(name.into(), id);
        id
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl NameChange {
    /// The name whose directory has to be synced for the change to last.
    fn name(&self) -> &str {
        match self {
            NameChange::Set(name, _) | NameChange::Rename(name, _, _) | NameChange::Remove(name) => name,
            NameChange::RenameDir(_, name) => name,
        }
    }

    /// The directory that it happened in has another name now.
    fn move_inside(&mut self, from: &str, to: &str) {
        match self {
            NameChange::Set(name, _) | NameChange::Remove(name) => *name = moved(name, from, to),
            NameChange::Rename(before, after, _) | NameChange::RenameDir(before, after) => {
                *before = moved(before, from, to);
                *after = moved(after, from, to);
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Set(name, id) => {
                names.insert(name.clone(), *id);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::RenameDir(from, to) => {
                let inside: Vec<String> =
                    names.keys().filter(|name| name_inside(name, from).is_some()).cloned().collect();
                for name in inside {
                    if let Some(id) = names.remove(&name) {
                        names.insert(moved(&name, from, to), id);
                    }
                }
            }
        }
    }
}

/// A name, if it is inside a directory that was renamed, as it is then.
fn moved(name: &str, from: &str, to: &str) -> String {
    name_inside(name, from).map_or_else(|| name.to_owned(), |rest| format!("{to}/{rest}"))
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.bytes.len() {
            self.resize(end);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
        }
    }

    fn resize(&mut self, size: usize) {
        let smaller = size.min(self.bytes.len());
        let larger = size.max(self.bytes.len());
        self.bytes.resize(size, 0);
        self.resized = true;
        if larger > smaller {
            self.dirty.extend(smaller / SECTOR_BYTES..=(larger - 1) / SECTOR_BYTES);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.bytes.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.bytes.len());
            if start < end {
                self.durable[start..end].copy_from_slice(&self.bytes[start..end]);
            }
        }
        self.resized = false;
    }

    /// Forgets what was to be synced: it is seen until the power goes, and never after.
    fn lose(&mut self) {
        self.dirty.clear();
        self.resized = false;
    }

    /// What a power cut makes of the file.
    fn cut(&mut self, random: &mut Random) {
        let mut size = self.durable.len();
        if self.resized {
            let (low, high) = (size.min(self.bytes.len()), size.max(self.bytes.len()));
            size = match random.below(3) {
                0 => size,
                1 => self.bytes.len(),
                _ => low + random.below((high - low) as u64 + 1) as usize,
            };
        }
        let mut image = self.durable.clone();
        image.resize(size, 0);
        // Most crashes lose a lot or nearly nothing; a fair coin per sector alone would show neither.
        let kept_of_8 = [0, 1, 4, 7, 8][random.below(5) as usize];
        for &sector in &self.dirty {
            let start = sector * SECTOR_BYTES;
            let mut end = (start + SECTOR_BYTES).min(self.bytes.len()).min(size);
            if start >= end || random.below(8) >= kept_of_8 {
                continue;
            }
            if random.below(16) == 0 {
                end = start + random.below((end - start).saturating_sub(WORD_BYTES) as u64 + 1) as usize;
            }
            image[start..end].copy_from_slice(&self.bytes[start..end]);
        }
        *self = Content { durable: image.clone(), bytes: image, ..Content::default() };
    }
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.lock().alive()?;
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.alive()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let stops = state.effect()?;
        let id = state.new_file(name);
        state.change_names(NameChange::Set(name.into(), id));
        if stops {
            return Err(power_is_off());
        }
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let stops = state.effect()?;
        let id = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_names(NameChange::Rename(from.into(), to.into(), id));
        if stops { Err(power_is_off()) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let stops = state.effect()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(NameChange::Remove(name.into()));
        if stops { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        let effect = state.effects;
        if state.effect()? {
            return Err(power_is_off());
        }
        if state.failing_syncs.contains(&effect) {
            return Err(io::Error::other("simulated directory sync failure"));
        }
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut state = self.disk.lock();
        state.alive()?;
        Ok(act(state.files.get_mut(&self.id).expect("files are never forgotten")))
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|content| content.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|content| {
            let rest = content.bytes.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buf.len());
            buf[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let stops = state.effect()?;
        let (used, capacity) = (state.used(), state.capacity);
        let content = state.files.get_mut(&self.id).expect("files are never forgotten");
        let growth = (offset + buf.len() as u64).saturating_sub(content.bytes.len() as u64);
        let room = capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used));
        if growth > room {
            // A short write: as much as fits.
            let fits = buf.len().saturating_sub((growth - room) as usize);
            content.write(&buf[..fits], offset as usize);
            return Err(full());
        }
        content.write(buf, offset as usize);
        if stops { Err(power_is_off()) } else { Ok(()) }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let stops = self.disk.lock().effect()?;
        let mut state = self.disk.lock();
        let content = state.files.get_mut(&self.id).expect("files are never forgotten");
        content.resize(size as usize);
        if stops { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let effect = state.effects;
        if state.effect()? {
            return Err(power_is_off());
        }
        let fails = state.failing_syncs.contains(&effect);
        let content = state.files.get_mut(&self.id).expect("files are never forgotten");
        if fails {
            content.lose();
            return Err(io::Error::other("simulated sync failure"));
        }
        content.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_survive_and_others_may_not() {
        let disk = SimDisk::new();
        let file = disk.create("a").expect("create");
        file.write_at(&[1; 2000], 0).expect("write");
        file.sync().expect("sync");
        disk.sync_dir().expect("sync");
        file.write_at(&[2; 2000], 2000).expect("write");
        let images: BTreeSet<_> = (0..50).map(|seed| disk.after_power_cut(seed).content("a")).collect();
        assert!(images.len() > 5, "crashes differ");
        for image in images {
            let image = image.expect("its name was synced");
            assert_eq!(image[..1536], [1; 1536]);
            assert!(image.len() >= 2000 && image[..2000].iter().all(|&byte| byte == 1));
        }
        assert_eq!(
            disk.after_power_cut(7).content("a"),
            disk.after_power_cut(7).content("a"),
            "seeds repeat"
        );
        assert_eq!(disk.after_kill().content("a").expect("seen").len(), 4000);
    }

    #[test]
    fn names_are_lost_until_the_directory_is_synced() {
        let disk = SimDisk::new();
        disk.create("a").expect("create").sync().expect("sync");
        assert!((0..20).any(|seed| disk.after_power_cut(seed).names().is_empty()));
        disk.sync_dir().expect("sync");
        disk.rename("a", "b").expect("rename");
        let outcomes: BTreeSet<_> = (0..20).map(|seed| disk.after_power_cut(seed).names()).collect();
        assert_eq!(outcomes, BTreeSet::from([vec!["a".to_owned()], vec!["b".to_owned()]]));
    }

    #[test]
    fn what_a_failed_sync_should_have_kept_is_gone() {
        let disk = SimDisk::new();
        let file = disk.create("a").expect("create");
        disk.sync_dir().expect("sync");
        file.write_at(&[1; 100], 0).expect("write");
        disk.fail_sync_at(disk.effects());
        assert!(file.sync().is_err());
        file.sync().expect("the next one succeeds");
        assert_eq!(disk.content("a"), Some(vec![1; 100]), "still seen");
        // The later sync made the file's size durable; its bytes were lost before.
        let images =
            (0..20).map(|seed| disk.after_power_cut(seed).content("a").expect("its name was synced"));
        assert!(images.flatten().all(|byte| byte == 0));
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = SimDisk::new();
        disk.set_capacity(Some(100));
        let file = disk.create("a").expect("create");
        let error = file.write_at(&[1; 150], 0).expect_err("full");
        assert!(coordinator::store::is_full(&error));
        assert_eq!(file.size().expect("size"), 100);
        disk.set_capacity(None);
        file.write_at(&[1; 150], 0).expect("room");
    }
}
