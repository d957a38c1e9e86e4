//! `coordinator healthcheck`: does a server serve? For containers, which need an exit code.

use crate::config::Sources;
use crate::net::four_letter::NOT_SERVING;
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks the port that is given, else the one the configuration names.
pub(super) fn run(server: Option<String>, admin: Option<String>, sources: &Sources) -> anyhow::Result<()> {
    match (server, admin) {
        (_, Some(admin)) => ask_operations(&admin),
        (Some(server), None) => ask_client_port(&server),
        (None, None) => match configured(sources)? {
            Target::Client(address) => ask_client_port(&address.to_string()),
            Target::Operations(address) => ask_operations(&address.to_string()),
        },
    }
}

/// What can be asked without a certificate.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Client(SocketAddr),
    Operations(SocketAddr),
}

/// The client port of this configuration, or the operations port if it serves TLS clients only, as reached from this
/// machine.
fn configured(sources: &Sources) -> anyhow::Result<Target> {
    let config =
        sources.load().map_err(|error| anyhow::anyhow!("the configuration cannot be used:\n{error}"))?.config;
    let local = |mut address: SocketAddr| {
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        address
    };
    match (config.listen.client, config.admin) {
        (Some(client), _) => Ok(Target::Client(local(client))),
        (None, Some(admin)) => Ok(Target::Operations(local(admin.listen))),
        (None, None) => {
            bail!("the configuration has neither a plain client port nor an operations port to ask")
        }
    }
}

/// Says `srvr`, which every server answers by default; where it does not, a session shows that it serves.
fn ask_client_port(server: &str) -> anyhow::Result<()> {
    let answer = exchange(server, b"srvr")?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains("Mode: ") {
        return Ok(());
    }
    ensure!(!answer.contains(NOT_SERVING), "{server} does not serve clients");
    ensure!(answer.contains("whitelist"), "{server} does not answer as a coordinator");
    open_session(server)
}

/// Opens a session and closes it again.
fn open_session(server: &str) -> anyhow::Result<()> {
    let mut stream = connect(server)?;
    // Version 0, no zxid seen, 4 s timeout, no session, no password, not read-only.
    let mut connect = vec![0, 0, 0, 29];
    connect.extend([0; 4 + 8]);
    connect.extend(4000_i32.to_be_bytes());
    connect.extend([0; 8 + 4 + 1]);
    stream.write_all(&connect).with_context(|| format!("cannot write to {server}"))?;
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).with_context(|| format!("{server} refuses a session"))?;
    let close = [0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5];
    stream.write_all(&close).with_context(|| format!("cannot write to {server}"))?;
    // The session is gone when the server closes; if it does not in time, the session ends by itself.
    let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut Vec::new());
    Ok(())
}

fn ask_operations(admin: &str) -> anyhow::Result<()> {
    let request = format!("GET /readyz?verbose HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let answer = exchange(admin, request.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(()),
        "503" => bail!("{admin} is not ready: {}", body.trim()),
        _ => bail!("{admin} does not answer as a coordinator"),
    }
}

fn exchange(address: &str, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(request).with_context(|| format!("cannot write to {address}"))?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    read.with_context(|| format!("{address} does not answer"))?;
    Ok(answer)
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let addresses = address.to_socket_addrs().with_context(|| format!("{address} is no host:port"))?;
    let mut failure = None;
    for target in addresses {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error).with_context(|| format!("cannot connect to {address}")),
        None => bail!("{address} has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that reads once and answers each connection in turn with the next of `answers`.
    fn answering(answers: &[&'static [u8]]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 256];
                let _ = stream.read(&mut buffer).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        address
    }

    fn reason(outcome: anyhow::Result<()>) -> String {
        format!("{:#}", outcome.expect_err("must be unhealthy"))
    }

    #[test]
    fn client_ports() {
        ask_client_port(&answering(&[b"Zookeeper version: 3.9.4\nMode: standalone\n"])).unwrap();
        let refused = b"srvr is not executed because it is not in the whitelist.\n";
        ask_client_port(&answering(&[refused, &[0; 41]])).unwrap();
        assert!(reason(ask_client_port(&answering(&[refused, b""]))).contains("refuses a session"));
        let idle = b"This ZooKeeper instance is not currently serving requests\n";
        assert!(reason(ask_client_port(&answering(&[idle]))).contains("does not serve"));
        assert!(reason(ask_client_port(&answering(&[b"SSH-2.0\r\n"]))).contains("as a coordinator"));
        assert!(reason(ask_client_port("127.0.0.1:1")).contains("cannot connect"));
        assert!(reason(ask_client_port("nonsense")).contains("host:port"));
    }

    #[test]
    fn operations_ports() {
        ask_operations(&answering(&[b"HTTP/1.1 200 OK\r\n\r\nok"])).unwrap();
        let busy = b"HTTP/1.1 503 Service Unavailable\r\n\r\n[-] writes: disk full";
        assert!(reason(ask_operations(&answering(&[busy]))).contains("disk full"));
        assert!(
            reason(ask_operations(&answering(&[b"HTTP/1.1 404 Not Found\r\n\r\n"])))
                .contains("as a coordinator")
        );
    }

    #[test]
    fn the_configured_port_is_asked_by_default() {
        let check = |flags: &[(&str, &str)], expected: Target| {
            let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(configured(&Sources { flags, ..Sources::default() }).unwrap(), expected);
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        check(&[], Target::Client(local(2181)));
        check(&[("clientPort", "2199")], Target::Client(local(2199)));
        let tls = [("secureClientPort", "1"), ("ssl.keyStore.location", "k.pem"), ("ssl.clientAuth", "none")];
        check(&tls, Target::Operations(local(8080)));
        let broken = Sources { flags: vec![("clientPort".to_owned(), "x".to_owned())], ..Sources::default() };
        assert!(format!("{:#}", configured(&broken).unwrap_err()).contains("clientPort=x"));
    }
}
