"""The floor, `floor.rs`: a loop that does only this."""

import os

import material
import ours
from contestant import Contestant, answers, free_port, start, wait_for

FLOOR = os.path.abspath("target/release/examples/floor")
NAME = "floor"


def tiny(directory, _running):
    return serve(directory, NAME, "hello")


def tiny_threads(directory, _running):
    """Beside threads that do nothing but share its table of descriptors, as a server's own do."""
    return serve(directory, "floor, threads", "hello", after=["--threads", "4"])


def worker(directory, _running):
    """Proxies to the very worker process that our own master serves from."""
    return serve(directory, NAME, "proxy", ours.worker_socket(directory))


def file(name):
    def begin(directory, _running):
        return serve(directory, NAME, "file", os.path.join(material.site(directory), name))
    return begin


def serve(directory, name, *work, after=()):
    port = free_port()
    kind, *rest = work
    process = start(directory, "floor", [FLOOR, kind, str(port), *rest, *after])
    wait_for(lambda: answers(port, "/"), name)
    return Contestant(name, port, [process])
