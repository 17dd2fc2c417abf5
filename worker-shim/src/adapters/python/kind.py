"""Tells apps apart by how they are called: WSGI (PEP 3333), ASGI 3, or neither."""

import functools

WSGI = "WSGI"
ASGI = "ASGI"


def kind_of(app, label):
    """How an app is called; refuses what is called like neither. `label` names it."""
    if not callable(app):
        raise Missing("%s cannot be called: it is neither a WSGI nor an ASGI app" % label)
    # As uvicorn does it: what an instance holds under that name is preferred to its class's.
    call = app if hasattr(app, "__code__") or isinstance(app, type) else app.__call__
    while isinstance(call, functools.partial):
        call = call.func
    code = getattr(call, "__code__", None)
    bound = getattr(call, "__self__", None) is not None
    waits = code is not None and bool(code.co_flags & 0x80)  # a coroutine function
    if code is not None and not waits and code.co_argcount - bound == 2:
        return WSGI

    import inspect  # costs a WSGI app milliseconds, so only where it is needed

    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return ASGI if waits else WSGI
    fits = [count for count in range(4) if can_be_called(signature, count)]
    if waits or is_marked(app):
        if 3 in fits:
            return ASGI
    elif 2 in fits:
        return WSGI
    elif 3 in fits:
        return ASGI
    if 1 in fits and is_double(app, inspect):
        raise Missing(
            "%s is an app of ASGI 2, which is called twice and is not served; "
            "make it one of ASGI 3 with `asgiref.compatibility.guarantee_single_callable`" % label
        )
    if 0 in fits and inspect.isfunction(app):
        raise Missing(
            "%s takes no arguments: if it makes the app, name it with (), in quotes for the shell" % label
        )
    home = (getattr(app, "__module__", None) or type(app).__module__).partition(".")[0]
    more = "if its framework has a server of its own, start that as a command"
    if home == "aiohttp":
        more = (
            "aiohttp has a server of its own: "
            "start it as a command, `--listen path -- python3 -m aiohttp.web -U {socket} PKG:MAKE`"
        )
    raise Missing(
        "%s is called neither as a WSGI app, with environ and start_response, "
        "nor as an ASGI app, with scope, receive and send; %s" % (label, more)
    )


def can_be_called(signature, count):
    """Whether that many arguments and no more are enough."""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def is_marked(app):
    """Whether the asgiref library was told that this is an ASGI app."""
    return bool(getattr(app, "_asgi_single_callable", False))


def is_double(app, inspect):
    """Whether an app that takes one argument looks like one of ASGI 2."""
    if getattr(app, "_asgi_double_callable", False):
        return True
    if isinstance(app, type):
        return inspect.iscoroutinefunction(app.__call__)
    names = list(inspect.signature(app).parameters)
    return names == ["scope"]
