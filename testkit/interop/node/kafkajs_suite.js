// kafkajs against a broker.
//
// Usage: node kafkajs_suite.js HOST:PORT. Prints `ok NAME` or `FAIL NAME: REASON` per check.
"use strict";

const assert = require("node:assert").strict;
const { randomUUID } = require("node:crypto");
const { setTimeout: sleep } = require("node:timers/promises");
const { AssignerProtocol, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const kafka = new Kafka({
  clientId: "kafkajs-suite",
  brokers: [process.argv[2]],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, retries: 10 },
});

const fresh = (name) => `${name}-${randomUUID().slice(0, 13)}`;
const values = (count) => Array.from({ length: count }, (_, number) => `value-${number}`);
const messages = (count) => values(count).map((value) => ({ value }));
const read = (records) => records.map(({ message }) => message.value.toString());

/** Lends an open client to the work and closes it whatever happens. */
async function using(client, work) {
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.disconnect();
  }
}

const admin = (work, options) => using(kafka.admin(options), work);

async function topic(numPartitions = 1, configEntries = []) {
  const name = fresh("kafkajs");
  await admin((client) => client.createTopics({ topics: [{ topic: name, numPartitions, configEntries }], waitForLeaders: true }));
  return name;
}

function produce(name, records, { producer = {}, ...send } = {}) {
  return using(kafka.producer(producer), (client) => client.send({ topic: name, messages: records, ...send }));
}

async function eventually(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

/** A member of a group that collects what it reads. */
async function member(name, groupId, options = {}) {
  // A consumer that is closed waits for the end of its fetch.
  const times = { heartbeatInterval: 300, sessionTimeout: 10000, rebalanceTimeout: 10000, maxWaitTimeInMs: 100 };
  const consumer = kafka.consumer({ groupId, ...times });
  const reader = { consumer, records: [], assigned: null };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    reader.assigned = payload.memberAssignment[name] ?? [];
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [name], fromBeginning: true });
  await consumer.run({ autoCommit: false, ...options, eachMessage: async (record) => { reader.records.push(record); } });
  return reader;
}

/** Reads so many records as a group of its own, or as the one that is named. */
async function take(name, count, groupId = fresh("group"), then = async () => {}) {
  const reader = await member(name, groupId);
  try {
    await eventually(`${count} records`, () => reader.records.length >= count);
    await then(reader);
    return reader.records;
  } finally {
    await reader.consumer.disconnect();
  }
}

const checks = {
  async "a record comes back as it was sent"() {
    const name = await topic();
    const headers = { one: ["1", "2"], empty: "" };
    await produce(name, [{ key: "key", value: "value", headers, timestamp: "1700000000123" }, { key: "gone", value: null }]);
    const [first, second] = (await take(name, 2)).map(({ message }) => message);
    assert.deepEqual(
      [first.key.toString(), first.value.toString(), first.timestamp, first.headers.one.map(String), String(first.headers.empty)],
      ["key", "value", "1700000000123", ["1", "2"], ""]);
    assert.deepEqual([second.key.toString(), second.value, second.offset], ["gone", null, "1"]);
  },

  async "every kind of acknowledgement"() {
    for (const acks of [0, 1, -1]) {
      const name = await topic(2);
      await produce(name, messages(100), { acks });
      assert.deepEqual(read(await take(name, 100)).sort(), values(100).sort());
    }
  },

  async "compressed records"() {
    const name = await topic();
    await produce(name, messages(300), { compression: CompressionTypes.GZIP });
    assert.deepEqual(read(await take(name, 300)), values(300));
  },

  async "an idempotent producer"() {
    const name = await topic(3);
    const sent = await produce(name, messages(500), { producer: { idempotent: true, maxInFlightRequests: 1 }, acks: -1 });
    assert.equal(sent.every(({ errorCode }) => errorCode === 0), true);
    assert.deepEqual(read(await take(name, 500)).sort(), values(500).sort());
  },

  async "a group goes on where it committed"() {
    const name = await topic();
    const group = fresh("group");
    await produce(name, messages(40));
    await take(name, 40, group, ({ consumer }) =>
      consumer.commitOffsets([{ topic: name, partition: 0, offset: "10", metadata: "ten" }]));
    assert.deepEqual(read(await take(name, 30, group)), values(40).slice(10));
    await admin(async (client) => {
      const isListed = async () => (await client.listGroups()).groups.some(({ groupId }) => groupId === group);
      const [{ partitions }] = await client.fetchOffsets({ groupId: group, topics: [name] });
      assert.deepEqual(partitions, [{ partition: 0, offset: "10", metadata: "ten" }]);
      assert.equal(await isListed(), true);
      await client.deleteGroups([group]);
      assert.equal(await isListed(), false);
    });
  },

  async "a reader goes where it is sent"() {
    const name = await topic();
    await produce(name, messages(50));
    await take(name, 50, fresh("group"), async (reader) => {
      reader.records.length = 0;
      reader.consumer.seek({ topic: name, partition: 0, offset: "30" });
      await eventually("what lies behind the offset", () => reader.records.length >= 20);
      assert.deepEqual(read(reader.records), values(50).slice(30));
    });
  },

  async "two members share the partitions"() {
    const name = await topic(4);
    const group = fresh("group");
    const first = await member(name, group);
    const second = await member(name, group);
    await eventually("an even share", () => first.assigned?.length === 2 && second.assigned?.length === 2);
    assert.deepEqual([...first.assigned, ...second.assigned].sort(), [0, 1, 2, 3]);
    const { groups: [described] } = await admin((client) => client.describeGroups([group]));
    assert.deepEqual([described.state, described.members.length, described.protocol], ["Stable", 2, "RoundRobinAssigner"]);
    const shares = described.members.map(({ memberAssignment }) => AssignerProtocol.MemberAssignment.decode(memberAssignment));
    assert.deepEqual(shares.map(({ assignment }) => assignment[name].length), [2, 2]);
    await second.consumer.disconnect();
    await eventually("all partitions for the one that stays", () => first.assigned.length === 4);
    await first.consumer.disconnect();
  },

  async "topics come, grow and go"() {
    await admin(async (client) => {
      const name = await topic(2);
      assert.equal((await client.listTopics()).includes(name), true);
      assert.equal(await client.createTopics({ topics: [{ topic: name }] }), false);
      await client.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] });
      const { topics: [described] } = await client.fetchTopicMetadata({ topics: [name] });
      assert.deepEqual(described.partitions.map(({ partitionId, leader, isr }) => [partitionId, leader, isr]).sort(),
        [0, 1, 2, 3, 4].map((partition) => [partition, 1, [1]]));
      await client.deleteTopics({ topics: [name] });
      assert.equal((await client.listTopics()).includes(name), false);
      const again = admin((hasty) => hasty.deleteTopics({ topics: [name] }), { retry: { retries: 0 } });
      await assert.rejects(again, ({ cause }) => cause.type === "UNKNOWN_TOPIC_OR_PARTITION");
    });
  },

  async "settings of a topic change"() {
    const name = await topic(1, [{ name: "retention.ms", value: "1000000" }]);
    const resource = { type: ConfigResourceTypes.TOPIC, name };
    await admin(async (client) => {
      const setting = async () => {
        const { resources: [found] } = await client.describeConfigs({ resources: [{ ...resource, configNames: ["retention.ms"] }] });
        return found.configEntries.map(({ configValue }) => configValue);
      };
      assert.deepEqual(await setting(), ["1000000"]);
      await client.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "2000000" }] }] });
      assert.deepEqual(await setting(), ["2000000"]);
      const wrong = [{ ...resource, configEntries: [{ name: "retention.ms", value: "soon" }] }];
      await assert.rejects(client.alterConfigs({ resources: wrong }), { type: "INVALID_CONFIG" });
    });
  },

  async "offsets, by time and of groups"() {
    const name = await topic();
    const group = fresh("group");
    for (let number = 0; number < 10; number++) {
      await produce(name, [{ value: "x", timestamp: String(1600000000000 + number * 1000) }]);
    }
    await admin(async (client) => {
      const [place] = await client.fetchTopicOffsets(name);
      assert.deepEqual([place.low, place.high], ["0", "10"]);
      assert.deepEqual(await client.fetchTopicOffsetsByTimestamp(name, 1600000003500), [{ partition: 0, offset: "4" }]);
      await client.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: "6" }] });
      const [{ partitions }] = await client.fetchOffsets({ groupId: group, topics: [name] });
      assert.equal(partitions[0].offset, "6");
      await client.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "7" }] });
      assert.equal((await client.fetchTopicOffsets(name))[0].low, "7");
    });
  },

  async "the cluster is described"() {
    const cluster = await admin((client) => client.describeCluster());
    assert.deepEqual([cluster.controller, cluster.brokers.map(({ nodeId }) => nodeId)], [1, [1]]);
    assert.notEqual(cluster.clusterId, "");
  },
};

(async () => {
  for (const [name, run] of Object.entries(checks)) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(error);
      console.log(`FAIL ${name}: ${error}`.replaceAll("\n", " "));
    }
  }
  console.log("@done");
})();
