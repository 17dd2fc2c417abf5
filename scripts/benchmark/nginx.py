"""nginx with one worker process, its access log off."""

import os
import signal

import material
import ours
from contestant import Contestant, answers, free_port, start, wait_for, write

NAME = "nginx"
TINY = 'location = /server { default_type text/plain; return 200 "ok\\n"; }'
CROWD = 9000


def tiny(directory, _running):
    port, process = serve(directory, "", TINY)
    return Contestant(NAME, port, [process])


def worker(directory, _running):
    """Proxies to the very worker process that our own master serves from."""
    port, process = serve(directory, upstream(ours.worker_socket(directory)), proxy())
    return Contestant(NAME, port, [process])


def static(directory, _running):
    port, process = serve(directory, "sendfile on;", f"root {material.site(directory)};")
    return Contestant(NAME, port, [process])


def static_cached(directory, _running):
    cache = "sendfile on; open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;"
    port, process = serve(directory, cache, f"root {material.site(directory)};")
    return Contestant("nginx+cache", port, [process])


def tls(directory, _running):
    port, process = serve(directory, tls_lines(directory), TINY, listen="ssl")
    return Contestant(NAME, port, [process])


def tls_static(directory, _running):
    lines = tls_lines(directory) + "sendfile on;"
    port, process = serve(directory, lines, f"root {material.site(directory)};", listen="ssl")
    return Contestant(NAME, port, [process])


def crowd(directory, _running):
    """With room for many clients."""
    port, process = serve(directory, "keepalive_timeout 600s;", TINY, connections=CROWD)
    return Contestant(NAME, port, [process])


def tls_crowd(directory, _running):
    lines = tls_lines(directory) + "keepalive_timeout 600s;"
    port, process = serve(directory, lines, TINY, listen="ssl", connections=CROWD)
    return Contestant(NAME, port, [process])


def drops(directory, running):
    one = tiny(directory, running)
    one.reload = lambda: one.started[0].send_signal(signal.SIGHUP)
    return one


def tls_lines(directory):
    certificate, key = material.certificate_pair(directory)
    return f"""ssl_certificate {certificate}; ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:10m;"""


def upstream(path):
    return f"upstream backend {{ server unix:{path}; keepalive 256; keepalive_requests 1000000000; }}"


def proxy():
    return """location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }"""


def serve(directory, outside, location, listen="", connections=4096):
    """Starts one and waits until it answers; its port, its process."""
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
events {{ worker_connections {connections}; }}
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
