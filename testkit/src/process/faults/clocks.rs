//! Wall clocks that jump: of one member at a time, as its operator, its hypervisor or a broken time server would set them.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::client::{Answer, Roamer, code};
use super::nemesis::{Arena, Fault, Who};
use crate::process::server::Server;
use crate::raw::{Body, Connection, Fields, Hello, op};

/// Faults of wall clocks, for ensembles whose members have their own.
pub(super) const CLOCK_FAULTS: &[Fault] = &[
    Fault { name: "leader's clock jumps", run: |arena| arena.clock_jumps(Who::Leader) },
    Fault { name: "follower's clock jumps", run: |arena| arena.clock_jumps(Who::Follower) },
];

const HOURS: i64 = 3600;
const EPHEMERAL: i32 = 1;

/// How wrong the clock is after each jump, in seconds: forward, back past the truth, right again.
const JUMPS: [i64; 3] = [5 * HOURS, -7 * HOURS, 0];

/// How long each of them lasts.
const STAY: Duration = Duration::from_secs(4);

/// A clock that is wrong by hours is told from one that is right, however slow the machine is.
const TOLERANCE_MS: i64 = 600_000;

/// The sessions that are watched are over after such a silence.
const TIMEOUT: Duration = Duration::from_secs(6);

/// What becomes of a silent session is rounded up to two ticks, and the machine may be busy.
const LATEST_END: Duration = Duration::from_secs(20);

impl Arena {
    /// Two sessions are there meanwhile: one that asks all the time must be kept, one that is silent must end when it is
    /// due. Times in stats are those of the leader's clock, right or wrong.
    fn clock_jumps(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        let member = self.ensemble.member(index);
        let path = format!("/clock-{}", self.field.now_us());
        let mut busy = Witness::new(member.address(), path.clone())?;
        let mut silent = None;
        for seconds in JUMPS {
            member.shift_clock(seconds)?;
            let told = if matches!(who, Who::Leader) { seconds } else { 0 };
            ensure_wrong_by(seconds, clock_of(member)?, "the member's clock")?;
            ensure_wrong_by(told, busy.write()?, "a write's time")?;
            if silent.is_none() {
                let witness = Witness::new(member.address(), format!("{path}-silent"))?;
                silent = Some((witness, Instant::now()));
            }
            let end = Instant::now() + STAY;
            while Instant::now() < end {
                busy.write()?;
                if let Some((witness, since)) = &silent {
                    let is_due = since.elapsed() >= TIMEOUT;
                    ensure!(is_due || busy.sees(&witness.path)?, "C10 a silent session ended early");
                }
                self.wait(0.2)?;
            }
        }
        let (witness, since) = silent.context("the first jump has begun it")?;
        while busy.sees(&witness.path)? {
            ensure!(since.elapsed() < LATEST_END, "C10 a silent session does not end");
            self.wait(0.2)?;
        }
        busy.leave()
    }
}

fn ensure_wrong_by(seconds: i64, shown_ms: i64, what: &str) -> Result<()> {
    let wrong_ms = shown_ms - now_ms();
    ensure!((wrong_ms - seconds * 1000).abs() < TOLERANCE_MS, "{what} is {wrong_ms} ms off, not {seconds} s");
    Ok(())
}

/// The time of this machine, in milliseconds since 1970.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// What the member's clock shows: the time at which it took a new connection, as it lists them itself.
fn clock_of(member: &Server) -> Result<i64> {
    let (_connection, welcome) = Connection::session(member.address(), &Hello::default())?;
    let list = member.four_letter("cons")?;
    let sid = format!("sid={:#x},", welcome.session);
    let line = list.lines().find(|line| line.contains(&sid)).context("the connection is in no list")?;
    let shown = line.split(',').find_map(|field| field.strip_prefix("est=")).context("no time")?;
    Ok(shown.parse()?)
}

/// A client of one member whose ephemeral znode tells whether its session lives.
struct Witness {
    client: Roamer,
    path: String,
}

/// How long a witness asks again when its member does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Witness {
    fn new(address: SocketAddr, path: String) -> Result<Witness> {
        let mut witness = Witness { client: Roamer::new(&[address], TIMEOUT, 1), path };
        let record = Body::new().create(&witness.path, b"", EPHEMERAL);
        match witness.answer(op::CREATE, &record)? {
            Answer::Refused { code, .. } if code != code::NODE_EXISTS => bail!("no ephemeral: {code}"),
            _ => Ok(witness),
        }
    }

    /// Writes to its own znode, and returns when that was, as the service has it.
    fn write(&mut self) -> Result<i64> {
        let record = Body::new().bytes(&self.path).bytes("").int(-1);
        let answer = self.answer(op::SET_DATA, &record)?;
        let Answer::Done { body, .. } = answer else { bail!("C10 a busy session's znode: {answer:?}") };
        let mut stat = Fields(&body);
        let (_czxid, _mzxid, _ctime, mtime) = (stat.long()?, stat.long()?, stat.long()?, stat.long()?);
        Ok(mtime)
    }

    /// Whether another one's znode is there.
    fn sees(&mut self, other: &str) -> Result<bool> {
        let answer = self.answer(op::EXISTS, &Body::new().bytes(other).bool(false))?;
        Ok(matches!(answer, Answer::Done { .. }))
    }

    /// Its session is over for good reasons.
    fn leave(mut self) -> Result<()> {
        let record = Body::new().bytes(&self.path).int(-1);
        self.answer(op::DELETE, &record).map(drop)
    }

    fn answer(&mut self, opcode: i32, record: &Body) -> Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.call(opcode, record);
            ensure!(self.client.sessions <= 1, "C10 a busy session ended");
            match answer {
                Answer::Unknown | Answer::NotSent => {}
                Answer::Refused { code: code::SESSION_EXPIRED | code::SESSION_MOVED, .. } => {}
                answer => return Ok(answer),
            }
            ensure!(Instant::now() < deadline, "no answer for {PATIENCE:?}");
        }
    }
}
