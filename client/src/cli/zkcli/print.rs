//! [core] Values as zkCli prints them.

use crate::cli::dates::Date;
use crate::wire::zk::path::PathError;
use crate::zk::{Acl, Error, Event, EventType, Stat};

/// The lines of a stat. Times are in UTC, whatever the zone of this machine is.
pub(super) fn stat(stat: &Stat) -> String {
    let lines = [
        format!("cZxid = {:#x}", stat.czxid),
        format!("ctime = {}", date(stat.ctime)),
        format!("mZxid = {:#x}", stat.mzxid),
        format!("mtime = {}", date(stat.mtime)),
        format!("pZxid = {:#x}", stat.pzxid),
        format!("cversion = {}", stat.cversion),
        format!("dataVersion = {}", stat.version),
        format!("aclVersion = {}", stat.aversion),
        format!("ephemeralOwner = {:#x}", stat.ephemeral_owner),
        format!("dataLength = {}", stat.data_length),
        format!("numChildren = {}", stat.num_children),
    ];
    lines.join("\n")
}

/// `Thu Jan 01 00:00:00 UTC 1970`.
fn date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day, days_since_1970, hour, minute, second } = Date::of(ms);
    // 1970 began with a Thursday.
    let weekday = DAYS[(days_since_1970 + 4).rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Two lines, because Java's `Id` ends in a line break.
pub(super) fn acl(acl: &Acl<'_>) -> String {
    let letters = crate::cli::access::letters(acl.perms);
    format!("'{},'{}\n: {letters}", acl.identity.scheme, acl.identity.id)
}

/// A list in brackets.
pub(super) fn list(names: &[String]) -> String {
    format!("[{}]", names.join(", "))
}

pub(super) fn watched(event: &Event) -> String {
    let kind = match event.kind {
        EventType::NodeCreated => "NodeCreated",
        EventType::NodeDeleted => "NodeDeleted",
        EventType::NodeDataChanged => "NodeDataChanged",
        EventType::NodeChildrenChanged => "NodeChildrenChanged",
    };
    let zxid = event.zxid.map_or(-1, |zxid| zxid.to_wire());
    watcher("SyncConnected", kind, &event.path, zxid)
}

/// `kind` is that of the watch.
pub(super) fn unwatched(kind: &str, path: &str) -> String {
    watcher("SyncConnected", &format!("{kind}WatchRemoved"), path, -1)
}

pub(super) fn session(state: &str) -> String {
    watcher(state, "None", "null", -1)
}

fn watcher(state: &str, kind: &str, path: &str, zxid: i64) -> String {
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}")
}

/// Netty's hexadecimal table.
pub(super) fn hexdump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let rule = format!("+--------+{}+{}+", "-".repeat(49), "-".repeat(16));
    let mut text = format!(
        "         +{}+\n         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n{rule}",
        "-".repeat(49)
    );
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown: String = bytes
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        text.push_str(&format!("\n|{:08x}|{hex:<48} |{shown:<16}|", row * 16));
    }
    text + "\n" + &rule
}

/// What went wrong with a path.
pub(super) fn failure(error: &Error, path: &str) -> String {
    let said = match error {
        Error::NoNode => "Node does not exist: ",
        Error::NoChildrenForEphemerals => "Ephemerals cannot have children: ",
        Error::NodeExists => "Node already exists: ",
        Error::NotEmpty => "Node not empty: ",
        Error::NotReadOnly => "Not a read-only call: ",
        Error::InvalidAcl => "Acl is not valid : ",
        Error::NoAuth => "Insufficient permission : ",
        Error::BadArguments => "Arguments are not valid : ",
        Error::BadVersion => "version No is not valid : ",
        Error::QuotaExceeded => "Quota has exceeded : ",
        Error::ConnectionLoss | Error::UnknownOutcome => "KeeperErrorCode = ConnectionLoss for ",
        Error::SessionExpired | Error::Closed => "KeeperErrorCode = Session expired for ",
        Error::NoWatcher => "KeeperErrorCode = No such watcher for ",
        Error::Unimplemented => "KeeperErrorCode = Unimplemented for ",
        Error::BadPath { reason: PathError::NotAbsolute, .. } => {
            return "Path must start with / character".to_owned();
        }
        Error::BadPath { reason: PathError::TrailingSlash, .. } => {
            return "Path must not end with / character".to_owned();
        }
        other => return other.to_string(),
    };
    format!("{said}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, expected) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_700_000_000_999, "Tue Nov 14 22:13:20 UTC 2023"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        ] {
            assert_eq!(date(ms), expected);
        }
    }

    #[test]
    fn hexadecimal_tables() {
        let text = hexdump(b"0123456789abcdef\x00");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], "|00000000| 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 |0123456789abcdef|");
        assert_eq!(lines[4], "|00000010| 00                                              |.               |");
        assert_eq!(hexdump(b""), "");
    }
}
