"""What the app says, made into a response."""

import io
import os
import stat

# A body up to this size leaves in the same system call as its head.
JOINED_BYTES = 65536


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
