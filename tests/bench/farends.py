"""What a measured sender sends to: sinks, behind receivers where the protocol needs one, and a tap before those that tells times."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ports import Packet, Ports, finish, records
from tests.bench.processes import Lab, free_port, is_bound
from tests.bench.relays import LATENCY_MS, Wiring

FEC_OFFSETS = (0, 2, 4)  # SMPTE 2022-1: media, columns, rows
RIST_MS = 200
BOTH_WAYS = 2  # of a tap


@dataclass(frozen=True)
class FarEnd:
    """`file` holds the sink's records, or the tap's; the first `outputs` of the sink's ports get the stream, what follows its FEC."""

    sink: subprocess.Popen[bytes]
    file: Path
    outputs: int
    tap: subprocess.Popen[bytes] | None = None
    places: range = range(1)  # of the records that count; the stream's is the first

    def finish(self) -> dict[str, list[int]]:
        """What the sink counted. After this the records are whole."""
        if self.tap is not None:
            finish(self.tap)
        counted: dict[str, list[int]] = finish(self.sink)
        return counted

    def arrivals(self, from_ns: int, to_ns: int) -> list[Packet]:
        return [packet for packet in records(self.file) if packet.place in self.places and from_ns <= packet.at_ns < to_ns]

    def least(self, counted: dict[str, list[int]]) -> int:
        """Datagrams that the worst output got."""
        return min(counted["datagrams"][: self.outputs])


def far_end(lab: Lab, ports: Ports, protocol: str, wiring: Wiring) -> FarEnd:
    file = ports.folder / f"arrivals-{wiring.first_port}"
    if protocol == "fec":
        sink = ports.sink(lab, file, [wiring.first_port + offset for offset in FEC_OFFSETS], recorded=len(FEC_OFFSETS))
        return FarEnd(sink, file, 1, places=range(len(FEC_OFFSETS)))
    if protocol in ("udp", "rtp"):
        return FarEnd(ports.sink(lab, file, wiring.ports), file, wiring.outputs)
    first_sink = free_port(wiring.outputs)
    sink = ports.sink(lab, Path("/dev/null"), range(first_sink, first_sink + wiring.outputs), recorded=0)
    if protocol == "srt-listener":
        return _calling(lab, ports, wiring, sink, file, first_sink)
    behind_tap = free_port()
    listening = [behind_tap, *wiring.ports[1:]]
    for number, port in enumerate(listening):
        lab.start(receiver(protocol, port, first_sink + number, wiring.passphrase))
    lab.wait(lambda: all_bound(listening), f"the {protocol} receivers listen")
    return FarEnd(sink, file, wiring.outputs, ports.tap(lab, file, wiring.first_port, behind_tap))


def _calling(lab: Lab, ports: Ports, wiring: Wiring, sink: subprocess.Popen[bytes], file: Path, sink_port: int) -> FarEnd:
    """The sender will listen on the first port; the receiver calls it through the tap, again and again until it does."""
    tap_port = free_port()
    tap = ports.tap(lab, file, tap_port, wiring.first_port)
    lab.start(["srt-live-transmit", "-q", _srt("caller", tap_port, wiring.passphrase), f"udp://127.0.0.1:{sink_port}"])
    return FarEnd(sink, file, 1, tap, places=range(1, BOTH_WAYS))


def all_bound(ports: Iterable[int]) -> bool:
    return all(map(is_bound, ports))


def receiver(protocol: str, port: int, sink_port: int, passphrase: str) -> list[str]:
    """A peer that listens, decrypts, and gives what it got to a UDP port."""
    if protocol == "rist":
        source = f"rist://@127.0.0.1:{port}?buffer={RIST_MS}&secret={passphrase}&aes-type=256"
        return ["ristreceiver", "-p", "1", "-v", "3", "-S", "0", "-i", source, "-o", f"udp://127.0.0.1:{sink_port}"]
    return ["srt-live-transmit", "-q", _srt("listener", port, passphrase), f"udp://127.0.0.1:{sink_port}"]


def _srt(mode: str, port: int, passphrase: str) -> str:
    return f"srt://127.0.0.1:{port}?mode={mode}&latency={LATENCY_MS}&passphrase={passphrase}&pbkeylen=32"
