//! Golden scripts: stories about an ensemble that are read line by line, and have to come true.
//!
//! A line is a sentence; what follows `#` is for people. The words:
//!
//! ```text
//! members 1 2 3                    who there is; before everything else. So are:
//!   observers 4 · weight 1 is 0 · begin at epoch 2 entry 5 · window 4 entries · flight 100 bytes
//!   epochs end at 9 · snapshots of 6 pieces · snapshot every 3 entries
//!   logs are worth reading · and 2 more processes (members later, perhaps)
//! each N from 0 to 30              the whole story is told once for each number, which takes the place of `N`
//!
//! start 1 2 3 · start all          processes start
//! kill 2 · power cut 2 · wipe 2    a process dies; a machine does, and what was not synced with it; and its disk is lost
//! freeze 3 for 2000 ms             a process stands still
//! hold disk of 2 [after N jobs]    its log does no more, or N more things · release disk of 2
//! fail sync of 2                   the next one fails, and the process ends
//! block 1 -> 2 · unblock 1 -> 2    one direction · isolate 3 · rejoin 3
//! cut 1 2 · cut 1 -> 2 after N messages
//! spoil N pieces · spoil memory of 2
//! ask 2 [N times]                  clients of a member ask for something
//! ask whether 3 leads · hand over 3
//! change members to 1 2 [observers 3]
//! wait 500 ms
//! until THAT                       time passes; it must become true within 30 s
//! expect THAT                      it must be true now
//! ```
//!
//! THAT is one of: `3 leads [epoch 2]` · `2 follows 3` · `4 observes 3` · `2 looks` · `2 is down` · `nobody leads` ·
//! `somebody leads` · `all serve` · `2 executed 5` · `all executed 5` · `2 stored all` · `5 agreed` · `epochs of 2 are 3 1` ·
//! `3 is sure` · `3 is unsure` · `reached WORDS` · `not reached WORDS`. All promises of `check::zab` hold besides.

mod sentence;

use std::fmt;

use coordinator::zab::{Membership, Standing, Voter};

use self::sentence::{Scene, Sentence, That, parse_scene, parse_sentence};
use crate::check::service::Violation;
use crate::sim::zab::{Configuration, Stage};

/// A story that did not come true, or cannot be understood.
#[derive(Debug)]
pub struct StoryError {
    pub line: usize,
    pub text: String,
    pub what: String,
    /// What happened last.
    pub events: Vec<String>,
}

impl fmt::Display for StoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoryError { line, text, what, events } = self;
        events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        write!(f, "line {line}, `{text}`: {what}")
    }
}

/// How long `until` waits.
const PATIENCE_US: u64 = 30_000_000;

/// Tells a story, as often as it wants to be told.
pub fn tell(text: &str) -> Result<(), StoryError> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let each = lines.iter().find_map(|(_, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["each", name, "from", first, "to", last] => {
                Some((name, first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
            }
            _ => None,
        }
    });
    let lines = || lines.iter().filter(|(_, line)| !line.starts_with("each "));
    match each {
        None => tell_once(lines().map(|(number, line)| (*number, (*line).to_owned()))),
        Some((name, first, last)) => (first..=last).try_for_each(|value| {
            let value = value.to_string();
            let said = |line: &str| {
                let words = line.split_whitespace().map(|word| if word == name { &value } else { word });
                words.collect::<Vec<_>>().join(" ")
            };
            tell_once(lines().map(|(number, line)| (*number, said(line))))
        }),
    }
}

fn tell_once(lines: impl Iterator<Item = (usize, String)>) -> Result<(), StoryError> {
    let mut configuration = Configuration::calm(Membership::default());
    let mut stage = None;
    for (line, text) in lines {
        let told = match (&mut stage, parse_scene(&text)) {
            (None, Some(scene)) => {
                set(&mut configuration, scene);
                continue;
            }
            (Some(_), Some(_)) => Err(wrong("this has to come before the story begins")),
            (None, None) => play(stage.insert(Stage::new(configuration.clone())), &text),
            (Some(stage), None) => play(stage, &text),
        };
        told.map_err(|violation| StoryError {
            line,
            text,
            what: format!("{}: {}", violation.invariant, violation.what),
            events: stage.iter().flat_map(|stage| stage.events().cloned()).collect(),
        })?;
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> Violation {
    Violation { invariant: "story", what: what.into() }
}

fn set(configuration: &mut Configuration, scene: Scene) {
    let membership = &mut configuration.membership;
    match scene {
        Scene::Members(ids) => membership.voters = ids.into_iter().map(|id| (id, Voter::default())).collect(),
        Scene::Observers(ids) => membership.observers = ids.into_iter().collect(),
        Scene::Weight(id, weight) => {
            membership.voters.entry(id).or_default().weight = weight;
        }
        Scene::Beginning(beginning) => configuration.beginning = beginning,
        Scene::Window(entries) => configuration.window_entries = entries,
        Scene::Flight(bytes) => configuration.flight_bytes = bytes,
        Scene::EpochsEndAt(counter) => configuration.counter_max = counter,
        Scene::Spares(spares) => configuration.spares = spares,
        Scene::SnapshotEvery(entries) => configuration.snapshot_every = entries,
        Scene::ReadsLogs => configuration.log_odds = 4,
        Scene::Pieces(pieces) => configuration.pieces = pieces,
    }
}

fn play(stage: &mut Stage, text: &str) -> Result<(), Violation> {
    let all: Vec<_> = stage.members().collect();
    match parse_sentence(text).ok_or_else(|| wrong("nobody understands that"))? {
        Sentence::Start(ids) => {
            let ids = if ids.is_empty() { all } else { ids };
            ids.into_iter().try_for_each(|id| stage.start(id))
        }
        Sentence::Crash { id, power } => stage.crash(id, power),
        Sentence::Wipe(id) => stage.wipe(id),
        Sentence::Freeze { id, us } => stage.freeze(id, us),
        Sentence::HoldDisk { id, jobs } => stage.hold_disk(id, Some(jobs)),
        Sentence::ReleaseDisk(id) => stage.hold_disk(id, None),
        Sentence::FailSync(id) => stage.fail_sync(id),
        Sentence::Block { from, to, block } => stage.block(from, to, block),
        Sentence::Isolate { id, block } => {
            all.into_iter().filter(|other| *other != id).try_for_each(|other| {
                stage.block(id, other, block)?;
                stage.block(other, id, block)
            })
        }
        Sentence::Cut(one, other) => stage.cut(one, other),
        Sentence::CutAfter { from, to, messages } => stage.cut_in(from, to, messages),
        Sentence::SpoilPieces(pieces) => {
            stage.spoil_pieces(pieces);
            Ok(())
        }
        Sentence::SpoilMemory(id) => stage.spoil_memory(id),
        Sentence::Ask { id, times } => stage.ask(id, times),
        Sentence::AskWhetherItLeads(id) => stage.ask_whether_it_leads(id),
        Sentence::Change { voters, observers } => stage.change(voters, observers),
        Sentence::HandOver(id) => stage.hand_over(id),
        Sentence::Wait(us) => stage.run_until(us, |_| false).map(drop),
        Sentence::Until(that) => match stage.run_until(PATIENCE_US, |stage| is_true(stage, &that))? {
            true => Ok(()),
            false => Err(wrong(format!("it never happened; {}", describe(stage)))),
        },
        Sentence::Expect(that) => match is_true(stage, &that) {
            true => Ok(()),
            false => Err(wrong(format!("it is not so; {}", describe(stage)))),
        },
    }
}

fn is_true(stage: &Stage, that: &That) -> bool {
    let all = || stage.members();
    match that {
        That::Leads { id, epoch } => match stage.standing(*id) {
            Some(Standing::Leading { epoch: led }) => epoch.is_none_or(|epoch| epoch == led),
            _ => false,
        },
        That::Follows { id, leader } => {
            matches!(stage.standing(*id), Some(Standing::Following { leader: of, .. }) if of == *leader)
        }
        That::Observes { id, leader } => {
            matches!(stage.standing(*id), Some(Standing::Observing { leader: of, .. }) if of == *leader)
        }
        That::Looks(id) => stage.standing(*id) == Some(Standing::Looking),
        That::IsDown(id) => stage.standing(*id).is_none(),
        That::SomebodyLeads(expected) => {
            *expected == all().any(|id| matches!(stage.standing(id), Some(Standing::Leading { .. })))
        }
        That::AllServe => all().all(|id| stage.standing(id).is_some_and(|it| it != Standing::Looking)),
        That::Executed { id, count } => stage.executed(*id) == *count,
        That::AllExecuted(count) => all().all(|id| stage.executed(id) == *count),
        That::StoredAll(id) => all().all(|other| stage.synced(*id) >= stage.synced(other)),
        That::Agreed(count) => stage.agreed() == *count,
        That::Epochs { id, accepted, current } => {
            let epochs = stage.epochs(*id);
            (epochs.accepted, epochs.current) == (*accepted, *current)
        }
        That::IsSure { id, sure } => *sure == (stage.open_questions(*id) == 0),
        That::Reached { mark, reached } => stage.reached(mark) == *reached,
    }
}

fn describe(stage: &Stage) -> String {
    let members = stage.members().map(|id| {
        let (standing, epochs) = (stage.standing(id), stage.epochs(id));
        format!(
            "{id}: {standing:?}, {epochs:?}, stored {}, executed {}",
            stage.synced(id),
            stage.executed(id)
        )
    });
    let members: Vec<String> = members.collect();
    format!("at {} us, {} agreed; {}", stage.now_us(), stage.agreed(), members.join("; "))
}
