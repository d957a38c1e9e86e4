//! Wiring: one thread owns the tree and the sockets, the log and snapshots have theirs.
//!
//! [`Core`] is what that one thread shares among its tasks. Everything that happens calls into the pure
//! [`Service`], then [`Core::pump`] carries out what it wishes: proposals go to the log, connections that have something
//! to send are woken.

mod auditing;
mod core;
mod disk_work;
mod members_file;
mod opening;
mod queries;
mod streams;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Notify;

pub use self::core::Core;
use self::core::{Mailbox, WalkNext};
use self::opening::open;
use crate::audit::{self, Audit, Operation, Record};
use crate::config::Config;
use crate::limits;
use crate::member::neighbours;
use crate::net::admin;
use crate::net::listener::{self, Doorkeeper, Kind};
use crate::net::peers::{PeerSettings, Peers};
use crate::net::tls::TlsGate;
use crate::view::{Ask, Query};
use crate::zab::{Input, MemberId, Standing};

/// How often sessions, containers and nodes with a time to live are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often a member looks at the clock for the ensemble's sake.
const BEAT: Duration = Duration::from_millis(20);

/// A leader that stops gives the others so long to take over.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(1500);

/// Between two steps of a snapshot's walk, clients come first.
const WALK_PAUSE: Duration = Duration::from_millis(1);

/// "File size limit exceeded", on every Linux but MIPS.
const SIGXFSZ: i32 = 25;

/// A planned stop waits this long for what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the server until a signal asks it to stop, or it cannot go on.
pub fn run(config: Config) -> anyhow::Result<()> {
    run_until(config, None)
}

/// Who says that the server is to stop.
pub type Stop = tokio::sync::oneshot::Receiver<()>;

/// Runs the server on this thread, until whoever holds the other end of `stop` sends or drops it; without `stop`, until a
/// signal comes. For a process that is more than this server.
pub fn run_until(config: Config, stop: Option<Stop>) -> anyhow::Result<()> {
    stop_at_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(serve(config, stop)))
}

/// A part of the server that failed leaves nobody with half a server: the process stops, and says why.
fn stop_at_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        tracing::error!(%panic, "a part of the server failed; the process stops");
        std::process::abort();
    }));
}

async fn serve(config: Config, asked: Option<Stop>) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let started = Instant::now();
    // Ports first: a second server on this machine should say so before it looks at any data.
    let plain = if config.listen.unified { Kind::Either } else { Kind::Plain };
    let ports = [(config.listen.client, plain), (config.listen.secure, Kind::Tls)];
    let mut listeners = Vec::new();
    for (address, kind) in ports.into_iter().filter_map(|(address, kind)| Some((address?, kind))) {
        let listener = listener::bind(address, config.listen.backlog)
            .with_context(|| format!("cannot listen on {address} for clients"))?;
        listeners.push((listener, kind));
    }
    let (established, mut handshakes) = tokio::sync::mpsc::channel(limits::HANDSHAKE_QUEUE_MAX);
    let gate = match &config.tls {
        // As many wait here at most as are let in at the door.
        Some(tls) => Some(TlsGate::spawn(tls.clone(), move |done| drop(established.try_send(done)))?),
        None => None,
    };
    let stop = Rc::new(Notify::new());
    let core = open(&config, started, Rc::clone(&stop))?;
    let mailbox = Arc::clone(&core.borrow().mailbox);
    let couriers = Arc::clone(&mailbox);
    let audit = Audit::open(config.audit.as_ref()).context("cannot open the audit log")?;
    audit.record(&Record::server(auditing::server_user(), Operation::ServerStart, audit::Outcome::Success));
    if audit.enabled() {
        let mut core = core.borrow_mut();
        core.member.service.keep_audit();
        core.audit = Some(audit);
    }
    let (asks, questions) = tokio::sync::mpsc::channel(limits::QUERY_QUEUE_MAX);
    let operations = admin::spawn(Arc::clone(&config), asks)?;
    tokio::task::spawn_local(answer_questions(Rc::clone(&core), questions));

    let tasks = [
        tokio::task::spawn_local(log_events(Rc::clone(&core), Arc::clone(&mailbox))),
        tokio::task::spawn_local(snapshot_events(Rc::clone(&core), mailbox)),
        tokio::task::spawn_local(walk_snapshots(Rc::clone(&core))),
        tokio::task::spawn_local(ticks(Rc::clone(&core))),
        tokio::task::spawn_local(turns(Rc::clone(&core))),
        tokio::task::spawn_local(beats(Rc::clone(&core))),
        tokio::task::spawn_local(disk_work::courier_events(Rc::clone(&core), couriers)),
    ];
    core.borrow_mut().peers = links(&config, &core)?;
    core.borrow_mut().input(Input::Tick);
    // A member answers at its client port while it looks for the others; a server alone is there at once.
    while config.ensemble.is_none() && !core.borrow().member.service.is_serving() {
        tokio::task::yield_now().await;
        if core.borrow().fatal.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    core.borrow_mut().gate.clone_from(&gate);
    let doorkeeper = Doorkeeper::new(Rc::clone(&core), Arc::clone(&config), gate);
    {
        let doorkeeper = doorkeeper.clone();
        tokio::task::spawn_local(async move {
            while let Some(done) = handshakes.recv().await {
                doorkeeper.established(done);
            }
        });
    }
    for (listener, kind) in listeners {
        let doorkeeper = doorkeeper.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = doorkeeper.accept(listener, kind).await {
                tracing::error!(%error, "cannot accept connections any more");
            }
        });
    }
    announce(&config, operations);

    match asked {
        None => asked_to_stop(&stop).await?,
        Some(asked) => tokio::select! {
            () = stop.notified() => {}
            _ = asked => {}
        },
    }
    let failure = core.borrow_mut().fatal.take();
    if failure.is_none() {
        finish(&core).await?;
    }
    if let Some(audit) = core.borrow_mut().audit.take() {
        audit.record(&Record::server(
            auditing::server_user(),
            Operation::ServerStop,
            audit::Outcome::Success,
        ));
        audit.close();
    }
    for task in tasks {
        task.abort();
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn log_events(core: Rc<RefCell<Core>>, mailbox: Arc<Mailbox>) {
    loop {
        mailbox.log_wake.notified().await;
        core.borrow_mut().handle_log_events();
    }
}

async fn snapshot_events(core: Rc<RefCell<Core>>, mailbox: Arc<Mailbox>) {
    loop {
        mailbox.snapshot_wake.notified().await;
        core.borrow_mut().handle_snapshot_events();
    }
}

async fn walk_snapshots(core: Rc<RefCell<Core>>) {
    let wake = Rc::clone(&core.borrow().snapshot_wake);
    let mut kept = None;
    loop {
        let next = core.borrow_mut().advance_snapshot(&mut kept);
        match next {
            WalkNext::Pause => tokio::time::sleep(WALK_PAUSE).await,
            WalkNext::Full | WalkNext::Idle => wake.notified().await,
        }
    }
}

/// Ends a turn when everything that was ready was handled.
async fn turns(core: Rc<RefCell<Core>>) {
    let wake = Rc::clone(&core.borrow().pump_wake);
    loop {
        wake.notified().await;
        core.borrow_mut().pump();
    }
}

/// Connects to the other members, if there are any.
fn links(config: &Config, core: &Rc<RefCell<Core>>) -> anyhow::Result<Option<Peers>> {
    let Some(ensemble) = &config.ensemble else { return Ok(None) };
    let settings = PeerSettings::new(ensemble.links.clone(), config.reconfig_enabled);
    let to_core = Rc::downgrade(core);
    let on_event = move |event| {
        if let Some(core) = to_core.upgrade() {
            core.borrow_mut().handle_peer_event(event);
        }
    };
    let members = match config.reconfig_enabled {
        true => neighbours(ensemble.my_id, &ensemble.membership, core.borrow().service().tree()),
        false => ensemble.membership.members.clone(),
    };
    Ok(Some(Peers::start(settings, MemberId(ensemble.my_id), &members, on_event)?))
}

/// Time passes for the ensemble: finer than for sessions, because a dead leader is to be missed quickly.
async fn beats(core: Rc<RefCell<Core>>) {
    if core.borrow().member.is_alone() {
        return;
    }
    let mut interval = tokio::time::interval(BEAT);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        core.borrow_mut().input(Input::Tick);
    }
}

async fn ticks(core: Rc<RefCell<Core>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // What clients sent while we were busy is read first: nobody expires because we were.
        tokio::task::yield_now().await;
        let mut core = core.borrow_mut();
        let now = core.now();
        core.rotate_metrics();
        core.input(Input::Tick);
        core.member.service.tick(now);
        core.pump();
    }
}

/// Says what listens, where the data is, and what to do next.
fn announce(config: &Config, operations: admin::Listening) {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    tracing::info!(
        clients = text(config.listen.client),
        tls_clients = text(config.listen.secure),
        operations = text(operations.admin),
        metrics = text(operations.metrics),
        data = %config.storage.data_dir.display(),
        "serving"
    );
    if let Some(client) = config.listen.client
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
    {
        println!("try: coordinator healthcheck --server {client}    or any ZooKeeper client at {client}");
    }
}

/// Answers the operations port.
async fn answer_questions(core: Rc<RefCell<Core>>, mut questions: tokio::sync::mpsc::Receiver<Ask>) {
    while let Some(Ask { query, answer }) = questions.recv().await {
        match query {
            Query::Snapshot(caller) => drop(answer.send(streams::snapshot(&core, &caller))),
            Query::Restore(caller, stream) => {
                let core = Rc::clone(&core);
                tokio::task::spawn_local(async move {
                    drop(answer.send(streams::restore(&core, &caller, stream).await));
                });
            }
            query => drop(answer.send(core.borrow_mut().answer(query))),
        }
    }
}

/// A leader leaves the lead to somebody else before it goes.
async fn hand_over(core: &Rc<RefCell<Core>>) {
    let leads = |core: &Core| matches!(core.member.replica().standing(), Standing::Leading { .. });
    if core.borrow().member.is_alone() || !leads(&core.borrow()) {
        return;
    }
    core.borrow_mut().input(Input::HandOver);
    let deadline = Instant::now() + HAND_OVER_PATIENCE;
    while leads(&core.borrow()) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    match leads(&core.borrow()) {
        true => tracing::warn!("nobody could take over the lead; the others elect a leader by themselves"),
        false => tracing::info!("the lead was handed over"),
    }
}

async fn asked_to_stop(stop: &Notify) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // A file size limit is a full disk, not a reason to die: with a handler in place, the write fails instead.
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = stop.notified() => {}
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    Ok(())
}

/// A planned stop: what is under way is finished and answered, then the log is closed.
async fn finish(core: &Rc<RefCell<Core>>) -> anyhow::Result<()> {
    core.borrow_mut().member.service.stop();
    let deadline = Instant::now() + STOP_PATIENCE;
    while !core.borrow().disk.is_idle() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    hand_over(core).await;
    // One more turn for the connections to send their replies.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let log = core.borrow_mut().disk.take_log();
    log.map_or(Ok(()), disk_work::close)?;
    tracing::info!("stopped");
    Ok(())
}
