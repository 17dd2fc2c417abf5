"""A thousand routes on two hundred hosts, all of them changed by each reload, under load on another host."""

import os
import re
import time

import goal
import load
import ours
from contestant import EVERY_CPU, Contestant, answers, free_port, start, wait_for, write

HOSTS, ROUTES_A_HOST = 200, 5
CLIENTS = 32
RELOADS = 10
# Diagnostics that tell each turn of more than 5 ms.
TELLING = "rip_master::control=debug,rip_master::edge::turn=debug"
TURN = re.compile(r"a turn of (.+) took ([\d.]+)(ns|µs|ms|s), ([\d.]+)(ns|µs|ms|s) of it computing")
MILLISECONDS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}


class Reload:
    """Requests without reloads, then with ten of them, in turn. Master and load may run on every CPU."""

    def __init__(self, name):
        self.name = name

    def hopes(self):
        return ["lost ≤ 0", "p99 of others ≤ 2 ×", "a reload's answer ≤ 500 ms", "turns ≤ 5 ms"]

    def run(self, directory, options):
        quiet, busy, took = [], [], []
        one = Routed(directory)
        try:
            self.turn(one, 1, 0, took)
            one.told_bytes = os.path.getsize(one.log)
            for _ in range(options.rounds):
                quiet.append(self.turn(one, options.seconds, 0, took))
                busy.append(self.turn(one, options.seconds, RELOADS, took))
        finally:
            one.contestant.stop()
        lost = sum(turn["dropped"] + turn["failed"] for turn in busy)
        slower = [after["p99Seconds"] / before["p99Seconds"] for before, after in zip(quiet, busy)]
        name, reloads = ours.NAME, len(took)
        figures = [
            goal.figure(name, f"lost in {reloads} reloads", [lost], "requests", goal.most(0)),
            goal.figure(name, "p99 of others, with reloads ÷ without", slower, "", goal.most(2)),
            goal.figure(name, "p99 of others with reloads", [t["p99Seconds"] * 1e3 for t in busy], "ms"),
            goal.figure(name, "the longest request with reloads", [max(t["maxSeconds"] for t in busy) * 1e3], "ms"),
            goal.figure(name, "the longest request without", [max(t["maxSeconds"] for t in quiet) * 1e3], "ms"),
            goal.figure(name, "answer to `ctl reload`, the median", took, "ms"),
            goal.figure(name, "answer to `ctl reload`, the longest", [max(took)], "ms", goal.most(500)),
        ]
        return {"scenario": self.name, "figures": figures + one.stalls()}

    def turn(self, one, seconds, reloads, took):
        with load.Crowd("keepalive", one.contestant.port, "/", CLIENTS, seconds) as clients:
            clients.begin()
            for number in range(reloads):
                time.sleep(seconds / (reloads + 1))
                one.change(len(took) + 1)
                began = time.monotonic()
                ours.control(one.directory, "routed", "reload")
                took.append((time.monotonic() - began) * 1e3)
            return clients.end()


class Routed:
    """A master that has the routes."""

    def __init__(self, directory):
        self.directory = directory
        self.log = os.path.join(directory, "routed.log")
        # How much it had told when the reloads began.
        self.told_bytes = 0
        self.port = free_port()
        self.home = os.path.join(directory, "routed")
        os.makedirs(self.home, exist_ok=True)
        self.change(0)
        process = start(directory, "routed", [
            ours.RIP, "start", self.home, "--name", "routed", "--no-watch", "--no-access-log",
        ], EVERY_CPU, XDG_RUNTIME_DIR=ours.runtime(directory), RIP_LOG=TELLING)
        wait_for(lambda: answers(self.port, "/status"), ours.NAME)
        self.contestant = Contestant(ours.NAME, self.port, [process])

    def change(self, number):
        sites = "\n".join(
            f'site "host-{host}.test" {{ ' + "; ".join(
                f'route "/{number}/service-{route}/*" {{ to-app "hello" }}' for route in range(ROUTES_A_HOST)
            ) + " }" for host in range(HOSTS))
        write(self.home, "Edgefile", f"""version 1
edge {{ http "127.0.0.1:{self.port}" }}
app "hello" {{ entry "builtin:hello"; workers 2; concurrency 16 }}
site "*" {{ route "/*" {{ to-app "hello" }} }}
{sites}
""")

    def stalls(self):
        """The longest turns of loops as the master told them: by the clock, and what of one was computing."""
        with open(self.log, "rb") as log:
            log.seek(self.told_bytes)
            found = TURN.findall(log.read().decode(errors="replace"))
        turns = [(float(clock) * MILLISECONDS[unit], float(busy) * MILLISECONDS[busy_unit])
                 for _, clock, unit, busy, busy_unit in found]
        return [
            goal.figure(ours.NAME, f"turns of loops over 5 ms ({len(turns)}): the longest, by the clock",
                        [max((clock for clock, _ in turns), default=0)], "ms", goal.most(5)),
            goal.figure(ours.NAME, "the most that one of them computed",
                        [max((busy for _, busy in turns), default=0)], "ms", goal.most(5)),
        ]
