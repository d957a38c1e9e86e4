//! What tests of the client share.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::future::Future;
use std::time::Duration;

use client::zk::Coordinator;
use testkit::process::{Kind, Link, Need, Options, Server, skip_or_fail};

/// What to test against: ours, or with `CLIENT_AGAINST=zookeeper` the control; `None` when that cannot be had.
pub fn kind() -> Option<Kind> {
    let kind = match std::env::var("CLIENT_AGAINST") {
        Ok(name) => name.parse().expect("CLIENT_AGAINST"),
        Err(_) => Kind::Coordinator,
    };
    let is_there =
        kind == Kind::Coordinator || skip_or_fail("a test of the client", &[Need::Java, Need::Maven]);
    is_there.then_some(kind)
}

/// A running server. It does not wait for the disk, which may be slow: these tests are about what clients see.
pub fn start(options: Options) -> Option<Server> {
    Some(Server::start_new(kind()?, options.without_sync()).expect("start the server"))
}

/// How long a server may take for anything: one in Java has just started, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn connect(server: &Server) -> Coordinator {
    let builder = Coordinator::builder(server.connect_string()).connect_timeout(PATIENCE);
    builder.connect().await.expect("a session")
}

/// A session of one second through a link that can be cut.
pub async fn connect_through(link: &Link) -> Coordinator {
    let builder = Coordinator::builder(link.address().to_string()).session_timeout(Duration::from_secs(1));
    builder.connect_timeout(PATIENCE).connect().await.expect("a session")
}

/// What must happen soon.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Waits until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let wait = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
