"""Servers of WSGI apps, with nginx in front of them: two worker processes."""

import os

import material
import nginx
from contestant import EVERY_CPU, VENV, Contestant, start, wait_for


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
