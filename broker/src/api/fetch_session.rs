//! What does a client read, without saying it every time?
//!
//! A session remembers the partitions of a reader and what it was told last, so that requests and answers name only what
//! changed.

use std::collections::BTreeMap;

use client::wire::kafka::messages::fetch::{FetchPartition, FetchRequest, PartitionData};
use client::wire::kafka::{ErrorCode, Uuid};

/// No session, now or later.
const SESSIONLESS: i32 = -1;
const FIRST_EPOCH: i32 = 0;
/// A session that was not used for this long may make room for another one.
const IDLE_MS: u64 = 120_000;

/// A partition as the reader names it: by name, or by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
}

/// One partition that is read.
#[derive(Debug, Clone)]
pub struct Reading {
    pub key: Key,
    pub wanted: FetchPartition,
}

/// What was said last of a partition: if nothing changed, it need not be said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start_offset: i64,
    failed: bool,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    used_ms: u64,
    uses_ids: bool,
    /// In the order in which the reader named them; those that had records move to the end, so that all get their turn.
    readings: Vec<(Reading, Option<Told>)>,
}

/// All sessions.
#[derive(Debug)]
pub struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
    sessions_max: usize,
    last_id: i32,
    evicted: u64,
}

/// What one request reads.
#[derive(Debug)]
pub struct Plan {
    /// 0 if there is none.
    pub session: i32,
    pub readings: Vec<Reading>,
    /// Only what changed is answered.
    pub is_incremental: bool,
}

impl FetchSessions {
    pub fn new(sessions_max: usize) -> FetchSessions {
        FetchSessions { sessions: BTreeMap::new(), sessions_max, last_id: 0, evicted: 0 }
    }

    /// How many there are, for people who watch.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many partitions they read, for the same people.
    pub fn partition_count(&self) -> usize {
        self.sessions.values().map(|session| session.readings.len()).sum()
    }

    /// How many made room for others, for the same people.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What this request reads, by itself or by the session that it goes on with.
    pub fn plan(&mut self, request: &FetchRequest, uses_ids: bool, now_ms: u64) -> Result<Plan, ErrorCode> {
        let named = readings(request);
        match (request.session_id, request.session_epoch) {
            (id, SESSIONLESS) => {
                self.sessions.remove(&id);
                Ok(Plan { session: 0, readings: named, is_incremental: false })
            }
            (id, FIRST_EPOCH) => {
                self.sessions.remove(&id);
                let session = self.begin(&named, uses_ids, now_ms);
                Ok(Plan { session, readings: named, is_incremental: false })
            }
            (id, epoch) => {
                let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                if session.uses_ids != uses_ids {
                    return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
                }
                session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
                session.used_ms = now_ms;
                session.change(named, request);
                let readings = session.readings.iter().map(|(reading, _)| reading.clone()).collect();
                Ok(Plan { session: id, readings, is_incremental: true })
            }
        }
    }

    /// Forgets a session.
    pub fn end(&mut self, session: i32) {
        self.sessions.remove(&session);
    }

    /// A new session, or 0 if there is no room.
    fn begin(&mut self, named: &[Reading], uses_ids: bool, now_ms: u64) -> i32 {
        if named.is_empty() {
            return 0;
        }
        if self.sessions.len() >= self.sessions_max {
            let idle = self.sessions.iter().min_by_key(|(_, session)| session.used_ms);
            match idle {
                Some((&id, session)) if now_ms.saturating_sub(session.used_ms) > IDLE_MS => {
                    self.sessions.remove(&id);
                    self.evicted += 1;
                }
                _ => return 0,
            }
        }
        loop {
            self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
            if !self.sessions.contains_key(&self.last_id) {
                break;
            }
        }
        let readings = named.iter().map(|reading| (reading.clone(), None)).collect();
        self.sessions.insert(self.last_id, Session { epoch: 1, used_ms: now_ms, uses_ids, readings });
        self.last_id
    }

    /// Leaves out of an answer what the reader knows already.
    pub fn told(&mut self, session: i32, answers: &mut Vec<(Key, PartitionData)>, is_incremental: bool) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let mut with_records = Vec::new();
        answers.retain(|(key, answer)| {
            let Some((_, told)) = session.readings.iter_mut().find(|(reading, _)| reading.key == *key) else {
                return true;
            };
            let now = Told {
                high_watermark: answer.high_watermark,
                log_start_offset: answer.log_start_offset,
                failed: answer.error_code != ErrorCode::NONE,
            };
            let has_records = answer.records.as_ref().is_some_and(|records| !records.is_empty());
            let is_news = has_records || now.failed || *told != Some(now);
            *told = Some(now);
            if has_records {
                with_records.push(key.clone());
            }
            is_news || !is_incremental
        });
        let (served, mut waiting): (Vec<_>, Vec<_>) =
            session.readings.drain(..).partition(|(reading, _)| with_records.contains(&reading.key));
        waiting.extend(served);
        session.readings = waiting;
    }
}

impl Session {
    fn change(&mut self, named: Vec<Reading>, request: &FetchRequest) {
        for topic in &request.forgotten_topics_data {
            self.readings.retain(|(reading, _)| {
                let is_topic = reading.key.topic == *topic.topic && reading.key.topic_id == topic.topic_id;
                !(is_topic && topic.partitions.contains(&reading.key.partition))
            });
        }
        for new in named {
            match self.readings.iter_mut().find(|(reading, _)| reading.key == new.key) {
                Some((reading, _)) => *reading = new,
                None => self.readings.push((new, None)),
            }
        }
    }
}

/// The partitions that a request names.
fn readings(request: &FetchRequest) -> Vec<Reading> {
    let topics = request.topics.iter();
    let partitions = topics.flat_map(|topic| {
        topic.partitions.iter().map(|partition| Reading {
            key: Key {
                topic: topic.topic.as_str().to_owned(),
                topic_id: topic.topic_id,
                partition: partition.partition,
            },
            wanted: partition.clone(),
        })
    });
    partitions.collect()
}

#[cfg(test)]
mod tests {
    use client::wire::kafka::messages::fetch::FetchTopic;

    use super::*;

    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions.iter().map(|&(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            ..Default::default()
        });
        let topics =
            vec![FetchTopic { topic: "t".into(), partitions: partitions.collect(), ..Default::default() }];
        FetchRequest { session_id, session_epoch, topics, ..Default::default() }
    }

    fn answer(partition: i32, high_watermark: i64) -> (Key, PartitionData) {
        let key = Key { topic: "t".into(), topic_id: Uuid::ZERO, partition };
        (key, PartitionData { partition_index: partition, high_watermark, ..Default::default() })
    }

    #[test]
    fn a_session_remembers_what_is_read() {
        let mut sessions = FetchSessions::new(10);
        let first = sessions.plan(&request(0, 0, &[(0, 5), (1, 6)]), false, 0).expect("a plan");
        assert_eq!((first.session, first.readings.len(), first.is_incremental), (1, 2, false));
        let next = sessions.plan(&request(1, 1, &[(1, 7)]), false, 0).expect("a plan");
        assert!(next.is_incremental);
        assert_eq!(
            next.readings.iter().map(|reading| reading.wanted.fetch_offset).collect::<Vec<_>>(),
            [5, 7]
        );
        let again = sessions.plan(&request(1, 1, &[]), false, 0);
        assert_eq!(again.unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        let unknown = sessions.plan(&request(9, 1, &[]), false, 0);
        assert_eq!(unknown.unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        let by_id = sessions.plan(&request(1, 2, &[]), true, 0);
        assert_eq!(by_id.unwrap_err(), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        sessions.plan(&request(1, SESSIONLESS, &[]), false, 0).expect("an end");
        assert!(sessions.is_empty());
    }

    #[test]
    fn only_news_are_told() {
        let mut sessions = FetchSessions::new(10);
        sessions.plan(&request(0, 0, &[(0, 5), (1, 6)]), false, 0).expect("a plan");
        let mut answers = vec![answer(0, 5), answer(1, 6)];
        sessions.told(1, &mut answers, false);
        assert_eq!(answers.len(), 2);
        let mut answers = vec![answer(0, 5), answer(1, 7)];
        sessions.told(1, &mut answers, true);
        assert_eq!(answers.iter().map(|(key, _)| key.partition).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn without_room_there_is_no_session_unless_one_is_idle() {
        let mut sessions = FetchSessions::new(1);
        assert_eq!(sessions.plan(&request(0, 0, &[(0, 0)]), false, 0).expect("a plan").session, 1);
        assert_eq!(sessions.plan(&request(0, 0, &[(0, 0)]), false, IDLE_MS).expect("a plan").session, 0);
        assert_eq!(sessions.plan(&request(0, 0, &[(0, 0)]), false, IDLE_MS + 1).expect("a plan").session, 2);
        assert_eq!(sessions.len(), 1);
    }
}
