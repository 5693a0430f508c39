"""`scripts/bench`: Pressbox and its peers, measured in the same run on the same machine."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from importlib import import_module
from pathlib import Path

from tests.bench.processes import BenchError, load
from tests.bench.report import Report, drawing, machine

NAMES = ("latency", "cpu", "start", "fec", "srt", "fanout", "wire", "recovery", "api", "encoder", "box", "adapt")
SWITCH_INTERVAL_S = 0.0005  # a thread that takes a time must not wait 5 ms for another


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Pressbox against FFmpeg, GStreamer and others, in the same run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} (default: all)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of each window (default: each bench's own)")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often each is measured; the median counts (default: 3, start: 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name holds this")
    parser.add_argument("--polls", type=int, default=0, metavar="N", help="of api: so many more, 5 a second, with the memory they take")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the comparisons as SVG, too")
    options = parser.parse_args()
    names = options.names or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no bench is called {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    reports: list[Report] = []
    if not options.json:
        print("  ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    for name in names:
        try:
            more = {"polls": options.polls} if name == "api" else {}
            report: Report = import_module(f"tests.bench.{name}").run(options.seconds, options.repeats, options.only, **more)
        except BenchError as error:
            print(f"scripts/bench: {name}: {error}", file=sys.stderr)
            return 1
        report.load_after = load()
        reports.append(report)
        if not options.json:
            print(f"\n{report}", flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "benches": [report.as_json() for report in reports]}, indent=1))
    if options.plot:
        pictures = [report.picture for report in reports if report.picture]
        bars = [bar for report in reports for bar in report.bars]
        options.plot.write_text(drawing(bars) if bars or not pictures else pictures[0])
    return 1 if any(report.failures for report in reports) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
