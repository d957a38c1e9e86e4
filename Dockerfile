# Two images: the coordinator, with the directories, variables and ports of the official ZooKeeper image (what comes without
# --target), and the broker (--target broker), which is configured by KAFKA_* variables.

# The slim image has all it takes: the toolchain, a C compiler and its headers.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p coordinator -p broker

FROM debian:bookworm-slim AS broker
RUN groupadd --gid 1000 kafka \
    && useradd --uid 1000 --gid 1000 --no-create-home --shell /usr/sbin/nologin kafka \
    && install -d -o kafka -g kafka /kafka
COPY --from=build /source/target/release/broker /usr/local/bin/broker
# What the server.properties of Kafka's own archive says, which images for Kafka begin from: one broker is enough for groups.
# Who runs several sets the first three to 3, 3 and 2.
ENV KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 \
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1 \
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1 \
    KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0 \
    KAFKA_LOG_DIRS=/kafka
USER kafka
VOLUME ["/kafka"]
EXPOSE 9092
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["broker", "healthcheck"]
ENTRYPOINT ["broker"]

FROM debian:bookworm-slim AS coordinator
RUN groupadd --gid 1000 zookeeper \
    && useradd --uid 1000 --gid 1000 --no-create-home --shell /usr/sbin/nologin zookeeper \
    && install -d -o zookeeper -g zookeeper /conf /data /datalog /logs
COPY --from=build /source/target/release/coordinator /usr/local/bin/coordinator

# Written here rather than as variables, so that a mounted /conf/zoo.cfg replaces all of it, as in the official image.
RUN printf 'dataDir=/data\ndataLogDir=/datalog\nclientPort=2181\n' > /conf/zoo.cfg
ENV ZOO_CONF_DIR=/conf ZOO_LOG_DIR=/logs
USER zookeeper
VOLUME ["/data", "/datalog", "/logs"]
# Clients, TLS clients, members (two ports), metrics, operations.
EXPOSE 2181 2281 2888 3888 7000 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["coordinator", "healthcheck"]
ENTRYPOINT ["coordinator"]
