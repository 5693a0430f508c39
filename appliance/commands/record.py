"""`pressbox flow record`: a flow is recorded on this machine beside its outputs."""

from __future__ import annotations

import argparse
import re
from typing import Any

import msgspec

from appliance.exits import OK
from firmware.model import dump_flow, parse_flow
from firmware.places import Places

SCALES = {"M": 1, "G": 1000, "T": 1_000_000}


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    record = actions.add_parser(
        "record",
        help="record it on this machine, in files of a minute, within a bound",
        description="Record a flow on this machine, beside its outputs. A recording never holds the stream up: what the disk does not "
        "take in time is missing in it, and counted. It may be changed while the flow runs.",
    )
    record.add_argument("name", help="name of the flow")
    record.add_argument("--off", action="store_true", help="record it no longer; what is there stays")
    record.add_argument("--folder", default="", metavar="DIR", help="where (default: recordings, in the state folder)")
    record.add_argument("--keep", type=_size, default=20_000, metavar="SIZE", help="all its files together, like 500M or 2T (default: 20G)")
    record.add_argument("--leave", type=_size, default=500, metavar="SIZE", help="free on the disk for everything else (default: 500M)")
    record.add_argument("--segment", type=int, default=60, metavar="S", help="length of a file in seconds (default: 60)")
    record.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from appliance.service import Service

    service = Service(Places.from_environment())
    flow: dict[str, Any] = msgspec.json.decode(dump_flow(service.get(options.name).flow))
    settings = {"folder": options.folder, "keep_mb": options.keep, "leave_mb": options.leave, "segment_s": options.segment}
    flow["recording"] = None if options.off else settings
    service.replace(parse_flow(flow))
    return OK


def _size(text: str) -> int:
    """In MB."""
    found = re.fullmatch(r"([0-9]{1,9})([MGT])", text.upper().removesuffix("B"), re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a size; write one like 500M, 20G or 2T")
    return int(found[1]) * SCALES[found[2]]
