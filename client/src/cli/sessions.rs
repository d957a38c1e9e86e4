//! `coordctl session list`: what the admin endpoint knows of sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::Args;
use super::output::{Table, time};
use crate::zk::hosts::Hosts;

/// How long the endpoint may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Very many sessions have very much to say.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const DEFAULT_PORT: u16 = 8080;

pub(super) async fn list(args: &Args) -> Result<()> {
    let endpoint = match &args.admin {
        Some(admin) => admin.clone(),
        None => {
            let hosts = Hosts::parse(&args.server)?.hosts;
            let (host, _) = hosts.first().context("no server is named")?;
            format!("{host}:{DEFAULT_PORT}")
        }
    };
    let hint = if args.admin.is_some() { "" } else { " (--admin says where it is)" };
    let named = || format!("the admin endpoint {endpoint}{hint}");
    let (dump, connections) = tokio::try_join!(command(&endpoint, "dump"), command(&endpoint, "connections"))
        .with_context(named)?;
    let mut sessions: BTreeMap<i64, Session> = BTreeMap::new();
    for (at, ids) in object(&dump, "expiry_time_to_session_ids") {
        for id in ids.as_array().into_iter().flatten().filter_map(Value::as_i64) {
            sessions.entry(id).or_default().expires_ms = at.parse().ok();
        }
    }
    for (id, paths) in object(&dump, "session_id_to_ephemeral_paths") {
        if let (Ok(id), Some(paths)) = (id.parse(), paths.as_array()) {
            sessions.entry(id).or_default().ephemerals = paths.len();
        }
    }
    for list in ["connections", "secure_connections"] {
        for connection in connections.get(list).and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = session_id(connection) {
                let session = sessions.entry(id).or_default();
                session.address = connection.get("remote_socket_address").map(address);
                session.timeout_ms = connection.get("session_timeout").and_then(Value::as_i64);
            }
        }
    }
    let mut table = Table::new(&["session", "connected from", "timeout ms", "expires", "ephemerals"]);
    for (id, session) in sessions {
        table.row([
            format!("{id:#x}").into(),
            session.address.into(),
            session.timeout_ms.into(),
            session.expires_ms.map_or(Value::Null, |ms| time(ms, args.format)),
            session.ephemerals.into(),
        ]);
    }
    Ok(table.print(args.format)?)
}

#[derive(Debug, Default)]
struct Session {
    /// `None` when it is connected to another server, or to none.
    address: Option<String>,
    timeout_ms: Option<i64>,
    expires_ms: Option<i64>,
    ephemerals: usize,
}

/// Hexadecimal text from some servers, a number from others.
fn session_id(connection: &Value) -> Option<i64> {
    let id = connection.get("session_id")?;
    id.as_i64().or_else(|| {
        let text = id.as_str()?;
        u64::from_str_radix(text.trim_start_matches("0x"), 16).ok().map(u64::cast_signed)
    })
}

/// A text, or an object of host and port.
fn address(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim_start_matches('/').to_owned(),
        other => other.to_string(),
    }
}

fn object<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// What a command of the endpoint answers.
async fn command(endpoint: &str, name: &str) -> Result<Value> {
    let ask = async {
        let endpoint =
            if endpoint.contains(':') { endpoint.to_owned() } else { format!("{endpoint}:{DEFAULT_PORT}") };
        let mut stream = TcpStream::connect(&endpoint).await?;
        // Of this version, so that the end of the connection is that of the answer.
        let request = format!("GET /commands/{name} HTTP/1.0\r\nHost: {endpoint}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await.context("no answer in time")??;
    let answer = parse(&answer)?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        bail!("{name}: {}", error.as_str().unwrap_or("it failed"));
    }
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<Value> {
    let end =
        answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("what answers is no web server")?;
    let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = String::from_utf8_lossy(status);
    ensure!(status.split(' ').nth(1) == Some("200"), "it says {status}");
    serde_json::from_slice(&answer[end + 4..]).context("it does not answer with JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"a\":1}").unwrap(), json!({"a": 1}));
        for bad in
            [&b""[..], b"nonsense", b"HTTP/1.1 404 Not Found\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\nhello"]
        {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(session_id(&json!({"session_id": "0xffffffffffffffff"})), Some(-1));
        assert_eq!(session_id(&json!({"session_id": 7})), Some(7));
    }
}
