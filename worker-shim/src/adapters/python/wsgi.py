"""Serves a WSGI app (PEP 3333).

One thread, one request at a time; any number of open keep-alive connections, none of which is ever
closed first. Whoever connects has already checked the HTTP: what is read here is well formed, and
anything else ends its connection.

The common request costs one epoll_wait, one recv and one sendall, and no parsing of fields.
"""

import io
import os
import select
import signal
import socket
import sys
import traceback


def answer(app, environ, response):
    """Lets the app answer. Raises what the app raises."""
    result = app(environ, response.start)
    kind = type(result)
    if (kind is list or kind is tuple) and not response.sent:
        # All of it is there: nothing is held back by sending it as one.
        body = result[0] if len(result) == 1 else b"".join(result)
        if type(body) is not bytes:
            raise TypeError("the body is made of bytes, not of %s" % type(body).__name__)
        response.whole(body)
        return
    try:
        if kind is not FileWrapper or not response.file(result):
            for data in result:
                response.send(data)
            response.end()
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


def fail(environ, response):
    """The app raised: a traceback for the operator, 500 for the client if it is not too late."""
    sys.stderr.write(
        "request %s failed: %s %s\n%s"
        % (
            environ.get("HTTP_X_REQUEST_ID", "without id"),
            environ["REQUEST_METHOD"],
            environ["REQUEST_URI"],
            traceback.format_exc(),
        )
    )
    sys.stderr.flush()
    if response.sent:
        response.keep = False
        return
    response.status = "500 Internal Server Error"
    response.fields = [("Content-Type", "text/plain; charset=utf-8")]
    response.whole(b"Internal Server Error\n")


def exchange(app, sock, data, end):
    """Answers the request whose head ends at `end` in `data`.

    Returns what was read beyond the request, or None when the connection is of no use any more.
    """
    environ = request(data[:end], data.find(b"\r\n", 0, end + 2))
    body = None
    rest = data[end + 4 :]
    if "CONTENT_LENGTH" in environ:
        length = int(environ["CONTENT_LENGTH"])
        if length <= len(rest):
            environ["wsgi.input"] = io.BytesIO(rest[:length])
            rest = rest[length:]
        else:
            body = KnownBody(sock, rest, length)
    if "HTTP_TRANSFER_ENCODING" in environ:
        if environ["HTTP_TRANSFER_ENCODING"].lower() != "chunked" or "CONTENT_LENGTH" in environ:
            raise Malformed("a body without a clear end")
        body = ChunkedBody(sock, rest)
    if body is not None:
        environ["wsgi.input"] = io.BufferedReader(body, RECV_BYTES)
    old = environ["SERVER_PROTOCOL"] != "HTTP/1.1"
    said = environ["HTTP_CONNECTION"].lower() if "HTTP_CONNECTION" in environ else ""
    keep = said == "keep-alive" if old else said != "close"

    response = Response(sock, environ["REQUEST_METHOD"] == "HEAD", old, keep)
    try:
        answer(app, environ, response)
    except PeerGone:
        return None
    except Malformed:
        raise
    except Exception:
        fail(environ, response)
    if body is not None:
        while body.readinto(bytearray(RECV_BYTES)):
            pass
        rest = body.rest()
    return rest if response.can_continue() else None

def serve_wsgi(code, reloads):
    """Answers requests until SIGTERM or SIGINT; those that have begun are finished.

    With `reloads`, SIGUSR1 says that the app's files have changed; it is obeyed between requests.
    """
    app = code.app
    listener = socket.socket(fileno=LISTENER_FD)
    listener.setblocking(False)
    os.set_inheritable(LISTENER_FD, False)
    # A signal that comes while the app works is a byte in this pipe when it has answered.
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    for number in (signal.SIGTERM, signal.SIGINT) + ((signal.SIGUSR1,) if reloads else ()):
        signal.signal(number, lambda number, frame: None)
    if reloads:
        signal.siginterrupt(signal.SIGUSR1, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    epoll = select.epoll()
    epoll.register(LISTENER_FD, select.EPOLLIN)
    epoll.register(woken, select.EPOLLIN)
    socks = {}
    partial = {}
    stopping = False

    def close(fd):
        partial.pop(fd, None)
        socks.pop(fd).close()

    while not stopping:
        for fd, _ in epoll.poll(-1, 64):
            sock = socks.get(fd)
            if sock is None:
                if fd == woken:
                    seen = os.read(woken, 512)
                    stopping = signal.SIGTERM in seen or signal.SIGINT in seen
                    if signal.SIGUSR1 in seen and reloads and not stopping:
                        code.reload()
                        app = code.app
                elif fd == LISTENER_FD:
                    try:
                        sock, _ = listener.accept()
                    except OSError:
                        continue
                    sock.setblocking(True)
                    socks[sock.fileno()] = sock
                    epoll.register(sock, select.EPOLLIN)
                continue
            try:
                data = sock.recv(RECV_BYTES)
                if fd in partial:
                    data = data and partial.pop(fd) + data
                if not data:
                    close(fd)
                    continue
                while data:
                    end = data.find(b"\r\n\r\n")
                    if end < 0:
                        if len(data) > HEAD_BYTES:
                            raise Malformed("a head without an end")
                        partial[fd] = data
                        break
                    data = exchange(app, sock, data, end)
                if data is None:
                    close(fd)
            except (Malformed, OSError):
                close(fd)
