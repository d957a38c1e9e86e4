//! Where in a segment is an offset, or a time?
//!
//! Both indexes are sparse, and files of entries of one size. The newest entries of a segment that is appended to are
//! only in memory until a block of them is full: they can be made again from the segment, so losing them costs nothing,
//! and writing each of them would cost as much as the append that it is about.

use std::sync::Arc;

use super::disk::{DiskFile, Folder};
use super::error::LogError;

/// What is written, and read, at once.
const BLOCK_BYTES: usize = 4096;

/// A file of entries of `N` bytes, and those that are not in it yet.
#[derive(Debug)]
struct Entries<const N: usize> {
    folder: Folder,
    name: String,
    /// Opened when it is first needed; most segments' indexes never are.
    file: Option<Arc<dyn DiskFile>>,
    written: u64,
    unwritten: Vec<[u8; N]>,
}

impl<const N: usize> Entries<N> {
    const BLOCK: usize = BLOCK_BYTES / N;

    fn create(folder: &Folder, name: String) -> Result<Entries<N>, LogError> {
        folder.create(&name)?;
        Ok(Entries { folder: folder.clone(), name, file: None, written: 0, unwritten: Vec::new() })
    }

    /// Takes what is there. `Ok(None)` if there is no such file, or one of a size that cannot be.
    fn open(folder: &Folder, name: String) -> Result<Option<Entries<N>>, LogError> {
        let file = match folder.open(&name) {
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            result => result?,
        };
        let size = file.size().map_err(folder.failed("read", &name))?;
        if size % N as u64 != 0 {
            return Ok(None);
        }
        let (written, folder) = (size / N as u64, folder.clone());
        Ok(Some(Entries { folder, name, file: None, written, unwritten: Vec::new() }))
    }

    fn len(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    fn file(&mut self) -> Result<&Arc<dyn DiskFile>, LogError> {
        if self.file.is_none() {
            self.file = Some(self.folder.open(&self.name)?);
        }
        Ok(self.file.as_ref().expect("just opened"))
    }

    fn push(&mut self, entry: [u8; N]) {
        self.unwritten.push(entry);
        if self.unwritten.len().is_multiple_of(Self::BLOCK) {
            // If that fails, nothing is lost yet: the entries stay, and the error comes up when they must be written.
            let _ = self.write();
        }
    }

    fn write(&mut self) -> Result<(), LogError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let at = self.written * N as u64;
        let bytes = self.unwritten.concat();
        let result = self.file()?.write_all_at(&bytes, at);
        result.map_err(self.folder.failed("write", &self.name))?;
        self.written += self.unwritten.len() as u64;
        self.unwritten = Vec::new();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.write()?;
        let result = self.file()?.sync();
        result.map_err(self.folder.failed("sync", &self.name))
    }

    /// Keeps the first `count` entries.
    fn truncate(&mut self, count: u64) -> Result<(), LogError> {
        self.unwritten.truncate(count.saturating_sub(self.written) as usize);
        if count < self.written {
            let result = self.file()?.set_size(count * N as u64);
            result.map_err(self.folder.failed("truncate", &self.name))?;
            self.written = count;
        }
        Ok(())
    }

    fn read(&mut self, from: u64, count: usize) -> Result<Vec<[u8; N]>, LogError> {
        let mut bytes = vec![0; count * N];
        let result = self.file()?.read_exact_at(&mut bytes, from * N as u64);
        result.map_err(self.folder.failed("read", &self.name))?;
        Ok(bytes.chunks_exact(N).map(|entry| entry.try_into().expect("chunks of N")).collect())
    }

    fn get(&mut self, at: u64) -> Result<[u8; N], LogError> {
        match at.checked_sub(self.written) {
            Some(at) => Ok(self.unwritten[at as usize]),
            None => Ok(self.read(at, 1)?[0]),
        }
    }

    fn last(&mut self) -> Result<Option<[u8; N]>, LogError> {
        self.len().checked_sub(1).map(|at| self.get(at)).transpose()
    }

    /// How many entries from the front `belongs` holds for; it holds for none behind one that it does not hold for.
    fn count_while(&mut self, belongs: impl Fn(&[u8; N]) -> bool) -> Result<u64, LogError> {
        if self.unwritten.first().is_some_and(&belongs) {
            return Ok(self.written + self.unwritten.partition_point(belongs) as u64);
        }
        let (mut low, mut high) = (0, self.written);
        while high - low > Self::BLOCK as u64 {
            let middle = low + (high - low) / 2;
            if belongs(&self.get(middle)?) { low = middle + 1 } else { high = middle }
        }
        let block = self.read(low, (high - low) as usize)?;
        Ok(low + block.partition_point(belongs) as u64)
    }
}

/// From offsets to places in the segment: relative offset of a batch's last record, position of the batch.
#[derive(Debug)]
pub struct OffsetIndex {
    entries: Entries<8>,
    base_offset: i64,
}

impl OffsetIndex {
    /// Makes an empty index; its file's name ends in this too.
    pub fn create(folder: &Folder, base_offset: i64, end: &str) -> Result<OffsetIndex, LogError> {
        let entries = Entries::create(folder, file_name(base_offset, "index") + end)?;
        Ok(OffsetIndex { entries, base_offset })
    }

    /// Opens the index of a segment of `segment_bytes`; `None` if it must be made anew.
    pub fn open(
        folder: &Folder,
        base_offset: i64,
        segment_bytes: u64,
    ) -> Result<Option<OffsetIndex>, LogError> {
        let Some(entries) = Entries::open(folder, file_name(base_offset, "index"))? else { return Ok(None) };
        let mut index = OffsetIndex { entries, base_offset };
        let good = match index.entries.last()? {
            None => true,
            // Entries begin behind the first batch; zeros are space that was never used.
            Some(last) => relative(&last) > 0 && u64::from(position(&last)) < segment_bytes,
        };
        Ok(good.then_some(index))
    }

    pub fn len(&self) -> u64 {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch that ends with this offset begins here.
    pub fn push(&mut self, last_offset: i64, position: u64) {
        let relative = (last_offset - self.base_offset) as u32;
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&(position as u32).to_be_bytes());
        self.entries.push(entry);
    }

    /// A place at or before the batch that holds this offset, as near as the index knows.
    pub fn floor(&mut self, offset: i64) -> Result<u64, LogError> {
        let target = offset - self.base_offset;
        let count = self.entries.count_while(|entry| i64::from(relative(entry)) <= target)?;
        match count.checked_sub(1) {
            None => Ok(0),
            Some(at) => Ok(position(&self.entries.get(at)?).into()),
        }
    }

    /// Forgets entries about this offset and everything behind it.
    pub fn truncate(&mut self, offset: i64) -> Result<(), LogError> {
        let target = offset - self.base_offset;
        let count = self.entries.count_while(|entry| i64::from(relative(entry)) < target)?;
        self.entries.truncate(count)
    }

    /// Puts everything into the file.
    pub fn write(&mut self) -> Result<(), LogError> {
        self.entries.write()
    }

    pub fn sync(&mut self) -> Result<(), LogError> {
        self.entries.sync()
    }
}

/// From times to offsets: the largest timestamp up to some place, and the last offset of the batch that has it.
#[derive(Debug)]
pub struct TimeIndex {
    entries: Entries<12>,
    base_offset: i64,
    last: Option<(i64, i64)>,
}

impl TimeIndex {
    /// Makes an empty index; its file's name ends in this too.
    pub fn create(folder: &Folder, base_offset: i64, end: &str) -> Result<TimeIndex, LogError> {
        let entries = Entries::create(folder, file_name(base_offset, "timeindex") + end)?;
        Ok(TimeIndex { entries, base_offset, last: None })
    }

    /// Opens the index of a segment; `None` if it must be made anew.
    pub fn open(folder: &Folder, base_offset: i64) -> Result<Option<TimeIndex>, LogError> {
        let Some(mut entries) = Entries::open(folder, file_name(base_offset, "timeindex"))? else {
            return Ok(None);
        };
        let last = entries.last()?.map(|entry| time_entry(&entry, base_offset));
        // Zeros are space that was never used.
        let good = entries.len() == 0
            || last.is_some_and(|(timestamp, offset)| timestamp > 0 || offset > base_offset);
        Ok(good.then_some(TimeIndex { entries, base_offset, last }))
    }

    pub fn len(&self) -> u64 {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest timestamp, and its offset.
    pub fn last(&self) -> Option<(i64, i64)> {
        self.last
    }

    /// Notes the largest timestamp so far, if it is larger than the last that was noted.
    pub fn push(&mut self, timestamp: i64, offset: i64) {
        if timestamp < 0 || self.last.is_some_and(|(last, _)| timestamp <= last) {
            return;
        }
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&((offset - self.base_offset) as u32).to_be_bytes());
        self.entries.push(entry);
        self.last = Some((timestamp, offset));
    }

    /// An offset before which everything is older than this.
    pub fn floor(&mut self, timestamp: i64) -> Result<i64, LogError> {
        let base_offset = self.base_offset;
        let count = self.entries.count_while(|entry| time_entry(entry, base_offset).0 < timestamp)?;
        match count.checked_sub(1) {
            None => Ok(base_offset),
            Some(at) => Ok(time_entry(&self.entries.get(at)?, base_offset).1),
        }
    }

    /// Forgets entries about this offset and everything behind it.
    pub fn truncate(&mut self, offset: i64) -> Result<(), LogError> {
        let base_offset = self.base_offset;
        let count = self.entries.count_while(|entry| time_entry(entry, base_offset).1 < offset)?;
        self.entries.truncate(count)?;
        self.last = self.entries.last()?.map(|entry| time_entry(&entry, base_offset));
        Ok(())
    }

    /// Puts everything into the file.
    pub fn write(&mut self) -> Result<(), LogError> {
        self.entries.write()
    }

    pub fn sync(&mut self) -> Result<(), LogError> {
        self.entries.sync()
    }
}

/// A file of a segment: its base offset in twenty digits, and what it is.
pub fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}.{suffix}")
}

fn relative(entry: &[u8; 8]) -> u32 {
    u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]])
}

fn position(entry: &[u8; 8]) -> u32 {
    u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]])
}

fn time_entry(entry: &[u8; 12], base_offset: i64) -> (i64, i64) {
    let (timestamp, relative) = entry.split_first_chunk().expect("twelve bytes");
    let relative: [u8; 4] = relative.try_into().expect("four are left");
    (i64::from_be_bytes(*timestamp), base_offset + i64::from(u32::from_be_bytes(relative)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::RealDisk;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        (dir, Folder::new(Arc::new(disk), ""))
    }

    #[test]
    fn an_offset_is_found_in_memory_and_in_the_file() {
        let (_dir, folder) = folder();
        let mut index = OffsetIndex::create(&folder, 1000, "").expect("created");
        assert_eq!(index.floor(5000).expect("empty"), 0);
        // More than two blocks: entries for 1010, 1020, ...
        for at in 1..=1300 {
            index.push(1000 + at * 10, at as u64 * 100);
        }
        let check = |index: &mut OffsetIndex| {
            for offset in 1000..14_100 {
                let expected = ((offset - 1000) / 10).min(1300) as u64 * 100;
                assert_eq!(index.floor(offset).expect("found"), expected, "{offset}");
            }
        };
        check(&mut index);
        index.write().expect("written");
        check(&mut index);
        let mut index = OffsetIndex::open(&folder, 1000, 1 << 20).expect("read").expect("good");
        check(&mut index);
        for (offset, left) in [(20_000, 1300), (6010, 500), (6009, 500), (1010, 0)] {
            index.truncate(offset).expect("cut");
            assert_eq!(index.len(), left);
        }
    }

    #[test]
    fn a_time_is_found_and_only_growing_times_are_kept() {
        let (_dir, folder) = folder();
        let mut index = TimeIndex::create(&folder, 50, "").expect("created");
        for (timestamp, offset) in [(-1, 51), (100, 55), (90, 60), (100, 65), (200, 70)] {
            index.push(timestamp, offset);
        }
        index.write().expect("written");
        let mut index = TimeIndex::open(&folder, 50).expect("read").expect("good");
        assert_eq!((index.len(), index.last()), (2, Some((200, 70))));
        assert_eq!(
            [0, 100, 101, 200, 201].map(|time| index.floor(time).expect("found")),
            [50, 50, 55, 55, 70]
        );
        index.truncate(70).expect("cut");
        assert_eq!(index.last(), Some((100, 55)));
    }

    #[test]
    fn an_index_of_an_odd_size_or_full_of_zeros_is_no_index() {
        let (_dir, folder) = folder();
        assert!(OffsetIndex::open(&folder, 0, 100).expect("read").is_none());
        folder.replace(&file_name(0, "index"), &[1; 9]).expect("written");
        assert!(OffsetIndex::open(&folder, 0, 100).expect("read").is_none());
        folder.replace(&file_name(0, "index"), &[0; 64]).expect("written");
        assert!(OffsetIndex::open(&folder, 0, 100).expect("read").is_none());
        folder.replace(&file_name(0, "timeindex"), &[0; 24]).expect("written");
        assert!(TimeIndex::open(&folder, 0).expect("read").is_none());
    }
}
