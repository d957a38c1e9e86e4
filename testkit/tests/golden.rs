//! Recorded conversations of foreign clients with Apache ZooKeeper, replayed against our server, or against
//! Apache ZooKeeper itself with `GOLDEN_AGAINST=zookeeper`.
//!
//! `cargo run -p testkit --bin interop -- --record-golden` makes the recordings anew.

use testkit::golden;
use testkit::process::{Kind, Need, Server, skip_or_fail, workspace};

#[test]
fn every_recorded_reply_is_ours() {
    let kind = match std::env::var("GOLDEN_AGAINST") {
        Ok(name) => name.parse().expect("GOLDEN_AGAINST"),
        Err(_) => Kind::Coordinator,
    };
    if kind == Kind::Zookeeper && !skip_or_fail("golden", &[Need::Java, Need::Maven]) {
        return;
    }
    let folder = workspace().join("testkit/golden/zk");
    let mut clients: Vec<_> = std::fs::read_dir(&folder)
        .expect("testkit/golden/zk")
        .map(|entry| entry.expect("a folder entry").path())
        .collect();
    clients.sort();
    let mut problems = Vec::new();
    let mut total = 0;
    for client in clients {
        let mut files: Vec<_> = std::fs::read_dir(&client)
            .expect("a client's folder")
            .map(|entry| entry.expect("a folder entry").path())
            .collect();
        files.sort();
        for file in files {
            let name = file.strip_prefix(&folder).expect("below the folder").display().to_string();
            let frames = golden::parse(&std::fs::read_to_string(&file).expect("a recording"))
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
            let server = Server::start_new(kind, golden::options()).expect("start the server");
            match golden::replay(&frames, server.address(), false) {
                Ok(count) => {
                    println!("ok   {name}: {count} replies");
                    total += count;
                }
                Err(error) => problems.push(format!("{name}: {error:#}")),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(total > 100, "only {total} replies were compared");
}
