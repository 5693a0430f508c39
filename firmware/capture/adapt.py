"""How many bits a second the picture may take, so that at least one path carries it whole.

Theory of operation
-------------------
Each path is judged alone, ten times a second: `lane.py` says how a path tells what it carries, and why that never ratchets.

Two paths carry the same packets (ST 2022-7), so the picture needs one of them, and *which* one may change with every packet. Two
policies:

`best`   what the better path carries. A weak second path does not cost the picture its quality: it goes on with what gets through and
         fills what holes it can. When the good one goes away, what the weak one carries is known already, and the picture falls
         there at the next look. That is right for a venue, where the second path is often a phone.
`every`  what the weakest path carries that is up: for those who would rather lose sharpness than the spare.

With `best`, a path on which packets come too late for reasons of its own does not count as good while another one is well: a whole
picture is worth more
than a sharp one. Paths that say nothing (RTP, UDP) have no vote; where no path has one, the ceiling holds. While no path is up,
everything stays
as it was.

The line that leaves is more than the picture: `line_bps` says what. FEC is taken off with its share; what is sent again is no part of
what a path *carries*,
so it needs no reserve.
"""

from __future__ import annotations

from typing import Literal

from firmware.capture.lane import LATE_NS, Lane, Path, line_bps, longest_climb_s, mbit, video_bps_of

__all__ = ["Adapt", "Lane", "Path", "Policy", "line_bps", "longest_climb_s", "mbit", "video_bps_of"]

Policy = Literal["best", "every"]
STEP_BPS = 10_000  # the encoder is told only of changes of so much


class Adapt:
    """`look` at all paths ten times a second; then `bitrate_bps` is what the encoder should make, and `why` says why, in words."""

    def __init__(self, floor_bps: int, ceiling_bps: int, audio_bps: int = 0, policy: Policy = "best") -> None:
        self.floor_bps, self.ceiling_bps = min(floor_bps, ceiling_bps), ceiling_bps
        self.policy = policy
        self.bitrate_bps, self.why = ceiling_bps, ""
        self._audio_bps = audio_bps
        self.lanes: dict[str, Lane] = {}

    def look(self, paths: list[Path], now_ns: int) -> int:
        told: list[Lane] = []
        for path in paths:
            if path.up and path.tells:
                lane = self.lanes.setdefault(path.name, Lane(self.floor_bps, self.ceiling_bps, self._audio_bps))
                lane.look(path, now_ns)
                told.append(lane)
        self.lanes = {path.name: self.lanes[path.name] for path in paths if path.name in self.lanes}
        if told:
            self._decide(told)
        elif any(path.up for path in paths):
            self.bitrate_bps, self.why = self.ceiling_bps, "" if not paths else "no path says what it carries"
        return self.bitrate_bps

    def _decide(self, told: list[Lane]) -> None:
        if self.policy == "best":
            chosen = max([lane for lane in told if lane.late_ns < LATE_NS] or told, key=lambda lane: lane.limit_bps)
        else:
            chosen = min(told, key=lambda lane: lane.limit_bps)
        self.bitrate_bps = int(chosen.limit_bps) // STEP_BPS * STEP_BPS if chosen.limit_bps < self.ceiling_bps else self.ceiling_bps
        self.bitrate_bps = max(self.bitrate_bps, self.floor_bps)
        slow = [name for name, lane in self.lanes.items() if lane in told and lane.limit_bps < 0.9 * chosen.limit_bps]
        spare = f"; {', '.join(slow)} cannot carry all of it" if slow else ""
        self.why = (chosen.why + spare).removeprefix("; ")
