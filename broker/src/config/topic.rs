//! What do a topic's settings come to?

use std::collections::BTreeMap;

use client::wire::kafka::batch::TimestampType;
use client::wire::kafka::compression::Codec;

use super::settings::{self, Kind, UNCLEAN};
use super::{Problems, Values};
use crate::log::{CleanupPolicy, Compression, TopicConfig};

/// What the log does not need to know of a topic's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    pub log: TopicConfig,
    pub min_insync_replicas: usize,
    pub unclean_leader_election: bool,
}

/// Settings that only topics have: name, default, kind.
pub const TOPIC_ONLY: &[(&str, Kind, &str)] = &[
    ("leader.replication.throttled.replicas", Kind::List, ""),
    ("follower.replication.throttled.replicas", Kind::List, ""),
    ("remote.storage.enable", Kind::Bool, "false"),
    ("remote.log.copy.disable", Kind::Bool, "false"),
    ("remote.log.delete.on.disable", Kind::Bool, "false"),
    ("local.retention.ms", Kind::Long, "-2"),
    ("local.retention.bytes", Kind::Long, "-2"),
    ("message.downconversion.enable", Kind::Bool, "true"),
    ("message.format.version", Kind::Text, "3.0-IV1"),
];

/// The topic's settings with these overrides; or what is wrong with them, for people.
pub fn topic_settings(
    overrides: &BTreeMap<String, String>,
    broker: &Values,
) -> Result<TopicSettings, String> {
    let mut as_brokers = BTreeMap::new();
    for (name, value) in overrides {
        if let Some(setting) = settings::find_topic(name) {
            as_brokers.insert(setting.name.to_owned(), value.clone());
        } else if !TOPIC_ONLY.iter().any(|(known, ..)| known == name) {
            return Err(format!("{name} is not a setting of topics"));
        }
    }
    for name in [TIMESTAMP_BEFORE, TIMESTAMP_AFTER] {
        // What the broker's own difference made of a limit is that limit's default: a topic's difference does not
        // change it any more.
        let limit = timestamp_limit(broker, name, &mut Problems::default());
        as_brokers.entry(name.to_owned()).or_insert(limit.to_string());
    }
    let values = broker.overlaid(&as_brokers);
    let mut problems = Problems::default();
    let settings = resolve(&values, &mut problems);
    match problems.errors.first() {
        None => Ok(settings),
        Some(problem) => {
            // Whoever set it knows it by the topics' name.
            let renamed = overrides.keys().find_map(|name| {
                let rest = problem.text.strip_prefix(settings::find_topic(name)?.name)?;
                rest.starts_with('=').then(|| format!("{name}{rest}"))
            });
            Err(renamed.unwrap_or_else(|| problem.text.clone()))
        }
    }
}

/// The same for overrides that somebody wants to set, of which more is asked than of those that are there: nothing is lost by
/// a refusal.
pub fn new_topic_settings(
    overrides: &BTreeMap<String, String>,
    broker: &Values,
) -> Result<TopicSettings, String> {
    for (name, value) in overrides {
        if let Some(setting) = settings::find_topic(name) {
            setting.kind.check(name, value)?;
        } else if let Some((_, kind, _)) = TOPIC_ONLY.iter().find(|(known, ..)| known == name) {
            kind.check(name, value)?;
            check_topic_only(name, value.trim())?;
        }
    }
    let settings = topic_settings(overrides, broker)?;
    let TopicConfig { min_compaction_lag_ms: min, max_compaction_lag_ms: max, .. } = settings.log;
    if min > max {
        return Err(format!("min.compaction.lag.ms={min} is more than max.compaction.lag.ms={max}"));
    }
    Ok(settings)
}

/// What Kafka refuses, too, though most of it changes nothing here.
fn check_topic_only(name: &str, value: &str) -> Result<(), String> {
    let allowed = match name {
        "remote.storage.enable" if value.eq_ignore_ascii_case("true") => "there is no tiered storage; false",
        "local.retention.ms" | "local.retention.bytes"
            if value.parse::<i64>().is_ok_and(|number| number < -2) =>
        {
            "a whole number from -2"
        }
        "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas"
            if !are_replicas(value) =>
        {
            "*, or partition:broker,partition:broker,..."
        }
        "message.format.version" if !is_release(value) => "a release as 3.0 or 3.0-IV1",
        _ => return Ok(()),
    };
    Err(format!("{name}={value}: {allowed} is allowed"))
}

fn are_replicas(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_replica = |text: &str| {
        text.trim()
            .split_once(':')
            .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    value.is_empty() || value == "*" || value.split(',').all(is_replica)
}

/// From 0.8.0 to 4.0, as Kafka 3.9 knows them: three numbers up to 0.11, two since; what follows is not looked at.
fn is_release(value: &str) -> bool {
    let looked_at = if value.starts_with("0.") { 3 } else { 2 };
    let value = value.split('.').take(looked_at).collect::<Vec<_>>().join(".");
    let (numbers, change) = value.split_once("-IV").unwrap_or((&value, "0"));
    let numbers: Option<Vec<u32>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    let is_known = match numbers.as_deref() {
        Some([0, 8, patch]) => *patch <= 2,
        Some([0, 9..=11, _]) => true,
        Some([1, minor]) => *minor <= 1,
        Some([2, minor]) => *minor <= 8,
        Some([3, minor]) => *minor <= 9,
        Some([4, 0]) => true,
        _ => false,
    };
    is_known && matches!(change.as_bytes(), [b'0'..=b'9'])
}

pub(super) fn resolve(values: &Values, problems: &mut Problems) -> TopicSettings {
    const MAX: i64 = i64::MAX;
    const INT_MAX: i64 = i32::MAX as i64;
    let mut number = |name: &str, min: i64, max: i64| values.number(name, min, max, problems);
    let positive = |number: i64| u64::try_from(number).ok();
    let segment_ms = match values.get("log.roll.ms") {
        Some(_) => number("log.roll.ms", 1, MAX),
        None => number("log.roll.hours", 1, INT_MAX).saturating_mul(HOUR_MS),
    };
    let segment_jitter_ms = match values.get("log.roll.jitter.ms") {
        Some(_) => number("log.roll.jitter.ms", 0, MAX),
        None => number("log.roll.jitter.hours", 0, INT_MAX).saturating_mul(HOUR_MS),
    };
    let retention_ms = if values.get("log.retention.ms").is_some() {
        number("log.retention.ms", -1, MAX)
    } else if values.get("log.retention.minutes").is_some() {
        times(number("log.retention.minutes", -1, INT_MAX), 60_000)
    } else {
        times(number("log.retention.hours", -1, INT_MAX), HOUR_MS)
    };
    let log = TopicConfig {
        delete_retention_ms: number("log.cleaner.delete.retention.ms", 0, MAX),
        file_delete_delay_ms: number("log.segment.delete.delay.ms", 0, MAX),
        flush_messages: number("log.flush.interval.messages", 1, MAX),
        flush_ms: match values.get("log.flush.interval.ms") {
            Some(_) => number("log.flush.interval.ms", 0, MAX),
            None => MAX,
        },
        index_interval_bytes: number("log.index.interval.bytes", 0, INT_MAX).unsigned_abs(),
        max_compaction_lag_ms: number("log.cleaner.max.compaction.lag.ms", 1, MAX),
        max_message_bytes: number("message.max.bytes", 0, INT_MAX) as usize,
        message_timestamp_before_max_ms: MAX,
        message_timestamp_after_max_ms: MAX,
        min_compaction_lag_ms: number("log.cleaner.min.compaction.lag.ms", 0, MAX),
        retention_bytes: positive(number("log.retention.bytes", i64::MIN, MAX)),
        retention_ms: Some(retention_ms).filter(|&ms| ms >= 0),
        segment_bytes: number("log.segment.bytes", 14, INT_MAX).unsigned_abs(),
        segment_index_bytes: number("log.index.size.max.bytes", 4, INT_MAX).unsigned_abs(),
        segment_jitter_ms,
        segment_ms,
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        compression_type: Compression::Producer,
        flush_before_ack: false,
        message_timestamp_type: TimestampType::Create,
        min_cleanable_dirty_ratio: 0.5,
    };
    let min_insync_replicas = number("min.insync.replicas", 1, INT_MAX) as usize;
    TopicSettings {
        log: TopicConfig {
            cleanup_policy: cleanup_policy(values, problems),
            compression_type: compression(values, problems),
            flush_before_ack: values.boolean("log.flush.before.ack", problems),
            message_timestamp_before_max_ms: timestamp_limit(values, TIMESTAMP_BEFORE, problems),
            message_timestamp_after_max_ms: timestamp_limit(values, TIMESTAMP_AFTER, problems),
            message_timestamp_type: timestamp_type(values, problems),
            min_cleanable_dirty_ratio: ratio(values, problems),
            ..log
        },
        min_insync_replicas,
        unclean_leader_election: values.boolean(UNCLEAN, problems),
    }
}

/// What brokers must not have as a default of topics, though a topic may.
pub(super) fn check_defaults(values: &Values, settings: &TopicSettings, problems: &mut Problems) {
    if settings.log.retention_ms == Some(0) {
        let names = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
        let set = names.into_iter().find(|name| values.get(name).is_some()).unwrap_or("log.retention.hours");
        values.complain(set, "-1, or a whole number from 1 is allowed", problems);
    }
}

/// The settings of topics that have none of their own; or what is wrong with these values of a broker, for people.
pub fn default_settings(broker: &Values) -> Result<TopicSettings, String> {
    let settings = topic_settings(&BTreeMap::new(), broker)?;
    let mut problems = Problems::default();
    check_defaults(broker, &settings, &mut problems);
    problems.errors.first().map_or(Ok(settings), |problem| Err(problem.text.clone()))
}

const TIMESTAMP_BEFORE: &str = "log.message.timestamp.before.max.ms";
const TIMESTAMP_AFTER: &str = "log.message.timestamp.after.max.ms";

/// How far a record's time may be from the broker's in one direction. Where nothing is set, the older setting for both
/// directions holds.
fn timestamp_limit(values: &Values, name: &str, problems: &mut Problems) -> i64 {
    let mut number = |name: &str| values.number(name, 0, i64::MAX, problems);
    let both = number("log.message.timestamp.difference.max.ms");
    Some(number(name)).filter(|&limit| limit < i64::MAX).unwrap_or(both)
}

const HOUR_MS: i64 = 60 * 60 * 1000;

/// -1 stays what it is: for ever.
fn times(number: i64, factor: i64) -> i64 {
    if number < 0 { number } else { number.saturating_mul(factor) }
}

fn cleanup_policy(values: &Values, problems: &mut Problems) -> CleanupPolicy {
    let mut policy = CleanupPolicy { delete: false, compact: false };
    for part in values.list("log.cleanup.policy") {
        match part {
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => values.complain("log.cleanup.policy", "delete, compact, or both are allowed", problems),
        }
    }
    policy
}

fn compression(values: &Values, problems: &mut Problems) -> Compression {
    let mut level = |name, min, max| values.number(name, min, max, problems) as i32;
    let gzip = level("compression.gzip.level", -1, 9);
    level("compression.lz4.level", 1, 17);
    let zstd = level("compression.zstd.level", -131_072, 22);
    if gzip == 0 {
        values.complain("compression.gzip.level", "-1, or a whole number from 1 to 9 is allowed", problems);
    }
    match values.get("compression.type").map(str::to_ascii_lowercase).as_deref() {
        Some("producer") | None => Compression::Producer,
        Some("uncompressed") => Compression::Fixed(Codec::None, None),
        Some("gzip") => Compression::Fixed(Codec::Gzip, Some(gzip).filter(|&level| level > 0)),
        Some("snappy") => Compression::Fixed(Codec::Snappy, None),
        Some("lz4") => Compression::Fixed(Codec::Lz4, None),
        Some("zstd") => Compression::Fixed(Codec::Zstd, Some(zstd)),
        Some(_) => {
            let allowed = "producer, uncompressed, gzip, snappy, lz4 or zstd is allowed";
            values.complain("compression.type", allowed, problems);
            Compression::Producer
        }
    }
}

fn timestamp_type(values: &Values, problems: &mut Problems) -> TimestampType {
    match values.get("log.message.timestamp.type") {
        Some("CreateTime") | None => TimestampType::Create,
        Some("LogAppendTime") => TimestampType::LogAppend,
        Some(_) => {
            values.complain("log.message.timestamp.type", "CreateTime or LogAppendTime is allowed", problems);
            TimestampType::Create
        }
    }
}

fn ratio(values: &Values, problems: &mut Problems) -> f64 {
    const NAME: &str = "log.cleaner.min.cleanable.ratio";
    match values.get(NAME).map(str::parse::<f64>) {
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            values.complain(NAME, "a number from 0 to 1 is allowed", problems);
            0.5
        }
    }
}
