"""Writes down every execution of a request by its number, and answers with what it received: the app
of `ledger.py` in the words of Flask. Its release is what the file `release` says when it starts.
"""

import os
import time
import zlib
from pathlib import Path

from flask import Flask, Response, request

app = Flask(__name__)

NAME = os.environ["RIP_APP_ID"]
WORKER = os.environ["RIP_WORKER_ID"]
BOOK = os.path.join(os.environ["RECORD"], "executed-w" + WORKER)
RELEASE_FILE = Path(__file__).with_name("release")
RELEASE = RELEASE_FILE.read_text().strip() if RELEASE_FILE.exists() else "1"


def write_down(*words):
    book = os.open(BOOK, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(book, (" ".join(map(str, words)) + "\n").encode())
    os.close(book)


@app.get("/ready")
def ready():
    return "ready"


@app.route("/<kind>/<int:number>", methods=["GET", "POST"])
def execute(kind, number):
    body = request.get_data()
    checksum = zlib.adler32(body)
    now = time.time_ns() // 1000
    write_down(number, request.method, len(body), checksum, WORKER, os.getpid(), now, NAME)
    if "pieces" in request.args:
        pieces, gap = int(request.args["pieces"]), float(request.args["gap"])
        return Response(stream(number, pieces, gap), mimetype="text/event-stream")
    time.sleep(float(request.args.get("ms", 0)) / 1000)
    return {
        "number": number,
        "method": request.method,
        "bytes": len(body),
        "checksum": checksum,
        "worker": int(WORKER),
        "app": NAME,
        "release": RELEASE,
    }


def stream(number, pieces, gap):
    for index in range(pieces):
        yield f"data: {number} {index}\n\n"
        time.sleep(gap)
    yield f"data: {number} end {WORKER} {NAME} {RELEASE}\n\n"
