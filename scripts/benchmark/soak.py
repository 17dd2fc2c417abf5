"""Everything at once for ten minutes, with a reload every ten seconds and a roll every fifteen: does the
master's memory grow, and does anybody lose a request?

The memory of the master (VmRSS) is looked at twice a second. After the warm-up the median of each half minute
must stay within 5 % of the first one. The same holds for open descriptors and threads, with a few to spare:
what is in flight differs. Exit code 1 when something grows, or a request, a reload or a roll failed.
"""

import argparse
import collections
import glob
import os
import statistics
import sys
import tempfile
import threading
import time

import plot
import processes
import soak_server
import soak_work

GROWTH = 1.05
SAMPLE_SECONDS, WINDOW_SECONDS = 0.5, 30
RELOAD_SECONDS, ROLL_SECONDS = 10, 15
# More descriptors and processes than in the first half minute: requests, rolls and reloads that are under way.
MORE_DESCRIPTORS, MORE_THREADS = 64, 2

Sample = collections.namedtuple("Sample", "at rss anonymous descriptors threads children children_rss")


def main(words):
    options = parse(words)
    with tempfile.TemporaryDirectory(prefix="rip-soak-") as directory:
        server = soak_server.Server(directory, **tracing(options.heaptrack))
        try:
            samples, ledger, changes, shape = soak(server, options)
        finally:
            ended, said = server.stop(), server.last_words()
    wrong = ledger.wrong + [text for change in changes for text in change.wrong]
    if ended != 0:
        wrong.append(f"the master ended with {ended}: {said}")
    windows = list(halves(samples, options.warm_up))
    wrong += growth(windows)
    print(table(samples, windows, ledger, changes))
    if options.svg:
        plot.write(options.svg, drawing(samples, options.warm_up))
    if options.details:
        print(shape)
    for line, times in collections.Counter(wrong).most_common(30):
        print(f"soak: {line}{f' ({times} times)' if times > 1 else ''}", file=sys.stderr)
    return 1 if wrong else 0


def parse(words):
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long it is loaded, the warm-up included")
    parser.add_argument("--warm-up", type=float, default=120, metavar="SECONDS", help="when looking begins")
    parser.add_argument("--only", default="", metavar="KIND,…",
                        help=f"some of the work, to find what grows: {', '.join(soak_work.NAMES)}")
    parser.add_argument("--calm", action="store_true", help="without reloads and rolls")
    parser.add_argument("--svg", metavar="FILE", help="draw the memory over time")
    parser.add_argument("--details", action="store_true", help="where the master's memory lies in the end")
    parser.add_argument("--heaptrack", metavar="FILE",
                        help="who allocated what is not given back: for heaptrack_interpret < FILE")
    return parser.parse_args(words)


def tracing(path):
    """The environment in which heaptrack writes down what a process allocates, not what its children do."""
    if not path:
        return {}
    library = next(iter(glob.glob("/usr/lib*/heaptrack/libheaptrack_preload.so")), None)
    if not library:
        sys.exit("heaptrack is missing")
    return {"LD_PRELOAD": library, "DUMP_HEAPTRACK_OUTPUT": os.path.abspath(path)}


def soak(server, options):
    """Samples, what was done, and what the memory consists of in the end, while all works."""
    ledger = soak_work.Ledger(server, [name for name in options.only.split(",") if name])
    changes = [] if options.calm else [
        Change("reloads", RELOAD_SECONDS, server.reload), Change("rolls", ROLL_SECONDS, server.roll)]
    began = time.monotonic()
    until = began + options.minutes * 60
    for one in [ledger, *changes]:
        one.start()
    samples = []
    while (now := time.monotonic()) < until and not ledger.broken():
        samples.append(sample(server.pid, now - began))
        time.sleep(SAMPLE_SECONDS)
    shape = processes.mappings(server.pid)
    for one in [*changes, ledger]:
        one.end()
    return samples, ledger, changes, shape


class Change:
    """Something that is done to the server again and again, and must succeed."""

    def __init__(self, name, seconds, act):
        self.name, self.seconds, self.act = name, seconds, act
        self.count, self.slowest, self.wrong = 0, 0.0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def start(self):
        self.thread.start()

    def run(self):
        while not self.over.wait(self.seconds):
            began = time.monotonic()
            said = self.act(self.count)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1
            if said:
                self.wrong.append(f"{self.name}: {said}")

    def end(self):
        self.over.set()
        self.thread.join()


def sample(pid, at):
    status = processes.status(pid)
    children = [child for child in processes.tree(pid) if child != pid]
    return Sample(at, status["VmRSS"], status["RssAnon"], processes.descriptors(pid), status["Threads"],
                  len(children), sum(processes.status(child).get("VmRSS", 0) for child in children))


def halves(samples, warm_up):
    """The samples of each half minute after the warm-up; a last one that is not whole does not count."""
    last = samples[-1].at if samples else 0
    start = warm_up
    while start + WINDOW_SECONDS <= last + 2 * SAMPLE_SECONDS:
        window = [one for one in samples if start <= one.at < start + WINDOW_SECONDS]
        if window:
            yield window
        start += WINDOW_SECONDS


def middle(window, field):
    return statistics.median(getattr(one, field) for one in window)


def growth(windows):
    """What grew, in words."""
    if len(windows) < 2:
        return ["too short to say anything: two half minutes after the warm-up at least"]
    first = windows[0]
    found = []
    for window in windows[1:]:
        ratio = middle(window, "rss") / middle(first, "rss")
        if ratio > GROWTH:
            found.append(f"memory: {ratio:.3f} of the first half minute at {window[0].at:.0f} s")
    for field, more in [("descriptors", MORE_DESCRIPTORS), ("threads", MORE_THREADS)]:
        begun, ended = middle(first, field), middle(windows[-1], field)
        if ended > begun + more:
            found.append(f"{field}: {begun:.0f} at first, {ended:.0f} in the end")
    return found


def table(samples, windows, ledger, changes):
    lines = ["| from second | master RSS | of it not of a file | descriptors | threads | processes below it "
             "| their RSS |", "|---:|---:|---:|---:|---:|---:|---:|"]
    for window in windows:
        lines.append(
            f"| {window[0].at:.0f} | {mebibytes(middle(window, 'rss'))} | {mebibytes(middle(window, 'anonymous'))} "
            f"| {middle(window, 'descriptors'):.0f} | {middle(window, 'threads'):.0f} "
            f"| {middle(window, 'children'):.0f} | {mebibytes(middle(window, 'children_rss'))} |")
    if len(windows) > 1:
        worst = max(middle(window, "rss") for window in windows[1:]) / middle(windows[0], "rss")
        lines.append(f"\nMost memory in half a minute ÷ the first: {worst:.3f} (goal: ≤ {GROWTH}). "
                     f"Peak: {mebibytes(max(one.rss for one in samples))}.")
    for change in changes:
        lines.append(f"\n{change.count} {change.name}, the slowest {change.slowest:.2f} s, "
                     f"{len(change.wrong)} failed.")
    lines += ["", "| work | done | failed |", "|---|---:|---:|"]
    lines += [f"| {name} | {done:,} | {failed} |" for name, done, failed in ledger.rows()]
    return "\n".join(lines)


def mebibytes(count):
    return f"{count / 2**20:.2f} MiB"


def drawing(samples, warm_up):
    """Memory over time: the master's, and what of it is not of a file."""
    lines = [plot.Line("master, VmRSS", [(one.at / 60, one.rss / 2**20) for one in samples]),
             plot.Line("of it not of a file", [(one.at / 60, one.anonymous / 2**20) for one in samples])]
    return plot.Chart("Memory of the master under everything at once", "minutes", "MiB", lines,
                      mark=(warm_up / 60, "warm"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
