"""An app of turns: three pieces of text and an outcome. The server keeps everything."""

import json

PIECES = ["a ", "b ", "c"]


def application(environ, start_response):
    if environ["PATH_INFO"] != "/v1/turn":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return [b"ok\n"]
    body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    count = (body["state"] or {"turns": 0})["turns"] + 1
    lines = [{"type": "delta", "text": piece} for piece in PIECES]
    lines.append({"type": "outcome", "status": "finished", "state": {"turns": count},
                  "output": {"text": "".join(PIECES), "turns": count}})
    answer = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    start_response("200 OK", [("Content-Type", "application/x-ndjson"),
                              ("Content-Length", str(len(answer)))])
    return [answer]
