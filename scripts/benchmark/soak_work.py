"""The work of a soak: kinds of clients, each in turns of its own until it is over, and what they counted."""

import json
import os
import re
import subprocess
import sys
import threading

import load

TURN_SECONDS = 10
HERE = os.path.dirname(os.path.abspath(__file__))


def wrk(connections, path, *words, secure=False):
    """A turn of wrk: what it did, and what went wrong."""

    def turn(server, seconds):
        scheme, port = ("https", server.https) if secure else ("http", server.http)
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", *words,
             f"{scheme}://127.0.0.1:{port}{path}"], check=False, capture_output=True, text=True)
        text = done.stdout + done.stderr
        counted = re.search(r"(\d+) requests in", text)
        if not counted:
            return 0, [text.strip()]
        wrong = [line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket errors" in line]
        if words and load.only_close(text, {"Connection"}):
            wrong = [line for line in wrong if "Socket errors" not in line]
        return int(counted[1]), wrong

    return turn


def crowd(program, path, clients):
    """A turn of clients who are all there before they begin, and check all that they hear."""

    def turn(server, seconds):
        return said([program, str(server.http), path, str(clients), str(seconds)], "\n\n")

    return turn


def checked(program, *words):
    """A turn of a program that is told both ports."""

    def turn(server, seconds):
        return said([program, str(server.http), str(server.https), str(seconds), *words], "")

    return turn


def said(words, typed):
    done = subprocess.run([sys.executable, os.path.join(HERE, words[0]), *words[1:]], check=False,
                          capture_output=True, text=True, input=typed)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        return 0, [(done.stderr.strip() or done.stdout.strip())[-300:]]
    counted = json.loads(lines[-1])
    return counted["requests"], counted.get("wrong", [])


CLOSE = ("-H", "Connection: close")
KINDS = {
    "tiny answers": wrk(16, "/server"),
    "fresh connections": wrk(4, "/server", *CLOSE),
    "native worker": wrk(16, "/"),
    "Python worker": wrk(16, "/python/"),
    "files of 1 KiB": wrk(8, "/files/1k.bin"),
    "files of 100 KiB": wrk(4, "/files/100k.bin"),
    "TLS": wrk(8, "/server", secure=True),
    "TLS handshakes": wrk(1, "/server", *CLOSE, secure=True),
    "WebSocket deliveries": crowd("fanout.py", "/realtime?join=/all", 100),
    "turns of sessions": crowd("turns.py", "/v1/session", 16),
    "checked word for word": checked("ledger.py"),
    "clients who leave": checked("leavers.py"),
}
NAMES = [name.replace(" ", "-") for name in KINDS]


class Kind:
    """One kind of work on a thread."""

    def __init__(self, server, name, turn):
        self.server, self.name, self.turn = server, name, turn
        self.done, self.wrong = 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            count, wrong = self.turn(self.server, TURN_SECONDS)
            self.done += count
            self.wrong += wrong
            if wrong and self.over.wait(1):
                return


class Ledger:
    """All of it."""

    def __init__(self, server, only):
        unknown = [name for name in only if name not in NAMES]
        if unknown:
            raise SystemExit(f"unknown work {unknown[0]}; there is: {', '.join(NAMES)}")
        self.server = server
        self.kinds = [Kind(server, name, turn) for name, turn in KINDS.items()
                      if not only or name.replace(" ", "-") in only]

    def start(self):
        for kind in self.kinds:
            kind.thread.start()

    def end(self):
        """Returns when the turns that run have ended."""
        for kind in self.kinds:
            kind.over.set()
        for kind in self.kinds:
            kind.thread.join()

    def broken(self):
        """True when the server is gone: nothing more can be learned."""
        return self.server.process.poll() is not None

    @property
    def wrong(self):
        return [f"{kind.name}: {text}" for kind in self.kinds for text in kind.wrong]

    def rows(self):
        return [(kind.name, kind.done, len(kind.wrong)) for kind in self.kinds]
