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
CRIER_MEMORY = Product("crier, memory", servers.Crier, None, "memory", ("--durability", "memory"))
LIMIT = Product("bare pipeline", None, None, "fsync")
REDIS = Product("Redis Streams, always", servers.Redis, "redis", "fsync")
REDIS_EVERYSEC = Product("Redis Streams, everysec", servers.RedisEverysec, "redis", "page cache")
REDIS_NO = Product("Redis Streams, no", servers.RedisNo, "redis", "page cache")
NATS = Product("NATS core", servers.Nats, "nats", "none")
JETSTREAM = Product("JetStream, file", servers.JetStream, "jetstream", "page cache")
RABBITMQ = Product("RabbitMQ quorum queue", servers.RabbitMQ, "rabbitmq", "fsync")
MOSQUITTO = Product("Mosquitto, QoS 1", servers.Mosquitto, "mosquitto", "memory")


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    kind: str                                   # of `crier bench` and `bench_peer`: e2e, emit, replay
    options: tuple
    events: dict                                # product -> how many
    metric: str = "events_per_s"                # or "p50"
    wanted: dict = field(default_factory=dict)  # product -> crier is at least so many times as good

    @property
    def smaller_is_better(self):
        return self.metric == "p50"


WORKLOADS = (
    Workload("e2e-100", "Producer to consumer, 100 B", "e2e", ("--size", "100"),
             {CRIER: 4_000_000, LIMIT: 4_000_000, CRIER_MEMORY: 4_000_000, REDIS: 400_000, REDIS_EVERYSEC: 600_000,
              REDIS_NO: 600_000, JETSTREAM: 200_000, RABBITMQ: 60_000, MOSQUITTO: 60_000},
             wanted={LIMIT: 0.8, REDIS: 12, JETSTREAM: 20, RABBITMQ: 60}),
    Workload("e2e-1k", "Producer to consumer, 1 KiB", "e2e", ("--size", "1024"),
             {CRIER: 1_000_000, LIMIT: 1_000_000, REDIS: 200_000, JETSTREAM: 100_000, RABBITMQ: 40_000},
             wanted={LIMIT: 0.8}),
    Workload("connections-256", "256 connections, one event in flight on each, 100 B", "emit",
             ("--size", "100", "--connections", "256"), {CRIER: 200_000, REDIS: 150_000, JETSTREAM: 50_000},
             wanted={REDIS: 1.2}),
    Workload("lone-emit", "One event in flight, p50", "emit", ("--size", "100"),
             {CRIER: 6_000, REDIS: 6_000, JETSTREAM: 6_000, RABBITMQ: 2_000, MOSQUITTO: 6_000}, metric="p50"),
    Workload("replay-100", "Replay, warm, 100 B", "replay", ("--size", "100"),
             {CRIER: 6_000_000, REDIS: 600_000, JETSTREAM: 300_000}, wanted={REDIS: 4, JETSTREAM: 6}),
    Workload("replay-1k", "Replay, warm, 1 KiB", "replay", ("--size", "1024"),
             {CRIER: 1_000_000, REDIS: 200_000, JETSTREAM: 100_000}, wanted={REDIS: 4, JETSTREAM: 6}),
    Workload("fan-out-8", "One producer, 8 listeners, 128 B", "e2e", ("--size", "128", "--listeners", "8"),
             {CRIER: 1_000_000, CRIER_MEMORY: 1_000_000, NATS: 400_000}, wanted={NATS: 2}),
    Workload("small-16", "Producer to consumer, 16 B", "e2e", ("--size", "16"),
             {CRIER: 8_000_000, CRIER_MEMORY: 8_000_000, NATS: 2_000_000}, wanted={NATS: 2}),
)
