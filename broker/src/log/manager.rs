//! All logs of a broker, in all its data directories.
//!
//! A directory that fails takes its partitions offline and nobody else's; what is wrong with a single partition keeps
//! only that one away. Work that comes round from time to time is done by [`LogManager::tick`], on a thread that may
//! wait for disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;

use super::checkpoint::{self, MetaProperties};
use super::compaction::Dirt;
use super::config::TopicConfig;
use super::disk::{Disk, Folder};
use super::error::LogError;
use super::flush::GroupCommit;
use super::partition_log::{LoadOptions, PartitionLog, TopicPartition};

/// What the name of a directory ends in that waits to be removed.
const DELETE_SUFFIX: &str = "-delete";
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// How often things are done, in milliseconds; Kafka's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    pub retention_ms: i64,
    pub recovery_point_ms: i64,
    pub log_start_ms: i64,
    pub high_watermark_ms: i64,
    pub producer_expiration_check_ms: i64,
    /// After this long without a word, a producer is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals {
            retention_ms: 300_000,
            recovery_point_ms: 60_000,
            log_start_ms: 60_000,
            high_watermark_ms: 5000,
            producer_expiration_check_ms: 600_000,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}

/// One data directory.
#[derive(Debug)]
pub struct LogDir {
    folder: Folder,
    /// Why nothing in it is used any more.
    failure: OnceLock<String>,
    /// Whether a partition in it was refused, so that the next start must look again.
    has_refused: OnceLock<()>,
    /// How far each compacted log was cleaned.
    cleaned_to: Mutex<BTreeMap<TopicPartition, i64>>,
}

impl LogDir {
    pub fn path(&self) -> &Path {
        self.folder.disk().path()
    }

    /// Why nothing in it is used any more, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Stops using the directory, for good.
    pub fn fail(&self, error: &LogError) {
        if self.failure.set(error.to_string()).is_ok() {
            tracing::error!(dir = %self.path().display(), %error, "the data directory is offline");
        }
    }

    fn cleaned_to(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, i64>> {
        self.cleaned_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far a log was cleaned; `None`: it is no more.
    fn set_cleaned_to(&self, partition: &TopicPartition, offset: Option<i64>) -> Result<(), LogError> {
        let mut cleaned_to = self.cleaned_to();
        let before = match offset {
            Some(offset) => cleaned_to.insert(partition.clone(), offset),
            None => cleaned_to.remove(partition),
        };
        if before == offset {
            return Ok(());
        }
        checkpoint::write_offsets(&self.folder, checkpoint::CLEANED, &cleaned_to)
    }

    fn check(&self) -> Result<(), LogError> {
        match self.failure() {
            None => Ok(()),
            Some(_) => Err(LogError::Offline { dir: self.path().to_path_buf() }),
        }
    }
}

/// A log as many use it at once.
#[derive(Debug)]
pub struct SharedLog {
    dir: Arc<LogDir>,
    log: Mutex<PartitionLog>,
    commit: GroupCommit,
    is_deleted: AtomicBool,
}

impl SharedLog {
    /// Where it lies.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// The log, for as long as the guard lives; keep that short.
    pub fn lock(&self) -> Result<MutexGuard<'_, PartitionLog>, LogError> {
        self.dir.check()?;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_deleted.load(Ordering::Acquire) { Err(LogError::Deleted) } else { Ok(log) }
    }

    /// Looks at an error that came from this log: unless it is one that passes, or about a damaged partition, it takes
    /// the directory offline.
    pub fn note(&self, error: &LogError) {
        if !error.is_full() {
            self.note_final(error);
        }
    }

    /// The same for one that does not pass, even if it is for lack of space.
    fn note_final(&self, error: &LogError) {
        // The files of a deleted partition have other names, and that they are not found means nothing.
        if matches!(error, LogError::Io { .. }) && !self.is_deleted.load(Ordering::Acquire) {
            self.dir.fail(error);
        }
    }

    /// Takes back everything from this offset on.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> Result<bool, LogError> {
        let mut log = self.lock()?;
        let truncated = log.truncate_to(offset, now_ms).inspect_err(|error| self.note(error))?;
        let (partition, end_offset) = (log.partition().clone(), log.end_offset());
        drop(log);
        let cleaned_to = self.dir.cleaned_to().get(&partition).copied();
        if cleaned_to.is_some_and(|cleaned_to| cleaned_to > end_offset) {
            self.dir.set_cleaned_to(&partition, Some(end_offset))?;
        }
        Ok(truncated)
    }

    /// Waits until everything before `offset` is durable; one sync serves all who wait.
    pub fn commit(&self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        self.commit.wait(|| Ok(self.lock()?.recovery_point() >= offset), || self.flush(now_ms))
    }

    /// Makes everything durable that was appended so far.
    pub fn flush(&self, now_ms: i64) -> Result<(), LogError> {
        let job = self.lock()?.flush_job();
        // After a failed sync nobody knows what the disk has, so even one for lack of space is final.
        let flushed = job.run().inspect_err(|error| self.note_final(error))?;
        self.lock()?.flushed(flushed, now_ms);
        Ok(())
    }
}

/// A partition that could not be opened, and why.
#[derive(Debug)]
pub struct Refused {
    pub dir: PathBuf,
    pub error: LogError,
}

/// A directory that was renamed and waits to be removed.
#[derive(Debug)]
struct Doomed {
    dir: Arc<LogDir>,
    name: String,
    due_ms: i64,
}

/// See the top of this file.
#[derive(Debug)]
pub struct LogManager {
    dirs: Vec<Arc<LogDir>>,
    logs: RwLock<BTreeMap<TopicPartition, Arc<SharedLog>>>,
    refused: Mutex<BTreeMap<TopicPartition, Refused>>,
    doomed: Mutex<Vec<Doomed>>,
    /// Logs that are being cleaned, and those where that failed, until the next start.
    not_to_clean: Mutex<BTreeSet<TopicPartition>>,
    deletions: AtomicU64,
    intervals: Intervals,
    last: LastTimes,
}

/// When each piece of work was last done.
#[derive(Debug, Default)]
struct LastTimes {
    retention: AtomicI64,
    recovery_points: AtomicI64,
    log_starts: AtomicI64,
    high_watermarks: AtomicI64,
    producers: AtomicI64,
}

/// Whether it is time, and if so, notes that it was done.
fn is_time(last: &AtomicI64, now_ms: i64, interval_ms: i64) -> bool {
    let is_due = now_ms.saturating_sub(last.load(Ordering::Relaxed)) >= interval_ms;
    if is_due {
        last.store(now_ms, Ordering::Relaxed);
    }
    is_due
}

/// What a topic's settings are.
pub type ConfigOf<'a> = &'a (dyn Fn(&str) -> Arc<TopicConfig> + Sync);

impl LogManager {
    /// Opens all logs in all directories, with so many threads for each. Fails only if no directory can be used.
    pub fn open(
        disks: Vec<Arc<dyn Disk>>,
        config_of: ConfigOf<'_>,
        threads_per_dir: usize,
        intervals: Intervals,
        now_ms: i64,
    ) -> Result<LogManager, LogError> {
        let dirs: Vec<Arc<LogDir>> = disks
            .into_iter()
            .map(|disk| {
                let folder = Folder::new(disk, "");
                Arc::new(LogDir {
                    folder,
                    failure: OnceLock::new(),
                    has_refused: OnceLock::new(),
                    cleaned_to: Mutex::default(),
                })
            })
            .collect();
        let manager = LogManager {
            dirs,
            logs: RwLock::default(),
            refused: Mutex::default(),
            doomed: Mutex::default(),
            not_to_clean: Mutex::default(),
            deletions: AtomicU64::new(0),
            intervals,
            last: LastTimes::default(),
        };
        thread::scope(|scope| {
            for dir in &manager.dirs {
                let manager = &manager;
                scope.spawn(move || {
                    if let Err(error) = manager.load_dir(dir, config_of, threads_per_dir, now_ms) {
                        dir.fail(&error);
                    }
                });
            }
        });
        manager.drop_offline();
        match manager.dirs.iter().find(|dir| dir.failure().is_none()) {
            Some(_) => Ok(manager),
            None => {
                let dir = manager.dirs.first().map(|dir| dir.path().to_path_buf()).unwrap_or_default();
                Err(LogError::Offline { dir })
            }
        }
    }

    fn load_dir(
        &self,
        dir: &Arc<LogDir>,
        config_of: ConfigOf<'_>,
        threads: usize,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let was_clean = checkpoint::is_clean(&dir.folder)?;
        checkpoint::unmark_clean(&dir.folder)?;
        // A checkpoint that cannot be read costs a longer look at the logs, or the places that followers had reached.
        let read = |file| match checkpoint::read_offsets(&dir.folder, file) {
            Err(error @ LogError::Malformed { .. }) => {
                tracing::warn!(%error, "the checkpoint is not used");
                Ok(BTreeMap::new())
            }
            result => result,
        };
        let recovery_points = read(checkpoint::RECOVERY_POINTS)?;
        let log_starts = read(checkpoint::LOG_STARTS)?;
        let high_watermarks = read(checkpoint::HIGH_WATERMARKS)?;
        *dir.cleaned_to() = read(checkpoint::CLEANED)?;
        let mut partitions = Vec::new();
        for entry in dir.folder.list()?.into_iter().filter(|entry| entry.is_dir) {
            if entry.name.ends_with(DELETE_SUFFIX) {
                self.doom(Doomed { dir: Arc::clone(dir), name: entry.name, due_ms: now_ms });
            } else if let Some(partition) = TopicPartition::from_dir_name(&entry.name) {
                partitions.push(partition);
            }
        }
        let queue = Mutex::new(partitions.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let load_one = |partition: TopicPartition| {
            let offset = |of: &BTreeMap<TopicPartition, i64>| of.get(&partition).copied().unwrap_or(0).max(0);
            let options = LoadOptions {
                was_clean,
                recovery_point: offset(&recovery_points),
                log_start_offset: offset(&log_starts),
                high_watermark: offset(&high_watermarks),
            };
            self.load_log(dir, partition, config_of, &options, now_ms)
        };
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    while dir.failure().is_none()
                        && let Some(partition) = next()
                    {
                        load_one(partition);
                    }
                });
            }
        });
        Ok(())
    }

    fn load_log(
        &self,
        dir: &Arc<LogDir>,
        partition: TopicPartition,
        config_of: ConfigOf<'_>,
        options: &LoadOptions,
        now_ms: i64,
    ) {
        let folder = Folder::new(Arc::clone(dir.folder.disk()), &partition.to_string());
        let config = config_of(&partition.topic);
        let error = match PartitionLog::open(folder, partition.clone(), config, options, now_ms) {
            Ok((log, recovered)) => {
                if recovered.segments_rebuilt > 0 {
                    tracing::info!(%partition, ?recovered, "recovered");
                }
                match self.insert(dir, log) {
                    Ok(_) => return,
                    Err(error) => error,
                }
            }
            Err(error @ LogError::Io { .. }) => return dir.fail(&error),
            Err(error) => error,
        };
        tracing::error!(%partition, %error, "the partition stays offline");
        let _ = dir.has_refused.set(());
        let refused = Refused { dir: dir.path().to_path_buf(), error };
        self.refused().insert(partition, refused);
    }

    fn insert(&self, dir: &Arc<LogDir>, log: PartitionLog) -> Result<Arc<SharedLog>, LogError> {
        let partition = log.partition().clone();
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = logs.get(&partition) {
            let problem = format!("the partition is in {} too", other.dir.path().display());
            return Err(dir.folder.malformed(&partition.to_string(), problem));
        }
        let shared = Arc::new(SharedLog {
            dir: Arc::clone(dir),
            log: Mutex::new(log),
            commit: GroupCommit::default(),
            is_deleted: AtomicBool::new(false),
        });
        logs.insert(partition, Arc::clone(&shared));
        Ok(shared)
    }

    /// The data directories.
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// Partitions that could not be opened.
    pub fn refused(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who each usable directory belongs to; `None` for a new one.
    pub fn meta_properties(&self) -> Result<Vec<(PathBuf, Option<MetaProperties>)>, LogError> {
        self.online()
            .map(|dir| Ok((dir.path().to_path_buf(), checkpoint::read_meta_properties(&dir.folder)?)))
            .collect()
    }

    /// Writes down who the directories belong to, where that is not written yet.
    pub fn claim(&self, meta: &MetaProperties) -> Result<(), LogError> {
        for dir in self.online() {
            let known = checkpoint::read_meta_properties(&dir.folder)?;
            let directory_id = known.as_ref().and_then(|known| known.directory_id.clone());
            let wanted = MetaProperties { directory_id, ..meta.clone() };
            if known.as_ref() != Some(&wanted) {
                checkpoint::write_meta_properties(&dir.folder, &wanted)?;
            }
        }
        Ok(())
    }

    fn online(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().filter(|dir| dir.failure().is_none())
    }

    /// The partition's log, unless it has none here or its directory failed.
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<SharedLog>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(partition).filter(|log| log.dir.failure().is_none()).cloned()
    }

    /// All logs, by partition.
    pub fn logs(&self) -> Vec<(TopicPartition, Arc<SharedLog>)> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(|(partition, log)| (partition.clone(), Arc::clone(log))).collect()
    }

    /// The partition's log, made if there is none, in the usable directory with the fewest.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        config: Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<Arc<SharedLog>, LogError> {
        if let Some(log) = self.get(partition) {
            return Ok(log);
        }
        if let Some(refused) = self.refused().get(partition) {
            let (file, problem) = (refused.dir.join(partition.to_string()), refused.error.to_string());
            return Err(LogError::Malformed { file, problem });
        }
        let dir = Arc::clone(self.emptiest_dir()?);
        let name = partition.to_string();
        let folder = Folder::new(Arc::clone(dir.folder.disk()), &name);
        let create = || {
            dir.folder.disk().create_dir(&name).map_err(dir.folder.failed("create directory", &name))?;
            let log = PartitionLog::create(folder, partition.clone(), config, now_ms)?;
            dir.folder.sync()?;
            Ok(log)
        };
        let log: PartitionLog = create().inspect_err(|error: &LogError| {
            if !error.is_full() {
                dir.fail(error);
            }
        })?;
        match self.insert(&dir, log) {
            Ok(log) => Ok(log),
            // Somebody else made it meanwhile.
            Err(error) => self.get(partition).ok_or(error),
        }
    }

    fn emptiest_dir(&self) -> Result<&Arc<LogDir>, LogError> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        let load = |dir: &Arc<LogDir>| logs.values().filter(|log| Arc::ptr_eq(&log.dir, dir)).count();
        let dir = self.online().min_by_key(|dir| load(dir));
        dir.ok_or_else(|| LogError::Offline { dir: self.dirs[0].path().to_path_buf() })
    }

    /// Gives a partition up: at once for everybody who asks, on disk after the topic's delay.
    pub fn delete(&self, partition: &TopicPartition, now_ms: i64) -> Result<(), LogError> {
        let removed = {
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            logs.remove(partition)
        };
        let Some(shared) = removed else { return Ok(()) };
        let number = self.deletions.fetch_add(1, Ordering::Relaxed);
        let name = doomed_name(partition, now_ms, number);
        let folder = &shared.dir.folder;
        let log = shared.lock()?;
        let delay_ms = log.config().file_delete_delay_ms;
        folder.rename(&partition.to_string(), &name).inspect_err(|error| shared.note(error))?;
        shared.is_deleted.store(true, Ordering::Release);
        drop(log);
        folder.sync().inspect_err(|error| shared.dir.fail(error))?;
        shared.dir.set_cleaned_to(partition, None)?;
        self.not_to_clean().remove(partition);
        let due_ms = now_ms.saturating_add(delay_ms);
        self.doom(Doomed { dir: Arc::clone(&shared.dir), name, due_ms });
        Ok(())
    }

    fn doom(&self, doomed: Doomed) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).push(doomed);
    }

    /// Does what is due. What goes wrong with one log or directory is noted there, and stops nothing else.
    pub fn tick(&self, now_ms: i64) {
        self.drop_offline();
        self.remove_doomed(now_ms);
        let (last, intervals) = (&self.last, self.intervals);
        let retention = is_time(&last.retention, now_ms, intervals.retention_ms);
        let producers = is_time(&last.producers, now_ms, intervals.producer_expiration_check_ms);
        for (partition, shared) in self.logs() {
            let work = || -> Result<(), LogError> {
                let mut log = shared.lock()?;
                if retention {
                    let count = log.apply_retention(now_ms)?;
                    if count > 0 {
                        tracing::info!(%partition, segments = count, "dropped old segments");
                    }
                }
                log.remove_retired(now_ms)?;
                if producers {
                    log.expire_producers(now_ms, intervals.producer_id_expiration_ms);
                }
                let is_overdue = log.is_flush_overdue(now_ms);
                drop(log);
                if is_overdue { shared.flush(now_ms) } else { Ok(()) }
            };
            if let Err(error) = work() {
                shared.note(&error);
            }
        }
        if is_time(&last.recovery_points, now_ms, intervals.recovery_point_ms) {
            self.checkpoint(checkpoint::RECOVERY_POINTS, PartitionLog::recovery_point);
        }
        if is_time(&last.log_starts, now_ms, intervals.log_start_ms) {
            self.checkpoint(checkpoint::LOG_STARTS, PartitionLog::log_start_offset);
        }
        if is_time(&last.high_watermarks, now_ms, intervals.high_watermark_ms) {
            self.checkpoint(checkpoint::HIGH_WATERMARKS, PartitionLog::high_watermark);
        }
    }

    /// Cleans the dirtiest of the logs that are due, with at most so many bytes for its keys; says whether there was one.
    /// Several threads may do this at once.
    pub fn clean_one(&self, dedupe_bytes: usize, now_ms: i64) -> bool {
        let Some((partition, shared, dirt)) = self.claim_dirtiest(now_ms) else { return false };
        let clean = || -> Result<(), LogError> {
            let plan = shared.lock()?.cleaning_plan(dirt);
            let Some(cleaned) = plan.run(dedupe_bytes, now_ms, || shared.lock())? else { return Ok(()) };
            tracing::info!(%partition, ?cleaned, "cleaned");
            shared.dir.set_cleaned_to(&partition, Some(cleaned.end_offset))
        };
        match clean() {
            Ok(()) => {
                self.not_to_clean().remove(&partition);
            }
            Err(error) => {
                shared.note(&error);
                tracing::error!(%partition, %error, "the log is not cleaned any more");
            }
        }
        true
    }

    fn not_to_clean(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.not_to_clean.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dirtiest log that is due; nobody else cleans it meanwhile.
    fn claim_dirtiest(&self, now_ms: i64) -> Option<(TopicPartition, Arc<SharedLog>, Dirt)> {
        let mut taken = self.not_to_clean();
        let mut dirtiest: Option<(TopicPartition, Arc<SharedLog>, Dirt)> = None;
        for (partition, shared) in self.logs() {
            if taken.contains(&partition) {
                continue;
            }
            let cleaned_to = shared.dir.cleaned_to().get(&partition).copied().unwrap_or(0);
            match shared.lock().and_then(|mut log| log.dirt(cleaned_to, now_ms)) {
                Ok(Some(dirt)) if dirt.is_due => {
                    if dirtiest.as_ref().is_none_or(|(_, _, other)| dirt.ratio > other.ratio) {
                        dirtiest = Some((partition, shared, dirt));
                    }
                }
                Ok(_) => {}
                Err(error) => shared.note(&error),
            }
        }
        if let Some((partition, _, _)) = &dirtiest {
            taken.insert(partition.clone());
        }
        dirtiest
    }

    /// Forgets the logs of directories that failed.
    fn drop_offline(&self) {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, log| log.dir.failure().is_none());
    }

    /// Removes directories that waited long enough.
    fn remove_doomed(&self, now_ms: i64) {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        doomed.retain(|doomed| {
            if doomed.due_ms > now_ms {
                return true;
            }
            if let Err(error) = remove_all(&doomed.dir.folder, &doomed.name) {
                tracing::warn!(%error, "a deleted partition's directory stays; the next start tries again");
            }
            false
        });
    }

    /// Writes one number of each log into a file of its directory.
    fn checkpoint(&self, file: &'static str, number: impl Fn(&PartitionLog) -> i64) {
        let logs = self.logs();
        for dir in self.online() {
            let mut offsets = BTreeMap::new();
            for (partition, shared) in logs.iter().filter(|(_, log)| Arc::ptr_eq(&log.dir, dir)) {
                if let Ok(log) = shared.lock() {
                    offsets.insert(partition.clone(), number(&log));
                }
            }
            if let Err(error) = checkpoint::write_offsets(&dir.folder, file, &offsets)
                && !error.is_full()
            {
                dir.fail(&error);
            }
        }
    }

    /// Closes everything well, so that the next start needs no second look.
    pub fn close(&self, broker_epoch: i64, now_ms: i64) {
        for (_, shared) in self.logs() {
            let result = shared.lock().and_then(|mut log| log.close(now_ms));
            if let Err(error) = result {
                // Without the marker the next start looks at everything that may be amiss.
                shared.dir.fail(&error);
            }
        }
        self.checkpoint(checkpoint::RECOVERY_POINTS, PartitionLog::recovery_point);
        self.checkpoint(checkpoint::LOG_STARTS, PartitionLog::log_start_offset);
        self.checkpoint(checkpoint::HIGH_WATERMARKS, PartitionLog::high_watermark);
        for dir in self.online().filter(|dir| dir.has_refused.get().is_none()) {
            if let Err(error) = checkpoint::mark_clean(&dir.folder, broker_epoch) {
                dir.fail(&error);
            }
        }
    }
}

/// The name of a partition's directory while it waits to be removed: one that no other directory has or had.
fn doomed_name(partition: &TopicPartition, now_ms: i64, number: u64) -> String {
    let tail = format!("-{}.{now_ms:016x}{number:016x}{DELETE_SUFFIX}", partition.partition);
    let topic: String = partition.topic.chars().take(NAME_BYTES_MAX - tail.len()).collect();
    topic + &tail
}

fn remove_all(root: &Folder, name: &str) -> Result<(), LogError> {
    let folder = Folder::new(Arc::clone(root.disk()), name);
    for entry in folder.list()? {
        folder.remove(&entry.name)?;
    }
    root.disk().remove_dir(name).map_err(root.failed("remove directory", name))
}

#[cfg(test)]
mod tests;
