"""Medians, ratios and the table."""

import os
import platform
import re
import statistics
import subprocess


def markdown(machine, results):
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += ["| scenario | server | CPU µs/request | user + system | ours ÷ it | goal | requests/s "
              "| p50 | p99 | peak RSS |", "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for result in results:
        ours = next(iter(result["turns"].values()))
        for name, turns in result["turns"].items():
            ratio, goal = "", ""
            if turns is not ours:
                value = ratio_of(ours, turns)
                ratio = f"{value:.2f}"
                if name in result["goals"]:
                    goal = f"{'met' if value <= result['goals'][name] else 'missed'}: " \
                           f"≤ {result['goals'][name]}"
            lines.append(
                f"| {result['scenario']} | {name} | {median(turns, 'cpuMicros'):.2f} "
                f"| {median(turns, 'userMicros'):.1f} + {median(turns, 'systemMicros'):.1f} "
                f"| {ratio} | {goal} | {median(turns, 'requestsPerSecond'):,.0f} "
                f"| {milliseconds(turns, 'p50Seconds')} | {milliseconds(turns, 'p99Seconds')} "
                f"| {median(turns, 'peakRssBytes') / 2**20:.1f} MiB |")
    for result in results:
        for name, turns in result["turns"].items():
            if "requestsPerSync" in turns[0]:
                lines.append(f"\nRequests a sync, {result['scenario']}, {name}: "
                             f"{median(turns, 'requestsPerSync'):.1f}")
    for result in results:
        for name, calls in result["systemCalls"].items():
            counted = ", ".join(f"{call} {count}" for call, count in calls.items())
            lines.append(f"\nSystem calls a request, {result['scenario']}, {name}: {counted}")
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
        "nginx": said(["/usr/sbin/nginx", "-v"]),
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
