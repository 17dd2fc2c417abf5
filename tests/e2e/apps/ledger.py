"""Writes down every execution of a request by its number, and answers with what it received.

A WSGI app, and an HTTP server on the inherited listener when it is run as a program. The path of a
request ends in `/KIND/NUMBER`. Each execution becomes one line in `$RECORD/executed-wID`, written
before the answer begins: number, method, bytes and checksum of the body, worker, pid, microseconds,
app. Its release is `$RELEASE` where that is set.

    ms=N            the answer takes so long
    pieces=N gap=S  the answer is a stream of so many pieces with pauses between them
    hang=1          never answers
"""

import json
import os
import time
import urllib.parse
import zlib

RELEASE = "1"
RELEASE = os.environ.get("RELEASE", RELEASE)
APP = os.environ["RIP_APP_ID"]
WORKER = os.environ["RIP_WORKER_ID"]
RECORD = os.environ["RECORD"]
BOOK = os.open(
    os.path.join(RECORD, "executed-w" + WORKER), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
)


def application(environ, start_response):
    body = environ["wsgi.input"]
    kind, pieces = execute(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ["QUERY_STRING"],
        lambda: body.read(int(environ["CONTENT_LENGTH"]))
        if environ.get("CONTENT_LENGTH")
        else body.read(),
    )
    start_response("200 OK", [("Content-Type", kind)])
    return pieces


def execute(method, path, query, read):
    if path == "/ready":
        return "text/plain", [b"ready"]
    number = path.rsplit("/", 1)[1]
    wish = dict(urllib.parse.parse_qsl(query))
    body = read()
    checksum = zlib.adler32(body)
    who = [WORKER, os.getpid(), time.time_ns() // 1000, APP]
    line = [number, method, len(body), checksum, *who]
    os.write(BOOK, (" ".join(map(str, line)) + "\n").encode())
    while "hang" in wish:
        time.sleep(1)
    if "pieces" in wish:
        return "text/event-stream", stream(number, int(wish["pieces"]), float(wish["gap"]))
    time.sleep(float(wish.get("ms", "0")) / 1000)
    answer = {
        "number": int(number),
        "method": method,
        "bytes": len(body),
        "checksum": checksum,
        "worker": int(WORKER),
        "app": APP,
        "release": RELEASE,
    }
    return "application/json", [json.dumps(answer).encode()]


def stream(number, pieces, gap):
    for index in range(pieces):
        yield ("data: %s %d\n\n" % (number, index)).encode()
        time.sleep(gap)
    yield ("data: %s end %s %s %s\n\n" % (number, WORKER, APP, RELEASE)).encode()


def main():
    import http.server
    import socket
    import socketserver

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def answer(self):
            path, _, query = self.path.partition("?")
            kind, pieces = execute(self.command, path, query, self.body)
            self.send_response_only(200)
            self.send_header("Content-Type", kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if kind == "text/event-stream":
                    self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = answer

        def body(self):
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = bytearray()
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return bytes(body)

        def address_string(self):
            return "edge"

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True

        def get_request(self):
            connection, _ = self.socket.accept()
            return connection, ("edge", 0)

    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.serve_forever()


if __name__ == "__main__":
    main()
