"""Uses realtime with `websockets`, and says `fine` when everything came as it should.

    realtime_client.py URL echo            texts and bytes of many sizes come back
    realtime_client.py URL room COUNT      clients of one group hear everybody, in one order
    realtime_client.py URL secure CA       the same as `echo`, behind TLS
    realtime_client.py URL deaf CA COUNT   clients behind TLS that read nothing, until a line comes
    realtime_client.py URL pings           pings are answered, also in the middle of a message
"""

import asyncio
import json
import os
import socket
import ssl
import sys
import urllib.parse

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def to(url, **more):
    return connect(url, max_size=None, ping_interval=None, open_timeout=60, proxy=None, **more)


async def echo(url, **more):
    async with to(url, **more) as connection:
        for size in [0, 1, 125, 126, 65535, 65536, 1 << 20]:
            for sent in ("x" * size, os.urandom(size)):
                await connection.send(sent)
                assert await connection.recv() == sent, size
        await connection.send(iter(["in ", "several ", "parts"]))
        assert await connection.recv() == "in several parts"
    assert connection.close_code == 1000, connection.close_code


async def secure(url, authority):
    await echo(url, ssl=ssl.create_default_context(cafile=authority))


async def room(url, count):
    count = int(count)
    members = [await to(url) for _ in range(count)]
    for number, member in enumerate(members):
        await member.send(f"from {number}")
    orders = [[await member.recv() for _ in range(count)] for member in members]
    assert all(order == orders[0] for order in orders), orders
    assert sorted(orders[0]) == sorted(f"from {number}" for number in range(count))
    await asyncio.gather(*(member.close(4000 + at, "done") for at, member in enumerate(members)))


async def pings(url):
    async with to(url) as connection:
        for payload in (b"", b"x" * 125, "tschüß"):
            await asyncio.wait_for(await connection.ping(payload), 20)

        async def slowly():
            for part in ("a", "b", "c"):
                yield part
                await asyncio.wait_for(await connection.ping(), 20)

        await connection.send(slowly())
        assert await connection.recv() == "abc"


async def deaf(url, authority, count):
    context = ssl.create_default_context(cafile=authority)
    place = urllib.parse.urlsplit(url)
    request = (f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: Upgrade\r\n"
               "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    clients = []
    for _ in range(int(count)):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", place.port))
        client = context.wrap_socket(plain, server_hostname=place.hostname)
        client.sendall(request.encode())
        assert client.recv(20).startswith(b"HTTP/1.1 101 ")
        clients.append(client)
    print("there", flush=True)
    sys.stdin.readline()


URL, WHAT, *REST = sys.argv[1:]
asyncio.run({"echo": echo, "room": room, "secure": secure, "deaf": deaf, "pings": pings}[WHAT](URL, *REST))
print("fine", flush=True)
