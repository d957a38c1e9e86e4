//! How do settings change while brokers run?

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::{alter_configs as whole, incremental_alter_configs as single};
use client::zk::Error;

use super::Context;
use super::configs::{Refusal, Resource};
use crate::config::settings::{self, Kind, Setting};
use crate::config::{
    ConnectionLimits, TOPIC_ONLY, default_settings, new_topic_settings, of_listener, tls_configs,
};
use crate::net::tls::server_config;
use crate::registry::RegistryError;
use crate::server::Broker;

/// How often a change is tried again when somebody else changes the same.
const ATTEMPTS: usize = 10;

/// What is to become of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Set(String),
    Remove,
    /// Add these to a list.
    Append(Vec<String>),
    /// Take these out of a list.
    Subtract(Vec<String>),
}

/// What may be another file, or another rule, for one listener while the broker runs.
const CERTIFICATES: &[&str] = &[
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.truststore.location",
    "ssl.truststore.type",
    "ssl.client.auth",
];

type Settings = BTreeMap<String, String>;

/// Replaces all settings of each resource.
pub(super) async fn replace(
    context: &Context<'_>,
    request: whole::AlterConfigsRequest,
) -> whole::AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name);
        let changed = match whole_settings(&resource.configs) {
            Ok(wanted) => {
                let become_wanted = |_: &Resource, _: Settings| Ok(wanted.clone());
                change(context, resource_type, &resource_name, request.validate_only, become_wanted).await
            }
            Err(refusal) => Err(refusal),
        };
        let (error_code, error_message) = told(changed);
        responses.push(whole::AlterConfigsResourceResponse {
            error_code,
            error_message: error_message.map(Into::into),
            resource_type,
            resource_name,
        });
    }
    whole::AlterConfigsResponse { responses, ..Default::default() }
}

fn whole_settings(configs: &[whole::AlterableConfig]) -> Result<Settings, Refusal> {
    let mut settings = Settings::new();
    for config in configs {
        let name = config.name.as_str();
        let refuse = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
        let Some(value) = &config.value else { return refuse(format!("{name} has no value")) };
        if settings.insert(name.to_owned(), value.as_str().to_owned()).is_some() {
            return refuse(format!("{name} is there more than once"));
        }
    }
    Ok(settings)
}

/// Changes single settings of each resource.
pub(super) async fn change_single(
    context: &Context<'_>,
    request: single::IncrementalAlterConfigsRequest,
) -> single::IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name);
        let changed = match changes(&resource.configs) {
            Ok(changes) => {
                let apply =
                    |resource: &Resource, settings| apply(context.broker, resource, settings, &changes);
                change(context, resource_type, &resource_name, request.validate_only, apply).await
            }
            Err(refusal) => Err(refusal),
        };
        let (error_code, error_message) = told(changed);
        responses.push(single::AlterConfigsResourceResponse {
            error_code,
            error_message: error_message.map(Into::into),
            resource_type,
            resource_name,
        });
    }
    single::IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn told(changed: Result<(), Refusal>) -> (ErrorCode, Option<String>) {
    match changed {
        Ok(()) => (ErrorCode::NONE, None),
        Err((code, why)) => (code, Some(why)),
    }
}

fn changes(asked: &[single::AlterableConfig]) -> Result<BTreeMap<String, Change>, Refusal> {
    let mut changes = BTreeMap::new();
    for config in asked {
        let name = config.name.as_str();
        let refuse = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
        let change = match (config.config_operation, config.value.as_deref()) {
            (0, Some(value)) => Change::Set(value.to_owned()),
            (1, _) => Change::Remove,
            (2, Some(value)) => Change::Append(parts(value)),
            (3, Some(value)) => Change::Subtract(parts(value)),
            (0 | 2 | 3, None) => return refuse(format!("{name} has no value")),
            (other, _) => return refuse(format!("{other} is no operation on {name}")),
        };
        if changes.insert(name.to_owned(), change).is_some() {
            return refuse(format!("{name} is there more than once"));
        }
    }
    Ok(changes)
}

fn parts(list: &str) -> Vec<String> {
    list.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The settings once the changes are made.
fn apply(
    broker: &Broker,
    resource: &Resource,
    mut settings: Settings,
    changes: &BTreeMap<String, Change>,
) -> Result<Settings, Refusal> {
    for (name, change) in changes {
        match change {
            Change::Set(value) => {
                settings.insert(name.clone(), value.clone());
            }
            Change::Remove => {
                settings.remove(name);
            }
            Change::Append(more) => {
                let mut list = list_of(broker, resource, &settings, name)?;
                let new: Vec<String> = more.iter().filter(|part| !list.contains(part)).cloned().collect();
                list.extend(new);
                settings.insert(name.clone(), list.join(","));
            }
            Change::Subtract(less) => {
                let mut list = list_of(broker, resource, &settings, name)?;
                list.retain(|part| !less.contains(part));
                settings.insert(name.clone(), list.join(","));
            }
        }
    }
    Ok(settings)
}

/// The list that a setting holds, or the one that it has by default.
fn list_of(
    broker: &Broker,
    resource: &Resource,
    settings: &Settings,
    name: &str,
) -> Result<Vec<String>, Refusal> {
    let setting = match resource {
        Resource::Topic(_) => settings::find_topic(name),
        _ => settings::find(name),
    };
    let kind = setting.map(|setting| setting.kind).or_else(|| {
        let only = TOPIC_ONLY.iter().find(|(known, ..)| *known == name);
        only.filter(|_| matches!(resource, Resource::Topic(_))).map(|&(_, kind, _)| kind)
    });
    if kind != Some(Kind::List) {
        return Err((
            ErrorCode::INVALID_CONFIG,
            format!("{name} is not a list, so nothing is added or taken out"),
        ));
    }
    let inherited = setting.and_then(|setting| broker.config.values.get(setting.name).map(str::to_owned));
    Ok(parts(&settings.get(name).cloned().or(inherited).unwrap_or_default()))
}

/// Makes a change, unless it is wrong; tries again if somebody else was faster.
async fn change(
    context: &Context<'_>,
    kind: i8,
    name: &str,
    validate_only: bool,
    change: impl Fn(&Resource, Settings) -> Result<Settings, Refusal>,
) -> Result<(), Refusal> {
    let broker = context.broker;
    let resource = Resource::named(broker, kind, name)?;
    let entity = match &resource {
        Resource::Topic(name) => format!("topics/{name}"),
        Resource::AllBrokers => "brokers/<default>".to_owned(),
        Resource::ThisBroker => format!("brokers/{}", broker.id),
        Resource::Loggers => {
            return Err((ErrorCode::INVALID_REQUEST, "levels of logging are set at the start".to_owned()));
        }
    };
    let session = broker.session().map_err(|code| (code, code.message().to_owned()))?;
    let unforeseen = |error: RegistryError| {
        tracing::warn!(entity, %error, "settings cannot be changed");
        (ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string())
    };
    for _ in 0..ATTEMPTS {
        let known = session.registry.config(&entity).await.map_err(unforeseen)?;
        let settings = change(&resource, known.values)?;
        check(broker, &resource, &settings)?;
        if validate_only {
            return Ok(());
        }
        match session.registry.set_config(&entity, &settings, known.version).await {
            Ok(()) => {
                tracing::info!(entity, "has new settings");
                return Ok(());
            }
            Err(RegistryError::Coordinator(Error::BadVersion | Error::NodeExists)) => {}
            Err(error) => return Err(unforeseen(error)),
        }
    }
    Err((
        ErrorCode::REQUEST_TIMED_OUT,
        format!("the settings of {entity} are changed by others all the time"),
    ))
}

/// Whether these may be all settings that a resource has of its own.
fn check(broker: &Broker, resource: &Resource, settings: &Settings) -> Result<(), Refusal> {
    let invalid = |why: String| (ErrorCode::INVALID_CONFIG, why);
    if matches!(resource, Resource::Topic(_)) {
        return new_topic_settings(settings, &broker.topic_configs.broker()).map(drop).map_err(invalid);
    }
    // So says Kafka, of brokers.
    let wrong = |why: String| (ErrorCode::INVALID_REQUEST, why);
    let mut fixed = BTreeSet::new();
    let listeners = &broker.config.listeners;
    for (name, value) in settings {
        if *resource == Resource::ThisBroker
            && of_listener(name, listeners)
                .is_some_and(|name| CERTIFICATES.contains(&name) || name == "max.connections")
        {
            continue;
        }
        match settings::find(name) {
            Some(setting) if setting.is_dynamic() => setting.check(value).map_err(wrong)?,
            Some(Setting { name, .. }) => {
                fixed.insert(*name);
            }
            None if settings::THROTTLES.contains(&name.as_str()) => {
                if value.parse::<u64>().is_err() {
                    return Err(wrong(format!("{name}={value}: a number of bytes per second is allowed")));
                }
            }
            None => return Err(invalid(format!("{name} is not a setting of brokers"))),
        }
    }
    if !fixed.is_empty() {
        let names = fixed.into_iter().collect::<Vec<_>>().join(", ");
        return Err((
            ErrorCode::INVALID_REQUEST,
            format!("cannot be changed while the broker runs: {names}"),
        ));
    }
    // What the change comes to must be a default for topics, limits that make sense, and certificates that can be read.
    let values = broker.config.values.overlaid(settings);
    default_settings(&values).map_err(wrong)?;
    ConnectionLimits::of(&values).map_err(wrong)?;
    if *resource == Resource::ThisBroker {
        for config in tls_configs(&values, listeners).map_err(wrong)?.values() {
            server_config(config).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, config_operation: i8, value: Option<&str>) -> single::AlterableConfig {
        single::AlterableConfig { name: name.into(), config_operation, value: value.map(Into::into) }
    }

    #[test]
    fn operations_are_told_apart() {
        let all = [
            asked("a", 0, Some("1")),
            asked("b", 1, None),
            asked("c", 2, Some("x, y,")),
            asked("d", 3, Some("z")),
        ];
        let list = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
        let expected = [
            ("a", Change::Set("1".into())),
            ("b", Change::Remove),
            ("c", Change::Append(list(&["x", "y"]))),
            ("d", Change::Subtract(list(&["z"]))),
        ];
        assert_eq!(changes(&all), Ok(expected.map(|(name, change)| (name.to_owned(), change)).into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            vec![asked("a", 0, None)],
            vec![asked("a", 7, Some("1"))],
            vec![asked("a", 0, Some("1")), asked("a", 1, None)],
        ] {
            assert_eq!(changes(&wrong).map_err(|(code, _)| code), Err(ErrorCode::INVALID_REQUEST));
        }
    }
}
