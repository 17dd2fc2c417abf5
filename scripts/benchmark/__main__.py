"""Measures scenarios in turn (A B A B ...) and prints medians and ratios."""

import argparse
import json
import sys
import tempfile

import report
import scenario
import soak

# What is not measured in turns, and has options of its own.
OTHERS = {"soak": soak.main}


def main():
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        sys.exit(OTHERS[sys.argv[1]](sys.argv[2:]))
    options = parse()
    chosen = [one for one in scenario.ALL if not options.scenario or one.matches(options.scenario)]
    unknown = [
        word for word in options.scenario if not any(one.matches([word]) for one in scenario.ALL)
    ]
    if unknown:
        sys.exit(f"unknown scenario {unknown[0]}; there are: {', '.join(scenario.names())}")
    results = []
    for one in chosen:
        with tempfile.TemporaryDirectory(prefix="rip-bench-") as directory:
            results.append(one.run(directory, options.rounds, options.seconds, options.strace))
        print(f"{one.name}: done", file=sys.stderr)
    machine = report.machine()
    if options.json:
        print(json.dumps({"machine": machine, "results": results}, indent=2))
    else:
        print(report.markdown(machine, results))


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("scenario", nargs="*",
                        help=f"all unless named: {', '.join(scenario.names())}; or first one of "
                             f"{', '.join(OTHERS)}, which have a --help of their own")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--seconds", type=int, default=3, help="length of one turn")
    parser.add_argument("--strace", action="store_true", help="count system calls a request, too")
    parser.add_argument("--json", action="store_true", help="every figure, for programs")
    return parser.parse_args()


main()
