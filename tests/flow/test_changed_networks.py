"""The lease of one path changes, in the kernel: every end on it goes on from the new address, and the other path's see nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.lab import networks
from tests.lab.networks import STUDIO, Networks
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder

from .running import datagrams, running, sender, udp_in, udp_out

RATE_BPS = 1_000_000
PORT, FEC_PORT, SRT_PORT, BACK_PORT, LATER_PORT = 5000, 5010, 5020, 5030, 5040
STREAM = datagrams(6000, RATE_BPS)
ALLOW = ["10.77.0.0/16"]


@pytest.fixture
def network() -> Iterator[Networks]:
    why = networks.missing()
    if why:
        pytest.skip(why)
    with Networks() as opened:
        yield opened


def test_every_end_goes_on_from_the_new_address(network):
    a, b = STUDIO["a"], STUDIO["b"]
    old = network.address["a"]
    new = old.rsplit(".", 1)[0] + ".3"
    srt: dict[str, Any] = {"clear": True, "latency_ms": 50}
    by_a = {"bind_device": "path-a"}
    with ExitStack() as stack:
        with network.inside("studio"):
            got = {port: stack.enter_context(Recorder(a, port)) for port in (PORT, FEC_PORT, LATER_PORT)}
            steady, of_srt = stack.enter_context(Recorder(b, PORT)), stack.enter_context(Recorder())
            listener = {"protocol": "srt-listener", "name": "in", "address": a, "port": SRT_PORT, "allow": ALLOW, **srt}
            studio = stack.enter_context(running(sources=[listener], outputs=[udp_out("got", of_srt.port)]))
            back = {"protocol": "srt-listener", "name": "back", "address": a, "port": BACK_PORT, "allow": ALLOW, **srt}
            stack.enter_context(running(sources=[udp_in(PORT)], outputs=[back]))
            stack.enter_context(sender(STREAM, PORT, RATE_BPS))
        with network.inside("venue"):
            of_back = stack.enter_context(Recorder())
            outputs = [
                udp_out("udp", PORT, gather_ms=20) | {"host": a},
                udp_out("fec", FEC_PORT, columns=5, rows=5) | {"protocol": "rtp-fec", "host": a, **by_a},
                udp_out("srt", SRT_PORT) | {"protocol": "srt-caller", "host": a, **srt, **by_a},
                udp_out("later", LATER_PORT) | {"host": a, "bind_address": new},
                udp_out("steady", PORT) | {"host": b, "bind_device": "path-b"},
            ]
            venue = stack.enter_context(running(sources=[udp_in(PORT)], outputs=outputs))
            caller = {"protocol": "srt-caller", "name": "back", "host": a, "port": BACK_PORT, **srt, **by_a}
            dialling = stack.enter_context(running(sources=[caller], outputs=[udp_out("got", of_back.port)]))
            feed = stack.enter_context(sender(STREAM, PORT, RATE_BPS))
        recorders = [got[PORT], got[FEC_PORT], of_srt, of_back, steady]
        wait_until(lambda: all(len(recorder.datagrams) > 20 for recorder in recorders), 30, "all ends deliver")
        assert [output.state for output in venue.status().outputs if output.name == "later"] == ["failed"]
        assert studio.status().sources[0].peer.startswith(f"{old}:")

        assert network.move_address("a") == new
        wait_until(lambda: studio.status().sources[0].peer.startswith(f"{new}:"), 20, "the SRT output calls from the new address")
        wait_until(lambda: any(new in event.text for event in dialling.status().events), what="the change is told")
        recorders.append(got[LATER_PORT])
        before = [len(recorder.datagrams) for recorder in recorders]

        def on() -> bool:
            return all(len(recorder.datagrams) > count + 50 for recorder, count in zip(recorders, before, strict=True))

        wait_until(on, 20, "all ends deliver again")
        texts = [event.text for event in venue.status().events]
        assert f"network: address removed path-a {old}" in texts
        assert f"network: address added path-a {new}" in texts
        assert {output.state for output in venue.status().outputs} == {"connected"}
        assert steady.datagrams == feed.sent[: len(steady.datagrams)]
        assert next(output for output in venue.status().outputs if output.name == "steady").dropped == 0
