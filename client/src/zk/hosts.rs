//! Connect strings: `host:port,host:port/chroot`.

use super::error::Error;
use crate::wire::zk::path;

const DEFAULT_PORT: u16 = 2181;

/// What a connect string says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Names or addresses, with ports.
    pub(crate) hosts: Vec<(String, u16)>,
    /// Put before every path; empty if there is none.
    pub(crate) chroot: String,
}

impl Hosts {
    pub(crate) fn parse(text: &str) -> Result<Hosts, Error> {
        let (list, chroot) = match text.find('/') {
            Some(at) => (&text[..at], &text[at..]),
            None => (text, ""),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            path::check(chroot).map_err(|reason| Error::BadPath { path: chroot.to_owned(), reason })?;
        }
        let hosts: Vec<_> = list
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(host)
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(Error::BadOption(format!("{text:?} names no host")));
        }
        Ok(Hosts { hosts, chroot: chroot.to_owned() })
    }
}

/// One entry; an IPv6 address with a port stands in brackets.
fn host(text: &str) -> Result<(String, u16), Error> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, after) =
                rest.split_once(']').ok_or_else(|| Error::BadOption(format!("{text:?} lacks a ]")))?;
            (name, after.strip_prefix(':'))
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => {
            port.parse().map_err(|_| Error::BadOption(format!("{port:?} in {text:?} is no port")))?
        }
    };
    if name.is_empty() {
        return Err(Error::BadOption(format!("{text:?} has no host name")));
    }
    Ok((name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings() {
        let parsed = |text: &str| {
            let Hosts { hosts, chroot } = Hosts::parse(text).unwrap();
            let hosts: Vec<String> = hosts.iter().map(|(name, port)| format!("{name}|{port}")).collect();
            format!("{} {chroot}", hosts.join(" "))
        };
        assert_eq!(parsed("a"), "a|2181 ");
        assert_eq!(parsed("a:1, b:2,/x/y"), "a|1 b|2 /x/y");
        assert_eq!(parsed("[::1]:5,::2,[::3]/"), "::1|5 ::2|2181 ::3|2181 ");
        for bad in ["", ",", "/x", "a:", "a:x", "a:99999", ":1", "[::1", "a/x/", "a//"] {
            assert!(Hosts::parse(bad).is_err(), "{bad}");
        }
    }
}
