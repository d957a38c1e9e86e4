"""librdkafka, through Confluent's Python client, against a broker.

Usage: confluent_suite.py HOST:PORT. Prints `ok NAME` or `FAIL NAME: REASON` per check.
"""

import sys

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

import checks
from checks import check, eventually, fresh, run, same, values

SERVER = sys.argv[1]


# What it was asked for ends with it, so it lives as long as the program.
ADMIN = AdminClient({"bootstrap.servers": SERVER})


def done(futures):
    """Waits for everything that was asked for."""
    return {key: future.result(timeout=30) for key, future in futures.items()}


def topic(name, partitions=1, **configs):
    name = fresh(name)
    done(ADMIN.create_topics([NewTopic(name, partitions, 1, config=configs)]))
    return name


def produce(name, values, **options):
    told = []
    producer = Producer({"bootstrap.servers": SERVER, **options})
    for value in values:
        producer.produce(name, value=value, on_delivery=lambda error, message: told.append(error))
    same(0, producer.flush(30))
    same([None] * len(values), told)


def consumer(group=None, **options):
    return Consumer({
        "bootstrap.servers": SERVER,
        "group.id": group or fresh("group"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **options,
    })


def take(reader, count, seconds=30):
    """Reads until so many records are there."""
    def poll(missing):
        records = reader.consume(num_messages=missing, timeout=0.2)
        for record in records:
            if record.error():
                raise KafkaException(record.error())
        return records

    return checks.take(poll, count, seconds)


def read_all(name, count):
    reader = consumer()
    reader.subscribe([name])
    records = take(reader, count)
    reader.close()
    return records


@check
def a_record_comes_back_as_it_was_sent():
    name = topic("whole")
    producer = Producer({"bootstrap.servers": SERVER})
    headers = [("one", b"1"), ("one", b"2"), ("null", None)]
    producer.produce(name, key=b"key", value=b"value", headers=headers, timestamp=1700000000123)
    producer.produce(name, key=b"gone", value=None)
    same(0, producer.flush(30))
    first, second = read_all(name, 2)
    same((b"key", b"value", headers, 1700000000123),
         (first.key(), first.value(), first.headers(), first.timestamp()[1]))
    same((b"gone", None, 1), (second.key(), second.value(), second.offset()))


@check
def every_kind_of_acknowledgement():
    for acks in (0, 1, -1):
        name = topic("acks")
        produce(name, values(100), acks=acks)
        same(values(100), [record.value() for record in read_all(name, 100)])


@check
def every_compression():
    name = topic("packed")
    wanted = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        sent = values(200, codec * 20)
        produce(name, sent, **{"compression.type": codec, "linger.ms": 50})
        wanted += sent
    same(wanted, [record.value() for record in read_all(name, len(wanted))])


@check
def an_idempotent_producer():
    name = topic("idempotent", partitions=3)
    produce(name, values(2000), **{"enable.idempotence": True})
    same(sorted(values(2000)), sorted(record.value() for record in read_all(name, 2000)))


@check
def a_group_goes_on_where_it_committed():
    name, group = topic("commits"), fresh("group")
    produce(name, values(40))
    reader = consumer(group)
    reader.subscribe([name])
    same(40, len(take(reader, 40)))
    reader.commit(offsets=[TopicPartition(name, 0, 10, metadata="ten")], asynchronous=False)
    reader.close()
    again = consumer(group)
    again.subscribe([name])
    same(values(40)[10:], [record.value() for record in take(again, 30)])
    same([10], [place.offset for place in again.committed([TopicPartition(name, 0)], timeout=10)])
    again.close()


def shares(name, group, options):
    """Two members come to hold two partitions each, and the one that stays gets all."""
    first, second = consumer(group, **options), consumer(group, **options)
    first.subscribe([name])
    second.subscribe([name])

    def is_shared():
        first.poll(0.1)
        second.poll(0.1)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2

    eventually(is_shared, seconds=40, what="an even share")
    second.close()

    def has_all():
        first.poll(0.1)
        return len(first.assignment()) == 4

    eventually(has_all, seconds=40, what="all partitions for the one that stays")
    first.close()


@check
def two_members_share_the_partitions():
    name = topic("shared", partitions=4)
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        shares(name, fresh("group"),
               {"partition.assignment.strategy": strategy, "heartbeat.interval.ms": 300, "session.timeout.ms": 10000})


@check
def a_static_member_keeps_its_place():
    name, group = topic("static"), fresh("group")
    options = {"group.instance.id": "one", "session.timeout.ms": 10000}
    reader = consumer(group, **options)
    reader.subscribe([name])
    eventually(lambda: reader.poll(0.1) is None and len(reader.assignment()) == 1, what="an assignment")
    reader.close()
    described = done(ADMIN.describe_consumer_groups([group]))[group]
    same(["one"], [member.group_instance_id for member in described.members])
    again = consumer(group, **options)
    again.subscribe([name])
    eventually(lambda: again.poll(0.1) is None and len(again.assignment()) == 1, seconds=5, what="its place")
    again.close()


@check
def positions_and_watermarks():
    name = topic("positions")
    produce(name, values(50))
    place = TopicPartition(name, 0)
    reader = consumer()
    same((0, 50), reader.get_watermark_offsets(place, timeout=10))
    reader.assign([TopicPartition(name, 0, 30)])
    same(values(50)[30:], [record.value() for record in take(reader, 20)])
    reader.seek(TopicPartition(name, 0, 5))
    same(b"value-5", take(reader, 1)[0].value())
    reader.close()


@check
def the_end_of_a_partition_is_told():
    name = topic("end")
    produce(name, values(3))
    reader = consumer(**{"enable.partition.eof": True})
    reader.assign([TopicPartition(name, 0, 0)])
    seen = []
    eventually(lambda: seen.append(reader.poll(0.2)) or (
        seen[-1] is not None and seen[-1].error() is not None
        and seen[-1].error().code() == KafkaError._PARTITION_EOF), what="the end")
    reader.close()


@check
def topics_come_grow_and_go():
    client, name = ADMIN, fresh("life")
    done(client.create_topics([NewTopic(name, 2, 1)]))
    try:
        done(client.create_topics([NewTopic(name, 2, 1)]))
        raise AssertionError("a topic was made twice")
    except KafkaException as error:
        same(KafkaError.TOPIC_ALREADY_EXISTS, error.args[0].code())
    done(client.create_partitions([NewPartitions(name, 5)]))
    same(5, len(done(client.describe_topics(TopicCollection([name])))[name].partitions))
    done(client.delete_topics([name]))
    eventually(lambda: name not in client.list_topics(timeout=10).topics, what="the end of the topic")


@check
def settings_change_one_by_one():
    client, name = ADMIN, topic("settings", **{"retention.ms": "1000000"})
    resource = ConfigResource(ResourceType.TOPIC, name)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry("segment.bytes", "2000000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ])
    done(client.incremental_alter_configs([change]))
    described = done(client.describe_configs([resource]))[resource]
    same(("2000000", "delete,compact", "604800000"),
         tuple(described[key].value for key in ("segment.bytes", "cleanup.policy", "retention.ms")))
    wrong = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry("no.such.thing", "1", incremental_operation=AlterConfigOpType.SET)])
    try:
        done(client.incremental_alter_configs([wrong]))
        raise AssertionError("a setting that topics do not have was taken")
    except KafkaException as error:
        same(KafkaError.INVALID_CONFIG, error.args[0].code())


@check
def offsets_and_groups_are_looked_after():
    client, name, group = ADMIN, topic("admin"), fresh("group")
    produce(name, values(9))
    place = TopicPartition(name, 0)
    listed = done(client.list_offsets({place: OffsetSpec.latest()},
                                      isolation_level=IsolationLevel.READ_COMMITTED))
    same(9, listed[place].offset)
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 4)])
    done(client.alter_consumer_group_offsets([wanted]))
    found = done(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [place])]))[group]
    same([4], [place.offset for place in found.topic_partitions])
    assert group in [one.group_id for one in client.list_consumer_groups().result(timeout=10).valid]
    done(client.delete_consumer_groups([group]))
    deleted = done(client.delete_records([TopicPartition(name, 0, 6)]))
    same([6], [one.low_watermark for one in deleted.values()])
    same(1, client.describe_cluster().result(timeout=10).controller.id)



@check
def who_asks_what_he_may_do_is_told():
    client, name = ADMIN, topic("allowed")
    described = done(client.describe_topics(TopicCollection([name]), include_authorized_operations=True))[name]
    same({"READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"},
         {operation.name for operation in described.authorized_operations})
    rule = AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:me", "*",
                      AclOperation.READ, AclPermissionType.ALLOW)
    try:
        done(client.create_acls([rule]))
        raise AssertionError("a rule was taken that nobody keeps")
    except KafkaException as error:
        same(KafkaError.SECURITY_DISABLED, error.args[0].code())


@check
def a_list_may_lose_all_it_has():
    client, name = ADMIN, topic("emptied")
    resource = ConfigResource(ResourceType.TOPIC, name)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SUBTRACT)])
    done(client.incremental_alter_configs([change]))
    same("", done(client.describe_configs([resource]))[resource]["cleanup.policy"].value)


run()
