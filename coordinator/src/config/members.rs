//! The `server.N` lines: who belongs to an ensemble, in which role, and where clients reach it.
//!
//! `host:quorumPort:electionPort[:role][;[clientAddress:]clientPort[;[secureAddress:]securePort]]`, where the first part may
//! be repeated after a vertical bar (several network addresses) and IPv6 addresses stand in brackets.

use std::fmt;

/// What a member may do in an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Votes, and may lead.
    Participant,
    /// Follows without a vote.
    Observer,
}

/// One host with the two ports members use among themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// Where followers connect to a leader.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// A client endpoint written behind a semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address to listen on; all of them when absent.
    pub host: Option<String>,
    /// The port to listen on.
    pub port: u16,
}

/// One `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The N of `server.N`.
    pub id: u8,
    /// At least one.
    pub addresses: Vec<MemberAddress>,
    /// Participant unless the line says observer.
    pub role: Role,
    /// The plain client port, if the line names one.
    pub client: Option<ClientAddress>,
    /// The TLS client port, if the line names one.
    pub secure: Option<ClientAddress>,
}

/// What is wrong with a `server.N` line, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MemberError(String);

impl MemberError {
    pub(super) fn new(reason: impl Into<String>) -> MemberError {
        MemberError(reason.into())
    }
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, MemberError> {
    Err(MemberError(reason.into()))
}

impl Member {
    /// Reads the value of `server.<id>`.
    pub fn parse(id: &str, text: &str) -> Result<Member, MemberError> {
        // 255 is the top byte that marks TTL nodes in a session id, so no server may have it.
        let id = match id.parse::<u8>() {
            Ok(id) if id <= 254 => id,
            _ => return wrong("the number behind \"server.\" must be between 0 and 254"),
        };
        let mut parts = text.split(';');
        let server = parts.next().unwrap_or_default();
        let client = parts.next().map(client_address).transpose()?;
        let secure = parts.next().map(client_address).transpose()?;
        if parts.next().is_some() {
            return wrong("at most two client addresses may follow, each behind a \";\"");
        }
        let mut role = None;
        let mut addresses = Vec::new();
        for address in server.split('|') {
            let fields = split_colons(address.trim())?;
            let [host, quorum, election, rest @ ..] = fields.as_slice() else {
                return wrong("host:quorumPort:electionPort is the least it must say");
            };
            match rest {
                [] => {}
                [text] => role = Some(parse_role(text)?),
                _ => return wrong("nothing may follow the role except \";\" and a client port"),
            }
            check_host(host)?;
            addresses.push(MemberAddress {
                host: host.clone(),
                quorum_port: port(quorum)?,
                election_port: port(election)?,
            });
        }
        Ok(Member { id, addresses, role: role.unwrap_or(Role::Participant), client, secure })
    }

    /// Does it vote?
    pub fn is_voter(&self) -> bool {
        self.role == Role::Participant
    }
}

/// Whether a name resolves is only known when it is dialled; that it never can is known here.
fn check_host(host: &str) -> Result<(), MemberError> {
    if host.is_empty() {
        return wrong("the host is empty");
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    // A scope may follow an IPv6 address behind a percent sign.
    let address = host.split('%').next().unwrap_or_default().parse::<std::net::IpAddr>();
    if address.is_err() && host != "*" && (host.len() > 255 || !host.chars().all(allowed)) {
        return wrong(format!("\"{host}\" is neither a host name nor an address"));
    }
    Ok(())
}

fn parse_role(text: &str) -> Result<Role, MemberError> {
    match text.to_ascii_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => wrong(format!("the role \"{text}\" is neither participant nor observer")),
    }
}

fn client_address(text: &str) -> Result<ClientAddress, MemberError> {
    match split_colons(text.trim())?.as_slice() {
        [only] => Ok(ClientAddress { host: None, port: port(only)? }),
        [host, number] => Ok(ClientAddress { host: Some(host.clone()), port: port(number)? }),
        _ => wrong(format!(
            "the client address \"{text}\" is not [address:]port (IPv6 addresses stand in brackets)"
        )),
    }
}

fn port(text: &str) -> Result<u16, MemberError> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => wrong(format!("\"{text}\" is not a port between 1 and 65535")),
    }
}

/// Splits at colons outside brackets and takes the brackets away.
fn split_colons(text: &str) -> Result<Vec<String>, MemberError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, tail) = match rest.strip_prefix('[') {
            Some(inner) => match inner.split_once(']') {
                Some(split) => split,
                None => return wrong(format!("\"{text}\" has an opening bracket without its closing one")),
            },
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        fields.push(field.to_owned());
        match tail.strip_prefix(':') {
            Some(next) => rest = next,
            None if tail.is_empty() => return Ok(fields),
            None => return wrong(format!("\"{tail}\" follows a closing bracket where a \":\" should")),
        }
    }
}

impl fmt::Display for Member {
    /// As it stands behind `server.N=`, in the form in which ZooKeeper prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        for (index, MemberAddress { host, quorum_port, election_port }) in self.addresses.iter().enumerate() {
            let bar = if index > 0 { "|" } else { "" };
            write!(f, "{bar}{}:{quorum_port}:{election_port}", bracketed(host))?;
        }
        write!(f, ":{}", self.role)?;
        for client in [&self.client, &self.secure].into_iter().flatten() {
            let host = client.host.as_deref().unwrap_or("0.0.0.0");
            write!(f, ";{}:{}", bracketed(host), client.port)?;
        }
        Ok(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_member_is_printed_as_it_is_read() {
        for text in
            ["a:1:2:participant", "a:1:2:observer;0.0.0.0:3", "[::1]:1:2|b:3:4:participant;[::2]:5;c:6"]
        {
            assert_eq!(Member::parse("1", text).unwrap().to_string(), text);
        }
        assert_eq!(Member::parse("1", "a:1:2;3").unwrap().to_string(), "a:1:2:participant;0.0.0.0:3");
    }

    #[test]
    fn every_form_of_the_line() {
        let full = Member::parse("3", "zoo1:2888:3888:observer;10.0.0.1:2181;[::1]:2281").unwrap();
        assert_eq!(full.role, Role::Observer);
        assert_eq!(
            full.addresses,
            [MemberAddress { host: "zoo1".into(), quorum_port: 2888, election_port: 3888 }]
        );
        assert_eq!(full.client, Some(ClientAddress { host: Some("10.0.0.1".into()), port: 2181 }));
        assert_eq!(full.secure, Some(ClientAddress { host: Some("::1".into()), port: 2281 }));

        let two = Member::parse("1", "[fe80::1]:2888:3888|b:2889:3889;2181").unwrap();
        assert_eq!(two.addresses.len(), 2);
        assert_eq!(two.addresses[0].host, "fe80::1");
        assert_eq!(two.client, Some(ClientAddress { host: None, port: 2181 }));
        assert_eq!(two.role, Role::Participant);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |id: &str, text: &str, part: &str| {
            let error = Member::parse(id, text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("300", "a:1:2", "between 0 and 254");
        check("1", "a:1", "least");
        check("1", "a:1:2:leader", "neither participant nor observer");
        check("1", "a:0:2", "not a port");
        check("1", "[::1:1:2", "closing");
        check("1", "::1:1:2", "nothing may follow");
        check("1", ":1:2", "host is empty");
        check("1", "a:1:2;1;2;3", "at most two");
        check("1", "a b:1:2", "neither a host name nor an address");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = Member::parse("1", &text);
        }
    }
}
