"""CPU time and memory of processes, from /proc."""

import os
import shutil
import signal
import subprocess
import tempfile

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
    return sum(memory_bytes(pid, "VmHWM:") for pid in pids)


def rss_bytes(pids):
    """The sum of what they hold now."""
    return sum(memory_bytes(pid, "VmRSS:") for pid in pids)


def memory_bytes(pid, name):
    """A line of /proc/<pid>/status; nothing when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    except OSError:
        return 0


class Syncs:
    """Counts what these processes sync to disk meanwhile; `count` is 0 where that cannot be known."""

    def __init__(self, pids):
        self.pids = pids
        self.count = 0

    def __enter__(self):
        self.told = tempfile.NamedTemporaryFile("r", suffix=".perf")
        calls = ",".join(f"syscalls:sys_enter_{call}" for call in ("fsync", "fdatasync"))
        command = ["perf", "stat", "-x", ";", "-o", self.told.name, "-e", calls,
                   "-p", ",".join(map(str, self.pids))]
        self.perf = subprocess.Popen(command, stderr=subprocess.DEVNULL) if self.pids and shutil.which("perf") else None
        return self

    def __exit__(self, *_):
        if self.perf:
            self.perf.send_signal(signal.SIGINT)
            self.perf.wait(20)
            counts = (line.split(";")[0] for line in self.told.read().splitlines() if ";" in line)
            self.count = sum(int(count) for count in counts if count.isdigit())
        self.told.close()


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


def status(pid):
    """Bytes of memory by their name in /proc/<pid>/status, and `Threads`; nothing of a process that is gone."""
    found = {}
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                words = value.split()
                if name == "Threads":
                    found[name] = int(words[0])
                elif words[1:] == ["kB"]:
                    found[name] = int(words[0]) * 1024
    except OSError:
        pass
    return found


def descriptors(pid):
    """How many a process has open."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def mappings(pid):
    """Where the resident memory of a process lies, the largest first: a line each of MiB and name."""
    sizes, name = {}, ""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                name = words[5] if len(words) > 5 else f"anonymous at {words[0]}"
            elif words[0] == "Rss:":
                sizes[name] = sizes.get(name, 0) + int(words[1]) * 1024
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:16]
    return "\n".join(f"{size / 2**20:8.2f} MiB  {name}" for name, size in largest)
