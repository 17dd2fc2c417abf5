"""Tells of an app that never ends being imported, because it serves by itself."""

import _thread
import os
import sys
import traceback

# Functions that serve until the process ends: the module each is in, and its name.
SERVING = {
    ("aiohttp.web", "run_app"),
    ("hypercorn.run", "run"),
    ("socketserver", "serve_forever"),
    ("uvicorn.main", "run"),
    ("uvicorn.server", "run"),
    ("waitress", "serve"),
    ("werkzeug.serving", "run_simple"),
}

# Time for a server that only begins: a second look finds it where it was.
LOOK_SECONDS = 1


class ImportWatch:
    """Ends the start while the main thread, in importing the app, is in a server of the app's."""

    def __init__(self, entry, status_fd):
        self.name = split(entry)[0]
        self.status_fd = status_fd
        self.main = _thread.get_ident()
        self.over = _thread.allocate_lock()

    def __enter__(self):
        self.over.acquire()
        _thread.start_new_thread(self.run, ())

    def __exit__(self, *_):
        self.over.release()

    def run(self):
        while not self.over.acquire(timeout=LOOK_SECONDS):
            frame = sys._current_frames().get(self.main)
            place = serving_at(traceback.walk_stack(frame)) if frame else None
            if place:
                tell_refused(serves_itself(self.name, place), self.status_fd)
                os._exit(1)


def serving_at(calls):
    """The file and the line, of the entry or of what it imports, that serve; nothing if none does.
    `calls` are frames with lines, the innermost first."""
    serves = False
    for frame, line in calls:
        module = frame.f_globals.get("__name__")
        if serves and frame.f_code.co_name == "<module>":
            # This program's own, where the app is not imported but called.
            return None if module == "__main__" else (frame.f_code.co_filename, line)
        serves = serves or (module, frame.f_code.co_name) in SERVING
    return None


def serves_itself(name, place):
    """What is wrong with such an app."""
    return Missing(
        "%s serves by itself while it is imported (%s, line %d); "
        'put that below `if __name__ == "__main__":`' % ((name,) + place)
    )
