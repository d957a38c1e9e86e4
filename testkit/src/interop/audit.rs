//! The audit log beside Apache ZooKeeper's: the same requests must leave the same lines.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::foreign::Report;
use crate::process::{Kind, Options, Server, Target};
use crate::raw::{Body, Connection, Hello, op};

/// Runs the script on both and compares line by line. The control is the measure, so there is nothing to choose.
pub(super) fn run(_target: Target) -> Result<Report> {
    let ours = lines(Kind::Coordinator)?;
    let theirs = lines(Kind::Zookeeper)?;
    let mut report = Report::default();
    let count = ours.len().max(theirs.len());
    ensure!(theirs.len() >= SCRIPT_LINES_MIN, "the control wrote only {} lines", theirs.len());
    for at in 0..count {
        let (ours, theirs) = (ours.get(at), theirs.get(at));
        let name = theirs.or(ours).map_or_else(String::new, |line| line.replace('\t', " "));
        let same = (|| {
            ensure!(ours == theirs, "ours is {ours:?}");
            Ok(())
        })();
        report.check(&name, same);
    }
    Ok(report)
}

/// Fewer would mean that the lines were not found.
const SCRIPT_LINES_MIN: usize = 10;

/// What the server wrote about the script, with sessions numbered as they appear.
fn lines(kind: Kind) -> Result<Vec<String>> {
    let mut server = Server::start_new(kind, Options::for_tests().key("audit.enable", true))?;
    script(&server).with_context(|| format!("the script on the {kind}"))?;
    server.stop()?;
    let mut sessions: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in server.log_tail(1 << 20).lines() {
        // Behind the time and the logger's name, which belong to the logging library.
        let Some(at) = line.find("session=0x").filter(|_| line.contains("\toperation=")) else { continue };
        let (session, rest) = line[at..].split_once('\t').context("an audit line has fields")?;
        let next = sessions.len() + 1;
        let number = *sessions.entry(session.to_owned()).or_insert(next);
        let fields: Vec<String> = rest.split('\t').map(in_order).collect();
        lines.push(format!("session={number}\t{}", fields.join("\t")));
    }
    Ok(lines)
}

/// The control tells a connection's identities in the order of a hash table.
fn in_order(field: &str) -> String {
    let Some(users) = field.strip_prefix("user=") else { return field.to_owned() };
    let mut users: Vec<&str> = users.split(',').collect();
    users.sort_unstable();
    format!("user={}", users.join(","))
}

fn script(server: &Server) -> Result<()> {
    let mut connection = Connection::new_session(server.address())?;
    let mut ask = |opcode: i32, record: Body| connection.call(opcode, &record);
    ask(op::CREATE, Body::new().create("/audited", b"x", 0))?;
    ask(op::CREATE, Body::new().create("/audited", b"x", 0))?;
    ask(op::CREATE, Body::new().create("/audited/s-", b"x", 2))?;
    ask(op::CREATE, Body::new().create("/audited/e", b"x", 1))?;
    ask(op::CREATE, Body::new().create("/none/child", b"x", 0))?;
    ask(op::SET_DATA, Body::new().bytes("/audited").bytes("y").int(-1))?;
    ask(op::SET_DATA, Body::new().bytes("/audited").bytes("y").int(77))?;
    ask(op::SET_ACL, Body::new().bytes("/audited").open_acl().int(-1))?;
    ask(op::DELETE, Body::new().bytes("/audited").int(-1))?;
    ask(op::DELETE, Body::new().bytes("/audited/e").int(-1))?;
    let digest = Body::new().int(0).bytes("digest").bytes("jack:pass");
    connection.send(&Body::request(-4, op::AUTH).raw(&digest.0).frame())?;
    connection.reply(std::time::Duration::from_secs(10))?;
    let mut ask = |opcode: i32, record: Body| connection.call(opcode, &record);
    ask(op::CREATE, Body::new().create("/audited/jack", b"x", 0))?;
    let good = Body::new()
        .multi_header(op::CREATE, false, -1)
        .create("/audited/m", b"", 0)
        .multi_header(op::SET_DATA, false, -1)
        .bytes("/audited/m")
        .bytes("z")
        .int(0)
        .multi_header(op::DELETE, false, -1)
        .bytes("/audited/m")
        .int(1)
        .multi_header(-1, true, -1);
    ask(op::MULTI, good)?;
    let bad = Body::new()
        .multi_header(op::CREATE, false, -1)
        .create("/audited/n", b"", 0)
        .multi_header(op::DELETE, false, -1)
        .bytes("/audited/none")
        .int(-1)
        .multi_header(-1, true, -1);
    ask(op::MULTI, bad)?;
    ask(op::GET_DATA, Body::new().bytes("/audited").bool(false))?;
    let (mut other, _) = Connection::session(server.address(), &Hello::default())?;
    other.call_ok(op::CREATE, &Body::new().create("/audited/other", b"", 1))?;
    other.call_ok(op::CLOSE_SESSION, &Body::new())?;
    connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
    Ok(())
}
