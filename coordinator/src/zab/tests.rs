//! Small ensembles with a perfect network and a disk that is done at once; the simulator does the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::*;

struct Server {
    replica: Replica,
    epochs: Epochs,
    log: Vec<Entry>,
    before: Zxid,
    executed: Vec<(Zxid, Bytes)>,
    standing: Standing,
    confirmed: u64,
    letters: Vec<Bytes>,
    receiving: Vec<Bytes>,
    log_at: Zxid,
}

struct Ensemble {
    now: u64,
    members: Membership,
    servers: BTreeMap<MemberId, Server>,
    wire: VecDeque<(MemberId, MemberId, Message)>,
    cut: BTreeSet<(MemberId, MemberId)>,
    settings: fn(Settings) -> Settings,
    lives: u64,
    reads_logs: bool,
    read_from_logs: usize,
}

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);
const THREE: MemberId = MemberId(3);

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn digest(executed: &[(Zxid, Bytes)]) -> u64 {
    executed.iter().fold(7, |hash, (zxid, bytes)| {
        bytes.iter().fold(hash ^ zxid.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
    })
}

impl Ensemble {
    fn new(members: Membership, settings: fn(Settings) -> Settings) -> Ensemble {
        Ensemble {
            now: 0,
            members,
            servers: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            settings,
            lives: 0,
            reads_logs: false,
            read_from_logs: 0,
        }
    }

    fn three() -> Ensemble {
        let mut ensemble = Ensemble::new(Membership::of_voters([ONE, TWO, THREE]), |settings| settings);
        ensemble.start_three();
        ensemble
    }

    fn start_three(&mut self) {
        for id in [ONE, TWO, THREE] {
            self.start(id, Epochs::default(), Vec::new());
        }
        self.run(500);
    }

    /// The two others, as they were after the first election.
    fn start_three_but(&mut self, one: MemberId) {
        for id in [ONE, TWO, THREE].into_iter().filter(|id| *id != one) {
            self.start(id, Epochs { accepted: 1, current: 1, complete: true }, Vec::new());
        }
        self.run(500);
    }

    fn start(&mut self, id: MemberId, epochs: Epochs, log: Vec<Entry>) {
        self.lives += 1;
        let settings = (self.settings)(Settings::new(id, self.members.clone()));
        let persistent =
            Persistent { epochs, before: Zxid::ZERO, recent: log.clone(), ..Persistent::default() };
        let replica = Replica::new(settings, persistent, self.lives << 32, self.now);
        let executed: Vec<_> = log.iter().map(|entry| (entry.zxid, entry.bytes.clone())).collect();
        let server = Server {
            replica,
            epochs,
            log,
            before: Zxid::ZERO,
            executed,
            standing: Standing::Looking,
            confirmed: 0,
            letters: Vec::new(),
            receiving: Vec::new(),
            log_at: Zxid::ZERO,
        };
        self.servers.insert(id, server);
        let others: Vec<MemberId> = self.servers.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.input(id, Input::LinkUp(other));
            self.input(other, Input::LinkUp(id));
        }
    }

    fn kill(&mut self, id: MemberId) -> Server {
        let server = self.servers.remove(&id).unwrap();
        self.wire.retain(|(from, to, _)| *from != id && *to != id);
        let others: Vec<MemberId> = self.servers.keys().copied().collect();
        others.into_iter().for_each(|other| self.input(other, Input::LinkDown(id)));
        server
    }

    fn restart(&mut self, server: Server) {
        let id = server.replica.id();
        self.start(id, server.epochs, server.log);
    }

    fn input(&mut self, id: MemberId, input: Input) {
        let mut out = Vec::new();
        let now = self.now;
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.replica.step(now, input, &mut out);
        server.replica.flush(now, &mut out);
        self.carry_out(id, out);
    }

    fn propose(&mut self, id: MemberId, text: &str) -> Option<Zxid> {
        let mut out = Vec::new();
        let now = self.now;
        let server = self.servers.get_mut(&id).unwrap();
        let zxid = server.replica.propose(now, id, 0, body(text), &mut out);
        server.replica.flush(now, &mut out);
        self.carry_out(id, out);
        zxid
    }

    fn carry_out(&mut self, id: MemberId, effects: Vec<Effect>) {
        for effect in effects {
            let server = self.servers.get_mut(&id).unwrap();
            let then = match effect {
                Effect::Send(to, message) => {
                    let copy = Message::decode(&message.encode()).unwrap();
                    assert_eq!(copy, message);
                    if !self.cut.contains(&(id, to)) {
                        self.wire.push_back((id, to, copy));
                    }
                    None
                }
                Effect::Append(entry) => {
                    server.log.push(entry.clone());
                    Some(Input::Durable(entry.zxid))
                }
                Effect::SaveEpochs(epochs) => {
                    assert!(epochs.accepted >= epochs.current);
                    assert!(epochs.accepted >= server.epochs.accepted);
                    assert!(epochs.current >= server.epochs.current);
                    server.epochs = epochs;
                    Some(Input::EpochsSaved(epochs))
                }
                Effect::Truncate(zxid) => {
                    let done = zxid == server.before || server.log.iter().any(|entry| entry.zxid == zxid);
                    if done {
                        server.log.retain(|entry| entry.zxid <= zxid);
                        server.executed.retain(|(at, _)| *at <= zxid);
                    }
                    Some(Input::Truncated { zxid, done })
                }
                Effect::OpenSnapshot { learner, attempt, at_least } => {
                    let zxid = server.executed.last().map(|(zxid, _)| *zxid).filter(|zxid| *zxid >= at_least);
                    let file_bytes = server.executed.len() as u64;
                    let snapshot = zxid.map(|zxid| SnapshotRef { zxid: zxid.0, file_bytes, crc: 0 });
                    Some(Input::SnapshotOpened { learner, attempt, snapshot })
                }
                Effect::ReadPiece { learner, attempt, index } => {
                    let (zxid, bytes) = server.executed[index as usize].clone();
                    let bytes = Some(Bytes::from([&zxid.0.to_be_bytes()[..], &bytes].concat()));
                    Some(Input::PieceRead { learner, attempt, index, bytes })
                }
                Effect::OpenLog { learner, attempt, after } => {
                    let reaches = self.reads_logs && after >= server.before;
                    let floor = server.log.iter().map(|entry| entry.zxid).filter(|zxid| *zxid <= after).max();
                    server.log_at = floor.unwrap_or(server.before);
                    let after = reaches.then_some(server.log_at);
                    Some(Input::LogOpened { learner, attempt, after })
                }
                Effect::ReadLog { learner, attempt, up_to } => {
                    let (from, log) = (server.log_at, server.log.iter());
                    let next = log.filter(|entry| entry.zxid > from && entry.zxid <= up_to);
                    let entries: Vec<Entry> = next.take(3).cloned().collect();
                    server.log_at = entries.last().map_or(from, |entry| entry.zxid);
                    self.read_from_logs += entries.len();
                    Some(Input::LogRead { learner, attempt, entries: Some(entries) })
                }
                Effect::CloseSource { .. } | Effect::ResetLink(_) => None,
                Effect::Receive(snapshot) => {
                    server.receiving.clear();
                    Some(Input::Receiving { snapshot, next: 0 })
                }
                Effect::WritePiece { snapshot, index, bytes } => {
                    server.receiving.push(bytes);
                    Some(if index + 1 == snapshot.file_bytes {
                        Input::Received { snapshot, done: true }
                    } else {
                        Input::Receiving { snapshot, next: index + 1 }
                    })
                }
                Effect::Replace(zxid) => {
                    let pair = |piece: &Bytes| {
                        let zxid = u64::from_be_bytes(*piece.first_chunk().unwrap());
                        (Zxid(zxid), piece.slice(8..))
                    };
                    server.executed = server.receiving.iter().map(pair).collect();
                    server.log.clear();
                    server.before = zxid;
                    Some(Input::Replaced { zxid })
                }
                Effect::Deliver(entry) => {
                    server.executed.push((entry.zxid, entry.bytes));
                    let digest = digest(&server.executed);
                    Some(Input::Executed { zxid: entry.zxid, digest })
                }
                Effect::Stand(standing) => {
                    server.standing = standing;
                    None
                }
                Effect::Confirmed { ticket } => {
                    server.confirmed = ticket;
                    None
                }
                Effect::Letter { body, .. } => {
                    server.letters.push(body);
                    None
                }
                Effect::Diverged { .. } => None,
            };
            if let Some(input) = then {
                self.input(id, input);
            }
        }
    }

    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 10 {
            while let Some((from, to, message)) = self.wire.pop_front() {
                self.input(to, Input::Heard(from, message));
            }
            self.now += 10_000;
            let ids: Vec<MemberId> = self.servers.keys().copied().collect();
            ids.into_iter().for_each(|id| self.input(id, Input::Tick));
        }
    }

    fn leader(&self) -> Option<MemberId> {
        let leads = |(id, server): (&MemberId, &Server)| match server.standing {
            Standing::Leading { .. } => Some(*id),
            _ => None,
        };
        let leaders: Vec<MemberId> = self.servers.iter().filter_map(leads).collect();
        assert!(leaders.len() <= 1, "{leaders:?} lead");
        leaders.first().copied()
    }

    fn texts(&self, id: MemberId) -> Vec<String> {
        let texts = self.servers[&id].executed.iter();
        texts.map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }

    fn standing(&self, id: MemberId) -> Standing {
        self.servers[&id].standing
    }
}

#[test]
fn three_empty_members_choose_the_last_and_agree() {
    let mut ensemble = Ensemble::three();
    assert_eq!(ensemble.leader(), Some(THREE));
    assert_eq!(ensemble.standing(ONE), Standing::Following { leader: THREE, epoch: 1 });
    assert_eq!(ensemble.propose(THREE, "a"), Some(Zxid(1 << 32 | 1)));
    assert_eq!(ensemble.propose(ONE, "b"), None);
    ensemble.run(100);
    for id in [ONE, TWO, THREE] {
        assert_eq!(ensemble.texts(id), ["a"]);
    }
}

#[test]
fn a_member_alone_leads_itself() {
    let mut ensemble = Ensemble::new(Membership::of_voters([ONE]), |settings| settings);
    ensemble.start(ONE, Epochs::default(), Vec::new());
    ensemble.run(20);
    assert_eq!(ensemble.leader(), Some(ONE));
    ensemble.propose(ONE, "a");
    assert_eq!(ensemble.texts(ONE), ["a"]);
}

#[test]
fn two_of_three_empty_members_wait_for_the_third_before_they_begin() {
    let mut ensemble = Ensemble::new(Membership::of_voters([ONE, TWO, THREE]), |settings| settings);
    ensemble.start(ONE, Epochs::default(), Vec::new());
    ensemble.start(TWO, Epochs::default(), Vec::new());
    ensemble.run(2900);
    assert_eq!(ensemble.leader(), None);
    ensemble.run(700);
    assert_eq!(ensemble.leader(), Some(TWO));
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut ensemble = Ensemble::three();
    ensemble.propose(THREE, "a");
    ensemble.run(50);
    let old = ensemble.kill(THREE);
    ensemble.run(100);
    assert_eq!(ensemble.leader(), Some(TWO));
    assert!(ensemble.propose(TWO, "b").is_some());
    ensemble.run(50);
    ensemble.restart(old);
    ensemble.run(300);
    assert_eq!(ensemble.standing(THREE), Standing::Following { leader: TWO, epoch: 2 });
    assert_eq!(ensemble.texts(THREE), ["a", "b"]);
}

#[test]
fn what_only_a_lost_leader_had_is_cut() {
    let mut ensemble = Ensemble::three();
    ensemble.propose(THREE, "a");
    ensemble.run(50);
    ensemble.cut.extend([(THREE, ONE), (THREE, TWO)]);
    assert!(ensemble.propose(THREE, "lost").is_some());
    let old = ensemble.kill(THREE);
    ensemble.cut.clear();
    assert_eq!(old.log.len(), 2);
    ensemble.run(100);
    ensemble.propose(TWO, "b");
    ensemble.run(50);
    ensemble.restart(old);
    ensemble.run(300);
    assert_eq!(ensemble.texts(THREE), ["a", "b"]);
    assert_eq!(ensemble.servers[&THREE].log.len(), 2);
}

#[test]
fn a_leader_that_hears_nobody_steps_down_and_the_others_go_on() {
    let mut ensemble = Ensemble::three();
    ensemble.cut.extend([(THREE, ONE), (THREE, TWO), (ONE, THREE), (TWO, THREE)]);
    ensemble.run(2500);
    assert_eq!(ensemble.leader(), Some(TWO));
    assert_eq!(ensemble.standing(THREE), Standing::Looking);
    ensemble.propose(TWO, "b");
    ensemble.cut.clear();
    ensemble.run(1500);
    assert_eq!(ensemble.texts(THREE), ["b"]);
}

#[test]
fn a_wiped_member_has_no_voice_until_it_was_brought_up_to_date() {
    let mut ensemble = Ensemble::three();
    let first = ensemble.kill(ONE);
    ensemble.propose(THREE, "a");
    ensemble.run(50);
    let stale = first;
    ensemble.kill(TWO);
    let kept = ensemble.kill(THREE);
    // Two lost its disk. One never saw "a". Together they must not begin without it.
    ensemble.start(TWO, Epochs::default(), Vec::new());
    ensemble.restart(stale);
    ensemble.run(8000);
    assert_eq!(ensemble.leader(), None);
    ensemble.restart(kept);
    ensemble.run(1500);
    assert_eq!(ensemble.leader(), Some(THREE));
    assert_eq!(ensemble.texts(TWO), ["a"]);
    assert_eq!(ensemble.texts(ONE), ["a"]);
    ensemble.kill(THREE);
    ensemble.run(200);
    assert_eq!(ensemble.leader(), Some(TWO), "a member that is in step again has its voice again");
}

#[test]
fn a_member_that_is_far_behind_gets_a_snapshot() {
    let small = |settings| Settings { window_entries: 4, ..settings };
    let mut ensemble = Ensemble::new(Membership::of_voters([ONE, TWO, THREE]), small);
    ensemble.start_three();
    let behind = ensemble.kill(ONE);
    let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
    for text in &texts {
        ensemble.propose(THREE, text);
        ensemble.run(20);
    }
    ensemble.restart(behind);
    ensemble.run(500);
    assert_eq!(ensemble.texts(ONE), texts);
    assert!(ensemble.servers[&ONE].before > Zxid::ZERO);
    ensemble.propose(THREE, "after");
    ensemble.run(50);
    assert_eq!(ensemble.texts(ONE).last().unwrap(), "after");
}

#[test]
fn a_member_that_is_too_far_behind_for_memory_gets_what_it_lacks_from_the_log() {
    let small = |settings| Settings { window_entries: 4, ..settings };
    let mut ensemble = Ensemble::new(Membership::of_voters([ONE, TWO, THREE]), small);
    ensemble.reads_logs = true;
    ensemble.start_three();
    // Something that only this one has: the log says where to cut.
    ensemble.kill(ONE);
    ensemble.kill(TWO);
    assert!(ensemble.propose(THREE, "lost").is_some());
    let behind = ensemble.kill(THREE);
    ensemble.start_three_but(behind.replica.id());
    let leader = ensemble.leader().unwrap();
    let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
    for text in &texts {
        ensemble.propose(leader, text);
        ensemble.run(20);
    }
    ensemble.restart(behind);
    ensemble.run(500);
    assert_eq!(ensemble.texts(THREE), texts);
    assert_eq!(ensemble.servers[&THREE].before, Zxid::ZERO, "no snapshot took the place of its log");
    assert!(ensemble.read_from_logs >= 16, "{}", ensemble.read_from_logs);
    ensemble.propose(leader, "after");
    ensemble.run(50);
    assert_eq!(ensemble.texts(THREE).last().unwrap(), "after");
}

#[test]
fn an_epoch_ends_without_an_election() {
    let mut ensemble = Ensemble::new(Membership::of_voters([ONE, TWO, THREE]), |settings| Settings {
        counter_max: 3,
        ..settings
    });
    ensemble.start_three();
    let mut zxids = Vec::new();
    for number in 0..8 {
        zxids.extend(ensemble.propose(THREE, &number.to_string()).map(|zxid| (zxid.0 >> 32, zxid.0 & 0xff)));
        ensemble.run(30);
    }
    assert_eq!(zxids, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)]);
    assert_eq!(ensemble.standing(ONE), Standing::Following { leader: THREE, epoch: 3 });
    assert_eq!(ensemble.texts(ONE).len(), 8);
    let late = ensemble.kill(ONE);
    ensemble.restart(late);
    ensemble.run(300);
    ensemble.propose(THREE, "last");
    ensemble.run(50);
    assert_eq!(ensemble.texts(ONE).last().unwrap(), "last");
}

#[test]
fn a_leader_that_stops_names_a_successor() {
    let mut ensemble = Ensemble::three();
    ensemble.propose(THREE, "a");
    ensemble.input(THREE, Input::HandOver);
    ensemble.run(60);
    assert_eq!(ensemble.leader(), Some(TWO));
    assert!(ensemble.propose(TWO, "b").is_some());
    ensemble.run(100);
    assert_eq!(ensemble.texts(ONE), ["a", "b"]);
}

#[test]
fn leadership_is_confirmed_by_a_quorum_only() {
    let mut ensemble = Ensemble::three();
    ensemble.input(THREE, Input::Confirm { ticket: 4 });
    ensemble.run(20);
    assert_eq!(ensemble.servers[&THREE].confirmed, 4);
    ensemble.cut.extend([(ONE, THREE), (TWO, THREE)]);
    ensemble.input(THREE, Input::Confirm { ticket: 5 });
    ensemble.run(300);
    assert_eq!(ensemble.servers[&THREE].confirmed, 4);
}

#[test]
fn letters_travel_between_learner_and_leader() {
    let mut ensemble = Ensemble::three();
    ensemble.input(ONE, Input::Letter { to: THREE, body: body("up") });
    ensemble.input(THREE, Input::Letter { to: ONE, body: body("down") });
    ensemble.input(ONE, Input::Letter { to: TWO, body: body("across") });
    ensemble.run(20);
    assert_eq!(ensemble.servers[&THREE].letters, [body("up")]);
    assert_eq!(ensemble.servers[&ONE].letters, [body("down")]);
    assert!(ensemble.servers[&TWO].letters.is_empty());
}

#[test]
fn observers_follow_without_a_voice() {
    let mut members = Membership::of_voters([ONE, TWO]);
    members.observers.insert(THREE);
    let mut ensemble = Ensemble::new(members, |settings| settings);
    ensemble.start_three();
    assert_eq!(ensemble.leader(), Some(TWO));
    ensemble.propose(TWO, "a");
    ensemble.run(200);
    assert_eq!(ensemble.standing(THREE), Standing::Observing { leader: TWO, epoch: 1 });
    assert_eq!(ensemble.texts(THREE), ["a"]);
    ensemble.kill(ONE);
    ensemble.run(2000);
    assert_eq!(ensemble.leader(), None);
    assert_eq!(ensemble.propose(TWO, "b"), None);
}

#[test]
fn a_member_that_executed_something_else_is_told() {
    let mut ensemble = Ensemble::three();
    ensemble.propose(THREE, "a");
    ensemble.run(50);
    ensemble.servers.get_mut(&ONE).unwrap().executed[0].1 = body("not a");
    ensemble.propose(THREE, "b");
    ensemble.run(100);
    assert_eq!(ensemble.standing(ONE), Standing::Looking);
    assert_eq!(ensemble.leader(), Some(THREE));
    ensemble.run(2000);
    assert_eq!(ensemble.standing(ONE), Standing::Looking, "it never comes back by itself");
}

#[test]
fn a_candidate_makes_way_for_a_better_one_until_a_quorum_has_joined_it() {
    let entry = |counter| Entry {
        zxid: Zxid(1_u64 << 32 | counter),
        origin: ONE,
        serial: 0,
        bytes: body("x"),
        members: None,
    };
    let persistent = Persistent {
        epochs: Epochs { accepted: 1, current: 1, complete: true },
        recent: vec![entry(1), entry(2)],
        ..Persistent::default()
    };
    let members = Membership::of_voters([ONE, TWO, THREE]);
    let mut replica = Replica::new(Settings::new(ONE, members), persistent, 1, 0);
    let mut out = Vec::new();
    let mut now = 1;
    for peer in [TWO, THREE] {
        replica.step(now, Input::LinkUp(peer), &mut out);
    }
    let vote = |leader, counter| message::Vote {
        complete: true,
        epoch: 1,
        zxid: 1_u64 << 32 | counter,
        settled: true,
        leader,
    };
    let looks = |vote| Message::Notice {
        round: 1,
        vote: Some(vote),
        stance: message::Stance::Looking,
        complete: true,
        empty: false,
        asks: true,
        members_at: 0,
    };
    replica.step(now, Input::Heard(THREE, looks(vote(ONE, 2))), &mut out);
    now += Timing::default().gather_us;
    replica.step(now, Input::Tick, &mut out);
    assert_eq!(replica.phase(), "DISCOVERY");
    replica.step(now, Input::Heard(TWO, looks(vote(TWO, 1))), &mut out);
    assert_eq!(replica.phase(), "DISCOVERY", "that one is worse");
    replica.step(now, Input::Heard(THREE, looks(vote(TWO, 3))), &mut out);
    assert_eq!(replica.phase(), "DISCOVERY", "what others say about a better one may be long ago");
    out.clear();
    replica.step(now, Input::Heard(TWO, looks(vote(TWO, 3))), &mut out);
    assert_eq!(replica.phase(), "ELECTION");
    let votes = out.iter().filter(|effect| {
        matches!(effect, Effect::Send(_, Message::Notice { vote: Some(vote), .. }) if vote.leader == TWO)
    });
    assert_eq!(votes.count(), 2, "{out:?}");
}
