"""A server that is measured: started on a free port, with its edge pinned to the server's CPU, and
ended by pid. Apps behind an edge may run anywhere, except where only the edge is measured."""

import os
import signal
import socket
import ssl
import subprocess
import time

import processes

SERVER_CPU, OTHER_CPU = 0, (1 if (os.cpu_count() or 1) > 1 else 0)
EVERY_CPU = set(range(os.cpu_count() or 1))
VENV = os.path.abspath(".cache/venv-bench/bin")
NODE = os.path.abspath(".cache/node-bench/node_modules")
HERE = os.path.dirname(os.path.abspath(__file__))


class Contestant:
    """A running server. `measured` is what its CPU time is taken from, `reload` has it take up its
    configuration again while clients ask for `path`."""

    path = "/server"
    reload = None

    def __init__(self, name, port, started, measured=None):
        self.name = name
        self.port = port
        self.started = started
        self.measured = measured or (lambda: [
            pid for process in started for pid in processes.tree(process.pid)])

    def stop(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start(directory, name, command, cpus=frozenset({SERVER_CPU}), **environment):
    log = open(os.path.join(directory, f"{name}.log"), "wb")
    with log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))


def answers(port, path, secure=False):
    """True when the server answers 200, or anything at all outside its own pages."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            if secure:
                connection = believing().wrap_socket(connection, server_hostname="localhost")
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
            head = connection.recv(64)
    except OSError:
        return False
    return head.startswith(b"HTTP/1.1 ") and (path != "/status" or b" 200 " in head)


def believing():
    """What a client speaks TLS with that believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wait_for(condition, name):
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} did not start")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
