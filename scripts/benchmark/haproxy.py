"""HAProxy with one thread, without logs."""

import os
import signal

import material
import ours
from contestant import Contestant, answers, free_port, start, wait_for, write

NAME = "HAProxy"
TINY = 'http-request return status 200 content-type text/plain string "ok\\n"'
CROWD = 9000


def tiny(directory, _running):
    return serve(directory, TINY)


def worker(directory, _running):
    """Proxies to the very worker process that our own master serves from."""
    return serve(directory, "default_backend workers", f"""
backend workers
    http-reuse always
    server one unix@{ours.worker_socket(directory)} pool-max-conn 256
""")


def crowd(directory, _running):
    """With room for many clients."""
    return serve(directory, TINY, connections=CROWD)


def drops(directory, running):
    one = tiny(directory, running)
    one.reload = lambda: one.started[0].send_signal(signal.SIGUSR2)
    return one


def tls_crowd(directory, _running):
    return tls(directory, _running, CROWD)


def tls(directory, _running, connections=4096):
    certificate, key = material.certificate_pair(directory)
    both = os.path.join(directory, "bench.both")
    with open(both, "wb") as out:
        for path in (certificate, key):
            with open(path, "rb") as part:
                out.write(part.read())
    return serve(directory, TINY, listen=f"ssl crt {both}", connections=connections)


def serve(directory, rules, backends="", listen="", connections=4096):
    port = free_port()
    home = os.path.join(directory, f"haproxy-{port}")
    os.mkdir(home)
    config = write(home, "haproxy.cfg", f"""
global
    nbthread 1
    maxconn {connections}
    stats socket {home}/admin mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option http-keep-alive
frontend bench
    bind 127.0.0.1:{port} backlog 4096 {listen}
    option forwardfor
    {rules}
{backends}
""")
    # -W: a master process beside the worker, which is how a reload is asked for.
    process = start(home, "haproxy", [program(), "-W", "-f", config, "-p", f"{home}/pid"])
    wait_for(lambda: answers(port, "/server", bool(listen)), NAME)
    return Contestant(NAME, port, [process])


def program():
    return next((p for p in ("/usr/sbin/haproxy", "/sbin/haproxy") if os.path.exists(p)), "haproxy")
