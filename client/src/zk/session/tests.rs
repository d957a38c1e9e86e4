use super::*;
use crate::wire::codec::Writer;
use crate::wire::zk::EventType;
use crate::wire::zk::reply::XID_NOTIFICATION;
use crate::wire::zk::{RequestHeader, WatchLists};

const SECOND: Duration = Duration::from_secs(1);

/// A session, the server it talks to, and the clock; what the session wants is kept as text.
struct World {
    session: Session<u32>,
    now: Duration,
    told: Vec<String>,
    /// Requests that have arrived at the server: xid and operation.
    arrived: VecDeque<(i32, OpCode, Vec<u8>)>,
}

fn settings(hosts: usize) -> Settings {
    Settings {
        hosts,
        session_timeout: 9 * SECOND,
        read_only: false,
        backoff: (Duration::from_millis(100), SECOND),
        identities: vec![],
        sasl: None,
        seed: 7,
    }
}

impl World {
    fn new(settings: Settings) -> World {
        let session = Session::new(settings, Duration::ZERO);
        let mut world = World { session, now: Duration::ZERO, told: vec![], arrived: VecDeque::new() };
        world.collect();
        world
    }

    /// Connected, with what that took forgotten.
    fn connected() -> World {
        let mut world = World::new(settings(1));
        world.welcome();
        world.told.clear();
        world
    }

    fn collect(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            self.told.push(match effect {
                Effect::Connect(host) => format!("connect {host}"),
                Effect::Disconnect => "disconnect".into(),
                Effect::Probe(host) => format!("probe {host}"),
                Effect::Answer(who, Ok(reply)) => format!("{who} ok {}", reply.zxid),
                Effect::Answer(who, Err(error)) => format!("{who} {error:?}"),
                Effect::Notify { id, notice, last } => {
                    let notice = match notice {
                        Notice::Changed(event) => format!("{:?} {}", event.kind, event.path),
                        other => format!("{other:?}"),
                    };
                    format!("watch {} {notice}{}", id.0, if last { "!" } else { "" })
                }
                Effect::State(SessionState::Connected { .. }) => "Connected".into(),
                Effect::State(state) => format!("{state:?}"),
            });
        }
    }

    fn told(&mut self) -> String {
        self.collect();
        std::mem::take(&mut self.told).join(", ")
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now);
        self.collect();
    }

    /// Lets time pass as far as the session wants to be woken.
    fn wake(&mut self) {
        let at = self.session.poll_timeout().expect("there is something to wait for");
        self.pass(at.saturating_sub(self.now));
    }

    /// Takes what the session has written.
    fn deliver(&mut self) {
        let output = std::mem::take(self.session.output());
        let mut rest = &output[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (frame, after) = after.split_at(i32::from_be_bytes(*length) as usize);
            let mut reader = Reader::new(frame);
            let header = RequestHeader::decode(&mut reader).unwrap();
            let op = OpCode::from_wire(header.op).unwrap();
            self.arrived.push_back((header.xid, op, reader.rest().to_vec()));
            rest = after;
        }
    }

    fn arrived(&mut self) -> String {
        self.deliver();
        let names: Vec<String> =
            self.arrived.iter().map(|(xid, op, _)| format!("{}:{xid}", op.name())).collect();
        names.join(" ")
    }

    /// The server accepts the session.
    fn welcome(&mut self) -> ConnectRequestSeen {
        self.greet(ConnectResponse {
            timeout_ms: 9000,
            session: SessionId(5),
            password: [1; 16],
            read_only: Some(false),
        })
    }

    fn greet(&mut self, response: ConnectResponse) -> ConnectRequestSeen {
        self.session.handle_connected(self.now);
        let output = std::mem::take(self.session.output());
        let request = ConnectRequest::decode(&output[4..]).unwrap();
        let seen = ConnectRequestSeen { session: request.session, last_zxid: request.last_zxid_seen };
        let mut frame = Vec::new();
        response.write(&mut frame);
        self.frame(&frame[4..]);
        seen
    }

    fn frame(&mut self, frame: &[u8]) {
        self.session.handle_frame(self.now, Bytes::copy_from_slice(frame));
        self.collect();
    }

    fn reply_with(&mut self, xid: i32, zxid: i64, error: i32, body: &[u8]) {
        let mut frame = Vec::new();
        ReplyHeader { xid, zxid, error }.encode(&mut frame);
        frame.bytes(body);
        self.frame(&frame);
    }

    /// The server answers its oldest request.
    fn answer(&mut self, zxid: i64, error: i32) {
        self.deliver();
        let (xid, _, _) = self.arrived.pop_front().expect("a request has arrived");
        self.reply_with(xid, zxid, error, &[]);
    }

    fn event(&mut self, kind: EventType, path: &str) {
        let mut frame = Vec::new();
        WatchEvent::write(kind, path, -1, &mut frame);
        assert_eq!(frame[4..8], XID_NOTIFICATION.to_be_bytes());
        self.frame(&frame[4..]);
    }

    fn lose(&mut self) {
        self.arrived.clear();
        self.session.handle_lost(self.now);
        self.collect();
    }

    fn submit(&mut self, who: u32, request: &Request<'_>, then: Then) {
        let mut frame = Vec::new();
        request.write(0, &mut frame);
        self.session.submit(self.now, Submission { op: request.op(), frame, then, answer: who });
        self.collect();
    }

    fn write(&mut self, who: u32) {
        self.submit(who, &Request::SetData { path: "/a".into(), data: None, version: -1 }, Then::Nothing);
    }

    fn read(&mut self, who: u32) {
        self.submit(who, &Request::GetData { path: "/a".into(), watch: false }, Then::Nothing);
    }

    fn watch(&mut self, who: u32, kind: WatchKind, path: &str) {
        let then = Then::Watch(kind, path.to_owned(), WatchId(who.into()));
        let path = path.to_owned().into();
        match kind {
            WatchKind::Child => self.submit(who, &Request::GetChildren2 { path, watch: true }, then),
            _ => self.submit(who, &Request::Exists { path, watch: true }, then),
        }
    }
}

#[derive(Debug, PartialEq)]
struct ConnectRequestSeen {
    session: SessionId,
    last_zxid: i64,
}

#[test]
fn a_session_begins_and_is_taken_up_again() {
    let mut world = World::new(settings(1));
    assert_eq!(world.told(), "connect 0");
    world.read(1);
    assert_eq!(world.arrived(), "", "nothing before the greeting");
    assert_eq!(world.welcome(), ConnectRequestSeen { session: SessionId::NONE, last_zxid: 0 });
    assert_eq!(world.told(), "Connected");
    assert_eq!(world.arrived(), "GetData:1");
    world.answer(70, 0);
    assert_eq!(world.told(), "1 ok 0x46");
    world.lose();
    assert_eq!(world.told(), "disconnect, Suspended");
    world.wake();
    assert_eq!(world.told(), "connect 0");
    assert_eq!(world.welcome(), ConnectRequestSeen { session: SessionId(5), last_zxid: 70 });
    assert_eq!(world.told(), "Connected");
}

#[test]
fn what_is_lost_with_the_connection() {
    let mut world = World::connected();
    world.write(1);
    world.read(2);
    world.write(3);
    world.read(4);
    assert_eq!(world.arrived(), "SetData:1 GetData:2 SetData:3 GetData:4");
    world.answer(10, 0);
    assert_eq!(world.told(), "1 ok 0xa");
    world.lose();
    assert_eq!(world.told(), "disconnect, 3 UnknownOutcome, Suspended", "reads are asked again");
    world.write(5);
    world.wake();
    world.welcome();
    assert_eq!(world.arrived(), "GetData:5 GetData:6 SetData:7", "in the old order, before what came later");
    for _ in 0..3 {
        world.answer(11, 0);
    }
    assert!(world.told().ends_with("2 ok 0xb, 4 ok 0xb, 5 ok 0xb"));
}

#[test]
fn requests_do_not_wait_for_ever() {
    let mut world = World::connected();
    world.read(1);
    world.lose();
    world.write(2);
    world.told.clear();
    for _ in 0..100 {
        world.wake();
        world.lose();
    }
    let told = world.told();
    assert!(told.contains("1 ConnectionLoss, 2 ConnectionLoss"), "{told}");
    assert_eq!(told.matches("Overdue").count(), 1);
    assert!(!told.contains("Expired"), "only a server can say that");
}

#[test]
fn a_read_that_breaks_every_connection_is_given_up() {
    let mut world = World::connected();
    world.read(1);
    for _ in 0..8 {
        world.lose();
        world.wake();
        world.welcome();
        assert!(!world.told().contains("ConnectionLoss"));
        assert!(world.arrived().starts_with("GetData"));
    }
    world.lose();
    assert_eq!(world.told(), "disconnect, 1 ConnectionLoss, Suspended");
}

#[test]
fn expiry_is_told_once_to_everybody() {
    let mut world = World::connected();
    world.watch(1, WatchKind::Data, "/a");
    world.answer(1, 0);
    world.lose();
    world.read(2);
    world.wake();
    world.told.clear();
    world.greet(ConnectResponse::expired(Some(false)));
    assert_eq!(world.told(), "disconnect, 2 SessionExpired, watch 1 Expired!, Expired");
    world.write(3);
    world.lose();
    world.pass(100 * SECOND);
    assert_eq!(world.told(), "3 SessionExpired");
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn pings_keep_the_session_and_silence_ends_the_connection() {
    let mut world = World::connected();
    world.wake();
    assert_eq!((world.now, world.arrived()), (3 * SECOND, "Ping:-2".to_owned()));
    world.arrived.clear();
    world.reply_with(XID_PING, 1, 0, &[]);
    world.wake();
    assert_eq!((world.now, world.arrived()), (6 * SECOND, "Ping:-2".to_owned()));
    world.wake();
    assert_eq!(world.told(), "disconnect, Suspended", "six seconds after the last sign of life");
    assert_eq!(world.now, 9 * SECOND);
    // The answered ping was sent at 3 s, so until 12 s the session certainly lives.
    while world.told() != "Overdue" {
        world.lose();
        world.told.clear();
        world.wake();
    }
    assert_eq!(world.now, 12 * SECOND);
}

#[test]
fn every_host_gets_its_turn_and_pauses_grow() {
    let mut world = World::new(settings(3));
    let mut hosts = Vec::new();
    let mut pauses = Vec::new();
    for _ in 0..5 {
        for _ in 0..3 {
            hosts.push(world.told().rsplit(' ').next().unwrap().to_owned());
            world.lose();
            let before = world.now;
            world.wake();
            pauses.push(world.now - before);
        }
    }
    for round in hosts.chunks(3) {
        let mut sorted = round.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["0", "1", "2"]);
    }
    assert_eq!(hosts[..3], hosts[3..6], "the order is drawn once");
    for (round, pauses) in pauses.chunks(3).enumerate() {
        assert_eq!(pauses[..2], [Duration::ZERO; 2], "within a round there is no pause");
        let whole = Duration::from_millis(100 << round).min(SECOND);
        assert!(pauses[2] >= whole / 2 && pauses[2] <= whole, "round {round}: {:?}", pauses[2]);
    }
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut world = World::new(settings(2));
    world.told();
    world.wake();
    assert_eq!(world.told(), "disconnect", "a silent address");
    assert_eq!(world.now, 4500 * Duration::from_millis(1));
    world.wake();
    world.session.handle_connected(world.now);
    world.wake();
    assert!(world.told().ends_with("disconnect"), "a silent server");
}

#[test]
fn watches_are_set_again_before_anything_else() {
    let mut world = World::connected();
    world.watch(1, WatchKind::Data, "/there");
    world.watch(2, WatchKind::Data, "/not-there");
    world.watch(3, WatchKind::Child, "/not-there");
    world.answer(40, 0);
    world.answer(41, -101);
    world.answer(42, -101);
    assert_eq!(world.told(), "1 ok 0x28, 2 NoNode, 3 NoNode");
    world.read(4);
    world.lose();
    assert_eq!(world.told(), "disconnect, Suspended, watch 1 Suspended, watch 2 Suspended");
    world.wake();
    world.welcome();
    assert_eq!(world.arrived(), "SetWatches:-8 GetData:5");
    let body = world.arrived[0].2.clone();
    let Ok(Request::SetWatches(lists)) =
        Request::decode(OpCode::SetWatches.to_wire(), &mut Reader::new(&body))
    else {
        panic!("no setWatches");
    };
    let expected = WatchLists {
        relative_zxid: 42,
        data: vec!["/there".into()],
        exist: vec!["/not-there".into()],
        ..WatchLists::default()
    };
    assert_eq!(lists, expected);
    world.told.clear();
    world.event(EventType::NodeCreated, "/not-there");
    world.answer(43, 0);
    assert_eq!(world.told(), "watch 2 NodeCreated /not-there!, watch 1 Resumed");
    world.answer(44, 0);
    assert_eq!(world.told(), "4 ok 0x2c");
}

#[test]
fn a_watch_that_nobody_wants_is_removed_at_the_server() {
    let mut world = World::connected();
    world.watch(1, WatchKind::Persistent, "/a");
    world.watch(2, WatchKind::Persistent, "/b");
    // The first while its request is under way, the second afterwards.
    world.session.unwatch(world.now, WatchId(1));
    world.answer(1, 0);
    world.answer(2, 0);
    world.session.unwatch(world.now, WatchId(2));
    assert_eq!(world.arrived(), "RemoveWatches:3");
    world.event(EventType::NodeDataChanged, "/b");
    world.answer(3, -121);
    assert_eq!(world.told(), "1 ok 0x1, 2 ok 0x2", "the answer is nobody's");
}

#[test]
fn identities_are_presented_on_every_connection() {
    let mut world =
        World::new(Settings { identities: vec![("digest".into(), b"u:p".to_vec())], ..settings(1) });
    world.welcome();
    world.session.add_identity(world.now, "digest".into(), b"v:q".to_vec(), 1);
    assert_eq!(world.arrived(), "Auth:-4 Auth:-4");
    world.lose();
    world.wake();
    world.welcome();
    assert_eq!(world.arrived(), "Auth:-4 Auth:-4");
    world.told.clear();
    world.reply_with(XID_AUTH, 0, 0, &[]);
    assert_eq!(world.told(), "");
    world.reply_with(XID_AUTH, 0, 0, &[]);
    assert_eq!(world.told(), "1 ok 0x0");
    world.session.add_identity(world.now, "nonsense".into(), vec![], 2);
    world.reply_with(XID_AUTH, 0, -115, &[]);
    assert_eq!(world.told(), "disconnect, 2 AuthFailed, AuthFailed");
}

#[test]
fn requests_wait_for_sasl() {
    let mut world = World::new(Settings { sasl: Some(("bob".into(), "secret".into())), ..settings(1) });
    world.read(1);
    world.welcome();
    assert_eq!(world.arrived(), "Sasl:1");
    world.arrived.clear();
    let mut body = Vec::new();
    body.buffer(Some(b"realm=\"zk-sasl-md5\",nonce=\"n\",charset=utf-8,algorithm=md5-sess"));
    world.reply_with(1, 0, 0, &body);
    assert_eq!(world.arrived(), "Sasl:2");
    world.arrived.clear();
    world.told();
    let mut body = Vec::new();
    body.buffer(Some(b"rspauth=0000"));
    world.reply_with(2, 0, 0, &body);
    assert_eq!(
        world.told(),
        "disconnect, 1 AuthFailed, AuthFailed",
        "this server does not know the password"
    );
}

#[test]
fn a_close_ends_the_session_even_if_its_answer_is_lost() {
    for lost in [false, true] {
        let mut world = World::connected();
        world.write(0);
        world.submit(1, &Request::CloseSession, Then::Nothing);
        world.read(2);
        if lost {
            world.lose();
        } else {
            world.answer(8, 0);
            world.answer(9, 0);
        }
        let told = world.told();
        assert!(told.contains("1 ok"), "{told}");
        assert!(told.contains(if lost { "0 UnknownOutcome" } else { "0 ok 0x8" }), "{told}");
        assert!(told.ends_with("2 Closed, Closed"), "{told}");
        assert!(world.session.is_over());
    }
}

#[test]
fn a_read_only_server_is_left_for_a_better_one() {
    let mut world = World::new(Settings { read_only: true, ..settings(2) });
    let first: usize = world.told()["connect ".len()..].parse().unwrap();
    let read_only =
        ConnectResponse { timeout_ms: 9000, session: SessionId(8), password: [0; 16], read_only: Some(true) };
    world.greet(read_only);
    world.told();
    world.wake();
    let other = 1 - first;
    assert_eq!(world.told(), format!("probe {other}"));
    world.session.handle_probe(world.now, other, false);
    assert_eq!(world.told(), "");
    world.session.handle_probe(world.now, other, true);
    world.wake();
    assert_eq!(world.told(), format!("disconnect, Suspended, connect {other}"));
    let seen = world.welcome();
    assert_eq!(seen.session, SessionId::NONE, "what a read-only server gives out is nobody's session");
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    for nonsense in [&[][..], &[0; 3], &[0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 40]] {
        let mut world = World::connected();
        world.write(1);
        world.frame(nonsense);
        assert_eq!(world.told(), "disconnect, 1 UnknownOutcome, Suspended", "{nonsense:?}");
    }
    let mut world = World::new(settings(1));
    world.session.handle_connected(world.now);
    world.frame(&[1, 2, 3]);
    assert_eq!(world.told(), "connect 0, disconnect");
}

#[test]
fn a_reply_that_is_too_large_fails_its_request_only() {
    let mut world = World::connected();
    world.read(1);
    world.read(2);
    let mut head = Vec::new();
    ReplyHeader { xid: 1, zxid: 5, error: 0 }.encode(&mut head);
    world.session.handle_too_large(world.now, &head, 5000, 1000);
    assert_eq!(world.told(), "1 ReplyTooLarge { bytes: 5000, limit: 1000 }");
    world.deliver();
    world.arrived.pop_front();
    world.answer(6, 0);
    assert_eq!(world.told(), "2 ok 0x6");
}
