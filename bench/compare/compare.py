#!/usr/bin/env python3
"""compare.py: crier beside other products, the same work by the same judge, in one run.

For each workload every product's server is started once, in a fresh folder; then the products take turns, round by round,
so that a machine that drifts drifts under all of them. The first round warms up and is thrown away. Every run checks its
own history; one that lost, repeated or reordered anything is shown as such and not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import budget
import fetch
import report
import scenarios
import servers
from workloads import LIMIT, WORKLOADS

RUN_TIMEOUT_S = 120
SAMPLE_S = 0.1      # between two looks at a server's memory
OPEN_LOOP_S = 2     # of one run at a rate


def say(text):
    print(text, file=sys.stderr, flush=True)


def command(workload, product, server, build, folder, rate):
    events = str(rate * OPEN_LOOP_S if rate else workload.events[product])
    if product is LIMIT:
        size = workload.options[workload.options.index("--size") + 1]
        return [f"{build}/bench/crier_limit", size, events, folder]
    options = [*workload.options, *product.options, "--events", events, "--dir", folder, "--json"]
    if rate:
        options += ["--rate", str(rate)]
    if product.peer is None:
        return [f"{build}/bin/crier", "--url", f"crier://{server.url}", "bench", workload.kind, *options]
    return [f"{build}/bench/bench_peer", product.peer, workload.kind, "--url", server.url, *options]


def run_to_end(words, server, sampled):
    """(exit status, standard output, the server's largest memory if that is sampled). Raises TimeoutExpired."""
    most_mb, ends = 0.0, time.monotonic() + RUN_TIMEOUT_S
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=SAMPLE_S if sampled else RUN_TIMEOUT_S)
                return process.returncode, output, most_mb
            except subprocess.TimeoutExpired:
                if time.monotonic() >= ends:
                    process.kill()
                    raise
                most_mb = max(most_mb, server.anonymous_mb())


def run_once(workload, product, server, build, folder, rate=0):
    """The measurement's own object, with what the server used; None: it failed, and has said why."""
    before = server.usage() if server else (0, 0)
    try:
        status, output, memory_mb = run_to_end(command(workload, product, server, build, folder, rate), server,
                                               workload.metric == "memory_mb")
    except subprocess.TimeoutExpired:
        say(f"    {product.name}: no end after {RUN_TIMEOUT_S} s")
        return None
    try:
        result = json.loads(output)
    except ValueError:
        say(f"    {product.name}: exit {status} without a result")
        return None
    after = server.usage() if server else (0, 0)
    result["server_cpu_s"], result["server_bytes"] = after[0] - before[0], after[1] - before[1]
    result["memory_mb"] = memory_mb
    wrong = {key: result[key] for key in ("lost", "duplicated", "reordered") if result.get(key)}
    if wrong or status != 0:
        say(f"    {product.name}: not counted, exit {status}: {wrong}")
        return None
    return result


def value_of(workload, result):
    if workload.metric == "memory_mb":
        return result["memory_mb"]
    return result["latency_us"]["p50"] if workload.metric == "p50" else result["events_per_s"]


def start_servers(workload, build, folder, left_out):
    started = {}
    for product in workload.events:
        if product.server is None:
            continue
        complaint = product.server.complaint()
        if complaint:
            say(f"    {product.name}: left out: {complaint}")
            left_out[product.name] = complaint
            continue
        place = os.path.join(folder, "".join(c for c in product.name if c.isalnum()))
        server = product.server(place, build)
        try:
            server.start()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            say(f"    {product.name}: {error} ({place}/server.log)")
            left_out[product.name] = "it did not start"
            continue
        started[product] = server
    return started


def stop_servers(workload, started, turns):
    for product, server in started.items():
        server.stop()
        p99_us = server.turn_p99_us()
        if p99_us is not None:
            turns.append({"workload": workload.name, "product": product.name, "p99_us": p99_us})


def warm_up(workload, products, started, build, folder):
    """The most that each can, in events/s; those that failed are left out."""
    most = {}
    for product in products:
        result = run_once(workload, product, started.get(product), build, folder)
        if result is not None:
            most[product] = result["events_per_s"]
    return most


def one_round(workload, number, most, started, build, folder, results):
    for share in workload.rates or (None,):
        for product, per_s in most.items():
            rate = max(1, int(per_s * share / 100)) if share else 0
            result = run_once(workload, product, started.get(product), build, folder, rate)
            if result is None:
                continue
            results.setdefault((product, share), []).append(result)
            say(f"    {number} {product.name}{f' at {share} %' if share else ''}: "
                f"{report.quantity(workload.metric, value_of(workload, result))}")


def measure(workload, rounds, build, folder, outcome, ends):
    """(product, share of its most) -> the results of its rounds. Once the run's time is over, one round is enough."""
    say(f"{workload.title}")
    results = {}
    rounds = min(rounds, workload.rounds_most)
    started = start_servers(workload, build, folder, outcome["left_out"])
    try:
        products = [product for product in workload.events if product.server is None or product in started]
        most = warm_up(workload, products, started, build, folder)
        for number in range(1, rounds + 1):
            if number > 1 and time.monotonic() > ends:
                say("    the time is over: no more rounds of this one")
                break
            one_round(workload, f"{number}/{rounds}", most, started, build, folder, results)
    finally:
        stop_servers(workload, started, outcome["turns"])
    return results


def summary(workload, results):
    """One row per product: medians and spread."""
    rows = []
    for (product, share), runs in results.items():
        values = [value_of(workload, run) for run in runs]
        events = statistics.median(run.get("events", workload.events[product]) for run in runs)

        def middle(key, runs=runs):
            return statistics.median(run.get(key, 0) for run in runs)

        def latency(key, runs=runs):
            return statistics.median(run.get("latency_us", {}).get(key, 0) for run in runs)

        rows.append({
            "product": product.name, "share": share, "ack": product.ack, "rounds": len(values),
            "median": statistics.median(values), "least": min(values), "most": max(values),
            "p50_us": latency("p50"), "p99_us": latency("p99"), "p999_us": latency("p999"),
            "events_per_s": middle("events_per_s"),
            "server_cpu_s_per_million": middle("server_cpu_s") / events * 1e6,
            "client_cpu_s_per_million": middle("cpu_s") / events * 1e6,
            "server_bytes_per_event": middle("server_bytes") / events,
            "fdatasync_us": middle("fdatasync_us"), "fdatasync_p99_us": middle("fdatasync_p99_us"),
            "settings": product.server.described() if product.server else "bench/limit.c",
            "wanted": workload.wanted.get(product), "events": events,
        })
    return {"name": workload.name, "title": workload.title, "metric": workload.metric, "kind": workload.kind,
            "own": workload.own.name, "rows": rows}


def run_scenario(name, rounds, build, folder):
    title, function = scenarios.SCENARIOS[name]
    say(title)
    try:
        numbers = function(scenarios.Place(build, folder, rounds, say))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        say(f"    failed: {error}")
        return None
    for key, value in numbers.items():
        say(f"    {key}: {value:,}")
    return {"title": title, "numbers": numbers}


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"cores": os.cpu_count(), "model": model, "kernel": ".".join(os.uname().release.split(".")[:2]),
            "commit": commit.stdout.strip() or "unknown", "date": time.strftime("%Y-%m-%d")}


def arguments_read():
    names = [workload.name for workload in WORKLOADS] + list(scenarios.SCENARIOS)
    parser = argparse.ArgumentParser(prog="./dev bench compare", description=__doc__.split("\n\n")[0],
                                     epilog="Example: ./dev bench compare --rounds 5 --only e2e-100,replay-100")
    parser.add_argument("--rounds", type=int, default=5, help="that count, beside the one that warms up (default 5)")
    parser.add_argument("--minutes", type=float, default=30, help="after so long, what is left gets one round (default 30)")
    parser.add_argument("--only", default="", help="names, with commas: " + ", ".join(names))
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--peers", default="build/peers", help="where fetched servers are kept (default build/peers)")
    parser.add_argument("--dir", default="build/bench", help="where the servers' folders go (default build/bench)")
    parser.add_argument("--out", default="build/bench/results", help="where the results go (default build/bench/results)")
    arguments = parser.parse_args()
    arguments.only = [name for name in arguments.only.split(",") if name]
    unknown = set(arguments.only) - set(names)
    if unknown or arguments.rounds < 1:
        parser.error(f"no workload {', '.join(sorted(unknown))}" if unknown else "--rounds: at least 1")
    arguments.wanted = arguments.only or names
    return arguments


def main():
    arguments = arguments_read()
    began = time.monotonic()
    ends = began + arguments.minutes * 60
    os.makedirs(arguments.dir, exist_ok=True)
    build = os.path.abspath(arguments.build)

    def folder():
        return tempfile.TemporaryDirectory(dir=os.path.abspath(arguments.dir), ignore_cleanup_errors=True)

    outcome = {"machine": machine(), "rounds": arguments.rounds, "only": arguments.only, "workloads": [], "scenarios": {},
               "turns": [], "left_out": {}}
    servers.Server.found = fetch.all_of_them(arguments.peers, say)
    for workload in WORKLOADS:
        if workload.name in arguments.wanted:
            with folder() as place:
                outcome["workloads"].append(summary(workload, measure(workload, arguments.rounds, build, place,
                                                                      outcome, ends)))
    for name in scenarios.SCENARIOS:
        if name in arguments.wanted:
            with folder() as place:
                told = run_scenario(name, arguments.rounds, build, place)
            if told:
                outcome["scenarios"][name] = told
    outcome["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.write(outcome, arguments.out)
    print(budget.plain(outcome), flush=True)
    say(f"{outcome['minutes']} minutes; {arguments.out}/README.md")


if __name__ == "__main__":
    main()
