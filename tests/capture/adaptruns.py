"""Runs of a rule for the bitrate over made-up links, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from firmware.capture.adapt import Adapt, Path, Policy, line_bps

from .belacoder import Belacoder
from .linksim import DATAGRAM_BITS, MS, PACKET_BITS, Link, SrtPath

FLOOR, CEILING, AUDIO = 300_000, 8_000_000, 128_000
ENCODER_LAG_MS = 100  # three pictures until the stream follows
PICTURE_MS = 33
Rule = Callable[[list[SrtPath], int], int | None]  # every millisecond; None: as before


@dataclass
class Run:
    name: str
    lost_ms: int = 0  # of picture
    mean_bps: float = 0.0
    at_ceiling: float = 0.0  # share of the time
    falls: int = 0
    curve: list[tuple[float, int]] = field(default_factory=list)  # seconds, b/s; ten a second
    lost_at: list[float] = field(default_factory=list)  # seconds
    why: list[tuple[float, str]] = field(default_factory=list)

    def reaction_s(self, from_s: float, below_bps: float) -> float | None:
        return next((at - from_s for at, bps in self.curve if at >= from_s and bps <= below_bps), None)

    def back_s(self, from_s: float, share: float = 1.0) -> float | None:
        return next((at - from_s for at, bps in self.curve if at >= from_s and bps >= share * CEILING), None)

    def bps(self, from_s: float, to_s: float) -> list[int]:
        return [bps for at, bps in self.curve if from_s <= at < to_s]


class Ours:
    def __init__(self, policy: Policy = "best", look: Callable[[Path], Path] = lambda path: path) -> None:
        self.adapt = Adapt(FLOOR, CEILING, AUDIO, policy)
        self._look = look

    def __call__(self, paths: list[SrtPath], now_ms: int) -> int | None:
        if now_ms % 100:
            return None
        return self.adapt.look([self._look(path.path(now_ms)) for path in paths], now_ms * MS)


class Theirs:
    """belacoder's rule, once a path; of two paths the higher counts."""

    def __init__(self, latency_ms: int, paths: int) -> None:
        self._rules = [Belacoder(FLOOR, CEILING, latency_ms) for _ in range(paths)]
        self._sent = [0] * paths

    def __call__(self, paths: list[SrtPath], now_ms: int) -> int | None:
        if now_ms % 20:
            return None
        sent = [path.sent + path.resent for path in paths]
        rates = [(new - old) * PACKET_BITS / 0.02 for new, old in zip(sent, self._sent, strict=True)]
        self._sent = sent
        both = zip(self._rules, paths, rates, strict=True)
        return max(rule.look(path.buffered, path.rtt_ms, rate, now_ms) for rule, path, rate in both)


def run(name: str, links: list[Link], seconds: float, rule: Rule, latency_ms: int = 500) -> Run:
    paths = [SrtPath(link, latency_ms, name=f"path-{'ab'[at]}") for at, link in enumerate(links)]
    result, number, credit = Run(name), 0, 0.0
    wanted = CEILING
    follows: list[tuple[int, int]] = []  # when the stream has it, and what
    made = wanted
    times: list[int] = []
    total = 0.0
    for now_ms in range(int(seconds * 1000)):
        while follows and follows[0][0] <= now_ms:
            made = follows.pop(0)[1]
        credit += line_bps(made, AUDIO) / 1000
        while credit >= DATAGRAM_BITS:
            credit -= DATAGRAM_BITS
            for path in paths:
                path.send(number, now_ms)
            times.append(now_ms)
            number += 1
        for path in paths:
            path.step(now_ms)
        asked = rule(paths, now_ms)
        if asked is not None and asked != wanted:
            wanted = asked
            follows.append((now_ms + ENCODER_LAG_MS, wanted))
        total += made
        if now_ms % 100 == 0:
            result.curve.append((now_ms / 1000, made))
            if isinstance(rule, Ours) and (not result.why or result.why[-1][1] != rule.adapt.why):
                result.why.append((now_ms / 1000, rule.adapt.why))
    for path in paths:
        path.close(int(seconds * 1000))
    lost = set.intersection(*(path.late for path in paths))
    pictures = {times[number] // PICTURE_MS for number in lost}
    result.lost_at = sorted(picture * PICTURE_MS / 1000 for picture in pictures)
    result.lost_ms = len(pictures) * PICTURE_MS
    result.mean_bps = total / (seconds * 1000)
    result.at_ceiling = sum(bps >= CEILING * 0.99 for _, bps in result.curve) / len(result.curve)
    return result
