"""The process: what is set up before the app is imported, and who serves it."""

import faulthandler
import gc
import os
import sys


def main():
    status_fd = int(os.environ.get("RIP_STATUS_FD", "-1"))
    if status_fd >= 0:
        os.set_inheritable(status_fd, False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable()  # a worker that hangs is aborted so that it can tell where
    reload = os.environ.get("RIP_RELOAD", "none")
    if reload != "none":
        # Compiled files are taken for those of a source of the same size and second, which a file
        # that was just saved twice easily is.
        sys.dont_write_bytecode = True
    entry, concurrency = sys.argv[1], int(sys.argv[2])
    look_in(entry)
    sys.argv = [split(entry)[0]]
    try:
        with ImportWatch(entry, status_fd):
            code = Code(entry)
        if code.kind == ASGI:
            serve_asgi(code, reload == "module")
            return
    except Refused as error:
        refuse(error, status_fd)
    settle(reload == "module")
    serve_wsgi(code, reload == "module", concurrency)


def settle(reloads):
    """What the app has loaded stays: the collector need not look at it again and again."""
    gc.collect()
    if not reloads:
        gc.freeze()


if __name__ == "__main__":
    main()
