"""Clients of sessions: each sends a turn, and the next one when it has the answer.

    turns.py PORT PATH SESSIONS SECONDS

Says `there` when all sessions have started, waits for a line, and then says what it counted.
"""

import json
import select
import socket
import statistics
import sys
import time

INPUT = b'{"text":"a b c"}'
TOKEN, SESSION = b'"continuationToken":"', b'"sessionId":"'


class Client:
    """One session on a connection of its own."""

    def __init__(self, port, path):
        self.path = path.encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        self.began = 0.0
        self.target, self.token = self.path, None
        self.send()
        while not self.receive():
            pass
        self.target = b"%s/%s/message" % (self.path, self.session)

    def send(self):
        token = b"X-Continuation-Token: %s\r\n" % self.token if self.token else b""
        self.began = time.monotonic()
        self.socket.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s"
                            b"Content-Length: %d\r\n\r\n%s" % (self.target, token, len(INPUT), INPUT))

    def receive(self):
        """True when the answer is there; its token is the next one."""
        piece = self.socket.recv(65536)
        if not piece:
            raise SystemExit(f"the server closes behind {self.unread!r}")
        self.unread += piece
        head, end, body = self.unread.partition(b"\r\n\r\n")
        if not end:
            return False
        at = head.lower().find(b"content-length: ") + 16
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return False
        if not head.startswith(b"HTTP/1.1 200 ") or b'"status":"finished"' not in body:
            raise SystemExit(f"refused: {self.unread!r}")
        self.unread = b""
        self.token = body[body.index(TOKEN) + len(TOKEN):].split(b'"', 1)[0]
        self.session = body[body.index(SESSION) + len(SESSION):].split(b'"', 1)[0]
        return True


def main():
    port, path, count, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    clients = [Client(port, path) for _ in range(count)]
    by_number = {client.socket.fileno(): client for client in clients}
    ready = select.epoll()
    for number in by_number:
        ready.register(number, select.EPOLLIN)
    print("there", flush=True)
    sys.stdin.readline()
    began, took = time.monotonic(), []
    until = began + seconds
    for client in clients:
        client.send()
    waiting = count
    while waiting:
        events = ready.poll(20)
        if not events:
            raise SystemExit(f"{waiting} of {count} hear nothing")
        for number, _ in events:
            client = by_number[number]
            if not client.receive():
                continue
            now = time.monotonic()
            took.append(now - client.began)
            if now < until:
                client.send()
            else:
                waiting -= 1
    spent = time.monotonic() - began
    cuts = statistics.quantiles(took, n=100)
    print(json.dumps({"requests": len(took), "requestsPerSecond": len(took) / spent,
                      "p50Seconds": cuts[49], "p99Seconds": cuts[98]}), flush=True)
    sys.stdin.readline()


main()
