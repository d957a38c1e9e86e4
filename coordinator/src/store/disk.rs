//! Which few operations does storage need from a disk?
//!
//! Every byte that is kept passes through [`Disk`] and [`DiskFile`], so that a test can put a disk underneath that loses,
//! tears and reorders what was not synced. Names are plain file names inside one directory.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// One directory of files.
///
/// What a disk promises, and no more: bytes written before a [`DiskFile::sync`] that returned `Ok` survive a crash; a
/// file's existence and name survive after a [`Disk::sync_dir`] that returned `Ok`. Anything else may be lost, wholly or
/// sector by sector, in any order.
pub trait Disk: Debug + Send + Sync {
    /// Where this is, for messages.
    fn path(&self) -> &Path;
    /// The names of all regular files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates an empty file, replacing one of the same name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Renames within the directory, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Debug + Send {
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads what is there, up to the buffer's length; zero at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf`, growing the file if need be. After an error any part of it may have been written.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros that have no space of their own yet.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes the written bytes and the size durable. After an error nothing may be assumed about what was written since
    /// the last success, and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
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
}

/// Whether an error says that space ran out, which may pass, rather than that the disk failed, which may not.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A directory of the operating system, locked against other processes while this value lives.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    dir: File,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: File,
}

/// The lock's file; it holds the process id of the holder, for the message to whoever comes second.
const LOCK_FILE: &str = "lock";

impl RealDisk {
    /// Opens a directory, creating it if need be, and takes its lock.
    pub fn open(path: &Path) -> Result<RealDisk, StoreError> {
        let failed =
            |action: &'static str| move |source| StoreError::Io { action, file: path.to_path_buf(), source };
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(failed("create directory"))?;
            // The new name is only safe once the directory that holds it is synced.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("sync the parent of"))?;
            }
        }
        let dir = File::open(path).map_err(failed("open directory"))?;
        let lock = Self::lock(path)?;
        Ok(RealDisk { path: path.to_path_buf(), dir, _lock: lock })
    }

    fn lock(dir: &Path) -> Result<File, StoreError> {
        let file = dir.join(LOCK_FILE);
        let failed = |source| StoreError::Io { action: "lock", file: file.clone(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                // Only the message to a second process depends on this text, so a full disk must not stop the start.
                let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.take(20).read_to_string(&mut text);
                Err(StoreError::Locked { dir: dir.to_path_buf(), holder: text.trim().parse().ok() })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    fn open_with(&self, name: &str, options: &OpenOptions) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(options.open(self.path.join(name))?)))
    }
}

impl Disk for RealDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not text is none of ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
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

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_directory_refuses_a_second_holder_and_names_the_first() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("new/data");
        let held = RealDisk::open(&path).expect("first holder");
        match RealDisk::open(&path) {
            Err(StoreError::Locked { dir, holder }) => {
                assert_eq!(dir, path);
                assert_eq!(holder, Some(std::process::id()));
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        drop(held);
        RealDisk::open(&path).expect("free again");
    }

    #[test]
    fn files_keep_what_is_written_and_lists_show_only_files() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(dir.path().join("folder")).expect("folder");
        let disk = RealDisk::open(dir.path()).expect("disk");
        let file = disk.create("a").expect("create");
        file.write_at(b"world", 5).expect("write");
        file.write_at(b"hello", 0).expect("write");
        file.sync().expect("sync");
        disk.rename("a", "b").expect("rename");
        disk.sync_dir().expect("sync directory");
        let mut names = disk.list().expect("list");
        names.sort();
        assert_eq!(names, ["b", LOCK_FILE]);
        let mut text = [0; 10];
        disk.open("b").expect("open").read_exact_at(&mut text, 0).expect("read");
        assert_eq!(&text, b"helloworld");
    }
}
