"""What clients lose while a server takes up its configuration again."""

import time

import goal
import load

CLIENTS = 32
RELOADS = 5
PAUSE_SECONDS = 1.0


class Drops:
    """Five reloads under 32 clients that keep their connections. Ours answers through a worker that each
    reload replaces; the others answer themselves."""

    def __init__(self, name, contestants):
        self.name = name
        self.contestants = contestants

    def hopes(self):
        return [f"dropped in {RELOADS} reloads ≤ 0"]

    def run(self, directory, options):
        figures = []
        for number, start in enumerate(self.contestants):
            one = start(directory, [])
            try:
                if number and options.against and one.name not in options.against:
                    continue
                said = self.measure(one)
            finally:
                one.stop()
            bound = None if number else goal.most(0)
            lost = said["dropped"] + said["failed"]
            what = f"lost of {said['requests']:,} in {RELOADS} reloads"
            figures.append(goal.figure(one.name, what, [lost], "requests", bound))
        return {"scenario": self.name, "figures": figures}

    def measure(self, one):
        seconds = (RELOADS + 1) * PAUSE_SECONDS
        with load.Crowd("keepalive", one.port, one.path, CLIENTS, seconds) as clients:
            clients.begin()
            for _ in range(RELOADS):
                time.sleep(PAUSE_SECONDS)
                one.reload()
            return clients.end()
