"""The servers of curves: as much of something as is said, one edge loop or one nginx worker on the server's CPU."""

import json
import os

import nginx
import ours
import processes
from contestant import OTHER_CPU, Contestant, answers, free_port, start, wait_for, write
from hub import serve as hub_of

# Room for all who come, and some more.
CONNECTIONS = 19_900


def crowd(directory, _running):
    port, process = ours.master(directory, ["builtin:hello", "w:1", f"--max-connections={CONNECTIONS}"])
    return Contestant(ours.NAME, port, [process], lambda: [process.pid])


def nginx_crowd(directory, _running):
    # It closes idle clients when it has less than a sixteenth of its room left.
    port, process = nginx.serve(directory, "keepalive_timeout 600s;", nginx.TINY, connections=2 * CONNECTIONS)
    return Contestant(nginx.NAME, port, [process])


def workers(count):
    """With one worker its concurrency is that of the clients, so that nobody waits for it."""
    return ours.workers(count, max(1, 32 // count), ours.NAME)


def nginx_workers(count):
    """Proxies to the very worker processes that our own master serves from."""
    def begin(directory, _running):
        said = json.loads(ours.control(directory, f"bench-{count}", "workers", "--json"))["workers"]
        servers = " ".join(f"server unix:{worker['socketPath']};" for worker in said)
        backend = f"upstream backend {{ {servers} keepalive 256; keepalive_requests 1000000000; }}"
        port, process = nginx.serve(directory, backend, nginx.proxy())
        return Contestant(nginx.NAME, port, [process])
    return begin


def routes(count):
    """So many rules of one site; what they answer costs nobody anything else."""
    def begin(directory, _running):
        lines = "\n".join(f'    route "/route-{number}/*" {{ redirect "/to-{number}" }}' for number in range(count))
        port, process = edgefile(directory, f"""site "*" {{
{lines}
}}""")
        return Contestant(ours.NAME, port, [process], lambda: [process.pid])
    return begin


def nginx_routes(count):
    def begin(directory, _running):
        lines = "\n".join(f"location /route-{number}/ {{ return 302 /to-{number}; }}" for number in range(count))
        port, process = nginx.serve(directory, "", lines)
        return Contestant(nginx.NAME, port, [process])
    return begin


def hub(count):
    def begin(directory, _running):
        return hub_of(directory, max(count + 100, 1000))
    return begin


def taker(directory, _running):
    """A worker that reads what it is sent."""
    port, process = ours.master(directory, ["builtin:hello", "w:1", "c:32"], name="bench-1")
    for pid in processes.tree(process.pid):
        if pid != process.pid:
            processes.pin(pid, {OTHER_CPU})
    return Contestant(ours.NAME, port, [process], lambda: [process.pid])


def nginx_taker(directory, _running):
    """Hands them to the same worker, whole, as we do."""
    backend = nginx.upstream(ours.worker_socket(directory)) + "client_max_body_size 0;"
    port, process = nginx.serve(directory, backend, nginx.proxy())
    return Contestant(nginx.NAME, port, [process])


def files(size):
    def begin(directory, _running):
        port, process = ours.master(directory, [site(directory, size)])
        return Contestant(ours.NAME, port, [process], lambda: [process.pid])
    return begin


def nginx_files(size):
    def begin(directory, _running):
        port, process = nginx.serve(directory, "sendfile on;", f"root {site(directory, size)};")
        return Contestant(nginx.NAME, port, [process])
    return begin


def site(directory, size):
    """A directory of one file of so many bytes."""
    path = os.path.join(directory, "grown")
    os.makedirs(path, exist_ok=True)
    name = os.path.join(path, f"{size}.bin")
    if not os.path.exists(name):
        with open(name, "wb") as out:
            for _ in range(0, size, 2**20):
                out.write(os.urandom(min(size, 2**20)))
    return path


def edgefile(directory, text):
    """A master of an Edgefile that needs no app; its port, its process."""
    port, home = free_port(), os.path.join(directory, "edgefile")
    os.makedirs(home, exist_ok=True)
    write(home, "Edgefile", f'version 1\nedge {{ http "127.0.0.1:{port}" }}\n{text}\n')
    process = start(directory, "edgefile", [
        ours.RIP, "start", home, "--name", "edgefile", "--no-watch", "--loops", "1", "--no-access-log",
    ], XDG_RUNTIME_DIR=ours.runtime(directory))
    wait_for(lambda: answers(port, "/status"), ours.NAME)
    return port, process
