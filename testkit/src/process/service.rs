//! What clients work on: one server, or an ensemble whose members they all know.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::broker::Make;
use super::child::{Freeze, Usage};
use super::ensemble::Ensemble;
use super::server::{Kind, Options, Server};

/// Which service to start, and which broker on it where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The implementation.
    pub kind: Kind,
    /// One server, or an ensemble of so many.
    pub members: usize,
    /// The implementation of the broker.
    pub broker: Make,
}

impl Target {
    /// One server, and our broker.
    pub fn one(kind: Kind) -> Target {
        Target { kind, members: 1, broker: Make::Ours }
    }

    /// Starts it and waits until it serves.
    pub fn start(self, options: Options) -> Result<Service> {
        Ok(match self.members {
            1 => Service::Server(Server::start_new(self.kind, options)?),
            members => Service::Ensemble(Ensemble::start_new(self.kind, members, options)?),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.members {
            1 => write!(f, "the {}", self.kind)?,
            members => write!(f, "{members} members of the {}", self.kind)?,
        }
        if self.broker == Make::Kafka { write!(f, " and Apache Kafka") } else { Ok(()) }
    }
}

/// How long an ensemble may take to be whole again after one member came back.
const WHOLE_PATIENCE: Duration = Duration::from_secs(60);

/// A running service.
#[derive(Debug)]
pub enum Service {
    /// One server.
    Server(Server),
    /// An ensemble.
    Ensemble(Ensemble),
}

impl Service {
    /// Which implementation this is.
    pub fn kind(&self) -> Kind {
        match self {
            Service::Server(server) => server.kind(),
            Service::Ensemble(ensemble) => ensemble.kind(),
        }
    }

    /// Every address for plain clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Service::Server(server) => vec![server.address()],
            Service::Ensemble(ensemble) => ensemble.addresses(),
        }
    }

    /// CPU time and memory of all its processes.
    pub fn usage(&self) -> Result<Usage> {
        match self {
            Service::Server(server) => server.usage(),
            Service::Ensemble(ensemble) => ensemble.usage(),
        }
    }

    /// Every address that clients may use, as connect strings have it.
    pub fn connect_string(&self) -> String {
        match self {
            Service::Server(server) => server.connect_string(),
            Service::Ensemble(ensemble) => ensemble.connect_string(),
        }
    }

    /// SIGTERM and a new start; of an ensemble, one member after the other, so that every client loses its connection
    /// and the service goes on.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Service::Server(server) => server.restart(),
            Service::Ensemble(ensemble) => {
                let order: Vec<usize> = (0..ensemble.size()).collect();
                one_by_one(ensemble, &order, |member| member.stop().map(drop))
            }
        }
    }

    /// SIGKILL and a new start; of an ensemble, the leader first, then the others one by one.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Service::Server(server) => server.kill_and_restart(),
            Service::Ensemble(ensemble) => {
                let leader = ensemble.await_leader(WHOLE_PATIENCE)?;
                let order: Vec<usize> =
                    (0..ensemble.size()).map(|step| (leader + step) % ensemble.size()).collect();
                one_by_one(ensemble, &order, Server::kill)
            }
        }
    }

    /// SIGKILL to the leader alone, and its return once another one leads.
    pub fn kill_leader(&mut self) -> Result<()> {
        let Service::Ensemble(ensemble) = self else { bail!("one server has no other leader") };
        let leader = ensemble.await_leader(WHOLE_PATIENCE)?;
        one_by_one(ensemble, &[leader], Server::kill)
    }

    /// Holds every process until the guards are dropped.
    pub fn freeze(&self) -> Result<Vec<Freeze>> {
        match self {
            Service::Server(server) => Ok(vec![server.freeze()?]),
            Service::Ensemble(ensemble) => {
                (0..ensemble.size()).map(|index| ensemble.member(index).freeze()).collect()
            }
        }
    }
}

/// Ends each of these members in turn and waits until a leader is there before it comes back.
fn one_by_one(
    ensemble: &mut Ensemble,
    order: &[usize],
    end: impl Fn(&mut Server) -> Result<()>,
) -> Result<()> {
    for &index in order {
        end(ensemble.member_mut(index))?;
        ensemble.await_leader(WHOLE_PATIENCE)?;
        ensemble.member_mut(index).launch()?;
        ensemble.await_whole(WHOLE_PATIENCE)?;
    }
    Ok(())
}
