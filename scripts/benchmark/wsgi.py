"""Servers of WSGI apps, two worker processes: with nginx in front of them, or by themselves."""

import os
import socket

import material
import nginx
from contestant import EVERY_CPU, VENV, Contestant, free_port, start, wait_for


def uwsgi(directory, _running):
    material.hello(directory)
    path = os.path.join(directory, "uwsgi.sock")
    server = start(directory, "uwsgi", [
        f"{VENV}/uwsgi", "--master", "--processes", "2", "--socket", path, "--chdir", directory,
        "--module", "hello:application", "--disable-logging", "--need-app", "--die-on-term",
        "--listen", "100",
    ], EVERY_CPU)
    wait_for(lambda: os.path.exists(path), "uwsgi")
    location = f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:{path}; }}"
    port, process = nginx.serve(directory, "", location)
    return Contestant("nginx+uwsgi", port, [server, process])


def gunicorn(directory, _running):
    material.hello(directory)
    path = os.path.join(directory, "gunicorn.sock")
    server = start(directory, "gunicorn", [
        f"{VENV}/gunicorn", "--workers", "2", "--bind", f"unix:{path}", "--chdir", directory,
        "hello:application",
    ], EVERY_CPU)
    wait_for(lambda: os.path.exists(path), "gunicorn")
    port, process = nginx.serve(directory, nginx.upstream(path), nginx.proxy())
    return Contestant("nginx+gunicorn", port, [server, process])


def granian(directory, _running):
    """By itself. Each worker has a thread for its connections and one for the app, which costs it less
    than the many it would take; its edge is in the workers, and so on every CPU."""
    material.hello(directory)
    port = free_port()
    server = start(directory, "granian", [
        f"{VENV}/granian", "--interface", "wsgi", "--workers", "2", "--host", "127.0.0.1",
        "--port", str(port), "--no-access-log", "--log-level", "warning", "--http", "1",
        "--blocking-threads", "1", "--working-dir", directory, "hello:application",
    ], EVERY_CPU)
    wait_for(lambda: listens(port), "granian")
    return Contestant("granian", port, [server])


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
