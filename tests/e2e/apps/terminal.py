"""Runs a command on a terminal of its own, types keys, and tells in JSON what was shown.

    terminal.py COLUMNSxLINES STEP... -- COMMAND...

Steps: `see:TEXT` waits until that was shown since the step before, `key:TEXT` types it, `signal:N` sends
a signal. Told: what was `shown`, the `code` it ended with, and whether the terminal is as `before`.
"""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

SOON = 20


def main():
    size, *rest = sys.argv[1:]
    steps, command = rest[:rest.index("--")], rest[rest.index("--") + 1:]
    columns, lines = map(int, size.split("x"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs,
                             start_new_session=True)
    shown, seen = bytearray(), 0
    for step in steps:
        what, _, text = step.partition(":")
        if what == "see":
            seen = wait_for(ours, shown, seen, text.encode(), child)
        elif what == "key":
            os.write(ours, text.encode().decode("unicode_escape").encode())
        else:
            child.send_signal(int(text))
    code = child.wait(SOON)
    while read(ours, shown, 0.2):
        pass
    same = termios.tcgetattr(theirs) == before
    print(json.dumps({"shown": shown.decode(errors="replace"), "code": code, "before": same}))


def wait_for(ours, shown, seen, text, child):
    deadline = time.monotonic() + SOON
    while text not in shown[seen:]:
        if time.monotonic() > deadline:
            child.kill()
            sys.exit(f"{text!r} was not shown: {bytes(shown[seen:])!r}")
        read(ours, shown, 0.2)
    return shown.index(text, seen) + len(text)


def read(ours, shown, seconds):
    if not select.select([ours], [], [], seconds)[0]:
        return False
    try:
        piece = os.read(ours, 65536)
    except OSError:
        return False
    shown += piece
    return bool(piece)


main()
