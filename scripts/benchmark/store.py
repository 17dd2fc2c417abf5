"""Who runs durable turns, and where they are kept."""

import os
import tempfile

import ours
import processes
from contestant import EVERY_CPU, HERE, Contestant

APPS = os.path.join(HERE, "apps")


def turns(place):
    """The store lies in a directory of its own below `place`."""

    def kept(name, words):
        def begin(directory, _running, words=words):
            store = tempfile.TemporaryDirectory(dir=place)
            database = os.path.join(os.path.abspath(store.name), "sessions.db")
            words = [*words, "--sessions", f"--sessions-db={database}"]
            port, process = ours.master(directory, words, name=name.lower().replace(", ", "-"))
            return everywhere(name, port, process, store)
        return begin

    def naive(directory, _running):
        store = tempfile.TemporaryDirectory(dir=place)
        os.environ["TURNS_STORE"] = os.path.join(os.path.abspath(store.name), "own.db")
        words = [os.path.join(APPS, "turns_in_sqlite.py"), "w:2"]
        port, process = ours.master(directory, words, name="naive")
        return everywhere("Python with SQLite", port, process, store)

    return [
        kept(ours.NAME, ["builtin:turn", "w:1", "c:64"]),
        kept("rip-master, Python", [os.path.join(APPS, "turns.py"), "w:2"]),
        naive,
    ]


def everywhere(name, port, process, store):
    """A tree of processes that may run on every CPU."""
    for pid in processes.tree(process.pid):
        processes.pin(pid, EVERY_CPU)
    one = Contestant(name, port, [process])
    one.store = store
    return one
