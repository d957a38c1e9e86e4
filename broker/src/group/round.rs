//! When are members asked to join again, and when has everybody done so?

use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Appending, Effect, Groups, Timer};
use super::member::Member;
use super::record::Record;
use super::state::{FirstRound, Round, State};

impl Groups {
    /// Asks everybody to join again, unless they are being asked already.
    pub(super) fn begin_rebalance(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let initial_delay = self.settings.initial_rebalance_delay_ms;
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.state == State::PreparingRebalance {
            return;
        }
        for (_, ticket) in group.take_syncing() {
            out.push(Effect::Answer(ticket, Answer::Synced(Err(ErrorCode::REBALANCE_IN_PROGRESS))));
        }
        group.sync_deadline = None;
        let timeout = group.rebalance_timeout_ms();
        let round = if group.state == State::Empty {
            let first = FirstRound { remaining_ms: timeout.saturating_sub(initial_delay), joined: false };
            Round { deadline: now + initial_delay, first: Some(first) }
        } else {
            Round { deadline: now + timeout, first: None }
        };
        group.round = Some(round);
        group.enter(State::PreparingRebalance, now);
        self.timers.insert((round.deadline, Timer::Round { group: name.to_owned() }));
        if round.deadline <= now {
            self.round_over(now, name, out);
        }
    }

    pub(super) fn complete_round_if_everybody_joined(
        &mut self,
        now: Millis,
        name: &str,
        out: &mut Vec<Effect>,
    ) {
        let Some(group) = self.groups.get(name) else { return };
        let waits_for_more = group.round.is_none_or(|round| round.first.is_some());
        if group.state == State::PreparingRebalance && !waits_for_more && group.everybody_joined() {
            self.complete_round(now, name, out);
        }
    }

    /// A round's time is up, or a timer of an earlier one went off.
    pub(super) fn round_over(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let initial_delay = self.settings.initial_rebalance_delay_ms;
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(round) = &mut group.round else { return };
        if round.deadline > now {
            return;
        }
        if let Some(first) = &mut round.first
            && first.joined
            && first.remaining_ms > 0
        {
            first.joined = false;
            let delay = initial_delay.min(first.remaining_ms);
            first.remaining_ms -= delay;
            round.deadline = now + delay;
            let deadline = round.deadline;
            self.timers.insert((deadline, Timer::Round { group: name.to_owned() }));
            return;
        }
        self.complete_round(now, name, out);
    }

    /// Whoever joined is in the next generation; of the others, static members keep their place.
    fn complete_round(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let absent = group.members.values().filter(|member| member.joining.is_none());
        let gone: Vec<String> =
            absent.filter(|member| member.instance.is_none()).map(|member| member.id.clone()).collect();
        for id in gone {
            group.remove(&id);
        }
        let joined = |member: &Member| member.joining.is_some();
        if !group.members.is_empty() && !group.members.values().any(joined) {
            let deadline = now + group.rebalance_timeout_ms().max(1);
            group.round = Some(Round { deadline, first: None });
            self.timers.insert((deadline, Timer::Round { group: name.to_owned() }));
            return;
        }
        group.round = None;
        group.generation = group.generation.checked_add(1).unwrap_or(1);
        if group.members.is_empty() {
            group.protocol = None;
            group.leader = None;
            group.enter(State::Empty, now);
            let record = Record::Group { group: name.to_owned(), value: Some(group.image()) };
            self.append(name, vec![record], Appending::Unattended, out);
            return;
        }
        let leader_joined = group.leader.as_ref().and_then(|id| group.members.get(id)).is_some_and(joined);
        if !leader_joined {
            group.leader =
                group.members.values().find(|member| joined(member)).map(|member| member.id.clone());
        }
        group.protocol = group.choose_protocol();
        group.enter(State::CompletingRebalance, now);
        group.unsynced = group.members.keys().cloned().collect();
        let deadline = now + group.rebalance_timeout_ms();
        group.sync_deadline = Some(deadline);

        let ids: Vec<String> = group.members.keys().cloned().collect();
        let mut watched = Vec::new();
        for id in ids {
            let answer = group.joined_as(&id);
            let Some(member) = group.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.heard(now);
            watched.push((id, member.alive_until));
            if let Some(ticket) = member.joining.take() {
                out.push(Effect::Answer(ticket, Answer::Joined(answer)));
            }
        }
        self.timers.insert((deadline, Timer::Unsynced { group: name.to_owned() }));
        for (id, alive_until) in watched {
            self.watch_member(name, &id, alive_until);
        }
    }
}
