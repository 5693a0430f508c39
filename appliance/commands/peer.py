"""`pressbox peer`: other hosts whose flows this one is entitled to."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from appliance.exits import OK
from firmware.places import Places

if TYPE_CHECKING:
    from appliance.api.peers import Peer

EXAMPLES = """\
  pressbox peer add studio https://studio.example:8443 --key-id PBOXMFRGGZDFMZTWQ2LK --ca studio.pem < secret
  pressbox peer entitlements
  aws mediaconnect create-flow --name from-studio --source EntitlementArn=arn:pressbox:mediaconnect:local:…"""
MORE = """\
An entitlement is given by one host to another. The host that gives issues an access key of the role `subscriber` for the account that it
names as a subscriber (`pressbox key issue --name truck --role subscriber --account 111122223333`). The host that takes makes that host a
peer here, once, and then creates flows by the ARN of an entitlement alone: address, port and passphrase are the hosts' business.
The secret access key is read from standard input, never from the command line."""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    peer = command("peer", _run, "name the hosts whose flows this one is entitled to", EXAMPLES, MORE)
    actions = peer.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    added = actions.add_parser("add", help="make a host known, or change what is known of it; it is asked once, to see that it answers")
    added.add_argument("name", help="a name of your own for it: 1 to 63 of a-z, 0-9 and -")
    added.add_argument("url", help="where its API answers: https://HOST:8443")
    added.add_argument(
        "--key-id", required=True, metavar="ID", help="of the access key that it issued to us; the secret comes on standard input"
    )
    added.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM file of the certificate that vouches for it, or of its own (default: the system's)"
    )
    added.add_argument("--unseen", action="store_true", help="keep it though it does not answer now")
    for name, text in (("list", "the peers there are"), ("entitlements", "what they grant to us")):
        actions.add_parser(name, help=text).add_argument("--json", action="store_true", help="as JSON, one line each")
    actions.add_parser("remove", help="forget a peer; flows that came from it go on until it ends them").add_argument("name")


def _run(options: argparse.Namespace) -> int:
    actions = {"add": _add, "list": _list, "entitlements": _entitlements, "remove": _remove}
    actions[options.action](options)
    return OK


def _add(options: argparse.Namespace) -> None:
    from appliance.api.peers import Peer, Peers, ask, certificate_in, check_peer
    from appliance.service import record

    places = Places.from_environment()
    places.create()
    certificate = certificate_in(options.ca) if options.ca else ""
    peer = check_peer(Peer(name=options.name, url=options.url.rstrip("/"), key_id=options.key_id, certificate=certificate))
    peers = Peers(places)
    before = next((one for one in peers.list() if one.name == peer.name), None)
    secret = getpass.getpass("secret access key: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    granted = None if options.unseen else ask(peer, secret, "GET", "/v1/entitlements")["entitlements"]
    record(places, "AddPeer", peer.name, before=_told(before), after=_told(peer))
    peers.keep(peer, secret)
    if granted is not None:
        print(f"{peer.name} answers; granted to us: {', '.join(one['entitlementName'] for one in granted) or 'nothing yet'}")


def _list(options: argparse.Namespace) -> None:
    from appliance.api.peers import Peers

    for peer in Peers(Places.from_environment()).list():
        print(msgspec.json.encode(_told(peer)).decode() if options.json else f"{peer.name:20}  {peer.url:40}  {peer.key_id}")


def _entitlements(options: argparse.Namespace) -> None:
    from appliance.api.peers import PeerError, Peers

    peers = Peers(Places.from_environment())
    trouble: list[str] = []
    for peer in peers.list():
        try:
            granted = peers.ask(peer, "GET", "/v1/entitlements")["entitlements"]
        except PeerError as error:
            trouble.append(str(error))
            continue
        for one in granted:
            row = f"{peer.name:20}  {one['dataTransferSubscriberFeePercent']:3} % of the transfer ours  {one['entitlementArn']}"
            print(msgspec.json.encode({"peer": peer.name, **one}).decode() if options.json else row)
    if trouble:
        raise PeerError("; ".join(trouble))


def _remove(options: argparse.Namespace) -> None:
    from appliance.api.peers import Peers
    from appliance.service import record

    places = Places.from_environment()
    peers = Peers(places)
    record(places, "RemovePeer", options.name, before=_told(peers.get(options.name)), after=None)
    peers.remove(options.name)


def _told(peer: Peer | None) -> dict[str, object] | None:
    if peer is None:
        return None
    return {"name": peer.name, "url": peer.url, "key": peer.key_id, "certificate": "its own" if peer.certificate else "the system's"}
