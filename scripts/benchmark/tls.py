"""Clients behind TLS that come back: each request has a connection of its own, and each connection
takes the session of the one before up again."""

import json
import socket
import ssl
import statistics
import sys
import threading
import time


def client():
    """What a client speaks TLS with that believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(context, port, request, session):
    """One connection and one request. Returns the session for the next one."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as sealed:
            if session is not None and not sealed.session_reused:
                raise SystemExit(f"port {port} does not take sessions up again")
            sealed.sendall(request)
            answer = b""
            while piece := sealed.recv(65536):
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"port {port} answers {answer[:60]!r}")
            return sealed.session


def come_back(port, request, until, took):
    context = client()
    session = ask(context, port, request, None)
    while (began := time.monotonic()) < until:
        session = ask(context, port, request, session)
        took.append(time.monotonic() - began)


def main():
    port, path, count, seconds = sys.argv[1:]
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    began, took = time.monotonic(), []
    until = began + float(seconds)
    clients = [threading.Thread(target=come_back, args=(int(port), request, until, took))
               for _ in range(int(count))]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    spent = time.monotonic() - began
    cuts = statistics.quantiles(took, n=100)
    # The first connection of each client is a request, too, and no return.
    print(json.dumps({"requests": len(took) + len(clients),
                      "requestsPerSecond": len(took) / spent,
                      "p50Seconds": cuts[49], "p99Seconds": cuts[98]}))


if __name__ == "__main__":
    main()
