//! What stands in the znodes? JSON as Kafka writes it; fields that are not known are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use client::wire::kafka::Uuid;

use crate::cluster::{Assignment, Endpoint, PartitionState};

/// A znode's contents are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("{path} holds {text:?}, which is no {what}: {reason}")]
pub struct SchemaError {
    path: String,
    what: &'static str,
    text: String,
    reason: String,
}

fn parse<T: serde::de::DeserializeOwned>(
    path: &str,
    what: &'static str,
    data: &[u8],
) -> Result<T, SchemaError> {
    serde_json::from_slice(data).map_err(|error| wrong(path, what, data, error))
}

fn wrong(path: &str, what: &'static str, data: &[u8], reason: impl ToString) -> SchemaError {
    let text = String::from_utf8_lossy(&data[..data.len().min(200)]).into_owned();
    SchemaError { path: path.to_owned(), what, text, reason: reason.to_string() }
}

/// Who a broker is, in `/brokers/ids/N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub timestamp_ms: i64,
}

impl Registration {
    pub fn encode(&self) -> Vec<u8> {
        let urls =
            self.endpoints.iter().map(|at| format!("{}://{}:{}", at.listener, bracketed(&at.host), at.port));
        let protocols: BTreeMap<&str, &str> =
            self.endpoints.iter().map(|at| (at.listener.as_str(), at.protocol.as_str())).collect();
        let plain = self.endpoints.iter().find(|at| at.protocol == "PLAINTEXT");
        let mut json = json!({
            "features": {},
            "listener_security_protocol_map": protocols,
            "endpoints": urls.collect::<Vec<_>>(),
            "jmx_port": -1,
            "host": plain.map(|at| &at.host),
            "port": plain.map_or(-1, |at| i32::from(at.port)),
            "version": 5,
            "timestamp": self.timestamp_ms.to_string(),
        });
        if let Some(rack) = &self.rack {
            json["rack"] = rack.as_str().into();
        }
        json.to_string().into_bytes()
    }

    /// Reads all versions from 1 on.
    pub fn decode(path: &str, data: &[u8]) -> Result<Registration, SchemaError> {
        const WHAT: &str = "registration of a broker";
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            endpoints: Vec<String>,
            #[serde(default)]
            listener_security_protocol_map: BTreeMap<String, String>,
            #[serde(default)]
            rack: Option<String>,
            #[serde(default)]
            host: Option<String>,
            #[serde(default)]
            port: Option<i64>,
            #[serde(default)]
            timestamp: Option<Value>,
        }
        let raw: Raw = parse(path, WHAT, data)?;
        let mut endpoints = Vec::new();
        for url in &raw.endpoints {
            let endpoint = parse_endpoint(url, &raw.listener_security_protocol_map);
            endpoints.push(endpoint.ok_or_else(|| wrong(path, WHAT, data, format!("bad endpoint {url}")))?);
        }
        if raw.endpoints.is_empty()
            && let (Some(host), Some(Ok(port))) = (raw.host, raw.port.map(u16::try_from))
        {
            let name = "PLAINTEXT".to_owned();
            endpoints.push(Endpoint { listener: name.clone(), host, port, protocol: name });
        }
        let timestamp_ms = match raw.timestamp {
            Some(Value::String(text)) => text.parse().unwrap_or(0),
            Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
            _ => 0,
        };
        Ok(Registration { endpoints, rack: raw.rack, timestamp_ms })
    }
}

/// `NAME://host:port`, with an IPv6 address in brackets.
fn parse_endpoint(url: &str, protocols: &BTreeMap<String, String>) -> Option<Endpoint> {
    let (listener, rest) = url.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let protocol = protocols.get(listener).cloned().unwrap_or_else(|| listener.to_owned());
    Some(Endpoint {
        listener: listener.to_owned(),
        host: host.to_owned(),
        port: port.parse().ok()?,
        protocol,
    })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Which brokers hold which partitions of a topic, in `/brokers/topics/T`.
pub fn encode_assignment(assignment: &Assignment) -> Vec<u8> {
    let mut json = json!({
        "partitions": assignment.replicas,
        "adding_replicas": assignment.adding,
        "removing_replicas": assignment.removing,
        "version": 3,
    });
    if let Some(id) = &assignment.topic_id {
        json["topic_id"] = id.to_string().into();
    }
    json.to_string().into_bytes()
}

/// Reads versions 1 to 3.
pub fn decode_assignment(path: &str, data: &[u8]) -> Result<Assignment, SchemaError> {
    const WHAT: &str = "assignment of a topic";
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        topic_id: Option<String>,
        partitions: BTreeMap<i32, Vec<i32>>,
        #[serde(default)]
        adding_replicas: BTreeMap<i32, Vec<i32>>,
        #[serde(default)]
        removing_replicas: BTreeMap<i32, Vec<i32>>,
    }
    let raw: Raw = parse(path, WHAT, data)?;
    let id = raw.topic_id.map(|id| id.parse::<Uuid>().map_err(|error| wrong(path, WHAT, data, error)));
    Ok(Assignment {
        topic_id: id.transpose()?,
        replicas: raw.partitions,
        adding: raw.adding_replicas,
        removing: raw.removing_replicas,
    })
}

/// Who leads a partition and who is in sync, in its `state`.
#[derive(Serialize, Deserialize)]
struct StateNode {
    controller_epoch: i32,
    leader: i32,
    #[serde(default)]
    version: i32,
    leader_epoch: i32,
    isr: Vec<i32>,
    /// 1 while the partition recovers.
    #[serde(default, skip_serializing_if = "is_zero")]
    leader_recovery_state: i32,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

pub fn encode_state(state: &PartitionState) -> Vec<u8> {
    let node = StateNode {
        controller_epoch: state.controller_epoch,
        leader: state.leader,
        version: 1,
        leader_epoch: state.leader_epoch,
        isr: state.isr.clone(),
        leader_recovery_state: i32::from(state.is_recovering),
    };
    json!(node).to_string().into_bytes()
}

/// A partition's state; `version` is its znode's.
pub fn decode_state(path: &str, data: &[u8], version: i32) -> Result<PartitionState, SchemaError> {
    let node: StateNode = parse(path, "state of a partition", data)?;
    Ok(PartitionState {
        controller_epoch: node.controller_epoch,
        leader: node.leader,
        leader_epoch: node.leader_epoch,
        isr: node.isr,
        is_recovering: node.leader_recovery_state != 0,
        version,
    })
}

/// Who the controller is, in `/controller`.
pub fn encode_controller(broker: i32, now_ms: i64) -> Vec<u8> {
    let timestamp = now_ms.to_string();
    json!({"version": 2, "brokerid": broker, "timestamp": timestamp, "kraftControllerEpoch": -1})
        .to_string()
        .into_bytes()
}

pub(super) fn not_an_epoch(data: &[u8]) -> SchemaError {
    wrong(super::paths::CONTROLLER_EPOCH, "epoch of a controller", data, "it is no number")
}

/// The controller's broker id.
pub fn decode_controller(path: &str, data: &[u8]) -> Result<i32, SchemaError> {
    #[derive(Deserialize)]
    struct Raw {
        brokerid: i32,
    }
    parse::<Raw>(path, "controller", data).map(|raw| raw.brokerid)
}

pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    json!({"version": "1", "id": id}).to_string().into_bytes()
}

pub fn decode_cluster_id(path: &str, data: &[u8]) -> Result<String, SchemaError> {
    #[derive(Deserialize)]
    struct Raw {
        id: String,
    }
    parse::<Raw>(path, "cluster id", data).map(|raw| raw.id)
}

/// The settings of an entity, all as text.
pub fn encode_config(config: &BTreeMap<String, String>) -> Vec<u8> {
    json!({"version": 1, "config": config}).to_string().into_bytes()
}

pub fn decode_config(path: &str, data: &[u8]) -> Result<BTreeMap<String, String>, SchemaError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        config: BTreeMap<String, String>,
    }
    if data.is_empty() {
        return Ok(BTreeMap::new());
    }
    parse::<Raw>(path, "configuration", data).map(|raw| raw.config)
}

/// That the settings of an entity changed, for example of `topics/payments`.
pub fn encode_config_change(entity_path: &str) -> Vec<u8> {
    json!({"version": 2, "entity_path": entity_path}).to_string().into_bytes()
}

/// That a data directory of a broker failed.
pub fn encode_log_dir_failure(broker: i32) -> Vec<u8> {
    json!({"version": 1, "broker": broker, "event": 1}).to_string().into_bytes()
}

/// The broker whose data directory failed.
pub fn decode_log_dir_failure(path: &str, data: &[u8]) -> Result<i32, SchemaError> {
    const WHAT: &str = "notice of a failed data directory";
    #[derive(Deserialize)]
    struct Raw {
        broker: i32,
    }
    parse::<Raw>(path, WHAT, data).map(|raw| raw.broker)
}

/// The entity whose settings changed; also of version 1, which old tools write.
pub fn decode_config_change(path: &str, data: &[u8]) -> Result<String, SchemaError> {
    const WHAT: &str = "notice of a changed configuration";
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        entity_path: Option<String>,
        #[serde(default)]
        entity_type: Option<String>,
        #[serde(default)]
        entity_name: Option<String>,
    }
    let raw: Raw = parse(path, WHAT, data)?;
    match (raw.entity_path, raw.entity_type, raw.entity_name) {
        (Some(path), _, _) => Ok(path),
        (None, Some(kind), Some(name)) => Ok(format!("{kind}/{name}")),
        _ => Err(wrong(path, WHAT, data, "it names no entity")),
    }
}

/// A block of producer ids that a broker may give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub broker: i32,
    pub first: i64,
    pub last: i64,
}

impl ProducerIdBlock {
    pub fn encode(&self) -> Vec<u8> {
        let (first, last) = (self.first.to_string(), self.last.to_string());
        json!({"version": 1, "broker": self.broker, "block_start": first, "block_end": last})
            .to_string()
            .into_bytes()
    }

    /// `None` if no block was ever given out.
    pub fn decode(path: &str, data: &[u8]) -> Result<Option<ProducerIdBlock>, SchemaError> {
        const WHAT: &str = "block of producer ids";
        #[derive(Deserialize)]
        struct Raw {
            broker: i32,
            block_start: String,
            block_end: String,
        }
        if data.is_empty() {
            return Ok(None);
        }
        let raw: Raw = parse(path, WHAT, data)?;
        let number = |text: &str| text.parse().map_err(|error| wrong(path, WHAT, data, error));
        Ok(Some(ProducerIdBlock {
            broker: raw.broker,
            first: number(&raw.block_start)?,
            last: number(&raw.block_end)?,
        }))
    }
}

/// The partitions that an old tool names in one of the `/admin` nodes.
pub fn decode_named_partitions(path: &str, data: &[u8]) -> Result<Vec<(String, i32)>, SchemaError> {
    #[derive(Deserialize)]
    struct Raw {
        partitions: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        topic: String,
        partition: i32,
    }
    let raw: Raw = parse(path, "list of partitions", data)?;
    Ok(raw.partitions.into_iter().map(|named| (named.topic, named.partition)).collect())
}

/// Where an old tool wants replicas to be: partitions, and the brokers that are to hold them.
pub fn decode_reassignment(path: &str, data: &[u8]) -> Result<Vec<(String, i32, Vec<i32>)>, SchemaError> {
    #[derive(Deserialize)]
    struct Raw {
        partitions: Vec<Moved>,
    }
    #[derive(Deserialize)]
    struct Moved {
        topic: String,
        partition: i32,
        replicas: Vec<i32>,
    }
    let raw: Raw = parse(path, "reassignment", data)?;
    Ok(raw.partitions.into_iter().map(|moved| (moved.topic, moved.partition, moved.replicas)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_reads_as_kafka_writes_it() {
        let data = br#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","INTERNAL":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:39091","INTERNAL://[::1]:39191"],"rack":"rack1","jmx_port":-1,"port":39091,"host":"127.0.0.1","version":5,"timestamp":"1795246758932"}"#;
        let registration = Registration::decode("/brokers/ids/1", data).expect("good");
        assert_eq!(registration.endpoints[1].host, "::1");
        assert_eq!(registration.rack.as_deref(), Some("rack1"));
        let ours: Value = serde_json::from_slice(&registration.encode()).expect("JSON");
        let theirs: Value = serde_json::from_slice(data).expect("JSON");
        assert_eq!(ours, theirs);
    }

    #[test]
    fn the_first_version_of_a_registration_has_a_host_only() {
        let data = br#"{"jmx_port":-1,"timestamp":"1","host":"kafka-1","version":1,"port":9092}"#;
        let registration = Registration::decode("/brokers/ids/1", data).expect("good");
        assert_eq!(
            (registration.endpoints[0].host.as_str(), registration.endpoints[0].port),
            ("kafka-1", 9092)
        );
    }

    #[test]
    fn topics_and_states_read_as_kafka_writes_them() {
        let data = br#"{"partitions":{"0":[1,2],"1":[2,1]},"topic_id":"pdMkkJcgS_CM27Vo2rXdGg","adding_replicas":{},"removing_replicas":{},"version":3}"#;
        let topic = decode_assignment("/brokers/topics/t", data).expect("good");
        assert_eq!(topic.replicas[&1], [2, 1]);
        assert_eq!(decode_assignment("/brokers/topics/t", &encode_assignment(&topic)).expect("ours"), topic);
        let old =
            decode_assignment("/brokers/topics/t", br#"{"version":1,"partitions":{"0":[0]}}"#).expect("old");
        assert_eq!((old.topic_id, old.replicas[&0].clone()), (None, vec![0]));

        let data = br#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#;
        let state = decode_state("/state", data, 3).expect("good");
        let ours: Value = serde_json::from_slice(&encode_state(&state)).expect("JSON");
        assert_eq!(ours, serde_json::from_slice::<Value>(data).expect("JSON"));
    }

    #[test]
    fn a_block_of_producer_ids_reads_as_kafka_writes_it() {
        let data = br#"{"version":1,"broker":2,"block_start":"0","block_end":"999"}"#;
        let block = ProducerIdBlock::decode("/latest_producer_id_block", data).expect("good").expect("one");
        assert_eq!(block, ProducerIdBlock { broker: 2, first: 0, last: 999 });
        assert_eq!(ProducerIdBlock::decode("/latest_producer_id_block", b"").expect("good"), None);
    }

    #[test]
    fn a_reassignment_reads_as_old_tools_write_it() {
        let data = br#"{"version":1,"partitions":[{"topic":"t","partition":3,"replicas":[2,1],"log_dirs":["any","any"]}]}"#;
        let wanted = decode_reassignment("/admin/reassign_partitions", data).expect("good");
        assert_eq!(wanted, [("t".to_owned(), 3, vec![2, 1])]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = decode_state("/brokers/topics/t/partitions/0/state", b"nonsense", 0).unwrap_err();
        assert!(error.to_string().starts_with("/brokers/topics/t/partitions/0/state holds \"nonsense\""));
    }
}
