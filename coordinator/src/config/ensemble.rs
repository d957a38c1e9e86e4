//! What a server needs to know to be a member of an ensemble.

use super::{Member, MemberError, Secret, TlsConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that is only asked of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsembleConfig {
    /// Which of `members` this server is.
    pub my_id: u8,
    /// Everybody, in the order of their ids; this server is among them.
    pub membership: Membership,
    /// The main file, if `membership` comes from it or from the one that it names; changes are written down there.
    pub members_file: Option<PathBuf>,
    /// How long a member may take to connect to the leader and catch up.
    pub init_limit: Duration,
    /// As configured; shown to tools that ask.
    pub sync_limit: Duration,
    /// How often members tell each other that they live.
    pub ping: Duration,
    /// How long a leader may be silent before the others elect a new one.
    pub leader_silence: Duration,
    /// A leader serves clients too.
    pub leader_serves: bool,
    /// Recent writes kept in memory for members that catch up.
    pub recent_entries_max: u32,
    /// How much of the log, in thousandths of a snapshot's size, may bring a member up to date; `None` = none of it.
    pub log_permille: Option<u64>,
    /// The highest feature level that this member agrees to.
    pub feature_level_max: u16,
    /// How members reach each other.
    pub links: LinkConfig,
}

/// Who belongs to an ensemble, and whose word makes a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The `server.N` lines, in the order of their ids.
    pub members: Vec<Member>,
    /// The `group.N` lines; empty when any majority of the voting members is a quorum.
    pub groups: BTreeMap<u32, BTreeSet<u8>>,
    /// The `weight.N` lines. Who has none weighs 1.
    pub weights: BTreeMap<u8, u32>,
    /// The `version` line of a membership file, or the hexadecimal ending of its name; 0 when neither is there.
    pub version: u64,
}

impl Membership {
    /// Reads what the config node says, or what a client wants to be in it.
    pub fn parse(text: &str) -> Result<Membership, MemberError> {
        let wrong = |line: &str| MemberError::new(format!("\"{line}\" is no line about members"));
        let mut membership =
            Membership { members: Vec::new(), groups: BTreeMap::new(), weights: BTreeMap::new(), version: 0 };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').ok_or_else(|| wrong(line))?;
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong(line));
            let id = |text: &str| text.trim().parse::<u8>().map_err(|_| wrong(line));
            match key.trim().split_once('.') {
                Some(("server", id)) => membership.members.push(Member::parse(id, value.trim())?),
                Some(("weight", of)) => drop(membership.weights.insert(id(of)?, number(value)?)),
                Some(("group", of)) => {
                    let ids = value.split(':').map(id).collect::<Result<_, _>>()?;
                    membership.groups.insert(number(of)?, ids);
                }
                None if key.trim() == "version" => {
                    let version = u64::from_str_radix(value.trim(), 16);
                    membership.version = version.map_err(|_| wrong(line))?;
                }
                _ => return Err(wrong(line)),
            }
        }
        membership.members.sort_by_key(|member| member.id);
        if membership.members.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(MemberError::new("a member is named twice"));
        }
        Ok(membership)
    }

    /// What the config node says, without the version.
    pub fn text(&self) -> String {
        let servers = self.members.iter().map(|member| format!("server.{}={member}", member.id));
        let groups = self.groups.iter().map(|(group, ids)| {
            let ids: Vec<String> = ids.iter().map(u8::to_string).collect();
            format!("group.{group}={}", ids.join(":"))
        });
        let weights = self.weights.iter().map(|(id, weight)| format!("weight.{id}={weight}"));
        servers.chain(groups).chain(weights).collect::<Vec<_>>().join("\n")
    }

    /// The member with this id.
    pub fn member(&self, id: u8) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// How much a member's vote weighs in its group.
    pub fn weight(&self, id: u8) -> u32 {
        self.weights.get(&id).copied().unwrap_or(1)
    }

    /// The group a member votes in, when there are groups: a quorum has more than half of the weight in more than half of
    /// the groups that weigh anything.
    pub fn group(&self, id: u8) -> Option<u32> {
        self.groups.iter().find(|(_, ids)| ids.contains(&id)).map(|(group, _)| *group)
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_voter())
    }
}

/// How members reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Listen on all addresses instead of those of the own `server.N` line.
    pub listen_everywhere: bool,
    /// How often the own ports are tried at start before giving up; `None` = until they can be had.
    pub bind_attempts_max: Option<u32>,
    /// How long connecting and proving who one is may take together.
    pub handshake_timeout: Duration,
    /// What both ends of a link must know.
    pub secret: Option<Secret>,
    /// TLS between members.
    pub tls: Option<PeerTlsConfig>,
}

/// TLS between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTlsConfig {
    /// Stores, versions, cipher suites.
    pub tls: TlsConfig,
    /// Use it on links that this server dials.
    pub dial: bool,
    /// Accept members that do not use it yet.
    pub accept_plain: bool,
    /// Whoever is dialled must have the host of its `server.N` line in its certificate.
    pub verify_acceptor_host: bool,
    /// Whoever dials must have the host of its `server.N` line in its certificate.
    pub verify_dialer_host: bool,
}

impl LinkConfig {
    /// Must a peer prove who it is before it is listened to?
    pub fn is_authenticated(&self) -> bool {
        self.secret.is_some() || self.tls.as_ref().is_some_and(|tls| tls.dial && !tls.accept_plain)
    }
}

/// Is this host, as text, certainly this machine only?
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Is this "all addresses", which nobody can dial?
pub(super) fn is_wildcard(host: &str) -> bool {
    host == "*" || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}
