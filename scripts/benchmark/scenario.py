"""One kind of work, done by several contestants in turn: what its requests cost."""

import goal
import load
import processes


class Scenario:
    """The first contestant is ours. `goals` bound its CPU time as a ratio to the others', `own` the
    medians of its own figures (name, what it is called, bound), `calls` its system calls a request."""

    def __init__(self, name, contestants, path="/", connections=32, fields=None, goals=None,
                 kind="http", own=(), calls=None, spread=False):
        self.name = name
        self.contestants = contestants
        self.path = path
        self.connections = connections
        self.fields = fields or {}
        self.goals = goals or {}
        self.kind = kind
        self.own = own
        self.calls = calls
        self.spread = spread

    def run(self, directory, options):
        running, turns, calls = [], {}, {}
        try:
            for start in self.contestants:
                one = start(directory, running)
                if running and options.against and one.name not in options.against:
                    one.stop()
                    continue
                running.append(one)
                turns[one.name] = []
                self.ask(one, 1)
            for _ in range(options.rounds):
                for one in running:
                    turns[one.name].append(self.turn(one, options.seconds))
            if options.strace:
                for one in running:
                    calls[one.name] = load.system_calls(one.measured(), lambda one=one: self.ask(one, 2))
        finally:
            for one in reversed(running):
                one.stop()
        return {"scenario": self.name, "connections": self.connections, "goals": self.goals,
                "turns": turns, "systemCalls": calls, "figures": self.figures(turns, calls)}

    def hopes(self):
        own = [f"{what} {goal.said(bound)}" for _, what, bound in self.own]
        return own + ([f"system calls ≤ {self.calls}"] if self.calls else [])

    def ask(self, one, seconds):
        try:
            return load.turn(
                one.port, self.path, self.connections, self.fields, seconds, self.kind, self.spread)
        except SystemExit as reason:
            raise SystemExit(f"{one.name}: {reason}") from reason

    def turn(self, one, seconds):
        pids = one.measured()
        before = processes.cpu_seconds(pids)
        result = self.ask(one, seconds)
        after = processes.cpu_seconds(pids)
        return costed(result, pids, before, after)

    def figures(self, turns, calls):
        """What of our own, beside its ratios, has a goal."""
        if not turns:
            return []
        name, ours = next(iter(turns.items()))
        figures = [goal.figure(name, what, [turn[key] for turn in ours], "", bound)
                   for key, what, bound in self.own if key in ours[0]]
        if self.calls and name in calls:
            figures.append(goal.figure(name, "system calls a request", [calls[name]["total"]], "",
                                       goal.most(self.calls)))
        return figures


class Crowded(Scenario):
    """Clients who come before the clock starts and go after it: that does not count."""

    def turn(self, one, seconds):
        pids = one.measured()
        with load.Crowd(self.kind, one.port, self.path, self.connections, seconds) as clients:
            with processes.Syncs(pids if self.kind == "turns" else []) as syncs:
                before = processes.cpu_seconds(pids)
                result = clients.go()
                after = processes.cpu_seconds(pids)
        if self.kind == "turns" and syncs.count:
            result["requestsPerSync"] = result["requests"] / syncs.count
        return costed(result, pids, before, after)


class Spread(Scenario):
    """Servers and load on every CPU that there is, and requests a second judged where CPUs are many."""

    def figures(self, turns, calls):
        many, one = (turns.get(name) for name in list(turns)[:2]) if len(turns) > 1 else (None, None)
        if not one or len(load.SPREAD_CPUS) < 4:
            return []
        ratios = [a["requestsPerSecond"] / b["requestsPerSecond"] for a, b in zip(many, one)]
        return [goal.figure(next(iter(turns)), "requests/s ÷ those of one loop", ratios, "", goal.least(1.7))]


def costed(result, pids, before, after):
    """With the CPU time a request, and the peak of memory."""
    if not result["requests"]:
        raise SystemExit("no request was answered in time")
    user, system = (1e6 * (b - a) / result["requests"] for a, b in zip(before, after))
    result.update(cpuMicros=user + system, userMicros=user, systemMicros=system)
    result["peakRssBytes"] = processes.peak_rss_bytes(pids)
    return result
