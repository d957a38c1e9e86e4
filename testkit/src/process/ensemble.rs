//! An ensemble under test: members of one implementation, each a process on a loopback address of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::child::Usage;
use super::ports::free_port;
use super::proxy::{Links, PeerPorts};
use super::server::{Kind, Options, Server};

/// What a member says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes and follows.
    Follower,
    /// It follows without a vote.
    Observer,
}

/// The members, which keep their directories, addresses and ports over restarts. All of them end when it is dropped.
#[derive(Debug)]
pub struct Ensemble {
    kind: Kind,
    members: Vec<Server>,
    links: Option<Links>,
}

impl Ensemble {
    /// Starts `size` voting members and waits until every one of them serves.
    pub fn start_new(kind: Kind, size: usize, options: Options) -> Result<Ensemble> {
        let mut ensemble = Ensemble::prepare(kind, size, 0, options, None)?;
        ensemble.start()?;
        Ok(ensemble)
    }

    /// Chooses directories and ports without starting anything. With a seed, members reach each other, and clients
    /// reach members, only through [`Links`].
    pub fn prepare(
        kind: Kind,
        voters: usize,
        observers: usize,
        options: Options,
        proxy_seed: Option<u64>,
    ) -> Result<Ensemble> {
        let size = voters + observers;
        ensure!((1..=9).contains(&size), "an ensemble here has one to nine members");
        let host = |index: usize| Ipv4Addr::new(127, 0, 1, index as u8 + 1);
        let ports: Vec<PeerPorts> = (0..size)
            .map(|index| PeerPorts { host: host(index), quorum: free_port(), election: free_port() })
            .collect();
        let mut members = Vec::new();
        for index in 0..size {
            let mut options = options.clone();
            options.host = Some(host(index));
            options.id = Some(index as u8 + 1);
            if let Some(directory) = &options.directory {
                options.directory = Some(directory.join(format!("member-{}", index + 1)));
            }
            for (key, value) in [("initLimit", 10), ("syncLimit", 5)] {
                options.keys.entry(key.to_owned()).or_insert_with(|| value.to_string());
            }
            if observers > 0 && index >= voters {
                options = options.key("peerType", "observer");
            }
            members.push(Server::prepare(kind, options)?);
        }
        let links = match proxy_seed {
            Some(seed) => {
                let clients: Vec<SocketAddr> = members.iter().map(Server::address).collect();
                Some(Links::start(&ports, &clients, seed)?)
            }
            None => None,
        };
        for (own, member) in members.iter_mut().enumerate() {
            for (index, real) in ports.iter().enumerate() {
                let passage = links.iter().flat_map(|links| &links.passages);
                let passage = passage.into_iter().find(|passage| (passage.from, passage.to) == (own, index));
                let (quorum, election) = match passage {
                    Some(passage) => (passage.quorum.address().port(), passage.election.address().port()),
                    None => (real.quorum, real.election),
                };
                let role = if index < voters { "participant" } else { "observer" };
                let line = format!("{}:{quorum}:{election}:{role}", real.host);
                member.options_mut().keys.insert(format!("server.{}", index + 1), line);
            }
        }
        Ok(Ensemble { kind, members, links })
    }

    /// Starts every member that does not run and waits until all serve.
    pub fn start(&mut self) -> Result<()> {
        for member in &mut self.members {
            if !member.is_running() {
                member.launch()?;
            }
        }
        self.await_whole(Duration::from_secs(90))
    }

    /// Which implementation this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many members there are, running or not.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// One member; they are counted from 0, their ids from 1.
    pub fn member(&self, index: usize) -> &Server {
        &self.members[index]
    }

    /// One member, to be stopped and started.
    pub fn member_mut(&mut self, index: usize) -> &mut Server {
        &mut self.members[index]
    }

    /// The line of a member as a reconfiguration has it; without proxies, whose ports nobody must be told.
    pub fn line(&self, index: usize, role: &str) -> String {
        let member = &self.members[index];
        let name = format!("server.{}", index + 1);
        let peers = member.options().keys.get(&name).map_or("", String::as_str);
        let peers = peers.rsplit_once(':').map_or(peers, |(addresses, _role)| addresses);
        format!("{name}={peers}:{role};{}", member.address())
    }

    /// The proxies between members and in front of clients.
    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Where clients of each member connect: through the proxies if there are any.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.links {
            Some(links) => links.clients.iter().map(|link| link.address()).collect(),
            None => self.members.iter().map(Server::address).collect(),
        }
    }

    /// All members, as connect strings have it.
    pub fn connect_string(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        addresses.join(",")
    }

    /// What the member says it is; `None` while it serves nobody.
    pub fn role(&self, index: usize) -> Option<Role> {
        let text = self.members[index].four_letter_within("srvr", Duration::from_millis(500)).ok()?;
        match text.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Role::Leader),
            "follower" => Some(Role::Follower),
            "observer" => Some(Role::Observer),
            _ => None,
        }
    }

    /// The member that says it leads.
    pub fn leader(&self) -> Option<usize> {
        (0..self.size()).find(|&index| self.role(index) == Some(Role::Leader))
    }

    /// Waits for a leader.
    pub fn await_leader(&self, patience: Duration) -> Result<usize> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            if Instant::now() > deadline {
                bail!("no leader after {patience:?}\n{}", self.log_tails());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every member has its role and one of them leads.
    pub fn await_whole(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let roles: Vec<Option<Role>> = (0..self.size()).map(|index| self.role(index)).collect();
            let leaders = roles.iter().filter(|role| **role == Some(Role::Leader)).count();
            if leaders == 1 && roles.iter().all(Option::is_some) {
                return Ok(());
            }
            for (index, member) in self.members.iter_mut().enumerate() {
                if !member.is_running() {
                    bail!("member {} ended:\n{}", index + 1, member.log_tail(3000));
                }
            }
            if Instant::now() > deadline {
                bail!("not whole after {patience:?}: {roles:?}\n{}", self.log_tails());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes everything a member that does not run has stored, except its number.
    pub fn wipe(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        ensure!(!member.is_running(), "member {} still runs", index + 1);
        let folder = member.data_dir();
        for entry in folder.read_dir().with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
        }
        Ok(())
    }

    /// CPU time and memory of all running members together.
    pub fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for usage in self.members.iter().filter_map(|member| member.usage().ok()) {
            sum.cpu += usage.cpu;
            sum.resident += usage.resident;
            sum.resident_peak += usage.resident_peak;
        }
        Ok(sum)
    }

    /// The last lines of every member's messages.
    pub fn log_tails(&self) -> String {
        let tails = self.members.iter().enumerate();
        let tails =
            tails.map(|(index, member)| format!("--- member {}:\n{}", index + 1, member.log_tail(1500)));
        tails.collect::<Vec<String>>().join("\n")
    }
}
