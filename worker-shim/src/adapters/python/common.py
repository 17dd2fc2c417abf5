"""Serves one Python app on the listening socket this process was given.

Its arguments are the entry: a file `app.py`, or `pkg.module`, either with `:attribute`; and how many
requests it is given at once. Standard library only, CPython 3.8 and later; an ASGI app brings
uvicorn. The parts of this program are files beside this one, put together to one text in this order:
common, kind, load, watch, body, request, response, wsgi, lifespan, asgi, main.
"""

import os
import sys

# Where the listening socket is.
LISTENER_FD = 3


class Refused(Exception):
    """There is no app to serve: one line for the operator."""

    # What the status pipe calls it.
    word = "STATUS"


class Missing(Refused):
    """Starting again would not help."""

    word = "MISSING"


def told(text):
    """Puts a line into the operator's log."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def tell_refused(error, status_fd):
    """Why there is nothing to serve: to whoever started us, and to the log."""
    sentence = str(error).replace("\n", " ")
    try:
        os.write(status_fd, ("%s=%s\n" % (error.word, sentence)).encode())
    except OSError:
        pass
    told(sentence)


def refuse(error, status_fd):
    """Ends the start."""
    tell_refused(error, status_fd)
    sys.exit(1)
