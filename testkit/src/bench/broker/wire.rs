//! A connection that asks and waits, for all that is not measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use client::wire::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use client::wire::kafka::messages::delete_topics::DeleteTopicsRequest;
use client::wire::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ErrorCode, Message, Reader, Request, ResponseHeader, frame};

/// A frame whose correlation id can be written in place.
pub(super) fn request_frame<R: Request>(request: &R, version: i16) -> Result<Vec<u8>> {
    let parts = frame::request(request, version, 0, Some(&"bench".into())).context("a request")?;
    Ok(join(&parts).to_vec())
}

/// Where a request's correlation id is.
pub(super) const CORRELATION: std::ops::Range<usize> = 8..12;

/// The answer in a frame, length word included.
pub(super) fn answer<R: Request>(frame: &[u8], version: i16) -> Result<R::Response> {
    let mut reader = Reader::new(Bytes::copy_from_slice(&frame[4..]));
    ResponseHeader::decode(&mut reader, R::KEY, version)?;
    Ok(Message::decode(&mut reader, version)?)
}

/// See the module.
pub(super) struct Wire(TcpStream);

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Wire {
        Wire(socket)
    }

    pub(super) fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.0.write_all(&request_frame(request, version)?)?;
        let mut frame = vec![0; 4];
        self.0.read_exact(&mut frame)?;
        let length = u32::from_be_bytes(frame[..4].try_into()?) as usize;
        frame.resize(4 + length, 0);
        self.0.read_exact(&mut frame[4..])?;
        answer::<R>(&frame, version)
    }

    /// How many brokers there are, once there is a controller.
    pub(super) fn brokers(&mut self) -> Result<usize> {
        let answer = self.ask(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 9)?;
        Ok(if answer.controller_id < 0 { 0 } else { answer.brokers.len() })
    }

    /// Makes topics and waits until every partition has a leader.
    pub(super) fn create(&mut self, names: &[String], partitions: i32) -> Result<()> {
        let topic = |name: &String| CreatableTopic {
            name: name.as_str().into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = names.iter().map(topic).collect();
        let made = self.ask(&CreateTopicsRequest { topics, timeout_ms: 120_000, ..Default::default() }, 5)?;
        for topic in &made.topics {
            ensure!(topic.error_code == ErrorCode::NONE, "create {}: {:?}", topic.name, topic.error_message);
        }
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.all_led(names, partitions)? {
            ensure!(Instant::now() < deadline, "partitions without a leader");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn all_led(&mut self, names: &[String], partitions: i32) -> Result<bool> {
        let topic =
            |name: &String| MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() };
        let topics = Some(names.iter().map(topic).collect());
        let answer = self.ask(&MetadataRequest { topics, ..Default::default() }, 9)?;
        Ok(answer.topics.iter().all(|topic| {
            topic.partitions.len() == partitions as usize
                && topic.partitions.iter().all(|partition| partition.error_code == ErrorCode::NONE)
        }))
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<()> {
        let request =
            DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 30_000, ..Default::default() };
        let gone = self.ask(&request, 4)?;
        ensure!(gone.responses[0].error_code == ErrorCode::NONE, "delete {name}: {:?}", gone.responses[0]);
        Ok(())
    }
}
