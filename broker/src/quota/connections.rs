//! How fast may connections be made, from one address and in all?

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::rate::{Rate, Windows};

/// Addresses that are measured at a time; those beyond share one measure.
const ADDRESSES_MAX: usize = 10_000;

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is served after so many milliseconds, and so is everybody behind it.
    After(u64),
    /// Its address makes too many: it is closed, after so many milliseconds.
    Refused(u64),
}

/// The limits of connections a second.
#[derive(Debug)]
pub struct Connections {
    windows: Windows,
    /// For all together.
    limit: Option<f64>,
    all: Rate,
    limit_by_address: BTreeMap<IpAddr, f64>,
    /// For addresses that have none of their own.
    limit_of_others: Option<f64>,
    by_address: BTreeMap<Option<IpAddr>, Rate>,
    swept_ms: u64,
}

impl Connections {
    pub fn new(windows: Windows) -> Connections {
        Connections {
            windows,
            limit: None,
            all: Rate::default(),
            limit_by_address: BTreeMap::new(),
            limit_of_others: None,
            by_address: BTreeMap::new(),
            swept_ms: 0,
        }
    }

    pub fn limit_all(&mut self, limit: Option<f64>) {
        self.limit = limit;
    }

    /// The limit of one address, or of those that have none of their own.
    pub fn limit_address(&mut self, address: Option<IpAddr>, limit: Option<f64>) {
        match (address, limit) {
            (None, limit) => self.limit_of_others = limit,
            (Some(address), Some(limit)) => drop(self.limit_by_address.insert(address, limit)),
            (Some(address), None) => drop(self.limit_by_address.remove(&address)),
        }
    }

    /// Takes the limits of all addresses away.
    pub fn unlimit_addresses(&mut self) {
        self.limit_by_address.clear();
        self.limit_of_others = None;
    }

    /// A connection from `address` wants to be let in, one of all that are limited together, or not.
    pub fn admit(&mut self, address: IpAddr, is_one_of_all: bool, now_ms: u64) -> Admission {
        let windows = self.windows;
        if let Some(limit) = self.limit_by_address.get(&address).copied().or(self.limit_of_others) {
            let rate = self.rate_of(address, now_ms);
            rate.add(windows, 1.0, now_ms);
            let wait_ms = rate.wait_ms(windows, limit, now_ms);
            if wait_ms > 0 {
                // It does not count: who goes on trying would never get in again.
                rate.add(windows, -1.0, now_ms);
                return Admission::Refused(wait_ms.min(windows.size_ms));
            }
        }
        let Some(limit) = self.limit.filter(|_| is_one_of_all) else { return Admission::After(0) };
        self.all.add(windows, 1.0, now_ms);
        Admission::After(self.all.wait_ms(windows, limit, now_ms).min(windows.size_ms))
    }

    fn rate_of(&mut self, address: IpAddr, now_ms: u64) -> &mut Rate {
        let windows = self.windows;
        let is_full = self.by_address.len() >= ADDRESSES_MAX;
        if is_full && now_ms.saturating_sub(self.swept_ms) >= windows.size_ms {
            self.swept_ms = now_ms;
            self.by_address.retain(|_, rate| !rate.is_idle(windows, now_ms));
        }
        let address = Some(address);
        let is_known = self.by_address.contains_key(&address);
        let address = if is_known || self.by_address.len() < ADDRESSES_MAX { address } else { None };
        self.by_address.entry(address).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::{After, Refused};

    fn admit(connections: &mut Connections, address: u8, count: usize, now_ms: u64) -> Vec<Admission> {
        (0..count).map(|_| connections.admit(IpAddr::from([127, 0, 0, address]), true, now_ms)).collect()
    }

    #[test]
    fn an_address_that_makes_too_many_is_refused_and_others_are_not() {
        let mut connections = Connections::new(Windows { count: 3, size_ms: 1000 });
        connections.limit_address(None, Some(2.0));
        connections.limit_address(Some(IpAddr::from([127, 0, 0, 9])), Some(3.0));
        assert_eq!(admit(&mut connections, 1, 4, 0), [After(0); 4]);
        assert_eq!(admit(&mut connections, 1, 2, 0), [Refused(500); 2]);
        assert_eq!(admit(&mut connections, 9, 6, 0), [After(0); 6], "it has a limit of its own");
        assert_eq!(admit(&mut connections, 1, 1, 3000), [After(0)]);
        connections.limit_address(None, None);
        assert_eq!(admit(&mut connections, 1, 100, 3000), [After(0); 100]);
    }

    #[test]
    fn all_wait_when_there_are_too_many_in_all() {
        let mut connections = Connections::new(Windows { count: 3, size_ms: 1000 });
        connections.limit_all(Some(1.0));
        assert_eq!(admit(&mut connections, 1, 2, 0), [After(0); 2]);
        assert_eq!(admit(&mut connections, 2, 2, 0), [After(1000); 2]);
        assert_eq!(connections.admit(IpAddr::from([127, 0, 0, 3]), false, 0), After(0));
    }
}
