"""The servers: each is started on a free port, with its edge pinned to the server's CPU, and ended
by pid. Apps behind an edge may run anywhere, except where only the edge is measured."""

import glob
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import processes

SERVER_CPU, OTHER_CPU = 0, (1 if (os.cpu_count() or 1) > 1 else 0)
EVERY_CPU = set(range(os.cpu_count() or 1))
RIP = os.path.abspath("target/release/rip-master")
VENV = os.path.abspath(".cache/venv-bench/bin")
NODE = os.path.abspath(".cache/node-bench/node_modules")
HUBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hubs")
APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
HELLO = """def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]
"""


class Contestant:
    """A running server. `measured` is what its CPU time is taken from."""

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


def rip_tls(directory, _running):
    return tls_contestant(directory, ["builtin:hello", "w:1"])


def rip_tls_static(directory, _running):
    return tls_contestant(directory, [site(directory)])


def tls_contestant(directory, words):
    certificate, key = certificate_pair(directory)
    port, master = rip(directory, [*words, f"--cert={certificate}", f"--key={key}"], secure=True)
    return Contestant("rip-master", port, [master], lambda: [master.pid])


def nginx_tls(directory, _running):
    location = 'location = /server { default_type text/plain; return 200 "ok\\n"; }'
    port, process = nginx(directory, tls_lines(directory), location, listen="ssl")
    return Contestant("nginx", port, [process])


def nginx_tls_static(directory, _running):
    lines = tls_lines(directory) + "sendfile on;"
    port, process = nginx(directory, lines, f"root {site(directory)};", listen="ssl")
    return Contestant("nginx", port, [process])


def tls_lines(directory):
    certificate, key = certificate_pair(directory)
    return f"""ssl_certificate {certificate}; ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:10m;"""


def certificate_pair(directory):
    """A certificate of its own making for 127.0.0.1, ECDSA on P-256: the same for everybody."""
    certificate, key = (os.path.join(directory, name) for name in ("bench.pem", "bench.key"))
    if not os.path.exists(certificate):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True)
    return certificate, key


def rip_tiny(directory, _running):
    port, master = rip(directory, ["builtin:hello", "w:1"])
    return Contestant("rip-master", port, [master], lambda: [master.pid])


def rip_worker(directory, _running):
    port, master = rip(directory, ["builtin:hello", "w:1", "c:32"])
    for pid in processes.tree(master.pid):
        if pid != master.pid:
            processes.pin(pid, {OTHER_CPU})
    return Contestant("rip-master", port, [master], lambda: [master.pid])


def rip_python(directory, _running):
    app = write(directory, "hello.py", HELLO)
    port, master = rip(directory, [app, "w:2"])
    for pid in processes.tree(master.pid):
        if pid != master.pid:
            processes.pin(pid, EVERY_CPU)
    return Contestant("rip-master", port, [master])


def nginx_tiny(directory, _running):
    location = 'location = /server { default_type text/plain; return 200 "ok\\n"; }'
    port, process = nginx(directory, "", location)
    return Contestant("nginx", port, [process])


def nginx_to_worker(directory, running):
    """Proxies to the very worker process that our own master serves from."""
    path = worker_socket(directory)
    assert running[0].name == "rip-master"
    port, process = nginx(directory, upstream(path), proxy_location())
    return Contestant("nginx", port, [process])


def rip_static(directory, _running):
    port, master = rip(directory, [site(directory)])
    return Contestant("rip-master", port, [master])


def nginx_static(directory, _running):
    port, process = nginx(directory, "sendfile on;", f"root {site(directory)};")
    return Contestant("nginx", port, [process])


def nginx_static_cached(directory, _running):
    cache = "sendfile on; open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;"
    port, process = nginx(directory, cache, f"root {site(directory)};")
    return Contestant("nginx+cache", port, [process])


def nginx_uwsgi(directory, _running):
    write(directory, "hello.py", HELLO)
    path = os.path.join(directory, "uwsgi.sock")
    uwsgi = start(directory, "uwsgi", [
        f"{VENV}/uwsgi", "--master", "--processes", "2", "--socket", path, "--chdir", directory,
        "--module", "hello:application", "--disable-logging", "--need-app", "--die-on-term",
        "--listen", "100",
    ], EVERY_CPU)
    wait_for(lambda: os.path.exists(path), "uwsgi")
    location = f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:{path}; }}"
    port, process = nginx(directory, "", location)
    return Contestant("nginx+uwsgi", port, [uwsgi, process])


def nginx_gunicorn(directory, _running):
    write(directory, "hello.py", HELLO)
    path = os.path.join(directory, "gunicorn.sock")
    gunicorn = start(directory, "gunicorn", [
        f"{VENV}/gunicorn", "--workers", "2", "--bind", f"unix:{path}", "--chdir", directory,
        "hello:application",
    ], EVERY_CPU)
    wait_for(lambda: os.path.exists(path), "gunicorn")
    port, process = nginx(directory, upstream(path), proxy_location())
    return Contestant("nginx+gunicorn", port, [gunicorn, process])


def rip_hub(directory, _running):
    """Clients of one group; what one says is POSTed to a native worker, whose answer tells them all."""
    place = 'realtime "/realtime" app="hub" rate=1000000 burst=1000000'
    port = free_port()
    home = os.path.join(directory, "hub")
    os.makedirs(home, exist_ok=True)
    write(home, "Edgefile", f"""version 1
edge {{ http "127.0.0.1:{port}" }}
app "hub" {{ entry "builtin:realtime"; workers 1 }}
site "*" {{ {place}; route "/*" {{ to-app "hub" }} }}
""")
    runtime = os.path.join(directory, "run")
    os.makedirs(runtime, mode=0o700, exist_ok=True)
    master = start(directory, "rip-master", [
        RIP, "start", home, "--name", "bench", "--no-watch", "--loops", "1", "--no-access-log",
    ], XDG_RUNTIME_DIR=runtime)
    wait_for(lambda: answers(port, "/status"), "rip-master")
    return Contestant("rip-master", port, [master])


def bun_hub(directory, _running):
    """Bun's own publish and subscribe."""
    programs = glob.glob(os.path.join(NODE, "@oven/bun-linux-*/bin/bun"))
    if not programs:
        raise SystemExit("Bun is missing: run scripts/setup bench")
    return hub(directory, "Bun", [programs[0], os.path.join(HUBS, "bun.js")])


def ws_hub(directory, _running):
    return hub(directory, "node ws", ["node", os.path.join(HUBS, "ws.cjs")], NODE_PATH=NODE)


def hub(directory, name, command, **environment):
    port = free_port()
    process = start(directory, name, [*command, str(port)], **environment)
    wait_for(lambda: answers(port, "/"), name)
    return Contestant(name, port, [process])


def turns(place):
    """Who runs durable turns; the store lies in a directory of its own below `place`."""

    def ours(name, words):
        def begin(directory, _running, words=words):
            store = tempfile.TemporaryDirectory(dir=place)
            database = os.path.join(os.path.abspath(store.name), "sessions.db")
            words = [*words, "--sessions", f"--sessions-db={database}"]
            port, master = rip(directory, words, name=name.lower().replace(", ", "-"))
            return everywhere(name, port, master, store)
        return begin

    def naive(directory, _running):
        store = tempfile.TemporaryDirectory(dir=place)
        os.environ["TURNS_STORE"] = os.path.join(os.path.abspath(store.name), "own.db")
        port, master = rip(directory, [os.path.join(APPS, "turns_in_sqlite.py"), "w:2"], name="naive")
        return everywhere("Python with SQLite", port, master, store)

    python = [os.path.join(APPS, "turns.py"), "w:2"]
    return [ours("rip-master", ["builtin:turn", "w:1", "c:64"]), ours("rip-master, Python", python), naive]


def everywhere(name, port, master, store):
    """A tree of processes that may run on every CPU."""
    for pid in processes.tree(master.pid):
        processes.pin(pid, EVERY_CPU)
    one = Contestant(name, port, [master])
    one.store = store
    return one


def site(directory):
    """A directory of files that do not compress, the same for everybody."""
    path = os.path.join(directory, "site")
    os.makedirs(path, exist_ok=True)
    for name, size in [("1k.bin", 1024), ("100k.bin", 100 * 1024), ("10m.bin", 10 * 1024 * 1024)]:
        file = os.path.join(path, name)
        if not os.path.exists(file):
            with open(file, "wb") as out:
                out.write(os.urandom(size))
    return path


def rip(directory, words, secure=False, name="bench"):
    port = free_port()
    listen = f"--https-port={port}" if secure else f"http:{port}"
    runtime = os.path.join(directory, "run")
    os.makedirs(runtime, mode=0o700, exist_ok=True)
    process = start(directory, "rip-master", [
        RIP, "start", *words, listen, "--host", "127.0.0.1", "--name", name,
        "--loops", "1", "--no-access-log",
    ], XDG_RUNTIME_DIR=runtime, PATH=f"{VENV}:{os.environ['PATH']}")
    wait_for(lambda: answers(port, "/status", secure), "rip-master")
    return port, process


def nginx(directory, outside, location, listen=""):
    port = free_port()
    home = os.path.join(directory, f"nginx-{port}")
    os.mkdir(home)
    user = "user root;" if os.geteuid() == 0 else ""
    config = write(home, "nginx.conf", f"""
daemon off;
{user}
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    uwsgi_temp_path {home}/uwsgi;
    fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi;
    {outside}
    server {{
        listen 127.0.0.1:{port} backlog=4096 {listen};
        {location}
    }}
}}
""")
    program = next((p for p in ("/usr/sbin/nginx", "/sbin/nginx") if os.path.exists(p)), "nginx")
    process = start(home, "nginx", [program, "-e", f"{home}/error.log", "-c", config])
    wait_for(lambda: answers(port, "/", listen == "ssl"), "nginx")
    return port, process


def upstream(path):
    return f"upstream backend {{ server unix:{path}; keepalive 256; keepalive_requests 1000000000; }}"


def proxy_location():
    return """location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }"""


def worker_socket(directory):
    output = subprocess.run(
        [RIP, "ctl", "workers", "--name", "bench", "--json"], check=True, capture_output=True,
        env={**os.environ, "XDG_RUNTIME_DIR": os.path.join(directory, "run")})
    return json.loads(output.stdout)["workers"][0]["socketPath"]


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
