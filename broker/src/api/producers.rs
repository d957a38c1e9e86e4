//! Who produces?

use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::describe_producers::*;
use client::wire::kafka::messages::init_producer_id::*;

use super::Context;

/// Gives a producer the id by which its records are told from repetitions.
pub(super) async fn init(context: &Context<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |error_code| InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() };
    match request.transactional_id.as_deref() {
        Some("") => return refuse(ErrorCode::INVALID_REQUEST),
        // Transactions are not in this release; their coordinator is never there.
        Some(_) => return refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        None => {}
    }
    let broker = context.broker;
    let Ok(session) = broker.session() else { return refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE) };
    match broker.producer_ids.next(broker.id, &session.registry).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error_code) => refuse(error_code),
    }
}

/// Which producers have records in a partition.
pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&partition_index| {
            let found = active(context, &topic.name, partition_index);
            let (error_code, active_producers) = match found {
                Ok(producers) => (ErrorCode::NONE, producers),
                Err(error_code) => (error_code, Vec::new()),
            };
            PartitionResponse { partition_index, error_code, active_producers, ..Default::default() }
        });
        TopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn active(context: &Context<'_>, topic: &str, partition: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let replica =
        context.broker.replicas.get(topic, partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    replica.with_log(None, |log, _| {
        let producers = log.producers().iter().map(|(id, producer)| ProducerState {
            producer_id: id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_txn_start_offset: producer.txn_first_offset.unwrap_or(-1),
        });
        Ok(producers.collect())
    })
}
