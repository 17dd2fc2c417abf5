"""Serves an ASGI app under uvicorn, which has to be installed beside the app.

Uvicorn speaks HTTP and WebSocket. What is ours: the app can be exchanged for a newer version of
itself; no connection is ended while it is of use; and one whose client has left lasts until the app
is done with the request, because its end is what says that this worker is free again.

What is imported here costs a WSGI app time and memory, so it is imported where it is needed.
"""

import gc
import os
import signal
import socket
import sys
import traceback

# The first uvicorn that has all that is used here.
OLDEST_UVICORN = (0, 20)
# How long a connection may be idle, in place of forever.
YEAR_SECONDS = 365 * 24 * 3600


class Connected:
    """A request whose client is taken to be there."""

    disconnected = False


class ClientLeft(OSError):
    """Raised where an app goes on sending pieces to nobody."""


class Front:
    """The app that uvicorn serves: whichever version is the current one."""

    def __init__(self, life):
        self.life = life
        # Shutdowns of former versions.
        self.ends = set()

    async def __call__(self, scope, receive, send):
        life = self.life
        see_client(scope)
        scope["state"] = life.state.copy()
        is_http = scope["type"] == "http"
        # uvicorn's state of this request
        cycle = getattr(send, "__self__", None)
        if not is_http or not hasattr(cycle, "disconnected"):
            cycle = Connected

        async def to_client(message):
            if cycle.disconnected and message.get("more_body"):
                raise ClientLeft("the client has left")
            await send(message)

        life.running += 1
        life.idle.clear()
        try:
            await life.app(scope, receive, to_client if is_http else send)
        except ClientLeft:
            pass
        except Exception:
            # uvicorn answers, and writes the traceback
            told("request %s failed: %s" % (id_of(scope), line_of_scope(scope)))
            raise
        finally:
            life.running -= 1
            if not life.running:
                life.idle.set()
            if cycle.disconnected:
                cycle.transport.close()

    def exchange(self, life):
        """Later requests are for this version; the former one is shut down after its own."""
        end = asyncio.ensure_future(self.life.stop())
        self.ends.add(end)
        end.add_done_callback(self.ends.discard)
        self.life = life

    async def stop(self):
        """Shuts down every version."""
        await asyncio.gather(self.life.stop(), *self.ends)


def see_client(scope):
    """Client and scheme are what the edge says: nobody else reaches the socket."""
    fields = dict(scope["headers"])
    address = fields.get(b"rip-client") or fields.get(b"x-forwarded-for", b"").partition(b",")[0]
    if address:
        scope["client"] = (address.decode("latin-1").strip(), 0)
    if fields.get(b"x-forwarded-proto") == b"https":
        scope["scheme"] = "https" if scope["type"] == "http" else "wss"


def id_of(scope):
    """The id of a request, as it is in the access log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode("latin-1")
    return "without id"


def line_of_scope(scope):
    """A request's method and target."""
    target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    return "%s %s" % (scope.get("method", "WebSocket"), target)


def patient(protocol):
    """The protocol of HTTP, with patience for an app whose client has left."""

    class Patient(protocol):
        def eof_received(self):
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                return super().eof_received()
            # The app hears of it, and the connection lasts until the app is done.
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()
            return True

    return Patient


def uvicorn_for(label):
    """The package; refuses when there is none that is of use."""
    import re

    try:
        import uvicorn
    except ModuleNotFoundError as error:
        if error.name == "uvicorn":
            raise Missing(
                "%s is an ASGI app, which needs the package uvicorn; "
                "install it with `pip install uvicorn`" % label
            )
        traceback.print_exc()
        raise Missing(
            "uvicorn needs the module %s, which is not installed; "
            "install it with `pip install %s`" % (error.name, (error.name or "").partition(".")[0])
        )
    version = tuple(int(number) for number in re.findall(r"\d+", uvicorn.__version__)[:2])
    if version < OLDEST_UVICORN:
        raise Missing(
            "uvicorn %s is too old, %d.%d is needed; install it with `pip install -U uvicorn`"
            % (uvicorn.__version__, *OLDEST_UVICORN)
        )
    return uvicorn


def server_of(uvicorn, front, stopping):
    """A server of `front` that ends when `stopping` is set."""
    import contextlib

    class Server(uvicorn.Server):
        # The signals are ours. The first is how versions before 0.29 take them.
        def install_signal_handlers(self):
            pass

        @contextlib.contextmanager
        def capture_signals(self):
            yield

        # Waits for the end instead of looking for it ten times a second.
        async def main_loop(self):
            await self.on_tick(0)
            await stopping.wait()

    config = uvicorn.Config(
        front,
        interface="asgi3",
        lifespan="off",  # is that of each version
        timeout_keep_alive=YEAR_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES,
        proxy_headers=False,  # is done by the front, which knows the edge
        # Are the edge's.
        access_log=False,
        server_header=False,
        date_header=False,
        log_config=None,
    )
    config.load()
    config.http_protocol_class = patient(config.http_protocol_class)
    return Server(config)


def log_of_uvicorn():
    """What goes wrong is in the operator's log, whatever the app has done to logging."""
    import logging

    logger = logging.getLogger("uvicorn")
    for name in ("uvicorn.error", "uvicorn.asgi"):
        part = logging.getLogger(name)
        part.disabled = False
        # Without a level of its own it is taken for one that is traced.
        if part.level == logging.NOTSET:
            part.setLevel(logging.WARNING)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
        logger.addHandler(handler)
        logger.propagate = False


async def run_asgi(code, uvicorn, reloads):
    """Serves until SIGTERM or SIGINT; requests that have begun are finished."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    changed = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if reloads:
        loop.add_signal_handler(signal.SIGUSR1, changed.set)
        signal.siginterrupt(signal.SIGUSR1, False)

    life = Life(code.app, code.label)
    starting = asyncio.ensure_future(life.start())
    asked = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        return
    starting.result()
    settle(reloads)

    listener = socket.socket(fileno=LISTENER_FD)
    os.set_inheritable(LISTENER_FD, False)
    front = Front(life)
    server = server_of(uvicorn, front, stopping)
    following = asyncio.ensure_future(follow(code, front, changed)) if reloads else None
    await server.serve(sockets=[listener])
    if following is not None:
        following.cancel()
    await front.stop()


async def follow(code, front, changed):
    """Exchanges the app for what its files have become, each time they have changed."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            app, take_back = code.renew()
            life = Life(app, code.label)
            try:
                await life.start()
            except Refused:
                take_back()
                raise
        except Refused as error:
            code.tell_kept(error)
        else:
            code.app = app
            front.exchange(life)
            code.tell_renewed()
        gc.collect()


def loop_for_asgi():
    """An event loop: uvloop's where that is installed, else the one that the import may have made."""
    import warnings

    try:
        import uvloop
    except ImportError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return asyncio.get_event_loop()
            except RuntimeError:
                return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def serve_asgi(code, reloads):
    """Answers requests until SIGTERM or SIGINT; or refuses."""
    global asyncio
    import asyncio

    uvicorn = uvicorn_for(code.label)
    log_of_uvicorn()
    loop = loop_for_asgi()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_asgi(code, uvicorn, reloads))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
