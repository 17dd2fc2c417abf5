"""An assistant that thinks aloud. The server holds the sessions; this app answers one POST a turn.

It keeps nothing: what was said so far comes in with each turn as `state`, and goes back with the
answer, in one piece with it. So it may have any number of processes, and each may be replaced, or die,
between two turns. It has no model either: its words are made up.
"""

import datetime
import json
import os
import pathlib
import re
import sys
import time

HERE = pathlib.Path(__file__).parent
PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/client.js": ("client.js", "text/javascript; charset=utf-8"),
}
# Between two words, in seconds.
PAUSE = float(os.environ.get("AGENT_PAUSE", "0.04"))
APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}},
    "required": ["approved"],
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    # Nobody outside can say that he is the edge.
    if path == "/v1/turn" and environ.get("HTTP_RIP_EDGE") == "turn":
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)))
        if body.get("wake") is None and not isinstance(said(body["input"]), (str, bool)):
            # A refusal reaches the client as it is, and nothing has happened.
            return answer(start_response, "422 Unprocessable Content", "application/json",
                          b'{"error":"say {\\"text\\":\\"...\\"} or {\\"approved\\":true}"}')
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return (b"data: %s\n\n" % json.dumps(event).encode()
                for event in turn(body, environ["HTTP_IDEMPOTENCY_KEY"]))
    if path == "/ready":
        return answer(start_response, "200 OK", "text/plain", b"ready\n")
    if path in PAGES:
        name, media_type = PAGES[path]
        return answer(start_response, "200 OK", media_type, (HERE / name).read_bytes())
    return answer(start_response, "404 Not Found", "text/plain", b"There is only one page here: /\n")


def turn(body, key):
    """The events of one turn. `key` is the same for every attempt of it."""
    state = body["state"] or {"messages": [], "waiting": None}
    messages, waiting = state["messages"], state["waiting"]
    wake, heard = body.get("wake"), said(body["input"])

    # What the user said is an event as well: who reads the events has the whole conversation.
    if wake is None:
        yield {"type": "record", "record": {"user": heard}}
        messages.append({"user": heard})

    wait = None
    if waiting and waiting["reason"] == "approval" and isinstance(heard, bool):
        if heard:
            send(waiting["mail"], key)
        words = "It is on its way." if heard else "Then I will not send it."
    elif wake is not None and waiting and waiting["reason"] == "timer":
        words = f"You wanted to be reminded: {waiting['about']}"
    elif wake is not None:
        words = "Somebody woke me, but I was not asleep."
    elif found := re.search(r"\bsend\b.*\be-?mail\b(?: to (\S+))?", str(heard), re.IGNORECASE):
        mail = {"to": found[1] or "ann@example.com", "text": messages[0]["user"]}
        words = "I have written it. May it go?"
        wait = {"id": key, "reason": "approval", "message": f"Send the e-mail to {mail['to']}?",
                "responseSchema": APPROVAL, "mail": mail}
    elif found := re.search(r"\bremind me in (\d+) seconds?(?: (?:to|of|about) (.*))?", str(heard),
                            re.IGNORECASE):
        until = datetime.datetime.now(datetime.timezone.utc)
        until += datetime.timedelta(seconds=int(found[1]))
        words = "I will."
        # The server wakes us then, also when it was restarted meanwhile.
        wait = {"id": key, "reason": "timer", "about": found[2] or "this",
                "until": until.isoformat()}
    elif isinstance(heard, bool):
        words = "There is nothing to approve."
    else:
        count = sum("user" in message for message in messages)
        words = f"You have said {count} things so far, the last of them: {heard}"
    # A wait ends with the next turn, and its timer with it: who is to be reminded is so still.
    if wake is None and wait is None and waiting and waiting["reason"] == "timer":
        wait = waiting

    for word in re.findall(r"\S+\s*", words):
        time.sleep(PAUSE)
        yield {"type": "delta", "text": word}
    messages.append({"assistant": words})
    state = {"messages": messages, "waiting": wait}
    end = {"type": "outcome", "state": state}
    if wait:
        yield {**end, "status": "parked", "wait": wait}
    else:
        yield {**end, "status": "finished", "output": {"text": words}}


def said(heard):
    """What the user said: a text, or a decision."""
    return heard["approved"] if "approved" in heard else heard.get("text")


def send(mail, key):
    """A turn may run twice, if a process or the machine dies in the middle. Who is told the key, as
    every good API of mail is, sends once."""
    print(f"to {mail['to']}: {mail['text']} (idempotency key {key})", file=sys.stderr, flush=True)


def answer(start_response, status, media_type, body):
    start_response(status, [("Content-Type", media_type), ("Content-Length", str(len(body)))])
    return [body]
