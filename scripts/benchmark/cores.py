"""Instructions and allocations of the pure cores, as a Markdown table: scripts/bench cores --help

A program does the work of each core a thousand times (`scripts/benchmark/cores/`); callgrind counts
the instructions of that and of nothing else. They are the same on a busy machine and on a calm one.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PROGRAM = pathlib.Path("target/release/examples/cores")


def main():
    options = parse()
    if options.profile:
        profile(options.word)
        return
    cores = measure(options.word)
    if options.save:
        pathlib.Path(options.save).write_text(json.dumps(cores, indent=2), encoding="utf-8")
    before = {}
    if options.against:
        text = pathlib.Path(options.against).read_text(encoding="utf-8")
        before = {core["name"]: core["instructions"] for core in json.loads(text)}
    print(table(cores, before))


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench cores", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", nargs="*",
                        help="cores of this room, or with this in their name; all unless said")
    parser.add_argument("--profile", action="store_true",
                        help="show in which functions and lines of them the instructions are")
    parser.add_argument("--save", metavar="FILE", help="write every figure there, for programs")
    parser.add_argument("--against", metavar="FILE", help="compare with figures that were saved")
    return parser.parse_args()


def profile(words):
    """Prints callgrind's own table of the cores together."""
    with tempfile.TemporaryDirectory(prefix="rip-cores-") as directory:
        out = os.path.join(directory, "out")
        run(words, out)
        subprocess.run(["callgrind_annotate", "--auto=yes", "--threshold=95", out], check=True)


def measure(words):
    """Every core: room, name, instructions and allocations each time it does its work."""
    with tempfile.TemporaryDirectory(prefix="rip-cores-") as directory:
        out = os.path.join(directory, "out")
        # What was counted is written down after each core.
        lines = [line.split("\t") for line in run(words, out, "--dump-before=*cores::ended*")]
        counts = [counted(f"{out}.{part}") for part in range(1, len(lines) + 1)]
    # The first one does nothing: the loop around all of them.
    return [
        {"room": room, "name": name, "instructions": (count - counts[0]) / int(turns),
         "allocations": int(allocations) / int(turns)}
        for (room, name, turns, allocations), count in zip(lines[1:], counts[1:])
    ]


def run(words, out, *options):
    """The lines that the cores print under callgrind, which writes to `out`."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
               "--toggle-collect=*cores::counted*", *options, PROGRAM, *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"scripts/bench cores: failed: {done.stderr}")
    return done.stdout.splitlines()


def counted(path):
    with open(path, encoding="utf-8") as file:
        return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE)[1])


def table(cores, before):
    head = ["| core | | instructions | allocations |", "|---|---|---:|---:|"]
    if before:
        head = ["| core | | instructions | before | | allocations |", "|---|---|---:|---:|---:|---:|"]
    rows = []
    for core in cores:
        compared = ""
        if before:
            was = before.get(core["name"])
            compared = f"| {was:,.0f} | {core['instructions'] / was:.2f} " if was else "| | "
        rows.append(f"| {core['room']} | {core['name']} | {core['instructions']:,.0f} {compared}"
                    f"| {core['allocations']:g} |")
    return "\n".join(head + rows)


main()
