"""`pressbox entitlements`: who may have the streams of this host, who has, and what went there."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import msgspec

from appliance.exits import OK
from firmware.places import Places

EXAMPLES = """\
  pressbox entitlements
  pressbox entitlements --json"""
MORE = """\
Entitlements are granted, switched and revoked through the API (`aws mediaconnect grant-flow-entitlements …`). What was transferred is
counted from when the subscriber took it up, of the last 30 days; when a subscription ends, the sum and the share go into the audit log."""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    listing = command("entitlements", _run, "show who is entitled to this host's streams, and what went to them", EXAMPLES, MORE)
    listing.add_argument("--json", action="store_true", help="as JSON, one line each")


def _run(options: argparse.Namespace) -> int:
    from appliance.api.notes import notes_of
    from appliance.api.transfer import transfer_told, transferred
    from appliance.service import Service

    places = Places.from_environment()
    for kept in Service(places).list():
        for one in notes_of(kept).entitlements:
            taken = one.subscription
            told = transfer_told(one, taken, transferred(places, kept.flow.name, taken)) if taken else {}
            if options.json:
                document = {"flow": kept.flow.name, "entitlement": one.arn, "status": one.status, "subscribers": one.subscribers, **told}
                print(msgspec.json.encode(document).decode())
                continue
            gone = f"{told['bytes'] / 1e9:.2f} GB, {one.fee_percent} % of it theirs" if told else "not taken up"
            print(f"{kept.flow.name:20}  {one.name:20}  {one.status:8}  {', '.join(one.subscribers)}  {gone}")
    return OK
