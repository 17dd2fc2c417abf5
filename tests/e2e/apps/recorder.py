"""An HTTP/1.1 server on the inherited listener that writes down every request it sees.

Each request becomes one JSON line in `$RECORD/seen` before it is answered, and another before the
last bytes of its answer are sent: lines of requests that follow each other stand in their order.
The query of its target says how it is answered. Gates are files in `$RECORD`: a step that names one
waits until the test creates it.

    status=N field=Name:Value type=T     the head of the answer
    size=N | echo=1 | text=T | count=N   the body: N bytes, the request's own, a text, N stamps
    tell=1                               the body says in JSON who answers, and what it was asked
    framing=length|chunked|close         how the body is delimited
    gap=SECONDS gate_between=NAME        pause (or gate) before each stamp after the first
    sleep=SECONDS gate=NAME              before the head of the answer
    gate_after_head=NAME                 between the head and the body
    busy=NAME draining=NAME              503 with the internal field while that file exists
    die=before|head|body                 the process kills itself there
    exit=N                               it says so on stderr and ends with this status instead
    drop=before|head|body                the connection is closed there
    raw=BYTES | rawbody=1                exactly these bytes, or those of the request's body, and
                                         the connection is closed
    early=1                              a 103 first
    unread=1                             the answer comes, and the end, before the body is read
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse

RECORD = os.environ["RECORD"]
SEEN = os.open(os.path.join(RECORD, "seen"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def main():
    if "START_GATE" in os.environ:
        wait_for(os.environ["START_GATE"])
    if "DIE_AT_START" in os.environ:
        print(os.environ["DIE_AT_START"], file=sys.stderr, flush=True)
        sys.exit(3)
    print("recorder starts", flush=True)
    listener = socket.socket(fileno=3)
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    stream = connection.makefile("rb", buffering=65536)
    try:
        while True:
            request = read_request(stream)
            if request is None or not answer(connection, *request):
                return
    except (ConnectionError, BrokenPipeError) as error:
        record(event="cut", error=type(error).__name__)
    finally:
        stream.close()
        connection.close()


def read_request(stream):
    line = stream.readline()
    if not line:
        return None
    method, target, version = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    fields = []
    while True:
        line = stream.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            break
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    if "unread" in target:
        body = b""
    else:
        body = read_body(stream, {name.lower(): value for name, value in fields})
    path = target.partition("?")[0]
    if path != "/ready":
        record(event="request", method=method, target=target, version=version, fields=fields,
               bodyBytes=len(body))
    return method, target, fields, body


def read_body(stream, fields):
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while True:
            size = int(stream.readline().split(b";")[0], 16)
            body += stream.read(size)
            stream.readline()
            if size == 0:
                return bytes(body)
    return stream.read(int(fields.get("content-length", "0")))


def answer(connection, method, target, fields, body):
    path, _, query = target.partition("?")
    wish = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if path == "/ready":
        failing = os.path.exists(os.path.join(RECORD, "not-ready"))
        wish = {"status": "500" if failing else "200", "text": "ready"}
    for word, name in (("busy", "Rip-Worker-Busy"), ("draining", "Rip-Worker-Draining")):
        if word in wish and os.path.exists(os.path.join(RECORD, wish[word])):
            head = f"HTTP/1.1 503 Later\r\n{name}: 1\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())
            return True
    if "gate" in wish:
        wait_for(wish["gate"])
    time.sleep(float(wish.get("sleep", "0")))
    if "exit" in wish:
        print(f"cannot go on: status {wish['exit']}", file=sys.stderr, flush=True)
        os._exit(int(wish["exit"]))
    if interrupted(connection, wish, "before"):
        return False
    if "raw" in wish:
        raw = dict(urllib.parse.parse_qsl(query, keep_blank_values=True, encoding="latin-1"))
        connection.sendall(raw["raw"].encode("latin-1"))
        return False
    if "rawbody" in wish:
        connection.sendall(body)
        return False
    if "early" in wish:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    if "tell" in wish:
        wish["text"] = json.dumps(tell(method, target, fields, body))
    pieces = body_pieces(wish, body)
    framing = wish.get("framing", "chunked" if "count" in wish else "length")
    head = [f"HTTP/1.1 {wish.get('status', '200')} Fine"]
    head.append(f"Content-Type: {wish.get('type', 'text/plain')}")
    for name, value in urllib.parse.parse_qsl(query):
        if name == "field":
            head.append(value)
    if framing == "length":
        pieces = list(pieces)
        head.append(f"Content-Length: {sum(map(len, pieces))}")
    elif framing == "chunked":
        head.append("Transfer-Encoding: chunked")
    else:
        head.append("Connection: close")
    connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
    if interrupted(connection, wish, "head"):
        return False
    if "gate_after_head" in wish:
        wait_for(wish["gate_after_head"])
    last = b""
    if method != "HEAD":
        for piece in filter(None, pieces):
            connection.sendall(last)
            last = b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunked" else piece
            if framing == "chunked" or "die" in wish or "drop" in wish:
                connection.sendall(last)
                last = b""
            if interrupted(connection, wish, "body"):
                return False
        if framing == "chunked":
            last = b"0\r\n\r\n"
    if path != "/ready":
        record(event="answered", target=target)
    connection.sendall(last)
    return framing != "close" and "unread" not in wish


def body_pieces(wish, body):
    if "echo" in wish:
        yield body
    elif "size" in wish:
        size = int(wish["size"])
        block = bytes(range(256)) * 256
        while size > 0:
            yield block[:size]
            size -= len(block)
    elif "count" in wish:
        for index in range(int(wish["count"])):
            if index > 0:
                if "gate_between" in wish:
                    wait_for(f"{wish['gate_between']}{index}")
                time.sleep(float(wish.get("gap", "0")))
            yield f"data: {time.time_ns()}\n\n".encode()
    else:
        yield wish.get("text", f"worker {os.environ['RIP_WORKER_ID']}\n").encode()


def tell(method, target, fields, body):
    import resource

    soft = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name.upper()))[0]
            for name in ("as", "nofile", "nproc", "core")}
    return {"app": os.environ["RIP_APP_ID"], "worker": int(os.environ["RIP_WORKER_ID"]),
            "pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid(), "limits": soft,
            "cwd": os.getcwd(), "mode": os.environ.get("MODE"), "home": os.environ.get("HOME"),
            "method": method, "target": target, "fields": fields, "bodyBytes": len(body)}


def interrupted(connection, wish, step):
    if wish.get("die") == step:
        os.kill(os.getpid(), signal.SIGKILL)
    if wish.get("drop") == step:
        connection.shutdown(socket.SHUT_RDWR)
        return True
    return False


def record(**line):
    line.update(worker=int(os.environ["RIP_WORKER_ID"]), pid=os.getpid())
    os.write(SEEN, (json.dumps(line) + "\n").encode())


def wait_for(gate):
    path = os.path.join(RECORD, gate)
    while not os.path.exists(path):
        time.sleep(0.005)


main()
