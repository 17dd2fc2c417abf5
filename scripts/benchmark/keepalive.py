"""Clients that keep their connections and ask again as soon as they have an answer, and count what they lose.

    keepalive.py PORT PATH CLIENTS SECONDS

Says `there` when all have had an answer, waits for a line, and then says what it counted. A request is
`dropped` when its connection ends before its answer has, `failed` when the answer is not 200. A server may
end a connection after an answer that says so.
"""

import json
import select
import socket
import statistics
import sys
import time


class Client:
    def __init__(self, port, path):
        self.address = ("127.0.0.1", port)
        self.request = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode()
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(self.address, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def ask(self):
        """False when the connection is gone."""
        self.began = time.monotonic()
        try:
            self.socket.sendall(self.request)
        except OSError:
            return False
        return True

    def receive(self):
        """The head of a whole answer; nothing while there is none, False when the connection is gone."""
        try:
            piece = self.socket.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            return False
        self.unread += piece
        head, end, body = self.unread.partition(b"\r\n\r\n")
        if not end:
            return None
        head = head.lower()
        at = head.find(b"content-length: ") + 16
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return None
        self.unread = b""
        return head


class Load:
    """What all of them do."""

    def __init__(self, port, path, count):
        self.ready = select.epoll()
        self.clients = {}
        self.dropped = self.failed = 0
        self.took = []
        for _ in range(count):
            self.enter(Client(port, path))

    def enter(self, client):
        number = client.socket.fileno()
        self.clients[number] = client
        self.ready.register(number, select.EPOLLIN)

    def again(self, client):
        """On another connection."""
        number = client.socket.fileno()
        self.ready.unregister(number)
        del self.clients[number]
        client.socket.close()
        client.connect()
        self.enter(client)

    def ask(self, client):
        while not client.ask():
            self.dropped += 1
            self.again(client)

    def run(self, until):
        """Until that moment; every answer that is owed is waited for."""
        for client in list(self.clients.values()):
            self.ask(client)
        waiting = len(self.clients)
        while waiting:
            events = self.ready.poll(20)
            if not events:
                raise SystemExit(f"{waiting} clients get no answer")
            for number, _ in events:
                client = self.clients[number]
                head = client.receive()
                if head is None:
                    continue
                now = time.monotonic()
                if head is False:
                    self.dropped += 1
                else:
                    self.took.append(now - client.began)
                    self.failed += not head.startswith(b"http/1.1 200 ")
                if head is False or b"\r\nconnection: close" in head:
                    self.again(client)
                if now < until:
                    self.ask(client)
                else:
                    waiting -= 1


def main():
    port, path, count, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    load = Load(port, path, count)
    load.run(time.monotonic())
    load.took.clear()
    print("there", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    load.run(began + seconds)
    spent = time.monotonic() - began
    cuts = statistics.quantiles(load.took, n=100)
    print(json.dumps({"requests": len(load.took), "requestsPerSecond": len(load.took) / spent,
                      "dropped": load.dropped, "failed": load.failed, "p50Seconds": cuts[49],
                      "p99Seconds": cuts[98], "maxSeconds": max(load.took)}), flush=True)
    sys.stdin.readline()


main()
