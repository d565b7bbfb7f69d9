"""Results as a page: ratios first, then every number with its spread, the settings, and a picture a workload."""

import json
import os
from html import escape

BAR_WIDTH, LABEL_WIDTH, ROW_HEIGHT = 420, 210, 26


def quantity(workload, value):
    metric = workload["metric"] if isinstance(workload, dict) else workload.metric
    return f"{value:,.0f} us" if metric == "p50" else f"{value:,.0f} events/s"


def crier_row(workload):
    return next((row for row in workload["rows"] if row["product"] == "crier"), None)


def ratio(workload, row):
    """How many times as good crier is as the row's product."""
    own = crier_row(workload)
    if own is None or not own["median"] or not row["median"]:
        return None
    better = row["median"] / own["median"] if workload["metric"] == "p50" else own["median"] / row["median"]
    return better


def ratio_table(outcome):
    lines = ["| workload | crier | beside | ratio | wanted |", "|---|---|---|---|---|"]
    for workload in outcome["workloads"]:
        own = crier_row(workload)
        for row in workload["rows"]:
            times = ratio(workload, row)
            if row is own or times is None or row["product"].startswith("crier"):
                continue
            wanted = row["wanted"]
            verdict = "" if wanted is None else f"≥ {wanted:g}: {'reached' if times >= wanted else '**missed**'}"
            lines.append(f"| {workload['title']} | {quantity(workload, own['median'])} | {row['product']} "
                         f"(ack: {row['ack']}) | {times:.2f} × | {verdict} |")
    return lines


def workload_table(workload):
    lines = [f"### {workload['title']}", "", f"![{workload['title']}]({workload['name']}.svg)", "",
             "| product | an ack means | median | least to most | latency p50 / p99 | server CPU, s per million "
             "| server writes, B per event |", "|---|---|---|---|---|---|---|"]
    for row in workload["rows"]:
        latency = f"{row['p50_us'] / 1000:,.2f} / {row['p99_us'] / 1000:,.2f} ms" if row["p50_us"] else ""
        server = row["product"] != "bare pipeline"
        cpu, written = row["server_cpu_s_per_million"], row["server_bytes_per_event"]
        lines.append(f"| {row['product']} | {row['ack']} | {quantity(workload, row['median'])} "
                     f"| {row['least']:,.0f} – {row['most']:,.0f} | {latency} | {f'{cpu:.2f}' if server else ''} "
                     f"| {f'{written:,.0f}' if server else ''} |")
    return lines + [""]


def settings_list(outcome):
    seen = {}
    for workload in outcome["workloads"]:
        for row in workload["rows"]:
            seen.setdefault(row["product"], row["settings"])
    return [f"- {product}: {settings}" for product, settings in seen.items()]


def bars(workload):
    """Horizontal bars, each beside its name, as long as the value; crier's is the dark one."""
    rows = sorted(workload["rows"], key=lambda row: row["median"], reverse=workload["metric"] != "p50")
    most = max(row["most"] for row in rows)
    height = ROW_HEIGHT * len(rows) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 160}" height="{height}" '
             f'font-family="sans-serif" font-size="13" role="img"><title>{escape(workload["title"])}</title>'
             f'<rect width="100%" height="100%" fill="#ffffff"/>']
    for number, row in enumerate(rows):
        y, x = 5 + number * ROW_HEIGHT, LABEL_WIDTH
        length = max(1.0, row["median"] / most * BAR_WIDTH)
        colour = "#1f4e79" if row["product"] == "crier" else "#9db8d2"
        least, top = (x + row[key] / most * BAR_WIDTH for key in ("least", "most"))
        parts.append(f'<text x="{x - 8}" y="{y + 16}" text-anchor="end">{escape(row["product"])}</text>'
                     f'<rect x="{x}" y="{y + 3}" width="{length:.1f}" height="18" fill="{colour}"/>'
                     f'<path d="M{least:.1f} {y + 12}H{top:.1f}" stroke="#333333"/>'
                     f'<text x="{max(x + length, top) + 6:.1f}" y="{y + 16}">{quantity(workload, row["median"])}</text>')
    return "".join(parts) + "</svg>\n"


def page(outcome):
    machine = outcome["machine"]
    fdatasync = [row["fdatasync_us"] for workload in outcome["workloads"] for row in workload["rows"]
                 if row["fdatasync_us"]]
    again = "./dev bench compare --rounds {}{}".format(
        outcome["rounds"], " --only " + ",".join(outcome["only"]) if outcome["only"] else "")
    lines = ["# crier beside others", "",
             f"`{again}`, {machine['date']}, commit {machine['commit']}: {machine['cores']} cores of {machine['model']}, "
             f"Linux {machine['kernel']}, everything on loopback and on one disk"
             + (f" (`fdatasync` of 4 KiB: {min(fdatasync):.0f}–{max(fdatasync):.0f} us)" if fdatasync else "")
             + f". Medians of {outcome['rounds']} rounds in which the products took turns, after one that warmed up. Each run "
             "checked its own history: nothing was lost, repeated or reordered in any that counts.", "",
             "A ratio above 1 means that crier is so many times as good.", "", *ratio_table(outcome), "", "## Numbers", ""]
    for workload in outcome["workloads"]:
        if workload["rows"]:
            lines += workload_table(workload)
    return "\n".join(lines + ["## Settings", "", *settings_list(outcome), ""])


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
