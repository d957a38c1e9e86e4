//! The servers themselves: who they are and how they are.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::Args;
use super::flags::Format;
use super::output::Table;
use crate::zk::hosts::Hosts;
use crate::zk::{Coordinator, Reconfig};

/// How long a server may take for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer, that of a server with very many sessions, may be cut here.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

pub(super) async fn config(zk: &Coordinator, format: Format) -> Result<()> {
    let (data, _) = zk.config().await?;
    let text = String::from_utf8_lossy(&data);
    if format == Format::Table {
        println!("{}", text.trim_end());
        return Ok(());
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
    let (data, _) = zk.reconfig(change).await?;
    println!("{}", String::from_utf8_lossy(&data).trim_end());
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
            println!("# {host}:{port}");
        }
        match ask(host, *port, word).await {
            Ok(answer) => println!("{}", answer.trim_end()),
            Err(error) => {
                failed = true;
                eprintln!("coordctl: {host}:{port}: {error:#}");
            }
        }
    }
    Ok(failed.into())
}

pub(super) async fn status(args: &Args) -> Result<u8> {
    let hosts = Hosts::parse(&args.server)?.hosts;
    let columns =
        &["server", "role", "zxid", "latency ms", "connections", "outstanding", "znodes", "version"];
    let mut table = Table::new(columns);
    let (mut serving, mut leading) = (0, 0);
    // All at once: one that hangs holds up nobody.
    let answers: Vec<_> = hosts
        .iter()
        .cloned()
        .map(|(host, port)| tokio::spawn(async move { ask(&host, port, "srvr").await }))
        .collect();
    for ((host, port), answer) in hosts.iter().zip(answers) {
        let server = format!("{host}:{port}");
        let answer = answer.await.map_err(anyhow::Error::from).and_then(|answer| answer);
        let field = |key: &str| {
            let answer = answer.as_ref().ok()?;
            answer.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
        };
        let role = match (field("Mode:"), &answer) {
            (Some(mode), _) => {
                serving += 1;
                leading += usize::from(mode == "leader" || mode == "standalone");
                mode
            }
            (None, Ok(answer)) => answer.lines().next().unwrap_or("no answer").to_owned(),
            (None, Err(error)) => format!("{error:#}"),
        };
        let value = |key: &str| {
            field(key).map_or(Value::Null, |text| match text.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => text.into(),
            })
        };
        let version =
            field("Zookeeper version:").map(|text| text.split(['-', ',']).next().unwrap_or("").to_owned());
        table.row([
            server.into(),
            role.into(),
            value("Zxid:"),
            // Shortest, mean and longest.
            field("Latency min/avg/max:").and_then(|text| text.split('/').nth(1)?.parse::<f64>().ok()).into(),
            value("Connections:"),
            value("Outstanding:"),
            value("Node count:"),
            version.into(),
        ]);
    }
    table.print(args.format)?;
    Ok(u8::from(serving < hosts.len() || leading != 1))
}
