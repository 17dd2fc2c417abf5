"""What a request costs when there is more of something: a curve for each thing there can be more of.

Each point is the CPU time of the server's processes a request (or a delivery, or a KiB), the median of some
rounds in turn with what it is compared with. Everybody who comes is there before the clock starts. Curves should
be flat: then costs are in proportion to the work.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

import curve
import plot
import processes


def main(words):
    options = parse(words)
    unknown = [word for word in options.curve if word not in curve.NAMES]
    if unknown:
        sys.exit(f"unknown curve {unknown[0]}; there are: {', '.join(curve.NAMES)}")
    for one in curve.ALL:
        if options.curve and one.name not in options.curve:
            continue
        points = [(value, measured(one, value, options)) for value in one.values]
        print(table(one, points))
        if options.svg:
            os.makedirs(options.svg, exist_ok=True)
            plot.write(os.path.join(options.svg, f"growth-{one.name}.svg"), drawing(one, points))
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                print(json.dumps({"curve": one.name, "points": points}), file=file)
    return 0


def parse(words):
    parser = argparse.ArgumentParser(prog="scripts/bench growth", description=__doc__.partition("\n\n")[0])
    parser.add_argument("curve", nargs="*", help=f"all unless named: {', '.join(curve.NAMES)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant at each point")
    parser.add_argument("--seconds", type=float, default=2, help="length of one turn")
    parser.add_argument("--svg", metavar="DIRECTORY", help="draw each curve there")
    parser.add_argument("--json", metavar="FILE", help="write every figure to the end of it, a line a curve")
    return parser.parse_args(words)


def measured(one, value, options):
    """The turns of each contestant with so many: microseconds, or what the curve counts in."""
    running, turns = [], {}
    with tempfile.TemporaryDirectory(prefix="rip-growth-") as directory:
        try:
            for begin in one.contestants(value):
                server = begin(directory, running)
                running.append(server)
                turns[server.name] = []
            for _ in range(options.rounds):
                for server in running:
                    turns[server.name].append(cost(one, value, server, options.seconds))
        finally:
            for server in reversed(running):
                server.stop()
    print(f"{one.name}, {one.shown(value)}: done", file=sys.stderr)
    return turns


def cost(one, value, server, seconds):
    pids = server.measured()
    with one.clients(server, value, seconds) as clients:
        before = sum(processes.cpu_seconds(pids))
        result = clients.go()
        after = sum(processes.cpu_seconds(pids))
    return one.share((after - before) * 1e6 / result["requests"], value)


def table(one, points):
    names = list(points[0][1])
    level = next(turns for value, turns in points if value >= one.level)
    first, last = ({name: statistics.median(turns[name]) for name in names} for turns in (level, points[-1][1]))
    lines = [f"**{one.title}**, {one.unit}\n",
             f"| {one.x_name} | {' | '.join(names)} |" + "".join(f" ours ÷ {name} |" for name in names[1:]),
             "|---:|" + "---:|" * (2 * len(names) - 1)]
    for value, turns in points:
        cells = [f"{statistics.median(turns[name]):.2f}" for name in names]
        cells += [f"{ratio(turns[names[0]], turns[name]):.2f}" for name in names[1:]]
        lines.append(f"| {one.shown(value)} | {' | '.join(cells)} |")
    lines.append(f"\nThe last ÷ that at {one.shown(one.level)}: "
                 + ", ".join(f"{name} {last[name] / first[name]:.2f}" for name in names) + ".\n")
    return "\n".join(lines)


def ratio(ours, theirs):
    return statistics.median(mine / its for mine, its in zip(ours, theirs))


def drawing(one, points):
    lines = [plot.Line(name, [(value, statistics.median(turns[name])) for value, turns in points])
             for name in points[0][1]]
    return plot.Chart(one.title, one.x_name, one.unit, lines, log=True, log_y=one.level != one.values[0],
                      x_shown=one.shown)
