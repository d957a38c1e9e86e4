//! Members that join, sync and go, against a log in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::*;

const GROUP: &str = "readers";

/// Groups with a log that takes everything at once, unless it is told to hold back or to fail.
struct World {
    groups: Groups,
    now: Millis,
    log: Vec<Record>,
    answers: BTreeMap<Ticket, Answer>,
    tickets: u64,
    append_error: Option<ErrorCode>,
    /// Appends wait here instead of being done.
    held: Option<Vec<AppendId>>,
}

fn settings() -> Settings {
    Settings {
        partitions: 5,
        session_timeout_ms_min: 1_000,
        session_timeout_ms_max: 60_000,
        initial_rebalance_delay_ms: 0,
        members_max: 3,
        groups_max: 4,
        offset_metadata_bytes_max: 10,
        offsets_retention_ms: 1_000_000,
    }
}

fn join_of(member: &str) -> Join {
    Join {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 30_000,
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        two_steps: false,
        may_skip_assignment: true,
        unique: String::new(),
    }
}

impl World {
    fn new(settings: Settings) -> World {
        let mut groups = Groups::new(settings);
        for partition in 0..5 {
            groups.load(partition);
            groups.loaded(0, partition);
        }
        World {
            groups,
            now: 1_000_000,
            log: Vec::new(),
            answers: BTreeMap::new(),
            tickets: 0,
            append_error: None,
            held: None,
        }
    }

    fn ask(&mut self, request: impl FnOnce(&mut Groups, Millis, Ticket, &mut Vec<Effect>)) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut out = Vec::new();
        request(&mut self.groups, self.now, ticket, &mut out);
        self.run(out);
        ticket
    }

    fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => {
                    assert!(self.answers.insert(ticket, answer).is_none(), "a ticket is answered once");
                }
                Effect::Append { id, partition, records } => {
                    assert_eq!(partition, partition_of(GROUP, 5));
                    self.log.extend(records);
                    match &mut self.held {
                        Some(held) => held.push(id),
                        None => self.appended(id),
                    }
                }
            }
        }
    }

    fn appended(&mut self, id: AppendId) {
        let mut out = Vec::new();
        self.groups.appended(self.now, id, self.append_error.map_or(Ok(()), Err), &mut out);
        self.run(out);
    }

    fn pass(&mut self, ms: Millis) {
        let end = self.now + ms;
        while let Some(at) = self.groups.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.groups.tick(self.now, &mut out);
            self.run(out);
        }
        self.now = end;
    }

    fn join(&mut self, mut join: Join) -> Ticket {
        join.unique = (self.tickets + 1).to_string();
        self.ask(|groups, now, ticket, out| groups.join(now, ticket, join, out))
    }

    fn joined(&mut self, ticket: Ticket) -> JoinedAs {
        match self.answers.remove(&ticket) {
            Some(Answer::Joined(joined)) => joined,
            other => panic!("{ticket:?} has {other:?}"),
        }
    }

    fn sync(&mut self, joined: &JoinedAs, assignments: &[(&str, &'static [u8])]) -> Ticket {
        let sync = Sync {
            from: voice(joined),
            protocol_type: Some("consumer".into()),
            protocol: joined.protocol.clone(),
            assignments: assignments
                .iter()
                .map(|&(member, share)| (member.to_owned(), Bytes::from_static(share)))
                .collect(),
        };
        self.ask(|groups, now, ticket, out| groups.sync(now, ticket, sync, out))
    }

    fn synced(&mut self, ticket: Ticket) -> Result<Bytes, ErrorCode> {
        match self.answers.remove(&ticket) {
            Some(Answer::Synced(synced)) => synced.map(|synced| synced.assignment),
            other => panic!("{ticket:?} has {other:?}"),
        }
    }

    fn heartbeat(&mut self, joined: &JoinedAs) -> ErrorCode {
        self.groups.heartbeat(self.now, &voice(joined))
    }

    /// A group of one that is stable.
    fn alone(&mut self) -> JoinedAs {
        let ticket = self.join(join_of(""));
        let joined = self.joined(ticket);
        let ticket = self.sync(&joined, &[(&joined.member, b"all")]);
        assert_eq!(self.synced(ticket), Ok(Bytes::from_static(b"all")));
        joined
    }

    fn commit(&mut self, from: Voice, offset: i64) -> Vec<ErrorCode> {
        let offsets = vec![Commit {
            topic: "t".into(),
            partition: 0,
            offset,
            leader_epoch: 3,
            metadata: String::new(),
            retention_ms: None,
        }];
        let request = CommitOffsets { from, offsets };
        let ticket = self.ask(|groups, now, ticket, out| groups.commit(now, ticket, request, out));
        match self.answers.remove(&ticket) {
            Some(Answer::Committed(answers)) => answers,
            other => panic!("{ticket:?} has {other:?}"),
        }
    }

    fn committed(&self) -> Option<i64> {
        let found = self.groups.offsets(GROUP, Some(&[("t".to_owned(), 0)])).expect("served");
        found[0].2.as_ref().map(|committed| committed.offset)
    }

    fn leave(&mut self, member: &str) -> Vec<ErrorCode> {
        let leavers = [Leaver { member: member.into(), instance: None }];
        let mut out = Vec::new();
        let answers = self.groups.leave(self.now, GROUP, &leavers, &mut out).expect("served");
        self.run(out);
        answers
    }
}

fn voice(joined: &JoinedAs) -> Voice {
    Voice {
        group: GROUP.into(),
        member: joined.member.clone(),
        instance: None,
        generation: joined.generation,
    }
}

fn nobody() -> Voice {
    Voice { group: GROUP.into(), member: String::new(), instance: None, generation: -1 }
}

#[test]
fn two_members_share_what_the_leader_assigns() {
    let mut world = World::new(settings());
    let first = world.alone();
    assert_eq!((first.generation, first.leader.clone()), (1, first.member.clone()));

    let second = world.join(join_of(""));
    assert_eq!(world.heartbeat(&first), ErrorCode::REBALANCE_IN_PROGRESS);
    let again = world.join(join_of(&first.member));
    let (first, second) = (world.joined(again), world.joined(second));
    assert_eq!((first.generation, second.generation), (2, 2));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "only the leader is told who is there");

    let waiting = world.sync(&second, &[]);
    assert!(!world.answers.contains_key(&waiting));
    let leader = world.sync(&first, &[(&first.member, b"one"), (&second.member, b"two")]);
    assert_eq!(world.synced(leader), Ok(Bytes::from_static(b"one")));
    assert_eq!(world.synced(waiting), Ok(Bytes::from_static(b"two")));
    assert_eq!(world.heartbeat(&first), ErrorCode::NONE);
    let Some(Record::Group { value: Some(image), .. }) = world.log.last() else {
        panic!("no group in the log")
    };
    assert_eq!((image.generation, image.members.len()), (2, 2));
}

#[test]
fn an_assignment_counts_only_once_it_is_in_the_log() {
    let mut world = World::new(settings());
    let ticket = world.join(join_of(""));
    let joined = world.joined(ticket);
    world.append_error = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    let ticket = world.sync(&joined, &[(&joined.member, b"all")]);
    assert_eq!(world.synced(ticket), Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(world.heartbeat(&joined), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_member_that_is_silent_is_taken_out() {
    let mut world = World::new(settings());
    let first = world.alone();
    let second = world.join(join_of(""));
    // The first member hears nothing of it, because it is gone.
    world.pass(9_999);
    assert!(!world.answers.contains_key(&second));
    world.pass(1);
    assert_eq!(world.joined(second).leader.len(), "client-3".len());
    assert_eq!(world.heartbeat(&first), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_speaks_stays() {
    let mut world = World::new(settings());
    let joined = world.alone();
    for _ in 0..10 {
        world.pass(9_000);
        assert_eq!(world.heartbeat(&joined), ErrorCode::NONE);
    }
    world.pass(10_000);
    assert_eq!(world.heartbeat(&joined), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_joins_in_two_steps_is_given_an_id_first() {
    let mut world = World::new(settings());
    let two_steps = Join { two_steps: true, ..join_of("") };
    let ticket = world.join(two_steps.clone());
    let refused = world.joined(ticket);
    assert_eq!((refused.error, refused.member.as_str()), (ErrorCode::MEMBER_ID_REQUIRED, "client-1"));
    let ticket = world.join(Join { two_steps: true, ..join_of("client-1") });
    assert_eq!(world.joined(ticket).error, ErrorCode::NONE);
    let ticket = world.join(Join { two_steps: true, ..join_of("client-99") });
    assert_eq!(world.joined(ticket).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_group_waits_a_little_for_its_first_members() {
    let mut world = World::new(Settings { initial_rebalance_delay_ms: 3_000, ..settings() });
    let first = world.join(join_of(""));
    world.pass(2_000);
    let second = world.join(join_of(""));
    world.pass(3_999);
    assert!(world.answers.is_empty(), "the second prolonged it by another delay");
    world.pass(1);
    assert_eq!((world.joined(first).generation, world.joined(second).generation), (1, 1));
}

#[test]
fn those_who_do_not_come_back_in_time_are_left_out() {
    let mut world = World::new(settings());
    let first = world.alone();
    let second = world.join(join_of(""));
    for _ in 0..3 {
        world.pass(9_000);
        assert_eq!(world.heartbeat(&first), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    world.pass(3_000);
    assert_eq!(world.joined(second).members.len(), 1);
    assert_eq!(world.heartbeat(&first), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn those_who_do_not_fetch_their_share_are_left_out() {
    let mut world = World::new(settings());
    let first = world.alone();
    let second = world.join(join_of(""));
    let again = world.join(join_of(&first.member));
    let (first, second) = (world.joined(again), world.joined(second));
    let ticket = world.sync(&first, &[(&first.member, b"one"), (&second.member, b"two")]);
    assert_eq!(world.synced(ticket), Ok(Bytes::from_static(b"one")));
    for _ in 0..4 {
        world.pass(7_500);
        world.heartbeat(&first);
        world.heartbeat(&second);
    }
    assert_eq!(world.heartbeat(&first), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(world.heartbeat(&second), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut world = World::new(settings());
    let named = |member: &str| Join { instance: Some("i".into()), ..join_of(member) };
    let ticket = world.join(named(""));
    let first = world.joined(ticket);
    let ticket = world.sync(&first, &[(&first.member, b"all")]);
    assert_eq!(world.synced(ticket), Ok(Bytes::from_static(b"all")));

    let ticket = world.join(named(""));
    let back = world.joined(ticket);
    assert_ne!(back.member, first.member);
    assert_eq!((back.generation, back.skip_assignment), (1, true));
    let ticket = world.sync(&back, &[]);
    assert_eq!(world.synced(ticket), Ok(Bytes::from_static(b"all")));
    let fenced = Voice { instance: Some("i".into()), ..voice(&first) };
    assert_eq!(world.groups.heartbeat(world.now, &fenced), ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn who_leaves_makes_room_at_once() {
    let mut world = World::new(settings());
    let first = world.alone();
    let second = world.join(join_of(""));
    assert_eq!(world.leave(&first.member), [ErrorCode::NONE]);
    let second = world.joined(second);
    assert_eq!((second.generation, second.members.len()), (2, 1));
    assert_eq!(world.leave("stranger"), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(world.leave(&second.member), [ErrorCode::NONE]);
    let described = world.groups.describe(GROUP).expect("served").expect("there");
    assert_eq!(described.state, State::Empty);
}

#[test]
fn the_protocol_is_one_that_all_share() {
    let mut world = World::new(settings());
    let both = |member: &str| Join {
        protocols: vec![("sticky".into(), Bytes::new()), ("range".into(), Bytes::new())],
        ..join_of(member)
    };
    let ticket = world.join(both(""));
    let first = world.joined(ticket);
    assert_eq!(first.protocol.as_deref(), Some("sticky"));
    let second = world.join(join_of(""));
    let again = world.join(both(&first.member));
    assert_eq!(world.joined(again).protocol.as_deref(), Some("range"));
    assert_eq!(world.joined(second).error, ErrorCode::NONE);
    let ticket = world.join(Join { protocols: vec![("other".into(), Bytes::new())], ..join_of("") });
    assert_eq!(world.joined(ticket).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let ticket = world.join(Join { protocol_type: "connect".into(), ..join_of("") });
    assert_eq!(world.joined(ticket).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let mut world = World::new(settings());
    let mut error = |join: Join| {
        let ticket = world.join(join);
        world.joined(ticket).error
    };
    assert_eq!(error(Join { group: String::new(), ..join_of("") }), ErrorCode::INVALID_GROUP_ID);
    assert_eq!(error(Join { session_timeout_ms: 1, ..join_of("") }), ErrorCode::INVALID_SESSION_TIMEOUT);
    assert_eq!(error(Join { protocols: Vec::new(), ..join_of("") }), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let mut world = World::new(Settings { initial_rebalance_delay_ms: 10, ..settings() });
    let tickets: Vec<Ticket> = (0..4).map(|_| world.join(join_of(""))).collect();
    assert_eq!(world.joined(tickets[3]).error, ErrorCode::GROUP_MAX_SIZE_REACHED);
}

#[test]
fn offsets_are_known_once_they_are_in_the_log() {
    let mut world = World::new(settings());
    world.held = Some(Vec::new());
    let request = CommitOffsets {
        from: nobody(),
        offsets: vec![Commit {
            topic: "t".into(),
            partition: 0,
            offset: 7,
            leader_epoch: -1,
            metadata: "x".into(),
            retention_ms: None,
        }],
    };
    let ticket = world.ask(|groups, now, ticket, out| groups.commit(now, ticket, request, out));
    assert_eq!((world.committed(), world.answers.len()), (None, 0));
    for id in world.held.take().expect("held") {
        world.appended(id);
    }
    assert_eq!(world.answers[&ticket], Answer::Committed(vec![ErrorCode::NONE]));
    assert_eq!(world.committed(), Some(7));
}

#[test]
fn only_members_of_this_generation_commit() {
    let mut world = World::new(settings());
    let joined = world.alone();
    assert_eq!(world.commit(voice(&joined), 5), [ErrorCode::NONE]);
    let earlier = Voice { generation: 0, ..voice(&joined) };
    assert_eq!(world.commit(earlier, 6), [ErrorCode::ILLEGAL_GENERATION]);
    let stranger = Voice { member: "stranger".into(), ..voice(&joined) };
    assert_eq!(world.commit(stranger, 6), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(world.commit(nobody(), 6), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(world.committed(), Some(5));
    world.append_error = Some(ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(world.commit(voice(&joined), 6), [ErrorCode::COORDINATOR_NOT_AVAILABLE]);
    assert_eq!(world.committed(), Some(5));
}

#[test]
fn another_coordinator_goes_on_from_the_log() {
    let mut world = World::new(settings());
    let joined = world.alone();
    world.commit(voice(&joined), 42);
    let log = std::mem::take(&mut world.log);
    let mut next = World::new(settings());
    let partition = partition_of(GROUP, 5);
    next.groups = Groups::new(settings());
    assert_eq!(next.groups.heartbeat(next.now, &voice(&joined)), ErrorCode::NOT_COORDINATOR);
    next.groups.load(partition);
    assert_eq!(next.groups.heartbeat(next.now, &voice(&joined)), ErrorCode::NONE, "while it reads, it waits");
    for record in log {
        let (key, value) = record.encode().expect("fits");
        let read = Record::decode(key, value).expect("good").expect("known");
        assert_eq!(read, record);
        next.groups.replay(next.now, read);
    }
    next.groups.loaded(next.now, partition);
    assert_eq!(next.heartbeat(&joined), ErrorCode::NONE);
    assert_eq!(next.committed(), Some(42));
    next.pass(10_000);
    assert_eq!(next.heartbeat(&joined), ErrorCode::UNKNOWN_MEMBER_ID, "its session goes on from there");
}

#[test]
fn who_waits_is_sent_away_when_another_takes_over() {
    let mut world = World::new(settings());
    let first = world.alone();
    let second = world.join(join_of(""));
    let mut out = Vec::new();
    world.groups.resign(partition_of(GROUP, 5), &mut out);
    world.run(out);
    assert_eq!(world.joined(second).error, ErrorCode::NOT_COORDINATOR);
    assert_eq!(world.heartbeat(&first), ErrorCode::NOT_COORDINATOR);
}

#[test]
fn offsets_go_when_nobody_used_them_for_long() {
    let mut world = World::new(settings());
    let joined = world.alone();
    world.commit(voice(&joined), 1);
    let expire = |world: &mut World| {
        let mut out = Vec::new();
        world.groups.expire(world.now, &mut out);
        world.run(out);
    };
    world.leave(&joined.member);
    world.pass(999_999);
    expire(&mut world);
    assert_eq!(world.committed(), Some(1));
    world.pass(1);
    expire(&mut world);
    assert_eq!(world.committed(), None);
    assert!(world.groups.list().is_empty(), "and the group with them");
    assert!(matches!(world.log.last(), Some(Record::Group { value: None, .. })));
}

#[test]
fn a_group_goes_with_its_last_offset() {
    let mut world = World::new(settings());
    let joined = world.alone();
    world.commit(voice(&joined), 1);
    world.leave(&joined.member);
    let committed = world.groups.offsets(GROUP, None).expect("served");
    let keys: Vec<_> = committed.into_iter().map(|(topic, partition, _)| (topic, partition)).collect();
    world.ask(|groups, _, ticket, out| groups.delete_offsets(ticket, GROUP, &keys, out).expect("served"));
    assert!(world.groups.list().is_empty());
    assert!(matches!(world.log.last(), Some(Record::Group { value: None, .. })));
    let counts = world.groups.counts();
    assert_eq!((counts.rebalances, counts.commits, counts.deleted, counts.expired), (1, 1, 1, 0));
}

#[test]
fn a_group_is_deleted_only_when_nobody_is_in_it() {
    let mut world = World::new(settings());
    let joined = world.alone();
    world.commit(voice(&joined), 1);
    let delete = |world: &mut World| {
        let ticket = world.ask(|groups, _, ticket, out| groups.delete(ticket, GROUP, out));
        match world.answers.remove(&ticket) {
            Some(Answer::Deleted(answers)) => answers[0],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut world), ErrorCode::NON_EMPTY_GROUP);
    world.leave(&joined.member);
    assert_eq!(delete(&mut world), ErrorCode::NONE);
    assert_eq!(delete(&mut world), ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn groups_are_spread_by_javas_hash() {
    // "hello".hashCode() is 99162322 in Java, and that of the other is the least number there is.
    assert_eq!(partition_of("hello", 50), 22);
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    assert_eq!(partition_of("", 50), 0);
}
