"""What is measured: each workload once, with who takes part, how much, and what crier wants to reach."""

from dataclasses import dataclass, field

import servers


@dataclass(frozen=True)
class Product:
    name: str      # in tables
    server: type   # of servers.py; None: a program without a server
    peer: str      # bench_peer's name for it; None: crier itself, or the bare pipeline
    ack: str       # what its acknowledgement means: "fsync", "page cache", "memory", "none"
    options: tuple = ()


CRIER = Product("crier", servers.Crier, None, "fsync")
CRIER_EPHEMERAL = Product("crier, ephemeral", servers.Crier, None, "none", ("--ephemeral",))
CRIER_MEMORY = Product("crier, memory", servers.Crier, None, "memory", ("--durability", "memory"))
CRIER_KEYS = Product("crier, key-ordered", servers.Crier, None, "fsync", ("--key-ordered",))
LIMIT = Product("bare pipeline", None, None, "fsync")
REDIS = Product("Redis Streams, always", servers.Redis, "redis", "fsync")
REDIS_EVERYSEC = Product("Redis Streams, everysec", servers.RedisEverysec, "redis", "page cache")
REDIS_NO = Product("Redis Streams, no", servers.RedisNo, "redis", "page cache")
NATS = Product("NATS core", servers.Nats, "nats", "none")
JETSTREAM = Product("JetStream, file", servers.JetStream, "jetstream", "page cache")
NATS_NEWER = Product("NATS core, newer", servers.NatsNewer, "nats", "none")
JETSTREAM_NEWER = Product("JetStream, newer, file", servers.JetStreamNewer, "jetstream", "page cache")
KAFKA = Product("Kafka", servers.Kafka, "kafka", "page cache")
KAFKA_FSYNC = Product("Kafka, flushed", servers.KafkaFsync, "kafka", "fsync")
RABBITMQ = Product("RabbitMQ quorum queue", servers.RabbitMQ, "rabbitmq", "fsync")
MOSQUITTO = Product("Mosquitto, QoS 1", servers.Mosquitto, "mosquitto", "memory")


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    kind: str                                   # of `crier bench` and `bench_peer`: e2e, emit, shared, request, replay, drain
    options: tuple
    events: dict                                # product -> how many
    metric: str = "events_per_s"                # or "p50", "memory_mb"
    wanted: dict = field(default_factory=dict)  # product -> crier is at least so many times as good
    own: Product = CRIER                        # whose row is compared with the others
    rates: tuple = ()                           # shares of each product's own maximum, in percent: an open loop at each
    rounds_most: int = 99

    @property
    def smaller_is_better(self):
        return self.metric != "events_per_s"


WORKLOADS = (
    Workload("e2e-100", "Producer to consumer, 100 B", "e2e", ("--size", "100"),
             {CRIER: 4_000_000, LIMIT: 4_000_000, CRIER_MEMORY: 4_000_000, REDIS: 300_000, REDIS_EVERYSEC: 400_000,
              REDIS_NO: 400_000, JETSTREAM: 100_000, JETSTREAM_NEWER: 100_000, KAFKA: 500_000, KAFKA_FSYNC: 200_000, RABBITMQ: 40_000,
              MOSQUITTO: 40_000},
             wanted={LIMIT: 0.8, REDIS: 12, JETSTREAM: 20, RABBITMQ: 60}),
    Workload("e2e-1k", "Producer to consumer, 1 KiB", "e2e", ("--size", "1024"),
             {CRIER: 700_000, LIMIT: 700_000, REDIS: 60_000, JETSTREAM: 60_000, KAFKA: 150_000,
              RABBITMQ: 25_000},
             wanted={LIMIT: 0.8}),
    Workload("connections-256", "256 connections, one event in flight on each, 100 B", "emit",
             ("--size", "100", "--connections", "256"), {CRIER: 150_000, REDIS: 150_000, JETSTREAM: 40_000},
             wanted={REDIS: 1.2}),
    Workload("lone-emit", "One event in flight, p50", "emit", ("--size", "100"),
             {CRIER: 4_000, REDIS: 4_000, JETSTREAM: 4_000, KAFKA_FSYNC: 2_000, RABBITMQ: 1_500,
              MOSQUITTO: 4_000}, metric="p50"),
    Workload("latency", "Producer to consumer, 100 B, at 50, 70 and 90 % of the most that each can", "e2e",
             ("--size", "100"), {CRIER: 3_000_000, REDIS: 150_000, JETSTREAM: 80_000, RABBITMQ: 30_000}, metric="p50",
             rates=(50, 70, 90), rounds_most=3),
    Workload("replay-100", "Replay, warm, 100 B", "replay", ("--size", "100"),
             {CRIER: 4_000_000, REDIS: 300_000, JETSTREAM: 150_000, JETSTREAM_NEWER: 150_000, KAFKA: 600_000}, wanted={REDIS: 4, JETSTREAM: 6}),
    Workload("replay-1k", "Replay, warm, 1 KiB", "replay", ("--size", "1024"),
             {CRIER: 600_000, REDIS: 60_000, JETSTREAM: 60_000}, wanted={REDIS: 4, JETSTREAM: 6}),
    Workload("drain", "A backlog read while as much again is emitted, 100 B", "drain", ("--size", "100"),
             {CRIER: 4_000_000, REDIS: 300_000, JETSTREAM: 100_000, KAFKA: 500_000}),
    Workload("small-16", "Ephemeral, producer to consumer, 16 B", "e2e", ("--size", "16"),
             {CRIER_EPHEMERAL: 8_000_000, CRIER: 6_000_000, NATS: 1_500_000, NATS_NEWER: 1_500_000}, wanted={NATS: 2}, own=CRIER_EPHEMERAL),
    Workload("fan-out-8", "Ephemeral, one producer, 8 listeners, 128 B", "e2e", ("--size", "128", "--listeners", "8"),
             {CRIER_EPHEMERAL: 1_000_000, CRIER: 600_000, NATS: 250_000, NATS_NEWER: 250_000}, wanted={NATS: 2}, own=CRIER_EPHEMERAL),
    Workload("shared-8", "A shared group of 8 members, each event acknowledged by itself, 100 B", "shared",
             ("--size", "100", "--listeners", "8", "--in-flight", "256"),
             {CRIER: 1_000_000, CRIER_KEYS: 600_000, RABBITMQ: 40_000}, wanted={RABBITMQ: 5}),
    Workload("request", "Request and reply, one at a time, p50", "request", ("--size", "100"),
             {CRIER: 10_000, NATS: 10_000, NATS_NEWER: 10_000}, metric="p50", wanted={NATS: 1}),
    Workload("request-50", "Requests of 50 clients, one in flight each", "request",
             ("--size", "100", "--connections", "50"), {CRIER: 60_000, NATS: 30_000, NATS_NEWER: 30_000}, wanted={NATS: 2}),
    Workload("memory-1k", "Anonymous memory with 1,000 connections, one event in flight on each", "emit",
             ("--size", "100", "--connections", "1000"), {CRIER: 100_000, REDIS: 100_000}, metric="memory_mb",
             rounds_most=2),
    Workload("memory-10k", "Anonymous memory with 10,000 connections, one event in flight on each", "emit",
             ("--size", "100", "--producers", "4", "--connections", "2500"), {CRIER: 100_000, REDIS: 100_000},
             metric="memory_mb", rounds_most=1),
)
