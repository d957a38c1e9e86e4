//! The audit log: one line for every change a client asked for, done or refused, in ZooKeeper's format.
//!
//! `2026-11-21 15:34:59,123 INFO audit: session=0x…` TAB `user=…` TAB `ip=…` TAB `operation=…` TAB `znode=…` TAB
//! `znode_type=…` TAB `acl=…` TAB `result=…`; what does not apply is left out. Lines are written by a thread of their own.
//! When its disk cannot keep up, lines are counted as lost rather than clients stopped, and the log says how many.

use crate::calendar::Date;
use crate::config::AuditTarget;
use crate::limits::{AUDIT_LINE_BYTES_MAX, AUDIT_QUEUE_LINES_MAX};
use crate::view::{SessionNumber, unix_millis};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The server began to serve.
    ServerStart,
    /// The server was told to stop.
    ServerStop,
    /// create in all its forms.
    Create,
    /// delete, and the reaping of containers and TTL nodes.
    Delete,
    /// setData.
    SetData,
    /// setACL.
    SetAcl,
    /// A multi that failed; one that succeeded is told operation by operation.
    Multi,
    /// reconfig.
    Reconfig,
    /// An ephemeral node went with its session.
    EphemeralDeleted,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::ServerStart => "serverStart",
            Operation::ServerStop => "serverStop",
            Operation::Create => "create",
            Operation::Delete => "delete",
            Operation::SetData => "setData",
            Operation::SetAcl => "setAcl",
            Operation::Multi => "multiOperation",
            Operation::Reconfig => "reconfig",
            Operation::EphemeralDeleted => "ephemeralZNodeDeletionOnSessionCloseOrExpire",
        })
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Failure,
    /// It was begun; nobody will tell how it ended.
    Invoked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Invoked => "invoked",
        })
    }
}

/// One line, borrowed from whoever executes the operation.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The client's session.
    pub session: Option<SessionNumber>,
    /// Its identities by name, separated by commas ([`user_names`]).
    pub user: Option<&'a str>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// What it asked for.
    pub operation: Operation,
    /// The node it is about.
    pub znode: Option<&'a str>,
    /// The kind of node, for create ([`create_mode`]).
    pub znode_type: Option<&'a str>,
    /// The new ACL, for setAcl.
    pub acl: Option<&'a str>,
    /// How it ended.
    pub result: Outcome,
}

impl Record<'_> {
    /// A line about the server itself, in the name of who runs it.
    pub fn server<'u>(user: &'u str, operation: Operation, result: Outcome) -> Record<'u> {
        let user = Some(user).filter(|user| !user.is_empty());
        Record { session: None, user, ip: None, operation, znode: None, znode_type: None, acl: None, result }
    }

    fn line(&self, now: SystemTime) -> String {
        let mut line = format!("{} INFO audit: ", Date::of(unix_millis(now)).log());
        if let Some(session) = self.session {
            field(&mut line, "session", &session.to_string());
        }
        if let Some(user) = self.user {
            field(&mut line, "user", user);
        }
        if let Some(ip) = self.ip {
            field(&mut line, "ip", &ip.to_string());
        }
        field(&mut line, "operation", &self.operation.to_string());
        for (name, value) in [("znode", self.znode), ("znode_type", self.znode_type), ("acl", self.acl)] {
            if let Some(value) = value {
                field(&mut line, name, value);
            }
        }
        line.push_str(&format!("result={}\n", self.result));
        line
    }
}

/// Appends a field and the tab behind it. Control characters in names would forge further fields or lines.
fn field(line: &mut String, name: &str, value: &str) {
    line.push_str(name);
    line.push('=');
    // The end of the line, with its result, must survive.
    let room = AUDIT_LINE_BYTES_MAX.saturating_sub(line.len() + 64);
    for c in value.chars() {
        if line.len() > AUDIT_LINE_BYTES_MAX - 64 || room == 0 {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { '\u{fffd}' } else { c });
    }
    line.push('\t');
}

/// The names in a connection's identities: of `digest` the user only, of the others the whole id.
pub fn user_names<'a>(identities: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let names = identities.into_iter().map(|(scheme, id)| match scheme {
        "digest" => id.split(':').next().unwrap_or_default(),
        _ => id,
    });
    let names: Vec<&str> = names.filter(|name| !name.trim().is_empty()).collect();
    names.join(",")
}

/// The name of a kind of node by its create flags.
pub const fn create_mode(flags: i32) -> &'static str {
    match flags {
        0 => "persistent",
        1 => "ephemeral",
        2 => "persistent_sequential",
        3 => "ephemeral_sequential",
        4 => "container",
        5 => "persistent_with_ttl",
        6 => "persistent_sequential_with_ttl",
        _ => "unknown",
    }
}

/// Takes lines; switched off, it takes them for nothing.
#[derive(Debug)]
pub struct Audit {
    writer: Option<AuditWriter>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct AuditWriter {
    lines: SyncSender<String>,
    thread: JoinHandle<()>,
}

impl Audit {
    /// Opens the target and starts the writer; without a target nothing is written.
    pub fn open(target: Option<&AuditTarget>) -> io::Result<Audit> {
        let lost = Arc::new(AtomicU64::new(0));
        let output: Box<dyn Write + Send> = match target {
            None => return Ok(Audit { writer: None, lost }),
            Some(AuditTarget::Stdout) => Box::new(io::stdout()),
            Some(AuditTarget::File(path)) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        Audit::to(output, lost)
    }

    fn to(output: Box<dyn Write + Send>, lost: Arc<AtomicU64>) -> io::Result<Audit> {
        let (lines, queue) = sync_channel(AUDIT_QUEUE_LINES_MAX);
        let counter = lost.clone();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(output, &queue, &counter))?;
        Ok(Audit { writer: Some(AuditWriter { lines, thread }), lost })
    }

    /// Is anything written? Spares its callers the work of finding out what.
    pub fn enabled(&self) -> bool {
        self.writer.is_some()
    }

    /// Writes a line, or counts it as lost when too many wait.
    pub fn record(&self, record: &Record<'_>) {
        let Some(writer) = &self.writer else { return };
        if writer.lines.try_send(record.line(SystemTime::now())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until every line is written.
    pub fn close(self) {
        if let Some(AuditWriter { lines, thread }) = self.writer {
            drop(lines);
            // A writer that panicked has lost its lines already.
            let _ = thread.join();
        }
    }
}

fn write(output: Box<dyn Write + Send>, lines: &Receiver<String>, lost: &AtomicU64) {
    let mut output = BufWriter::new(output);
    let (mut told, mut failing) = (0, false);
    while let Ok(line) = lines.recv() {
        let mut batch = 1;
        let mut outcome = output.write_all(line.as_bytes());
        // Whatever else waits goes with it; then it is flushed, so that a quiet log is never behind.
        while let (Ok(()), Ok(line)) = (&outcome, lines.try_recv()) {
            outcome = output.write_all(line.as_bytes());
            batch += 1;
        }
        if let Err(error) = outcome.and_then(|()| output.flush()) {
            lost.fetch_add(batch, Ordering::Relaxed);
            // Once, not per line; how many were lost is told when it works again.
            if !std::mem::replace(&mut failing, true) {
                tracing::error!(%error, "the audit log cannot be written");
            }
            continue;
        }
        failing = false;
        let missing = lost.load(Ordering::Relaxed);
        if missing > told {
            tracing::warn!(lines = missing - told, "lines are missing from the audit log");
            told = missing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const CREATE: Record<'_> = Record {
        session: Some(SessionNumber(0x10)),
        user: Some("bob"),
        ip: None,
        operation: Operation::Create,
        znode: Some("/a"),
        znode_type: Some("persistent"),
        acl: None,
        result: Outcome::Success,
    };

    fn line(record: &Record<'_>) -> String {
        record.line(UNIX_EPOCH + Duration::from_millis(1_795_275_299_123))
    }

    #[test]
    fn lines_in_zookeepers_order() {
        let ip = Some("127.0.0.1".parse().unwrap());
        assert_eq!(
            line(&Record { ip, ..CREATE }),
            "2026-11-21 15:34:59,123 INFO audit: session=0x10\tuser=bob\tip=127.0.0.1\toperation=create\tznode=/a\t\
             znode_type=persistent\tresult=success\n"
        );
        let start = Record::server("root", Operation::ServerStart, Outcome::Success);
        assert!(line(&start).ends_with(" INFO audit: user=root\toperation=serverStart\tresult=success\n"));
        let acl = Record {
            operation: Operation::SetAcl,
            acl: Some("world:anyone:r"),
            result: Outcome::Failure,
            ..CREATE
        };
        assert!(line(&acl).ends_with("\tacl=world:anyone:r\tresult=failure\n"));
    }

    #[test]
    fn names_cannot_forge_lines_and_are_bounded() {
        let forged = line(&Record { znode: Some("/a\nresult=success\tuser=root"), ..CREATE });
        assert_eq!((forged.matches('\n').count(), forged.matches("\tuser=").count()), (1, 1), "{forged}");
        let long = "/ä".repeat(AUDIT_LINE_BYTES_MAX);
        let cut = line(&Record { znode: Some(&long), acl: Some(&long), ..CREATE });
        assert!(cut.len() <= AUDIT_LINE_BYTES_MAX && cut.ends_with("\tresult=success\n"), "{}", cut.len());
    }

    #[test]
    fn users() {
        assert_eq!(user_names([("digest", "bob:hash"), ("ip", "10.0.0.1"), ("sasl", " ")]), "bob,10.0.0.1");
        assert_eq!(user_names([]), "");
    }

    #[test]
    fn everything_recorded_before_the_end_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let audit = Audit::open(Some(&AuditTarget::File(path.clone()))).unwrap();
        assert!(audit.enabled());
        for _ in 0..100 {
            audit.record(&CREATE);
        }
        audit.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 100);
        let off = Audit::open(None).unwrap();
        off.record(&CREATE);
        assert_eq!((off.enabled(), off.lost()), (false, 0));
        assert!(Audit::open(Some(&AuditTarget::File(directory.path().join("no/such.log")))).is_err());
    }

    #[test]
    fn a_stuck_disk_loses_lines_instead_of_stopping_clients() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = sync_channel(0);
        let audit = Audit::to(Box::new(Stuck(stuck)), Arc::default()).unwrap();
        for _ in 0..AUDIT_QUEUE_LINES_MAX * 2 {
            audit.record(&CREATE);
        }
        assert!(audit.lost() > 0);
        drop(release);
        audit.close();
    }
}
