//! The same disk as the broker's logs see it: with a directory for each partition.
//!
//! Directories are only parts of their files' names here, so they exist from the start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use broker::log::disk::{Disk, DiskFile, Entry};
use coordinator::store::{Disk as FlatDisk, DiskFile as FlatFile};

use super::{SimDisk, SimFile, power_is_off};

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        self.lock().alive()?;
        let mut entries = BTreeSet::new();
        for name in self.names() {
            let Some(inside) = name_inside(&name, dir) else { continue };
            entries.insert(match inside.split_once('/') {
                Some((folder, _)) => Entry { name: folder.to_owned(), is_dir: true },
                None => Entry { name: inside.to_owned(), is_dir: false },
            });
        }
        Ok(entries.into_iter().collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        self.lock().alive()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        state.alive()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        FlatDisk::create(self, name)?;
        Disk::open(self, name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.lock().names.contains_key(from) {
            return FlatDisk::rename(self, from, to);
        }
        let mut state = self.lock();
        let stops = state.effect()?;
        if !state.names.keys().any(|name| name_inside(name, from).is_some()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(super::NameChange::RenameDir(from.into(), to.into()));
        if stops { Err(power_is_off()) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        FlatDisk::remove(self, name)
    }

    fn remove_dir(&self, _dir: &str) -> io::Result<()> {
        self.lock().alive()
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        let effect = state.effects;
        if state.effect()? {
            return Err(power_is_off());
        }
        if state.failing_syncs.contains(&effect) {
            return Err(io::Error::other("simulated directory sync failure"));
        }
        let (inside, elsewhere) = std::mem::take(&mut state.pending_names)
            .into_iter()
            .partition(|change| name_inside(change.name(), dir).is_some_and(|name| !name.contains('/')));
        state.pending_names = elsewhere;
        let inside: Vec<super::NameChange> = inside;
        for change in inside {
            if let super::NameChange::RenameDir(from, to) = &change {
                // What was not synced inside goes on under the new name.
                state.pending_names.iter_mut().for_each(|pending| pending.move_inside(from, to));
            }
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

/// The rest of a name that begins with a directory's.
pub(super) fn name_inside<'a>(name: &'a str, dir: &str) -> Option<&'a str> {
    if dir.is_empty() { Some(name) } else { name.strip_prefix(dir)?.strip_prefix('/') }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        FlatFile::size(self)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FlatFile::read_at(self, buf, offset)
    }

    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        FlatFile::write_at(self, &bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        FlatFile::set_size(self, size)
    }

    fn sync(&self) -> io::Result<()> {
        FlatFile::sync(self)
    }

    fn as_file(&self) -> Option<&File> {
        None
    }
}
