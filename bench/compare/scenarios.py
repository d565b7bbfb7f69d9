"""Measurements of crier alone, with programs of their own: each is a function that returns its numbers by name.

They run in the same `./dev bench compare`, so that one page answers for every promise; budget.py says what is wanted of
which number."""

import json
import os
import shutil
import subprocess

import servers

TIMEOUT_S = 600


class Place:
    """Where to measure: the build, and a folder that is removed afterwards."""

    def __init__(self, build, folder, rounds, say):
        self.build, self.folder, self.rounds, self.say = build, folder, rounds, say

    def run(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
        return done.stdout.decode()

    def broker(self):
        broker = servers.Crier(os.path.join(self.folder, "broker"), self.build)
        broker.start()
        return broker


def cold_replay(place):
    """A replay of cold data beside an open-loop producer: cold.c."""
    broker = place.broker()
    try:
        url = f"crier://{broker.url}"
        place.run(f"{place.build}/bench/crier_fill", url, "1", "2000000000", "65536")
        broker.stop()
        broker.start()
        told = json.loads(place.run(f"{place.build}/bench/crier_cold", url, os.path.join(broker.folder, "data"), "fill.0",
                                    "200", "3", str(min(place.rounds, 3))))
    finally:
        broker.stop()
    return {"producer p99 alone, us": told["p99_us"]["alone"], "producer p99 beside it, us": told["p99_us"]["beside"],
            "ratio": told["p99_us"]["ratio"], "producer, events/s": told["events_per_s"],
            "replayed, MB/s": told["replayed_mb_per_s"], "reactor's turn, CPU p99, us": broker.turn_p99_us()}


def many_topics(place):
    """100,000 topics: topics.c."""
    broker = place.broker()
    try:
        told = json.loads(place.run(f"{place.build}/bench/crier_topics", f"crier://{broker.url}", "100000",
                                    str(min(place.rounds, 3))))
    finally:
        broker.stop()
    return {"one topic, batches of 4 KiB, events/s": told["one_topic"],
            "100,000 topics, batches of 4 KiB, events/s": told["equal_fill"], "ratio": told["ratio"],
            "100,000 topics, one event in each in turn, events/s": told["one_each"],
            "reactor's turn, CPU p99, us": broker.turn_p99_us()}


def start_at_size(place):
    """Ready after a start: start.sh, 10 GB, one topic (and with 100,000 beside 1 GB)."""
    numbers = {}
    for topics, gigabytes in ((1, 10), (100_000, 1)):
        told = json.loads(place.run("bench/start.sh", "--json", "--topics", str(topics), "--gigabytes", str(gigabytes),
                                    "--build", place.build, "--dir", place.folder))
        what = f"{gigabytes} GB in {topics:,} topic{'s' if topics > 1 else ''}"
        numbers[f"{what}: serving after, ms (median)"] = told["serving_ms"]
        numbers[f"{what}: 95th percentile, ms"] = told["serving_p95_ms"]
        numbers[f"{what}: CPU time, ms (median)"] = told["cpu_ms"]
    return numbers


def small(place):
    """What it takes to do nothing."""
    broker = place.broker()
    try:
        idle_mb = broker.anonymous_mb()
    finally:
        broker.stop()
    stripped = os.path.join(place.folder, "crierd")
    shutil.copy(f"{place.build}/bin/crierd", stripped)
    place.run("strip", stripped)
    return {"idle, anonymous memory, MB": round(idle_mb, 2),
            "stripped crierd, MB": round(os.path.getsize(stripped) / 1e6, 3)}


SCENARIOS = {
    "topics-100k": ("100,000 topics", many_topics),
    "cold-replay": ("Cold data replayed at 200 MB/s beside a producer at 30 % of its most", cold_replay),
    "start": ("Ready after a start, warm cache", start_at_size),
    "small": ("An idle broker, and its program", small),
}
