//! The client's examples, run as a reader would run them, against our coordinator.

mod support;

use std::process::Command;

use support::start;
use testkit::process::{Options, client_example, command_output};

/// Each example that ends by itself, and lines it must print, in this order.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("barriers", &["the barrier is gone", "both are inside", "both have left"]),
    ("counters", &["visit number 1", "five workers", "the motto: go!"]),
    ("group", &[" at 10.0.0.1:7000"]),
    ("hello_znode", &["created /hello-", "\"first words\", version 0"]),
    ("leader_latch", &[" leads, with fence "]),
    ("leader_selector", &[" leads, turn 1", "has done its part", " leads, turn 3", "has done its part"]),
    ("lock", &["we have the lock, with fence ", "done"]),
    ("multi_lock", &["/examples/accounts/alice/", "/examples/accounts/bob/"]),
    ("persistent_node", &["it is back", "it will be there for a while"]),
    (
        "queues",
        &[
            r#"in order: b"first", b"second""#,
            r#"by priority: b"now", b"sometime""#,
            r#"held: b"a payment""#,
            r#"after its delay: [b"a reminder"]"#,
            "taken back: 1",
            r#"by name: [b"a summary"]"#,
        ],
    ),
    ("read_write_lock", &["we write, with fence ", "now we only read", "and so does somebody else"]),
    ("semaphore", &["holds a lease: process "]),
    ("service_discovery", &["billing is at "]),
    ("set_partitioner", &["shard-0 is ours", "shard-1 is ours", "shard-2 is ours", "shard-3 is ours"]),
    ("unfair_election", &[" leads, with fence "]),
];

#[test]
fn every_example_does_what_it_says() {
    let Some(server) = start(Options::for_tests()) else { return };
    for (name, lines) in EXAMPLES {
        let program = client_example(name).expect("the program of an example");
        let printed = command_output(Command::new(program).arg(server.connect_string())).expect(name);
        let mut rest = printed.lines();
        for line in *lines {
            assert!(
                rest.any(|printed| printed.contains(line)),
                "{name} did not print {line:?}, but:\n{printed}"
            );
        }
    }
}
