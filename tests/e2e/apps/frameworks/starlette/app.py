import asyncio
import contextlib
import hashlib
import os
import tempfile
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute


async def index(request):
    return HTMLResponse("<!doctype html><title>Hello</title><h1>Hello</h1>")


async def greet(request):
    return PlainTextResponse("Hello " + request.query_params["name"])


async def path(request):
    return PlainTextResponse(request.path_params["name"])


async def form(request):
    if request.method == "POST":
        async with request.form() as said:
            query = urlencode({"name": said["name"], "colour": said["colour"]})
        return RedirectResponse("/form?" + query, 303)
    said = request.query_params
    return PlainTextResponse(said["name"] + " likes " + said["colour"])


async def upload(request):
    async with request.form() as said:
        content = await said["file"].read()
        return JSONResponse(
            {
                "name": said["file"].filename,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "note": said["note"],
            }
        )


async def echo(request):
    kind = {"content-type": request.headers["content-type"]}
    return Response(await request.body(), headers=kind)


async def method(request):
    return PlainTextResponse(request.method)


async def download(request):
    return FileResponse(request.state.numbers, filename="numbers.bin")


async def stream(request):
    async def lines():
        for number in range(1, 6):
            if number > 1:
                await asyncio.sleep(0.1)
            yield f"line {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def events(request):
    async def each():
        for number in range(1, 4):
            yield f"id: {number}\ndata: event {number}\n\n"

    return StreamingResponse(each(), media_type="text/event-stream")


async def cookie(request):
    response = PlainTextResponse("two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return PlainTextResponse(str(request.session["visits"]))


async def about(request):
    return JSONResponse(
        {
            "scheme": request.url.scheme,
            "host": request.headers["host"],
            "client": request.client.host,
            "path": request.url.path,
            "query": request.url.query,
            "userAgent": request.headers["user-agent"],
        }
    )


async def error(request):
    raise RuntimeError("a mistake made on purpose")


async def who(request):
    return PlainTextResponse(str(os.getpid()))


class Echo(WebSocketEndpoint):
    async def on_receive(self, websocket, data):
        if data == "bye":
            await websocket.close(4001)
        elif isinstance(data, str):
            await websocket.send_text(data)
        else:
            await websocket.send_bytes(data)

    async def decode(self, websocket, message):
        return message["text"] if message.get("text") is not None else message["bytes"]


@contextlib.asynccontextmanager
async def lifespan(app):
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(i * 7 % 256 for i in range(1024 * 1024)))
        file.flush()
        yield {"numbers": file.name}


app = Starlette(
    lifespan=lifespan,
    middleware=[Middleware(SessionMiddleware, secret_key="not a secret")],
    routes=[
        Route("/", index),
        Route("/greet", greet),
        Route("/path/{name}/x", path),
        Route("/form", form, methods=["GET", "POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/method", method, methods=["PUT", "DELETE", "PATCH"]),
        Route("/download", download),
        Route("/stream", stream),
        Route("/events", events),
        Route("/cookie", cookie),
        Route("/session", visits),
        Route("/about", about),
        Route("/error", error),
        Route("/who", who),
        WebSocketRoute("/ws", Echo),
    ],
)
