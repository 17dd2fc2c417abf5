"""Uses an echoing WebSocket server, and says `fine` when everything came as it should.

    ws_client.py URL big BYTES      one message there and back
    ws_client.py URL many COUNT     so many connections at once, each of which echoes and closes
    ws_client.py URL codes          codes and reasons of closings arrive on both sides
    ws_client.py URL hold           echoes lines of standard input until the connection ends
"""

import asyncio
import resource
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def to(url):
    return connect(url, max_size=None, compression=None, ping_interval=None, open_timeout=60, proxy=None)


async def big(url, count):
    message = bytes(at * 7 % 251 for at in range(1000)) * (int(count) // 1000)
    text = "é" * (int(count) // 4)
    async with to(url) as connection:
        for sent in (message, text):
            await connection.send(sent)
            assert await connection.recv() == sent


async def many(url, count):
    everybody = asyncio.Event()
    open_count = 0

    async def one(number):
        nonlocal open_count
        async with to(url) as connection:
            await connection.send(f"hello {number}")
            assert await connection.recv() == f"hello {number}"
            open_count += 1
            if open_count == int(count):
                everybody.set()
            await everybody.wait()
            await connection.send(f"bye {number}")
            assert await connection.recv() == f"bye {number}"

    await asyncio.gather(*(one(number) for number in range(int(count))))


async def codes(url):
    async with to(url) as connection:
        await connection.send("close 4321 for good")
        try:
            await connection.recv()
            raise AssertionError("it stays open")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "for good"), closed
    connection = await to(url)
    await connection.send("x")
    await connection.recv()
    await connection.close(4005, "tired")
    for _ in range(200):
        async with to(url) as connection:
            await connection.send("last")
            last = await connection.recv()
            if last == "4005 tired":
                return
        await asyncio.sleep(0.01)
    raise AssertionError(last)


async def hold(url):
    async with to(url) as connection:
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        end = asyncio.ensure_future(connection.wait_closed())
        while not end.done():
            said = asyncio.ensure_future(lines.readline())
            await asyncio.wait([end, said], return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                said.cancel()
                break
            try:
                await connection.send(said.result().decode().strip())
                print(await connection.recv(), flush=True)
            except ConnectionClosed:
                break
        print(f"closed {connection.close_code}", flush=True)


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
URL, WHAT, *REST = sys.argv[1:]
asyncio.run({"big": big, "many": many, "codes": codes, "hold": hold}[WHAT](URL, *REST))
print("fine", flush=True)
