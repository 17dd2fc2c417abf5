"""Serves a WSGI app (PEP 3333).

As many threads as it is given requests at once, which is one unless somebody says more; any number of
open keep-alive connections, none of which is ever closed first. Whoever connects has already checked
the HTTP: what is read here is well formed, and anything else ends its connection.

The common request costs one recv and one sendall, where there are several connections an epoll_wait as
well, and no parsing of fields.
"""

import io
import os
import select
import signal
import socket
import struct
import sys
import threading
import traceback


def iterate(result, response):
    """Sends a body piece by piece, and closes it."""
    try:
        if type(result) is not FileWrapper or not response.file(result):
            for data in result:
                if not response.send(data):
                    break
            response.end()
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


def tell(environ, what):
    """A line about a request for the operator."""
    sys.stderr.write(
        "request %s %s: %s %s\n"
        % (
            environ.get("HTTP_X_REQUEST_ID", "without id"),
            what,
            environ["REQUEST_METHOD"],
            environ["REQUEST_URI"],
        )
    )
    sys.stderr.flush()


def fail(environ, response, error):
    """The app raised: a traceback for the operator, 500 for the client if it is not too late."""
    # where it went through this program does not help
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    tell(environ, "failed")
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
    sys.stderr.flush()
    if response.sent:
        response.keep = False
        return
    response.lines = None
    response.start("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
    response.whole(b"Internal Server Error\n")


def exchange(app, sock, environ, simple, rest):
    """Answers a request, of whose body `rest` has come, or more than that.

    Returns what was read beyond the request, or None when the connection is of no use any more.
    """
    response = Response()
    response.sock = sock
    response.lines = None
    response.sent = False
    body = None
    # Whether an answer that is all there needs no second look: nothing but its length is to be right.
    plain = simple
    if not simple:
        body, rest = prepare(response, environ, rest)
    elif environ["REQUEST_METHOD"] == "HEAD":
        response.to_head = True
        plain = False
    try:
        result = app(environ, response.start)
        kind = type(result)
        if (kind is list or kind is tuple) and not response.sent:
            # All of it is there: nothing is held back by sending it as one.
            data = result[0] if len(result) == 1 else b"".join(result)
            if plain and type(data) is bytes and 0 < len(data) == response.declared <= JOINED_BYTES:
                if not response.bodyless:
                    lines = response.lines
                    lines.append(b"\r\n")
                    lines.append(data)
                    response.sent = True
                    response.pass_on(b"".join(lines))
                    return rest
            response.whole(data)
        else:
            iterate(result, response)
    except PeerGone:
        return None
    except Malformed:
        raise
    except BaseException as error:  # an app that wants to exit has not answered either
        fail(environ, response, error)
    if response.left:
        tell(environ, "has %d bytes less than its Content-Length" % response.left)
        return None
    if response.excess:
        tell(environ, "has more bytes than its Content-Length")
    if body is not None:
        if body.waits:
            return None
        rest = body.skip()
    return rest if response.keep else None


def prepare(response, environ, rest):
    """Prepares the response to a request that is not simple. Returns its body and what is beyond it;
    there is no body when all of it is here."""
    sock = response.sock
    old = environ["SERVER_PROTOCOL"] != "HTTP/1.1"
    said = environ.get("HTTP_CONNECTION", "").lower()
    keep = said == "keep-alive" if old else said != "close"
    waits = not old and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
    body = None
    if "HTTP_TRANSFER_ENCODING" in environ:
        if environ["HTTP_TRANSFER_ENCODING"].lower() != "chunked" or "CONTENT_LENGTH" in environ:
            raise Malformed("a body without a clear end")
        body = ChunkedBody(sock, rest, waits)
    elif "CONTENT_LENGTH" in environ:
        length = int(environ["CONTENT_LENGTH"])
        if length <= len(rest):
            environ["wsgi.input"] = io.BytesIO(rest[:length])
            rest = rest[length:]
        else:
            body = KnownBody(sock, rest, waits, length)
    if body is not None:
        environ["wsgi.input"] = io.BufferedReader(body, RECV_BYTES)
        # who is answered before the body was asked for may send it, or not
        keep = keep and not waits
    response.to_head = environ["REQUEST_METHOD"] == "HEAD"
    response.old = old
    response.keep = keep
    return body, rest


# How long one connection is attended to while nothing comes.
MOMENT_MICROS = 4000


class Connections:
    """The open connections, by their descriptors."""

    def __init__(self):
        self.listener = socket.socket(fileno=LISTENER_FD)
        self.listener.setblocking(False)
        os.set_inheritable(LISTENER_FD, False)
        self.socks = {}
        # What has come of a head that is not complete.
        self.partial = {}

    def accept(self):
        """The descriptor of a new connection, if there is one."""
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return None
        sock.setblocking(True)
        fd = sock.fileno()
        self.socks[fd] = sock
        return fd

    def be_brief(self, fd):
        """From now on nothing is waited for but for a moment; returns whether that can be had."""
        moment = struct.pack("ll", 0, MOMENT_MICROS)
        try:
            self.socks[fd].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)
        except OSError:
            return False
        return True

    def hear(self, app, fd):
        """Reads from a connection and answers; returns whether it is still open, and None where nothing
        has come for a moment."""
        sock = self.socks[fd]
        try:
            data = sock.recv(RECV_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = None
        try:
            if self.partial and fd in self.partial:
                data = data and self.partial.pop(fd) + data
            # what ends a connection is None, and so is what an ended one says
            data = data or None
            while data:
                begun = request(data)
                if begun is None:
                    if len(data) > HEAD_BYTES:
                        raise Malformed("a head without an end")
                    self.partial[fd] = data
                    break
                environ, simple, rest = begun
                data = exchange(app, sock, environ, simple, rest)
        except (Malformed, OSError, UnicodeDecodeError):
            data = None
        if data is None:
            self.partial.pop(fd, None)
            del self.socks[fd]
            sock.close()
            return False
        return True


# The signals that nobody has obeyed yet.
CALLED = []


def signals(reloads):
    """From now on signals are bytes in a pipe; its reading end, which does not block."""
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    for number in (signal.SIGTERM, signal.SIGINT) + ((signal.SIGUSR1,) if reloads else ()):
        signal.signal(number, lambda number, frame: CALLED.append(number))
    if reloads:
        signal.siginterrupt(signal.SIGUSR1, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    return woken


def obey(woken, code):
    """Does what the signals say, and returns whether they say to end."""
    seen = os.read(woken, 512)
    # One that comes in between is in the pipe.
    CALLED.clear()
    if signal.SIGTERM in seen or signal.SIGINT in seen:
        return True
    if signal.SIGUSR1 in seen:
        code.reload()
    return False


def serve_wsgi(code, reloads, concurrency):
    """Answers requests until SIGTERM or SIGINT; those that have begun are finished.

    With `reloads`, SIGUSR1 says that the app's files have changed.
    """
    BASE["wsgi.multithread"] = concurrency > 1
    woken = signals(reloads)
    connections = Connections()
    if concurrency > 1:
        Crew(code, connections, concurrency).serve(woken)
    else:
        serve_alone(code, connections, woken)


def serve_alone(code, connections, woken):
    """One request at a time. A signal is obeyed when the request before it has been answered."""
    epoll = select.epoll()
    epoll.register(LISTENER_FD, select.EPOLLIN)
    epoll.register(woken, select.EPOLLIN)
    app = code.app
    stopping = brief = False
    # How often nobody is attended to.
    calm = 0
    while not stopping:
        for fd, _ in epoll.poll(-1, 64):
            if fd in connections.socks:
                connections.hear(app, fd)
            elif fd == LISTENER_FD:
                fd = connections.accept()
                if fd is not None:
                    brief = connections.be_brief(fd)
                    epoll.register(fd, select.EPOLLIN)
            elif fd == woken:
                stopping = obey(woken, code)
                app = code.app
        if len(connections.socks) != 1 or not brief:
            continue
        if calm:
            calm -= 1
        elif not attend(connections, app):
            calm = CALM_COUNT


# So many requests in one go, before others are looked for.
ATTENDED_COUNT = 64
# And so many one by one after a pause.
CALM_COUNT = 16


def attend(connections, app):
    """Answers on the only connection there is, without asking where something has come: a system call
    less for each request. Returns whether there was no pause.

    What happens elsewhere waits for the end of a pause: a new connection, and a signal that comes just
    before a `recv`.
    """
    (fd,) = connections.socks
    for _ in range(ATTENDED_COUNT):
        if CALLED:
            break
        heard = connections.hear(app, fd)
        if not heard:
            return heard is not None
    return True


class Crew:
    """Threads that wait for the same connections; whoever is woken by one has it to itself until it
    has answered. There is always one that waits, until there are as many as there may be."""

    def __init__(self, code, connections, most):
        self.code = code
        self.connections = connections
        self.most = most
        self.lock = threading.Lock()
        self.threads = []
        self.idle = 0
        self.epoll = select.epoll()
        self.epoll.register(LISTENER_FD, select.EPOLLIN | select.EPOLLONESHOT)
        # Written to once and never read: everybody is told the end by it.
        self.end, self.ends = os.pipe()
        self.epoll.register(self.end, select.EPOLLIN)

    def serve(self, woken):
        """The main thread hears signals, and loads the app anew while the others go on with theirs."""
        self.enlist()
        os.set_blocking(woken, True)
        while not obey(woken, self.code):
            pass
        os.write(self.ends, b"!")
        # nobody is enlisted once the last is found to have ended
        for thread in self.threads:
            thread.join()

    def enlist(self):
        thread = threading.Thread(target=self.work, name="requests-%d" % len(self.threads))
        thread.daemon = True
        self.idle += 1
        self.threads.append(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self.threads.pop()
            self.idle -= 1
            self.most = len(self.threads)
            if not self.most:
                raise
            told("there are %d threads and no more: %s" % (self.most, error))

    def work(self):
        try:
            while self.wait():
                pass
        except BaseException:
            # What would end a process of one thread ends this one too.
            traceback.print_exc()
            os._exit(1)

    def wait(self):
        """Waits for something to do, and does it; False when it is the end."""
        for fd, _ in self.epoll.poll(-1, 1):
            if fd == self.end:
                return False
            with self.lock:
                self.idle -= 1
                if not self.idle and len(self.threads) < self.most:
                    self.enlist()
            self.turn(fd)
            with self.lock:
                self.idle += 1
        return True

    def turn(self, fd):
        """What one wait was for."""
        once = select.EPOLLIN | select.EPOLLONESHOT
        if fd != LISTENER_FD:
            if self.connections.hear(self.code.app, fd):
                self.epoll.modify(fd, once)
            return
        fresh = self.connections.accept()
        if fresh is not None:
            self.epoll.register(fresh, once)
        self.epoll.modify(LISTENER_FD, once)
