//! What fuzzers feed: each target takes any bytes and must come back, with its promises kept.
//!
//! The targets of `testkit/fuzz` and the replay on stable (`testkit/tests/fuzz_corpus.rs`) call the same functions.

pub mod kafka;

use std::net::{IpAddr, Ipv4Addr};

use client::wire::codec::Reader;
use client::wire::zk::{ConnectRequest, MultiResult, OpCode, Request, RequestHeader, SessionId, Zxid, perms};
use coordinator::config::Sources;
use coordinator::request::{Duty, Now, Service};
use coordinator::store::{LogOptions, Recovery, SnapshotWriter, StoreError};
use coordinator::tree::Tree;
use coordinator::tree::acl;
use coordinator::tree::command::{AclRecord, IdentityRecord};
use coordinator::tree::snapshot::Loader;
use coordinator::tree::watches::ConnectionId;

use crate::model;
use crate::sim::disk::SimDisk;
use crate::sim::random::Random;
use crate::sim::solo::{Configuration, workload};

/// A name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("zk_frame", zk_frame),
    ("zk_connect", zk_connect),
    ("zk_request", zk_request),
    ("zk_multi", zk_multi),
    ("coordinator_log_recovery", coordinator_log_recovery),
    ("snapshot_load", snapshot_load),
    ("zoo_cfg", zoo_cfg),
    ("acl_text", acl_text),
    ("kafka_message", kafka::kafka_message),
    ("kafka_batches", kafka::kafka_batches),
    ("broker_log_recovery", kafka::broker_log_recovery),
];

/// Splits bytes at big-endian lengths, as connections do; the rest counts as one piece.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (piece, after) = rest.split_at(rest.len().min(u32::from_be_bytes(*length) as usize));
        pieces.push(piece);
        data = after;
    }
    pieces
}

fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| [&(piece.len() as u32).to_be_bytes()[..], piece].concat()).collect()
}

/// A client of a live server sends these frames after its session is open.
pub fn zk_frame(data: &[u8]) {
    let now = Now { monotonic_us: 0, wall_ms: 1_000_000 };
    let settings = Configuration::draw(&mut Random::new(1)).settings();
    let mut service = Service::new(settings, Tree::new(1), [7; 32], now);
    let (id, mut zxid) = (ConnectionId(1), Zxid::ZERO);
    let mut commit = |service: &mut Service| {
        for proposal in service.take_proposals() {
            zxid = zxid.next();
            service
                .committed(zxid, (proposal.origin, proposal.serial), &proposal.bytes, now)
                .expect("its own command");
        }
    };
    service.stand(Duty::Alone, now);
    commit(&mut service);
    service.connect(id, (IpAddr::V4(Ipv4Addr::LOCALHOST), 1), false, Vec::new(), now);
    let mut hello = Vec::new();
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 4000,
        session: SessionId::NONE,
        password: &[],
        read_only: None,
    }
    .write(&mut hello);
    service.frame(id, &hello[4..], now);
    commit(&mut service);
    let mut out = Vec::new();
    for frame in pieces(data) {
        service.frame(id, frame, now);
        commit(&mut service);
        service.take_output(id, &mut out);
    }
    service.tree().check_invariants();
}

/// The first frame of a connection: what can be read can be written and read again.
pub fn zk_connect(data: &[u8]) {
    if let Ok(request) = ConnectRequest::decode(data) {
        let mut frame = Vec::new();
        request.write(&mut frame);
        assert_eq!(ConnectRequest::decode(&frame[4..]), Ok(request));
    }
}

/// A frame with a request: what can be read can be written and read again.
pub fn zk_request(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    if let Ok(request) = Request::decode(header.op, &mut reader) {
        let mut frame = Vec::new();
        request.write(header.xid, &mut frame);
        let mut reader = Reader::new(&frame[4 + 8..]);
        assert_eq!(Request::decode(header.op, &mut reader), Ok(request));
    }
}

/// The body of a multi, of a multiRead, and of the reply to one.
pub fn zk_multi(data: &[u8]) {
    for op in [OpCode::Multi, OpCode::MultiRead] {
        if let Ok(request) = Request::decode(op.to_wire(), &mut Reader::new(data)) {
            let mut frame = Vec::new();
            request.write(1, &mut frame);
            assert_eq!(Request::decode(op.to_wire(), &mut Reader::new(&frame[4 + 8..])), Ok(request));
        }
    }
    if let Ok(results) = MultiResult::decode_list(&mut Reader::new(data)) {
        assert!(results.len() <= data.len(), "nothing comes from nothing");
    }
}

fn body(zxid: u64) -> Vec<u8> {
    vec![zxid as u8; 10 + zxid as usize]
}

/// A data directory with a log of some records and a snapshot.
fn directory() -> Result<SimDisk, StoreError> {
    let disk = SimDisk::new();
    let options = LogOptions { salt_seed: 7, segment_bytes_max: 200, ..LogOptions::default() };
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options)?;
    while recovery.next_record()?.is_some() {}
    let (mut log, _) = recovery.finish()?;
    for zxid in 1..=9 {
        log.append(zxid, body(zxid).into());
        log.flush()?;
        if zxid == 4 {
            let mut writer = SnapshotWriter::create(disk.as_disk(), zxid, b"header")?;
            writer.chunk(b"a chunk")?;
            writer.finish(b"trailer")?;
        }
    }
    log.close()?;
    Ok(disk)
}

/// One file of a data directory, chosen by the first byte, has this content instead of its own. Recovery refuses, or
/// finds records that were written.
pub fn coordinator_log_recovery(data: &[u8]) {
    let Some((choice, content)) = data.split_first() else { return };
    let disk = directory().expect("an undamaged directory");
    let names = disk.names();
    disk.tamper(&names[*choice as usize % names.len()], Some(content.to_vec()));
    let options = LogOptions { salt_seed: 8, segment_bytes_max: 200, ..LogOptions::default() };
    let recover = || -> Result<(), StoreError> {
        let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options)?;
        if let Some(snapshot) = recovery.snapshot() {
            while snapshot.next_chunk()?.is_some() {}
        }
        while recovery.next_record()?.is_some() {}
        let (mut log, _) = recovery.finish()?;
        log.append(log.last_zxid() + 1, body(1).into());
        log.flush()?;
        log.close()
    };
    // An error is a verdict; only a panic would not be one.
    let _verdict = recover();
}

/// The chunks of a snapshot, each behind its length: an error, or a tree that keeps its promises.
pub fn snapshot_load(data: &[u8]) {
    let mut loader = Loader::new(1);
    for chunk in pieces(data) {
        if loader.chunk(chunk).is_err() {
            return;
        }
    }
    if let Ok(tree) = loader.finish() {
        tree.check_invariants();
    }
}

/// A configuration file. Lines that could make the server look up names are left out: nothing outside is ever asked.
pub fn zoo_cfg(data: &[u8]) {
    let outside = ["address", "server", "host", "provider", "\\"];
    let is_inside = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line).to_lowercase();
        !outside.iter().any(|word| line.contains(word))
    };
    let lines: Vec<&[u8]> = data.split(|byte| matches!(byte, b'\n' | b'\r')).filter(is_inside).collect();
    let Ok(dir) = tempfile::tempdir() else { return };
    let file = dir.path().join("zoo.cfg");
    if std::fs::write(&file, lines.join(&b'\n')).is_ok() {
        let sources = Sources { file: Some(file), ..Sources::default() };
        if let Err(error) = sources.load() {
            assert!(!error.to_string().is_empty(), "a refusal says why");
        }
    }
}

/// Lines of permissions, scheme and id. The verdicts are those of the model.
pub fn acl_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let records: Vec<AclRecord<'_>> = text
        .lines()
        .take(50)
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let perms = parts.next()?.parse().ok()?;
            Some(AclRecord { perms, scheme: parts.next()?, id: parts.next()? })
        })
        .collect();
    for who in [&[("ip", "10.1.2.3"), ("digest", "u:h")][..], &[("ip", "fe80::1")], &[("super", "")]] {
        let identities: Vec<IdentityRecord<'_>> =
            who.iter().map(|(scheme, id)| IdentityRecord { scheme, id }).collect();
        let same = model::acl::identities(&identities);
        let list = acl::checked(&records, &identities);
        assert_eq!(list, model::acl::checked(&records, &same), "{records:?}");
        for wanted in [perms::READ, perms::WRITE, perms::READ | perms::ADMIN] {
            let list = list.as_deref().unwrap_or_default();
            assert_eq!(
                acl::permits(list, wanted, &identities),
                model::acl::permits(list, wanted, &same),
                "{records:?} {who:?}"
            );
        }
    }
}

/// Some valid inputs of a target, small ones, always the same.
pub fn examples(target: &str) -> Vec<Vec<u8>> {
    let mut random = Random::new(0xf022);
    let mut requests = |count: usize| -> Vec<Vec<u8>> {
        let mut all: Vec<Request<'_>> = (0..count).map(|_| workload::request(&mut random)).collect();
        all.push(workload::watches(&mut random, 3));
        let frames = all.iter().zip(1..).map(|(request, xid)| {
            let mut frame = Vec::new();
            request.write(xid, &mut frame);
            frame.split_off(4)
        });
        frames.filter(|frame| frame.len() < 400).collect()
    };
    match target {
        "zk_frame" => (0..3).map(|_| joined(&requests(20))).collect(),
        "zk_request" => requests(60),
        "zk_multi" => {
            let multi = OpCode::Multi.to_wire().to_be_bytes();
            requests(200).into_iter().filter(|frame| frame[4..8] == multi).map(|frame| frame[8..].to_vec()).collect()
        }
        "zk_connect" => [None, Some(true)]
            .map(|read_only| {
                let mut frame = Vec::new();
                ConnectRequest {
                    protocol_version: 0,
                    last_zxid_seen: 5,
                    timeout_ms: 4000,
                    session: SessionId(7),
                    password: &[3; 16],
                    read_only,
                }
                .write(&mut frame);
                frame.split_off(4)
            })
            .into(),
        "coordinator_log_recovery" => {
            let disk = directory().expect("an undamaged directory");
            let files = disk.names().into_iter().zip(0u8..);
            // What a file has in front of the zeros that it grew ahead by.
            let content = |name: &str| {
                let mut bytes = disk.content(name).unwrap_or_default();
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(used + 40);
                bytes
            };
            files.map(|(name, choice)| [&[choice][..], &content(&name)].concat()).collect()
        }
        "snapshot_load" => {
            let mut tree = Tree::new(1);
            tree.begin_snapshot();
            tree.advance_snapshot(u32::MAX);
            vec![joined(&std::iter::from_fn(|| tree.next_snapshot_chunk()).collect::<Vec<_>>())]
        }
        "zoo_cfg" => vec![
            b"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/nowhere\nclientPort=2181\nmaxClientCnxns=60\n\
              autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n4lw.commands.whitelist=srvr, mntr\n"
                .to_vec(),
        ],
        "acl_text" => vec![
            b"31 world anyone\n1 ip 10.1.0.0/16\n5 digest u:h\n16 auth \n".to_vec(),
            b"3 ip fe80::/10\n1 sasl someone\n".to_vec(),
        ],
        _ => kafka::examples(target),
    }
}
