"""Uses sessions with `websockets`: `session_client.py URL`, says `fine` when all came as it should."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect

URL = sys.argv[1]


def to():
    return connect(URL, max_size=None, ping_interval=None, open_timeout=60, proxy=None)


async def turn(connection):
    events = []
    while not events or events[-1]["type"] not in ("outcome", "error"):
        events.append(json.loads(await connection.recv()))
    return events


async def main():
    words = [f"wörd {number} " for number in range(300)]
    async with to() as connection:
        await connection.send(json.dumps({"steps": words}))
        events = await turn(connection)
        assert [event["text"] for event in events[:-1]] == words
        await asyncio.wait_for(await connection.ping(b"there?"), 20)
        # In parts, as `websockets` sends an iterable.
        await connection.send(iter(["{\"type\":", "\"ping\"", "}"]))
        assert json.loads(await connection.recv()) == {"id": events[-1]["id"], "type": "pong"}
    assert connection.close_code == 1000, connection.close_code
    resume = {"type": "resume", "sessionId": events[-1]["sessionId"], "lastEventId": events[99]["id"],
              "continuationToken": events[-1]["continuationToken"]}
    async with to() as connection:
        await connection.send(json.dumps(resume))
        assert await turn(connection) == events[100:]
        await connection.send(json.dumps({"steps": ["x" * 200_000]}))
        more = await turn(connection)
        assert (len(more[0]["text"]), more[-1]["turn"]) == (200_000, 2), more[-1]
        # Two at once on one connection: the second is refused, the first runs.
        await connection.send(json.dumps({"steps": ["a"]}))
        await connection.send("{}")
        told = [json.loads(await connection.recv()) for _ in range(3)]
        assert sorted(event["type"] for event in told) == ["delta", "error", "outcome"], told


asyncio.run(main())
print("fine", flush=True)
