//! One server, told step by step what happens: what worlds reach too rarely to rely on.

use std::net::{IpAddr, Ipv4Addr};

use client::wire::zk::{Acl, ConnectRequest, Create, ErrorCode, OpCode, Request, SessionId};
use coordinator::member::Member;
use coordinator::request::{Now, Service};
use coordinator::tree::Tree;
use coordinator::tree::watches::ConnectionId;
use coordinator::zab::{Effect, Input, MemberId, Membership, Persistent, Replica, Settings, epoch_of};

use super::membership;
use super::server::frames;
use crate::sim::random::Random;
use crate::sim::solo::Configuration as Solo;

const CLIENT: ConnectionId = ConnectionId(1);

/// The only member of an ensemble to which others can be added. Its disk does nothing until it is told to.
struct Server {
    member: Member,
    disk: Vec<Effect>,
    us: u64,
}

impl Server {
    fn new(counter_max: u32) -> Server {
        let members = Membership::of_voters([MemberId(1)]);
        let mut settings = Solo::draw(&mut Random::new(1)).settings();
        (settings.server_id, settings.reconfig_enabled, settings.auth.skip_acl) = (1, true, true);
        settings.members_text = Some(membership::text(&members));
        let service = Service::new(settings, Tree::new(1), [7; 32], Now { monotonic_us: 0, wall_ms: 0 });
        let settings = Settings { counter_max, ..Settings::new(MemberId(1), members) };
        let replica = Replica::new(settings, Persistent::default(), 1, 0);
        Server { member: Member::new(service, replica), disk: Vec::new(), us: 0 }
    }

    fn now(&self) -> Now {
        Now { monotonic_us: self.us, wall_ms: self.us as i64 / 1000 }
    }

    fn input(&mut self, input: Input) {
        self.member.input(self.now(), input, &mut self.disk);
    }

    fn pump(&mut self) {
        self.member.pump(self.now(), &mut self.disk);
    }

    /// The disk does what it was given, and everything that follows from that.
    fn let_disk_work(&mut self) {
        while !self.disk.is_empty() {
            for effect in std::mem::take(&mut self.disk) {
                match effect {
                    Effect::Append(entry) => self.input(Input::Durable(entry.zxid)),
                    Effect::SaveEpochs(epochs) => self.input(Input::EpochsSaved(epochs)),
                    _ => {}
                }
            }
            self.pump();
        }
    }

    /// Time passes until it serves.
    fn lead(&mut self) {
        while !self.member.service.is_serving() {
            self.us += 20_000;
            assert!(self.us < 10_000_000, "{:?}", self.member.replica());
            self.input(Input::Tick);
            self.let_disk_work();
        }
    }

    fn connect(&mut self) {
        let address = (IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        let (service, now) = (&mut self.member.service, Now { monotonic_us: self.us, wall_ms: 0 });
        service.connect(CLIENT, address, false, Vec::new(), now);
        let mut frame = Vec::new();
        let (session, password) = (SessionId::NONE, &[0; 16]);
        let (last_zxid_seen, read_only) = (0, Some(false));
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: 5_000,
            session,
            password,
            read_only,
        }
        .write(&mut frame);
        service.frame(CLIENT, &frame[4..], now);
        self.pump();
        self.let_disk_work();
        self.sent();
    }

    fn ask(&mut self, xid: i32, request: &Request<'_>) {
        let mut frame = Vec::new();
        request.write(xid, &mut frame);
        let now = self.now();
        self.member.service.frame(CLIENT, &frame[4..], now);
        self.pump();
    }

    /// Number, epoch and error of each reply since the last call.
    fn sent(&mut self) -> Vec<(i32, u32, i32)> {
        let mut out = Vec::new();
        self.member.service.take_output(CLIENT, &mut out);
        let int =
            |frame: &[u8], at: usize| i32::from_be_bytes(std::array::from_fn(|index| frame[at + index]));
        frames(&out).iter().map(|frame| (int(frame, 4), int(frame, 8) as u32, int(frame, 16))).collect()
    }
}

#[test]
fn a_change_of_members_that_waits_for_a_place_is_under_way() {
    // The start, the members as files say, and the session; the znode is the last of its epoch.
    let mut server = Server::new(4);
    server.lead();
    server.connect();
    let create = Create {
        op: OpCode::Create,
        path: "/last".into(),
        data: None,
        acl: vec![Acl::open()],
        flags: 0,
        ttl_ms: -1,
    };
    server.ask(1, &Request::Create(create));
    assert_eq!(epoch_of(server.member.replica().last()), 1);
    // Nobody is there who could be in step, so that this one will be refused where it gets its place.
    let join = |line: &'static str| Request::Reconfig {
        joining: Some(line.into()),
        leaving: None,
        members: None,
        config: -1,
    };
    server.ask(2, &join("server.2=m2:2888:3888;2181"));
    server.ask(3, &join("server.3=m3:2888:3888;2181"));
    assert_eq!(server.sent(), [], "no places are given out while the epoch ends");
    server.let_disk_work();
    let (no_quorum, under_way) = (ErrorCode::NewConfigNoQuorum, ErrorCode::ReconfigInProgress);
    assert_eq!(server.sent(), [(1, 1, 0), (2, 2, no_quorum.to_wire()), (3, 2, under_way.to_wire())]);
}
