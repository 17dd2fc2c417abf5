"""The curves: what there is more and more of, who serves it, and who asks."""

import resource

import grown
import javascript
import load
from crowd import Crowd

# As many as one process may have open, less its own.
ROOM = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000
CONNECTIONS = [32, 256, 4096, min(20_000, ROOM)]
SIZES = [2**10, 2**14, 2**17, 2**20, 2**23, 2**26]
# What a turn moves is bounded: clients of large bodies are few.
FEW, MANY = 4, 32


class Curve:
    """`contestants` and `clients` say for a value who serves, and who asks. `share` turns microseconds a request
    into what is drawn; from the value `level` on that should be flat."""

    def __init__(self, name, title, x_name, values, contestants, clients, unit="CPU µs a request",
                 share=lambda micros, value: micros, level=None, shown="{:,}".format):
        self.name = name
        self.title = title
        self.x_name = x_name
        self.values = values
        self.contestants = contestants
        self.clients = clients
        self.unit = unit
        self.share = share
        self.level = level or values[0]
        self.shown = shown


def active(server, value, seconds):
    return Crowd(server.port, "/server", value, seconds)


def resting(server, value, seconds):
    return Crowd(server.port, "/server", value, seconds, active=32)


def asking(server, _value, seconds):
    return Crowd(server.port, "/", MANY, seconds)


def everywhere(server, value, seconds):
    return Crowd(server.port, "/route-{}/x", MANY, seconds, paths=value)


def listening(server, value, seconds):
    return load.Crowd("fanout", server.port, "/realtime?join=/all", value, seconds)


def sending(server, value, seconds):
    return Crowd(server.port, "/", few(value), seconds, body=value)


def fetching(server, value, seconds):
    return Crowd(server.port, f"/{value}.bin", few(value), seconds)


def few(size):
    return FEW if size > 2**20 else MANY


def a_kibibyte(micros, size):
    return micros / (size / 1024)


def size_shown(size):
    return f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB"


CROWD = [grown.crowd, grown.nginx_crowd]
ALL = [
    Curve("connections", "All of so many connections ask", "connections", CONNECTIONS, lambda _: CROWD, active),
    Curve("idle", "32 connections ask, the rest is idle", "connections", CONNECTIONS, lambda _: CROWD, resting),
    Curve("workers", "Requests through one of so many workers", "workers", [1, 16, 256],
          lambda count: [grown.workers(count), grown.nginx_workers(count)], asking),
    Curve("routes", "Redirects by as many routes, all asked for in turn", "routes", [1, 100, 10_000],
          lambda count: [grown.routes(count), grown.nginx_routes(count)], everywhere),
    Curve("websockets", "One message to so many WebSocket clients", "clients", [100, 1000, min(20_000, ROOM)],
          lambda count: [grown.hub(count), javascript.hub], listening, unit="CPU µs a delivery"),
    Curve("body-up", "Bodies of requests, to a worker", "size", SIZES,
          lambda _: [grown.taker, grown.nginx_taker], sending, "CPU µs a KiB", a_kibibyte, 2**20, size_shown),
    Curve("body-down", "Files as answers", "size", SIZES,
          lambda size: [grown.files(size), grown.nginx_files(size)], fetching, "CPU µs a KiB", a_kibibyte, 2**20, size_shown),
]
NAMES = [one.name for one in ALL]
