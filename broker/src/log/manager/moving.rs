//! How does a partition get from one data directory to another?
//!
//! What a [`FutureLog`] is and does is told there; here is which there are, and what becomes of their directories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Doomed, LogManager, NAME_BYTES_MAX, doomed_name};
use crate::log::checkpoint;
use crate::log::disk::Folder;
use crate::log::error::LogError;
use crate::log::future::{FUTURE_SUFFIX, FutureLog, MOVED_FROM, Progress};
use crate::log::log_dir::LogDir;
use crate::log::partition_log::{PartitionLog, TopicPartition};
use crate::log::shared_log::SharedLog;

/// Why a partition is not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    #[error("{dir} is none of this broker's data directories")]
    NoSuchDir { dir: String },
    #[error("the topic's name is too long for a copy's directory")]
    NameTooLong,
    /// When it is made here, it will be made there.
    #[error("this broker has no log of the partition yet")]
    NotHere,
    #[error(transparent)]
    Storage(#[from] LogError),
}

/// The partitions that move, and their copies.
pub(super) type Moves = BTreeMap<TopicPartition, Arc<Mutex<FutureLog>>>;

pub(super) fn locked(future: &Mutex<FutureLog>) -> MutexGuard<'_, FutureLog> {
    future.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The partition whose copy has this name.
fn moving_partition(name: &str) -> Option<TopicPartition> {
    TopicPartition::from_dir_name(name.strip_suffix(FUTURE_SUFFIX)?.rsplit_once('.')?.0)
}

/// A copy that was begun before this start.
#[derive(Debug)]
pub(super) struct FoundCopy {
    dir: Arc<LogDir>,
    name: String,
    partition: TopicPartition,
    /// Whether the process that made it closed it well.
    was_clean: bool,
}

/// From now on there is no other directory that this one replaces.
fn forget_origin(folder: &Folder) -> Result<(), LogError> {
    folder.remove(MOVED_FROM)?;
    folder.sync()
}

impl LogManager {
    /// Begins to copy a partition to another directory, or ends that if it is to stay where it is.
    pub fn move_to(&self, partition: &TopicPartition, path: &Path, now_ms: i64) -> Result<(), MoveError> {
        let number = self.deletions.fetch_add(1, Ordering::Relaxed);
        let name = format!("{partition}.{now_ms:016x}{number:016x}{FUTURE_SUFFIX}");
        if name.len() > NAME_BYTES_MAX {
            return Err(MoveError::NameTooLong);
        }
        let dir = self.dirs.iter().find(|dir| dir.path() == path);
        let dir = dir.ok_or_else(|| MoveError::NoSuchDir { dir: path.display().to_string() })?;
        dir.check()?;
        if let Some(refused) = self.refused().get(partition) {
            return Err(LogError::Offline { dir: refused.dir.clone() }.into());
        }
        let mut moves = self.moves();
        if let Some(future) = moves.get(partition) {
            let mut future = locked(future);
            if !future.is_over() && Arc::ptr_eq(future.dir(), dir) {
                return Ok(());
            }
            if !future.is_over() {
                self.discard(&mut future, now_ms);
            }
            drop(future);
            moves.remove(partition);
        }
        let Some(source) = self.get(partition) else {
            self.preferred().insert(partition.clone(), Arc::clone(dir));
            return Err(MoveError::NotHere);
        };
        if Arc::ptr_eq(&source.dir(), dir) {
            return Ok(());
        }
        let future = FutureLog::create(dir, &name, &source, now_ms).inspect_err(|error| {
            self.note_move(dir, &source, error);
            // Otherwise the next start would go on with it.
            let _ = self.retire(dir, &dir.inside(&name), partition, now_ms);
        })?;
        tracing::info!(%partition, to = %dir.path().display(), "the partition moves");
        moves.insert(partition.clone(), Arc::new(Mutex::new(future)));
        Ok(())
    }

    /// The copies that grow.
    pub fn futures(&self) -> Vec<(TopicPartition, Arc<Mutex<FutureLog>>)> {
        self.moves().iter().map(|(partition, future)| (partition.clone(), Arc::clone(future))).collect()
    }

    /// Copies about so many bytes, one partition after the other; returns how many. Copies that have caught up take
    /// their places.
    pub fn advance_moves(&self, bytes_max: u64, now_ms: i64) -> u64 {
        let mut copied = 0;
        for (partition, future) in self.futures() {
            if copied >= bytes_max {
                break;
            }
            if self.cleaning().running.contains(&partition) {
                continue;
            }
            let Some(source) = self.get(&partition) else {
                if self.online().count() == self.dirs.len() {
                    // It was deleted. If its directory failed, the next start goes on.
                    self.discard(&mut locked(&future), now_ms);
                }
                self.moves().remove(&partition);
                continue;
            };
            let advanced = locked(&future).advance(&source, bytes_max - copied, now_ms);
            let result = match advanced {
                Ok(Progress::Copied { bytes }) => {
                    copied += bytes;
                    Ok(())
                }
                Ok(Progress::Close { bytes }) => {
                    copied += bytes;
                    self.replace(&partition, &source, &future, now_ms)
                }
                Ok(Progress::Over) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::error!(%partition, %error, "the partition stays where it is");
                let mut future = locked(&future);
                let dir = Arc::clone(future.dir());
                self.note_move(&dir, &source, &error);
                if !future.is_over() && source.dir().failure().is_none() {
                    self.discard(&mut future, now_ms);
                }
                drop(future);
                self.moves().remove(&partition);
            }
        }
        copied
    }

    fn replace(
        &self,
        partition: &TopicPartition,
        source: &SharedLog,
        future: &Mutex<FutureLog>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let to = Arc::clone(locked(future).dir());
        self.forget_former(&to, partition)?;
        // What was deleted from the log must not come back with the copy after a crash.
        self.checkpoint(checkpoint::LOG_STARTS, PartitionLog::log_start_offset);
        let mut future = locked(future);
        if !future.replace(source, now_ms)? {
            return Ok(());
        }
        let (from, to, folder) = (Arc::clone(future.dir()), source.dir(), future.folder().clone());
        drop(future);
        tracing::info!(%partition, from = %from.path().display(), to = %to.path().display(), "the partition has moved");
        self.moves().remove(partition);
        let cleaned_to = from.cleaned_to().get(partition).copied();
        to.set_cleaned_to(partition, cleaned_to)?;
        from.set_cleaned_to(partition, None)?;
        from.outdated().insert(partition.clone());
        self.retire(&from, &folder, partition, now_ms)?;
        // Only now is there nothing that the next start could take for the partition.
        forget_origin(&source.lock()?.folder.clone())
    }

    /// Whether a partition is being copied to another directory.
    pub(super) fn is_moving(&self, partition: &TopicPartition) -> bool {
        self.moves().contains_key(partition)
    }

    pub(super) fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn preferred(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<LogDir>>> {
        self.preferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition is not to move any more.
    pub(super) fn stop_moving(&self, partition: &TopicPartition, now_ms: i64) {
        let future = self.moves().remove(partition);
        if let Some(future) = future {
            let mut future = locked(&future);
            if !future.is_over() {
                self.discard(&mut future, now_ms);
            }
        }
    }

    fn discard(&self, future: &mut FutureLog, now_ms: i64) {
        if let Some(partition) = future.log().map(|log| log.partition().clone()) {
            future.give_up();
            future.dir().outdated().insert(partition.clone());
            self.discard_folder(future.dir(), future.folder(), &partition, now_ms);
        }
    }

    /// Has a copy's directory removed that nobody uses.
    fn discard_folder(&self, dir: &Arc<LogDir>, folder: &Folder, partition: &TopicPartition, now_ms: i64) {
        if let Err(error) = self.retire(dir, folder, partition, now_ms) {
            tracing::warn!(%error, "a directory that is not needed any more stays");
        }
    }

    /// Gives a directory, durably, a name under which it is removed soon.
    fn retire(
        &self,
        dir: &Arc<LogDir>,
        folder: &Folder,
        partition: &TopicPartition,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let name = doomed_name(partition, now_ms, self.deletions.fetch_add(1, Ordering::Relaxed));
        folder.rename_self(&name)?;
        dir.folder.sync().inspect_err(|error| dir.fail(error))?;
        self.doom(Doomed { dir: Arc::clone(dir), name, due_ms: now_ms });
        Ok(())
    }

    /// Looks for copies, before logs are opened. A machine that stopped while one took its log's place has left both:
    /// then the log goes.
    pub(super) fn find_copies(&self, now_ms: i64) -> Vec<FoundCopy> {
        let mut copies = Vec::new();
        let mut holders: BTreeMap<TopicPartition, Vec<&Arc<LogDir>>> = BTreeMap::new();
        for dir in self.online() {
            let look = || Ok((checkpoint::is_clean(&dir.folder)?, dir.folder.list()?));
            let (was_clean, entries) = match look() {
                Ok(found) => found,
                Err(error) => {
                    dir.fail(&error);
                    continue;
                }
            };
            for entry in entries.into_iter().filter(|entry| entry.is_dir) {
                if let Some(partition) = TopicPartition::from_dir_name(&entry.name) {
                    holders.entry(partition).or_default().push(dir);
                } else if let Some(partition) = moving_partition(&entry.name) {
                    copies.push(FoundCopy { dir: Arc::clone(dir), name: entry.name, partition, was_clean });
                }
            }
        }
        for (partition, holders) in holders.iter().filter(|(_, holders)| holders.len() > 1) {
            for dir in holders {
                if let Err(error) = self.settle(partition, dir, holders, now_ms) {
                    tracing::error!(%partition, %error, "the partition is in more than one directory");
                }
            }
        }
        copies
    }

    /// If the partition in `dir` was to replace that in another directory, it does.
    fn settle(
        &self,
        partition: &TopicPartition,
        dir: &LogDir,
        holders: &[&Arc<LogDir>],
        now_ms: i64,
    ) -> Result<(), LogError> {
        let folder = dir.inside(&partition.to_string());
        let Some(from) = folder.read(MOVED_FROM)? else { return Ok(()) };
        let replaced = holders.iter().find(|other| other.path().as_os_str().as_encoded_bytes() == from);
        let Some(other) = replaced else { return Ok(()) };
        // With the one that is out of date nothing must happen but that it goes.
        self.retire(other, &other.inside(&partition.to_string()), partition, now_ms)
            .inspect_err(|error| other.fail(error))?;
        forget_origin(&folder)
    }

    /// Goes on with the copies that were found. What a crash left of one is not worth a long look: it is made anew.
    pub(super) fn resume_moves(&self, copies: Vec<FoundCopy>, now_ms: i64) {
        let mut unfinished = Vec::new();
        for FoundCopy { dir, name, partition, was_clean } in copies {
            if dir.failure().is_some() {
                continue;
            }
            let Some(source) = self.get(&partition) else {
                let is_nowhere =
                    self.online().count() == self.dirs.len() && !self.refused().contains_key(&partition);
                if is_nowhere {
                    self.discard_folder(&dir, &dir.inside(&name), &partition, now_ms);
                }
                continue;
            };
            if Arc::ptr_eq(&source.dir(), &dir) {
                // What a move that was given up could not remove. It must never take the place of the log beside it.
                self.discard_folder(&dir, &dir.inside(&name), &partition, now_ms);
                continue;
            }
            if was_clean && !self.is_moving(&partition) {
                match FutureLog::open(&dir, &name, &source, now_ms) {
                    Ok(future) => {
                        self.moves().insert(partition, Arc::new(Mutex::new(future)));
                        continue;
                    }
                    Err(error) => tracing::warn!(%partition, %error, "a copy cannot be used"),
                }
            }
            self.discard_folder(&dir, &dir.inside(&name), &partition, now_ms);
            unfinished.push((partition, dir));
        }
        // Only now, as a new copy may get the name of one that was found: the clock may have gone back.
        for (partition, dir) in unfinished {
            if !self.is_moving(&partition)
                && let Err(error) = self.move_to(&partition, dir.path(), now_ms)
            {
                tracing::error!(%partition, %error, "the partition stays where it is");
            }
        }
    }

    fn note_move(&self, to: &LogDir, source: &SharedLog, error: &LogError) {
        if error.is_in(to.path()) && !error.is_full() {
            to.fail(error);
        } else {
            source.note(error);
        }
    }
}
