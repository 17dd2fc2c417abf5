"""From the head of a request to its environ.

Two requests of a client differ in their first line, their id and their time, so all other fields are
looked up as one piece of text that stands for a finished part of the environ.
"""

import sys
from urllib.parse import unquote_to_bytes

# The characters of a token (RFC 9110, 5.6.2).
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

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
