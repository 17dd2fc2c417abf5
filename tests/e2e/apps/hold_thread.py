"""Holds the first thread of a process still, and no other, until standard input ends."""

import ctypes
import sys
import time

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


def state(pid):
    with open(f"/proc/{pid}/task/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def main():
    pid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None) != 0:
            sys.exit(f"ptrace: error {ctypes.get_errno()}")
    deadline = time.monotonic() + 10
    while state(pid) != "t":
        if time.monotonic() > deadline:
            sys.exit("it does not stop")
        time.sleep(0.01)
    print("held", flush=True)
    sys.stdin.read()


main()
