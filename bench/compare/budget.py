"""What crier promises about its speed, row by row, and which scenario of this run shows it."""


def find(outcome, name):
    return next((workload for workload in outcome["workloads"] if workload["name"] == name), None)


def row_of(outcome, name, product, share=None):
    workload = find(outcome, name)
    rows = workload["rows"] if workload else []
    return next((row for row in rows if row["product"] == product and row["share"] == share), None)


def median(name, product, scale=1.0):
    def value(outcome):
        row = row_of(outcome, name, product)
        return row["median"] * scale if row else None
    return value


def ratio(name, other, own="crier", share=None):
    """How many times as good `own` is as `other`."""
    def value(outcome):
        ours, theirs = row_of(outcome, name, own, share), row_of(outcome, name, other, share)
        if not ours or not theirs or not ours["median"] or not theirs["median"]:
            return None
        if find(outcome, name)["metric"] == "events_per_s":
            return ours["median"] / theirs["median"]
        return theirs["median"] / ours["median"]
    return value


def number(scenario, key):
    def value(outcome):
        return outcome["scenarios"].get(scenario, {}).get("numbers", {}).get(key)
    return value


def lone_beyond_flushes(outcome):
    """p50 of a lone emit, less two fdatasyncs."""
    row = row_of(outcome, "lone-emit", "crier")
    return row["median"] - 2 * row["fdatasync_us"] if row else None


def worst_turn(outcome):
    return max((turn["p99_us"] for turn in outcome["turns"]), default=None)


# (the promise, the scenario, [(what, how it is got, "≥" or "≤", limit, unit)])
BUDGET = (
    ("durable end to end, 100 B", "e2e-100", [
        ("bare pipeline", ratio("e2e-100", "bare pipeline"), "≥", 0.8, "×"),
        ("Redis always", ratio("e2e-100", "Redis Streams, always"), "≥", 12, "×"),
        ("JetStream", ratio("e2e-100", "JetStream, file"), "≥", 20, "×"),
        ("RabbitMQ", ratio("e2e-100", "RabbitMQ quorum queue"), "≥", 60, "×")]),
    ("durable end to end, 1 KiB", "e2e-1k", [("bare pipeline", ratio("e2e-1k", "bare pipeline"), "≥", 0.8, "×")]),
    ("256 connections, one in flight", "connections-256", [
        ("Redis always", ratio("connections-256", "Redis Streams, always"), "≥", 1.2, "×")]),
    ("one durable emit in flight", "lone-emit", [
        ("p50 less two fdatasyncs", lone_beyond_flushes, "≤", 200, "µs"),
        ("Redis always (the dream)", ratio("lone-emit", "Redis Streams, always"), "≥", 1, "×")]),
    ("latency under load", "latency", [
        ("Redis always, each at 70 % of its most", ratio("latency", "Redis Streams, always", share=70), "≥", 1, "×")]),
    ("replay, warm", "replay-1k, replay-100", [
        ("1 KiB", median("replay-1k", "crier", 1024e-6), "≥", 1200, "MB/s"),
        ("100 B", median("replay-100", "crier", 100e-6), "≥", 600, "MB/s"),
        ("Redis, 100 B", ratio("replay-100", "Redis Streams, always"), "≥", 4, "×"),
        ("Redis, 1 KiB", ratio("replay-1k", "Redis Streams, always"), "≥", 4, "×"),
        ("JetStream, 100 B", ratio("replay-100", "JetStream, file"), "≥", 6, "×"),
        ("JetStream, 1 KiB", ratio("replay-1k", "JetStream, file"), "≥", 6, "×")]),
    ("backlog drained beside a producer", "drain", [
        ("Redis always", ratio("drain", "Redis Streams, always"), "≥", 1, "×")]),
    ("cold replay beside a producer at 30 %", "cold-replay", [
        ("producer p99, times alone", number("cold-replay", "ratio"), "≤", 2, "×")]),
    ("ephemeral, 16 B", "small-16", [("NATS core", ratio("small-16", "NATS core", "crier, ephemeral"), "≥", 2, "×")]),
    ("ephemeral, fan-out 1:8, 128 B", "fan-out-8", [
        ("NATS core", ratio("fan-out-8", "NATS core", "crier, ephemeral"), "≥", 2, "×")]),
    ("shared group of 8, an ack for each event", "shared-8", [
        ("RabbitMQ", ratio("shared-8", "RabbitMQ quorum queue"), "≥", 5, "×"),
        ("key-ordered: RabbitMQ, which has no such thing", ratio("shared-8", "RabbitMQ quorum queue", "crier, key-ordered"),
         "≥", 3, "×")]),
    ("request and reply", "request, request-50", [
        ("p50, NATS core's over ours", ratio("request", "NATS core"), "≥", 1, "×"),
        ("50 clients, NATS core", ratio("request-50", "NATS core"), "≥", 2, "×")]),
    ("100,000 topics", "topics-100k", [
        ("equal fill, beside one topic", number("topics-100k", "ratio"), "≥", 0.8, "×"),
        ("one event each", number("topics-100k", "100,000 topics, one event in each in turn, events/s"), "≥", 500_000,
         "events/s")]),
    ("anonymous memory", "small, memory-1k, memory-10k", [
        ("idle", number("small", "idle, anonymous memory, MB"), "≤", 5, "MB"),
        ("1,000 connections", median("memory-1k", "crier"), "≤", 20, "MB"),
        ("10,000 connections", median("memory-10k", "crier"), "≤", 120, "MB")]),
    ("ready after a start at 10 GB", "start", [
        ("p95", number("start", "10 GB in 1 topic: 95th percentile, ms"), "≤", 100, "ms")]),
    ("stripped `crierd`", "small", [("size", number("small", "stripped crierd, MB"), "≤", 2, "MB")]),
    ("one loop turn, CPU time p99", "all", [("the longest of all scenarios", worst_turn, "≤", 5000, "µs")]),
)


def text(value, unit):
    digits = 2 if abs(value) < 100 and value != int(value) else 0
    return f"{value:,.{digits}f} {unit}"


def rows(outcome):
    """(promise, scenario, what, result, aim, verdict) of what was measured in this run."""
    for promise, scenario, aims in BUDGET:
        for what, got, sense, limit, unit in aims:
            value = got(outcome)
            if value is None:
                continue
            reached = value >= limit if sense == "≥" else value <= limit
            yield promise, scenario, what, text(value, unit), f"{sense} {limit:,g} {unit}", "reached" if reached else "MISSED"


def plain(outcome):
    """For a terminal, at the end of a run."""
    lines = [f"{'promise':38} {'beside, or what':42} {'result':>18}   {'aim':>18}"]
    for promise, _, what, result, aim, verdict in rows(outcome):
        lines.append(f"{promise:38} {what:42} {result:>18}   {aim:>18}   {verdict}")
    return "\n".join(lines)


def markdown(outcome):
    lines = ["| promise | scenario | beside, or what | result | aim | |", "|---|---|---|---|---|---|"]
    for promise, scenario, what, result, aim, verdict in rows(outcome):
        lines.append(f"| {promise} | {scenario} | {what} | {result} | {aim} "
                     f"| {'reached' if verdict == 'reached' else '**missed**'} |")
    return lines
