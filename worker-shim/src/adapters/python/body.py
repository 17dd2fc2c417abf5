"""Bodies of requests, read from the connection as the app asks for them."""

import io

RECV_BYTES = 65536
HEAD_BYTES = 128 * 1024


class Malformed(Exception):
    """The peer does not speak HTTP; its connection is of no use any more."""


class PeerGone(OSError):
    """Nobody is interested in this response any more."""


class NoBody(io.BufferedIOBase):
    """`wsgi.input` of a request without a body; one for all of them, so it cannot be closed."""

    def readable(self):
        return True

    def read(self, size=-1):
        return b""

    def read1(self, size=-1):
        return b""

    def readinto(self, into):
        return 0

    def readline(self, size=-1):
        return b""

    def readlines(self, hint=-1):
        return []

    def close(self):
        pass


class Body(io.RawIOBase):
    """A body that has not arrived as a whole yet. What is told of it here, its two forms share."""

    def __init__(self, sock, ahead, waits):
        self.sock = sock
        # What was read from the connection and not given on.
        self.ahead = ahead
        # The peer sends nothing before it is told to (`Expect: 100-continue`).
        self.waits = waits

    def readable(self):
        return True

    def receive(self, count):
        """Up to so many bytes from the connection, at least one."""
        try:
            if self.waits:
                self.waits = False
                self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = self.sock.recv(count)
        except OSError as error:
            raise PeerGone(*error.args) from None
        if not data:
            raise PeerGone("the connection ended inside the request's body")
        return data

    def skip(self):
        """Reads what the app has not; returns what was read beyond the body."""
        into = bytearray(RECV_BYTES)
        while self.readinto(into):
            pass
        return self.ahead


class KnownBody(Body):
    """A body of known length."""

    def __init__(self, sock, ahead, waits, length):
        super().__init__(sock, ahead, waits)
        self.left = length

    def piece(self, count):
        """The next bytes of the body: at most so many, none at its end."""
        count = min(count, self.left)
        if not count:
            return b""
        if self.ahead:
            piece, self.ahead = self.ahead[:count], self.ahead[count:]
        else:
            piece = self.receive(count)
        self.left -= len(piece)
        return piece

    def readinto(self, into):
        piece = self.piece(len(into))
        into[: len(piece)] = piece
        return len(piece)

    def readall(self):
        # In pieces as large as they come, not in the small ones of io.
        return b"".join(iter(lambda: self.piece(1 << 18), b""))


class ChunkedBody(Body):
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self, sock, ahead, waits):
        super().__init__(sock, ahead, waits)
        self.left = 0
        self.begun = False
        self.ended = False

    def readinto(self, into):
        if not self.left and not self.ended:
            self.next_chunk()
        count = min(len(into), self.left)
        if not count:
            return 0
        if not self.ahead:
            self.ahead = self.receive(RECV_BYTES)
        piece, self.ahead = self.ahead[:count], self.ahead[count:]
        into[: len(piece)] = piece
        self.left -= len(piece)
        return len(piece)

    def next_chunk(self):
        if self.begun and self.line():
            raise Malformed("a chunk is longer than its size")
        self.begun = True
        size = self.line().partition(b";")[0].strip(b" \t")
        if not size or size.strip(b"0123456789abcdefABCDEF"):
            raise Malformed("a chunk has no size")
        self.left = int(size, 16)
        if not self.left:
            while self.line():
                pass
            self.ended = True

    def line(self):
        while True:
            line, end, rest = self.ahead.partition(b"\r\n")
            if end:
                self.ahead = rest
                return line
            if len(self.ahead) > HEAD_BYTES:
                raise Malformed("a line without an end")
            self.ahead += self.receive(RECV_BYTES)
