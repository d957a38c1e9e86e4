//! The small text files: how Kafka writes down offsets, epochs, and who a directory belongs to.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::disk::Folder;
use super::error::LogError;
use super::partition_log::TopicPartition;

/// How far each partition is on disk for sure.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where each log begins, when its first segment begins before that.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// How far each partition is replicated.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// How far each partition is compacted.
pub const CLEANED: &str = "cleaner-offset-checkpoint";
/// Which epochs of leaders began where; in a partition's directory.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

const META_PROPERTIES: &str = "meta.properties";
const PARTITION_METADATA: &str = "partition.metadata";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Lines behind a version and a count; `None` if there is no such file.
fn read_lines(folder: &Folder, file: &str) -> Result<Option<Vec<String>>, LogError> {
    let Some(content) = folder.read(file)? else { return Ok(None) };
    let text = String::from_utf8(content).map_err(|_| folder.malformed(file, "it is not text"))?;
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        other => return Err(folder.malformed(file, format!("its version is {other:?}"))),
    }
    let count: usize = lines
        .next()
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| folder.malformed(file, "it does not say how many lines it has"))?;
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.len() != count {
        return Err(folder.malformed(file, format!("it says {count} lines and has {}", lines.len())));
    }
    Ok(Some(lines))
}

fn text_of(lines: &[String]) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Reads a file of one offset per partition; one that is missing is empty.
pub fn read_offsets(folder: &Folder, file: &str) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let parse = |line: &String| {
        let mut words = line.split_whitespace();
        let topic = words.next()?.to_owned();
        let partition = words.next()?.parse().ok()?;
        let offset = words.next()?.parse().ok()?;
        words.next().is_none().then_some((TopicPartition { topic, partition }, offset))
    };
    let lines = read_lines(folder, file)?.unwrap_or_default();
    lines
        .iter()
        .map(|line| parse(line).ok_or_else(|| folder.malformed(file, format!("{line:?} is no offset"))))
        .collect()
}

/// The same, with nothing in a file that cannot be understood: that costs a longer look at the logs, or the places that
/// followers had reached.
pub fn read_offsets_if_sound(folder: &Folder, file: &str) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    match read_offsets(folder, file) {
        Err(error @ LogError::Malformed { .. }) => {
            tracing::warn!(%error, "the checkpoint is not used");
            Ok(BTreeMap::new())
        }
        result => result,
    }
}

/// Replaces a file of one offset per partition.
pub fn write_offsets(
    folder: &Folder,
    file: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), LogError> {
    let lines: Vec<String> = offsets
        .iter()
        .map(|(partition, offset)| format!("{} {} {offset}", partition.topic, partition.partition))
        .collect();
    folder.replace(file, text_of(&lines).as_bytes())
}

/// Reads the epochs of a partition's leaders and where they began.
pub fn read_epochs(folder: &Folder) -> Result<Vec<(i32, i64)>, LogError> {
    let lines = read_lines(folder, LEADER_EPOCHS)?.unwrap_or_default();
    lines
        .iter()
        .map(|line| {
            let (epoch, start) = line.split_once(' ').unwrap_or_default();
            match (epoch.parse(), start.trim().parse()) {
                (Ok(epoch), Ok(start)) => Ok((epoch, start)),
                _ => Err(folder.malformed(LEADER_EPOCHS, format!("{line:?} is no epoch and offset"))),
            }
        })
        .collect()
}

/// Replaces the epochs of a partition's leaders.
pub fn write_epochs(folder: &Folder, epochs: &[(i32, i64)]) -> Result<(), LogError> {
    folder.replace(LEADER_EPOCHS, text_of_epochs(epochs).as_bytes())
}

/// Writes the epochs of a log that has no records yet. No sync: if a crash leaves less than the whole file, they are
/// read from the records.
pub fn write_first_epochs(folder: &Folder, epochs: &[(i32, i64)]) -> Result<(), LogError> {
    folder.write_new(LEADER_EPOCHS, text_of_epochs(epochs).as_bytes())
}

fn text_of_epochs(epochs: &[(i32, i64)]) -> String {
    let lines: Vec<String> = epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")).collect();
    text_of(&lines)
}

/// A topic's id, which survives neither deletion nor creation under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// The topic that a partition's directory belongs to, if that was written down.
pub fn read_topic_id(folder: &Folder) -> Result<Option<TopicId>, LogError> {
    let Some(content) = folder.read(PARTITION_METADATA)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&content);
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    if field("version") != Some("0") {
        return Err(folder.malformed(PARTITION_METADATA, "its version is not 0"));
    }
    let id =
        field("topic_id").and_then(|id| URL_SAFE_NO_PAD.decode(id).ok()).and_then(|id| id.try_into().ok());
    id.map(|id| Some(TopicId(id))).ok_or_else(|| folder.malformed(PARTITION_METADATA, "it has no topic id"))
}

/// Writes down the topic that a partition's directory belongs to.
pub fn write_topic_id(folder: &Folder, id: TopicId) -> Result<(), LogError> {
    folder.replace(PARTITION_METADATA, text_of_topic_id(id).as_bytes())
}

/// The same in a directory without records, where that need not last before they do: see [`sync_topic_id`].
pub fn write_first_topic_id(folder: &Folder, id: TopicId) -> Result<(), LogError> {
    folder.write_new(PARTITION_METADATA, text_of_topic_id(id).as_bytes())
}

/// Makes the topic's id durable, if there is one.
pub fn sync_topic_id(folder: &Folder) -> Result<(), LogError> {
    folder.sync_file(PARTITION_METADATA)?;
    folder.sync()
}

fn text_of_topic_id(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}", URL_SAFE_NO_PAD.encode(id.0))
}

/// Which broker of which cluster a data directory belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaProperties {
    pub broker_id: Option<i32>,
    pub cluster_id: Option<String>,
    /// A name for the directory itself, which later Kafkas give; kept as it is.
    pub directory_id: Option<String>,
}

/// Reads who a data directory belongs to; `None` if it is new.
pub fn read_meta_properties(folder: &Folder) -> Result<Option<MetaProperties>, LogError> {
    let Some(content) = folder.read(META_PROPERTIES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&content);
    let mut meta = MetaProperties::default();
    let mut version = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        // Java's writer escapes these two characters.
        let value = value.trim().replace("\\=", "=").replace("\\:", ":");
        match key.trim() {
            "version" => version = Some(value),
            "broker.id" => {
                let id =
                    value.parse().map_err(|_| folder.malformed(META_PROPERTIES, "broker.id is no number"))?;
                meta.broker_id = Some(id);
            }
            "cluster.id" => meta.cluster_id = Some(value),
            "directory.id" => meta.directory_id = Some(value),
            "node.id" => {
                return Err(folder.malformed(META_PROPERTIES, "it belongs to a broker without ZooKeeper"));
            }
            _ => {}
        }
    }
    match version.as_deref() {
        Some("0") => Ok(Some(meta)),
        other => Err(folder.malformed(META_PROPERTIES, format!("its version is {other:?}"))),
    }
}

/// Writes down who a data directory belongs to.
pub fn write_meta_properties(folder: &Folder, meta: &MetaProperties) -> Result<(), LogError> {
    let mut text = String::from("#\nversion=0\n");
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={value}");
        }
    };
    put("broker.id", meta.broker_id.map(|id| id.to_string()));
    put("cluster.id", meta.cluster_id.clone());
    put("directory.id", meta.directory_id.clone());
    folder.replace(META_PROPERTIES, text.as_bytes())
}

/// Whether the last process that used the data directory stopped cleanly.
pub fn is_clean(folder: &Folder) -> Result<bool, LogError> {
    Ok(folder.read(CLEAN_SHUTDOWN)?.is_some())
}

/// Leaves word that everything was closed well.
pub fn mark_clean(folder: &Folder, broker_epoch: i64) -> Result<(), LogError> {
    folder.replace(CLEAN_SHUTDOWN, format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}").as_bytes())
}

/// Takes that word back, before anything changes.
pub fn unmark_clean(folder: &Folder) -> Result<(), LogError> {
    folder.remove(CLEAN_SHUTDOWN)?;
    folder.sync()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::disk::RealDisk;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        (dir, Folder::new(Arc::new(disk), ""))
    }

    #[test]
    fn offsets_are_written_line_by_line_as_kafka_does() {
        let (_dir, folder) = folder();
        assert_eq!(read_offsets(&folder, RECOVERY_POINTS).expect("missing is empty"), BTreeMap::new());
        let partition = |topic: &str, partition| TopicPartition { topic: topic.into(), partition };
        let offsets = BTreeMap::from([(partition("a-b", 1), 7), (partition("a", 0), 1 << 40)]);
        write_offsets(&folder, RECOVERY_POINTS, &offsets).expect("write");
        let text = folder.read(RECOVERY_POINTS).expect("read").expect("there");
        assert_eq!(String::from_utf8_lossy(&text), "0\n2\na 0 1099511627776\na-b 1 7\n");
        assert_eq!(read_offsets(&folder, RECOVERY_POINTS).expect("read"), offsets);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let (_dir, folder) = folder();
        for text in ["", "1\n0\n", "0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 1 2\n", "0\n1\na x 1\n"]
        {
            folder.replace(CLEANED, text.as_bytes()).expect("write");
            let error = read_offsets(&folder, CLEANED).expect_err(text).to_string();
            assert!(error.contains(CLEANED), "{error}");
        }
        folder.replace(LEADER_EPOCHS, b"0\n1\n5\n").expect("write");
        assert!(read_epochs(&folder).is_err());
    }

    #[test]
    fn owners_and_markers_are_read_back() {
        let (_dir, folder) = folder();
        assert_eq!(read_meta_properties(&folder).expect("new"), None);
        let kafkas = "#\n#Sat Nov 21 05:39:18 UTC 2026\nbroker.id=1\nversion=0\ncluster.id=a\\=b\n";
        folder.replace(META_PROPERTIES, kafkas.as_bytes()).expect("write");
        let meta = read_meta_properties(&folder).expect("read").expect("there");
        assert_eq!((meta.broker_id, meta.cluster_id.as_deref()), (Some(1), Some("a=b")));
        write_meta_properties(&folder, &meta).expect("write");
        assert_eq!(read_meta_properties(&folder).expect("read"), Some(meta));

        assert_eq!(read_topic_id(&folder).expect("new"), None);
        write_topic_id(&folder, TopicId([0xfb; 16])).expect("write");
        let text = folder.read(PARTITION_METADATA).expect("read").expect("there");
        assert_eq!(text, b"version: 0\ntopic_id: -_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(read_topic_id(&folder).expect("read"), Some(TopicId([0xfb; 16])));

        assert!(!is_clean(&folder).expect("new"));
        mark_clean(&folder, -1).expect("write");
        assert!(is_clean(&folder).expect("marked"));
        unmark_clean(&folder).expect("remove");
        assert!(!is_clean(&folder).expect("unmarked"));
    }
}
