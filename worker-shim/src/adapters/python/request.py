"""From the head of a request to its environ.

Two requests of a client differ in their first line, their id and their time, so all other fields are
looked up as pieces of text that stand for a finished part of the environ.
"""

import sys
from urllib.parse import unquote_to_bytes

# The characters of a token (RFC 9110, 5.6.2).
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

# As a number: a search for bytes first takes them for one, which raises and costs 1 800 instructions.
CR = 13

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
# The texts of fields, to the environ they stand for and whether the request is a simple one: without
# a body, and with nothing to say about its connection.
ENVIRONS = {}
# First lines, to what they say: method, version, target, path and query.
TARGETS = {}
CACHE_COUNT = 512
# What makes a request one that is not simple.
NOT_SIMPLE = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_CONNECTION")


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
    """The environ that lines of fields stand for, and whether the request is a simple one."""
    environ = BASE.copy()
    for line in text.decode("latin-1").split("\r\n") if text else ():
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
    # Whoever connects vouches for these; of many addresses only for the last.
    client = environ.get("HTTP_RIP_CLIENT") or environ.get("HTTP_X_FORWARDED_FOR")
    if client:
        environ["REMOTE_ADDR"] = client.rpartition(",")[2].strip()
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
        environ["wsgi.url_scheme"] = "https"
        environ["HTTPS"] = "on"
    host = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    environ["SERVER_NAME"] = name or "localhost"
    secure = environ["wsgi.url_scheme"] == "https"
    environ["SERVER_PORT"] = port or ("443" if secure else "80")
    return environ, not any(key in environ for key in NOT_SIMPLE)


def request(data):
    """The environ of the request that begins here, whether it is a simple one, and what is beyond its
    head. None when that is not complete."""
    # What the edge says last, id and time, is cut out: what is left is the same for many requests.
    before, _, rest = data.partition(b"\r\nX-Request-Id: ")
    ident, _, rest = rest.partition(b"\r\nX-Request-Start: ")
    time, ended, rest = rest.partition(b"\r\n\r\n")
    line, _, fields = before.partition(b"\r\n")
    if CR in time:
        time, _, after = time.partition(b"\r\n")
        fields = fields, after
    known = ENVIRONS.get(fields)
    if known is not None and ended and CR not in ident:
        environ, simple = known
        environ = environ.copy()
        environ["HTTP_X_REQUEST_ID"] = ident.decode()
        environ["HTTP_X_REQUEST_START"] = time.decode()
    else:
        head, ended, rest = data.partition(b"\r\n\r\n")
        if not ended:
            return None
        line, _, fields = head.partition(b"\r\n")
        environ, simple = unseen(fields)
    try:
        method, version, target, path, query = TARGETS[line]
    except KeyError:
        method, version, target, path, query = first_line(line)
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = version
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query
    return environ, simple and version == "HTTP/1.1", rest


def unseen(fields):
    """The environ of fields, and whether the request is a simple one. It is remembered without id and
    time, which have their places in it; where there is anything between the two it is not."""
    before, _, rest = (b"\r\n" + fields).partition(b"\r\nX-Request-Id: ")
    ident, _, rest = rest.partition(b"\r\nX-Request-Start: ")
    time, _, after = rest.partition(b"\r\n")
    before = before[2:]
    if not time or CR in ident or len(before) + len(after) > 4096:
        return environ_of(fields)
    environ, simple = environ_of(b"\r\n".join(filter(None, (before, after))))
    for key in (
        "HTTP_X_REQUEST_ID",
        "HTTP_X_REQUEST_START",
        "REQUEST_METHOD",
        "SERVER_PROTOCOL",
        "RAW_URI",
        "REQUEST_URI",
        "PATH_INFO",
        "QUERY_STRING",
    ):
        environ[key] = ""
    if len(ENVIRONS) >= CACHE_COUNT:
        ENVIRONS.clear()
    ENVIRONS[(before, after) if after else before] = environ, simple
    environ = environ.copy()
    environ["HTTP_X_REQUEST_ID"] = ident.decode()
    environ["HTTP_X_REQUEST_START"] = time.decode()
    return environ, simple


def first_line(line):
    """What a request's first line says."""
    try:
        method, target, version = line.decode("latin-1").split(" ")
    except ValueError:
        raise Malformed("the first line is not a request") from None
    if not version.startswith("HTTP/1."):
        raise Malformed("not HTTP/1")
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        path = path_of(path)
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    said = method, version, target, path, query
    if len(TARGETS) >= CACHE_COUNT:
        TARGETS.clear()
    if len(line) <= 256:
        TARGETS[line] = said
    return said


def path_of(target):
    """The path of a target that is not one: `http://host/path`, or `*`, which has none."""
    _, scheme, rest = target.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path if scheme else ""
