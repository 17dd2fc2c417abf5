"""Tells apps of the asynchronous kind (ASGI) from those of WSGI."""


def is_asgi(app):
    """Whether an app is a coroutine function, or an object that is called as one."""
    code = getattr(app, "__code__", None) or getattr(type(app).__call__, "__code__", None)
    return code is not None and bool(code.co_flags & 0x80)
