//! How many connections may there be, and how fast may they come?
//!
//! All of this may change while the broker runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use super::{Problems, Values};

/// The limits that hold now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionLimits {
    pub count_max: usize,
    pub count_per_address_max: usize,
    /// Addresses that have a limit of their own.
    pub overrides: BTreeMap<IpAddr, usize>,
    /// Listeners that have a limit of their own besides, by their names in lower case.
    pub by_listener: BTreeMap<String, usize>,
    /// New ones a second; `None` for as many as come.
    pub creation_rate: Option<u32>,
}

impl ConnectionLimits {
    /// What these settings come to, or what is wrong with them.
    pub fn of(values: &Values) -> Result<ConnectionLimits, String> {
        let mut problems = Problems::default();
        let limits = resolve(values, &mut problems);
        match problems.errors.first() {
            None => Ok(limits),
            Some(problem) => Err(problem.text.clone()),
        }
    }
}

pub(super) fn resolve(values: &Values, problems: &mut Problems) -> ConnectionLimits {
    const INT_MAX: i64 = i32::MAX as i64;
    let mut number = |name: &str, min: i64| values.number(name, min, INT_MAX, problems);
    let count_max = number("max.connections", 0) as usize;
    let count_per_address_max = number("max.connections.per.ip", 0) as usize;
    let rate = number("max.connection.creation.rate", 1);
    ConnectionLimits {
        count_max,
        count_per_address_max,
        overrides: overrides(values, problems),
        by_listener: by_listener(values, problems),
        creation_rate: u32::try_from(rate).ok().filter(|_| rate != INT_MAX),
    }
}

fn by_listener(values: &Values, problems: &mut Problems) -> BTreeMap<String, usize> {
    let mut limits = BTreeMap::new();
    for (name, _) in values.iter() {
        let listener =
            name.strip_prefix("listener.name.").and_then(|rest| rest.strip_suffix(".max.connections"));
        if let Some(listener) = listener {
            let count_max = values.number(name, 0, i32::MAX.into(), problems);
            limits.insert(listener.to_owned(), count_max as usize);
        }
    }
    limits
}

fn overrides(values: &Values, problems: &mut Problems) -> BTreeMap<IpAddr, usize> {
    const NAME: &str = "max.connections.per.ip.overrides";
    let mut overrides = BTreeMap::new();
    for pair in values.list(NAME) {
        let parsed = pair.rsplit_once(':').and_then(|(host, count)| Some((host, count.trim().parse().ok()?)));
        let Some((host, count)) = parsed else {
            values.complain(NAME, format_args!("{pair} is not host:count"), problems);
            continue;
        };
        match address_of(host.trim()) {
            Some(address) => drop(overrides.insert(address, count)),
            None => values.complain(NAME, format_args!("{host} has no address"), problems),
        }
    }
    overrides
}

/// An address, or the first one of a name.
fn address_of(host: &str) -> Option<IpAddr> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    plain.parse().ok().or_else(|| Some((plain, 0).to_socket_addrs().ok()?.next()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(name: &str, value: &str) -> Result<ConnectionLimits, String> {
        ConnectionLimits::of(&Values::default().overlaid(&BTreeMap::from([(name.into(), value.into())])))
    }

    #[test]
    fn addresses_may_have_limits_of_their_own() {
        let found = limits("max.connections.per.ip.overrides", "127.0.0.1:5, [::1]:0,10.0.0.1:2147483647");
        let overrides = found.expect("good").overrides;
        let of = |text: &str| overrides.get(&text.parse::<IpAddr>().expect("an address")).copied();
        assert_eq!((of("127.0.0.1"), of("::1"), of("127.0.0.2")), (Some(5), Some(0), None));
        for bad in ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:-1"] {
            assert!(limits("max.connections.per.ip.overrides", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_may_have_limits_of_their_own() {
        let found = limits("listener.name.outside.max.connections", "5").expect("good").by_listener;
        assert_eq!(found, BTreeMap::from([("outside".to_owned(), 5)]));
        assert!(limits("listener.name.outside.max.connections", "-1").is_err());
    }

    #[test]
    fn the_largest_rate_is_none() {
        assert_eq!(limits("max.connection.creation.rate", "2147483647").expect("good").creation_rate, None);
        assert_eq!(limits("max.connection.creation.rate", "7").expect("good").creation_rate, Some(7));
        assert!(limits("max.connection.creation.rate", "0").is_err());
    }
}
