//! Where does the broker listen, and what are clients told?

use super::{Problems, Values};
use crate::cluster::Endpoint;

/// How a listener is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Plaintext,
    Ssl,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Plaintext => "PLAINTEXT",
            Protocol::Ssl => "SSL",
        }
    }
}

/// One of the `listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    pub protocol: Protocol,
    /// Empty for all addresses.
    pub host: String,
    pub port: u16,
}

/// All of them, and what is said about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listeners {
    pub bind: Vec<Listener>,
    /// What clients are told, by the listener they came through. Port 0 stands for the one that is bound.
    pub advertised: Vec<Endpoint>,
    /// The listener over which brokers talk to each other.
    pub between_brokers: String,
}

pub(super) fn resolve(values: &Values, problems: &mut Problems) -> Listeners {
    let protocols = protocol_map(values, problems);
    let protocol_of =
        |name: &str| protocols.iter().find(|(known, _)| known == name).map(|&(_, protocol)| protocol);
    let mut bind: Vec<Listener> = Vec::new();
    let errors_before = problems.errors.len();
    let mut refused = Vec::new();
    for url in values.list("listeners") {
        let Some((name, host, port)) = split(url) else {
            values.complain("listeners", format_args!("{url} is not NAME://host:port"), problems);
            continue;
        };
        let Some(protocol) = protocol_of(&name) else {
            let what = format_args!(
                "{name} has no protocol in listener.security.protocol.map that this release speaks (PLAINTEXT, SSL)"
            );
            values.complain("listeners", what, problems);
            refused.push(name);
            continue;
        };
        if bind
            .iter()
            .any(|known| known.name == name || (known.port == port && port != 0 && known.host == host))
        {
            values.complain("listeners", format_args!("{url} is there twice"), problems);
            continue;
        }
        bind.push(Listener { name, protocol, host, port });
    }
    let mut advertised = Vec::new();
    let told =
        if values.get("advertised.listeners").is_some() { "advertised.listeners" } else { "listeners" };
    for url in values.list(told) {
        // What is wrong with the listeners themselves was said.
        let Some((name, host, port)) = split(url) else {
            if told != "listeners" {
                values.complain(told, format_args!("{url} is not NAME://host:port"), problems);
            }
            continue;
        };
        let Some(bound) = bind.iter().find(|listener| listener.name == name) else {
            if !refused.contains(&name) {
                values.complain(told, format_args!("{name} is not one of the listeners"), problems);
            }
            continue;
        };
        if told == "advertised.listeners" && (host == "0.0.0.0" || host == "::") {
            let what = format_args!("{host} is no address that a client could connect to");
            values.complain(told, what, problems);
            continue;
        }
        let host = if host.is_empty() || host == "0.0.0.0" || host == "::" { local_name() } else { host };
        let protocol = bound.protocol.name().to_owned();
        advertised.push(Endpoint { listener: name, host, port, protocol });
    }
    let between_brokers = match values.explicit("inter.broker.listener.name") {
        Some(name) => name.to_owned(),
        None => {
            let protocol = values.get("security.inter.broker.protocol").unwrap_or("PLAINTEXT");
            let found = advertised.iter().find(|endpoint| endpoint.protocol == protocol);
            found.map(|endpoint| endpoint.listener.clone()).unwrap_or_default()
        }
    };
    let is_told = advertised.iter().any(|endpoint| endpoint.listener == between_brokers);
    if !bind.is_empty() && !is_told && problems.errors.len() == errors_before {
        let name = if between_brokers.is_empty() {
            "security.inter.broker.protocol"
        } else {
            "inter.broker.listener.name"
        };
        values.complain(name, "it must be one of the advertised listeners", problems);
    }
    Listeners { bind, advertised, between_brokers }
}

fn protocol_map(values: &Values, problems: &mut Problems) -> Vec<(String, Protocol)> {
    const NAME: &str = "listener.security.protocol.map";
    let mut map = Vec::new();
    for pair in values.list(NAME) {
        match pair.split_once(':') {
            Some((name, "PLAINTEXT")) => map.push((name.to_owned(), Protocol::Plaintext)),
            Some((name, "SSL")) => map.push((name.to_owned(), Protocol::Ssl)),
            // Known, and not spoken yet: only a listener that uses it is an error.
            Some((_, "SASL_PLAINTEXT" | "SASL_SSL")) => {}
            _ => values.complain(NAME, format_args!("{pair} is not NAME:PROTOCOL"), problems),
        }
    }
    map
}

/// `NAME://host:port`, with an IPv6 address in brackets; the host may be empty.
fn split(url: &str) -> Option<(String, String, u16)> {
    let (name, rest) = url.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if name.is_empty() {
        return None;
    }
    Some((name.to_ascii_uppercase(), host.to_owned(), port.parse().ok()?))
}

/// The name of this machine, for listeners on all addresses.
fn local_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
