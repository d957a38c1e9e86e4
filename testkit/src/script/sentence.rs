//! The language of stories.

use coordinator::zab::MemberId;

use crate::sim::zab::Beginning;

/// What is so before the story begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Members(Vec<MemberId>),
    Observers(Vec<MemberId>),
    Weight(MemberId, u32),
    Beginning(Beginning),
    Window(usize),
    Flight(usize),
    EpochsEndAt(u32),
    Pieces(u64),
    Spares(u64),
    ReadsLogs,
    SnapshotEvery(u64),
}

/// What happens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    /// None stands for all.
    Start(Vec<MemberId>),
    Crash {
        id: MemberId,
        power: bool,
    },
    Wipe(MemberId),
    Freeze {
        id: MemberId,
        us: u64,
    },
    HoldDisk {
        id: MemberId,
        jobs: u64,
    },
    ReleaseDisk(MemberId),
    FailSync(MemberId),
    Block {
        from: MemberId,
        to: MemberId,
        block: bool,
    },
    Isolate {
        id: MemberId,
        block: bool,
    },
    Cut(MemberId, MemberId),
    CutAfter {
        from: MemberId,
        to: MemberId,
        messages: u64,
    },
    SpoilPieces(u64),
    SpoilMemory(MemberId),
    Ask {
        id: MemberId,
        times: u64,
    },
    AskWhetherItLeads(MemberId),
    HandOver(MemberId),
    Change {
        voters: Vec<MemberId>,
        observers: Vec<MemberId>,
    },
    Wait(u64),
    Until(That),
    Expect(That),
}

/// What can be true.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum That {
    Leads { id: MemberId, epoch: Option<u32> },
    Follows { id: MemberId, leader: MemberId },
    Observes { id: MemberId, leader: MemberId },
    Looks(MemberId),
    IsDown(MemberId),
    SomebodyLeads(bool),
    AllServe,
    Executed { id: MemberId, count: usize },
    AllExecuted(usize),
    StoredAll(MemberId),
    Agreed(usize),
    Epochs { id: MemberId, accepted: u32, current: u32 },
    IsSure { id: MemberId, sure: bool },
    Reached { mark: String, reached: bool },
}

fn number<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn member(word: &str) -> Option<MemberId> {
    number(word).map(MemberId)
}

fn members(words: &[&str]) -> Option<Vec<MemberId>> {
    words.iter().map(|word| member(word)).collect()
}

pub(super) fn parse_scene(line: &str) -> Option<Scene> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(match words[..] {
        ["members", ref ids @ ..] => Scene::Members(members(ids)?),
        ["observers", ref ids @ ..] => Scene::Observers(members(ids)?),
        ["weight", id, "is", weight] => Scene::Weight(member(id)?, number(weight)?),
        ["begin", "at", "epoch", epoch, "entry", counter] => {
            Scene::Beginning(Beginning::Snapshot { epoch: number(epoch)?, counter: number(counter)? })
        }
        ["window", entries, "entries"] => Scene::Window(number(entries)?),
        ["flight", bytes, "bytes"] => Scene::Flight(number(bytes)?),
        ["epochs", "end", "at", counter] => Scene::EpochsEndAt(number(counter)?),
        ["and", spares, "more", "processes"] => Scene::Spares(number(spares)?),
        ["snapshot", "every", entries, "entries"] => Scene::SnapshotEvery(number(entries)?),
        ["logs", "are", "worth", "reading"] => Scene::ReadsLogs,
        ["snapshots", "of", pieces, "pieces"] => Scene::Pieces(number(pieces)?),
        _ => return None,
    })
}

pub(super) fn parse_sentence(line: &str) -> Option<Sentence> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(match words[..] {
        ["start", "all"] => Sentence::Start(Vec::new()),
        ["start", ref ids @ ..] if !ids.is_empty() => Sentence::Start(members(ids)?),
        ["kill", id] => Sentence::Crash { id: member(id)?, power: false },
        ["power", "cut", id] => Sentence::Crash { id: member(id)?, power: true },
        ["wipe", id] => Sentence::Wipe(member(id)?),
        ["freeze", id, "for", ms, "ms"] => {
            Sentence::Freeze { id: member(id)?, us: number::<u64>(ms)? * 1000 }
        }
        ["hold", "disk", "of", id] => Sentence::HoldDisk { id: member(id)?, jobs: 0 },
        ["hold", "disk", "of", id, "after", jobs, "jobs"] => {
            Sentence::HoldDisk { id: member(id)?, jobs: number(jobs)? }
        }
        ["release", "disk", "of", id] => Sentence::ReleaseDisk(member(id)?),
        ["fail", "sync", "of", id] => Sentence::FailSync(member(id)?),
        ["block", from, "->", to] => Sentence::Block { from: member(from)?, to: member(to)?, block: true },
        ["unblock", from, "->", to] => Sentence::Block { from: member(from)?, to: member(to)?, block: false },
        ["isolate", id] => Sentence::Isolate { id: member(id)?, block: true },
        ["rejoin", id] => Sentence::Isolate { id: member(id)?, block: false },
        ["cut", one, other] => Sentence::Cut(member(one)?, member(other)?),
        ["cut", from, "->", to, "after", messages, "messages"] => {
            Sentence::CutAfter { from: member(from)?, to: member(to)?, messages: number(messages)? }
        }
        ["spoil", pieces, "pieces"] => Sentence::SpoilPieces(number(pieces)?),
        ["spoil", "memory", "of", id] => Sentence::SpoilMemory(member(id)?),
        ["ask", "whether", id, "leads"] => Sentence::AskWhetherItLeads(member(id)?),
        ["ask", id] => Sentence::Ask { id: member(id)?, times: 1 },
        ["ask", id, times, "times"] => Sentence::Ask { id: member(id)?, times: number(times)? },
        ["change", "members", "to", ref ids @ ..] => {
            let mut sets = ids.split(|word| *word == "observers");
            let voters = members(sets.next()?)?;
            Sentence::Change { voters, observers: members(sets.next().unwrap_or_default())? }
        }
        ["hand", "over", id] => Sentence::HandOver(member(id)?),
        ["wait", ms, "ms"] => Sentence::Wait(number::<u64>(ms)? * 1000),
        ["wait", us, "us"] => Sentence::Wait(number(us)?),
        ["until", ref that @ ..] => Sentence::Until(parse_that(that)?),
        ["expect", ref that @ ..] => Sentence::Expect(parse_that(that)?),
        _ => return None,
    })
}

fn parse_that(words: &[&str]) -> Option<That> {
    Some(match words {
        ["nobody", "leads"] => That::SomebodyLeads(false),
        ["somebody", "leads"] => That::SomebodyLeads(true),
        [id, "leads"] => That::Leads { id: member(id)?, epoch: None },
        [id, "leads", "epoch", epoch] => That::Leads { id: member(id)?, epoch: Some(number(epoch)?) },
        [id, "follows", leader] => That::Follows { id: member(id)?, leader: member(leader)? },
        [id, "observes", leader] => That::Observes { id: member(id)?, leader: member(leader)? },
        [id, "looks"] => That::Looks(member(id)?),
        [id, "is", "down"] => That::IsDown(member(id)?),
        [id, "is", "sure"] => That::IsSure { id: member(id)?, sure: true },
        [id, "is", "unsure"] => That::IsSure { id: member(id)?, sure: false },
        ["all", "serve"] => That::AllServe,
        ["all", "executed", count] => That::AllExecuted(number(count)?),
        [id, "executed", count] => That::Executed { id: member(id)?, count: number(count)? },
        [id, "stored", "all"] => That::StoredAll(member(id)?),
        [count, "agreed"] => That::Agreed(number(count)?),
        ["epochs", "of", id, "are", accepted, current] => {
            That::Epochs { id: member(id)?, accepted: number(accepted)?, current: number(current)? }
        }
        ["reached", words @ ..] => That::Reached { mark: words.join(" "), reached: true },
        ["not", "reached", words @ ..] => That::Reached { mark: words.join(" "), reached: false },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_understood_or_not() {
        assert_eq!(
            parse_sentence("hold disk of 2 after 3 jobs"),
            Some(Sentence::HoldDisk { id: MemberId(2), jobs: 3 })
        );
        assert_eq!(
            parse_sentence("until 3 leads epoch 2"),
            Some(Sentence::Until(That::Leads { id: MemberId(3), epoch: Some(2) }))
        );
        assert_eq!(parse_sentence("until 3 dances"), None);
        assert_eq!(parse_sentence("start"), None);
        assert_eq!(parse_scene("start all"), None);
        assert_eq!(parse_scene("window 4 entries"), Some(Scene::Window(4)));
    }
}
