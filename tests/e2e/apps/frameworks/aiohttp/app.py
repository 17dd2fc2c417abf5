import asyncio
import hashlib
import os
import socket

from aiohttp import WSMsgType, web

NUMBERS = bytes(i * 7 % 256 for i in range(1024 * 1024))

routes = web.RouteTableDef()


@routes.get("/")
async def index(request):
    page = "<!doctype html><title>Hello</title><h1>Hello</h1>"
    return web.Response(text=page, content_type="text/html")


@routes.get("/greet")
async def greet(request):
    return web.Response(text="Hello " + request.query["name"])


@routes.get("/path/{name}/x")
async def path(request):
    return web.Response(text=request.match_info["name"])


@routes.post("/form")
async def form(request):
    said = await request.post()
    query = {"name": said["name"], "colour": said["colour"]}
    raise web.HTTPSeeOther(request.app.router["form"].url_for().with_query(query))


@routes.get("/form", name="form")
async def formed(request):
    return web.Response(text=request.query["name"] + " likes " + request.query["colour"])


@routes.post("/upload")
async def upload(request):
    said = await request.post()
    content = said["file"].file.read()
    return web.json_response(
        {
            "name": said["file"].filename,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "note": said["note"],
        }
    )


@routes.post("/echo")
async def echo(request):
    kind = {"Content-Type": request.headers["Content-Type"]}
    return web.Response(body=await request.read(), headers=kind)


async def method(request):
    return web.Response(text=request.method)


@routes.get("/download")
async def download(request):
    attachment = {"Content-Disposition": 'attachment; filename="numbers.bin"'}
    return web.Response(body=NUMBERS, headers=attachment)


@routes.get("/stream")
async def stream(request):
    response = web.StreamResponse()
    response.content_type = "text/plain"
    response.charset = "utf-8"
    await response.prepare(request)
    for number in range(1, 6):
        if number > 1:
            await asyncio.sleep(0.1)
        await response.write(f"line {number}\n".encode())
    return response


@routes.get("/events")
async def events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(1, 4):
        await response.write(f"id: {number}\ndata: event {number}\n\n".encode())
    return response


@routes.get("/cookie")
async def cookie(request):
    response = web.Response(text="two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@routes.get("/about")
async def about(request):
    return web.json_response(
        {
            "scheme": request.scheme,
            "host": request.host,
            "client": request.remote,
            "path": request.path,
            "query": request.rel_url.raw_query_string,
            "userAgent": request.headers["User-Agent"],
        }
    )


@routes.get("/error")
async def error(request):
    raise RuntimeError("a mistake made on purpose")


@routes.get("/who")
async def who(request):
    return web.Response(text=str(os.getpid()))


@routes.get("/ws")
async def ws(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT and message.data == "bye":
            await socket.close(code=4001)
        elif message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def make(argv=()):
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(routes)
    for name in ["PUT", "DELETE", "PATCH"]:
        app.router.add_route(name, "/method", method)
    return app


if __name__ == "__main__":
    # The socket of a service that is activated by it, else a port.
    if "LISTEN_FDS" in os.environ:
        web.run_app(make(), sock=socket.socket(fileno=3), print=None)
    else:
        web.run_app(make(), port=8080)
