"""A chat room. The server holds the WebSockets; this app hears of them as HTTP and answers in JSON.

It keeps nothing: who is here, and what was said, is the hub's. So it may have any number of
processes, and each may be replaced while people talk.
"""

import json
import pathlib
import urllib.parse

PAGE = (pathlib.Path(__file__).parent / "page.html").read_bytes()
ROOM = "/chat"


def application(environ, start_response):
    match environ["PATH_INFO"]:
        case "/":
            return answer(start_response, "text/html; charset=utf-8", PAGE)
        case "/ready":
            return answer(start_response, "text/plain", b"ready\n")
        case "/v1/realtime" if "HTTP_RIP_CLIENT_ID" in environ:
            said = json.dumps(hear(environ)).encode()
            return answer(start_response, "application/json", said)
    return answer(start_response, "text/plain", b"There is only one page here: /\n", "404 Not Found")


def hear(environ):
    """What becomes of a client that came, said something, or left."""
    query = urllib.parse.parse_qs(environ.get("HTTP_RIP_REALTIME_QUERY", ""))
    name = query.get("name", ["somebody"])[0][:40]
    match environ["HTTP_SEC_WEBSOCKET_FRAME"]:
        case "open":
            # Whoever connects joins the room, then everybody in it hears so.
            return [{"+": [ROOM]}, {"@": [ROOM], "came": name}]
        case "text":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
            return {"@": [ROOM], "from": name, "text": body.decode()[:2000]}
        case "close":
            return {"@": [ROOM], "left": name}
    return {}


def answer(start_response, media_type, body, status="200 OK"):
    start_response(status, [("Content-Type", media_type), ("Content-Length", str(len(body)))])
    return [body]
