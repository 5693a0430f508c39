"""What a measured sender sends to: sinks, behind receivers where the protocol needs one, and a tap before those that tells times."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.ports import Ports, finish, records
from tests.bench.processes import Lab, free_port, is_bound
from tests.bench.relays import LATENCY_MS, Wiring
from tests.bench.shape import Shape, shape_of

FEC_OFFSETS = (0, 2, 4)  # SMPTE 2022-1: media, columns, rows
RIST_MS = 200


@dataclass(frozen=True)
class FarEnd:
    """`file` holds the sink's records, or the tap's; `outputs` of the sink's ports are the stream, what follows is its FEC."""

    sink: subprocess.Popen[bytes]
    file: Path
    outputs: int
    tap: subprocess.Popen[bytes] | None = None

    def finish(self) -> dict[str, list[int]]:
        """What the sink counted. After this the records are whole."""
        if self.tap is not None:
            finish(self.tap)
        counted: dict[str, list[int]] = finish(self.sink)
        return counted

    def shape(self, from_ns: int, to_ns: int) -> Shape | None:
        """Around the line are the packets of the stream; bursts are counted with FEC, which the network must carry too."""
        packets = [packet for packet in records(self.file) if from_ns <= packet.at_ns < to_ns]
        stream, every = (shape_of([packet.at_ns for packet in packets if packet.place <= last]) for last in (0, FEC_OFFSETS[-1]))
        if stream is None or every is None:
            return None
        return replace(every, spread_ms=stream.spread_ms, rate=stream.rate)

    def least(self, counted: dict[str, list[int]]) -> int:
        """Datagrams that the worst output got."""
        return min(counted["datagrams"][: self.outputs])


def far_end(lab: Lab, ports: Ports, protocol: str, wiring: Wiring) -> FarEnd:
    file = ports.folder / f"arrivals-{wiring.first_port}"
    if protocol == "fec":
        return FarEnd(ports.sink(lab, file, [wiring.first_port + offset for offset in FEC_OFFSETS], recorded=3), file, 1)
    if protocol in ("udp", "rtp"):
        return FarEnd(ports.sink(lab, file, wiring.ports), file, wiring.outputs)
    first_sink = free_port(wiring.outputs)
    sink = ports.sink(lab, Path("/dev/null"), range(first_sink, first_sink + wiring.outputs), recorded=0)
    behind_tap = free_port()
    listening = [behind_tap, *wiring.ports[1:]]
    for number, port in enumerate(listening):
        lab.start(receiver(protocol, port, first_sink + number, wiring.passphrase))
    lab.wait(lambda: all_bound(listening), f"the {protocol} receivers listen")
    return FarEnd(sink, file, wiring.outputs, ports.tap(lab, file, wiring.first_port, behind_tap))


def all_bound(ports: Iterable[int]) -> bool:
    return all(map(is_bound, ports))


def receiver(protocol: str, port: int, sink_port: int, passphrase: str) -> list[str]:
    if protocol == "rist":
        source = f"rist://@127.0.0.1:{port}?buffer={RIST_MS}&secret={passphrase}&aes-type=256"
        return ["ristreceiver", "-p", "1", "-v", "3", "-S", "0", "-i", source, "-o", f"udp://127.0.0.1:{sink_port}"]
    listener = f"srt://127.0.0.1:{port}?mode=listener&latency={LATENCY_MS}&passphrase={passphrase}&pbkeylen=32"
    return ["srt-live-transmit", "-q", listener, f"udp://127.0.0.1:{sink_port}"]
