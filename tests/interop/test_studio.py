"""What leaves a studio flow is played by decoders that are not ours, whatever the output and whatever the camera."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from firmware import model
from firmware.model import parse_flow
from firmware.secrets import generate
from tests.box.lab import Lab
from tests.lab.programs import Program, wait_until

from .test_sending import CAPS

FRAMES = 12  # of 60 in two seconds: the key picture may come late, and a busy machine drops pictures
KINDS = ("srt-listener", "srt-caller", "rtp", "udp")


def output(kind: str, name: str, port: int) -> dict[str, object]:
    place = {"port": port} if kind == "srt-listener" else {"port": port, "host": "127.0.0.1"}
    return {"protocol": kind, "name": name, **place} | ({"secret": "play"} if kind.startswith("srt") else {})


def address(end: model.Output, phrase: str) -> str:
    """Where a player finds the output: it calls one that listens, and listens for one that calls."""
    if isinstance(end, model.Srt):
        mode = "caller" if isinstance(end, model.SrtListenerOutput) else "listener"
        return f"srt://127.0.0.1:{end.port}?mode={mode}&passphrase={phrase}&pbkeylen=32"
    return f"{end.__struct_config__.tag}://127.0.0.1:{end.port}"


def ffprobe(url: str) -> list[str]:
    wanted = ["-count_frames", "-read_intervals", "%+2", "-show_entries", "stream=codec_name,nb_read_frames"]
    return ["ffprobe", "-v", "error", "-analyzeduration", "1M", *wanted, "-of", "json", url]


def gstreamer(url: str) -> list[str]:
    port = url.rpartition(":")[2]
    source = {
        "srt": ["srtsrc", f"uri={url}"],
        "rtp": ["udpsrc", f"port={port}", f"caps={CAPS}", "!", "rtpmp2tdepay"],
        "udp": ["udpsrc", f"port={port}"],
    }[url.partition(":")[0]]
    sink = f"fakesink sync=false num-buffers={FRAMES}"
    picture, sound = "queue ! h264parse ! avdec_h264", "queue ! aacparse ! avdec_aac"
    return ["gst-launch-1.0", "-q", *source, *f"! tsdemux name=d d. ! {picture} ! {sink} d. ! {sound} ! {sink}".split()]


@pytest.fixture(params=["pattern", "bikes.mp4", "bigbuckbunny.mp4"])
def lab(request, places, udp_port, film) -> Iterator[Lab]:
    camera = "pattern" if request.param == "pattern" else f"clip:{film(request.param)}"
    with Lab(places, udp_port, camera={"camera": camera, "video_bps": 1_500_000}) as lab:
        lab.wait(lab.merged, what="both paths merged")
        yield lab


PLAYERS: dict[str, Callable[[str], list[str]]] = {"ffprobe": ffprobe, "gst-launch-1.0": gstreamer}


def test_every_output_is_decoded(lab: Lab, need, udp_port):
    for player in PLAYERS:
        need(player)
    phrase = generate()
    lab.service.secrets.set("play", phrase)
    studio = json.loads(model.dump_flow(lab.service.get("studio").flow))
    played = {f"{kind}-{number}": player for kind in KINDS for number, player in enumerate(PLAYERS)}
    studio["outputs"] += [output(name.rpartition("-")[0], name, udp_port()) for name in played]
    changed = parse_flow(studio)
    with ExitStack() as running:
        players = {
            end.name: Program(PLAYERS[played[end.name]](address(end, phrase)))
            for end in changed.outputs
            if end.name in played and not isinstance(end, model.SrtListenerOutput)
        }
        for player in players.values():
            running.enter_context(player)
        lab.service.replace(changed)
        lab.wait(lambda: len(((s := lab.status("studio")) and s.outputs) or []) == 1 + len(played), what="the outputs are there")
        for end in changed.outputs:  # a caller asks once: the output must be listening
            if isinstance(end, model.SrtListenerOutput):
                players[end.name] = running.enter_context(Program(PLAYERS[played[end.name]](address(end, phrase))))
        wait_until(lambda: all(p.process.poll() is not None for p in players.values()), 25, "all have played", players.values())
        for name, player in players.items():
            assert player.wait() == 0, f"{name}: {player}"
            if played[name] == "ffprobe":
                streams = {s["codec_name"]: int(s["nb_read_frames"]) for s in json.loads("".join(player.out))["streams"]}
                assert streams.keys() == {"h264", "aac"}, f"{name}: {player}"
                assert min(streams.values()) >= FRAMES, f"{name}: {player}"
    lab.flows_on()
    assert not lab.difference()
