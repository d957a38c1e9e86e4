"""Records go into the broker on localhost:9092 and come out again, through a group.

Run by testkit/docker/run. Arguments: the topics; several must exist already, one is created on first use.
"""

import sys

from kafka import KafkaConsumer, KafkaProducer

BROKER = "localhost:9092"
RECORDS = 100

topics = sys.argv[1:]
if len(topics) > 1:
    found = KafkaConsumer(bootstrap_servers=BROKER).topics()
    assert found.issuperset(topics), f"{topics} should be there from the start, not {found}"

producer = KafkaProducer(bootstrap_servers=BROKER)
for topic in topics:
    sent = [producer.send(topic, key=b"k%d" % index, value=b"v%d" % index) for index in range(RECORDS)]
    producer.flush()
    assert all(future.get() for future in sent)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=BROKER,
        group_id="readers",
        auto_offset_reset="earliest",
        consumer_timeout_ms=20_000,
    )
    values = set()
    for record in consumer:
        values.add(record.value)
        if len(values) == RECORDS:
            break
    consumer.close()
    assert len(values) == RECORDS, f"{topic}: {len(values)} of {RECORDS} records came back"
    print(f"{topic}: {RECORDS} records went in and came out")
