"""Every row: the work, who does it, and what is hoped for."""

import bare
import haproxy
import hub
import javascript
import nginx
import ours
import store
import wsgi
from drops import Drops
from goal import least, most
from idle import Idle
from reload import Reload
from scenario import Crowded, Scenario, Spread
from start import Start

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
CLOSE = {"Connection": "close"}

FAST = [ours.tiny, nginx.tiny, haproxy.tiny, bare.tiny]
FRESH = [*FAST, bare.tiny_threads]
WORKER = [ours.worker, nginx.worker, haproxy.worker, bare.worker]
STATIC = [ours.static, nginx.static, nginx.static_cached]
TLS = [ours.tls, nginx.tls, haproxy.tls]
TLS_STATIC = [ours.tls_static, nginx.tls_static]
HUBS = [hub.ours_hub, javascript.hub, javascript.ws_hub]
PYTHON = [ours.python, wsgi.uwsgi, wsgi.gunicorn, wsgi.granian]
LOOPS = [ours.loops(2, "rip-master, 2 loops"), ours.loops(1, "rip-master, 1 loop")]
DISPATCH = [ours.workers(256, 1, "256 workers"), ours.workers(16, 2, "16 workers"),
            ours.workers(1, 32, "1 worker")]

# A turn's goals.
MANY_TURNS = [("requestsPerSecond", "turns/s", least(5000))]
FEW_SYNCS = [("requestsPerSync", "turns a sync", least(16))]

ALL = [
    Scenario("fast-32", [*FAST, javascript.tiny], "/server", 32, goals={"nginx": 0.88}, calls=2.1),
    Scenario("fast-256", FAST, "/server", 256, goals={"nginx": 0.88}, calls=2.1),
    Scenario("fast-browser", FAST, "/server", 32, BROWSER, goals={"nginx": 0.85}, calls=2.1),
    Scenario("worker-32", WORKER, "/", 32, goals={"nginx": 0.85}, calls=4.3),
    Scenario("worker-256", WORKER, "/", 256, goals={"nginx": 0.75}, calls=4.3),
    Scenario("python", PYTHON, "/", 32, goals={"nginx+uwsgi": 0.85, "nginx+gunicorn": 0.2}),
    Scenario("static-1k", [*STATIC, bare.file("1k.bin")], "/1k.bin", 32, goals={"nginx": 0.8}),
    Scenario("static-100k", [*STATIC, bare.file("100k.bin")], "/100k.bin", 32, goals={"nginx": 0.9}),
    Scenario("static-10m", [*STATIC, bare.file("10m.bin")], "/10m.bin", 8, goals={"nginx": 1.0}),
    Scenario("fresh", FRESH, "/server", 32, CLOSE, goals={"nginx": 0.95}),
    Scenario("tls-32", TLS, "/server", 32, goals={"nginx": 0.75}, kind="https", calls=2.1),
    Scenario("tls-full", TLS, "/server", 32, CLOSE, goals={"nginx": 0.5}, kind="https"),
    Scenario("tls-resumed", TLS, "/server", 4, goals={"nginx": 0.5}, kind="resumed"),
    Scenario("tls-100k", TLS_STATIC, "/100k.bin", 32, goals={"nginx": 0.5}, kind="https"),
    Spread("loops", LOOPS, "/server", 32, goals={"rip-master, 1 loop": 1.1}, spread=True),
    Scenario("dispatch", DISPATCH, "/", 32, goals={"16 workers": 1.1, "1 worker": 1.1}),
    Crowded("ws-fanout", HUBS, "/realtime?join=/all", 1000, goals={"Bun": 1.0, "node ws": 0.6},
            kind="fanout"),
    Crowded("turns-tmpfs", store.turns("/dev/shm"), "/v1/session", 64, kind="turns", own=MANY_TURNS),
    Crowded("turns-disk", store.turns("target"), "/v1/session", 64, kind="turns", own=FEW_SYNCS),
    Crowded("turns-alone", store.turns("target"), "/v1/session", 1, kind="turns"),
    Idle("idle-plain", [ours.tiny, nginx.crowd, haproxy.crowd], 8000, goal=most(350)),
    Idle("idle-tls", [ours.tls, nginx.tls_crowd, haproxy.tls_crowd], 2000, goal=most(7500), kind="https"),
    Idle("idle-ws", [hub.ours_hub], 8000, path="/realtime?join=/all", goal=most(4096), kind="ws"),
    Start("start"),
    Reload("reload"),
    Drops("drops", [ours.drops, nginx.drops, haproxy.drops]),
]


def groups():
    return list(dict.fromkeys(group(one) for one in ALL))


def group(one):
    return one.name.partition("-")[0]


def chosen(words):
    """The rows these words name, by themselves or by their group; all for no word."""
    known = {*groups(), *(one.name for one in ALL)}
    for word in words:
        if word not in known:
            raise SystemExit(f"unknown scenario {word}; there are: {', '.join(one.name for one in ALL)}")
    return [one for one in ALL if not words or one.name in words or group(one) in words]
