//! How are the logs of a directory found and opened?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{ConfigOf, DELETE_SUFFIX, Doomed, LogManager, Refused};
use crate::log::checkpoint;
use crate::log::disk::Folder;
use crate::log::error::LogError;
use crate::log::log_dir::LogDir;
use crate::log::partition_log::{LoadOptions, PartitionLog, TopicPartition};

impl LogManager {
    pub(super) fn load_dir(
        &self,
        dir: &Arc<LogDir>,
        config_of: ConfigOf<'_>,
        threads: usize,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let was_clean = checkpoint::is_clean(&dir.folder)?;
        checkpoint::unmark_clean(&dir.folder)?;
        let read = |file| checkpoint::read_offsets_if_sound(&dir.folder, file);
        let recovery_points = read(checkpoint::RECOVERY_POINTS)?;
        let log_starts = read(checkpoint::LOG_STARTS)?;
        let high_watermarks = read(checkpoint::HIGH_WATERMARKS)?;
        *dir.cleaned_to() = read(checkpoint::CLEANED)?;
        let mut partitions = BTreeSet::new();
        for entry in dir.folder.list()?.into_iter().filter(|entry| entry.is_dir) {
            if entry.name.ends_with(DELETE_SUFFIX) {
                self.doom(Doomed { dir: Arc::clone(dir), name: entry.name, due_ms: now_ms });
            } else if let Some(partition) = TopicPartition::from_dir_name(&entry.name) {
                partitions.insert(partition);
            }
        }
        let is_here = |partition: &&TopicPartition| partitions.contains(*partition);
        let noted = recovery_points.keys().chain(log_starts.keys()).chain(high_watermarks.keys());
        dir.outdated().extend(noted.filter(|noted| !is_here(noted)).cloned());
        dir.cleaned_to().retain(|partition, _| is_here(&partition));
        let queue = Mutex::new(partitions.iter().cloned());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let load_one = |partition: TopicPartition| {
            let offset = |of: &BTreeMap<TopicPartition, i64>| of.get(&partition).copied().unwrap_or(0).max(0);
            let options = LoadOptions {
                was_clean,
                recovery_point: offset(&recovery_points),
                log_start_offset: offset(&log_starts),
                high_watermark: offset(&high_watermarks),
                cleaned_to: offset(&dir.cleaned_to()),
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
}
