//! The real server, killed; one change to its log; a new start. Apache ZooKeeper 3.9.3 starts with 50 of 100 acknowledged
//! nodes, or none, for half of these changes.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::process::{Options, Server};
use testkit::raw::{Body, Connection, Fields, op};

const NODES: usize = 100;

/// A directory in which a killed server left `NODES` acknowledged nodes.
fn killed_server() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut server =
        Server::coordinator(Options::for_tests().directory(directory.path())).expect("a server that starts");
    let mut connection = Connection::new_session(server.address()).expect("a session");
    for node in 0..NODES {
        let record = Body::new().create(&format!("/node-{node:03}"), &[7; 100], 0);
        connection.call_ok(op::CREATE, &record).expect("acknowledged");
    }
    server.kill().expect("killed");
    directory
}

/// The only segment of the log.
fn segment(directory: &Path) -> PathBuf {
    let entries = fs::read_dir(directory.join("data")).expect("the data directory");
    let mut segments =
        entries.map(|entry| entry.expect("entry").path()).filter(|path| is_segment(path)).collect::<Vec<_>>();
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

fn is_segment(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("log."))
}

/// How many of the nodes a server shows that starts in this directory; what it said if it does not start.
fn start(directory: &Path) -> Result<usize, String> {
    let options = Options::for_tests().directory(directory);
    let mut server = Server::coordinator(options).map_err(|error| format!("{error:#}"))?;
    let mut connection = Connection::new_session(server.address()).expect("a session");
    let reply = connection.call_ok(op::GET_CHILDREN, &Body::new().bytes("/").bool(false)).expect("children");
    let mut fields = Fields(&reply.body);
    let count = fields.int().expect("a count");
    let children = (0..count).map(|_| fields.bytes().expect("a name").expect("no null").to_vec());
    let nodes = children.filter(|name| name.starts_with(b"node-")).count();
    drop(connection);
    server.stop().expect("a clean stop");
    Ok(nodes)
}

#[test]
fn a_killed_server_starts_with_everything_or_says_what_is_damaged() {
    let good = killed_server();
    let segment = segment(good.path());
    let content = fs::read(&segment).expect("read");
    let used = content.iter().rposition(|&byte| byte != 0).expect("records") + 1;
    assert!(used > 16_000, "{used}");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = content.clone();
        change(&mut changed);
        changed
    };
    let changes = [
        ("a bit flipped in the middle", with(&|log| log[used / 2] ^= 1)),
        ("a bit flipped in the last record", with(&|log| log[used - 60] ^= 1)),
        ("cut in the middle", with(&|log| log.truncate(used / 2))),
        ("the last record zeroed", with(&|log| log[used - 40..].fill(0))),
        ("4 KiB zeroed in the middle", with(&|log| log[8192..12_288].fill(0))),
        ("the header damaged", with(&|log| log[0] ^= 1)),
        ("emptied", Vec::new()),
        ("cut to its header", with(&|log| log.truncate(64))),
        ("everything behind the header zeroed", with(&|log| log[64..].fill(0))),
    ];
    for (what, changed) in changes {
        fs::write(&segment, changed).expect("write");
        match start(good.path()) {
            Ok(nodes) => panic!("{what}: started with {nodes} of {NODES} nodes"),
            Err(said) => {
                let name = segment.file_name().and_then(|name| name.to_str()).expect("text");
                assert!(said.contains(name) && said.contains("at byte"), "{what}: {said}");
            }
        }
    }
    fs::remove_file(&segment).expect("remove");
    let said = start(good.path()).expect_err("the log is gone");
    assert!(said.contains("the file is missing"), "{said}");

    fs::write(&segment, &content).expect("write");
    assert_eq!(start(good.path()), Ok(NODES), "nothing was lost by refusing");
}
