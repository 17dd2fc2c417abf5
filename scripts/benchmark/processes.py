"""CPU time and memory of processes, from /proc."""

import os

TICK = os.sysconf("SC_CLK_TCK")


def tree(root):
    """A process and everything below it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat(int(name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, rest = [], [root]
    while rest:
        pid = rest.pop()
        found.append(pid)
        rest.extend(children.get(pid, []))
    return found


def cpu_seconds(pids):
    """User and system time of all of them."""
    user = system = 0
    for pid in pids:
        fields = stat(pid)
        if fields:
            user += int(fields[11])
            system += int(fields[12])
    return user / TICK, system / TICK


def peak_rss_bytes(pids):
    """The sum of their high-water marks."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


def pin(pid, cpus):
    """Binds every thread of a process to these CPUs."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cpus)


def stat(pid):
    """The fields of /proc/<pid>/stat behind the name: state, parent, ..."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return None
