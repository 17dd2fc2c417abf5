"""Measures scenarios in turn (A B A B ...) and prints medians, ratios and whether goals were met."""

import argparse
import json
import sys
import tempfile

import growth
import report
import rows
import soak

# What is not measured in turns, and has options of its own.
OTHERS = {"growth": growth.main, "soak": soak.main}


def main():
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        sys.exit(OTHERS[sys.argv[1]](sys.argv[2:]))
    options = parse()
    if options.list:
        print(report.listing(rows.ALL))
        return
    machine, results, failed = told(options.from_) if options.from_ else measured(options)
    if options.json:
        print(json.dumps({"machine": machine, "results": results}, indent=2))
    else:
        print(report.markdown(machine, results))
    sys.exit(failed)


def measured(options):
    results, failed = [], False
    for one in rows.chosen(options.scenario):
        with tempfile.TemporaryDirectory(prefix="rip-bench-") as directory:
            try:
                results.append(one.run(directory, options))
                print(f"{one.name}: done", file=sys.stderr)
            except SystemExit as reason:
                # What others gave is not thrown away.
                print(f"{one.name}: FAILED: {reason}", file=sys.stderr)
                failed = True
    return report.machine(), results, failed


def told(files):
    """What was measured in several goes, each of them printed with `--json`."""
    goes = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            goes.append(json.load(file))
    return goes[0]["machine"], [result for go in goes for result in go["results"]], False


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("scenario", nargs="*",
                        help=f"all unless named, one by one or as groups: {', '.join(rows.groups())}; or "
                             f"first one of {', '.join(OTHERS)}, which have a --help of their own")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--seconds", type=int, default=3, help="length of one turn")
    parser.add_argument("--against", action="append", metavar="SERVER",
                        help="beside ours only this contestant; repeatable")
    parser.add_argument("--strace", action="store_true", help="count system calls a request, too")
    parser.add_argument("--json", action="store_true", help="every figure, for programs")
    parser.add_argument("--from", dest="from_", action="append", metavar="FILE",
                        help="measure nothing: report what --json wrote there; repeatable")
    return parser.parse_args()


main()
