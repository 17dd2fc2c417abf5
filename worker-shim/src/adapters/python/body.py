"""Bodies of requests, read from the connection as the app asks for them."""

import io

RECV_BYTES = 65536
HEAD_BYTES = 128 * 1024


class Malformed(Exception):
    """The peer does not speak HTTP; its connection is of no use any more."""


class PeerGone(OSError):
    """Nobody is interested in this response any more."""


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
