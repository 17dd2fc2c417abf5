"""What every contestant is given alike: files, a certificate, an app."""

import os
import subprocess

from contestant import write

HELLO = """def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]
"""


def hello(directory):
    """A WSGI app."""
    return write(directory, "hello.py", HELLO)


def site(directory):
    """A directory of files that do not compress."""
    path = os.path.join(directory, "site")
    os.makedirs(path, exist_ok=True)
    for name, size in [("1k.bin", 1024), ("100k.bin", 100 * 1024), ("10m.bin", 10 * 1024 * 1024)]:
        file = os.path.join(path, name)
        if not os.path.exists(file):
            with open(file, "wb") as out:
                out.write(os.urandom(size))
    return path


def certificate_pair(directory):
    """A certificate of its own making for 127.0.0.1, ECDSA on P-256."""
    certificate, key = (os.path.join(directory, name) for name in ("bench.pem", "bench.key"))
    if not os.path.exists(certificate):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True)
    return certificate, key
