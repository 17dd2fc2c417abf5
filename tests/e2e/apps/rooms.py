"""An app of WebSocket clients that does as it is told, and writes down what it was asked.

A WSGI app. Each POST of the edge's becomes one JSON line in `$RECORD/posts` before it is answered.
The query of a client's URL says how these are answered:

    open=JSON close=JSON subscribe=JSON   with these instructions; nothing otherwise
    status=N location=URL                 `open` with this status
    raw=TEXT                              `open` with this text, whatever it is
    protocol=NAME                         `open` with this subprotocol
    gate=NAME                             `open` not before that file is in `$RECORD`

What a client says in a text is the answer, unless it is an order:

    !status N   !raw TEXT   !sleep SECONDS [ANSWER]   !die   !gate NAME [ANSWER]   !size N
    !echo TEXT  the text as it is, with the worker that answers: "ID: TEXT"

Binary messages come back. The path `/realtime` is a page of the app's own.
"""

import base64
import json
import os
import signal
import time
import urllib.parse

RECORD = os.environ["RECORD"]
WORKER = os.environ["RIP_WORKER_ID"]
REALTIME_AT = os.environ.get("REALTIME_AT", "/v1/realtime")
POSTS = os.open(os.path.join(RECORD, "posts"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if path != REALTIME_AT or "HTTP_RIP_CLIENT_ID" not in environ:
        return answer(start_response, f"page of {path}".encode(), kind="text/plain")
    word = environ["HTTP_SEC_WEBSOCKET_FRAME"]
    record(environ, word, body)
    wish = urllib.parse.parse_qs(environ.get("HTTP_RIP_REALTIME_QUERY", ""))
    wish = {name: values[0] for name, values in wish.items()}
    if word == "open":
        if "gate" in wish:
            wait_for(wish["gate"])
        more = [("Location", wish["location"])] if "location" in wish else []
        if "protocol" in wish:
            more.append(("Sec-WebSocket-Protocol", wish["protocol"]))
        text = wish.get("raw", wish.get("open", "{}"))
        return answer(start_response, text.encode(), wish.get("status", "200"), more=more)
    if word in ("close", "subscribe"):
        return answer(start_response, wish.get(word, "{}").encode())
    if word == "binary":
        return answer(start_response, json.dumps({"$binary": base64.b64encode(body).decode()}).encode())
    text = body.decode()
    if not text.startswith("!"):
        return answer(start_response, body)
    order, _, rest = text.partition(" ")
    first, _, then = rest.partition(" ")
    if order == "!status":
        return answer(start_response, b'{"never": "told"}', first)
    if order == "!sleep":
        time.sleep(float(first))
        return answer(start_response, (then or "{}").encode())
    if order == "!gate":
        wait_for(first)
        return answer(start_response, (then or "{}").encode())
    if order == "!die":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "!size":
        return answer(start_response, json.dumps({"$text": "x" * int(first)}).encode())
    if order == "!echo":
        return answer(start_response, json.dumps({"$text": f"{WORKER}: {rest}"}).encode())
    return answer(start_response, rest.encode())


def answer(start_response, body, status="200", kind="application/json", more=()):
    start_response(f"{status} Told", [("Content-Type", kind), ("Content-Length", str(len(body))), *more])
    return [body]


def record(environ, word, body):
    fields = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    line = {"word": word, "client": environ["HTTP_RIP_CLIENT_ID"], "method": environ["REQUEST_METHOD"],
            "body": body.decode("latin-1"), "fields": fields, "worker": int(WORKER)}
    os.write(POSTS, (json.dumps(line) + "\n").encode())


def wait_for(gate):
    while not os.path.exists(os.path.join(RECORD, gate)):
        time.sleep(0.005)
