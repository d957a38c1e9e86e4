"""librdkafka, through Confluent's Python client, with certificates.

Usage: confluent_tls_suite.py FOLDER HOST:PORT. Prints `ok NAME` or `FAIL NAME: REASON` per check.
"""

import sys

from confluent_kafka import Consumer, KafkaException, Producer

from checks import check, fresh, run, same, take, values

FOLDER, SERVER = sys.argv[1:]


def client(**changes):
    return {
        "bootstrap.servers": SERVER,
        "security.protocol": "ssl",
        "ssl.ca.location": f"{FOLDER}/authority.pem",
        "ssl.certificate.location": f"{FOLDER}/client.pem",
        "ssl.key.location": f"{FOLDER}/client.pem",
        **changes,
    }


def without(settings, *names):
    return {name: value for name, value in settings.items() if name not in names}


def refused(settings):
    try:
        Producer(settings).list_topics(timeout=4)
    except KafkaException:
        return
    raise AssertionError("the broker answered")


@check
def records_come_back():
    name = fresh("tls")
    producer = Producer(client())
    for value in values(500):
        producer.produce(name, value=value)
    same(0, producer.flush(30))
    settings = {"group.id": fresh("group"), "auto.offset.reset": "earliest"}
    reader = Consumer(client(**settings))
    reader.subscribe([name])
    read = take(lambda count: reader.consume(num_messages=count, timeout=0.2), 500)
    same(sorted(values(500)), sorted(record.value() for record in read))
    reader.close()


@check
def a_strangers_certificate_is_refused():
    foreign = f"{FOLDER}/foreign.pem"
    refused(client(**{"ssl.certificate.location": foreign, "ssl.key.location": foreign}))


@check
def a_broker_that_is_not_trusted_is_left():
    refused(client(**{"ssl.ca.location": f"{FOLDER}/foreign-authority.pem"}))


@check
def who_comes_without_a_certificate_is_refused():
    refused(without(client(), "ssl.certificate.location", "ssl.key.location"))


run()
