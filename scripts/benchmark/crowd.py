"""Clients by the thousand, `load.rs`: all that come are there before the clock starts."""

import json
import os
import subprocess

import load
from contestant import OTHER_CPU

PROGRAM = os.path.abspath("target/release/examples/load")


class Crowd(load.Crowd):
    """`active` of them ask again and again, the rest stay and say nothing. `body` is the length of what they
    send, `paths` how many numbers stand for the {} in a path."""

    def __init__(self, port, path, clients, seconds, active=None, body=None, paths=None):
        command = [PROGRAM, str(port), path, str(clients), str(seconds)]
        for name, value in [("active", active), ("body", body), ("paths", paths)]:
            if value is not None:
                command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CPU}))
        if self.process.stdout.readline() != "there\n":
            raise SystemExit(f"the clients do not get to port {port}")

    def end(self):
        said = self.process.stdout.readline()
        if not said:
            raise SystemExit("the clients gave up")
        return json.loads(said)
