"""Runs the benchmarks of billing-core and sums them up: scripts/bench/core.py [ARG...]

Arguments go to the benchmarks, such as a filter. Ends with one line of JSON: the median of each
benchmark in nanoseconds. Fails when a benchmark failed, when none ran, or when one takes longer
than MAX_MEDIAN_NS: a rule of money must stay far below the cost of passing a call on.
"""

import json
import re
import subprocess
import sys

MAX_MEDIAN_NS = 100_000
NANOS = {"ns": 1, "µs": 1_000, "μs": 1_000, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
BRANCH = re.compile(r"^(?P<indent>(?:│  |   )*)(?:├─|╰─) (?P<name>\S+)\s*(?P<rest>.*)$")
TIME = re.compile(r"^([0-9.]+) (ns|µs|μs|us|ms|s)$")


def medians(lines: list) -> dict:
    """The median of each leaf of the printed tree, by path, in nanoseconds."""
    found, path = {}, []
    for line in lines:
        branch = BRANCH.match(line.rstrip())
        if not branch:
            if line and not line[0].isspace() and line[0] not in "│├╰":
                path = []
            continue
        depth = len(branch["indent"]) // 3
        path = path[:depth] + [branch["name"]]
        columns = [column.strip() for column in branch["rest"].split("│")]
        # fastest, slowest, median, mean, samples, iterations
        median = TIME.match(columns[2]) if len(columns) >= 6 else None
        if median:
            found["/".join(path)] = round(float(median[1]) * NANOS[median[2]], 3)
    return found


def main() -> int:
    command = ["cargo", "bench", "--locked", "-p", "billing-core", "--benches", "--", *sys.argv[1:]]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    lines = []
    for line in run.stdout:
        print(line, end="", file=sys.stderr)
        lines.append(line)
    status = run.wait()
    figures = medians(lines)
    broken = [f"{name}: {ns} ns, at most {MAX_MEDIAN_NS}" for name, ns in figures.items() if ns > MAX_MEDIAN_NS]
    if status != 0:
        broken.append(f"cargo bench ended with {status}")
    if not figures:
        broken.append("no benchmark ran")
    verdict = "fail" if broken else "pass"
    print(json.dumps({"proof": "bench-core", "median_ns": figures, "broken": broken, "verdict": verdict}))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
