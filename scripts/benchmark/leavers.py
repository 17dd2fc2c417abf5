"""Clients who leave in the middle of everything: what they held must be given back.

    leavers.py HTTP-PORT HTTPS-PORT SECONDS

Says how many came and went. Nothing of it can go wrong but that the server is not there.
"""

import json
import random
import socket
import struct
import sys
import time

import contestant

PIECES = [
    b"",
    b"GET /server HT",
    b"GET /nothing/here HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /python/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /files/10m.bin HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /python/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 200_000,
    b"POST /v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n" + b'{"text":"a b c"}'[:15],
    b"GET /realtime?join=/leavers HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
]


def main():
    ports, seconds = (int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3])
    until, count, wrong = time.monotonic() + seconds, 0, []
    while time.monotonic() < until and not wrong:
        for secure in (False, True):
            for piece in PIECES:
                count += 1
                try:
                    come_and_go(ports[secure], piece, secure)
                except ConnectionRefusedError as error:
                    wrong.append(repr(error))
                except OSError:
                    pass
        time.sleep(0.02)
    print(json.dumps({"requests": count, "wrong": wrong}))


def come_and_go(port, piece, secure):
    one = socket.create_connection(("127.0.0.1", port), timeout=5)
    try:
        if secure and random.random() < 0.9:
            one = contestant.believing().wrap_socket(one, server_hostname="localhost")
        one.sendall(piece)
        if random.random() < 0.5:
            one.settimeout(0.1)
            one.recv(1000)
        if random.random() < 0.5:
            # A reset in place of an orderly end.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        one.close()


main()
