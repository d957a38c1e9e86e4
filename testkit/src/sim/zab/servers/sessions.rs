//! What a session's client has sent, and which of that is in the history.
//!
//! Two requests may look the same, one lost with its connection and one executed. So there are several stories of what
//! happened, until an answer tells which of them is true; when none is left, a promise was broken.

use std::collections::BTreeMap;

use client::wire::zk::{Request, Zxid};
use coordinator::tree::command::{Command, Op};

use crate::check::service::{Violation, op, violation};
use crate::model::acl::{self, Who};

/// A write that a client has sent.
#[derive(Debug)]
struct Sent {
    request: Request<'static>,
    /// The connection it was sent on.
    link: u64,
    /// Who its client is.
    who: Vec<Who>,
    /// What was acknowledged to anybody before.
    floor: u64,
}

/// What may have happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Story {
    /// What is before this one is in the history, or never will be.
    next: usize,
    /// Where those are that have no answer yet.
    places: BTreeMap<usize, u64>,
}

/// A session, from its place in the history on; a local one from its first welcome on.
#[derive(Debug)]
pub(super) struct Session {
    sent: Vec<Sent>,
    stories: Vec<Story>,
    /// Somebody proposed to end it.
    pub(super) ending: bool,
    pub(super) closed: bool,
    /// Only one member knows it so far, and it is over when that one says so.
    pub(super) local: bool,
}

impl Default for Session {
    fn default() -> Session {
        let stories = vec![Story::default()];
        Session { sent: Vec::new(), stories, ending: false, closed: false, local: false }
    }
}

/// Whether a command may be what became of a request.
fn asks_for(request: &Request<'_>, done: &Op<'_>) -> bool {
    match request {
        Request::Reconfig { .. } => matches!(done, Op::Members { .. } | Op::Refused { .. }),
        request => op(request) == *done,
    }
}

impl Session {
    pub(super) fn local() -> Session {
        Session { local: true, ..Session::default() }
    }

    /// Its client sends a write; its number.
    pub(super) fn send(&mut self, request: Request<'static>, link: u64, who: Vec<Who>, floor: u64) -> usize {
        self.sent.push(Sent { request, link, who, floor });
        self.sent.len() - 1
    }

    /// What may come next in a story: the next request of the same connection, or the first of a later one.
    fn candidates(&self, story: &Story) -> impl Iterator<Item = usize> {
        let next = story.next;
        let begins = move |at: usize| at == next || self.sent[at].link != self.sent[at - 1].link;
        (next..self.sent.len()).filter(move |at| begins(*at))
    }

    /// A write of this session has its place in the history. What a wish for other members `comes_to` follows from what was
    /// known when it was sent.
    pub(super) fn place(
        &mut self,
        zxid: Zxid,
        command: &Command<'_>,
        comes_to: impl Fn(&Request<'_>, u64) -> bool,
    ) -> Result<(), Violation> {
        let who = acl::identities(&command.identities);
        let is_asked = |at: &usize| {
            let sent = &self.sent[*at];
            sent.who == who && asks_for(&sent.request, &command.op)
        };
        let mut stories: Vec<Story> = Vec::new();
        let (mut early, mut wrong) = (false, false);
        for story in &self.stories {
            for at in self.candidates(story).filter(is_asked) {
                let Sent { request, floor, .. } = &self.sent[at];
                if *floor >= zxid.0 {
                    early = true;
                    continue;
                }
                if matches!(request, Request::Reconfig { .. }) && !comes_to(request, *floor) {
                    wrong = true;
                    continue;
                }
                let mut longer = Story { next: at + 1, ..story.clone() };
                longer.places.insert(at, zxid.0);
                if !stories.contains(&longer) {
                    stories.push(longer);
                }
            }
        }
        if stories.is_empty() {
            let (id, op) = (command.session, &command.op);
            return match (early, (0..self.sent.len()).any(|at| is_asked(&at))) {
                _ if wrong => violation("C14", format!("{op:?} at {zxid} is not what {id:#x} is due")),
                (true, _) => {
                    violation("C7", format!("{op:?} at {zxid} was sent when later places were known"))
                }
                (_, true) => violation("C9", format!("{op:?} of {id:#x} at {zxid} is out of order")),
                (_, false) => violation("C2", format!("{id:#x} did not ask for {op:?} at {zxid} as {who:?}")),
            };
        }
        self.stories = stories;
        Ok(())
    }

    /// A write was answered: it must be at this place.
    pub(super) fn answered(&mut self, number: usize, zxid: u64) -> bool {
        self.stories.retain_mut(|story| story.places.remove(&number) == Some(zxid));
        // Of what was sent before on other connections, no answer will come any more.
        for story in &mut self.stories {
            story.places = story.places.split_off(&number);
        }
        self.stories.dedup();
        !self.stories.is_empty()
    }

    /// The connection and the number of what is at a place, if that is beyond doubt.
    pub(super) fn asked(&self, zxid: u64) -> Option<(u64, usize)> {
        let [story] = &self.stories[..] else { return None };
        let (number, place) = story.places.last_key_value()?;
        (*place == zxid).then(|| (self.sent[*number].link, *number))
    }
}
