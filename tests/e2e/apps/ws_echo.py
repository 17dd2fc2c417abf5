"""Echoes WebSocket messages: on the inherited listener, or on a port given as its argument.

`close CODE REASON` is answered by closing so, `last` by the code that the connection before ended
with, `pid` by the process's id.
"""

import asyncio
import os
import resource
import socket
import sys

from websockets.asyncio.server import serve, unix_serve
from websockets.exceptions import ConnectionClosed

LAST = "none"


async def echo(connection):
    global LAST
    try:
        async for message in connection:
            if message == "last":
                await connection.send(LAST)
            elif message == "pid":
                await connection.send(str(os.getpid()))
            elif isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                await connection.close(int(code), reason)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        if connection.close_code is not None:
            LAST = f"{connection.close_code} {connection.close_reason}"


async def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    how = {"max_size": None, "compression": None, "ping_interval": None, "close_timeout": 5}
    if len(sys.argv) > 1:
        server = serve(echo, "127.0.0.1", int(sys.argv[1]), **how)
    else:
        server = unix_serve(echo, sock=socket.socket(fileno=3), **how)
    async with server as running:
        await running.serve_forever()


asyncio.run(main())
