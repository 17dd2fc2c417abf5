"""Clients of a WebSocket hub: one says something, and when everybody has heard it, again.

    fanout.py PORT PATH CLIENTS SECONDS

Says `there` when all have come, waits for a line, and then says what it counted: a request is one
client that heard one message.
"""

import base64
import json
import os
import select
import socket
import statistics
import sys
import time

TEXT = b"x" * 64
HEARD = bytes([0x81, len(TEXT)]) + TEXT
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


def connect(port, path):
    one = socket.create_connection(("127.0.0.1", port), timeout=20)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall((f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = one.recv(4096)
        if not piece:
            raise SystemExit(f"port {port} refuses: {head!r}")
        head += piece
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"port {port} refuses: {head[:100]!r}")
    one.setblocking(False)
    return one


def said():
    mask = os.urandom(4)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(TEXT))
    return bytes([0x81, 0x80 | len(TEXT)]) + mask + body


def round_of(clients, talker, ready, frame):
    """One message: until everybody has heard it."""
    talker.sendall(frame)
    left = len(clients)
    while left:
        events = ready.poll(20)
        if not events:
            raise SystemExit(f"{left} of {len(clients)} hear nothing")
        for number, _ in events:
            heard = clients[number].recv(4096)
            if PING in heard:
                # It came long ago: is it still there?
                heard = heard.replace(PING, b"")
                clients[number].sendall(PONG)
                if not heard:
                    continue
            if heard != HEARD:
                raise SystemExit(f"heard {heard[:100]!r}")
            left -= 1


def main():
    port, path, count, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    all_of_them = [connect(port, path) for _ in range(count)]
    clients = {one.fileno(): one for one in all_of_them}
    ready = select.epoll()
    for number in clients:
        ready.register(number, select.EPOLLIN)
    talker, frame = all_of_them[0], said()
    for _ in range(3):
        round_of(clients, talker, ready, frame)
    print("there", flush=True)
    sys.stdin.readline()
    began, took = time.monotonic(), []
    while (now := time.monotonic()) < began + seconds or len(took) < 2:
        round_of(clients, talker, ready, frame)
        took.append(time.monotonic() - now)
    spent = time.monotonic() - began
    cuts = statistics.quantiles(took, n=100)
    print(json.dumps({"requests": len(took) * count, "requestsPerSecond": len(took) * count / spent,
                      "p50Seconds": cuts[49], "p99Seconds": cuts[98]}), flush=True)
    sys.stdin.readline()


main()
