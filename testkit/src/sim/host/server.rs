//! The coordinator's core as one server, its log, and the connections of everybody to it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use client::wire::zk::reply::XID_NOTIFICATION;
use coordinator::request::{Duty, Now, Service, Settings};
use coordinator::tree::Tree;
use coordinator::tree::watches::ConnectionId;

use super::pipe::{Network, SharedLine, lock};
use super::stage::Weather;
use crate::check::service::{Violation, violation};
use crate::sim::random::Random;
use crate::sim::solo::{Configuration as ServerConfiguration, SERVER};
use crate::sim::trace::Trace;

/// A command that was executed just now.
#[derive(Debug)]
pub struct Committed {
    pub zxid: u64,
    pub bytes: Bytes,
}

#[derive(Debug)]
struct InFlight {
    serial: u64,
    bytes: Bytes,
    durable_at_ms: u64,
}

/// One direction of a connection: what is on its way, and when it arrives. In order, as TCP has it.
#[derive(Debug, Default)]
struct Way {
    items: VecDeque<(u64, Vec<u8>)>,
    /// When everything on the way will have arrived.
    clear_at_ms: u64,
}

impl Way {
    fn send(&mut self, at_ms: u64, bytes: Vec<u8>) {
        self.clear_at_ms = self.clear_at_ms.max(at_ms);
        self.items.push_back((self.clear_at_ms, bytes));
    }

    fn arrives(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.items.pop_front_if(|(at_ms, _)| *at_ms <= now_ms).map(|(_, bytes)| bytes)
    }

    fn stall(&mut self, until_ms: u64) {
        self.clear_at_ms = self.clear_at_ms.max(until_ms);
        self.items.iter_mut().for_each(|(at_ms, _)| *at_ms = (*at_ms).max(until_ms));
    }
}

#[derive(Debug)]
struct Link {
    process: usize,
    line: SharedLine,
    /// Of a frame whose end has not been written yet.
    begun: Vec<u8>,
    to_server: Way,
    to_client: Way,
    /// The server has closed it, behind what is on the way.
    closing: bool,
}

/// The server, and everything that does not die with its process.
#[derive(Debug)]
pub(super) struct Server {
    weather: Weather,
    random: Random,
    settings: Settings,
    /// None while the machine is off.
    service: Option<Service>,
    /// The durable log, from zxid 1 on, as far as it was executed.
    log: Vec<Bytes>,
    /// What the log held beyond that at the last power cut.
    recovered: VecDeque<Bytes>,
    in_flight: VecDeque<InFlight>,
    links: BTreeMap<u64, Link>,
    links_count: u64,
    networks: Vec<Arc<Network>>,
    ticked_at_ms: u64,
    starts_at_ms: u64,
    /// A mistake that can be built in: some events never leave the server.
    pub(super) loses_events: bool,
    /// Nothing is late or lost any more.
    pub(super) healed: bool,
}

const TICK_MS: u64 = 200;

impl Server {
    /// A server that so many processes can reach.
    pub(super) fn new(processes: usize, weather: Weather, mut random: Random) -> Server {
        let mut settings = ServerConfiguration::draw(&mut random).settings();
        settings.session.tick = std::time::Duration::from_millis(TICK_MS);
        settings.session.timeout_min = std::time::Duration::from_millis(weather.session_ms);
        settings.session.timeout_max = settings.session.timeout_min;
        settings.limits.outstanding_per_connection_max = 1000;
        settings.tree.enforce_quota = false;
        let mut server = Server {
            weather,
            random,
            settings,
            service: None,
            log: Vec::new(),
            recovered: VecDeque::new(),
            in_flight: VecDeque::new(),
            links: BTreeMap::new(),
            links_count: 0,
            networks: (0..processes).map(|_| Arc::default()).collect(),
            ticked_at_ms: 0,
            starts_at_ms: 0,
            loses_events: false,
            healed: false,
        };
        server.boot(0);
        server
    }

    /// How a process reaches the server.
    pub(super) fn network(&self, process: usize) -> Arc<Network> {
        Arc::clone(&self.networks[process])
    }

    /// The state that was agreed on, unless the machine is off.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.service.as_ref().map(Service::tree)
    }

    fn now(now_ms: u64) -> Now {
        Now { monotonic_us: now_ms * 1000, wall_ms: 1_000_000 + now_ms as i64 }
    }

    fn boot(&mut self, now_ms: u64) {
        let mut tree = Tree::new(1);
        for (index, bytes) in self.log.iter().enumerate() {
            let executed = tree.execute(Zxid(index as u64 + 1), bytes, &mut Vec::new());
            executed.expect("it was executed before");
        }
        let seed = [self.random.next_u64() as u8; 32];
        self.service = Some(Service::new(self.settings.clone(), tree, seed, Self::now(now_ms)));
        self.ticked_at_ms = now_ms;
    }

    fn open(&mut self, now_ms: u64) {
        self.networks.iter().for_each(|network| network.refuse(false));
        if let Some(service) = &mut self.service {
            service.stand(Duty::Alone, Self::now(now_ms));
        }
        self.pump(now_ms);
    }

    /// The machine loses its power, and is back after a while. What was being written may be there or not.
    pub(super) fn power_cut(&mut self, now_ms: u64, back_at_ms: u64) {
        let kept = self.random.below(self.in_flight.len() as u64 + 1) as usize;
        let durable = self.in_flight.iter().take_while(|next| next.durable_at_ms <= now_ms).count();
        let kept = kept.max(durable);
        self.recovered.extend(self.in_flight.drain(..).take(kept).map(|next| next.bytes));
        self.service = None;
        self.starts_at_ms = back_at_ms;
        self.networks.iter().for_each(|network| network.refuse(true));
        let links: Vec<u64> = self.links.keys().copied().collect();
        links.into_iter().for_each(|id| self.cut(id, now_ms));
    }

    /// Lets everything happen that is due, up to one command: what was executed is for the caller to look at before
    /// anything else happens. None: there is nothing more to do now.
    pub(super) fn step(&mut self, now_ms: u64, trace: &mut Trace) -> Result<Option<Committed>, Violation> {
        if self.service.is_none() {
            if now_ms < self.starts_at_ms {
                self.take_written(now_ms);
                return Ok(None);
            }
            self.boot(now_ms);
        }
        if let Some(bytes) = self.recovered.pop_front() {
            return self.execute((0, 0), bytes, now_ms).map(Some);
        }
        if self.service.as_ref().is_some_and(|service| service.duty() == Duty::Idle) {
            self.open(now_ms);
        }
        self.take_written(now_ms);
        self.serve(now_ms, trace);
        if self.ticked_at_ms + TICK_MS <= now_ms {
            self.ticked_at_ms = now_ms;
            if let Some(service) = &mut self.service {
                service.tick(Self::now(now_ms));
            }
            self.pump(now_ms);
        }
        let committed = self.commit(now_ms)?;
        self.deliver(now_ms);
        Ok(committed)
    }

    fn commit(&mut self, now_ms: u64) -> Result<Option<Committed>, Violation> {
        let Some(InFlight { serial, bytes, .. }) =
            self.in_flight.pop_front_if(|next| next.durable_at_ms <= now_ms)
        else {
            return Ok(None);
        };
        self.execute((SERVER, serial), bytes, now_ms).map(Some)
    }

    fn execute(&mut self, whose: (u8, u64), bytes: Bytes, now_ms: u64) -> Result<Committed, Violation> {
        self.log.push(bytes.clone());
        let zxid = self.log.len() as u64;
        if let Some(service) = &mut self.service
            && let Err(error) = service.committed(Zxid(zxid), whose, &bytes, Self::now(now_ms))
        {
            return violation("C7", format!("{zxid:#x} cannot be executed: {error}"));
        }
        self.pump(now_ms);
        Ok(Committed { zxid, bytes })
    }

    fn delay(&mut self) -> u64 {
        let usual = self.random.between(1, self.weather.delay_ms);
        let late = self.weather.late;
        let is_late = !self.healed && late > 0 && self.random.one_in(late);
        usual + if is_late { self.random.below(1000) } else { 0 }
    }

    /// Frames that clients have written are on their way.
    fn take_written(&mut self, now_ms: u64) {
        for process in 0..self.networks.len() {
            for line in self.networks[process].take_dialed() {
                self.links_count += 1;
                let id = self.links_count;
                let link = Link {
                    process,
                    line,
                    begun: Vec::new(),
                    to_server: Way::default(),
                    to_client: Way::default(),
                    closing: false,
                };
                self.links.insert(id, link);
                let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, process as u8));
                if let Some(service) = &mut self.service {
                    let now = Self::now(now_ms);
                    service.connect(ConnectionId(id), (address, 1), false, Vec::new(), now);
                }
            }
        }
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let (written, left) = {
                let mut line = lock(&link.line);
                (std::mem::take(&mut line.written), line.left)
            };
            link.begun.extend(written);
            let mut frames = Vec::new();
            while let Some(head) = link.begun.first_chunk::<4>() {
                let size = 4 + u32::from_be_bytes(*head) as usize;
                if link.begun.len() < size {
                    break;
                }
                frames.push(link.begun.drain(..size).skip(4).collect::<Vec<u8>>());
            }
            for frame in frames {
                let at_ms = now_ms + self.delay();
                if let Some(link) = self.links.get_mut(&id) {
                    link.to_server.send(at_ms, frame);
                }
            }
            // What was written before may still arrive, all of it or only the beginning.
            if left && self.links.get(&id).is_some_and(|link| link.to_server.items.is_empty()) {
                self.hang_up(id);
            }
        }
    }

    fn serve(&mut self, now_ms: u64, trace: &mut Trace) {
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            loop {
                let Some(service) = &mut self.service else { return };
                if !service.may_read(ConnectionId(id)) {
                    break;
                }
                let frame = self.links.get_mut(&id).and_then(|link| link.to_server.arrives(now_ms));
                let Some(frame) = frame else { break };
                trace.fold(id << 32 | frame.len() as u64);
                service.frame(ConnectionId(id), &frame, Self::now(now_ms));
                self.pump(now_ms);
            }
        }
    }

    /// Carries out what the service wishes.
    fn pump(&mut self, now_ms: u64) {
        let Some(service) = &mut self.service else { return };
        for proposal in service.take_proposals() {
            let last = self.in_flight.back().map_or(0, |last| last.durable_at_ms);
            let durable_at_ms = last.max(now_ms + self.random.below(self.weather.sync_ms + 1));
            let (serial, bytes) = (proposal.serial, proposal.bytes);
            self.in_flight.push_back(InFlight { serial, bytes, durable_at_ms });
        }
        let mut out = Vec::new();
        for ConnectionId(id) in service.take_noted() {
            service.take_output(ConnectionId(id), &mut out);
            service.sent(out.len());
            if self.loses_events && self.random.one_in(5) {
                out = without_events(&out);
            }
            let is_closing = service.is_closing(ConnectionId(id));
            if is_closing {
                service.disconnect(ConnectionId(id));
            }
            let usual = self.random.between(1, self.weather.delay_ms);
            if let Some(link) = self.links.get_mut(&id) {
                link.to_client.send(now_ms + usual, std::mem::take(&mut out));
                link.closing = is_closing;
            }
        }
    }

    fn deliver(&mut self, now_ms: u64) {
        let mut closed = Vec::new();
        for (id, link) in &mut self.links {
            while let Some(bytes) = link.to_client.arrives(now_ms) {
                lock(&link.line).deliver(&bytes);
            }
            if link.closing && link.to_client.items.is_empty() {
                lock(&link.line).close();
                closed.push(*id);
            }
        }
        closed.into_iter().for_each(|id| drop(self.links.remove(&id)));
    }

    fn hang_up(&mut self, id: u64) {
        self.links.remove(&id);
        if let Some(service) = &mut self.service {
            service.disconnect(ConnectionId(id));
        }
    }

    // ---- what goes wrong ----

    /// Connections of a process break: what was on the way to the server may still arrive, what was on the way back is
    /// lost. True if there were any.
    pub(super) fn cut_all_of(&mut self, process: usize, now_ms: u64) -> bool {
        let of_it = self.links.iter().filter(|(_, link)| link.process == process);
        let ids: Vec<u64> = of_it.map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| self.cut(*id, now_ms));
        !ids.is_empty()
    }

    fn cut(&mut self, id: u64, now_ms: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let arrive = self.random.below(link.to_server.items.len() as u64 + 1) as usize;
        let frames: Vec<Vec<u8>> =
            link.to_server.items.drain(..).take(arrive).map(|(_, frame)| frame).collect();
        lock(&link.line).close();
        for frame in frames {
            if let Some(service) = &mut self.service
                && service.may_read(ConnectionId(id))
            {
                service.frame(ConnectionId(id), &frame, Self::now(now_ms));
            }
        }
        self.pump(now_ms);
        self.hang_up(id);
    }

    /// Nothing of or to a process arrives for a while.
    pub(super) fn stall(&mut self, process: usize, until_ms: u64) {
        for link in self.links.values_mut().filter(|link| link.process == process) {
            link.to_server.stall(until_ms);
            link.to_client.stall(until_ms);
        }
    }

    /// The process is gone: its sockets are closed by its kernel.
    pub(super) fn process_died(&mut self, process: usize, now_ms: u64) {
        self.cut_all_of(process, now_ms);
        drop(self.networks[process].take_dialed());
    }
}

fn without_events(mut bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let (frame, rest) = bytes.split_at(4 + u32::from_be_bytes(*head) as usize);
        if !frame[4..].starts_with(&XID_NOTIFICATION.to_be_bytes()) {
            kept.extend_from_slice(frame);
        }
        bytes = rest;
    }
    kept
}
