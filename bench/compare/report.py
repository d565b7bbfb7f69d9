"""Results as a page: ratios first, then every number with its spread, the settings, and a picture a workload."""

import json
import os
from html import escape

import budget

BAR_WIDTH, LABEL_WIDTH, ROW_HEIGHT = 420, 210, 26


def quantity(metric, value):
    return {"p50": f"{value:,.0f} us", "memory_mb": f"{value:,.1f} MB"}.get(metric, f"{value:,.0f} events/s")


def label(row):
    return row["product"] if row["share"] is None else f"{row['product']} at {row['share']} %"


def own_row(workload, share=None):
    return next((row for row in workload["rows"] if row["product"] == workload["own"] and row["share"] == share), None)


def ratio(workload, row):
    """How many times as good crier is as the row's product."""
    own = own_row(workload, row["share"])
    if own is None or not own["median"] or not row["median"]:
        return None
    return own["median"] / row["median"] if workload["metric"] == "events_per_s" else row["median"] / own["median"]


def ratio_table(outcome):
    lines = ["| workload | crier | beside | ratio | wanted |", "|---|---|---|---|---|"]
    for workload in outcome["workloads"]:
        for row in workload["rows"]:
            times = ratio(workload, row)
            if times is None or row["product"].startswith("crier"):
                continue
            wanted, own = row["wanted"], own_row(workload, row["share"])
            verdict = "" if wanted is None else f"≥ {wanted:g}: {'reached' if times >= wanted else '**missed**'}"
            lines.append(f"| {workload['title']} | {quantity(workload['metric'], own['median'])} | {label(row)} "
                         f"(ack: {row['ack']}) | {times:.2f} × | {verdict} |")
    return lines


def workload_table(workload):
    lines = [f"### {workload['title']}", "", f"![{workload['title']}]({workload['name']}.svg)", "",
             "| product | an ack means | median | least to most | events/s | latency p50 / p99 / p99.9, ms "
             "| CPU of server / clients, s per million | server writes, B per event |", "|---|---|---|---|---|---|---|---|"]
    for row in workload["rows"]:
        latency = " / ".join(f"{row[key] / 1000:,.2f}" for key in ("p50_us", "p99_us", "p999_us")) if row["p50_us"] else ""
        server = row["product"] != "bare pipeline"
        written = f"{row['server_bytes_per_event']:,.0f}" if server else ""
        cpu = f"{row['server_cpu_s_per_million']:.2f} / {row['client_cpu_s_per_million']:.2f}" if server else ""
        lines.append(f"| {label(row)} | {row['ack']} | {quantity(workload['metric'], row['median'])} "
                     f"| {row['least']:,.0f} – {row['most']:,.0f} | {row['events_per_s']:,.0f} | {latency} | {cpu} "
                     f"| {written} |")
    return lines + [""]


def scenario_table(scenario):
    return [f"### {scenario['title']}", "", "| | |", "|---|---|",
            *(f"| {key} | {value:,} |" for key, value in scenario["numbers"].items()), ""]


def settings_list(outcome):
    seen = {}
    for workload in outcome["workloads"]:
        for row in workload["rows"]:
            seen.setdefault(row["product"], row["settings"])
    return [f"- {product}: {settings}" for product, settings in seen.items()]


def bars(workload):
    """Horizontal bars, each beside its name, as long as the value; crier's is the dark one."""
    rows = sorted(workload["rows"], key=lambda row: row["median"], reverse=workload["metric"] == "events_per_s")
    most = max(row["most"] for row in rows)
    height = ROW_HEIGHT * len(rows) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 160}" height="{height}" '
             f'font-family="sans-serif" font-size="13" role="img"><title>{escape(workload["title"])}</title>'
             f'<rect width="100%" height="100%" fill="#ffffff"/>']
    for number, row in enumerate(rows):
        y, x = 5 + number * ROW_HEIGHT, LABEL_WIDTH
        length = max(1.0, row["median"] / most * BAR_WIDTH)
        colour = "#1f4e79" if row["product"] == workload["own"] else "#9db8d2"
        least, top = (x + row[key] / most * BAR_WIDTH for key in ("least", "most"))
        parts.append(f'<text x="{x - 8}" y="{y + 16}" text-anchor="end">{escape(label(row))}</text>'
                     f'<rect x="{x}" y="{y + 3}" width="{length:.1f}" height="18" fill="{colour}"/>'
                     f'<path d="M{least:.1f} {y + 12}H{top:.1f}" stroke="#333333"/>'
                     f'<text x="{max(x + length, top) + 6:.1f}" y="{y + 16}">{quantity(workload["metric"], row["median"])}</text>')
    return "".join(parts) + "</svg>\n"


def disk(outcome):
    rows = [row for workload in outcome["workloads"] for row in workload["rows"] if row["fdatasync_us"]]
    if not rows:
        return ""
    p50, p99 = ([row[key] for row in rows] for key in ("fdatasync_us", "fdatasync_p99_us"))
    return f" (`fdatasync` of 4 KiB: p50 {min(p50):.0f}–{max(p50):.0f} us, p99 {min(p99):.0f}–{max(p99):.0f} us)"


def page(outcome):
    machine = outcome["machine"]
    again = "./dev bench compare --rounds {}{}".format(
        outcome["rounds"], " --only " + ",".join(outcome["only"]) if outcome["only"] else "")
    lines = ["# crier beside others", "",
             f"`{again}`, {machine['date']}, commit {machine['commit']}, {outcome['minutes']} minutes: {machine['cores']} cores "
             f"of {machine['model']}, Linux {machine['kernel']}, everything on loopback and on one disk{disk(outcome)}. Medians "
             f"of at most {outcome['rounds']} rounds in which the products took turns, after one that warmed up. Each run "
             "checked its own history: nothing was lost, repeated or reordered in any that counts.", "",
             "## What was promised", "", *budget.markdown(outcome), "", "## Ratios", "",
             "A ratio above 1 means that crier is so many times as good.", "", *ratio_table(outcome), "", "## Numbers", ""]
    for workload in outcome["workloads"]:
        if workload["rows"]:
            lines += workload_table(workload)
    for scenario in outcome["scenarios"].values():
        lines += scenario_table(scenario)
    lines += ["## Settings", "", *settings_list(outcome), ""]
    if outcome["left_out"]:
        lines += ["Left out of this run:", "", *(f"- {name}: {why}" for name, why in outcome["left_out"].items()), ""]
    return "\n".join(lines)


def write(outcome, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "README.md"), "w") as file:
        file.write(page(outcome))
    with open(os.path.join(folder, "results.json"), "w") as file:
        json.dump(outcome, file, indent=1)
    for workload in outcome["workloads"]:
        if workload["rows"]:
            with open(os.path.join(folder, workload["name"] + ".svg"), "w") as file:
                file.write(bars(workload))
