//! Whom can a limit be for, and how is that written in the coordinator?

use std::fmt::Write;

/// One of them, or all that have no limit of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Default,
    Exact(String),
}

impl Name {
    /// As the protocol has it: null is the default.
    pub fn of(name: Option<&str>) -> Name {
        name.map_or(Name::Default, |name| Name::Exact(name.to_owned()))
    }

    /// The same the other way.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Name::Default => None,
            Name::Exact(name) => Some(name),
        }
    }

    fn encode(&self) -> String {
        match self {
            Name::Default => DEFAULT.to_owned(),
            Name::Exact(name) => escape(name),
        }
    }

    fn decode(text: &str) -> Option<Name> {
        if text == DEFAULT { Some(Name::Default) } else { unescape(text).map(Name::Exact) }
    }
}

/// Somebody that can have limits of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    User(Name),
    Client(Name),
    UserClient(Name, Name),
    Address(Name),
}

/// The node that holds what is for everybody without an own one.
const DEFAULT: &str = "<default>";

/// A path that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} names no user, client id or address")]
pub struct BadEntity(pub String);

impl Entity {
    /// Below `/config`: `users/alice`, `clients/c1`, `users/alice/clients/c1`, `ips/10.0.0.1`.
    pub fn path(&self) -> String {
        match self {
            Entity::User(user) => format!("users/{}", user.encode()),
            Entity::Client(client) => format!("clients/{}", client.encode()),
            Entity::UserClient(user, client) => {
                format!("users/{}/clients/{}", user.encode(), client.encode())
            }
            Entity::Address(address) => format!("ips/{}", address.encode()),
        }
    }

    /// The entity that a path below `/config` is for.
    pub fn parse(path: &str) -> Result<Entity, BadEntity> {
        let parts: Vec<&str> = path.split('/').collect();
        let name = |text: &str| Name::decode(text).ok_or_else(|| BadEntity(path.to_owned()));
        match parts[..] {
            ["users", user] => Ok(Entity::User(name(user)?)),
            ["clients", client] => Ok(Entity::Client(name(client)?)),
            ["users", user, "clients", client] => Ok(Entity::UserClient(name(user)?, name(client)?)),
            ["ips", address] => Ok(Entity::Address(name(address)?)),
            _ => Err(BadEntity(path.to_owned())),
        }
    }
}

/// A name as a node can have it: all but letters, digits, `.`, `_` and `-` as `%XX`.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// `None` if nobody can have escaped it so.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &after[2..];
            }
            b'+' => {
                bytes.push(b' ');
                rest = after;
            }
            other => {
                bytes.push(other);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_kafka_writes_them() {
        let exact = |name: &str| Name::Exact(name.to_owned());
        for (entity, path) in [
            (Entity::User(exact("alice")), "users/alice"),
            (Entity::User(Name::Default), "users/<default>"),
            (Entity::User(exact("CN=a b,O=ü*/")), "users/CN%3Da%20b%2CO%3D%C3%BC%2A%2F"),
            (Entity::Client(exact("<default>")), "clients/%3Cdefault%3E"),
            (Entity::UserClient(exact("u"), Name::Default), "users/u/clients/<default>"),
            (Entity::Address(exact("10.0.0.1")), "ips/10.0.0.1"),
            (Entity::Address(exact("::1")), "ips/%3A%3A1"),
        ] {
            assert_eq!(entity.path(), path);
            assert_eq!(Entity::parse(path), Ok(entity));
        }
        assert_eq!(Entity::parse("clients/a+b"), Ok(Entity::Client(exact("a b"))));
        for bad in ["users", "topics/t", "users/a/b", "users/a/clients/b/c", "clients/%4", "clients/%FF"] {
            assert!(Entity::parse(bad).is_err(), "{bad}");
        }
    }
}
