"""Serves one WSGI app (PEP 3333) on the listening socket this process was given.

Its argument is the entry: a file `app.py`, or `pkg.module`, either with `:attribute`.

One thread, one request at a time; any number of open keep-alive connections, none of which is ever
closed first. Whoever connects has already checked the HTTP: what is read here is well formed, and
anything else ends its connection. Standard library only, CPython 3.8 and later.

The common request costs one epoll_wait, one recv and one sendall, and no parsing of fields: two
requests of a client differ in their first line, their id and their time, so all other fields are
looked up as one piece of text that stands for a finished part of the environ.
"""

import faulthandler
import gc
import importlib
import importlib.util
import io
import os
import select
import signal
import socket
import stat
import sys
import traceback
from urllib.parse import unquote_to_bytes

LISTENER_FD = 3
RECV_BYTES = 65536
HEAD_BYTES = 128 * 1024
# A body up to this size leaves in the same system call as its head.
JOINED_BYTES = 65536
# The characters of a token (RFC 9110, 5.6.2).
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Malformed(Exception):
    """The peer does not speak HTTP; its connection is of no use any more."""


class PeerGone(OSError):
    """Nobody is interested in this response any more."""


# --- the request ------------------------------------------------------------------------------


class NoBody:
    """`wsgi.input` of a request without a body; one for all of them."""

    def read(self, size=-1):
        return b""

    def readline(self, size=-1):
        return b""

    def readlines(self, hint=-1):
        return []

    def __iter__(self):
        return iter(())

    def close(self):
        pass


class KnownBody(io.RawIOBase):
    """A body of known length that has not arrived as a whole yet."""

    def __init__(self, sock, head, length):
        self.sock = sock
        self.ahead = head
        self.left = length

    def readable(self):
        return True

    def readinto(self, into):
        into = memoryview(into)[: self.left]
        if not into:
            return 0
        if self.ahead:
            count = min(len(into), len(self.ahead))
            into[:count] = self.ahead[:count]
            self.ahead = self.ahead[count:]
        else:
            count = self.sock.recv_into(into)
            if not count:
                raise PeerGone("the connection ended inside the request's body")
        self.left -= count
        return count

    def rest(self):
        """Bytes that were read beyond the body."""
        return b""


class ChunkedBody(io.RawIOBase):
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self, sock, head):
        self.sock = sock
        self.ahead = head
        self.left = 0
        self.begun = False
        self.ended = False

    def readable(self):
        return True

    def readinto(self, into):
        if not self.left and not self.ended:
            self.next_chunk()
        count = min(len(into), self.left)
        if not count:
            return 0
        if not self.ahead:
            self.fill()
        piece = self.ahead[:count]
        into[: len(piece)] = piece
        self.ahead = self.ahead[len(piece) :]
        self.left -= len(piece)
        return len(piece)

    def next_chunk(self):
        if self.begun and self.line():
            raise Malformed("a chunk is longer than its size")
        self.begun = True
        try:
            self.left = int(self.line().partition(b";")[0], 16)
        except ValueError:
            raise Malformed("a chunk has no size") from None
        if self.left < 0:
            raise Malformed("a chunk has no size")
        if not self.left:
            while self.line():
                pass
            self.ended = True

    def line(self):
        while True:
            end = self.ahead.find(b"\r\n")
            if end >= 0:
                line, self.ahead = self.ahead[:end], self.ahead[end + 2 :]
                return line
            if len(self.ahead) > HEAD_BYTES:
                raise Malformed("a line without an end")
            self.fill()

    def fill(self):
        data = self.sock.recv(RECV_BYTES)
        if not data:
            raise PeerGone("the connection ended inside the request's body")
        self.ahead += data

    def rest(self):
        return self.ahead


NO_BODY = NoBody()
# What is the same in every environ.
BASE = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "rip-master",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input": NO_BODY,
    "wsgi.input_terminated": True,
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
# Field names as they were seen, to their keys.
KEYS = {
    "Content-Type": "CONTENT_TYPE",
    "content-type": "CONTENT_TYPE",
    "Content-Length": "CONTENT_LENGTH",
    "content-length": "CONTENT_LENGTH",
}
# The text of fields, to the environ they stand for.
ENVIRONS = {}
CACHE_COUNT = 512


def key_of(name):
    """The environ's key for a field name; None for a field no app should see."""
    if not name or not TOKEN.issuperset(name):
        raise Malformed("a field has no proper name")
    upper = name.upper().replace("-", "_")
    if upper in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = upper
    elif upper == "PROXY":
        key = None  # or it would become HTTP_PROXY, which clients of HTTP obey
    else:
        key = "HTTP_" + upper
    if len(KEYS) < CACHE_COUNT:
        KEYS[name] = key
    return key


def environ_of(text):
    """The environ that field lines stand for, each of which begins with CRLF."""
    environ = BASE.copy()
    for line in text.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed("a field without a colon")
        key = KEYS[name] if name in KEYS else key_of(name)
        if key is None:
            continue
        value = value.strip(" \t")
        if key in environ:
            if key == "CONTENT_LENGTH":
                raise Malformed("more than one Content-Length")
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        environ[key] = value

    length = environ.get("CONTENT_LENGTH")
    if length is not None and not (length.isascii() and length.isdigit()):
        raise Malformed("Content-Length is not a number")
    client = environ.get("HTTP_X_FORWARDED_FOR")
    if client:
        environ["REMOTE_ADDR"] = client.partition(",")[0].strip()
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
        environ["wsgi.url_scheme"] = "https"
    host = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    environ["SERVER_NAME"] = name or "localhost"
    secure = environ["wsgi.url_scheme"] == "https"
    environ["SERVER_PORT"] = port or ("443" if secure else "80")
    return environ


def request(head, first):
    """The environ of a request: `head` without its empty line, `first` where its first line ends."""
    # id and time are cut out of the fields: what is left is the same for many requests
    id_at = head.find(b"\r\nX-Request-Id: ", first)
    start_at = head.find(b"\r\nX-Request-Start: ", id_at) if id_at >= 0 else -1
    if start_at >= 0:
        id_end = head.find(b"\r\n", id_at + 16)
        start_end = head.find(b"\r\n", start_at + 19)
        if start_end < 0:
            start_end = len(head)
        text = head[first:id_at] + head[id_end:start_at] + head[start_end:]
    else:
        text = head[first:]
    environ = ENVIRONS.get(text)
    if environ is None:
        environ = environ_of(text)
        if len(ENVIRONS) >= CACHE_COUNT:
            ENVIRONS.clear()
        if len(text) <= 4096:
            ENVIRONS[text] = environ
    environ = environ.copy()
    if start_at >= 0:
        environ["HTTP_X_REQUEST_ID"] = head[id_at + 16 : id_end].decode("latin-1")
        environ["HTTP_X_REQUEST_START"] = head[start_at + 19 : start_end].decode("latin-1")

    try:
        method, target, version = head[:first].decode("latin-1").split(" ")
    except ValueError:
        raise Malformed("the first line is not a request") from None
    if not version.startswith("HTTP/1."):
        raise Malformed("not HTTP/1")
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = version
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    path, _, environ["QUERY_STRING"] = target.partition("?")
    if not path.startswith("/"):
        path = path_of(path)
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    environ["PATH_INFO"] = path
    return environ


def path_of(target):
    """The path of a target that is not one: `http://host/path`, or `*`, which has none."""
    _, scheme, rest = target.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path if scheme else ""


# --- the response -----------------------------------------------------------------------------


class FileWrapper:
    """`wsgi.file_wrapper`: a file that the kernel sends, where it can."""

    def __init__(self, filelike, blksize=65536):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration

    def extent(self):
        """Descriptor, offset and length of what is left, if it is a plain file."""
        if type(self.filelike) not in (io.BufferedReader, io.BufferedRandom, io.FileIO):
            return None
        try:
            fd = self.filelike.fileno()
            offset = self.filelike.tell()
            seen = os.fstat(fd)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(seen.st_mode) or seen.st_size < offset:
            return None
        return fd, offset, seen.st_size - offset


BASE["wsgi.file_wrapper"] = FileWrapper

# Status texts, to their line and whether a body can follow.
STATUSES = {}
# Fields, to their line and the length they declare.
LINES = {}
# Of the connection, which is not the app's.
CONNECTION_FIELDS = frozenset(
    "connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)


def status_of(status):
    if type(status) is not str or len(status) < 3 or not status[:3].isdigit() or status[3:4].strip():
        raise ValueError("status %r is not like '200 OK'" % (status,))
    if not 200 <= int(status[:3]) <= 999 or "\r" in status or "\n" in status or "\0" in status:
        raise ValueError("status %r cannot be sent" % (status,))
    if len(status) == 3:
        status += " "
    found = ("HTTP/1.1 %s\r\n" % status).encode("latin-1"), status[:3] not in ("204", "304")
    if len(STATUSES) < CACHE_COUNT:
        STATUSES[status] = found
    return found


def line_of(pair):
    try:
        name, value = pair
        sound = TOKEN.issuperset(name) and name != ""
        sound = sound and "\r" not in value and "\n" not in value and "\0" not in value
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError("header %r is not a name and a value that can be sent" % (pair,))
    lower = name.lower()
    length = None
    if lower in CONNECTION_FIELDS:
        line = b""
    elif lower == "content-length":
        if not (value.isascii() and value.isdigit()):
            raise ValueError("Content-Length %r is not a number" % (value,))
        length = int(value)
        line = b""  # written where the head ends
    else:
        line = ("%s: %s\r\n" % pair).encode("latin-1")
    if len(LINES) >= CACHE_COUNT:
        LINES.clear()
    if type(pair) is tuple and len(value) <= 256:
        LINES[pair] = line, length
    return line, length


class Response:
    """What the app has said so far, and how much of it has been sent."""

    __slots__ = (
        "sock",
        "status",
        "fields",
        "to_head",
        "old",
        "keep",
        "sent",
        "framing",
        "left",
    )

    # framings, once the head was sent
    BODYLESS, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)

    def __init__(self, sock, to_head, old, keep):
        self.sock = sock
        self.status = None
        self.fields = None
        self.to_head = to_head
        self.old = old
        self.keep = keep
        self.sent = False
        self.framing = self.BODYLESS
        self.left = 0

    def start(self, status, headers, exc_info=None):
        """`start_response`."""
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called a second time without exc_info")
        self.status = status
        self.fields = headers
        return self.write

    def write(self, data):
        """What `start_response` returns: sends at once."""
        self.send(data)

    def head(self, known):
        """The head; `known` is the body's length where the app need not declare it."""
        status = self.status
        if status is None:
            raise AssertionError("the app answered without calling start_response")
        line, can_have_body = STATUSES[status] if status in STATUSES else status_of(status)
        lines = [line]
        declared = None
        for pair in self.fields:
            line, length = LINES.get(pair) or line_of(pair)
            if length is not None:
                declared = length
            lines.append(line)
        length = known if declared is None else declared
        if not can_have_body:
            self.framing = self.BODYLESS
            if declared is not None and status.startswith("304"):
                lines.append(b"Content-Length: %d\r\n" % declared)
        elif length is not None:
            self.framing = self.BODYLESS if self.to_head else self.LENGTH
            self.left = length
            lines.append(b"Content-Length: %d\r\n" % length)
        elif self.to_head:
            self.framing = self.BODYLESS
        elif self.old:
            self.framing = self.UNTIL_CLOSE
            self.keep = False
        else:
            self.framing = self.CHUNKED
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep:
            lines.append(b"Connection: close\r\n\r\n")
        elif self.old:
            lines.append(b"Connection: keep-alive\r\n\r\n")
        else:
            lines.append(b"\r\n")
        return b"".join(lines)

    def whole(self, body):
        """Sends head and body, when nothing was sent before."""
        # to HEAD an empty body says nothing about how long it would have been
        head = self.head(None if self.to_head and not body else len(body))
        self.sent = True
        if self.framing != self.LENGTH:
            self.pass_on(head)
            return
        if len(body) > self.left:
            body = body[: self.left]
        if len(body) <= JOINED_BYTES:
            self.pass_on(head + body)
        else:
            self.pass_on(head)
            self.pass_on(body)
        self.left -= len(body)

    def send(self, data):
        """Sends a piece of the body, and the head before the first that is not empty."""
        if not isinstance(data, bytes):
            raise TypeError("the body is made of bytes, not of %s" % type(data).__name__)
        if not data:
            return
        head = b""
        if not self.sent:
            head = self.head(None)
            self.sent = True
        if self.framing == self.LENGTH:
            data = data[: self.left]
            self.left -= len(data)
        elif self.framing == self.CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self.framing == self.BODYLESS:
            data = b""
        if head or data:
            self.pass_on(head + data)

    def end(self):
        """The body is complete."""
        if not self.sent:
            self.whole(b"")
        elif self.framing == self.CHUNKED:
            self.pass_on(b"0\r\n\r\n")

    def file(self, wrapper):
        """Lets the kernel send a file; False when it is none."""
        extent = None if self.sent else wrapper.extent()
        if extent is None:
            return False
        fd, offset, count = extent
        self.pass_on(self.head(count))
        self.sent = True
        count = min(count, self.left) if self.framing == self.LENGTH else 0
        try:
            while count:
                done = os.sendfile(self.sock.fileno(), fd, offset, count)
                if not done:
                    break
                offset += done
                count -= done
                self.left -= done
        except OSError as error:
            raise PeerGone(*error.args) from None
        return True

    def pass_on(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise PeerGone(*error.args) from None

    def can_continue(self):
        """Whether the peer knows where this response ended."""
        return self.keep and (self.left == 0 or self.framing != self.LENGTH)


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


# --- the process ------------------------------------------------------------------------------


def serve(code, reloads):
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


class Refused(Exception):
    """There is no app to serve: one line for the operator."""


def refuse(sentence, status_fd):
    """Ends the start."""
    try:
        os.write(status_fd, ("STATUS=%s\n" % sentence.replace("\n", " ")).encode())
    except OSError:
        pass
    sys.stderr.write(sentence + "\n")
    sys.exit(1)


def split(entry):
    """File or module, and attribute, of an entry."""
    path, found, attribute = entry.rpartition(".py:")
    if found:
        return path + ".py", attribute
    if entry.endswith(".py"):
        return entry, ""
    name, _, attribute = entry.partition(":")
    return name, attribute


def directory_of(entry):
    """Where the app's own modules are looked for."""
    name, _ = split(entry)
    return os.path.dirname(os.path.abspath(name)) if name.endswith(".py") else os.getcwd()


def load(entry):
    """Imports the entry and finds its app; or refuses, in the operator's words."""
    name, attribute = split(entry)
    is_file = name.endswith(".py")
    path = os.path.abspath(name)
    directory = directory_of(entry)
    module_name = os.path.basename(name)[:-3] if is_file else name
    try:
        if is_file:
            if module_name in sys.modules:
                module_name = "app_" + module_name
            spec = importlib.util.spec_from_file_location(module_name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (name == missing or name.startswith(missing + ".")):
            raise Refused("there is no module %s in %s" % (missing, directory))
        traceback.print_exc()
        package = missing.partition(".")[0]
        raise Refused(
            "%s needs the module %s, which is not installed; install it with `pip install %s`"
            % (name, missing, package)
        )
    except SystemExit as error:
        raise Refused("%s ended while it was imported (exit status %s)" % (name, error.code))
    except BaseException as error:
        traceback.print_exc()
        raise Refused("%s cannot be imported: %s: %s" % (name, type(error).__name__, error))
    return find(module, name, module_name, attribute)


def find(module, name, module_name, attribute):
    """The app in a module: the attribute named, else `application`, else `app`."""
    if attribute:
        factory = attribute.endswith("()")
        app = module
        for part in attribute[:-2].split(".") if factory else attribute.split("."):
            app = getattr(app, part, None)
        if app is None:
            raise Refused("%s has no %s" % (name, attribute))
        if factory:
            try:
                app = app()
            except BaseException as error:
                traceback.print_exc()
                raise Refused("%s in %s failed: %r" % (attribute, name, error))
    else:
        attribute = "application" if hasattr(module, "application") else "app"
        app = getattr(module, attribute, None)
        if app is None:
            raise Refused(
                "%s has neither `application` nor `app`; name the WSGI callable: %s:NAME"
                % (name, name)
            )
    if not callable(app):
        raise Refused("%s in %s cannot be called: it is no WSGI app" % (attribute, name))
    code = getattr(app, "__code__", None) or getattr(type(app).__call__, "__code__", None)
    if code is not None and code.co_flags & 0x80:  # a coroutine function
        raise Refused(
            "%s in %s is an ASGI app, which needs the package uvicorn: `pip install uvicorn`, "
            "then start it as the command `uvicorn --fd {fd} %s:%s`"
            % (attribute, name, module_name, attribute)
        )
    return app


class Code:
    """The app, and how it is loaded anew from files that have changed."""

    def __init__(self, entry):
        self.entry = entry
        self.directory = directory_of(entry)
        self.app = load(entry)

    def is_own(self, module):
        """Whether a module is the app's, and not that of an installed package."""
        path = getattr(module, "__file__", None)
        if not path:
            # A package without a file of its own: where its parts are says whose it is.
            path = next(iter(getattr(module, "__path__", ())), None)
        if not path or not os.path.isabs(path):
            return False
        below = os.path.relpath(path, self.directory).split(os.sep)
        return below[0] != os.pardir and not PACKAGES.intersection(below)

    def reload(self):
        """Imports the app's modules again. If that fails, the last good ones go on serving."""
        before = {name: module for name, module in sys.modules.items() if self.is_own(module)}
        for name in before:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            self.app = load(self.entry)
        except Refused as error:
            for name, module in list(sys.modules.items()):
                if self.is_own(module):
                    del sys.modules[name]
            sys.modules.update(before)
            sys.stderr.write("%s; the last good version goes on serving\n" % error)
        else:
            sys.stderr.write("reloaded %s\n" % self.entry)
        sys.stderr.flush()
        gc.collect()


# Where installed packages are, also below the app's own directory.
PACKAGES = {"site-packages", "dist-packages", ".venv", "node_modules"}


def main():
    status_fd = int(os.environ.get("RIP_STATUS_FD", "-1"))
    if status_fd >= 0:
        os.set_inheritable(status_fd, False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable()  # a worker that hangs is aborted so that it can tell where
    reload = os.environ.get("RIP_RELOAD", "none")
    if reload != "none":
        # Compiled files are taken for those of a source of the same size and second, which a file
        # that was just saved twice easily is.
        sys.dont_write_bytecode = True
    entry = sys.argv[1]
    directory = directory_of(entry)
    if getattr(sys.flags, "safe_path", False) or not sys.path:
        sys.path.insert(0, directory)
    else:
        sys.path[0] = directory  # in place of the directory of this adapter
    sys.argv = [split(entry)[0]]
    try:
        code = Code(entry)
    except Refused as error:
        refuse(str(error), status_fd)
    # What the app has loaded stays: the collector need not look at it again and again.
    gc.collect()
    if reload != "module":
        gc.freeze()
    serve(code, reload == "module")


if __name__ == "__main__":
    main()
