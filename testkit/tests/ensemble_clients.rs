//! What one server promises its clients holds on every member: hostile bytes and recorded conversations, through the
//! leader and through a follower.

use std::time::Duration;

use testkit::badinput;
use testkit::golden;
use testkit::process::{Ensemble, Kind, Options, workspace};
use testkit::raw::{Body, Connection, op};

/// A started ensemble, its leader and one follower.
fn start(options: Options) -> (Ensemble, [usize; 2]) {
    let ensemble = Ensemble::start_new(Kind::Coordinator, 3, options).expect("three members");
    let leader = ensemble.await_leader(Duration::from_secs(10)).expect("a leader");
    (ensemble, [leader, (leader + 1) % 3])
}

/// Apache ZooKeeper's leader gives out a zxid before it reads a request's body, and one truncated create stops the whole
/// ensemble.
#[test]
fn hostile_bytes_stop_nobody() {
    let options =
        Options::default().key("tickTime", 500).key("extendedTypesEnabled", true).key("maxClientCnxns", 0);
    for which in 0..2 {
        // Some rows create nodes, so each member gets a tree of its own.
        let (ensemble, members) = start(options.clone());
        let address = ensemble.member(members[which]).address();
        let mut witnesses: Vec<Connection> = (0..3)
            .map(|member| Connection::new_session(ensemble.member(member).address()).expect("a session"))
            .collect();
        let mut problems = Vec::new();
        for row in badinput::table() {
            if let Err(error) = badinput::run(address, Kind::Coordinator, &row) {
                problems.push(format!("{}: {error:#}", row.name));
            }
            for (number, witness) in witnesses.iter_mut().enumerate() {
                let record = Body::new().create(&format!("/witness-{number}-"), b"", 2);
                witness.call_ok(op::CREATE, &record).expect("everybody can still write");
            }
        }
        let role = ensemble.role(members[which]);
        assert!(problems.is_empty(), "through the {role:?}:\n{}", problems.join("\n"));
        assert_eq!(ensemble.leader(), Some(members[0]), "nobody had to be replaced");
    }
}

#[test]
fn recorded_conversations_hold_on_leader_and_follower() {
    let folder = workspace().join("testkit/golden/zk");
    let mut replies = 0;
    for client in ["java-3.9.5", "kazoo-2.11.0", "go-zookeeper-1.0.4"] {
        let text = std::fs::read_to_string(folder.join(client).join("script.hex")).expect("a recording");
        let frames = golden::parse(&text).expect("a readable recording");
        for which in 0..2 {
            let (ensemble, members) = start(golden::options());
            let member = members[which];
            let role = ensemble.role(member);
            replies += golden::replay(&frames, ensemble.member(member).address(), true)
                .unwrap_or_else(|error| panic!("{client} on {role:?}: {error:#}"));
        }
    }
    assert!(replies > 100, "only {replies} replies were compared");
}
