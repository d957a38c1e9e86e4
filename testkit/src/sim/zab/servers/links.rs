//! Connections between clients and servers: in order while they last, and lost in the middle when they do not.

use super::super::World;
use super::super::agenda::{At, Happening};
use crate::check::service::Violation;

/// What reaches a client or a server.
#[derive(Debug)]
pub(in crate::sim::zab) enum Passing {
    /// A client does something.
    Wake {
        client: usize,
    },
    /// A frame, or the end of the connection.
    ToServer {
        link: u64,
        frame: Option<Vec<u8>>,
    },
    ToClient {
        link: u64,
        frame: Option<Vec<u8>>,
    },
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) at: At,
    /// Of the server's process.
    life: u64,
    /// Nothing that is sent arrives any more.
    broken: bool,
    /// Which ends know of it.
    client_open: bool,
    server_open: bool,
    /// When all that is on its way will have arrived.
    to_client_us: u64,
    to_server_us: u64,
}

impl World {
    pub(in crate::sim::zab) fn pass(&mut self, passing: Passing) -> Result<(), Violation> {
        match passing {
            Passing::Wake { client } => {
                self.wake(client);
                Ok(())
            }
            Passing::ToServer { link, frame } => {
                self.reach_server(link, frame);
                Ok(())
            }
            Passing::ToClient { link, frame } => self.reach_client(link, frame),
        }
    }

    /// A client connects to a member. Nothing, if nobody listens there.
    pub(super) fn link(&mut self, client: usize, at: At) -> Option<u64> {
        let servers = self.servers.as_mut()?;
        let member = &self.members[at];
        member.process.as_ref()?;
        servers.links_count += 1;
        let link = Link {
            client,
            at,
            life: member.life,
            broken: false,
            client_open: true,
            server_open: true,
            to_client_us: 0,
            to_server_us: 0,
        };
        servers.links.insert(servers.links_count, link);
        Some(servers.links_count)
    }

    pub(super) fn send_to_server(&mut self, id: u64, frame: Option<Vec<u8>>) {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return };
        let delay_us = servers.network.between(50, 2_000);
        let Some(link) = servers.links.get_mut(&id).filter(|link| !link.broken) else { return };
        link.to_server_us = link.to_server_us.max(now_us + delay_us);
        let time_us = link.to_server_us;
        self.agenda.at(time_us, Happening::Client(Passing::ToServer { link: id, frame }));
    }

    pub(super) fn send_to_client(&mut self, id: u64, frame: Option<Vec<u8>>) {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return };
        let delay_us = servers.network.between(50, 2_000);
        let Some(link) = servers.links.get_mut(&id).filter(|link| !link.broken) else { return };
        link.to_client_us = link.to_client_us.max(now_us + delay_us);
        let time_us = link.to_client_us;
        self.agenda.at(time_us, Happening::Client(Passing::ToClient { link: id, frame }));
    }

    /// What is on its way takes longer, in both directions.
    pub(super) fn stall_link(&mut self, id: u64, us: u64) {
        let now_us = self.agenda.now_us();
        let link = self.servers.as_mut().and_then(|servers| servers.links.get_mut(&id));
        if let Some(link) = link {
            link.to_client_us = link.to_client_us.max(now_us + us);
            link.to_server_us = link.to_server_us.max(now_us + us);
        }
    }

    /// It breaks: each end gets a part of what is on its way, and learns of it later.
    pub(super) fn break_link(&mut self, id: u64) {
        let Some(servers) = &mut self.servers else { return };
        let notice = servers.network.one_of(&[2_000, 2_000, 100_000, 8_000_000]);
        let (client_us, server_us) = (servers.network.below(notice), servers.network.below(notice));
        let Some(link) = servers.links.get_mut(&id) else { return };
        link.broken = true;
        self.agenda.after(client_us, Happening::Client(Passing::ToClient { link: id, frame: None }));
        self.agenda.after(server_us, Happening::Client(Passing::ToServer { link: id, frame: None }));
    }

    /// The client wants no more of it.
    pub(super) fn leave_link(&mut self, id: u64) {
        self.send_to_server(id, None);
        if let Some(link) = self.servers.as_mut().and_then(|servers| servers.links.get_mut(&id)) {
            link.client_open = false;
        }
    }

    /// A process has died with all of its connections.
    pub(in crate::sim::zab) fn break_links_of(&mut self, at: At) {
        let Some(servers) = &mut self.servers else { return };
        for (id, link) in servers.links.iter_mut().filter(|(_, link)| link.at == at) {
            (link.broken, link.server_open) = (true, false);
            let most = servers.network.one_of(&[2_000, 2_000, 3_000_000]);
            let after_us = servers.network.below(most);
            self.agenda.after(after_us, Happening::Client(Passing::ToClient { link: *id, frame: None }));
        }
    }

    fn reach_server(&mut self, id: u64, frame: Option<Vec<u8>>) {
        let Some(servers) = &mut self.servers else { return };
        let Some(link) = servers.links.get_mut(&id).filter(|link| link.server_open) else { return };
        let (at, life) = (link.at, link.life);
        if frame.is_none() {
            link.server_open = false;
            if !link.client_open {
                servers.links.remove(&id);
            }
        }
        let member = &mut self.members[at];
        let same = member.life == life;
        if let Some(server) =
            member.process.as_mut().filter(|_| same).and_then(|process| process.server_mut())
        {
            server.arrived.push_back((id, frame));
            self.plan_turn(at);
        }
    }

    fn reach_client(&mut self, id: u64, frame: Option<Vec<u8>>) -> Result<(), Violation> {
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let Some(link) = servers.links.get_mut(&id).filter(|link| link.client_open) else { return Ok(()) };
        let client = link.client;
        match frame {
            Some(frame) => self.hear(client, &frame),
            None => {
                link.client_open = false;
                if !link.server_open {
                    servers.links.remove(&id);
                }
                self.lose(client);
                Ok(())
            }
        }
    }
}
