//! Our client, Curator and kazoo contend on the same znodes at the same time.
//!
//! Each contest has a folder of its own: a party announces itself in `parties/` and begins when there is a `gate`. Whoever is
//! inside what is contended leaves a trace in `inside/` and looks who else is there; it also writes its name, and the digits
//! of the znode it contended with, to `log/`. So the servers' own order is the witness, not clocks.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use client::zk::recipes::ServiceInstance;
use client::zk::{Coordinator, CreateMode};

use super::foreign::Report;
use super::kazoo;
use crate::process::{JavaProject, Options, Target, java_command, scratch, workspace};

const ROUNDS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(120);

/// Who takes part beside us.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Party {
    Curator,
    Kazoo,
}

/// What is contended for, by whom, and how often each party gets it.
struct Contest {
    recipe: &'static str,
    parties: &'static [Party],
    rounds: usize,
    /// Whether who came first must get it first.
    in_order: bool,
}

const CONTESTS: &[Contest] = &[
    Contest { recipe: "lock", parties: &[Party::Curator, Party::Kazoo], rounds: ROUNDS, in_order: true },
    Contest { recipe: "lock-curator", parties: &[Party::Curator], rounds: ROUNDS, in_order: true },
    Contest { recipe: "rw-lock", parties: &[Party::Kazoo], rounds: ROUNDS, in_order: false },
    Contest { recipe: "rw-lock-curator", parties: &[Party::Curator], rounds: ROUNDS, in_order: false },
    Contest { recipe: "semaphore", parties: &[Party::Curator], rounds: ROUNDS, in_order: false },
    Contest { recipe: "latch", parties: &[Party::Curator], rounds: ROUNDS, in_order: false },
    Contest {
        recipe: "double-barrier",
        parties: &[Party::Curator, Party::Kazoo],
        rounds: 3,
        in_order: false,
    },
    Contest { recipe: "count", parties: &[Party::Curator], rounds: ROUNDS, in_order: false },
    Contest { recipe: "discovery", parties: &[Party::Curator], rounds: 1, in_order: false },
    Contest { recipe: "delay-queue", parties: &[Party::Curator], rounds: 1, in_order: false },
    Contest { recipe: "id-queue", parties: &[Party::Curator], rounds: 1, in_order: false },
];

/// Runs every contest.
pub(super) fn run(target: Target) -> Result<Report> {
    let java = JavaProject::new("curator").compile(&["suites/Contender.java"])?;
    let python = kazoo::python()?;
    let service = target.start(Options::for_tests())?;
    let hosts = service.connect_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    for contest in CONTESTS {
        let folder = format!("/contest-{}", contest.recipe);
        let arguments = [&hosts, contest.recipe, &folder, &contest.rounds.to_string()].map(str::to_owned);
        let commands = contest.parties.iter().map(|party| -> Result<Command> {
            let mut command = match party {
                Party::Curator => {
                    let mut command = java_command(&java, &scratch("java")?);
                    command.arg("Contender");
                    command
                }
                Party::Kazoo => {
                    let mut command = Command::new(&python);
                    command.args(["-u", "-W", "ignore"]);
                    command.arg(workspace().join("testkit/interop/python/kazoo_contender.py"));
                    command
                }
            };
            command.args(&arguments);
            Ok(command)
        });
        let commands: Vec<Command> = commands.collect::<Result<_>>()?;
        let outcome = runtime.block_on(hold(contest, &hosts, &folder, commands));
        let names: Vec<String> = contest.parties.iter().map(|party| format!("{party:?}")).collect();
        report.check(&format!("{} with {}", contest.recipe, names.join(" and ")), outcome);
    }
    Ok(report)
}

async fn hold(contest: &Contest, hosts: &str, folder: &str, commands: Vec<Command>) -> Result<()> {
    let zk = Coordinator::builder(hosts).session_timeout(Duration::from_secs(20)).connect().await?;
    // kazoo does not expect that what it contends for goes while nobody is there, as our containers do.
    for path in ["", "/parties", "/inside", "/log", "/contended"] {
        zk.create(&format!("{folder}{path}"), b"", CreateMode::Persistent).await?;
    }
    for round in 0..contest.rounds {
        zk.create(&format!("{folder}/arrived-{round}"), b"", CreateMode::Persistent).await?;
    }
    // Threads wait for the programs, so that this one can contend.
    let programs: Vec<_> =
        commands.into_iter().map(|command| tokio::task::spawn_blocking(move || output(command))).collect();
    let deadline = Instant::now() + PATIENCE;
    while zk.children(&format!("{folder}/parties")).await?.0.len() < contest.parties.len() {
        ensure!(Instant::now() < deadline, "not everybody came");
        ensure!(!programs.iter().any(|program| program.is_finished()), "a party left before the beginning");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    zk.create(&format!("{folder}/gate"), b"", CreateMode::Persistent).await?;
    let ours = async {
        for round in 0..contest.rounds {
            contend(contest.recipe, &zk, folder, round).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, ours).await.context("we waited for ever")??;
    for program in programs {
        let text = program.await??;
        ensure!(!text.contains("FAIL"), "{}", text.trim());
    }
    check_log(contest, &zk, folder).await
}

/// Runs a program to its end, for at most so long, and returns what it printed.
fn output(mut command: Command) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("a party")?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("a party came to no end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a party ended with {}:\n{errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn contend(recipe: &str, zk: &Coordinator, folder: &str, round: usize) -> Result<()> {
    let path = format!("{folder}/contended");
    let log = format!("{folder}/log/e-");
    match recipe {
        "lock" | "lock-curator" => {
            let guard = zk.lock(&path).data("rust").acquire().await?;
            inside(zk, folder, "w", 1, &guard.path()).await?;
            guard.release().await?;
        }
        "rw-lock" | "rw-lock-curator" => {
            let lock = zk.rw_lock(&path);
            let (kind, guard) =
                if round.is_multiple_of(3) { ("w", lock.write().await?) } else { ("r", lock.read().await?) };
            inside(zk, folder, kind, 1, &guard.path()).await?;
            guard.release().await?;
        }
        "semaphore" => {
            let lease = zk.semaphore(&path, 2).acquire().await?;
            inside(zk, folder, "w", 2, &lease.path()).await?;
            lease.release().await?;
        }
        "latch" => {
            let latch = zk.leader_latch(&path, "rust");
            latch.leadership().await?;
            inside(zk, folder, "w", 1, "").await?;
            latch.close().await?;
        }
        "double-barrier" => {
            let barrier = zk.double_barrier(&format!("{folder}/meeting-{round}"), 3);
            zk.create(&format!("{folder}/arrived-{round}/"), b"", CreateMode::PersistentSequential).await?;
            barrier.enter().await?;
            let arrived = zk.children(&format!("{folder}/arrived-{round}")).await?.0.len();
            ensure!(arrived == 3, "entered when {arrived} had come");
            barrier.leave().await?;
            zk.create(&log, b"rust", CreateMode::PersistentSequential).await?;
        }
        "count" => {
            zk.atomic_long(&format!("{folder}/number")).add(3).await?;
            let count = zk.shared_count(&format!("{folder}/count"));
            loop {
                let old = count.get().await?;
                let (number, version) = old.map_or((0, None), |(number, version)| (number, Some(version)));
                if count.set_if(number + 1, version).await? {
                    break;
                }
            }
            zk.create(&log, b"rust", CreateMode::PersistentSequential).await?;
        }
        "discovery" => {
            let services = zk.service_discovery(&format!("{folder}/services"));
            let mine = ServiceInstance { id: "r".to_owned(), ..ServiceInstance::new("rust", "10.0.0.2", 81) };
            let registration = services.register(&mine).await?;
            let other = loop {
                if let Some(other) = services.instances("java").await?.pop() {
                    break other;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            ensure!(
                other.address.as_deref() == Some("10.0.0.1") && other.port == Some(80),
                "found {other:?}"
            );
            zk.create(&log, b"rust", CreateMode::PersistentSequential).await?;
            while zk.children(&format!("{folder}/log")).await?.0.len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            registration.unregister().await?;
        }
        "delay-queue" => {
            let out = zk.delay_queue(&format!("{folder}/to-java"));
            let now = ms_since_1970();
            for delay in [600, 0, 300] {
                let due = now + delay;
                out.put_at(due.to_string().as_bytes(), UNIX_EPOCH + Duration::from_millis(due)).await?;
            }
            let (queue, mut last) = (zk.delay_queue(&format!("{folder}/to-rust")), 0);
            for _ in 0..3 {
                let element = queue.take().await?.concat();
                let (due, now): (u64, _) = (std::str::from_utf8(&element)?.parse()?, ms_since_1970());
                ensure!(last <= due && due <= now, "got what is due at {due} after {last}, at {now}");
                last = due;
            }
            zk.create(&log, b"rust", CreateMode::PersistentSequential).await?;
        }
        "id-queue" => {
            let out = zk.id_queue(&format!("{folder}/to-java"));
            for (element, id) in [("first", "a"), ("second", "b/2"), ("third", "a")] {
                out.put(element.as_bytes(), id).await?;
            }
            let incoming = format!("{folder}/to-rust");
            while zk.children(&incoming).await.map_or(0, |(names, _)| names.len()) < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let queue = zk.id_queue(&incoming);
            let (removed, rest) = (queue.remove("a").await?, queue.take().await?.concat());
            ensure!((removed, &rest[..]) == (2, b"second"), "{removed} taken back, then {rest:?}");
            zk.create(&log, b"rust", CreateMode::PersistentSequential).await?;
        }
        other => bail!("nobody knows how to contend for {other}"),
    }
    Ok(())
}

fn ms_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Leaves a trace while we are inside, and looks whether more are there than may be.
async fn inside(zk: &Coordinator, folder: &str, kind: &str, most: usize, node: &str) -> Result<()> {
    let trace = format!("{folder}/inside/{kind}-");
    let mine = zk.create(&trace, b"rust", CreateMode::EphemeralSequential).await?.path;
    let names = zk.children(&format!("{folder}/inside")).await?.0;
    let a_writer = names.iter().any(|name| name.starts_with("w-"));
    ensure!(names.len() <= most || !a_writer, "too many inside: {names:?}");
    let line = format!("rust {kind} {}", &node[node.len().saturating_sub(10)..]);
    zk.create(&format!("{folder}/log/e-"), line.as_bytes(), CreateMode::PersistentSequential).await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    zk.delete(&mine, None).await?;
    Ok(())
}

/// Everybody got as often what was contended for, and in the order in which they came.
async fn check_log(contest: &Contest, zk: &Coordinator, folder: &str) -> Result<()> {
    let mut names = zk.children(&format!("{folder}/log")).await?.0;
    names.sort();
    let parties = contest.parties.len() + 1;
    ensure!(names.len() == contest.rounds * parties, "{} entries of {parties} parties", names.len());
    let mut last = String::new();
    for name in &names {
        let (data, _) = zk.get(&format!("{folder}/log/{name}")).await?;
        let line = String::from_utf8_lossy(&data).into_owned();
        let digits = line.rsplit(' ').next().unwrap_or_default().to_owned();
        if contest.in_order {
            ensure!(digits.len() == 10 && digits > last, "{line} comes after {last}");
        }
        last = digits;
    }
    if contest.recipe == "count" {
        let total = (contest.rounds * parties) as i64;
        let number = zk.atomic_long(&format!("{folder}/number")).get().await?;
        ensure!(number == 3 * total, "the number is {number} after {total} additions of 3");
        let count =
            zk.shared_count(&format!("{folder}/count")).get().await?.map(|(count, _)| i64::from(count));
        ensure!(count == Some(total), "the count is {count:?} after {total} steps");
    }
    Ok(())
}
