"""What is measured: the work, who does it, and what is hoped for."""

import contestant
import load
import processes

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                  "Chrome/126.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
              "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control": "max-age=0",
    "Cookie": "session=" + "0123456789abcdef" * 12 + "; theme=dark; consent=all; _ga=GA1.1.1.1",
    "Referer": "http://127.0.0.1/some/page?with=a&query=string",
    "Sec-Ch-Ua": '"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"',
    "Sec-Ch-Ua-Mobile": "?0",
    "Sec-Ch-Ua-Platform": '"Linux"',
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
    "Upgrade-Insecure-Requests": "1",
}


class Scenario:
    """One kind of work, done by several contestants in turn; the first is ours."""

    def __init__(self, name, contestants, path="/", connections=32, fields=None, goals=None,
                 kind="http"):
        self.name = name
        self.contestants = contestants
        self.path = path
        self.connections = connections
        self.fields = fields or {}
        self.goals = goals or {}
        self.kind = kind

    def matches(self, words):
        return any(word in (self.name, self.name.partition("-")[0]) for word in words)

    def run(self, directory, rounds, seconds, strace):
        running = []
        turns = {}
        calls = {}
        try:
            for start in self.contestants:
                one = start(directory, running)
                running.append(one)
                turns[one.name] = []
                load.turn(one.port, self.path, self.connections, self.fields, 1, self.kind)
            for _ in range(rounds):
                for one in running:
                    turns[one.name].append(self.turn(one, seconds))
            if strace:
                for one in running:
                    calls[one.name] = load.system_calls(
                        one.measured(), one.port, self.path, self.connections, self.fields,
                        self.kind)
        finally:
            for one in reversed(running):
                one.stop()
        return {"scenario": self.name, "connections": self.connections, "goals": self.goals,
                "turns": turns, "systemCalls": calls}

    def turn(self, one, seconds):
        pids = one.measured()
        before = processes.cpu_seconds(pids)
        result = load.turn(
            one.port, self.path, self.connections, self.fields, seconds, self.kind)
        after = processes.cpu_seconds(pids)
        user, system = (1e6 * (b - a) / result["requests"] for a, b in zip(before, after))
        result.update(cpuMicros=user + system, userMicros=user, systemMicros=system)
        result["peakRssBytes"] = processes.peak_rss_bytes(pids)
        return result


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
        user, system = (1e6 * (b - a) / result["requests"] for a, b in zip(before, after))
        result.update(cpuMicros=user + system, userMicros=user, systemMicros=system)
        result["peakRssBytes"] = processes.peak_rss_bytes(pids)
        return result


def names():
    return list(dict.fromkeys(one.name.partition("-")[0] for one in ALL)) + [o.name for o in ALL]


FAST = [contestant.rip_tiny, contestant.nginx_tiny]
WORKER = [contestant.rip_worker, contestant.nginx_to_worker]
STATIC = [contestant.rip_static, contestant.nginx_static, contestant.nginx_static_cached]
TLS = [contestant.rip_tls, contestant.nginx_tls]
TLS_STATIC = [contestant.rip_tls_static, contestant.nginx_tls_static]
HUBS = [contestant.rip_hub, contestant.bun_hub, contestant.ws_hub]
PYTHON = [contestant.rip_python, contestant.nginx_uwsgi, contestant.nginx_gunicorn]

ALL = [
    Scenario("fast-32", FAST, "/server", 32, goals={"nginx": 0.88}),
    Scenario("fast-256", FAST, "/server", 256, goals={"nginx": 0.88}),
    Scenario("fast-browser", FAST, "/server", 32, BROWSER, goals={"nginx": 0.85}),
    Scenario("worker-32", WORKER, "/", 32, goals={"nginx": 0.85}),
    Scenario("worker-256", WORKER, "/", 256, goals={"nginx": 0.75}),
    Scenario("python", PYTHON, "/", 32, goals={"nginx+uwsgi": 0.85, "nginx+gunicorn": 0.2}),
    Scenario("static-1k", STATIC, "/1k.bin", 32, goals={"nginx": 0.8}),
    Scenario("static-100k", STATIC, "/100k.bin", 32, goals={"nginx": 0.9}),
    Scenario("static-10m", STATIC, "/10m.bin", 8, goals={"nginx": 1.0}),
    Scenario("fresh", FAST, "/server", 32, {"Connection": "close"}, goals={"nginx": 0.95}),
    Scenario("tls-32", TLS, "/server", 32, goals={"nginx": 0.75}, kind="https"),
    Scenario("tls-full", TLS, "/server", 32, {"Connection": "close"}, goals={"nginx": 0.5},
             kind="https"),
    Scenario("tls-resumed", TLS, "/server", 4, goals={"nginx": 0.5}, kind="resumed"),
    Scenario("tls-100k", TLS_STATIC, "/100k.bin", 32, goals={"nginx": 0.5}, kind="https"),
    Crowded("ws-fanout", HUBS, "/realtime?join=/all", 1000, goals={"Bun": 1.0, "node ws": 0.6},
            kind="fanout"),
    Crowded("turns-tmpfs", contestant.turns("/dev/shm"), "/v1/session", 64, kind="turns"),
    Crowded("turns-disk", contestant.turns("target"), "/v1/session", 64, kind="turns"),
    Crowded("turns-alone", contestant.turns("target"), "/v1/session", 1, kind="turns"),
]
