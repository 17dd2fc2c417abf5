"""How long a server takes to its first answer, and what it holds before there is work."""

import os
import signal
import socket
import subprocess
import time

import goal
import ours
import processes
from contestant import free_port

GOES = 10


class Start:
    """From exec to the first answer of a worker, with as many loops as there are CPUs: what a newcomer
    starts. Then the memory of the master, a second later."""

    def __init__(self, name):
        self.name = name

    def hopes(self):
        return ["first answer ≤ 100 ms", "idle master ≤ 12 MB"]

    def run(self, directory, _options):
        took, held = [], []
        for number in range(GOES):
            port = free_port()
            began = time.monotonic()
            with open(os.path.join(directory, "start.log"), "ab") as log:
                process = subprocess.Popen(
                    [ours.RIP, "start", "builtin:hello", f"http:{port}", "--host", "127.0.0.1",
                     "--name", f"start-{number}", "--no-access-log"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, "XDG_RUNTIME_DIR": ours.runtime(directory)})
            first_answer(port, process)
            took.append((time.monotonic() - began) * 1e3)
            time.sleep(1)
            held.append(processes.rss_bytes([process.pid]) / 1e6)
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        return {"scenario": self.name, "figures": [
            goal.figure(ours.NAME, "exec to first answer", took, "ms", goal.most(100)),
            goal.figure(ours.NAME, "the slowest of them", [max(took)], "ms"),
            goal.figure(ours.NAME, "RSS of the idle master", held, "MB", goal.most(12)),
        ]}


def first_answer(port, process):
    """Asks until there is an answer, a thousand times a second while nobody listens."""
    deadline = time.monotonic() + 20
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("rip-master did not start")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200 "):
                    return
        except ConnectionError:
            time.sleep(0.001)
