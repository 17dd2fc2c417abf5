"""Servers in JavaScript: Bun's own, and hubs of WebSocket clients."""

import glob
import os

from contestant import HERE, NODE, Contestant, answers, free_port, start, wait_for

BUN, NODE_WS = "Bun", "node ws"


def tiny(directory, _running):
    return bun(directory, os.path.join(HERE, "apps", "tiny.js"))


def hub(directory, _running):
    """Bun's own publish and subscribe."""
    return bun(directory, os.path.join(HERE, "hubs", "bun.js"))


def ws_hub(directory, _running):
    return serve(directory, NODE_WS, ["node", os.path.join(HERE, "hubs", "ws.cjs")], NODE_PATH=NODE)


def bun(directory, script):
    programs = glob.glob(os.path.join(NODE, "@oven/bun-linux-*/bin/bun"))
    if not programs:
        raise SystemExit("Bun is missing: run scripts/setup bench")
    return serve(directory, BUN, [programs[0], script])


def serve(directory, name, command, **environment):
    port = free_port()
    process = start(directory, name, [*command, str(port)], **environment)
    wait_for(lambda: answers(port, "/"), name)
    return Contestant(name, port, [process])
