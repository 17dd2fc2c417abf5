"""What an idle client holds of a server's memory."""

import resource
import time

import client
import goal
import load
import processes

# They come, ask and go first: what a server gets once, and keeps, is no part of a client. We remember the
# last 10 000 requests.
EARLIER_CLIENTS, EARLIER_REQUESTS = 500, 15_000


class Idle:
    """So many clients, each after one request (a WebSocket: after its handshake). Resident memory of the
    whole tree before and after they came, divided by them; and what is held when they have left."""

    def __init__(self, name, contestants, count, path="/server", goal=None, kind="http"):
        self.name = name
        self.contestants = contestants
        self.count = count
        self.path = path
        self.goal = goal
        self.kind = kind

    def hopes(self):
        return [f"bytes an idle client {goal.said(self.goal)}"]

    def run(self, directory, options):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        figures = []
        for number, start in enumerate(self.contestants):
            one = start(directory, [])
            try:
                if number and options.against and one.name not in options.against:
                    continue
                held, left = self.measure(one)
            finally:
                one.stop()
            bound = None if number else self.goal
            figures.append(goal.figure(one.name, "an idle client", [held / self.count], "bytes", bound))
            figures.append(goal.figure(one.name, f"held when all {self.count:,} have left",
                                       [left / self.count], "bytes each"))
        return {"scenario": self.name, "figures": figures}

    def measure(self, one):
        pids = one.measured()
        earlier = self.crowd(one, EARLIER_CLIENTS)
        if self.kind != "ws":
            for number in range(EARLIER_REQUESTS):
                client.ask(earlier[number % EARLIER_CLIENTS], self.path)
        self.part(earlier)
        before = settled(pids)
        clients = self.crowd(one, self.count)
        there = settled(pids)
        self.part(clients)
        return there - before, settled(pids) - before

    def crowd(self, one, count):
        with load.beside():
            return [client.arrive(one.port, self.path, self.kind) for _ in range(count)]

    def part(self, clients):
        for one in clients:
            one.close()


def settled(pids):
    """Their resident memory, when it has not changed for half a second; after five at the latest."""
    deadline, same, last = time.monotonic() + 5, 0, -1
    while same < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
        now = processes.rss_bytes(pids)
        same, last = (same + 1, now) if now == last else (0, now)
    return last
