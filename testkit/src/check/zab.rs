//! What an ensemble has promised so far, and whether what its members do is in accord with it.

use std::collections::{BTreeMap, HashMap};

use client::wire::zk::Zxid;
use coordinator::zab::{Epochs, MemberId, epoch_of, first_of};

use super::service::{Violation, violation};

/// An entry that was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub zxid: Zxid,
    /// Stands for its bytes.
    pub identity: u64,
    /// Of everything up to and including it.
    pub digest: u64,
}

/// How an entry changes the digest.
pub fn digest_after(digest: u64, zxid: Zxid, identity: u64) -> u64 {
    let mixed = (digest ^ zxid.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ identity;
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Who proposed what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub identity: u64,
    pub leader: MemberId,
    pub origin: MemberId,
    /// Zero: no client asked for it.
    pub serial: u64,
}

/// The one history that all members share, as it became known, and who led when.
#[derive(Debug, Default)]
pub struct Ledger {
    proposals: HashMap<Zxid, Proposal>,
    agreed: Vec<Applied>,
    /// By epoch: the leader that was established, and the number of its life.
    established: BTreeMap<u32, (MemberId, u64)>,
    /// By epoch: where the history ended with which its leader began.
    beginnings: BTreeMap<u32, Zxid>,
    /// By origin: epoch and number of the last of its requests that was agreed on.
    serials: BTreeMap<MemberId, (u32, u64)>,
}

impl Ledger {
    /// A history that was agreed on before the world began.
    pub fn with_history(applied: &[Applied]) -> Ledger {
        Ledger { agreed: applied.to_vec(), ..Ledger::default() }
    }

    /// How many entries were agreed on.
    pub fn agreed_count(&self) -> usize {
        self.agreed.len()
    }

    /// The last of them.
    pub fn last(&self) -> Zxid {
        self.agreed.last().map_or(Zxid::ZERO, |applied| applied.zxid)
    }

    /// A leader has given out a place. `applied` is what it had executed.
    pub fn proposed(&mut self, zxid: Zxid, proposal: Proposal) -> Result<(), Violation> {
        match self.proposals.insert(zxid, proposal) {
            Some(other) => {
                violation("C2", format!("{zxid} was given out twice: {other:?}, then {proposal:?}"))
            }
            None => Ok(()),
        }
    }

    /// A member wants an entry in its log; whoever is the first to do so proposed it. True if it is new.
    pub fn appended(&mut self, zxid: Zxid, proposal: Proposal) -> Result<bool, Violation> {
        match self.proposals.get(&zxid) {
            None => self.proposed(zxid, proposal).map(|()| true),
            Some(first) if first.identity == proposal.identity => Ok(false),
            Some(first) => {
                violation("C2", format!("{zxid} was given out twice: {first:?}, then {proposal:?}"))
            }
        }
    }

    /// A member shows what it executed: all of `applied`, of which `known` were compared before.
    pub fn shown(
        &mut self,
        member: MemberId,
        applied: &[Applied],
        known: &mut usize,
        is_safe: impl Fn(&Applied) -> bool,
    ) -> Result<(), Violation> {
        for (index, entry) in applied.iter().enumerate().skip(*known) {
            match self.agreed.get(index) {
                Some(agreed) if agreed == entry => {}
                Some(agreed) if (agreed.zxid, agreed.identity) == (entry.zxid, entry.identity) => {
                    return violation(
                        "C6",
                        format!("{member}: the state at {} has another digest", entry.zxid),
                    );
                }
                Some(agreed) => {
                    return violation(
                        "C1",
                        format!("{member} executed {} where {} was agreed on", entry.zxid, agreed.zxid),
                    );
                }
                None => self.agree(member, entry, &is_safe)?,
            }
        }
        *known = applied.len();
        Ok(())
    }

    fn agree(
        &mut self,
        member: MemberId,
        entry: &Applied,
        is_safe: impl Fn(&Applied) -> bool,
    ) -> Result<(), Violation> {
        let Applied { zxid, identity, digest } = *entry;
        let last = self.agreed.last();
        if digest != digest_after(last.map_or(0, |last| last.digest), zxid, identity) {
            return violation("C6", format!("{member}: the state at {zxid} has another digest"));
        }
        let last = last.map_or(Zxid::ZERO, |last| last.zxid);
        let follows = if epoch_of(zxid) == epoch_of(last) {
            zxid.0 == last.0 + 1
        } else {
            epoch_of(zxid) > epoch_of(last) && zxid == first_of(epoch_of(zxid))
        };
        if !follows {
            return violation("C4", format!("{member} executed {zxid} after {last}"));
        }
        let Some(proposal) = self.proposals.get(&zxid) else {
            return violation("C2", format!("{member} executed {zxid}, which nobody proposed"));
        };
        if proposal.identity != identity {
            return violation("C2", format!("{member} executed something else at {zxid} than was proposed"));
        }
        if !is_safe(entry) {
            return violation("C3", format!("{member} executed {zxid}, which is not on a quorum's disks"));
        }
        if proposal.serial > 0 {
            let serial = self.serials.insert(proposal.origin, (epoch_of(zxid), proposal.serial));
            if serial.is_some_and(|(epoch, serial)| epoch == epoch_of(zxid) && serial >= proposal.serial) {
                return violation("C9", format!("requests of {} changed places at {zxid}", proposal.origin));
            }
        }
        self.agreed.push(*entry);
        Ok(())
    }

    /// Whether an entry with these bytes was agreed on.
    pub fn is_agreed(&self, zxid: Zxid) -> bool {
        self.agreed.binary_search_by_key(&zxid, |applied| applied.zxid).is_ok()
    }

    /// A member forgets everything behind a place, as far as its log went.
    pub fn truncates(
        &self,
        member: MemberId,
        to: Zxid,
        had: impl Fn(&Applied) -> bool,
    ) -> Result<(), Violation> {
        let from = self.agreed.partition_point(|applied| applied.zxid <= to);
        match self.agreed[from..].iter().find(|applied| had(applied)) {
            Some(applied) => violation(
                "C3",
                format!("{member} forgets what is behind {to}, and {} was agreed on", applied.zxid),
            ),
            None => Ok(()),
        }
    }

    /// The leader of an epoch begins with a history that ends here.
    pub fn begins(&mut self, epoch: u32, last: Zxid) {
        // A leader that proposed in the same turn is past its beginning already.
        if (last.0 >> 32) as u32 != epoch {
            self.beginnings.entry(epoch).or_insert(last);
        }
    }

    /// A member leads. `applied` is what it executed.
    pub fn leads(
        &mut self,
        member: MemberId,
        life: u64,
        epoch: u32,
        applied: &[Applied],
    ) -> Result<(), Violation> {
        let (leader, led) = *self.established.entry(epoch).or_insert((member, life));
        if (leader, led) != (member, life) {
            return violation("C5", format!("{leader} led epoch {epoch}, now {member} does"));
        }
        let earlier = self.agreed.partition_point(|agreed| epoch_of(agreed.zxid) < epoch);
        if applied.get(..earlier) != Some(&self.agreed[..earlier]) {
            let last = self.agreed[earlier - 1].zxid;
            return violation(
                "C3",
                format!(
                    "{member} leads epoch {epoch} and does not have all up to {last}, which was agreed on"
                ),
            );
        }
        Ok(())
    }

    /// A member's epochs change on its disk. `has` tells what else is safe there.
    pub fn saves_epochs(
        &self,
        member: MemberId,
        before: Epochs,
        after: Epochs,
        has: impl Fn(Zxid) -> bool,
    ) -> Result<(), Violation> {
        if after.accepted < before.accepted || after.current < before.current {
            return violation("C5", format!("{member}: epochs go back from {before:?} to {after:?}"));
        }
        if after.accepted < after.current {
            return violation("C5", format!("{member}: {after:?}"));
        }
        if after.current > before.current
            && let Some(last) = self.beginnings.get(&after.current)
            && !has(*last)
        {
            return violation(
                "C5",
                format!("{member}: epoch {} is on disk before its history up to {last}", after.current),
            );
        }
        Ok(())
    }
}
