//! What is set, and who set it?

use std::collections::BTreeMap;

use client::wire::kafka::messages::create_topics::CreatableTopicConfigs;
use client::wire::kafka::messages::describe_configs::*;
use client::wire::kafka::{ErrorCode, Str};

use super::Context;
use crate::config::settings::{self, Kind, SETTINGS, Setting};
use crate::config::{TOPIC_ONLY, TopicSettings, Values, topic_settings};
use crate::server::{Broker, Dynamic};

/// Where a value comes from, as the protocol numbers it.
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 2;
const FROM_ALL_BROKERS: i8 = 3;
const FROM_BROKER_FILE: i8 = 4;
const FROM_DEFAULT: i8 = 5;
const FROM_LOGGER: i8 = 6;

/// Settings that stand in for each other, the first that is set before the others.
const FAMILIES: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// Why something about settings is refused.
pub(super) type Refusal = (ErrorCode, String);

/// What settings belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Topic(String),
    AllBrokers,
    ThisBroker,
    Loggers,
}

impl Resource {
    /// What a request names.
    pub(super) fn named(broker: &Broker, kind: i8, name: &str) -> Result<Resource, Refusal> {
        let is_this_broker = || match name.parse::<i32>() {
            Ok(id) if id == broker.id => Ok(()),
            _ => {
                let why = format!("this is broker {}, and the request is for broker '{name}'", broker.id);
                Err((ErrorCode::INVALID_REQUEST, why))
            }
        };
        match kind {
            2 if broker.image().topics.contains_key(name) => Ok(Resource::Topic(name.to_owned())),
            2 => {
                super::topics::check_name(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why))?;
                Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic '{name}'")))
            }
            4 if name.is_empty() => Ok(Resource::AllBrokers),
            4 => is_this_broker().map(|()| Resource::ThisBroker),
            8 => is_this_broker().map(|()| Resource::Loggers),
            _ => {
                let why =
                    format!("resources of type {kind} have no settings here; topics, brokers and loggers do");
                Err((ErrorCode::INVALID_REQUEST, why))
            }
        }
    }
}

/// All settings of a topic that was just made.
pub(super) fn of_new_topic(
    broker: &Broker,
    overrides: &BTreeMap<String, String>,
) -> Vec<CreatableTopicConfigs> {
    let described = of_topic(broker, overrides).into_iter().map(|entry| CreatableTopicConfigs {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.config_source,
        is_sensitive: entry.is_sensitive,
    });
    described.collect()
}

pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let (resource_type, resource_name) = (asked.resource_type, asked.resource_name.clone());
        let found = match Resource::named(context.broker, resource_type, &resource_name) {
            Ok(resource) => look_up(context, &resource).await,
            Err(refusal) => Err(refusal),
        };
        results.push(match found {
            Ok(mut configs) => {
                if let Some(keys) = &asked.configuration_keys {
                    configs.retain(|config| keys.is_empty() || keys.contains(&config.name));
                }
                if !request.include_synonyms {
                    configs.iter_mut().for_each(|config| config.synonyms.clear());
                }
                DescribeConfigsResult { resource_type, resource_name, configs, ..Default::default() }
            }
            Err((error_code, why)) => DescribeConfigsResult {
                error_code,
                error_message: Some(why.into()),
                resource_type,
                resource_name,
                ..Default::default()
            },
        });
    }
    DescribeConfigsResponse { results, ..Default::default() }
}

async fn look_up(
    context: &Context<'_>,
    resource: &Resource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let broker = context.broker;
    let (fixed, dynamic) = broker.topic_configs.of_broker();
    match resource {
        Resource::Topic(name) => {
            // Not what this broker has heard so far: whoever has just changed something wants to see it.
            let session = broker.session().map_err(|code| (code, code.message().to_owned()))?;
            let stored = session.registry.config(&format!("topics/{name}")).await;
            let overrides = stored.map_err(|error| (ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()))?;
            Ok(of_topic(broker, &overrides.values))
        }
        Resource::ThisBroker => {
            let unknown = fixed.iter().map(|(name, _)| name).filter(|name| settings::find(name).is_none());
            let names = SETTINGS.iter().map(|setting| setting.name).chain(unknown);
            Ok(names.map(|name| of_broker(name, synonyms(&fixed, &dynamic, name))).collect())
        }
        Resource::AllBrokers => {
            let described = dynamic.all.keys().map(|name| {
                let mut known = synonyms(&fixed, &dynamic, name);
                known.retain(|synonym| synonym.source == FROM_ALL_BROKERS);
                of_broker(name, known)
            });
            Ok(described.collect())
        }
        Resource::Loggers => Ok(vec![DescribeConfigsResourceResult {
            name: "root".into(),
            value: Some(
                tracing::level_filters::LevelFilter::current().to_string().to_ascii_uppercase().into(),
            ),
            // The level is set at the start.
            read_only: true,
            config_source: FROM_LOGGER,
            config_type: type_of(Some(Kind::Text)),
            ..Default::default()
        }]),
    }
}

fn of_topic(broker: &Broker, overrides: &BTreeMap<String, String>) -> Vec<DescribeConfigsResourceResult> {
    let (fixed, dynamic) = broker.topic_configs.of_broker();
    let values = broker.topic_configs.broker();
    let settings = topic_settings(overrides, &values).ok();
    let describe = |name: &str, kind: Kind, value: Option<Str>, inherited: Vec<DescribeConfigsSynonym>| {
        let own = overrides.get(name).map(|value| DescribeConfigsSynonym {
            name: name.into(),
            value: Some(value.as_str().into()),
            source: FROM_TOPIC,
        });
        let value = own.as_ref().map_or(value, |own| own.value.clone());
        let synonyms = own.into_iter().chain(inherited).collect();
        entry(name, kind, value, synonyms, false)
    };
    let shared = SETTINGS.iter().filter_map(|setting| {
        let name = setting.topic?;
        let value = resolved(setting, &values, settings.as_ref());
        Some(describe(name, setting.kind, value, synonyms(&fixed, &dynamic, setting.name)))
    });
    let only = TOPIC_ONLY
        .iter()
        .map(|&(name, kind, default)| describe(name, kind, Some(default.into()), Vec::new()));
    let mut described: Vec<_> = shared.chain(only).collect();
    described.sort_by(|a, b| a.name.cmp(&b.name));
    described
}

/// The value of a setting that holds for topics, also where it follows from its relatives.
fn resolved(setting: &Setting, values: &Values, settings: Option<&TopicSettings>) -> Option<Str> {
    if let Some(value) = values.get(setting.name) {
        return Some(value.into());
    }
    let log = &settings?.log;
    let number = match setting.name {
        "log.roll.ms" => log.segment_ms,
        "log.roll.jitter.ms" => log.segment_jitter_ms,
        "log.retention.ms" => log.retention_ms.unwrap_or(-1),
        "log.flush.interval.ms" => log.flush_ms,
        _ => return None,
    };
    Some(number.to_string().into())
}

fn of_broker(name: &str, synonyms: Vec<DescribeConfigsSynonym>) -> DescribeConfigsResourceResult {
    let setting = settings::find(name);
    let value = synonyms.first().and_then(|synonym| synonym.value.clone());
    // A setting that nobody knows may hold a secret.
    let kind = setting.map_or(Kind::Password, |setting| setting.kind);
    let read_only = !setting.is_some_and(Setting::is_dynamic) && !settings::THROTTLES.contains(&name);
    let described = entry(name, kind, value, synonyms, read_only);
    DescribeConfigsResourceResult { config_type: type_of(setting.map(|setting| setting.kind)), ..described }
}

fn entry(
    name: &str,
    kind: Kind,
    value: Option<Str>,
    mut synonyms: Vec<DescribeConfigsSynonym>,
    read_only: bool,
) -> DescribeConfigsResourceResult {
    let is_sensitive = kind == Kind::Password;
    let show = |value: Option<Str>| value.filter(|_| !is_sensitive).map(|value| shown(kind, &value));
    synonyms.iter_mut().for_each(|synonym| synonym.value = show(synonym.value.take()));
    let config_source = synonyms.first().map_or(FROM_DEFAULT, |synonym| synonym.source);
    DescribeConfigsResourceResult {
        name: name.into(),
        value: show(value),
        read_only,
        is_default: config_source == FROM_DEFAULT,
        config_source,
        is_sensitive,
        synonyms,
        config_type: type_of(Some(kind)),
        documentation: None,
    }
}

/// A value as it was understood, however it was written.
fn shown(kind: Kind, value: &str) -> Str {
    match kind {
        Kind::Bool => value.trim().to_ascii_lowercase().as_str().into(),
        Kind::Int | Kind::Long | Kind::Double => value.trim().into(),
        Kind::List => value.split(',').map(str::trim).collect::<Vec<_>>().join(",").as_str().into(),
        Kind::Text | Kind::Password => value.into(),
    }
}

/// All that was said about a setting of brokers, the one that holds first; nothing if only its relatives were set.
fn synonyms(fixed: &Values, dynamic: &Dynamic, name: &str) -> Vec<DescribeConfigsSynonym> {
    let alone = [name];
    let family = FAMILIES.iter().find(|family| family.contains(&name)).copied().unwrap_or(&alone);
    let mut synonyms = Vec::new();
    let mut add = |source: i8, look: &dyn Fn(&str) -> Option<String>| {
        let said = family.iter().filter_map(|&name| {
            let value = Some(look(name)?.into());
            Some(DescribeConfigsSynonym { name: name.into(), value, source })
        });
        synonyms.extend(said);
    };
    add(FROM_BROKER, &|name| dynamic.own.get(name).cloned());
    add(FROM_ALL_BROKERS, &|name| dynamic.all.get(name).cloned());
    add(FROM_BROKER_FILE, &|name| fixed.explicit(name).map(str::to_owned));
    add(FROM_DEFAULT, &|name| settings::find(name)?.default.map(str::to_owned));
    let before = synonyms.iter().take_while(|synonym| *synonym.name != *name).count();
    synonyms.split_off(before)
}

/// A type, as the protocol numbers it.
fn type_of(kind: Option<Kind>) -> i8 {
    match kind {
        None => 0,
        Some(Kind::Bool) => 1,
        Some(Kind::Text) => 2,
        Some(Kind::Int) => 3,
        Some(Kind::Long) => 5,
        Some(Kind::Double) => 6,
        Some(Kind::List) => 7,
        Some(Kind::Password) => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(dynamic: &Dynamic, name: &str) -> Vec<(String, Option<String>, i8)> {
        let fixed = Values::default().overlaid(&BTreeMap::from([("log.retention.hours".into(), "2".into())]));
        let synonyms = synonyms(&fixed, dynamic, name).into_iter();
        let text = |text: Str| text.as_str().to_owned();
        synonyms.map(|said| (text(said.name), said.value.map(text), said.source)).collect()
    }

    #[test]
    fn what_holds_comes_first() {
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let name = "log.segment.bytes";
        let dynamic = Dynamic { own: one(name, "100"), all: one(name, "200") };
        let tell = |value: &str, source| (name.to_owned(), Some(value.to_owned()), source);
        let expected =
            [tell("100", FROM_BROKER), tell("200", FROM_ALL_BROKERS), tell("1073741824", FROM_DEFAULT)];
        assert_eq!(said(&dynamic, name), expected);
    }

    #[test]
    fn relatives_count_only_behind_the_setting_itself() {
        assert!(said(&Dynamic::default(), "log.retention.ms").is_empty());
        let own = BTreeMap::from([("log.retention.ms".to_owned(), "7".to_owned())]);
        let names = said(&Dynamic { own, all: BTreeMap::new() }, "log.retention.ms");
        let names: Vec<&str> = names.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["log.retention.ms", "log.retention.hours", "log.retention.hours"]);
    }
}
