//! What is measured, and how one server is put through it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::ensembles;
use super::histogram::Histogram;
use super::load::{DIGITS, NextRequest, Pace, Shape, Tally, Template, drive};
use super::reference;
use super::report::{Figure, Report};
use crate::process::{Kind, Options, Server, Service, Target, Usage};
use crate::raw::{Body, Connection, Fields, Hello, Next, Welcome, op, parse_reply};

/// Names of all cases, in the order in which they run.
pub const CASES: &[&str] = &[
    "create", "set", "get", "exists", "children", "mixed", "watches", "connect", "start", "idle", "million",
    "gaps", "join",
];

/// What to run, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Servers, in the order in which one round visits them.
    pub servers: Vec<Kind>,
    /// One server, or an ensemble of so many. The cases `start`, `idle` and `million` are about one server, `gaps` and
    /// `join` about ensembles.
    pub members: usize,
    /// How often each server is visited.
    pub rounds: usize,
    /// Cases, of [`CASES`].
    pub cases: Vec<String>,
    /// Measured seconds of each throughput case.
    pub seconds: f64,
    /// Connections and depths of the throughput cases.
    pub shapes: Vec<Shape>,
    /// Nodes of the case `million`.
    pub znodes: u64,
    /// Sessions of the case `idle`.
    pub idle_sessions: usize,
    /// Watchers of the case `watches`.
    pub watchers: usize,
    /// Starts of the case `start`.
    pub starts: usize,
    /// How often each fault of the case `gaps` happens.
    pub gaps: usize,
    /// Where servers keep their data.
    pub directory: PathBuf,
    /// Flags of the Java virtual machine.
    pub jvm_flags: Vec<String>,
}

impl Plan {
    /// Everything at full size.
    pub fn full(directory: PathBuf) -> Plan {
        let shapes = [1, 16, 256]
            .into_iter()
            .flat_map(|connections| [1, 100].into_iter().map(move |depth| Shape { connections, depth }));
        Plan {
            servers: vec![Kind::Coordinator],
            members: 1,
            rounds: 2,
            cases: CASES.iter().map(|&name| name.to_owned()).collect(),
            seconds: 3.0,
            shapes: shapes.collect(),
            znodes: 1_000_000,
            idle_sessions: 10_000,
            watchers: 1000,
            starts: 5,
            gaps: 3,
            directory,
            // What ZooKeeper's own start script gives a server.
            jvm_flags: vec!["-Xmx1000m".to_owned()],
        }
    }

    /// The same cases, smaller: minutes instead of half an hour.
    pub fn quick(directory: PathBuf) -> Plan {
        let shapes = vec![
            Shape { connections: 1, depth: 1 },
            Shape { connections: 16, depth: 1 },
            Shape { connections: 16, depth: 100 },
        ];
        Plan {
            rounds: 1,
            seconds: 1.0,
            shapes,
            znodes: 100_000,
            idle_sessions: 2000,
            watchers: 200,
            starts: 3,
            gaps: 1,
            ..Plan::full(directory)
        }
    }

    fn wants(&self, case: &str) -> bool {
        let fits = match case {
            "start" | "idle" | "million" => self.members == 1,
            "gaps" | "join" => self.members > 1,
            _ => true,
        };
        fits && self.cases.iter().any(|name| name == case)
    }

    pub(super) fn options(&self) -> Options {
        let mut options = Options::default()
            .key("maxClientCnxns", 0)
            .key("tickTime", 2000)
            .key("minSessionTimeout", 4000)
            .key("maxSessionTimeout", 120_000)
            .key("4lw.commands.whitelist", "*");
        options.jvm_flags.clone_from(&self.jvm_flags);
        options
    }

    /// A server or an ensemble on a directory of its own below the plan's.
    fn service(&self, kind: Kind) -> Result<(Service, tempfile::TempDir)> {
        std::fs::create_dir_all(&self.directory)?;
        let home = tempfile::TempDir::with_prefix_in(format!("{kind}-"), &self.directory)?;
        let target = Target { members: self.members, ..Target::one(kind) };
        Ok((target.start(self.options().directory(home.path()))?, home))
    }

    /// A server alone on a directory of its own below the plan's.
    fn server(&self, kind: Kind, options: Options) -> Result<(Server, tempfile::TempDir)> {
        std::fs::create_dir_all(&self.directory)?;
        let home = tempfile::TempDir::with_prefix_in(format!("{kind}-"), &self.directory)?;
        let server = Server::start_new(kind, options.directory(home.path()))?;
        Ok((server, home))
    }
}

/// Puts every server of the plan through its cases and collects the figures.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    generator_alone(plan, &mut report)?;
    let throughput: Vec<&str> = ["create", "set", "get", "exists", "children", "mixed"]
        .into_iter()
        .filter(|n| plan.wants(n))
        .collect();
    for round in 0..plan.rounds {
        for &kind in &plan.servers {
            println!("round {} of {}: {kind}", round + 1, plan.rounds);
            if !throughput.is_empty() || plan.wants("watches") || plan.wants("connect") {
                let (server, _home) = plan.service(kind)?;
                warm_up(plan, &server).context("warming up")?;
                for case in &throughput {
                    for &shape in &plan.shapes {
                        let tally = measure(plan, &server, case, shape)
                            .with_context(|| format!("{case} {shape:?} on the {kind}"))?;
                        report.throughput(kind, case, shape, &tally);
                    }
                }
                if plan.wants("watches") {
                    watches(plan, &server, &mut report).context("watches")?;
                }
                if plan.wants("connect") {
                    connects(plan, &server, &mut report).context("connect")?;
                }
            }
            if plan.wants("start") {
                starts(plan, kind, &mut report).context("start")?;
            }
            if plan.wants("gaps") {
                ensembles::gaps(plan, kind, &mut report).context("gaps")?;
            }
            if round == 0 && plan.wants("join") {
                ensembles::join(plan, kind, &mut report).context("join")?;
            }
            // The big ones are slow and vary little: once is enough.
            if round == 0 && plan.wants("idle") {
                idle(plan, kind, &mut report).context("idle")?;
            }
            if round == 0 && plan.wants("million") {
                million(plan, kind, &mut report).context("million")?;
            }
        }
    }
    Ok(report)
}

/// Work that is not counted, so that a virtual machine has compiled its hot paths before anything is.
fn warm_up(plan: &Plan, server: &Service) -> Result<()> {
    for case in ["set", "get", "create", "children"] {
        measure(plan, server, case, Shape { connections: 16, depth: 10 })?;
    }
    Ok(())
}

/// What the generator could reach at most.
fn generator_alone(plan: &Plan, report: &mut Report) -> Result<()> {
    let address = reference::start()?;
    let get = Template::new(op::GET_DATA, &Body::new().bytes("/bench-data/##########").bool(false));
    for &shape in &plan.shapes {
        let mut make = |_| -> NextRequest {
            let get = get.clone();
            Box::new(move |xid, out| get.write(xid, 0, out))
        };
        let none = || Ok(Usage::default());
        let tally = drive(&[address], shape, Pace::Closed, plan.seconds.min(1.0), &mut make, &none)?;
        report.generator(shape, &tally);
    }
    Ok(())
}

/// Nodes that the reading and setting cases choose from.
const DATA_NODES: u64 = 1000;
pub(super) const DATA: [u8; 100] = [b'd'; 100];

fn data_path(number: u64) -> String {
    format!("/bench-data/{number:010}")
}

/// Creates what a case works on, unless an earlier one did.
fn prepare(server: &Service) -> Result<()> {
    let mut connection = Connection::new_session(server.addresses()[0])?;
    let marker = connection.call(op::EXISTS, &Body::new().bytes("/bench-ready").bool(false))?;
    if marker.error == 0 {
        return Ok(());
    }
    for parent in ["/bench-data", "/bench-create", "/bench-children"] {
        connection.call_ok(op::CREATE, &Body::new().create(parent, b"", 0))?;
    }
    let data = (0..DATA_NODES).map(|number| Body::new().create(&data_path(number), &DATA, 0));
    let children =
        (0..100).map(|number| Body::new().create(&format!("/bench-children/child-{number:04}"), b"", 0));
    let requests: Vec<Body> = data.chain(children).collect();
    let mut frames = Vec::new();
    for (index, record) in requests.iter().enumerate() {
        frames.extend_from_slice(&Body::request(index as i32 + 100, op::CREATE).raw(&record.0).frame());
    }
    connection.send(&frames)?;
    for _ in &requests {
        let reply = connection.reply(Duration::from_secs(30))?;
        ensure!(reply.error == 0, "preparing: {reply:?}");
    }
    connection.call_ok(op::CREATE, &Body::new().create("/bench-ready", b"", 0))?;
    connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
    // Every member must show it to whoever reads there.
    for address in server.addresses() {
        let mut connection = Connection::new_session(address)?;
        connection.call_ok(op::SYNC, &Body::new().bytes("/bench-ready"))?;
        connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
    }
    Ok(())
}

fn measure(plan: &Plan, server: &Service, case: &str, shape: Shape) -> Result<Tally> {
    prepare(server)?;
    let read =
        |opcode: i32| Template::new(opcode, &Body::new().bytes(format!("/bench-data/{DIGITS}")).bool(false));
    let get = read(op::GET_DATA);
    let exists = read(op::EXISTS);
    let set =
        Template::new(op::SET_DATA, &Body::new().bytes(format!("/bench-data/{DIGITS}")).bytes(DATA).int(-1));
    let children = Template::new(op::GET_CHILDREN, &Body::new().bytes("/bench-children").bool(false));
    // Each run creates below a parent of its own, so that names start anew.
    let parent = {
        let mut connection = Connection::new_session(server.addresses()[0])?;
        let reply = connection.call_ok(op::CREATE, &Body::new().create("/bench-create/p", b"", 2))?;
        connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
        let path = Fields(&reply.body).bytes()?.context("no path")?.to_vec();
        String::from_utf8(path)?
    };
    let create = Template::new(op::CREATE, &Body::new().create(&format!("{parent}/{DIGITS}"), &DATA, 0));
    let case = case.to_owned();
    let mut make = |lane: usize| -> NextRequest {
        // Lanes start at different nodes and walk with a stride that meets all of them.
        let mut number = lane as u64 * 131;
        let mut walk = move || {
            number = (number + 7) % DATA_NODES;
            number
        };
        match case.as_str() {
            "create" => {
                let create = create.clone();
                let mut made = lane as u64 * 10_000_000;
                Box::new(move |xid, out| {
                    made += 1;
                    create.write(xid, made, out);
                })
            }
            "mixed" => {
                let (get, set) = (get.clone(), set.clone());
                let mut count = lane;
                Box::new(move |xid, out| {
                    count += 1;
                    let template = if count.is_multiple_of(5) { &set } else { &get };
                    template.write(xid, walk(), out);
                })
            }
            other => {
                let template = match other {
                    "set" => &set,
                    "exists" => &exists,
                    "children" => &children,
                    _ => &get,
                };
                let template = template.clone();
                Box::new(move |xid, out| template.write(xid, walk(), out))
            }
        }
    };
    let tally = drive(&server.addresses(), shape, Pace::Closed, plan.seconds, &mut make, &|| server.usage())?;
    ensure!(tally.errors == 0, "{} of {} operations failed", tally.errors, tally.operations);
    Ok(tally)
}

/// One node, many connections that watch it, and the time from a change to the last event.
fn watches(plan: &Plan, server: &Service, report: &mut Report) -> Result<()> {
    let mut writer = Connection::new_session(server.addresses()[0])?;
    let path = "/bench-watched";
    let _ = writer.call(op::CREATE, &Body::new().create(path, b"", 0))?;
    let hello = Hello { timeout: 60_000, ..Hello::default() };
    let mut watchers: Vec<Connection> = sessions(&server.addresses(), plan.watchers, &hello)?
        .into_iter()
        .map(|(connection, _)| connection)
        .collect();
    let read = Body::request(1, op::GET_DATA).bytes(path).bool(true).frame();
    let mut rounds = Histogram::default();
    let (mut events, mut busy, mut cpu) = (0u64, Duration::ZERO, Duration::ZERO);
    let begin = Instant::now();
    let mut round = 0;
    while round < 3 || begin.elapsed().as_secs_f64() < plan.seconds {
        for watcher in &mut watchers {
            watcher.send(&read)?;
        }
        for watcher in &mut watchers {
            let reply = watcher.reply(Duration::from_secs(30))?;
            ensure!(reply.xid == 1 && reply.error == 0, "setting a watch: {reply:?}");
        }
        let before = server.usage()?.cpu;
        let start = Instant::now();
        writer.call_ok(op::SET_DATA, &Body::new().bytes(path).bytes("x").int(-1))?;
        for watcher in &mut watchers {
            let event = watcher.reply(Duration::from_secs(30))?;
            ensure!(event.xid == -1, "an event was expected: {event:?}");
        }
        rounds.add(start.elapsed());
        busy += start.elapsed();
        cpu += server.usage()?.cpu.saturating_sub(before);
        events += watchers.len() as u64;
        round += 1;
    }
    let kind = server.kind();
    let name = format!("change seen by {} watchers", plan.watchers);
    report.figure(
        kind,
        &format!("{name}: events/s"),
        Figure::more_is_better(events as f64 / busy.as_secs_f64()),
    );
    report.figure(kind, &format!("{name}: p50, ms"), Figure::milliseconds(rounds.quantile(0.5)));
    report.figure(kind, &format!("{name}: p99, ms"), Figure::milliseconds(rounds.quantile(0.99)));
    Ok(())
}

/// Makes many sessions, some hundred handshakes under way at a time.
fn sessions(addresses: &[SocketAddr], count: usize, hello: &Hello) -> Result<Vec<(Connection, Welcome)>> {
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let batch = (count - made.len()).min(250);
        let mut waiting = Vec::with_capacity(batch);
        for number in 0..batch {
            let mut connection = Connection::open(addresses[number % addresses.len()])?;
            connection.send(&hello.frame())?;
            waiting.push(connection);
        }
        for mut connection in waiting {
            let welcome = connection.welcome()?;
            ensure!(welcome.session != 0, "no session");
            made.push((connection, welcome));
        }
    }
    Ok(made)
}

/// Clients that come, make a session, and leave, 64 at a time.
fn connects(plan: &Plan, server: &Service, report: &mut Report) -> Result<()> {
    let mut latencies = Histogram::default();
    let close = Body::request(1, op::CLOSE_SESSION).frame();
    let addresses = server.addresses();
    let before = server.usage()?.cpu;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < plan.seconds {
        let mut storm = Vec::new();
        for number in 0..64 {
            let start = Instant::now();
            let mut connection = Connection::open(addresses[number % addresses.len()])?;
            connection.send(&Hello::default().frame())?;
            storm.push((connection, start));
        }
        for (connection, start) in &mut storm {
            connection.welcome()?;
            latencies.add(start.elapsed());
            connection.send(&close)?;
        }
        for (connection, _) in &mut storm {
            connection.reply(Duration::from_secs(30))?;
        }
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let cpu = server.usage()?.cpu.saturating_sub(before).as_secs_f64();
    let count = latencies.count() as f64;
    let kind = server.kind();
    report.figure(kind, "connect storm: sessions made and closed/s", Figure::more_is_better(count / elapsed));
    report.figure(kind, "connect storm: p99, ms", Figure::milliseconds(latencies.quantile(0.99)));
    report.figure(
        kind,
        "connect storm: server CPU s per million sessions",
        Figure::less_is_better(cpu * 1e6 / count),
    );
    Ok(())
}

/// From the start of the process to the answer to the first handshake, on an empty directory.
fn starts(plan: &Plan, kind: Kind, report: &mut Report) -> Result<()> {
    let mut times = Histogram::default();
    let mut resident = 0;
    for _ in 0..plan.starts {
        std::fs::create_dir_all(&plan.directory)?;
        let home = tempfile::TempDir::with_prefix_in("start-", &plan.directory)?;
        let mut server = Server::prepare(kind, plan.options().directory(home.path()))?;
        times.add(time_to_session(&mut server)?);
        std::thread::sleep(Duration::from_millis(500));
        resident = server.usage()?.resident;
    }
    report.figure(kind, "start to first session, ms", Figure::milliseconds(times.quantile(0.5)));
    report.figure(kind, "resident when idle, MiB", Figure::mebibytes(resident));
    Ok(())
}

/// Launches the server and waits for its first session.
fn time_to_session(server: &mut Server) -> Result<Duration> {
    let start = Instant::now();
    server.launch()?;
    let deadline = start + Duration::from_secs(180);
    loop {
        if let Ok(mut connection) = Connection::open(server.address())
            && connection.send(&Hello::default().frame()).is_ok()
            && let Next::Frame(_) = connection.next(Duration::from_secs(20))
        {
            return Ok(start.elapsed());
        }
        if Instant::now() > deadline || !server.is_running() {
            bail!("no session after {:?}:\n{}", start.elapsed(), server.log_tail(2000));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sessions that do nothing but stay.
fn idle(plan: &Plan, kind: Kind, report: &mut Report) -> Result<()> {
    raise_open_files();
    let (server, _home) = plan.server(kind, plan.options())?;
    std::thread::sleep(Duration::from_millis(500));
    let before = server.usage()?.resident;
    let hello = Hello { timeout: 120_000, ..Hello::default() };
    let start = Instant::now();
    let held = sessions(&[server.address()], plan.idle_sessions, &hello)?;
    let took = start.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(2));
    let usage = server.usage()?;
    let name = format!("{} idle sessions", plan.idle_sessions);
    report.figure(kind, &format!("{name}: resident, MiB"), Figure::mebibytes(usage.resident));
    let each = usage.resident.saturating_sub(before) as f64 / held.len() as f64;
    report.figure(kind, &format!("{name}: bytes per session"), Figure::less_is_better(each));
    report.figure(
        kind,
        &format!("{name}: made per second"),
        Figure::more_is_better(held.len() as f64 / took),
    );
    // A ping round, as these clients would send every third of their timeout.
    let ping = Body::request(-2, op::PING).frame();
    let mut sockets: Vec<TcpStream> =
        held.into_iter().map(|(connection, _)| connection.into_socket()).collect();
    let before = server.usage()?.cpu;
    for socket in &mut sockets {
        socket.write_all(&ping)?;
    }
    std::thread::sleep(Duration::from_secs(1));
    let cpu = server.usage()?.cpu.saturating_sub(before).as_secs_f64();
    let per_million = cpu * 1e6 / sockets.len() as f64;
    report.figure(kind, &format!("{name}: CPU s per million pings"), Figure::less_is_better(per_million));
    Ok(())
}

/// Both ends of ten thousand connections need more than the usual 1,024 files.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Many nodes: memory, restart, and sets while snapshots are taken.
fn million(plan: &Plan, kind: Kind, report: &mut Report) -> Result<()> {
    let (mut server, home) = plan.server(kind, plan.options())?;
    std::thread::sleep(Duration::from_millis(500));
    let before = server.usage()?.resident;
    let parents = 100;
    let start = Instant::now();
    fill(server.address(), plan.znodes, parents)?;
    let took = start.elapsed().as_secs_f64();
    // Collections and snapshots under way end.
    std::thread::sleep(Duration::from_secs(3));
    let resident = server.usage()?.resident;
    let name = format!("{} znodes", plan.znodes);
    report.figure(
        kind,
        &format!("{name}: created/s, 8 × 200 under way"),
        Figure::more_is_better(plan.znodes as f64 / took),
    );
    report.figure(kind, &format!("{name}: resident, MiB"), Figure::mebibytes(resident));
    let path_and_data = "/m/000/0000000000".len() + DATA.len();
    let beyond = resident.saturating_sub(before) as f64 / plan.znodes as f64 - path_and_data as f64;
    report.figure(kind, &format!("{name}: bytes each beyond path and data"), Figure::less_is_better(beyond));
    let start = Instant::now();
    server.stop()?;
    report.figure(kind, &format!("{name}: stop, s"), Figure::less_is_better(start.elapsed().as_secs_f64()));
    drop(server);

    // Few enough transactions between snapshots that one is being taken most of the time.
    let options = plan.options().key("snapCount", 5000).directory(home.path());
    let mut server = Server::prepare(kind, options)?;
    let again = time_to_session(&mut server)?;
    report.figure(
        kind,
        &format!("{name}: restart to first session, s"),
        Figure::less_is_better(again.as_secs_f64()),
    );
    let resident = server.usage()?.resident;
    report.figure(kind, &format!("{name}: resident after restart, MiB"), Figure::mebibytes(resident));
    let rate = 2000;
    let set = Template::new(op::SET_DATA, &Body::new().bytes(format!("/m/000/{DIGITS}")).bytes(DATA).int(-1));
    let below_first = plan.znodes / parents;
    let mut make = |lane: usize| -> NextRequest {
        let set = set.clone();
        let mut number = lane as u64 * 97;
        Box::new(move |xid, out| {
            number = (number + 13) % below_first;
            set.write(xid, number * parents, out);
        })
    };
    let shape = Shape { connections: 16, depth: 1 };
    let seconds = (plan.seconds * 5.0).max(1.0);
    let tally =
        drive(&[server.address()], shape, Pace::PerSecond(rate), seconds, &mut make, &|| server.usage())?;
    ensure!(tally.errors == 0, "{} sets failed", tally.errors);
    let name = format!("{rate} sets/s while snapshots of {} znodes are taken", plan.znodes);
    report.figure(kind, &format!("{name}: p50, ms"), Figure::milliseconds(tally.latencies.quantile(0.5)));
    report.figure(kind, &format!("{name}: p99, ms"), Figure::milliseconds(tally.latencies.quantile(0.99)));
    report.figure(kind, &format!("{name}: longest, ms"), Figure::milliseconds(tally.latencies.longest()));
    report.figure(
        kind,
        &format!("{name}: server CPU s per million"),
        Figure::less_is_better(tally.server_cpu_per_million()),
    );
    report.figure(kind, &format!("{name}: resident, MiB"), Figure::mebibytes(tally.resident));
    Ok(())
}

/// Creates the nodes below `/m`, spread over their parents.
pub(super) fn fill(address: SocketAddr, count: u64, parents: u64) -> Result<()> {
    let mut connection = Connection::new_session(address)?;
    connection.call_ok(op::CREATE, &Body::new().create("/m", b"", 0))?;
    for parent in 0..parents {
        connection.call_ok(op::CREATE, &Body::new().create(&format!("/m/{parent:03}"), b"", 0))?;
    }
    connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
    let lanes = 8;
    let window = 200;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..lanes)
            .map(|lane| {
                scope.spawn(move || -> Result<()> {
                    let mut connection = Connection::new_session(address)?;
                    let mut numbers = (lane..count).step_by(lanes as usize).peekable();
                    while numbers.peek().is_some() {
                        let mut frames = Vec::new();
                        let mut sent = 0;
                        for number in numbers.by_ref().take(window) {
                            let path = format!("/m/{:03}/{number:010}", number % parents);
                            let body = Body::request(1, op::CREATE).create(&path, &DATA, 0);
                            frames.extend_from_slice(&body.frame());
                            sent += 1;
                        }
                        connection.send(&frames)?;
                        for _ in 0..sent {
                            let Next::Frame(frame) = connection.next(Duration::from_secs(60)) else {
                                bail!("the server stopped answering");
                            };
                            let reply = parse_reply(&frame)?;
                            ensure!(reply.error == 0, "creating nodes: {reply:?}");
                        }
                    }
                    connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })
}
