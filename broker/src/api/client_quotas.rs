//! How fast may clients be, and who changes that?

use std::collections::BTreeMap;

use client::wire::kafka::messages::alter_client_quotas as alter;
use client::wire::kafka::messages::describe_client_quotas::*;
use client::wire::kafka::{ErrorCode, Str};
use client::zk::Error;

use super::Context;
use super::configs::Refusal;
use crate::quota::{Entity, Kind, Name};
use crate::registry::RegistryError;
use crate::registry::quotas::CONNECTION_RATE;
use crate::server::Session;
use crate::server::quotas::resolve;

const USER: &str = "user";
const CLIENT: &str = "client-id";
const ADDRESS: &str = "ip";

/// How often a change is tried again when somebody else changes the same.
const ATTEMPTS: usize = 10;
/// Whole numbers travel as fractions; so much beside one is still that one.
const ROUNDING: f64 = 1e-6;
/// Credentials, which stand beside the limits of users.
const CREDENTIALS: &[&str] = &["SCRAM-SHA-256", "SCRAM-SHA-512"];

type Settings = BTreeMap<String, String>;

fn invalid<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((ErrorCode::INVALID_REQUEST, why.into()))
}

/// Which names of one sort a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Any,
    Only(Name),
}

impl Wanted {
    fn covers(&self, name: &Name) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Only(wanted) => wanted == name,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Default)]
struct Filter {
    user: Option<Wanted>,
    client: Option<Wanted>,
    address: Option<Wanted>,
    /// Entities with parts that the request does not name are left out.
    is_strict: bool,
}

impl Filter {
    fn of(request: &DescribeClientQuotasRequest) -> Result<Filter, Refusal> {
        let mut filter = Filter { is_strict: request.strict, ..Filter::default() };
        for component in &request.components {
            let kind = component.entity_type.as_str();
            let wanted = match (component.match_type, &component.match_name) {
                (0, Some(name)) => Wanted::Only(Name::of(Some(name))),
                (0, None) => return invalid(format!("an exact match of {kind} needs a name")),
                (1, _) => Wanted::Only(Name::Default),
                (2, _) => Wanted::Any,
                (other, _) => return invalid(format!("{other} is no way to match {kind}")),
            };
            let part = match kind {
                USER => &mut filter.user,
                CLIENT => &mut filter.client,
                ADDRESS => &mut filter.address,
                "" => return invalid("a part of the filter has no entity type"),
                other => {
                    let why = format!("there are no limits for entities of type '{other}'");
                    return Err((ErrorCode::UNSUPPORTED_VERSION, why));
                }
            };
            if part.replace(wanted).is_some() {
                return invalid(format!("the filter names {kind} twice"));
            }
        }
        if filter.address.is_some() && (filter.user.is_some() || filter.client.is_some()) {
            return invalid(
                "addresses have limits of their own, so a filter for them names no user or client id",
            );
        }
        Ok(filter)
    }

    fn covers(&self, entity: &Entity) -> bool {
        let part = |wanted: &Option<Wanted>, name: Option<&Name>| match (wanted, name) {
            (Some(wanted), Some(name)) => wanted.covers(name),
            (Some(_), None) => false,
            (None, Some(_)) => !self.is_strict,
            (None, None) => true,
        };
        let (user, client, address) = match entity {
            Entity::User(user) => (Some(user), None, None),
            Entity::Client(client) => (None, Some(client), None),
            Entity::UserClient(user, client) => (Some(user), Some(client), None),
            Entity::Address(address) => (None, None, Some(address)),
        };
        part(&self.user, user) && part(&self.client, client) && part(&self.address, address)
    }
}

pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    match look_up(context, &request).await {
        Ok(entries) => DescribeClientQuotasResponse { entries: Some(entries), ..Default::default() },
        Err((error_code, why)) => DescribeClientQuotasResponse {
            error_code,
            error_message: Some(why.into()),
            entries: None,
            ..Default::default()
        },
    }
}

async fn look_up(
    context: &Context<'_>,
    request: &DescribeClientQuotasRequest,
) -> Result<Vec<EntryData>, Refusal> {
    let filter = Filter::of(request)?;
    let session = session(context)?;
    // Not what this broker has heard so far: whoever has just changed something wants to see it.
    let entities = session.registry.quota_entities().await.map_err(unforeseen)?;
    let mut entries = Vec::new();
    for (entity, settings) in entities.into_iter().filter(|(entity, _)| filter.covers(entity)) {
        let is_limit = |key: &str| key == CONNECTION_RATE || Kind::ALL.iter().any(|kind| kind.key() == key);
        let limits = settings.iter().filter(|(key, _)| is_limit(key));
        let values = limits.filter_map(|(key, value)| {
            Some(ValueData { key: key.as_str().into(), value: value.parse().ok()? })
        });
        let values: Vec<ValueData> = values.collect();
        if !values.is_empty() {
            let entity = parts(&entity).map(|(kind, name)| EntityData {
                entity_type: kind.into(),
                entity_name: name.exact().map(Into::into),
            });
            entries.push(EntryData { entity: entity.collect(), values });
        }
    }
    Ok(entries)
}

/// The names that make an entity, with their types.
fn parts(entity: &Entity) -> impl Iterator<Item = (&'static str, &Name)> {
    let (first, second) = match entity {
        Entity::User(user) => ((USER, user), None),
        Entity::Client(client) => ((CLIENT, client), None),
        Entity::UserClient(user, client) => ((USER, user), Some((CLIENT, client))),
        Entity::Address(address) => ((ADDRESS, address), None),
    };
    [Some(first), second].into_iter().flatten()
}

pub(super) async fn alter(
    context: &Context<'_>,
    request: alter::AlterClientQuotasRequest,
) -> alter::AlterClientQuotasResponse {
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let changed = change(context, &entry, request.validate_only).await;
        let (error_code, error_message) = match changed {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, why)) => (code, Some(Str::from(why))),
        };
        let entity = entry
            .entity
            .into_iter()
            .map(|part| alter::EntityResult { entity_type: part.entity_type, entity_name: part.entity_name });
        entries.push(alter::EntryResult { error_code, error_message, entity: entity.collect() });
    }
    alter::AlterClientQuotasResponse { entries, ..Default::default() }
}

async fn change(context: &Context<'_>, entry: &alter::EntryData, validate_only: bool) -> Result<(), Refusal> {
    let entity = entity_of(&entry.entity)?;
    if let Entity::Address(Name::Exact(name)) = &entity
        && resolve(name).await.is_none()
    {
        return invalid(format!("{name} is no address, and no host that has one"));
    }
    let session = session(context)?;
    for _ in 0..ATTEMPTS {
        let known = session.registry.config(&entity.path()).await.map_err(unforeseen)?;
        let settings = apply(&entity, known.values, &entry.ops)?;
        if validate_only {
            return Ok(());
        }
        match session.registry.set_quota(&entity, &settings, known.version).await {
            Ok(()) => {
                tracing::info!(entity = entity.path(), "has new limits");
                return Ok(());
            }
            Err(RegistryError::Coordinator(Error::BadVersion | Error::NodeExists | Error::NoNode)) => {}
            Err(error) => return Err(unforeseen(error)),
        }
    }
    Err((
        ErrorCode::REQUEST_TIMED_OUT,
        format!("the limits of {} are changed by others all the time", entity.path()),
    ))
}

fn session(context: &Context<'_>) -> Result<Session, Refusal> {
    context.broker.session().map_err(|code| (code, code.message().to_owned()))
}

fn unforeseen(error: RegistryError) -> Refusal {
    tracing::warn!(%error, "limits cannot be read or changed");
    (ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string())
}

fn entity_of(parts: &[alter::EntityData]) -> Result<Entity, Refusal> {
    let (mut user, mut client, mut address) = (None, None, None);
    for part in parts {
        let named = match part.entity_type.as_str() {
            USER => &mut user,
            CLIENT => &mut client,
            ADDRESS => &mut address,
            other => return invalid(format!("entities of type '{other}' cannot be limited")),
        };
        if part.entity_name.as_deref() == Some("") {
            return invalid(format!("the name of {} is empty", part.entity_type));
        }
        *named = Some(Name::of(part.entity_name.as_deref()));
    }
    match (user, client, address) {
        (Some(user), Some(client), None) => Ok(Entity::UserClient(user, client)),
        (Some(user), None, None) => Ok(Entity::User(user)),
        (None, Some(client), None) => Ok(Entity::Client(client)),
        (None, None, Some(address)) => Ok(Entity::Address(address)),
        (None, None, None) => invalid("it is not said whom to limit"),
        (_, _, Some(_)) => invalid("an address is limited by itself, without user or client id"),
    }
}

/// The settings once the changes are made.
fn apply(entity: &Entity, mut settings: Settings, ops: &[alter::OpData]) -> Result<Settings, Refusal> {
    for op in ops {
        let key = op.key.as_str();
        if op.remove {
            settings.remove(key);
            continue;
        }
        let value = match (entity, key) {
            (Entity::Address(_), CONNECTION_RATE) => whole(key, op.value, f64::from(i32::MAX))?,
            (Entity::Address(_), _) => return invalid(format!("{key} is no limit of addresses")),
            (_, "producer_byte_rate" | "consumer_byte_rate") => whole(key, op.value, i64::MAX as f64)?,
            // As Java writes it, with a point.
            (_, "request_percentage" | "controller_mutation_rate") if is_limit(op.value) => {
                format!("{:?}", op.value)
            }
            (_, "request_percentage" | "controller_mutation_rate") => return not_a_limit(key, op.value),
            _ => return invalid(format!("{key} is no limit of users or client ids")),
        };
        settings.insert(key.to_owned(), value);
    }
    let is_known = |key: &str| match entity {
        Entity::Address(_) => key == CONNECTION_RATE,
        Entity::User(Name::Exact(_)) if CREDENTIALS.contains(&key) => true,
        _ => Kind::ALL.iter().any(|kind| kind.key() == key),
    };
    match settings.keys().find(|key| !is_known(key)) {
        Some(unknown) => invalid(format!("{} has a setting that is no limit: {unknown}", entity.path())),
        None => Ok(settings),
    }
}

fn is_limit(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn not_a_limit<T>(key: &str, value: f64) -> Result<T, Refusal> {
    invalid(format!("{key}={value}: a number from 0 on is allowed"))
}

fn whole(key: &str, value: f64, max: f64) -> Result<String, Refusal> {
    if !is_limit(value) || value > max {
        return not_a_limit(key, value);
    }
    let whole = (value + ROUNDING) as i64;
    if (whole as f64 - value).abs() > ROUNDING {
        return invalid(format!("{key}={value}: a whole number is allowed"));
    }
    Ok(whole.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(components: &[(&str, i8, Option<&str>)], strict: bool) -> Result<Filter, ErrorCode> {
        let components = components.iter().map(|&(kind, match_type, name)| ComponentData {
            entity_type: kind.into(),
            match_type,
            match_name: name.map(Into::into),
        });
        let request = DescribeClientQuotasRequest { components: components.collect(), strict };
        Filter::of(&request).map_err(|(code, _)| code)
    }

    #[test]
    fn filters_cover_what_they_name_and_strict_ones_nothing_else() {
        let all = [
            "users/u",
            "users/<default>",
            "clients/c",
            "clients/<default>",
            "users/u/clients/c",
            "users/u/clients/<default>",
            "ips/10.0.0.1",
            "ips/<default>",
        ];
        let check = |components: &[(&str, i8, Option<&str>)], strict: bool, expected: &[&str]| {
            let filter = filter(components, strict).expect("a filter");
            let found: Vec<&str> = all
                .into_iter()
                .filter(|path| filter.covers(&Entity::parse(path).expect("an entity")))
                .collect();
            assert_eq!(found, expected, "{components:?} {strict}");
        };
        check(&[], false, &all);
        check(&[], true, &[]);
        check(&[(USER, 0, Some("u"))], true, &["users/u"]);
        let of_u = ["users/u", "users/u/clients/c", "users/u/clients/<default>"];
        check(&[(USER, 0, Some("u"))], false, &of_u);
        check(&[(USER, 1, None)], false, &["users/<default>"]);
        check(&[(CLIENT, 2, None)], true, &["clients/c", "clients/<default>"]);
        check(&[(USER, 2, None), (CLIENT, 1, None)], true, &["users/u/clients/<default>"]);
        check(&[(ADDRESS, 2, None)], false, &["ips/10.0.0.1", "ips/<default>"]);
        check(&[(ADDRESS, 0, Some("10.0.0.1"))], true, &["ips/10.0.0.1"]);
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let refused = |components: &[(&str, i8, Option<&str>)]| filter(components, false).err();
        for bad in [
            &[(USER, 0, None)][..],
            &[(USER, 3, None)],
            &[(USER, 2, None), (USER, 1, None)],
            &[("", 2, None)],
            &[(USER, 2, None), (ADDRESS, 2, None)],
        ] {
            assert_eq!(refused(bad), Some(ErrorCode::INVALID_REQUEST), "{bad:?}");
        }
        assert_eq!(refused(&[("group", 2, None)]), Some(ErrorCode::UNSUPPORTED_VERSION));
    }

    #[test]
    fn limits_are_kept_as_kafka_writes_them() {
        let op = |key: &str, value: f64| alter::OpData { key: key.into(), value, remove: false };
        let set = |path: &str, key: &str, value: f64| {
            let entity = Entity::parse(path).expect("an entity");
            apply(&entity, Settings::new(), &[op(key, value)])
                .map(|mut found| found.remove(key))
                .ok()
                .flatten()
        };
        assert_eq!(set("users/u", "producer_byte_rate", 1000.0).as_deref(), Some("1000"));
        assert_eq!(set("clients/<default>", "request_percentage", 200.0).as_deref(), Some("200.0"));
        assert_eq!(set("users/u/clients/c", "controller_mutation_rate", 0.5).as_deref(), Some("0.5"));
        assert_eq!(set("ips/10.0.0.1", "connection_creation_rate", 7.0).as_deref(), Some("7"));
        for (path, key, value) in [
            ("users/u", "producer_byte_rate", 0.5),
            ("users/u", "producer_byte_rate", f64::NAN),
            ("users/u", "consumer_byte_rate", -1.0),
            ("users/u", "request_percentage", f64::INFINITY),
            ("users/u", "connection_creation_rate", 7.0),
            ("users/u", "SCRAM-SHA-256", 7.0),
            ("ips/10.0.0.1", "producer_byte_rate", 7.0),
            ("ips/10.0.0.1", "connection_creation_rate", 3e9),
        ] {
            assert_eq!(set(path, key, value), None, "{path} {key} {value}");
        }
    }

    #[test]
    fn credentials_of_a_user_survive_a_change_of_its_limits() {
        let user = Entity::parse("users/u").expect("an entity");
        let known = Settings::from([
            ("SCRAM-SHA-256".to_owned(), "secret".to_owned()),
            ("producer_byte_rate".to_owned(), "1".to_owned()),
        ]);
        let remove = alter::OpData { key: "producer_byte_rate".into(), value: 0.0, remove: true };
        let left = apply(&user, known, &[remove]).expect("allowed");
        assert_eq!(left.into_keys().collect::<Vec<_>>(), ["SCRAM-SHA-256"]);
    }
}
