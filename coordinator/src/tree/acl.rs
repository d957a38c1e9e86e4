//! Who may do what to a node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use client::wire::zk::{Acl, ErrorCode, Identity, perms};

use super::command::{AclRecord, IdentityRecord};
use crate::limits::ACL_ENTRIES_MAX;

/// A list in the [`AclTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclId(pub u32);

impl AclId {
    /// Everything to everyone.
    pub const OPEN: AclId = AclId(0);
}

/// A list of entries, shared by every node that has it.
pub type AclList = Arc<[Acl<'static>]>;

/// Every distinct list once: nearly all nodes share a handful.
#[derive(Debug)]
pub struct AclTable {
    lists: Vec<Option<(AclList, u64)>>,
    ids: BTreeMap<AclList, AclId>,
    free: BTreeSet<AclId>,
}

impl Default for AclTable {
    fn default() -> Self {
        let open: AclList = Arc::new([Acl::open()]);
        AclTable {
            ids: BTreeMap::from([(open.clone(), AclId::OPEN)]),
            lists: vec![Some((open, 1))],
            free: BTreeSet::new(),
        }
    }
}

impl AclTable {
    pub fn get(&self, id: AclId) -> &AclList {
        &self.lists[id.0 as usize].as_ref().expect("nodes refer to live lists").0
    }

    /// The id of a list, entered if it is new. Does not count a user: see [`AclTable::retain`].
    pub fn intern(&mut self, list: &[Acl<'static>]) -> AclId {
        if let [only] = list
            && *only == Acl::open()
        {
            return AclId::OPEN;
        }
        if let Some(id) = self.ids.get(list) {
            return *id;
        }
        let list: AclList = Arc::from(list);
        let id = self.free.pop_first().unwrap_or_else(|| {
            self.lists.push(None);
            AclId(self.lists.len() as u32 - 1)
        });
        self.lists[id.0 as usize] = Some((list.clone(), 0));
        self.ids.insert(list, id);
        id
    }

    /// A node uses the list.
    pub fn retain(&mut self, id: AclId) {
        if id != AclId::OPEN {
            self.lists[id.0 as usize].as_mut().expect("lists live while used").1 += 1;
        }
    }

    /// A node stops using the list; without users it goes.
    pub fn release(&mut self, id: AclId) {
        if id == AclId::OPEN {
            return;
        }
        let entry = &mut self.lists[id.0 as usize];
        let (list, users) = entry.as_mut().expect("lists live while used");
        *users -= 1;
        if *users == 0 {
            self.ids.remove(list);
            *entry = None;
            self.free.insert(id);
        }
    }

    /// Every list with its id, for a snapshot.
    pub fn iter(&self) -> impl Iterator<Item = (AclId, &AclList)> {
        self.lists
            .iter()
            .enumerate()
            .filter_map(|(id, entry)| entry.as_ref().map(|(list, _)| (AclId(id as u32), list)))
    }

    /// Enters a list of a snapshot under the id it had. False if the id is taken or out of order.
    pub fn restore(&mut self, id: AclId, list: AclList) -> bool {
        if id == AclId::OPEN {
            return list.len() == 1 && list[0] == Acl::open();
        }
        let at = id.0 as usize;
        // Snapshots list ids in rising order; a gap is a list that was free.
        if at < self.lists.len() || at > self.lists.len() + (1 << 20) {
            return false;
        }
        self.free.extend((self.lists.len()..at).map(|gap| AclId(gap as u32)));
        self.lists.resize_with(at, || None);
        self.lists.push(Some((list.clone(), 0)));
        self.ids.insert(list, id);
        true
    }

    /// Whether the table has a list under this id.
    pub fn contains(&self, id: AclId) -> bool {
        self.lists.get(id.0 as usize).is_some_and(Option::is_some)
    }
}

/// Somebody who asks: connection identities and command identities look the same to the rules.
pub trait Identified {
    fn scheme(&self) -> &str;
    fn id(&self) -> &str;
}

impl Identified for Identity<'_> {
    fn scheme(&self) -> &str {
        &self.scheme
    }
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for IdentityRecord<'_> {
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn id(&self) -> &str {
        self.id
    }
}

/// Whether a list lets somebody with these identities do any of `wanted`.
pub fn permits(list: &[Acl<'_>], wanted: i32, identities: &[impl Identified]) -> bool {
    if list.is_empty() || identities.iter().any(|identity| identity.scheme() == "super") {
        return true;
    }
    list.iter().filter(|acl| acl.perms & wanted != 0).any(|acl| {
        acl.identity.is_anyone()
            || identities.iter().any(|identity| {
                identity.scheme() == acl.identity.scheme
                    && matches_id(identity.scheme(), identity.id(), &acl.identity.id)
            })
    })
}

fn matches_id(scheme: &str, held: &str, wanted: &str) -> bool {
    match scheme {
        "ip" => match (held.parse::<IpAddr>(), parse_network(wanted)) {
            (Ok(held), Some(network)) => contains(network, held),
            _ => false,
        },
        _ => held == wanted,
    }
}

/// An address and how many of its leading bits count.
fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse::<u32>().ok().filter(|bits| *bits <= width)?,
        None => width,
    };
    Some((address, bits))
}

fn contains((network, bits): (IpAddr, u32), address: IpAddr) -> bool {
    let same_prefix = |a: u128, b: u128, width: u32| bits == 0 || (a ^ b) >> (width - bits) == 0;
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same_prefix(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same_prefix(network.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

/// Whether an identity was proven, as opposed to noticed (`ip`) or granted by configuration (`super`).
fn is_authenticated(scheme: &str) -> bool {
    !matches!(scheme, "ip" | "super")
}

/// Checks the list of a request and expands `auth` into the caller's identities.
pub fn checked(
    list: &[AclRecord<'_>],
    identities: &[IdentityRecord<'_>],
) -> Result<Vec<Acl<'static>>, ErrorCode> {
    if let [AclRecord { perms: perms::ALL, scheme: "world", id: "anyone" }] = list {
        return Ok(vec![Acl::open()]);
    }
    let mut out: Vec<Acl<'static>> = Vec::with_capacity(list.len());
    let mut seen = BTreeSet::new();
    for acl in list {
        if !seen.insert((acl.perms, acl.scheme, acl.id)) {
            continue;
        }
        if out.len() >= ACL_ENTRIES_MAX {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut push = |scheme: &str, id: &str| {
            out.push(Acl { perms: acl.perms, identity: Identity::new(scheme.to_owned(), id.to_owned()) });
        };
        match acl.scheme {
            "auth" => {
                let mut authenticated =
                    identities.iter().filter(|identity| is_authenticated(identity.scheme)).peekable();
                if authenticated.peek().is_none() {
                    return Err(ErrorCode::InvalidAcl);
                }
                for identity in authenticated {
                    push(identity.scheme, identity.id);
                }
            }
            scheme if is_valid_id(scheme, acl.id) => push(scheme, acl.id),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    if out.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(out) }
}

fn is_valid_id(scheme: &str, id: &str) -> bool {
    match scheme {
        "world" => id == "anyone",
        "digest" => id.split(':').count() == 2,
        "ip" => parse_network(id).is_some(),
        "x509" | "sasl" => !id.is_empty(),
        _ => false,
    }
}

/// A list as somebody without ADMIN may see it: digests hide the hash.
pub fn masked(list: &[Acl<'static>]) -> Vec<Acl<'static>> {
    list.iter()
        .map(|acl| {
            let mut acl = acl.clone();
            if acl.identity.scheme == "digest"
                && let Some((user, _)) = acl.identity.id.split_once(':')
            {
                acl.identity.id = format!("{user}:x").into();
            }
            acl
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(identities: &'static [(&'static str, &'static str)]) -> Vec<Identity<'static>> {
        identities.iter().map(|(scheme, id)| Identity::new(*scheme, *id)).collect()
    }

    fn acl(perms: i32, scheme: &'static str, id: &'static str) -> Acl<'static> {
        Acl { perms, identity: Identity::new(scheme, id) }
    }

    #[test]
    fn permissions() {
        let list = [acl(perms::READ, "ip", "10.1.0.0/16"), acl(perms::ALL, "digest", "u:h")];
        assert!(permits(&list, perms::READ, &who(&[("ip", "10.1.2.3")])));
        assert!(!permits(&list, perms::WRITE, &who(&[("ip", "10.1.2.3")])));
        assert!(!permits(&list, perms::READ, &who(&[("ip", "10.2.2.3")])));
        assert!(permits(&list, perms::WRITE, &who(&[("ip", "10.2.2.3"), ("digest", "u:h")])));
        assert!(!permits(&list, perms::WRITE, &who(&[("sasl", "u:h")])));
        assert!(permits(&list, perms::WRITE, &who(&[("super", "")])));
        assert!(permits(&[acl(1, "ip", "fe80::/10")], 1, &who(&[("ip", "febf::1")])));
        assert!(permits(&[acl(1, "ip", "0.0.0.0/0")], 1, &who(&[("ip", "1.2.3.4")])));
    }

    #[test]
    fn lists_are_checked_and_expanded() {
        let me = [IdentityRecord { scheme: "ip", id: "::1" }, IdentityRecord { scheme: "digest", id: "u:h" }];
        let auth = AclRecord { perms: 1, scheme: "auth", id: "" };
        assert_eq!(checked(&[auth, auth], &me).unwrap(), vec![acl(1, "digest", "u:h")]);
        assert_eq!(checked(&[auth], &me[..1]), Err(ErrorCode::InvalidAcl));
        for (scheme, id) in [
            ("world", "x"),
            ("digest", "u"),
            ("digest", "a:b:c"),
            ("nobody", "x"),
            ("ip", "1.2.3/8"),
            ("ip", "1.2.3.4/33"),
        ] {
            assert_eq!(
                checked(&[AclRecord { perms: 31, scheme, id }], &me),
                Err(ErrorCode::InvalidAcl),
                "{scheme}:{id}"
            );
        }
        assert_eq!(checked(&[], &me), Err(ErrorCode::InvalidAcl));
        let none = AclRecord { perms: 0, scheme: "world", id: "anyone" };
        assert_eq!(checked(&[none], &me).unwrap(), vec![acl(0, "world", "anyone")]);
    }

    #[test]
    fn lists_are_shared_and_go_with_their_last_user() {
        let mut table = AclTable::default();
        let list = [acl(1, "digest", "u:h")];
        let id = table.intern(&list);
        table.retain(id);
        table.retain(id);
        assert_eq!(table.intern(&list), id);
        table.release(id);
        table.release(id);
        assert!(!table.contains(id));
        assert_eq!(table.intern(&[acl(2, "ip", "::1")]), id, "the place is used again");
    }
}
