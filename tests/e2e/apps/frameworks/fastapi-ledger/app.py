"""Writes down every execution of a request by its number, and answers with what it received.

The path of a request ends in `/KIND/NUMBER`. Each execution becomes one line in
`$RECORD/executed-wID`, written before the answer begins: number, method, bytes and checksum of the
body, worker, pid, microseconds, app. Its release is what the file `release` beside this one holds.

    ms=N            the answer takes so long
    pieces=N gap=S  the answer is a stream of so many pieces with pauses between them
"""

import asyncio
import os
import time
import zlib
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

APP = os.environ["RIP_APP_ID"]
WORKER = os.environ["RIP_WORKER_ID"]
BOOK = os.open(
    os.path.join(os.environ["RECORD"], "executed-w" + WORKER),
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    0o600,
)
FILE = Path(__file__).with_name("release")
RELEASE = FILE.read_text().strip() if FILE.exists() else "1"

app = FastAPI()


@app.get("/ready", response_class=PlainTextResponse)
def ready():
    return "ready"


@app.get("/{path:path}/{number}")
@app.post("/{path:path}/{number}")
async def execute(request: Request, number: int, ms: float = 0, pieces: int = 0, gap: float = 0):
    body = await request.body()
    checksum = zlib.adler32(body)
    who = [WORKER, os.getpid(), time.time_ns() // 1000, APP]
    line = [number, request.method, len(body), checksum, *who]
    os.write(BOOK, (" ".join(map(str, line)) + "\n").encode())
    if pieces:
        return StreamingResponse(stream(number, pieces, gap), media_type="text/event-stream")
    await asyncio.sleep(ms / 1000)
    return {
        "number": number,
        "method": request.method,
        "bytes": len(body),
        "checksum": checksum,
        "worker": int(WORKER),
        "app": APP,
        "release": RELEASE,
    }


async def stream(number, pieces, gap):
    for index in range(pieces):
        yield f"data: {number} {index}\n\n"
        await asyncio.sleep(gap)
    yield f"data: {number} end {WORKER} {APP} {RELEASE}\n\n"
