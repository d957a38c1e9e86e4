//! The service alone: frames in, commands out; commands in, frames out.

use std::net::{IpAddr, Ipv4Addr};

use client::wire::zk::reply::XID_NOTIFICATION;
use client::wire::zk::{
    Acl, ConnectRequest, ConnectResponse, Create, MultiOp, MultiResult, OpCode, ReplyHeader, WatchEvent,
    WatchLists,
};

use super::*;
use crate::tree::command::LEVEL_OF_LOCAL_SESSIONS;
use crate::tree::watches::ConnectionId as Id;

const TICK_MS: u64 = 100;
const TIMEOUT_MS: u64 = 1000;

/// A service, the order of its commands, and a clock.
struct Shell {
    service: Service,
    queue: VecDeque<Proposal>,
    zxid: u64,
    now: Now,
}

/// A frame the service sent.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Reply { xid: i32, zxid: i64, error: i32, body: Vec<u8> },
    Event { kind: i32, path: String, zxid: i64 },
}

fn ok(xid: i32, zxid: i64) -> Got {
    Got::Reply { xid, zxid, error: 0, body: Vec::new() }
}

fn failed(xid: i32, zxid: i64, code: ErrorCode) -> Got {
    Got::Reply { xid, zxid, error: code.to_wire(), body: Vec::new() }
}

fn event(kind: client::wire::zk::EventType, path: &str, zxid: i64) -> Got {
    Got::Event { kind: kind as i32, path: path.into(), zxid }
}

impl Shell {
    fn with(limits: impl FnOnce(&mut LimitsConfig)) -> Shell {
        Shell::configured(Duty::Alone, |settings| limits(&mut settings.limits))
    }

    fn configured(duty: Duty, change: impl FnOnce(&mut Settings)) -> Shell {
        let limits = LimitsConfig {
            frame_bytes_max: 1 << 20,
            connections_per_address: None,
            connections_max: 100,
            outstanding_max: 100,
            outstanding_per_connection_max: 100,
            large_request_threshold: None,
            large_request_bytes_max: 1 << 20,
            memory_bytes_max: 1 << 30,
            sessions_max: 100,
            watches_max: 100,
            watches_per_connection_max: 100,
            slow_operation: None,
        };
        let mut settings = Settings {
            server_id: 1,
            session: SessionConfig {
                tick: Duration::from_millis(TICK_MS),
                timeout_min: Duration::from_millis(TIMEOUT_MS),
                timeout_max: Duration::from_millis(5 * TIMEOUT_MS),
                handshake_timeout: Duration::from_secs(10),
                local: false,
                upgrade_local: false,
            },
            limits,
            tree: TreeConfig {
                extended_types: true,
                enforce_quota: false,
                digest: true,
                container_never_used_max: None,
            },
            auth: AuthConfig {
                skip_acl: false,
                digest: None,
                x509_super_user: None,
                sasl: None,
                require_sasl: false,
                allow_sasl_failed: false,
                required_schemes: Vec::new(),
                ensemble_names: None,
            },
            reconfig_enabled: false,
            read_only_mode: false,
            leader_serves: true,
            members_text: None,
        };
        change(&mut settings);
        let now = Now { monotonic_us: 0, wall_ms: 1_000_000 };
        let service = Service::new(settings, Tree::new(1), [7; 32], now);
        let mut shell = Shell { service, queue: VecDeque::new(), zxid: 0, now };
        shell.service.stand(duty, now);
        shell.commit_all();
        shell
    }

    /// A leader whose clients' sessions are its own.
    fn with_local_sessions(upgrade: bool) -> Shell {
        let mut shell = Shell::configured(Duty::Leading, |settings| {
            (settings.session.local, settings.session.upgrade_local) = (true, upgrade);
        });
        shell.service.raise(LEVEL_OF_LOCAL_SESSIONS, shell.now);
        shell.commit_all();
        shell
    }

    fn new() -> Shell {
        Shell::with(|_| {})
    }

    fn collect(&mut self) {
        self.queue.extend(self.service.take_proposals());
    }

    /// Executes the next command, if there is one.
    fn commit(&mut self) -> bool {
        self.collect();
        let Some(next) = self.queue.pop_front() else { return false };
        self.zxid += 1;
        let whose = (next.origin, next.serial);
        self.service.committed(Zxid(self.zxid), whose, &next.bytes, self.now).unwrap();
        self.collect();
        true
    }

    fn commit_all(&mut self) {
        while self.commit() {}
    }

    fn connect(&mut self, id: u64) {
        self.service.connect(Id(id), (IpAddr::V4(Ipv4Addr::LOCALHOST), 1), false, Vec::new(), self.now);
    }

    fn hello(
        &mut self,
        id: u64,
        session: SessionId,
        password: &[u8],
        last_zxid: i64,
        read_only: Option<bool>,
    ) {
        let mut frame = Vec::new();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: last_zxid,
            timeout_ms: TIMEOUT_MS as i32,
            session,
            password,
            read_only,
        }
        .write(&mut frame);
        self.connect(id);
        self.service.frame(Id(id), &frame[4..], self.now);
    }

    fn out(&mut self, id: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.service.take_output(Id(id), &mut out);
        self.service.sent(out.len());
        out
    }

    /// A new session on a new connection.
    fn open(&mut self, id: u64) -> ConnectResponse {
        self.hello(id, SessionId::NONE, &[0; 16], 0, Some(false));
        self.commit_all();
        ConnectResponse::decode(&self.out(id)[4..]).unwrap()
    }

    fn send(&mut self, id: u64, xid: i32, request: &Request<'_>) {
        let mut frame = Vec::new();
        request.write(xid, &mut frame);
        self.service.frame(Id(id), &frame[4..], self.now);
        self.collect();
    }

    fn got(&mut self, id: u64) -> Vec<Got> {
        let out = self.out(id);
        let (mut rest, mut got) = (&out[..], Vec::new());
        while let Some(length) = rest.first_chunk::<4>() {
            let (frame, after) = rest[4..].split_at(u32::from_be_bytes(*length) as usize);
            rest = after;
            let mut reader = Reader::new(frame);
            let ReplyHeader { xid, zxid, error } = ReplyHeader::decode(&mut reader).unwrap();
            got.push(match xid {
                XID_NOTIFICATION => {
                    let event = WatchEvent::decode(&mut reader).unwrap();
                    Got::Event { kind: event.kind as i32, path: event.path.into(), zxid }
                }
                _ => Got::Reply { xid, zxid, error, body: reader.rest().to_vec() },
            });
        }
        got
    }

    /// Lets time pass in ticks.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now.monotonic_us += TICK_MS * 1000;
            self.now.wall_ms += TICK_MS as i64;
            self.service.tick(self.now);
        }
        self.collect();
    }
}

fn create(path: &str) -> Request<'_> {
    create_as(path, 0, b"")
}

fn create_as<'a>(path: &'a str, flags: i32, data: &'a [u8]) -> Request<'a> {
    let acl = vec![Acl::open()];
    Request::Create(Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(data),
        acl,
        flags,
        ttl_ms: -1,
    })
}

fn delete(path: &str) -> Request<'_> {
    Request::Delete { path: path.into(), version: -1 }
}

fn exists(path: &str, watch: bool) -> Request<'_> {
    Request::Exists { path: path.into(), watch }
}

fn created(xid: i32, zxid: i64, path: &str) -> Got {
    let mut body = Vec::new();
    client::wire::codec::Writer::string(&mut body, path);
    Got::Reply { xid, zxid, error: 0, body }
}

#[test]
fn a_handshake_is_answered_in_the_form_it_came_in() {
    for (id, read_only, size) in [(1, None, 36), (2, Some(false), 37), (3, Some(true), 37)] {
        let mut shell = Shell::new();
        shell.hello(id, SessionId::NONE, &[], 0, read_only);
        assert!(shell.out(id).is_empty(), "not before the session is durable");
        assert!(!shell.service.may_read(Id(id)));
        shell.commit_all();
        let out = shell.out(id);
        assert_eq!(out.len() - 4, size);
        let response = ConnectResponse::decode(&out[4..]).unwrap();
        assert_eq!(response.timeout_ms, TIMEOUT_MS as i32);
        assert_eq!(response.read_only, read_only.map(|_| false), "this server writes");
        assert_eq!(shell.service.attached_to(response.session), Some(Id(id)));
    }
}

#[test]
fn who_does_not_know_the_password_is_told_that_the_session_is_gone() {
    let mut shell = Shell::new();
    let session = shell.open(1);
    let mut password = session.password;
    password[15] ^= 1;
    for (id, session, password) in [
        (2, session.session, &password[..]),
        (3, session.session, &[]),
        (4, SessionId(99), &session.password),
    ] {
        shell.hello(id, session, password, 0, Some(false));
        assert_eq!(ConnectResponse::decode(&shell.out(id)[4..]), Ok(ConnectResponse::expired(Some(false))));
        assert!(shell.service.is_closing(Id(id)));
    }
    assert!(shell.queue.is_empty(), "and nothing happens to it");
}

#[test]
fn nobody_is_taken_back_in_time() {
    let mut shell = Shell::new();
    let seen = shell.zxid as i64 + 1;
    shell.hello(1, SessionId::NONE, &[], seen, Some(false));
    assert!(shell.service.is_closing(Id(1)) && shell.out(1).is_empty());
    shell.hello(2, SessionId::NONE, &[], seen - 1, Some(false));
    assert!(!shell.service.is_closing(Id(2)));
}

#[test]
fn a_read_waits_for_the_write_before_it_and_pings_for_nothing() {
    let mut shell = Shell::new();
    shell.open(1);
    shell.send(1, 1, &create("/a"));
    shell.send(1, 2, &exists("/a", false));
    shell.send(1, 3, &create("/b"));
    shell.send(1, 4, &exists("/b", false));
    shell.send(1, -2, &Request::Ping);
    assert_eq!(shell.got(1), [ok(-2, 2)]);
    shell.commit();
    let got = shell.got(1);
    assert_eq!(got[0], created(1, 3, "/a"));
    assert!(matches!(got[1], Got::Reply { xid: 2, zxid: 3, error: 0, .. }), "{got:?}");
    assert_eq!(got.len(), 2, "the second write is not durable yet");
    shell.commit();
    assert_eq!(shell.got(1)[0], created(3, 4, "/b"));
}

#[test]
fn what_is_behind_a_sync_sees_nothing_of_a_later_write() {
    let mut shell = Shell::new();
    shell.service.stand(Duty::Leading, shell.now);
    shell.open(1);
    let zxid = shell.zxid as i64;
    let sync = || Request::Sync { path: "/".into() };
    for (xid, request) in
        [sync(), exists("/a", false), create("/a"), sync(), create("/b"), exists("/b", false)]
            .into_iter()
            .enumerate()
    {
        shell.send(1, xid as i32, &request);
    }
    shell.commit_all();
    assert_eq!(shell.got(1), [], "nobody has confirmed that this server leads");
    let ticket = shell.service.take_confirm().expect("somebody waits for that");
    shell.service.confirmed(ticket - 1, shell.now);
    let got = shell.got(1);
    assert!(matches!(got[0], Got::Reply { xid: 0, zxid: at, error: 0, .. } if at == zxid), "{got:?}");
    assert_eq!(got[1..], [failed(1, zxid, ErrorCode::NoNode)]);
    shell.service.confirmed(ticket, shell.now);
    assert_eq!(shell.got(1), [], "the write before the second one is not executed");
    shell.commit_all();
    let got = shell.got(1);
    assert_eq!(got[0], created(2, zxid + 1, "/a"));
    assert!(matches!(got[1], Got::Reply { xid: 3, zxid: at, error: 0, .. } if at == zxid + 1), "{got:?}");
    assert_eq!(got[2], created(4, zxid + 2, "/b"));
    assert!(matches!(got[3], Got::Reply { xid: 5, error: 0, .. }), "{got:?}");
    assert_eq!(shell.service.outstanding(), 0);
}

#[test]
fn an_event_comes_before_the_reply_that_shows_its_change() {
    use client::wire::zk::EventType::*;
    let mut shell = Shell::new();
    shell.open(1);
    shell.send(1, 1, &exists("/a", true));
    assert_eq!(shell.got(1), [failed(1, 2, ErrorCode::NoNode)]);
    shell.send(1, 2, &create("/a"));
    shell.send(1, 3, &Request::GetData { path: "/a".into(), watch: true });
    shell.commit_all();
    let got = shell.got(1);
    assert_eq!(got[..2], [event(NodeCreated, "/a", 3), created(2, 3, "/a")]);
    shell.send(1, 4, &delete("/a"));
    shell.commit_all();
    assert_eq!(shell.got(1), [event(NodeDeleted, "/a", 4), ok(4, 4)]);
    shell.send(1, 5, &create("/a"));
    shell.commit_all();
    assert_eq!(shell.got(1), [created(5, 5, "/a")], "a watch is used up by one event");
}

#[test]
fn a_client_that_comes_back_is_told_what_it_missed() {
    use client::wire::zk::EventType::*;
    let mut shell = Shell::new();
    shell.open(1);
    for (xid, path) in [(1, "/old"), (2, "/changed"), (3, "/gone"), (4, "/parent")] {
        shell.send(1, xid, &create(path));
    }
    shell.commit_all();
    let since = shell.zxid as i64;
    shell.send(1, 5, &Request::SetData { path: "/changed".into(), data: None, version: -1 });
    shell.send(1, 6, &delete("/gone"));
    shell.send(1, 7, &create("/parent/child"));
    shell.send(1, 8, &create("/new"));
    shell.commit_all();
    shell.open(2);
    let lists = WatchLists {
        relative_zxid: since,
        data: vec!["/old".into(), "/changed".into(), "/gone".into()],
        exist: vec!["/new".into(), "/never".into()],
        child: vec!["/old".into(), "/parent".into()],
        ..WatchLists::default()
    };
    shell.send(2, -8, &Request::SetWatches(lists));
    let at = shell.zxid as i64;
    assert_eq!(
        shell.got(2),
        [
            event(NodeDataChanged, "/changed", -1),
            event(NodeDeleted, "/gone", -1),
            event(NodeCreated, "/new", -1),
            event(NodeChildrenChanged, "/parent", -1),
            ok(-8, at),
        ]
    );
    assert_eq!(shell.service.watches().count_of(Id(2)), 2, "/old and /never are watched");
}

#[test]
fn a_session_moves_and_its_old_connection_ends() {
    let mut shell = Shell::new();
    let ConnectResponse { session, password, .. } = shell.open(1);
    shell.send(1, 1, &create("/a"));
    shell.hello(2, session, &password, 0, Some(false));
    assert!(shell.service.is_closing(Id(1)) && !shell.service.may_read(Id(1)));
    assert_eq!(ConnectResponse::decode(&shell.out(2)[4..]).unwrap().session, session);
    assert_eq!(shell.service.attached_to(session), Some(Id(2)));
    shell.service.disconnect(Id(1));
    assert_eq!(shell.service.attached_to(session), Some(Id(2)), "the old connection's end changes nothing");
    shell.commit_all();
    shell.send(2, 1, &exists("/a", false));
    assert!(
        matches!(shell.got(2)[..], [Got::Reply { error: 0, .. }]),
        "what was asked before the move is done"
    );
}

#[test]
fn silence_ends_a_session_and_a_sign_of_life_does_not() {
    let mut shell = Shell::new();
    let quiet = shell.open(1);
    let lively = shell.open(2);
    shell.send(1, 1, &create_as("/e", 1, b""));
    shell.commit_all();
    for _ in 0..20 {
        shell.send(2, -2, &Request::Ping);
        shell.pass(TIMEOUT_MS / 10);
    }
    shell.hello(3, quiet.session, &quiet.password, 0, Some(false));
    assert!(shell.service.tree().lookup("/e").is_some(), "its end is not agreed yet");
    assert!(shell.out(3).is_empty(), "so nobody is told of it");
    shell.commit_all();
    assert_eq!(ConnectResponse::decode(&shell.out(3)[4..]), Ok(ConnectResponse::expired(Some(false))));
    assert!(shell.service.tree().lookup("/e").is_none(), "ephemerals go with it");
    assert!(shell.service.is_closing(Id(1)) && !shell.service.is_closing(Id(2)));
    assert!(shell.service.tree().sessions().contains(lively.session));
}

#[test]
fn what_was_asked_before_the_end_of_a_session_is_answered() {
    let mut shell = Shell::new();
    shell.open(1);
    let before = shell.zxid as i64;
    shell.send(1, 1, &create("/a"));
    shell.send(1, 2, &Request::GetChildren { path: "/a".into(), watch: false });
    shell.send(1, 3, &Request::CloseSession);
    shell.commit_all();
    let none = Got::Reply { xid: 2, zxid: before + 1, error: 0, body: vec![0; 4] };
    assert_eq!(shell.got(1), [created(1, before + 1, "/a"), none, ok(3, before + 2)]);
}

#[test]
fn the_end_of_a_session_is_answered_before_its_connection_ends() {
    let mut shell = Shell::new();
    let session = shell.open(1).session;
    shell.send(1, 1, &create("/a"));
    shell.send(1, 2, &Request::CloseSession);
    assert!(!shell.service.may_read(Id(1)), "what comes after is of no interest");
    shell.send(1, 3, &create("/b"));
    shell.commit_all();
    assert_eq!(shell.got(1), [created(1, 3, "/a"), ok(2, 4)]);
    assert!(shell.service.is_closing(Id(1)));
    assert!(!shell.service.tree().sessions().contains(session));
    assert!(shell.service.tree().lookup("/b").is_none());
}

#[test]
fn a_local_session_costs_the_log_nothing_until_it_needs_an_ephemeral() {
    let mut shell = Shell::with_local_sessions(true);
    let before = shell.zxid as i64;
    let opened = shell.open(1);
    assert!(shell.service.take_proposals().is_empty());
    let known = |shell: &Shell| {
        (shell.service.local_sessions().count(), shell.service.tree().sessions().contains(opened.session))
    };
    assert_eq!(known(&shell), (1, false));
    shell.send(1, 1, &create("/a"));
    shell.send(1, 2, &create_as("/a/e", 1, b""));
    shell.send(1, 3, &create("/a/b"));
    shell.commit_all();
    assert_eq!(
        shell.got(1),
        [created(1, before + 1, "/a"), created(2, before + 3, "/a/e"), created(3, before + 4, "/a/b")]
    );
    assert_eq!(known(&shell), (0, true));
    shell.pass(2 * TIMEOUT_MS);
    shell.commit_all();
    assert_eq!(known(&shell), (0, false), "it ends as any other");
    assert!(shell.service.tree().lookup("/a/e").is_none());
}

#[test]
fn a_local_session_that_may_not_become_everybodys_has_no_ephemerals() {
    let mut shell = Shell::with_local_sessions(false);
    let before = shell.zxid as i64;
    shell.open(1);
    shell.send(1, 1, &create("/a"));
    shell.send(1, 2, &create_as("/a/e", 1, b""));
    let Request::Create(ephemeral) = create_as("/b", 1, b"") else { unreachable!("a create") };
    shell.send(1, 3, &Request::Multi(vec![MultiOp::Create(ephemeral)]));
    shell.send(1, 4, &exists("/a", false));
    shell.send(1, 5, &Request::CloseSession);
    shell.commit_all();
    let refused = |xid| failed(xid, before + 1, ErrorCode::EphemeralOnLocalSession);
    let got = shell.got(1);
    assert_eq!(got[..3], [created(1, before + 1, "/a"), refused(2), refused(3)]);
    assert!(matches!(got[3], Got::Reply { xid: 4, error: 0, .. }), "{got:?}");
    assert_eq!(got[4..], [ok(5, before + 1)]);
    assert!(shell.service.is_closing(Id(1)));
    assert_eq!(shell.service.local_sessions().count(), 0);
    assert_eq!(shell.zxid as i64, before + 1, "only the first create went through the log");
}

#[test]
fn a_local_session_can_be_taken_up_where_it_is_and_ends_of_silence() {
    let mut shell = Shell::with_local_sessions(true);
    let opened = shell.open(1);
    shell.service.disconnect(Id(1));
    shell.pass(TIMEOUT_MS / 2);
    shell.hello(2, opened.session, &opened.password, 0, None);
    assert_eq!(ConnectResponse::decode(&shell.out(2)[4..]).unwrap().session, opened.session);
    shell.pass(TIMEOUT_MS / 2);
    shell.send(2, -2, &Request::Ping);
    shell.pass(TIMEOUT_MS / 2);
    assert!(!shell.service.is_closing(Id(2)), "it gave a sign of life");
    shell.pass(TIMEOUT_MS + 2 * TICK_MS);
    assert!(shell.service.is_closing(Id(2)));
    shell.hello(3, opened.session, &opened.password, 0, None);
    assert_eq!(ConnectResponse::decode(&shell.out(3)[4..]).unwrap().session, SessionId::NONE);
}

#[test]
fn a_failed_multi_says_which_operation_failed() {
    let mut shell = Shell::new();
    shell.open(1);
    let check = |path: &'static str| MultiOp::Check { path: path.into(), version: -1 };
    let Request::Create(create) = create("/a") else { unreachable!() };
    shell.send(1, 1, &Request::Multi(vec![MultiOp::Create(create), check("/missing"), check("/")]));
    shell.commit_all();
    let Got::Reply { xid: 1, error: 0, body, .. } = &shell.got(1)[0] else {
        panic!("one reply without error")
    };
    assert_eq!(
        MultiResult::decode_list(&mut Reader::new(body)).unwrap(),
        [
            MultiResult::Error(None),
            MultiResult::Error(Some(ErrorCode::NoNode)),
            MultiResult::Error(Some(ErrorCode::RuntimeInconsistency)),
        ]
    );
    assert!(shell.service.tree().lookup("/a").is_none());
}

#[test]
fn without_memory_or_disk_only_what_grows_is_refused() {
    for by_disk in [false, true] {
        let mut shell =
            Shell::with(|limits| limits.memory_bytes_max = if by_disk { 1 << 30 } else { 100_000 });
        shell.open(1);
        shell.send(1, 1, &create_as("/a", 0, &vec![0; 200_000]));
        shell.commit_all();
        assert_eq!(shell.got(1), [created(1, 3, "/a")]);
        shell.service.set_disk_full(by_disk);
        assert!(shell.service.writes_refused().is_some());
        shell.send(1, 2, &create("/b"));
        shell.send(1, -2, &Request::Ping);
        shell.send(1, 3, &exists("/a", false));
        shell.send(1, 4, &delete("/a"));
        shell.send(1, 5, &create("/b"));
        assert_eq!(shell.queue.len(), 1, "only the delete goes on");
        let got = shell.got(1);
        assert_eq!(got[..2], [failed(2, 3, ErrorCode::SystemError), ok(-2, 3)]);
        assert!(matches!(got[2], Got::Reply { xid: 3, error: 0, .. }));
        shell.commit_all();
        assert_eq!(
            shell.got(1),
            [ok(4, 4), failed(5, 4, ErrorCode::SystemError)],
            "in the order of requests"
        );
        shell.service.set_disk_full(false);
        shell.send(1, 6, &create("/b"));
        shell.commit_all();
        assert_eq!(shell.got(1), [created(6, 5, "/b")], "there is room again");
    }
}

#[test]
fn one_connection_may_leave_so_many_watches_and_no_more() {
    let mut shell = Shell::with(|limits| limits.watches_per_connection_max = 2);
    shell.open(1);
    shell.open(2);
    for (xid, path) in [(1, "/a"), (2, "/b")] {
        shell.send(1, xid, &exists(path, true));
        assert_eq!(shell.got(1), [failed(xid, 3, ErrorCode::NoNode)]);
    }
    shell.send(1, 3, &exists("/c", true));
    assert_eq!(shell.got(1), [failed(3, 3, ErrorCode::SystemError)]);
    shell.send(2, 1, &exists("/c", true));
    assert_eq!(shell.got(2), [failed(1, 3, ErrorCode::NoNode)], "others may");
    assert_eq!(shell.service.watches().count(), 3);
}

#[test]
fn a_connection_is_read_until_enough_waits() {
    let mut shell = Shell::with(|limits| limits.outstanding_per_connection_max = 2);
    shell.open(1);
    shell.send(1, 1, &create("/a"));
    assert!(shell.service.may_read(Id(1)));
    shell.send(1, 2, &exists("/a", false));
    assert!(!shell.service.may_read(Id(1)));
    shell.service.take_noted();
    shell.commit_all();
    assert!(shell.service.may_read(Id(1)));
    assert_eq!(shell.service.take_noted(), [Id(1)], "the shell is told");
    assert_eq!(shell.service.outstanding(), 0);
}

/// bugs.md 20: clients that come and go in a storm, with watches and without saying goodbye.
#[test]
fn a_storm_of_connections_and_sessions_leaves_nothing_behind() {
    let mut shell = Shell::with(|limits| limits.sessions_max = 1_000);
    let mut after_rounds = Vec::new();
    for round in 0..100u64 {
        for number in 0..500 {
            let id = 1 + round * 500 + number;
            shell.open(id);
            shell.send(id, 1, &exists("/nothing", true));
            if number % 2 == 0 {
                shell.send(id, 2, &Request::CloseSession);
                shell.commit_all();
            }
            shell.service.take_noted();
            shell.out(id);
            shell.service.disconnect(Id(id));
        }
        shell.pass(3 * TIMEOUT_MS);
        shell.commit_all();
        assert_eq!(shell.service.watches().count(), 0);
        assert_eq!(shell.service.tree().sessions().count(), 0);
        assert_eq!(shell.service.connections().count(), 0);
        after_rounds.push(shell.service.memory_bytes());
    }
    assert!(after_rounds[99] <= after_rounds[1], "{after_rounds:?}");
}

#[test]
fn the_end_of_a_session_does_not_overtake_a_refused_write() {
    let mut shell = Shell::configured(Duty::Leading, |_| {});
    let session = shell.open(1).session;
    let mut answers = |letter: Letter| {
        shell.service.letter(2, &letter::encode(&[letter]), shell.now);
        let letters = shell.service.take_letters();
        let mut said = Vec::new();
        for (to, bytes) in letters {
            assert_eq!(to, Some(2));
            said.extend(letter::decode(&bytes).unwrap());
        }
        (said, shell.service.take_proposals().len())
    };
    let forward = |serial, op| {
        let command =
            Command { session: session.0, time_ms: 0, identities: Vec::new(), rules: Rules::default(), op };
        Letter::Forward { serial, command: command.encode() }
    };
    let write = || Op::Delete { path: "/a", version: -1 };
    assert_eq!(answers(forward(1, write())), (vec![Letter::Refused { serial: 1 }], 0), "it is here by now");
    assert_eq!(answers(forward(2, Op::CloseSession)), (vec![Letter::Refused { serial: 2 }], 0));
    let timeout_ms = TIMEOUT_MS as u32;
    let comes_back = Letter::Revalidate { serial: 3, session: session.0, timeout_ms };
    assert_eq!(answers(comes_back), (vec![Letter::Revalidated { serial: 3, alive: true }], 0));
    assert_eq!(answers(forward(4, Op::CloseSession)), (Vec::new(), 1));
}
