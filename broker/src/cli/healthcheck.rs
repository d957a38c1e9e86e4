//! Does a broker serve?

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use client::wire::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ApiKey, Message, Reader, ResponseHeader, frame};

const PATIENCE: Duration = Duration::from_secs(5);
const VERSION: i16 = 9;
/// More than any cluster's metadata.
const ANSWER_BYTES_MAX: usize = 100 << 20;

/// Asks for metadata, and says how many brokers and topics there are.
pub(super) fn run(server: &str) -> anyhow::Result<()> {
    let answer = ask(server).with_context(|| format!("{server} does not serve"))?;
    println!(
        "{server} serves: cluster {}, {} brokers, controller {}, {} topics",
        answer.cluster_id.as_deref().unwrap_or("unknown"),
        answer.brokers.len(),
        answer.controller_id,
        answer.topics.len()
    );
    Ok(())
}

fn ask(server: &str) -> anyhow::Result<MetadataResponse> {
    let mut last = None;
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}

fn exchange(mut stream: TcpStream) -> anyhow::Result<MetadataResponse> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    stream.write_all(&join(&frame::request(&request, VERSION, 1, Some(&"healthcheck".into()))?))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        bail!("an answer of {length} bytes is none");
    }
    let mut answer = Vec::new();
    stream.take(length as u64).read_to_end(&mut answer)?;
    let mut reader = Reader::new(Bytes::from(answer));
    ResponseHeader::decode(&mut reader, ApiKey::Metadata, VERSION)?;
    Ok(MetadataResponse::decode(&mut reader, VERSION)?)
}
