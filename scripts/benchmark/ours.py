"""rip-master, in each part it has to play. One edge loop on the server's CPU unless said."""

import itertools
import json
import os
import subprocess

import material
import processes
from contestant import EVERY_CPU, OTHER_CPU, SERVER_CPU, VENV, Contestant, answers, free_port, start, wait_for, write

RIP = os.path.abspath("target/release/rip-master")
NAME = "rip-master"


def tiny(directory, _running):
    port, process = master(directory, ["builtin:hello", "w:1"])
    return Contestant(NAME, port, [process], lambda: [process.pid])


def worker(directory, _running):
    return workers(1, 32)(directory, _running)


def workers(count, concurrency, name=NAME):
    """A pool of native workers, of which only the master's own time is measured."""
    def begin(directory, _running):
        words = ["builtin:hello", f"w:{count}", f"c:{concurrency}"]
        port, process = master(directory, words, name=f"bench-{count}")
        wait_for(lambda: ready(directory, f"bench-{count}") == count, f"{count} workers")
        for pid in processes.tree(process.pid):
            if pid != process.pid:
                processes.pin(pid, {OTHER_CPU})
        return Contestant(name, port, [process], lambda: [process.pid])
    return begin


def loops(count, name):
    """As many edge loops, on every CPU that a server may have."""
    def begin(directory, _running):
        port, process = master(directory, ["builtin:hello", "w:1"], name=f"loops-{count}", loops=count,
                               cpus=EVERY_CPU)
        return Contestant(name, port, [process], lambda: [process.pid])
    return begin


def python(directory, _running):
    port, process = master(directory, [material.hello(directory), "w:2"])
    for pid in processes.tree(process.pid):
        if pid != process.pid:
            processes.pin(pid, EVERY_CPU)
    return Contestant(NAME, port, [process])


def static(directory, _running):
    port, process = master(directory, [material.site(directory)])
    return Contestant(NAME, port, [process])


def tls(directory, _running):
    return secure(directory, ["builtin:hello", "w:1"])


def tls_static(directory, _running):
    return secure(directory, [material.site(directory)])


def secure(directory, words):
    certificate, key = material.certificate_pair(directory)
    port, process = master(directory, [*words, f"--cert={certificate}", f"--key={key}"], tls_only=True)
    return Contestant(NAME, port, [process], lambda: [process.pid])


def drops(directory, _running):
    """Each reload changes the app, so that its workers are replaced."""
    port, home = free_port(), os.path.join(directory, "drops")
    os.makedirs(home, exist_ok=True)

    def change(number):
        write(home, "Edgefile", f"""version 1
edge {{ http "127.0.0.1:{port}" }}
app "hello" {{ entry "builtin:hello"; workers 2; concurrency 16; env NUMBER="{number}" }}
site "*" {{ route "/*" {{ to-app "hello" }} }}
""")

    change(0)
    process = start(directory, "drops", [
        RIP, "start", home, "--name", "drops", "--no-watch", "--loops", "1", "--no-access-log",
    ], XDG_RUNTIME_DIR=runtime(directory))
    wait_for(lambda: answers(port, "/status"), NAME)
    one, numbers = Contestant(NAME, port, [process]), itertools.count(1)

    def reload():
        change(next(numbers))
        control(directory, "drops", "reload")

    one.path, one.reload = "/", reload
    return one


def master(directory, words, tls_only=False, name="bench", loops=1, cpus=frozenset({SERVER_CPU})):
    """Starts one and waits for its health; its port, its process."""
    port = free_port()
    listen = f"--https-port={port}" if tls_only else f"http:{port}"
    process = start(directory, name, [
        RIP, "start", *words, listen, "--host", "127.0.0.1", "--name", name,
        "--loops", str(loops), "--no-access-log",
    ], cpus, XDG_RUNTIME_DIR=runtime(directory), PATH=f"{VENV}:{os.environ['PATH']}")
    wait_for(lambda: answers(port, "/status", tls_only), NAME)
    return port, process


def control(directory, name, *words):
    """Asks a running master over its control socket; what it printed."""
    done = subprocess.run(
        [RIP, "ctl", *words, "--name", name], check=True, capture_output=True, text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": runtime(directory)})
    return done.stdout


def worker_socket(directory, name="bench-1"):
    return json.loads(control(directory, name, "workers", "--json"))["workers"][0]["socketPath"]


def ready(directory, name):
    """How many workers are ready."""
    said = json.loads(control(directory, name, "workers", "--json"))["workers"]
    return sum(worker["state"] == "ready" for worker in said)


def runtime(directory):
    """The directory in which masters of a scenario are found."""
    path = os.path.join(directory, "run")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
