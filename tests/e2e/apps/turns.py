"""An app of durable sessions: an HTTP/1.1 server on the inherited listener that answers turns as their
input says, and writes down each before it answers.

A turn is one JSON line in `$RECORD/turns`; another follows when its answer is out (`"event":"ended"`)
or nobody wants it any more (`"event":"cut"`). Gates are files in `$RECORD`: a step that names one waits
until the test creates it, or the edge lets go of the connection. Other paths than `$TURN_AT` answer
`page of PATH`. The input is the answer's plan, a JSON object:

    {}                          finished; the output tells who answered and what it was asked, and the
                                state counts the turns: {"count": N, "last": INPUT}
    {"answer": JSON}            this JSON, whatever it is
    {"body": TEXT, "times": N}  this text, so often (1)
    {"grow": MEMBER, "size": N} finished; the JSON of this member of the answer takes N bytes
    {"steps": [STEP…]}          a stream (`"form"`: "sse", the default, or "ndjson")
    {"status": N, "media": T, "fields": [[NAME, VALUE]…]}     the head of any of these
    {"gate": NAME, "deaf": true}                             before the head; deaf: even if let go of
    {"die": true} | {"drop": true}                           before the head
    {"unless": GATE, …}         503 with these fields while that file exists, else as if it said only `{}`
    {"attempts": [PLAN…]}       a plan for each attempt of the turn; the last for all others

    STEP: "TEXT"                a delta with that text
          {"type": …}           this event
          {"raw": TEXT}         this text
          {"gate": NAME, "deaf"?} {"die": true} {"drop": true}
          {"many": N, "size": M}     N deltas of M characters
          {"outcome": {…}}      an outcome with these members
          {"end": true}         nothing: the stream ends without an outcome

A stream whose last step is a delta, a record or a pause is followed by the plain outcome of `{}`. The plan
of a turn that was woken is `wake["plan"]`.
"""

import json
import os
import select
import signal
import socket
import threading
import time

RECORD = os.environ["RECORD"]
TURN_AT = os.environ.get("TURN_AT", "/v1/turn")
TURNS = os.open(os.path.join(RECORD, "turns"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class LetGo(Exception):
    """The edge does not want the answer any more."""


class Dropped(Exception):
    """The plan ends the connection."""


def main():
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
            if request is None:
                return
            answer(connection, *request)
    except (Dropped, ConnectionError):
        pass
    finally:
        stream.close()
        connection.close()


def read_request(stream):
    line = stream.readline()
    if not line:
        return None
    method, target, _ = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    fields = []
    while True:
        line = stream.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            break
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    own = {name.lower(): value for name, value in fields}
    if own.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while True:
            size = int(stream.readline().split(b";")[0], 16)
            body += stream.read(size)
            stream.readline()
            if size == 0:
                break
    else:
        body = stream.read(int(own.get("content-length", "0")))
    return method, target, fields, own, bytes(body)


def answer(connection, method, target, fields, own, body):
    if target.partition("?")[0] != TURN_AT or own.get("rip-edge") != "turn":
        text = f"page of {target}".encode()
        connection.sendall(head(200, "text/plain", [("Content-Length", len(text))]) + text)
        return
    asked = json.loads(body)
    turn = {"session": own["rip-session-id"], "turn": int(own["rip-turn"]),
            "attempt": int(own["rip-turn-attempt"])}
    record(event="turn", **turn, method=method, target=target, fields=fields, **asked)
    plan = asked.get("wake", {}).get("plan", {}) if "wake" in asked else asked["input"]
    if "attempts" in plan:
        plan = plan["attempts"][min(turn["attempt"], len(plan["attempts"])) - 1]
    if "unless" in plan:
        is_full = os.path.exists(os.path.join(RECORD, plan["unless"]))
        plan = {"status": 503, "body": "", "fields": plan["fields"]} if is_full else {}
    try:
        step(connection, plan)
        (tell_steps if "steps" in plan else tell_whole)(connection, plan, asked, turn)
    except (LetGo, ConnectionError) as reason:
        record(event="cut", **turn, reason=type(reason).__name__)
        raise Dropped from None
    record(event="ended", **turn)


def tell_whole(connection, plan, asked, turn):
    if "body" in plan:
        text, kind = plan["body"] * plan.get("times", 1), "text/plain"
    elif "grow" in plan:
        text = json.dumps({"status": "finished", plan["grow"]: "x" * (plan["size"] - 2)})
        kind = "application/json"
    else:
        text, kind = json.dumps(plan["answer"] if "answer" in plan else plain(asked, turn)), "application/json"
    text = text.encode()
    more = [*plan.get("fields", []), ("Content-Length", len(text))]
    connection.sendall(head(plan.get("status", 200), plan.get("media", kind), more) + text)


def tell_steps(connection, plan, asked, turn):
    is_lines = plan.get("form") == "ndjson"
    kind = "application/x-ndjson" if is_lines else "text/event-stream"
    more = [*plan.get("fields", []), ("Transfer-Encoding", "chunked")]
    connection.sendall(head(plan.get("status", 200), plan.get("media", kind), more))

    def send(text):
        data = text.encode()
        connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def tell(event):
        text = json.dumps(event)
        send(f"{text}\n" if is_lines else f"data: {text}\n\n")

    for one in plan["steps"]:
        if isinstance(one, str):
            tell({"type": "delta", "text": one})
        elif "type" in one:
            tell(one)
        elif "raw" in one:
            send(one["raw"])
        elif "many" in one:
            for number in range(one["many"]):
                tell({"type": "delta", "text": f"{number} ".ljust(one.get("size", 1), "x")})
        elif "outcome" in one:
            tell({"type": "outcome", **one["outcome"]})
        else:
            step(connection, one)
    last = plan["steps"][-1] if plan["steps"] else {}
    is_plain = isinstance(last, str) or last.get("type", "record") in ("delta", "record")
    if is_plain and not {"raw", "outcome", "end"} & set(last):
        tell({"type": "outcome", **plain(asked, turn)})
    connection.sendall(b"0\r\n\r\n")


def plain(asked, turn):
    count = asked["state"]["count"] if isinstance(asked["state"], dict) else 0
    own = {"count": count + 1, "last": asked["input"]}
    told = {**asked, **turn, "worker": int(os.environ["RIP_WORKER_ID"]), "pid": os.getpid(),
            "generation": int(os.environ["RIP_GENERATION"])}
    return {"status": "finished", "output": told, "state": own}


def step(connection, one):
    """What a plan or a step does before it is answered."""
    if "gate" in one:
        wait_for(connection, one["gate"], one.get("deaf", False))
    if one.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if one.get("drop"):
        raise Dropped


def head(status, kind, fields):
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def record(**line):
    line.update(worker=int(os.environ["RIP_WORKER_ID"]), pid=os.getpid(),
                generation=int(os.environ["RIP_GENERATION"]))
    os.write(TURNS, (json.dumps(line) + "\n").encode())


def wait_for(connection, gate, is_deaf):
    path = os.path.join(RECORD, gate)
    while not os.path.exists(path):
        if is_deaf:
            time.sleep(0.005)
        elif select.select([connection], [], [], 0.005)[0]:
            # Nobody sends a second request before the first is answered: this is the end.
            raise LetGo


main()
