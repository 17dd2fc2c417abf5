"""The load generator, on a CPU of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from contestant import EVERY_CPU, OTHER_CPU

# Where load runs that may run wherever there is room: beside the two CPUs of the servers, if there are more.
SPREAD_CPUS = EVERY_CPU if len(EVERY_CPU) < 6 else set(sorted(EVERY_CPU)[2:])

# Crowds by their kind: the program, and where it runs.
CROWDS = {"fanout": ("fanout.py", {OTHER_CPU}), "turns": ("turns.py", EVERY_CPU),
          "keepalive": ("keepalive.py", EVERY_CPU)}
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def turn(port, path, connections, fields, seconds, kind="http", spread=False):
    """One run of wrk, or of clients that come back: requests, requests a second, latencies in
    seconds where they are known. `spread` load may run on more than one CPU."""
    if kind == "resumed":
        return returning(port, path, connections, seconds)
    if kind in CROWDS:
        with Crowd(kind, port, path, connections, seconds) as clients:
            return clients.go()
    text = wrk(port, path, connections, fields, seconds, kind, spread)
    if "Non-2xx" in text or "Socket errors" in text and not only_close(text, fields):
        raise SystemExit(f"wrk saw errors on port {port}:\n{text}")
    return {
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "requestsPerSecond": float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1]),
        "p50Seconds": latency(text, "50%"),
        "p99Seconds": latency(text, "99%"),
    }


class Crowd:
    """Clients of a program of their own that are all there, and say nothing before they are told to."""

    def __init__(self, kind, port, path, connections, seconds):
        program, cpus = CROWDS[kind]
        command = [sys.executable, os.path.join(os.path.dirname(__file__), program),
                   str(port), path, str(connections), str(seconds)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        if self.process.stdout.readline() != "there\n":
            raise SystemExit(f"the clients do not get to port {port}")

    def __enter__(self):
        return self

    def go(self):
        self.begin()
        return self.end()

    def begin(self):
        print("go", file=self.process.stdin, flush=True)

    def end(self):
        return json.loads(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)


@contextlib.contextmanager
def beside():
    """This process itself is the load meanwhile: beside the servers' CPU."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {OTHER_CPU})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def returning(port, path, connections, seconds):
    """Clients that take their TLS session up again for each request."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-www", path, "-reuse",
               "-time", str(seconds)]
    began = time.monotonic()
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CPU}))
        for _ in range(connections)]
    texts = [client.communicate()[0] for client in clients]
    spent = time.monotonic() - began
    # It shows an `r` for each session that was taken up, and a star for one that was not.
    for text in texts:
        if text.count("*") > text.count("r") / 10:
            raise SystemExit(f"port {port} does not take sessions up again:\n{text}")
    requests = sum(int(re.search(r"(\d+) connections in \d+ real", text)[1]) for text in texts)
    return {"requests": requests, "requestsPerSecond": requests / spent,
            "p50Seconds": None, "p99Seconds": None}


def system_calls(pids, ask):
    """Calls a request by name, counted by strace while `ask` makes requests."""
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as counted:
        command = ["strace", "-c", "-f", "-o", counted.name]
        for pid in pids:
            command += ["-p", str(pid)]
        strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        requests = ask()["requests"]
        strace.send_signal(signal.SIGINT)
        strace.wait()
        calls = {}
        for line in counted.read().splitlines():
            words = line.split()
            if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3]) / requests
    calls = {name: round(count, 3) for name, count in calls.items() if count >= 0.005}
    calls["total"] = round(sum(calls.values()), 3)
    return calls


def wrk(port, path, connections, fields, seconds, kind="http", spread=False):
    cpus = SPREAD_CPUS if spread else {OTHER_CPU}
    command = ["wrk", "--latency", "--timeout", "20s", f"-t{min(len(cpus), 4)}", f"-c{connections}", f"-d{seconds}s"]
    for name, value in fields.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"{kind}://127.0.0.1:{port}{path}")
    done = subprocess.run(command, check=True, capture_output=True, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    return done.stdout


def only_close(text, fields):
    """wrk counts some orderly closes as read errors when each request has its own connection."""
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return "Connection" in fields and errors and errors[1] == errors[3] == errors[4] == "0"


def latency(text, quantile):
    number, unit = re.search(rf"^\s*{quantile}\s+([\d.]+)([a-z]+)", text, re.MULTILINE).groups()
    return float(number) * UNITS[unit]
