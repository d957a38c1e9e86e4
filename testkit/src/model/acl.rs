//! Who may do what, spelled out.

use std::net::IpAddr;

use client::wire::zk::{Acl, ErrorCode, Identity};
use coordinator::tree::command::{AclRecord, IdentityRecord};

/// Somebody, as scheme and id.
pub type Who = (String, String);

/// The identities of a command.
pub fn identities(records: &[IdentityRecord<'_>]) -> Vec<Who> {
    records.iter().map(|who| (who.scheme.to_owned(), who.id.to_owned())).collect()
}

/// Whether a list lets somebody do any of `wanted`.
pub fn permits(list: &[Acl<'static>], wanted: i32, who: &[Who]) -> bool {
    if list.is_empty() {
        return true;
    }
    for (scheme, id) in who {
        if scheme == "super" {
            return true;
        }
        for entry in list {
            let same = match scheme.as_str() {
                "ip" => entry.identity.scheme == "ip" && in_network(id, &entry.identity.id),
                _ => entry.identity.scheme == *scheme && entry.identity.id == *id,
            };
            if same && entry.perms & wanted != 0 {
                return true;
            }
        }
    }
    list.iter().any(|entry| {
        entry.perms & wanted != 0 && entry.identity.scheme == "world" && entry.identity.id == "anyone"
    })
}

/// The bits of an address, first to last.
fn bits(address: &str) -> Option<Vec<bool>> {
    let octets = match address.parse().ok()? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    Some(octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect())
}

/// The bits that an address of the network begins with, and how many bits it has in all.
fn network(text: &str) -> Option<(Vec<bool>, usize)> {
    let mut parts = text.splitn(2, '/');
    let mut prefix = bits(parts.next()?)?;
    let width = prefix.len();
    if let Some(length) = parts.next() {
        let length: usize = length.parse().ok()?;
        if length > width {
            return None;
        }
        prefix.truncate(length);
    }
    Some((prefix, width))
}

fn in_network(address: &str, text: &str) -> bool {
    match (bits(address), network(text)) {
        (Some(address), Some((prefix, width))) => address.len() == width && address.starts_with(&prefix),
        _ => false,
    }
}

/// The list that a request leads to: valid, without repetition, `auth` replaced by who asks.
pub fn checked(list: &[AclRecord<'_>], who: &[Who]) -> Result<Vec<Acl<'static>>, ErrorCode> {
    let mut out = Vec::new();
    for (at, entry) in list.iter().enumerate() {
        if list[..at].contains(entry) {
            continue;
        }
        let ids: Vec<Who> = match entry.scheme {
            "auth" => who.iter().filter(|(scheme, _)| scheme != "ip" && scheme != "super").cloned().collect(),
            scheme => vec![(scheme.to_owned(), entry.id.to_owned())],
        };
        let valid = match entry.scheme {
            "auth" => !ids.is_empty(),
            "world" => entry.id == "anyone",
            "digest" => entry.id.matches(':').count() == 1,
            "ip" => network(entry.id).is_some(),
            "x509" | "sasl" => !entry.id.is_empty(),
            _ => false,
        };
        if !valid {
            return Err(ErrorCode::InvalidAcl);
        }
        for (scheme, id) in ids {
            out.push(Acl { perms: entry.perms, identity: Identity::new(scheme, id) });
        }
    }
    if out.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(out) }
}
