//! Every setting that Kafka 3.9 has with ZooKeeper, and the few of ours.
//!
//! One table serves the file, the flags, the container variables, DescribeConfigs and `config check`, so none of them can
//! know a setting that the others do not.

/// What kind of text a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Long,
    Double,
    Text,
    /// Separated by commas.
    List,
    /// Never shown.
    Password,
}

/// Where a setting may be changed while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nowhere.
    Fixed,
    /// For one broker.
    PerBroker,
    /// For one broker, or for all.
    Cluster,
}

/// What setting it does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    /// It is accepted and changes nothing; the text says why, and is printed at start.
    Idle(&'static str),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: nothing is set unless somebody sets it.
    pub default: Option<&'static str>,
    pub scope: Scope,
    /// The topics' own setting that this one is the default of.
    pub topic: Option<&'static str>,
    pub effect: Effect,
}

impl Setting {
    /// Whether it may be changed while the broker runs.
    pub fn is_dynamic(&self) -> bool {
        self.scope == Scope::Cluster
    }

    /// Whether the text is a value of this kind; or what is wrong with it, for people.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.kind.check(self.name, value)
    }
}

impl Kind {
    /// Whether the text is a value of this kind; or what is wrong with it, for people who know the setting by this name.
    pub fn check(self, name: &str, value: &str) -> Result<(), String> {
        let value = value.trim();
        let (is_right, allowed) = match self {
            Kind::Bool => {
                (value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"), "true or false")
            }
            Kind::Int => (value.parse::<i32>().is_ok(), "a whole number of 32 bits"),
            Kind::Long => (value.parse::<i64>().is_ok(), "a whole number of 64 bits"),
            Kind::Double => (value.parse::<f64>().is_ok(), "a number"),
            Kind::Text | Kind::List | Kind::Password => return Ok(()),
        };
        if is_right { Ok(()) } else { Err(format!("{name}={value}: {allowed} is allowed")) }
    }
}

/// Whether a replica may lead that is not in sync; topics have it under the same name.
pub const UNCLEAN: &str = "unclean.leader.election.enable";

/// How many bytes a second may be copied from one data directory to another.
pub const MOVED_BYTES: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// Limits that exist only while brokers run. Nothing is replicated yet, so of these only [`MOVED_BYTES`] changes anything.
pub const THROTTLES: &[&str] =
    &["leader.replication.throttled.rate", "follower.replication.throttled.rate", MOVED_BYTES];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The broker's setting that topics override by this name.
pub fn find_topic(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.topic == Some(name))
}

/// The known setting that a mistyped one probably meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let candidates =
        SETTINGS.iter().map(|setting| (client::properties::distance(name, setting.name), setting.name));
    let (distance, near) = candidates.min()?;
    (distance <= 1 + name.len() / 5).then_some(near)
}

use Effect::{Honoured, Idle};
use Kind::{Bool, Double, Int, List, Long, Password, Text};
use Scope::{Cluster, Fixed, PerBroker};

const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    scope: Scope,
    effect: Effect,
) -> Setting {
    Setting { name, kind, default, scope, topic: None, effect }
}

/// A setting that topics have as well, under a name of their own.
const fn both(
    name: &'static str,
    topic: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    effect: Effect,
) -> Setting {
    Setting { name, kind, default, scope: Cluster, topic: Some(topic), effect }
}

const LATER: &str = "this release does not have it yet";
const REPLICATION: &str = "partitions have one replica in this release";
const TRANSACTIONS: &str = "this release has no transactions yet";
const SASL: &str = "this release has no SASL yet";
const ACLS: &str = "this release has no authorizer yet";
const TOKENS: &str = "this release has no delegation tokens yet";
const PLUGIN: &str = "plug-ins in Java cannot be loaded";
const THREADS: &str = "connections and requests share the threads of one runtime";
const WAITING: &str = "requests wait in their sockets, so there is no queue to size";

/// All of them.
pub const SETTINGS: &[Setting] = &[
    row("broker.id", Int, Some("-1"), Fixed, Honoured),
    row("reserved.broker.max.id", Int, Some("1000"), Fixed, Honoured),
    row("broker.rack", Text, None, Fixed, Honoured),
    row("listeners", List, Some("PLAINTEXT://:9092"), PerBroker, Honoured),
    row("advertised.listeners", List, None, PerBroker, Honoured),
    row(
        "listener.security.protocol.map",
        List,
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        PerBroker,
        Honoured,
    ),
    row("inter.broker.listener.name", Text, None, Fixed, Honoured),
    row("security.inter.broker.protocol", Text, Some("PLAINTEXT"), Fixed, Honoured),
    row(
        "control.plane.listener.name",
        Text,
        None,
        Fixed,
        Idle("orders to this broker need no listener of their own"),
    ),
    row(
        "inter.broker.protocol.version",
        Text,
        Some("3.9-IV0"),
        Fixed,
        Idle("brokers of this version speak the protocol of 3.9"),
    ),
    row("zookeeper.connect", Text, None, Fixed, Honoured),
    row("zookeeper.session.timeout.ms", Int, Some("18000"), Fixed, Honoured),
    row("zookeeper.connection.timeout.ms", Int, None, Fixed, Honoured),
    row(
        "zookeeper.max.in.flight.requests",
        Int,
        Some("10"),
        Fixed,
        Idle("requests to the coordinator are pipelined without this limit"),
    ),
    row("zookeeper.set.acl", Bool, Some("false"), Fixed, Idle(LATER)),
    row("zookeeper.ssl.client.enable", Bool, Some("false"), Fixed, Idle(LATER)),
    row("log.dir", Text, Some("kafka-logs"), Fixed, Honoured),
    row("log.dirs", List, None, Fixed, Honoured),
    row(
        "num.recovery.threads.per.data.dir",
        Int,
        Some("1"),
        Cluster,
        Idle("every directory is loaded by one thread"),
    ),
    row("num.network.threads", Int, Some("3"), Cluster, Idle(THREADS)),
    row("num.io.threads", Int, Some("8"), Cluster, Idle(THREADS)),
    row("background.threads", Int, Some("10"), Cluster, Idle("background work has threads of its own")),
    row("queued.max.requests", Int, Some("500"), Fixed, Idle(WAITING)),
    row("queued.max.request.bytes", Long, Some("-1"), Fixed, Honoured),
    row("socket.send.buffer.bytes", Int, Some("102400"), Fixed, Idle(LATER)),
    row("socket.receive.buffer.bytes", Int, Some("102400"), Fixed, Idle(LATER)),
    row("socket.request.max.bytes", Int, Some("104857600"), Fixed, Honoured),
    row("socket.listen.backlog.size", Int, Some("50"), Fixed, Honoured),
    row("max.connections", Int, Some("2147483647"), Cluster, Honoured),
    row("max.connections.per.ip", Int, Some("2147483647"), Cluster, Honoured),
    row("max.connections.per.ip.overrides", Text, Some(""), Cluster, Honoured),
    row("max.connection.creation.rate", Int, Some("2147483647"), Cluster, Honoured),
    row("connections.max.idle.ms", Long, Some("600000"), Fixed, Honoured),
    row("connection.failed.authentication.delay.ms", Int, Some("100"), Fixed, Idle(SASL)),
    row("request.timeout.ms", Int, Some("30000"), Fixed, Idle(LATER)),
    row("auto.create.topics.enable", Bool, Some("true"), Fixed, Honoured),
    row("num.partitions", Int, Some("1"), Fixed, Honoured),
    row("default.replication.factor", Int, Some("1"), Fixed, Honoured),
    row("delete.topic.enable", Bool, Some("true"), Fixed, Honoured),
    row("create.topic.policy.class.name", Text, None, Fixed, Idle(PLUGIN)),
    row("alter.config.policy.class.name", Text, None, Fixed, Idle(PLUGIN)),
    both(UNCLEAN, UNCLEAN, Bool, Some("false"), Honoured),
    row("auto.leader.rebalance.enable", Bool, Some("true"), Fixed, Idle(REPLICATION)),
    row("leader.imbalance.check.interval.seconds", Long, Some("300"), Fixed, Idle(REPLICATION)),
    row("leader.imbalance.per.broker.percentage", Int, Some("10"), Fixed, Idle(REPLICATION)),
    row("controlled.shutdown.enable", Bool, Some("true"), Fixed, Idle(REPLICATION)),
    row("controlled.shutdown.max.retries", Int, Some("3"), Fixed, Idle(REPLICATION)),
    row("controlled.shutdown.retry.backoff.ms", Long, Some("5000"), Fixed, Idle(REPLICATION)),
    both("min.insync.replicas", "min.insync.replicas", Int, Some("1"), Honoured),
    row("replica.lag.time.max.ms", Long, Some("30000"), Fixed, Idle(REPLICATION)),
    row("replica.fetch.max.bytes", Int, Some("1048576"), Fixed, Idle(REPLICATION)),
    row("replica.fetch.response.max.bytes", Int, Some("10485760"), Fixed, Idle(REPLICATION)),
    row("replica.fetch.min.bytes", Int, Some("1"), Fixed, Idle(REPLICATION)),
    row("replica.fetch.wait.max.ms", Int, Some("500"), Fixed, Idle(REPLICATION)),
    row("replica.fetch.backoff.ms", Int, Some("1000"), Fixed, Idle(REPLICATION)),
    row("replica.socket.timeout.ms", Int, Some("30000"), Fixed, Idle(REPLICATION)),
    row("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Fixed, Honoured),
    row("replica.selector.class", Text, None, Fixed, Idle(PLUGIN)),
    row("num.replica.fetchers", Int, Some("1"), Cluster, Idle(REPLICATION)),
    row(
        "num.replica.alter.log.dirs.threads",
        Int,
        None,
        Fixed,
        Idle("one thread moves partitions between directories"),
    ),
    row("fetch.max.bytes", Int, Some("57671680"), Fixed, Honoured),
    row("max.incremental.fetch.session.cache.slots", Int, Some("1000"), Fixed, Honoured),
    row(
        "fetch.purgatory.purge.interval.requests",
        Int,
        Some("1000"),
        Fixed,
        Idle("waiting requests are removed when they are answered"),
    ),
    row(
        "producer.purgatory.purge.interval.requests",
        Int,
        Some("1000"),
        Fixed,
        Idle("waiting requests are removed when they are answered"),
    ),
    both("message.max.bytes", "max.message.bytes", Int, Some("1048588"), Honoured),
    both("compression.type", "compression.type", Text, Some("producer"), Honoured),
    both("compression.gzip.level", "compression.gzip.level", Int, Some("-1"), Honoured),
    both("compression.lz4.level", "compression.lz4.level", Int, Some("9"), Idle("lz4 packs in one way here")),
    both("compression.zstd.level", "compression.zstd.level", Int, Some("3"), Honoured),
    both("log.message.timestamp.type", "message.timestamp.type", Text, Some("CreateTime"), Honoured),
    both(
        "log.message.timestamp.difference.max.ms",
        "message.timestamp.difference.max.ms",
        Long,
        Some("9223372036854775807"),
        Honoured,
    ),
    both(
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
        Long,
        Some("9223372036854775807"),
        Honoured,
    ),
    both(
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
        Long,
        Some("9223372036854775807"),
        Honoured,
    ),
    both("log.segment.bytes", "segment.bytes", Int, Some("1073741824"), Honoured),
    both("log.roll.ms", "segment.ms", Long, None, Honoured),
    both("log.roll.jitter.ms", "segment.jitter.ms", Long, None, Honoured),
    row("log.roll.hours", Int, Some("168"), Fixed, Honoured),
    row("log.roll.jitter.hours", Int, Some("0"), Fixed, Honoured),
    both("log.index.size.max.bytes", "segment.index.bytes", Int, Some("10485760"), Honoured),
    both("log.index.interval.bytes", "index.interval.bytes", Int, Some("4096"), Honoured),
    both("log.preallocate", "preallocate", Bool, Some("false"), Idle("segments grow as they are written")),
    both("log.flush.interval.messages", "flush.messages", Long, Some("9223372036854775807"), Honoured),
    both("log.flush.interval.ms", "flush.ms", Long, None, Honoured),
    row("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Fixed, Idle(LATER)),
    row("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), Fixed, Honoured),
    row("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), Fixed, Honoured),
    row("log.retention.hours", Int, Some("168"), Fixed, Honoured),
    row("log.retention.minutes", Int, None, Fixed, Honoured),
    both("log.retention.ms", "retention.ms", Long, None, Honoured),
    both("log.retention.bytes", "retention.bytes", Long, Some("-1"), Honoured),
    row("log.retention.check.interval.ms", Long, Some("300000"), Fixed, Honoured),
    both("log.segment.delete.delay.ms", "file.delete.delay.ms", Long, Some("60000"), Honoured),
    both("log.cleanup.policy", "cleanup.policy", List, Some("delete"), Honoured),
    row("log.cleaner.enable", Bool, Some("true"), Fixed, Honoured),
    row("log.cleaner.threads", Int, Some("1"), Cluster, Idle("there is one cleaner")),
    row("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Fixed, Honoured),
    row(
        "log.cleaner.io.buffer.size",
        Int,
        Some("524288"),
        Cluster,
        Idle("the cleaner sizes its buffers itself"),
    ),
    row("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Cluster, Idle(LATER)),
    both("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio", Double, Some("0.5"), Honoured),
    both("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms", Long, Some("0"), Honoured),
    both(
        "log.cleaner.max.compaction.lag.ms",
        "max.compaction.lag.ms",
        Long,
        Some("9223372036854775807"),
        Honoured,
    ),
    both("log.cleaner.delete.retention.ms", "delete.retention.ms", Long, Some("86400000"), Honoured),
    row("log.cleaner.backoff.ms", Long, Some("15000"), Fixed, Honoured),
    row("offsets.topic.num.partitions", Int, Some("50"), Fixed, Honoured),
    row("offsets.topic.replication.factor", Int, Some("3"), Fixed, Honoured),
    row("offsets.topic.segment.bytes", Int, Some("104857600"), Fixed, Honoured),
    row("offsets.retention.minutes", Int, Some("10080"), Fixed, Honoured),
    row("offsets.retention.check.interval.ms", Long, Some("600000"), Fixed, Honoured),
    row("offsets.commit.timeout.ms", Int, Some("5000"), Fixed, Idle(REPLICATION)),
    row("offset.metadata.max.bytes", Int, Some("4096"), Fixed, Honoured),
    row("group.initial.rebalance.delay.ms", Int, Some("3000"), Fixed, Honoured),
    row("group.min.session.timeout.ms", Int, Some("6000"), Fixed, Honoured),
    row("group.max.session.timeout.ms", Int, Some("1800000"), Fixed, Honoured),
    row("group.max.size", Int, Some("2147483647"), Fixed, Honoured),
    row("transaction.state.log.num.partitions", Int, Some("50"), Fixed, Idle(TRANSACTIONS)),
    row("transaction.state.log.replication.factor", Int, Some("3"), Fixed, Idle(TRANSACTIONS)),
    row("transaction.state.log.min.isr", Int, Some("2"), Fixed, Idle(TRANSACTIONS)),
    row("transaction.max.timeout.ms", Int, Some("900000"), Fixed, Idle(TRANSACTIONS)),
    row("transactional.id.expiration.ms", Int, Some("604800000"), Fixed, Idle(TRANSACTIONS)),
    row(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Int,
        Some("10000"),
        Fixed,
        Idle(TRANSACTIONS),
    ),
    row("transaction.partition.verification.enable", Bool, Some("true"), Cluster, Idle(TRANSACTIONS)),
    row("producer.id.expiration.ms", Int, Some("86400000"), Fixed, Honoured),
    row("quota.window.num", Int, Some("11"), Fixed, Honoured),
    row("quota.window.size.seconds", Int, Some("1"), Fixed, Honoured),
    row("controller.quota.window.num", Int, Some("11"), Fixed, Honoured),
    row("controller.quota.window.size.seconds", Int, Some("1"), Fixed, Honoured),
    row("client.quota.callback.class", Text, None, Fixed, Idle(PLUGIN)),
    row("sasl.enabled.mechanisms", List, Some("GSSAPI"), PerBroker, Idle(SASL)),
    row("sasl.mechanism.inter.broker.protocol", Text, Some("GSSAPI"), PerBroker, Idle(SASL)),
    row("sasl.jaas.config", Password, None, PerBroker, Idle(SASL)),
    row("connections.max.reauth.ms", Long, Some("0"), Fixed, Idle(SASL)),
    row("sasl.server.max.receive.size", Int, Some("524288"), Fixed, Idle(SASL)),
    row("ssl.keystore.location", Text, None, PerBroker, Honoured),
    row("ssl.keystore.type", Text, Some("JKS"), PerBroker, Honoured),
    row("ssl.truststore.location", Text, None, PerBroker, Honoured),
    row("ssl.client.auth", Text, Some("none"), PerBroker, Honoured),
    row("ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), PerBroker, Idle(LATER)),
    row(
        "ssl.cipher.suites",
        List,
        Some(""),
        PerBroker,
        Idle("the safe suites of TLS 1.2 and 1.3 are offered"),
    ),
    row("ssl.principal.mapping.rules", Text, Some("DEFAULT"), Fixed, Idle(ACLS)),
    row(
        "ssl.endpoint.identification.algorithm",
        Text,
        Some("https"),
        PerBroker,
        Idle("clients' host names are not checked"),
    ),
    row("principal.builder.class", Text, Some("DefaultKafkaPrincipalBuilder"), PerBroker, Idle(PLUGIN)),
    row("authorizer.class.name", Text, Some(""), Fixed, Idle(ACLS)),
    row("super.users", List, None, Fixed, Idle(ACLS)),
    row("allow.everyone.if.no.acl.found", Text, None, Fixed, Idle(ACLS)),
    row("delegation.token.secret.key", Password, None, Fixed, Idle(TOKENS)),
    row("delegation.token.max.lifetime.ms", Long, Some("604800000"), Fixed, Idle(TOKENS)),
    row("delegation.token.expiry.time.ms", Long, Some("86400000"), Fixed, Idle(TOKENS)),
    row("password.encoder.secret", Password, None, Fixed, Idle("dynamic settings hold no passwords yet")),
    row("remote.log.storage.system.enable", Bool, Some("false"), Fixed, Idle("tiered storage is not there")),
    row("metric.reporters", List, Some(""), Cluster, Idle("metrics are read from the operations port")),
    both("log.flush.before.ack", "flush.before.ack", Bool, Some("false"), Honoured),
    row("operations.listener", Text, None, Fixed, Honoured),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once() {
        let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn what_was_meant_is_found() {
        assert_eq!(nearest("num.partition"), Some("num.partitions"));
        assert_eq!(nearest("log.retension.hours"), Some("log.retention.hours"));
        assert_eq!(nearest("completely.different.thing"), None);
        assert_eq!(find_topic("retention.ms").map(|setting| setting.name), Some("log.retention.ms"));
    }
}
