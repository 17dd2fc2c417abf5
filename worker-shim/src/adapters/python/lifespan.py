"""One version of an ASGI app, from its startup to its shutdown.

    starting ──complete──▶ serving ──retired, and its last request is over──▶ stopping ──▶ over
       │ └──ended without a word: it takes no part in this──▶ serving ──▶ over
       └──failed──▶ refused
"""

class Life:
    """An app, and what it was told of its own life (the protocol `lifespan`)."""

    def __init__(self, app, label):
        self.app = app
        self.label = label
        # What the startup left for requests.
        self.state = {}
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.task = None
        self.events = asyncio.Queue()
        # Whether it has asked for an event.
        self.is_told = False
        # The answer to the event that the app was told last.
        self.answer = None

    async def start(self):
        """Returns when the app can serve; refuses when its startup failed."""
        self.task = asyncio.ensure_future(self.take_part())
        answer = await self.ask("startup")
        if answer is None:
            # The specification: who knows nothing of this is served without it.
            error = self.task.result()
            self.task = None
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise Refused("%s ended in its startup: %r" % (self.label, error))
            if error is not None and self.is_told:
                told("%s is served without its startup, in which it raised %r" % (self.label, error))
            return
        failed, message = answer
        if failed:
            await self.over()
            raise Refused("the startup of %s failed: %s" % (self.label, last_line(message)))

    async def stop(self):
        """Returns when its requests are over, and it has had its shutdown."""
        await self.idle.wait()
        if self.task is None:
            return
        answer = None if self.task.done() else await self.ask("shutdown")
        await self.over()
        if answer is not None and answer[0]:
            told("the shutdown of %s failed: %s" % (self.label, last_line(answer[1])))
        elif answer is None and not self.task.cancelled() and self.task.result() is not None:
            told("the shutdown of %s failed: %r" % (self.label, self.task.result()))

    async def ask(self, what):
        """Tells the app of `what`: whether that failed, and its message. None when it ends without
        an answer."""
        self.answer = asyncio.get_running_loop().create_future()
        self.events.put_nowait({"type": "lifespan." + what})
        await asyncio.wait({self.task, self.answer}, return_when=asyncio.FIRST_COMPLETED)
        return self.answer.result() if self.answer.done() else None

    async def over(self):
        """Nothing more is said to the app."""
        done, _ = await asyncio.wait({self.task}, timeout=1)
        if not done:
            self.task.cancel()
            await asyncio.wait({self.task})

    async def take_part(self):
        """Returns what the app raised."""
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        try:
            await self.app(scope, self.event, self.hear)
        except asyncio.CancelledError:
            raise
        # An exit would end the loop on its way up, without a word to the operator.
        except BaseException as error:
            return error
        return None

    async def event(self):
        """What the app is told."""
        event = await self.events.get()
        self.is_told = True
        return event

    async def hear(self, message):
        """What the app answers."""
        _, _, rest = message["type"].partition("lifespan.")
        what, _, outcome = rest.partition(".")
        if outcome not in ("complete", "failed"):
            raise RuntimeError("%r is no answer to a lifespan event" % message["type"])
        failed = outcome == "failed"
        text = message.get("message", "") if failed else ""
        if text:
            told(text.rstrip("\n"))
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((failed, text))


def last_line(text):
    """What a traceback says in the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it did not say why"
