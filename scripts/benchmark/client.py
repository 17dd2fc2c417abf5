"""One client of a server: it comes, asks once, and stays."""

import base64
import os
import socket

from contestant import believing

ASKED = "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADED = ("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n")
TRUST = believing()


def arrive(port, path, kind="http"):
    """Connects, asks, and reads the whole answer; its socket. `kind` is http, https or ws."""
    one = socket.create_connection(("127.0.0.1", port), timeout=20)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "https":
        one = TRUST.wrap_socket(one, server_hostname="localhost")
    if kind == "ws":
        key = base64.b64encode(os.urandom(16)).decode()
        one.sendall(UPGRADED.format(path=path, key=key).encode())
        head, _ = answer(one)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise SystemExit(f"port {port} refuses: {head[:100]!r}")
        return one
    ask(one, path)
    return one


def ask(one, path):
    """Makes a request and reads its answer; the answer's body."""
    one.sendall(ASKED.format(path=path).encode())
    head, body = answer(one)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"refused: {head[:100]!r}")
    at = head.lower().find(b"content-length: ")
    length = int(head[at + 16:].split(b"\r\n", 1)[0]) if at >= 0 else 0
    while len(body) < length:
        body += more(one)
    return body


def answer(one):
    """The head of an answer, and what came behind it."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += more(one)
    head, _, body = head.partition(b"\r\n\r\n")
    return head, body


def more(one):
    piece = one.recv(65536)
    if not piece:
        raise SystemExit("the server closes before its answer has ended")
    return piece
