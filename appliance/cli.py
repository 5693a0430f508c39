"""The command `pressbox`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.commands import alarm, apply, audit, doctor, entitlements, grammar, key, lights, lock, peer, record, secret, stats
from appliance.exits import AUTH, FAILED, MEANINGS, MEDIA, NETWORK, OK, USAGE, Failure
from firmware.model import FlowError, dump_flow, parse_flow
from firmware.places import Places

Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    command: Command = options.run
    try:
        return command(options)
    except Failure as failure:
        print(f"pressbox: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise
        print(f"pressbox: {error}", file=sys.stderr)
        return code


def _code_of(error: Exception) -> int | None:
    """Exit code of an error that is a sentence; None for one that is a fault of ours."""
    kinds = {
        "FlowError": USAGE,
        "UrlError": USAGE,
        "SecretError": AUTH,
        "CameraError": MEDIA,
        "SrtRefused": AUTH,
        "SrtError": NETWORK,
        "RistError": NETWORK,
        "UdpError": NETWORK,
        "StoreError": FAILED,
        "Locked": AUTH,
        "AuditError": FAILED,
        "AlarmError": USAGE,
        "PanelFileError": USAGE,
        "AccessKeyError": FAILED,
        "PeerError": FAILED,
        "Refused": FAILED,
        "AlreadyRunning": FAILED,
    }
    if isinstance(error, PermissionError) and not type(error).__mro__[0].__name__.startswith("Srt"):
        return FAILED
    return next((kinds[base.__name__] for base in type(error).__mro__ if base.__name__ in kinds), None)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="pressbox",
        description="A camera on air over two paths, into flows that lose nothing.",
        epilog="Try `pressbox demo`.  " + MEANINGS,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")

    def command(name: str, run: Command, text: str, examples: str = "", more: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=(f"{more}\n\n" if more else "") + (f"examples:\n{examples}\n\n" if examples else "") + MEANINGS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    demo = command(
        "demo",
        _demo,
        "show the main job on this machine: a camera, two encrypted paths, a merge, three outputs",
        "  pressbox demo --camera clip:match.mp4",
    )
    demo.add_argument(
        "--camera",
        default="pattern?size=1280x720&fps=30&bitrate=4M",
        metavar="CAMERA",
        help="pattern, or clip:FILE for a film (default: pattern)",
    )
    demo.add_argument("--port", type=_tcp_port, default=8080, help="TCP port of the page (default: 8080)")
    demo.add_argument("--seconds", type=_seconds, help="end by itself after so long on air")
    demo.add_argument("-v", "--verbose", action="store_true", help="say what the workers say")

    box = command(
        "run",
        _run,
        "run this box: every flow that is wanted, and the page",
        "  pressbox run --port 8080\n  pressbox run --no-web\n"
        "  pressbox run --api 8443 --api-address 192.0.2.7 --api-cert host.pem --api-key host.key",
    )
    box.add_argument("--port", type=_tcp_port, default=8080, help="TCP port of the page (default: 8080)")
    box.add_argument("--no-web", action="store_true", help="no page")
    box.add_argument("--api", type=_tcp_port, metavar="PORT", help="serve MediaConnect's API over the flows on this TCP port too")
    box.add_argument("--api-address", default="127.0.0.1", metavar="ADDRESS", help="where it listens (default: this machine alone)")
    box.add_argument("--api-cert", default="", metavar="FILE", help="its certificate, PEM; needed where others may ask")
    box.add_argument("--api-key", default="", metavar="FILE", help="the key of the certificate, PEM")

    status = command("status", _status, "what every flow does now", "  pressbox status --watch\n  pressbox status --json | jq '.[].merge'")
    status.add_argument("--watch", action="store_true", help="every second, until interrupted")
    status.add_argument("--json", action="store_true", help="the snapshots as they are")

    _add_flow_commands(command("flow", _flow, "create, list, show, start, stop and delete flows", grammar.FLOWS))
    cut = command("cut", _cut, "rehearse: cut an output's path for some seconds", "  pressbox cut demo-box path-a --seconds 5")
    cut.add_argument("flow", help="name of the flow")
    cut.add_argument("output", help="name of its output")
    cut.add_argument("--seconds", type=_seconds, default=5.0, help="how long, 30 at most (default: 5)")

    doctor.add(command)
    secret.add(command)
    key.add(command)
    audit.add(command)
    lock.add(command)
    peer.add(command)
    entitlements.add(command)
    apply.add(command)
    alarm.add(command)
    lights.add(command)
    for name, text in (
        ("send", "send a camera or a stream in the foreground"),
        ("recv", "receive a stream, or two copies of one, in the foreground"),
    ):
        shot = command(name, _oneshot, text, grammar.SHOTS, grammar.ENDS)
        shot.add_argument("source", metavar="IN", help="pattern, clip:FILE, or a srt://, rist://, rtp://, srtp:// or udp:// URL")
        shot.add_argument("outputs", metavar="OUT", nargs="+", help="srt://, rist://, rtp://, srtp:// or udp:// URL")
        shot.add_argument("--second", metavar="IN", help="a second source, recovered together with the first")
        shot.add_argument(
            "--recover", choices=["merge", "failover"], default="merge", help="two copies of one stream, or two streams (default: merge)"
        )
        shot.add_argument("--primary", choices=["first", "second"], help="the source of a failover that plays whenever it is steady")
        shot.add_argument(
            "--silence", type=int, default=500, metavar="MS", help="how long a failover waits for a silent source (default: 500)"
        )
        shot.add_argument("--window", type=int, default=200, metavar="MS", help="how long a merge waits for the slower copy (default: 200)")
        shot.add_argument("--pacing", choices=["arrival", "pcr"], default="arrival", help="leave as it came, or smoothed by its PCR")
        shot.add_argument("--stats", type=_seconds, metavar="S", help="say how it goes every S seconds")
        shot.add_argument("--json", action="store_true", help="say it as JSON, on standard output")
        shot.add_argument("--seconds", type=_seconds, metavar="S", help="end after so long")
        shot.add_argument("--timeout", type=_seconds, metavar="S", help="give up when nothing arrives within so long (exit code 6)")
        shot.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    return top


def _tcp_port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; ports are 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _add_flow_commands(flow: argparse.ArgumentParser) -> None:
    actions = flow.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    create = actions.add_parser("create", help="create a flow from a JSON file, or replace one")
    create.add_argument("file", help="JSON file, - for standard input; `pressbox flow show NAME` prints one to start from")
    create.add_argument("--start", action="store_true", help="and start it")
    create.add_argument("--replace", action="store_true", help="there is one of this name: change it, while it runs")
    show = actions.add_parser("show", help="print the definition as JSON")
    show.add_argument("name", help="name of the flow")
    show.add_argument("--urls", action="store_true", help="its ends as URLs instead")
    for name, text in (("enable", "let an output send"), ("disable", "let an output send nothing, and keep it")):
        switch = actions.add_parser(name, help=text)
        switch.add_argument("name", help="name of the flow")
        switch.add_argument("output", help="name of its output")
    for name, text in (
        ("start", "start it, now and after every restart"),
        ("stop", "stop it"),
        ("delete", "stop and forget it"),
    ):
        actions.add_parser(name, help=text).add_argument("name", help="name of the flow")
    listed = actions.add_parser("list", help="all flows")
    listed.add_argument("--json", action="store_true", help="with their definitions")
    stats.add(actions)
    record.add(actions)


def _demo(options: argparse.Namespace) -> int:
    from appliance import demo

    return demo.run(options)


def _run(options: argparse.Namespace) -> int:
    from appliance import apid, mediad
    from firmware.engine import Engine

    api: list[str] | None = None
    if options.api is not None:
        api = ["--port", str(options.api), "--address", options.api_address]
        api += ["--cert", options.api_cert, "--key", options.api_key] if options.api_cert or options.api_key else []
        wrong = apid.wrong_with(api)
        if wrong:
            raise Failure(USAGE, wrong)
    return mediad.run(Engine(Places.from_environment()), web_port=None if options.no_web else options.port, api=api)


def _oneshot(options: argparse.Namespace) -> int:
    from appliance import oneshot

    return oneshot.run(options)


def _status(options: argparse.Namespace) -> int:
    from appliance.show import status_json, status_lines

    places = Places.from_environment()
    while True:
        if options.json:
            print(status_json(places), flush=True)
        else:
            clear = "\x1b[H\x1b[2J" if options.watch and sys.stdout.isatty() else ""
            print(clear + "\n".join(status_lines(places)), flush=True)
        if not options.watch:
            return OK
        time.sleep(1.0)


def _flow(options: argparse.Namespace) -> int:
    from appliance.service import Service
    from appliance.show import url_lines

    service = Service(Places.from_environment())
    action: str = options.action
    if action == "create":
        flow = parse_flow(_read(options.file))
        if options.replace:
            service.replace(flow)
        else:
            service.create(flow)
        if options.start:
            service.start(flow.name)
    elif action == "list":
        for kept in service.list():
            line = {"name": kept.flow.name, "desired": kept.desired, "flow": kept.flow} if options.json else None
            print(msgspec.json.encode(line).decode() if line else f"{kept.flow.name:24} {kept.desired}")
    elif action == "show":
        flow = service.get(options.name).flow
        print("\n".join(url_lines(flow)) if options.urls else msgspec.json.format(dump_flow(flow), indent=2).decode())
    elif action in ("enable", "disable"):
        service.switch(options.name, options.output, on=action == "enable")
    else:
        {"start": service.start, "stop": service.stop, "delete": service.delete}[action](options.name)
    for notice in service.store.notices:
        print(f"pressbox: {notice}", file=sys.stderr)
    return OK


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise FlowError(f"{file} cannot be read: {error.strerror}") from None


def _cut(options: argparse.Namespace) -> int:
    from appliance.service import Service

    Service(Places.from_environment()).cut(options.flow, options.output, options.seconds)
    return OK


if __name__ == "__main__":
    sys.exit(main())
