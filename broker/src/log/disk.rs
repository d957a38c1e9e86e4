//! Which few operations do the logs need from a disk?
//!
//! Every byte that is kept passes through [`Disk`] and [`DiskFile`], so that a test can put a disk underneath that loses,
//! tears and reorders what was not synced. Names are relative to one data directory: a file's in it, or a directory's
//! and a file's with a slash between.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::error::LogError;

/// One data directory.
///
/// What a disk promises, and no more: bytes written before a [`DiskFile::sync`] that returned `Ok` survive a crash; a
/// name survives after a [`Disk::sync_dir`] of its directory that returned `Ok`. Anything else may be lost, wholly or
/// sector by sector, in any order.
pub trait Disk: Debug + Send + Sync {
    /// Where this is, for messages.
    fn path(&self) -> &Path;
    /// What a directory holds (the data directory's own name is empty), in no particular order.
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>>;
    /// Makes a directory, unless there is one.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, replacing one of the same name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file or directory; a file's target is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// One open file.
pub trait DiskFile: Debug + Send + Sync {
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads what is there, up to the buffer's length; zero at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of the pieces, one behind the other, growing the file if need be. After an error any part of them may
    /// have been written.
    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes the written bytes and the size durable. After an error nothing may be assumed about what was written since
    /// the last success, and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
    /// The operating system's file, if there is one, to send it to a socket without reading it.
    fn as_file(&self) -> Option<&File>;
}

impl dyn DiskFile + '_ {
    /// Reads exactly `buf.len()` bytes.
    pub fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes one piece.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(&mut [IoSlice::new(bytes)], offset)
    }
}

/// One directory of a disk: a partition's, or the data directory itself. Clones are the same directory, also when it
/// gets another name.
#[derive(Debug, Clone)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    name: Arc<RwLock<String>>,
}

/// What a file that is not complete yet ends in.
const UNFINISHED: &str = ".tmp";
/// Files that are read whole are small; a larger one is damaged.
const WHOLE_FILE_BYTES_MAX: u64 = 256 << 20;

impl Folder {
    pub fn new(disk: Arc<dyn Disk>, name: &str) -> Folder {
        Folder { disk, name: Arc::new(RwLock::new(name.to_owned())) }
    }

    /// The directory's name inside its data directory.
    pub fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the directory another name; files in it may be open.
    pub fn rename_self(&self, name: &str) -> Result<(), LogError> {
        let before = self.name();
        self.disk.rename(&before, name).map_err(self.failed("rename", ""))?;
        name.clone_into(&mut self.name.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where a file is, for messages.
    pub fn path(&self, file: &str) -> PathBuf {
        self.disk.path().join(self.name()).join(file)
    }

    pub fn list(&self) -> Result<Vec<Entry>, LogError> {
        self.disk.list(&self.name()).map_err(self.failed("list", ""))
    }

    pub fn open(&self, file: &str) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(&self.at(file)).map_err(self.failed("open", file))
    }

    pub fn create(&self, file: &str) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.create(&self.at(file)).map_err(self.failed("create", file))
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), LogError> {
        self.disk.rename(&self.at(from), &self.at(to)).map_err(self.failed("rename", from))
    }

    /// Removes a file; one that is gone already is fine.
    pub fn remove(&self, file: &str) -> Result<(), LogError> {
        match self.disk.remove(&self.at(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(self.failed("remove", file)),
        }
    }

    pub fn sync(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.name()).map_err(self.failed("sync directory", ""))
    }

    /// A small file's content; `None` if there is no such file.
    pub fn read(&self, file: &str) -> Result<Option<Vec<u8>>, LogError> {
        let opened = match self.disk.open(&self.at(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(self.failed("open", file))?,
        };
        let size = opened.size().map_err(self.failed("read", file))?;
        if size > WHOLE_FILE_BYTES_MAX {
            return Err(self.malformed(file, format!("it has {size} bytes")));
        }
        let mut content = vec![0; size as usize];
        opened.read_exact_at(&mut content, 0).map_err(self.failed("read", file))?;
        Ok(Some(content))
    }

    /// Replaces a small file's content, durably: a crash leaves the old or the new.
    pub fn replace(&self, file: &str, content: &[u8]) -> Result<(), LogError> {
        let unfinished = format!("{file}{UNFINISHED}");
        let written = self.create(&unfinished)?;
        written.write_all_at(content, 0).map_err(self.failed("write", &unfinished))?;
        written.sync().map_err(self.failed("sync", &unfinished))?;
        self.rename(&unfinished, file)?;
        self.sync()
    }

    /// Writes a small file that is not there yet, without a sync: a crash may leave it empty, or torn.
    pub fn write_new(&self, file: &str, content: &[u8]) -> Result<(), LogError> {
        self.create(file)?.write_all_at(content, 0).map_err(self.failed("write", file))
    }

    /// Makes a file's content durable; one that does not exist is fine.
    pub fn sync_file(&self, file: &str) -> Result<(), LogError> {
        match self.disk.open(&self.at(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => opened.and_then(|file| file.sync()).map_err(self.failed("sync", file)),
        }
    }

    /// Makes the directory's own name durable.
    pub fn sync_name(&self) -> Result<(), LogError> {
        self.disk.sync_dir("").map_err(self.failed("sync the parent of", ""))
    }

    /// Makes an error of the operating system one of ours, which names the file.
    pub fn failed(&self, action: &'static str, file: &str) -> impl FnOnce(io::Error) -> LogError {
        move |source| LogError::Io { action, file: self.path(file), source }
    }

    /// A file that cannot be understood.
    pub fn malformed(&self, file: &str, problem: impl Into<String>) -> LogError {
        LogError::Malformed { file: self.path(file), problem: problem.into() }
    }

    fn at(&self, file: &str) -> String {
        let name = self.name();
        if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") }
    }
}

/// A directory of the operating system, locked against other processes while this value lives.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: Option<File>,
}

/// The lock's file, the one that Kafka locks too.
pub const LOCK_FILE: &str = ".lock";

impl RealDisk {
    /// A data directory that could not be opened, for those who only want to know its path.
    pub(super) fn closed(path: &Path) -> RealDisk {
        RealDisk { path: path.to_path_buf(), _lock: None }
    }

    /// Opens a data directory, creating it if need be, and takes its lock.
    pub fn open(path: &Path) -> Result<RealDisk, LogError> {
        let failed = |action: &'static str, file: &Path| {
            let file = file.to_path_buf();
            move |source| LogError::Io { action, file, source }
        };
        fs::create_dir_all(path).map_err(failed("create directory", path))?;
        let file = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(failed("open", &file))?;
        // What Java locks is a range of bytes, and what `File::lock` locks is the file: they do not see each other.
        match rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| lock.try_lock().map_err(io::Error::from))
        {
            Ok(()) => Ok(RealDisk { path: path.to_path_buf(), _lock: Some(lock) }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied) =>
            {
                Err(LogError::Locked { dir: path.to_path_buf() })
            }
            Err(error) => Err(failed("lock", &file)(error)),
        }
    }
}

impl Disk for RealDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path.join(dir))? {
            let entry = entry?;
            // A name that is not text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        match fs::create_dir(self.path.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        fs::remove_dir(self.path.join(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path.join(dir))?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, mut pieces: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        while !pieces.is_empty() {
            // More pieces than this in one call are refused by the operating system.
            let count = pieces.len().min(1024);
            let written = match rustix::io::pwritev(&self.0, &pieces[..count], offset) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut pieces, written);
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("new/data");
        let held = RealDisk::open(&path).expect("first holder");
        assert!(matches!(RealDisk::open(&path), Err(LogError::Locked { dir }) if dir == path));
        drop(held);
        RealDisk::open(&path).expect("free again");
    }

    #[test]
    fn pieces_land_one_behind_the_other() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).expect("disk"));
        disk.create_dir("t-0").expect("directory");
        disk.create_dir("t-0").expect("there already");
        let folder = Folder::new(disk, "t-0");
        let file = folder.create("a").expect("create");
        let many = vec![b'x'; 3000];
        let mut pieces: Vec<_> = many.iter().map(|byte| IoSlice::new(std::slice::from_ref(byte))).collect();
        pieces.push(IoSlice::new(b""));
        pieces.push(IoSlice::new(b"end"));
        file.write_at(&mut pieces, 2).expect("write");
        let content = folder.read("a").expect("read").expect("there");
        assert_eq!((content.len(), &content[..3], &content[2999..]), (3005, &b"\0\0x"[..], &b"xxxend"[..]));
        folder.replace("b", b"new").expect("replace");
        assert_eq!(folder.read("b").expect("read").as_deref(), Some(&b"new"[..]));
        assert_eq!(folder.read("c").expect("read"), None);
        let mut names: Vec<_> = folder.list().expect("list").into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
}
