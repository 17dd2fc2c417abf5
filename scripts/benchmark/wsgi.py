"""Servers of WSGI apps, two worker processes: with nginx in front of them, or by themselves."""

import os

import material
import nginx
from contestant import EVERY_CPU, VENV, Contestant, answers, free_port, start, wait_for


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
    """By itself: one thread of its own for each worker's connections, one for its apps. Its edge is
    pinned to no CPU, because it is in the workers."""
    material.hello(directory)
    port = free_port()
    server = start(directory, "granian", [
        f"{VENV}/granian", "--interface", "wsgi", "--workers", "2", "--host", "127.0.0.1",
        "--port", str(port), "--no-access-log", "--log-level", "warning", "--http", "1",
        "--working-dir", directory, "hello:application",
    ], EVERY_CPU)
    wait_for(lambda: answers(port, "/"), "granian")
    return Contestant("granian", port, [server])
