//! ZooKeeper's own shell, as people type it.

use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::foreign::Report;
use super::zkcli_members;
use crate::process::{JavaProject, Options, Service, Target, java_command, scratch};

/// One command line and words that its output must hold.
type Line = (&'static str, &'static [&'static str]);

const LINES: &[Line] = &[
    ("create /cli one", &["Created /cli"]),
    ("get /cli", &["one"]),
    ("get -s /cli", &["one", "cZxid = 0x", "dataVersion = 0", "ephemeralOwner = 0x0", "numChildren = 0"]),
    ("set /cli two", &[]),
    ("set -v 0 /cli three", &["version No is not valid : /cli"]),
    ("stat /cli", &["dataVersion = 1", "dataLength = 3"]),
    ("create /cli", &["Node already exists: /cli"]),
    ("create -s /cli/s- x", &["Created /cli/s-0000000000"]),
    ("create -e /cli/e x", &["Created /cli/e"]),
    ("create -c /cli/c", &["Created /cli/c"]),
    ("create -t 100000 /cli/t x", &["Created /cli/t"]),
    ("ls /", &["cli", "zookeeper"]),
    ("ls -s /cli", &["cversion = "]),
    ("ls -R /cli", &["/cli/c", "/cli/t"]),
    ("delete /cli", &["Node not empty: /cli"]),
    ("get /none", &["Node does not exist: /none"]),
    ("getAcl /cli", &["'world,'anyone", "cdrwa"]),
    ("addauth digest jack:pass", &[]),
    ("setAcl /cli/c auth:jack:pass:cdrwa", &[]),
    ("whoami", &["digest: jack", "ip: 127.0.0.1"]),
    ("getAllChildrenNumber /cli", &["\n4\n"]),
    ("getEphemerals /", &["/cli/e"]),
    ("setquota -n 100 /cli/t", &[]),
    ("listquota /cli/t", &["count=100"]),
    ("delquota /cli/t", &[]),
    ("config", &[]),
    ("sync /cli", &["Sync is OK"]),
    ("version", &["3.9"]),
    ("deleteall /cli", &[]),
    ("stat /cli", &["Node does not exist: /cli"]),
];

pub(super) fn run(target: Target) -> Result<Report> {
    let mut service = target.start(Options::for_tests().super_user())?;
    let mut report = Report::default();
    check(&mut report, LINES, &typed(&service.connect_string(), LINES.iter().map(|(line, _)| *line))?);
    if let Service::Ensemble(ensemble) = &mut service {
        zkcli_members::check(ensemble, &mut report)?;
    }
    Ok(report)
}

/// What the shell says when it is given these lines: results, and complaints.
pub(super) fn typed<'a>(servers: &str, lines: impl Iterator<Item = &'a str>) -> Result<[String; 2]> {
    let class_path = JavaProject::new("client-3.9").class_path()?;
    let home = tempfile::tempdir()?;
    let script = home.path().join("commands");
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    std::fs::write(&script, text + "quit\n")?;
    let mut command: Command = java_command(&class_path, &scratch("java")?);
    command.args(["org.apache.zookeeper.ZooKeeperMain", "-server", servers]);
    let output = command.stdin(std::fs::File::open(&script)?).output().context("cannot start java")?;
    Ok([output.stdout, output.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()))
}

/// The shell echoes nothing when its input is no terminal: answers are looked for in the order of the lines, results in one
/// stream and complaints in the other.
fn check(report: &mut Report, lines: &[Line], streams: &[String; 2]) {
    let mut streams = [(&*streams[0], 0), (&*streams[1], 0)];
    for (line, words) in lines {
        let mut found = Ok(());
        for (text, position) in &mut streams {
            let ends = words.iter().map(|word| text[*position..].find(word).map(|at| at + word.len()));
            match ends.collect::<Option<Vec<usize>>>() {
                Some(ends) => {
                    *position += ends.into_iter().max().unwrap_or(0);
                    found = Ok(());
                    break;
                }
                None => found = Err(anyhow!("not in the answers: {words:?}")),
            }
        }
        report.check(&format!("zkCli {line}"), found);
    }
}
