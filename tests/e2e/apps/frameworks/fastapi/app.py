import asyncio
import hashlib
import os
from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Form, Request, Response, UploadFile, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.middleware.sessions import SessionMiddleware
from starlette.websockets import WebSocketDisconnect

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="not a secret")

NUMBERS = bytes(i * 7 % 256 for i in range(1024 * 1024))


@app.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
def index():
    return "<!doctype html><title>Hello</title><h1>Hello</h1>"


@app.get("/greet", response_class=PlainTextResponse)
def greet(name: str):
    return f"Hello {name}"


@app.get("/path/{name}/x", response_class=PlainTextResponse)
def path(name: str):
    return name


@app.post("/form")
def form(name: Annotated[str, Form()], colour: Annotated[str, Form()]):
    return RedirectResponse("/form?" + urlencode({"name": name, "colour": colour}), 303)


@app.get("/form", response_class=PlainTextResponse)
def formed(name: str, colour: str):
    return f"{name} likes {colour}"


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]):
    content = await file.read()
    return {
        "name": file.filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": note,
    }


@app.post("/echo")
async def echo(request: Request):
    kind = {"content-type": request.headers["content-type"]}
    return Response(await request.body(), headers=kind)


@app.api_route("/method", methods=["PUT", "DELETE", "PATCH"], response_class=PlainTextResponse)
def method(request: Request):
    return request.method


@app.get("/download")
def download():
    attachment = {"Content-Disposition": 'attachment; filename="numbers.bin"'}
    return Response(NUMBERS, media_type="application/octet-stream", headers=attachment)


@app.get("/stream")
def stream():
    async def lines():
        for number in range(1, 6):
            if number > 1:
                await asyncio.sleep(0.1)
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/events")
def events():
    async def each():
        for number in range(1, 4):
            yield f"id: {number}\ndata: event {number}\n\n"

    return StreamingResponse(each(), media_type="text/event-stream")


@app.get("/cookie", response_class=PlainTextResponse)
def cookie(response: Response):
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return "two cookies"


@app.get("/session", response_class=PlainTextResponse)
def visits(request: Request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return str(request.session["visits"])


@app.get("/about")
def about(request: Request):
    return {
        "scheme": request.url.scheme,
        "host": request.url.netloc,
        "client": request.client.host,
        "path": request.url.path,
        "query": request.url.query,
        "userAgent": request.headers["user-agent"],
    }


@app.get("/error")
def error():
    raise RuntimeError("a mistake made on purpose")


@app.get("/who", response_class=PlainTextResponse)
def who():
    return str(os.getpid())


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") == "bye":
                await websocket.close(4001)
                break
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass
