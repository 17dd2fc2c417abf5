"""A client that knows each answer beforehand: one request after the other, fresh and kept connections, in the
clear and behind TLS, small and large bodies both ways.

    ledger.py HTTP-PORT HTTPS-PORT SECONDS

Says how many it asked, and what was wrong.
"""

import http.client
import json
import sys
import time

import contestant

SMALL, LARGE = b"x" * 2_000, b"y" * 3_000_000
# Method, path, body; what the answer must be: text, or a length.
ASKED = [
    ("GET", "/server", None, b"ok"),
    ("GET", "/", None, None),
    ("GET", "/python/", None, b"Hello, world!"),
    ("POST", "/python/", SMALL, str(len(SMALL)).encode()),
    ("POST", "/python/", LARGE, str(len(LARGE)).encode()),
    ("GET", "/files/1k.bin", None, 1024),
    ("GET", "/files/10m.bin", None, 10 * 1024 * 1024),
]


def ask(connection, method, path, body, expected):
    """What is wrong with the answer, or nothing."""
    connection.request(method, path, body)
    response = connection.getresponse()
    got = response.read()
    right = response.status == 200 and (
        expected is None or (len(got) if isinstance(expected, int) else got) == expected)
    return None if right else f"{method} {path}: {response.status}, {len(got)} bytes, {got[:80]!r}"


def main():
    http_port, https_port, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

    def plain():
        return http.client.HTTPConnection("127.0.0.1", http_port, timeout=60)

    def secure():
        return http.client.HTTPSConnection("127.0.0.1", https_port, timeout=60, context=contestant.believing())

    until, count, wrong = time.monotonic() + seconds, 0, []
    while time.monotonic() < until and len(wrong) < 10:
        for opened in (plain, secure):
            kept = opened()
            for words in ASKED:
                for connection in (kept, opened()):
                    count += 1
                    try:
                        said = ask(connection, *words)
                    except (OSError, http.client.HTTPException) as error:
                        said = f"{words[0]} {words[1]}: {error!r}"
                    if said:
                        wrong.append(said)
                    if connection is not kept:
                        connection.close()
            kept.close()
    print(json.dumps({"requests": count, "wrong": wrong}))


main()
