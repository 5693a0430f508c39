"""Metrics as the recorder writes them, of a flow that a test makes up second by second."""

from __future__ import annotations

from firmware.metrics.recorder import Config, Recorder
from firmware.places import Places
from firmware.status import Account, EndStatus, FaultStatus, FlowStatus, HealthStatus, MergeStatus, write_snapshot


class Recording:
    def __init__(self, places: Places, name: str = "studio", outputs: int = 2, faults: int = 0) -> None:
        self.places = places
        self.name = name
        self.outputs = [f"out-{number}" for number in range(outputs)]
        self.faults = faults  # in each second, of the first source
        self.passed = 0
        self.recorder = Recorder(Config(run=str(places.run), state=str(places.state)))

    def second(self, at: int, rate_bps: float = 1e7) -> int:
        """Each second 1000 packets; path-a repairs two, path-b loses one, which the merge mends."""
        self.passed += 1
        done = self.passed
        fault = FaultStatus(name="crc", clause="2.2", count=done * self.faults, first_at=at, last_at=at)
        health = HealthStatus(faults=[fault] if self.faults else [])
        sources = [
            self._end("path-a", "srt-listener", rate_bps, rtt_ms=20.0, repaired=2 * done, health=health),
            self._end("path-b", "srt-listener", rate_bps, rtt_ms=60.0, lost=done, health=HealthStatus()),
        ]
        status = FlowStatus(
            name=self.name,
            state="ACTIVE",
            pid=7,
            started_at=1.0,
            at=float(at),
            rate_bps=rate_bps,
            sources=sources,
            outputs=[self._end(name, "srt-caller", rate_bps + 1e5 * place, rtt_ms=5.0) for place, name in enumerate(self.outputs)],
            merge=MergeStatus(state="merged", skew_ms=40.0, window_ms=200, released=1000 * done, saved_by={"path-a": done}),
            account=Account(carried=1000 * done, by_retransmission=2 * done, by_merge=done),
        )
        write_snapshot(self.places.snapshot(self.name), status)
        self.recorder.look(at + 0.5, at * 1_000_000_000)
        return at

    def seconds(self, first: int, count: int) -> None:
        for at in range(first, first + count):
            self.second(at)

    def _end(self, name: str, protocol: str, rate_bps: float, **told: object) -> EndStatus:
        return EndStatus(name=name, protocol=protocol, state="connected", packets=1000 * self.passed, rate_bps=rate_bps, **told)  # type: ignore[arg-type]
