"""What the app says, made into a response."""

import errno
import io
import os
import re
import stat
import sys

# A body up to this size leaves in the same system call as its head.
JOINED_BYTES = 65536
# What a file system says that the kernel cannot send from.
NOT_SENT_BY_KERNEL = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW)


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
# About the connection, which is not the app's. They are left out: apps that say `keep-alive` or
# `chunked` mean well.
CONNECTION_FIELDS = frozenset(
    "connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)
# Those of them that somebody was told of.
TOLD = set()
CONTROLS = re.compile("[\0-\x08\x0a-\x1f\x7f]")


def status_of(status):
    if type(status) is not str or not re.match(r"[2-9][0-9][0-9]( |\Z)", status):
        raise ValueError("status %r is not like '200 OK'" % (status,))
    if CONTROLS.search(status):
        raise ValueError("status %r cannot be sent" % (status,))
    code = status[:3]
    found = ("HTTP/1.1 %s %s\r\n" % (code, status[4:])).encode("latin-1"), code not in ("204", "304")
    if len(STATUSES) < CACHE_COUNT:
        STATUSES[status] = found
    return found


def line_of(pair):
    try:
        name, value = pair
        sound = TOKEN.issuperset(name) and name != "" and not CONTROLS.search(value)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError("header %r is not a name and a value that can be sent" % (pair,))
    lower = name.lower()
    length = None
    if lower in CONNECTION_FIELDS:
        line = b""
        if lower not in TOLD:
            TOLD.add(lower)
            sys.stderr.write(
                "the app sends %s: %s, which is about the connection, and is left out\n" % (name, value)
            )
    elif lower == "content-length":
        if not (value.isascii() and value.isdigit()):
            raise ValueError("Content-Length %r is not a number" % (value,))
        length = int(value)
        line = b"Content-Length: %d\r\n" % length
    else:
        line = ("%s: %s\r\n" % (name, value)).encode("latin-1")
    if len(LINES) >= CACHE_COUNT:
        LINES.clear()
    if type(pair) is tuple and len(value) <= 256:
        LINES[pair] = line, length
    return line, length


class Response:
    """What the app has said so far, and how much of it has been sent. What it starts with belongs to the
    class: to make one sets nothing but what is other than that."""

    # framings, once the head was sent
    BODYLESS, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)

    sock = None
    # The request was HEAD; it was HTTP/1.0; the connection is of use after this.
    to_head = False
    old = False
    keep = True
    # What `start_response` said: the head's lines so far, whether it forbids a body, and the body's
    # length.
    lines = None
    bodyless = False
    declared = None
    # The head was.
    sent = False
    framing = BODYLESS
    left = 0
    # The app had more to say than its Content-Length.
    excess = False

    def start(self, status, headers, exc_info=None):
        """`start_response`. What it cannot take it tells the app at once."""
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.lines is not None:
            raise AssertionError("start_response was called a second time without exc_info")
        try:
            line, can_have_body = STATUSES[status]
        except (KeyError, TypeError):
            line, can_have_body = status_of(status)
        lines = [line]
        declared = None
        for pair in headers:
            try:
                line, length = LINES[pair]
            except (KeyError, TypeError):
                line, length = line_of(pair)
            if length is not None:
                if declared is not None and declared != length:
                    raise ValueError("there are two values of Content-Length")
                if declared is not None or status.startswith("204"):
                    continue
                declared = length
            lines.append(line)
        self.bodyless = not can_have_body
        self.declared = declared
        self.lines = lines
        return self.write

    def write(self, data):
        """What `start_response` returns: sends at once, the head also before nothing."""
        if data or self.sent:
            self.send(data)
        elif not isinstance(data, bytes):
            raise TypeError("the body is made of bytes, not of %s" % type(data).__name__)
        else:
            self.pass_on(b"".join(self.head(None)))
        if self.excess:
            raise ValueError("more was written than Content-Length says")

    def head(self, known):
        """The head's lines; `known` is the body's length where the app need not declare it."""
        lines = self.lines
        if lines is None:
            raise AssertionError("the app answered without calling start_response")
        length = self.declared
        if length is None and known is not None and not self.bodyless:
            length = known
            lines.append(b"Content-Length: %d\r\n" % length)
        self.sent = True
        if self.to_head or self.bodyless:
            self.framing = self.BODYLESS
        elif length is not None:
            self.framing = self.LENGTH
            self.left = length
        elif self.old:
            self.framing = self.UNTIL_CLOSE
            self.keep = False
        else:
            self.framing = self.CHUNKED
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep:
            lines.append(b"Connection: close\r\n")
        elif self.old:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return lines

    def whole(self, body):
        """Sends head and body, when nothing was sent before."""
        if not isinstance(body, bytes):
            raise TypeError("the body is made of bytes, not of %s" % type(body).__name__)
        size = len(body)
        # to HEAD an empty body says nothing about how long it would have been
        lines = self.head(size if size or not self.to_head else None)
        if self.framing == self.LENGTH:
            if size != self.left:
                self.excess = size > self.left
                body = body[: self.left]
                size = len(body)
            self.left -= size
            if size <= JOINED_BYTES:
                lines.append(body)
                body = None
        else:
            body = None
        self.pass_on(b"".join(lines))
        if body is not None:
            self.pass_on(body)

    def send(self, data):
        """Sends a piece of the body, and the head before the first that is not empty.

        Returns whether there is any use in another piece.
        """
        if not isinstance(data, bytes):
            raise TypeError("the body is made of bytes, not of %s" % type(data).__name__)
        if not data:
            return True
        head = b""
        if not self.sent:
            head = b"".join(self.head(None))
        if self.framing == self.LENGTH:
            if len(data) > self.left:
                self.excess = True
                data = data[: self.left]
            self.left -= len(data)
        elif self.framing == self.CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self.framing == self.BODYLESS:
            data = b""
        if not head:
            if data:
                self.pass_on(data)
        elif len(data) <= JOINED_BYTES:
            self.pass_on(head + data)
        else:
            self.pass_on(head)
            self.pass_on(data)
        return self.framing != self.BODYLESS and not self.excess

    def end(self):
        """The body is complete."""
        if not self.sent:
            self.whole(b"")
        elif self.framing == self.CHUNKED:
            self.pass_on(b"0\r\n\r\n")

    def file(self, wrapper):
        """Lets the kernel send a file; False when it is none, or one the kernel cannot send."""
        extent = None if self.sent else wrapper.extent()
        if extent is None:
            return False
        fd, offset, count = extent
        self.pass_on(b"".join(self.head(count)))
        if self.framing == self.BODYLESS:
            return True
        self.excess = count > self.left
        count = min(count, self.left)
        while count:
            try:
                done = os.sendfile(self.sock.fileno(), fd, offset, count)
            except ConnectionError as error:
                raise PeerGone(*error.args) from None
            except OSError as error:
                if error.errno not in NOT_SENT_BY_KERNEL:
                    raise
                data = os.pread(fd, min(count, JOINED_BYTES), offset)
                self.pass_on(data)
                done = len(data)
            if not done:
                break
            offset += done
            count -= done
            self.left -= done
        return True

    def pass_on(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise PeerGone(*error.args) from None
