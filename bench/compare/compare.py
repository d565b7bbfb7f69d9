#!/usr/bin/env python3
"""compare.py: crier beside other products, the same work by the same judge, in one run.

For each workload every product's server is started once, in a fresh folder; then the products take turns, round by round,
so that a machine that drifts drifts under all of them. The first round warms up and is thrown away. Every run checks its
own history; one that lost, repeated or reordered anything is shown as such and not counted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import report
from workloads import LIMIT, WORKLOADS

RUN_TIMEOUT_S = 300


def say(text):
    print(text, file=sys.stderr, flush=True)


def command(workload, product, server, build, folder):
    events = str(workload.events[product])
    if product is LIMIT:
        size = workload.options[workload.options.index("--size") + 1]
        return [f"{build}/bench/crier_limit", size, events, folder]
    options = [*workload.options, *product.options, "--events", events, "--dir", folder, "--json"]
    if product.peer is None:
        return [f"{build}/bin/crier", "--url", f"crier://{server.url}", "bench", workload.kind, *options]
    return [f"{build}/bench/bench_peer", product.peer, workload.kind, "--url", server.url, *options]


def run_once(workload, product, server, build, folder):
    """The measurement's own object, with what the server used; None: it failed, and has said why."""
    before = server.usage() if server else (0, 0)
    try:
        done = subprocess.run(command(workload, product, server, build, folder), stdout=subprocess.PIPE,
                              timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        say(f"    {product.name}: no end after {RUN_TIMEOUT_S} s")
        return None
    try:
        result = json.loads(done.stdout)
    except ValueError:
        say(f"    {product.name}: exit {done.returncode} without a result")
        return None
    after = server.usage() if server else (0, 0)
    result["server_cpu_s"], result["server_bytes"] = after[0] - before[0], after[1] - before[1]
    wrong = {key: result[key] for key in ("lost", "duplicated", "reordered") if result.get(key)}
    if wrong or done.returncode != 0:
        say(f"    {product.name}: not counted, exit {done.returncode}: {wrong}")
        return None
    return result


def value_of(workload, result):
    return result["latency_us"]["p50"] if workload.metric == "p50" else result["events_per_s"]


def start_servers(workload, build, folder):
    started = {}
    for product in workload.events:
        if product.server is None:
            continue
        if product.server.program and not shutil.which(product.server.program):
            say(f"    {product.name}: {product.server.program} is not installed: left out")
            continue
        place = os.path.join(folder, "".join(c for c in product.name if c.isalnum()))
        server = product.server(place, build)
        try:
            server.start()
        except (OSError, RuntimeError) as error:
            say(f"    {product.name}: {error} ({place}/server.log)")
            continue
        started[product] = server
    return started


def measure(workload, rounds, build, folder):
    """product -> the results of its rounds."""
    say(f"{workload.title}")
    results = {}
    started = start_servers(workload, build, folder)
    try:
        for number in range(rounds + 1):
            for product in workload.events:
                if product.server is not None and product not in started:
                    continue
                result = run_once(workload, product, started.get(product), build, folder)
                if result is None or number == 0:
                    continue
                results.setdefault(product, []).append(result)
                say(f"    {number}/{rounds} {product.name}: {report.quantity(workload, value_of(workload, result))}")
    finally:
        for server in started.values():
            server.stop()
    return results


def summary(workload, results):
    """One row per product: medians and spread."""
    rows = []
    for product, runs in results.items():
        values = [value_of(workload, run) for run in runs]
        million = workload.events[product] / 1e6
        rows.append({
            "product": product.name, "ack": product.ack, "rounds": len(values),
            "median": statistics.median(values), "least": min(values), "most": max(values),
            "p50_us": statistics.median(run.get("latency_us", {}).get("p50", 0) for run in runs),
            "p99_us": statistics.median(run.get("latency_us", {}).get("p99", 0) for run in runs),
            "server_cpu_s_per_million": statistics.median(run["server_cpu_s"] for run in runs) / million,
            "server_bytes_per_event": statistics.median(run["server_bytes"] for run in runs) / workload.events[product],
            "fdatasync_us": statistics.median(run.get("fdatasync_us", 0) for run in runs),
            "settings": product.server.settings if product.server else "bench/limit.c",
            "wanted": workload.wanted.get(product), "events": workload.events[product],
        })
    return {"name": workload.name, "title": workload.title, "metric": workload.metric, "kind": workload.kind,
            "rows": rows}


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"cores": os.cpu_count(), "model": model, "kernel": ".".join(os.uname().release.split(".")[:2]),
            "commit": commit.stdout.strip() or "unknown", "date": time.strftime("%Y-%m-%d")}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench compare", description=__doc__.split("\n\n")[0],
                                     epilog="Example: ./dev bench compare --rounds 5 --only e2e-100,replay-100")
    parser.add_argument("--rounds", type=int, default=5, help="that count, beside the one that warms up (default 5)")
    parser.add_argument("--only", default="", help="names of workloads, with commas: " + ", ".join(
        workload.name for workload in WORKLOADS))
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--dir", default="build/bench", help="where the servers' folders go (default build/bench)")
    parser.add_argument("--out", default="build/bench/results", help="where the results go (default build/bench/results)")
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name]
    unknown = set(names) - {workload.name for workload in WORKLOADS}
    if unknown or arguments.rounds < 1:
        parser.error(f"no workload {', '.join(sorted(unknown))}" if unknown else "--rounds: at least 1")

    os.makedirs(arguments.dir, exist_ok=True)
    build = os.path.abspath(arguments.build)
    outcome = {"machine": machine(), "rounds": arguments.rounds, "only": names, "workloads": []}
    for workload in WORKLOADS:
        if names and workload.name not in names:
            continue
        with tempfile.TemporaryDirectory(dir=os.path.abspath(arguments.dir), ignore_cleanup_errors=True) as folder:
            outcome["workloads"].append(summary(workload, measure(workload, arguments.rounds, build, folder)))
    report.write(outcome, arguments.out)
    say(f"{arguments.out}/README.md")


if __name__ == "__main__":
    main()
