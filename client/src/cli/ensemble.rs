//! The servers themselves: who they are and how they are.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::Args;
use super::flags::Format;
use super::output::Table;
use crate::zk::hosts::Hosts;
use crate::zk::{Coordinator, Error, Reconfig};

/// How long a server may take for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer, that of a server with very many sessions, may be cut here.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What a server without `server.N` lines is.
const ALONE: &str = "the server is alone: it belongs to no ensemble, and has no members";

fn has_members(config: &str) -> bool {
    config.lines().any(|line| line.starts_with("server."))
}

pub(super) async fn config(zk: &Coordinator, format: Format) -> Result<()> {
    let (data, _) = zk.config().await?;
    let text = String::from_utf8_lossy(&data);
    if !has_members(&text) {
        eprintln!("coordctl: {ALONE}");
    }
    if format == Format::Table {
        return Ok(text.trim_end().lines().try_for_each(|line| writeln!(std::io::stdout(), "{line}"))?);
    }
    let mut table = Table::new(&["key", "value"]);
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        table.row([key.into(), value.into()]);
    }
    Ok(table.print(format)?)
}

pub(super) async fn reconfig(
    zk: &Coordinator,
    add: Vec<String>,
    remove: Vec<u64>,
    members: Option<&str>,
    if_version: Option<&str>,
) -> Result<()> {
    let mut change = match members {
        Some(members) => Reconfig::replace(members.split(',').map(str::to_owned)),
        None => {
            anyhow::ensure!(
                !(add.is_empty() && remove.is_empty()),
                "nothing to change: see --add, --remove, --members"
            );
            Reconfig::change(add, remove)
        }
    };
    if let Some(version) = if_version {
        let digits = version.trim_start_matches("0x");
        change = change
            .if_version(i64::from_str_radix(digits, 16).context("the version is no hexadecimal number")?);
    }
    let (data, _) = match zk.reconfig(change).await {
        Err(Error::ReconfigDisabled | Error::Unimplemented)
            if zk.config().await.is_ok_and(|(data, _)| !has_members(&String::from_utf8_lossy(&data))) =>
        {
            bail!("{ALONE} that could change; server.N lines in its configuration make it a member")
        }
        result => result?,
    };
    writeln!(std::io::stdout(), "{}", String::from_utf8_lossy(&data).trim_end())?;
    Ok(())
}

/// Asks one server with a four-letter word.
async fn ask(host: &str, port: u16, word: &str) -> Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, ask).await.context("no answer in time")?
}

pub(super) async fn four_letter(args: &Args, word: &str) -> Result<u8> {
    anyhow::ensure!(word.len() == 4 && word.is_ascii(), "{word:?} is no four-letter word");
    let hosts = Hosts::parse(&args.server)?.hosts;
    let mut failed = false;
    for (host, port) in &hosts {
        if hosts.len() > 1 {
            writeln!(std::io::stdout(), "# {host}:{port}")?;
        }
        match ask(host, *port, word).await {
            Ok(answer) => {
                // A probe must not take the refusal of its word for an answer.
                failed |= answer.contains("is not in the whitelist");
                writeln!(std::io::stdout(), "{}", answer.trim_end())?;
            }
            Err(error) => {
                failed = true;
                eprintln!("coordctl: {host}:{port}: {error:#}");
            }
        }
    }
    Ok(failed.into())
}

/// What a server says about itself, a `Key: value` in each line.
#[derive(Debug)]
struct Standing(Result<String>);

impl Standing {
    fn field(&self, key: &str) -> Option<&str> {
        let answer = self.0.as_ref().ok()?;
        answer.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
    }

    fn value(&self, key: &str) -> Value {
        self.field(key).map_or(Value::Null, |text| match text.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        })
    }

    /// Only of a server that serves.
    fn mode(&self) -> Option<&str> {
        self.field("Mode:")
    }

    fn leads(&self) -> bool {
        matches!(self.mode(), Some("leader" | "standalone"))
    }

    fn zxid(&self) -> Option<u64> {
        u64::from_str_radix(self.field("Zxid:")?.trim_start_matches("0x"), 16).ok()
    }

    /// What it does, or why nobody knows.
    fn role(&self) -> String {
        match (self.mode(), &self.0) {
            (Some(mode), _) => mode.to_owned(),
            (None, Ok(answer)) => answer.lines().next().unwrap_or("no answer").to_owned(),
            (None, Err(error)) => format!("{error:#}"),
        }
    }
}

/// How many transactions a server is behind the leader. Nobody can tell when they are in different epochs.
fn lag(leader: Option<u64>, zxid: Option<u64>) -> Option<u64> {
    let (leader, zxid) = (leader?, zxid?);
    // They were not asked at the same moment.
    (leader >> 32 == zxid >> 32).then(|| leader.saturating_sub(zxid))
}

pub(super) async fn status(args: &Args) -> Result<u8> {
    let hosts = Hosts::parse(&args.server)?.hosts;
    let columns =
        &["server", "role", "zxid", "lag", "latency ms", "connections", "outstanding", "znodes", "version"];
    let mut table = Table::new(columns);
    // All at once: one that hangs holds up nobody.
    let answers: Vec<_> = hosts
        .iter()
        .cloned()
        .map(|(host, port)| tokio::spawn(async move { ask(&host, port, "srvr").await }))
        .collect();
    let mut servers = Vec::new();
    for answer in answers {
        servers.push(Standing(answer.await.map_err(anyhow::Error::from).flatten()));
    }
    let serving = servers.iter().filter(|server| server.mode().is_some()).count();
    let leading = servers.iter().filter(|server| server.leads()).count();
    let leader = servers.iter().find(|server| server.leads()).and_then(Standing::zxid);
    for ((host, port), server) in hosts.iter().zip(&servers) {
        // Shortest, mean and longest.
        let latency = server.field("Latency min/avg/max:").and_then(|text| text.split('/').nth(1));
        let version = server.field("Zookeeper version:").and_then(|text| text.split(['-', ',']).next());
        table.row([
            format!("{host}:{port}").into(),
            server.role().into(),
            server.value("Zxid:"),
            lag(leader, server.zxid()).into(),
            latency.and_then(|mean| mean.parse::<f64>().ok()).into(),
            server.value("Connections:"),
            server.value("Outstanding:"),
            server.value("Node count:"),
            version.into(),
        ]);
    }
    table.print(args.format)?;
    Ok(u8::from(serving < hosts.len() || leading != 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_within_an_epoch() {
        let (leader, epoch) = (Some(0x2_0000_0010), 1 << 32);
        assert_eq!(lag(leader, leader), Some(0));
        assert_eq!(lag(leader, Some(0x2_0000_000a)), Some(6));
        assert_eq!(lag(leader, Some(0x2_0000_0011)), Some(0), "asked later");
        assert_eq!(lag(leader, leader.map(|zxid| zxid - epoch)), None);
        assert_eq!(lag(None, leader), None);
    }
}
