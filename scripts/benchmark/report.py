"""Medians, ratios and the table."""

import os
import platform
import re
import statistics
import subprocess

import goal


def markdown(machine, results):
    """The table of CPU time, the table of other figures, and system calls where they were counted."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items())]
    costs = [line for result in results for line in cost_lines(result)]
    if costs:
        lines += ["", "| scenario | server | CPU µs/request | user + system | ours ÷ it | goal | requests/s "
                  "| p50 | p99 | peak RSS |", "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", *costs]
    figures = [line for result in results for line in figure_lines(result)]
    if figures:
        lines += ["", "| scenario | server | what | figure | goal |", "|---|---|---|---:|---:|", *figures]
    for result in results:
        for name, calls in result.get("systemCalls", {}).items():
            counted = ", ".join(f"{call} {count}" for call, count in calls.items())
            lines.append(f"\nSystem calls a request, {result['scenario']}, {name}: {counted}")
    return "\n".join(lines)


def cost_lines(result):
    """Ours first, then everybody else with what ours is of it."""
    ours = next(iter(result.get("turns", {}).values()), None)
    for name, turns in result.get("turns", {}).items():
        ratio, hoped = "", ""
        if turns is not ours:
            value = ratio_of(ours, turns)
            ratio = f"{value:.2f}"
            if name in result["goals"]:
                hoped = goal.judged(value, goal.most(result["goals"][name]))
        yield (f"| {result['scenario']} | {name} | {median(turns, 'cpuMicros'):.2f} "
               f"| {median(turns, 'userMicros'):.1f} + {median(turns, 'systemMicros'):.1f} "
               f"| {ratio} | {hoped} | {median(turns, 'requestsPerSecond'):,.0f} "
               f"| {milliseconds(turns, 'p50Seconds')} | {milliseconds(turns, 'p99Seconds')} "
               f"| {median(turns, 'peakRssBytes') / 2**20:.1f} MiB |")


def figure_lines(result):
    for one in result["figures"]:
        value = statistics.median(one["values"])
        unit = f" {one['unit']}" if one["unit"] else ""
        yield (f"| {result['scenario']} | {one['server']} | {one['what']} | {spelt(value)}{unit} "
               f"| {goal.judged(value, one['goal'])} |")


def spelt(value):
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def listing(scenarios):
    """Every scenario with what is hoped for, as a table."""
    lines = ["| scenario | goals |", "|---|---|"]
    for one in scenarios:
        hoped = [f"CPU ≤ {bound} × {name}" for name, bound in getattr(one, "goals", {}).items()]
        hoped += one.hopes() if hasattr(one, "hopes") else []
        lines.append(f"| {one.name} | {'; '.join(hoped)} |")
    return "\n".join(lines)


def ratio_of(ours, theirs):
    """The median over rounds of our CPU cost against theirs in the same round."""
    return statistics.median(
        mine["cpuMicros"] / its["cpuMicros"] for mine, its in zip(ours, theirs))


def milliseconds(turns, name):
    return "" if turns[0][name] is None else f"{median(turns, name) * 1e3:.2f} ms"


def median(turns, name):
    return statistics.median(turn[name] for turn in turns)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.+)", file.read())
    return {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "rip-master": said(["target/release/rip-master", "--version"]),
        "commit": said(["git", "rev-parse", "--short", "HEAD"]),
        "load": f"{os.getloadavg()[0]:.1f}",
        "nginx": said(["/usr/sbin/nginx", "-v"]),
        "HAProxy": said(["/usr/sbin/haproxy", "-v"]),
        "wrk": said(["wrk", "-v"]),
        "python": platform.python_version(),
        "gunicorn": said([".cache/venv-bench/bin/gunicorn", "--version"]),
        "uwsgi": said([".cache/venv-bench/bin/uwsgi", "--version"]),
    }


def said(command):
    """The version in what a program says of itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    line = (done.stdout + done.stderr).strip().partition("\n")[0]
    found = re.search(r"\d+\.[\d.]+\d|^[0-9a-f]{7,}$", line)
    return found[0] if found else line
