"""The times of a camera in the network, laid on CLOCK_MONOTONIC.

Its clock has another zero, another quartz, and is set now and then. What is known are pairs: the time that a picture carries, and when
it arrived, which is later by what camera and network took, now more and now less.

    arrived |   .  .    .            offset = arrived - carried, of those that came quickest.
            |  .  . . .   . .
    ________|._____._________.___    It follows the camera's quartz at up to 1000 ppm, and so never steps.

Where carried time leaps and arrival does not, the camera's clock was set: then time goes on with the time that passed here. Pictures that
stood in the network and come in one burst carry times without a leap.
"""

from __future__ import annotations

LEAP_NS = 500_000_000  # a carried step that is this far from the step that passed here
LONG_NS = 1_000_000_000  # and is backwards, or longer than this
BLOCK_NS = 10_000_000_000  # of each, the quickest picture counts
SLEW = 1000  # offset moves by at most a 1000th of the time that passes
LEAST_STEP_NS = 1_000_000


class Timeline:
    def __init__(self) -> None:
        self.offset_ns: int | None = None
        self.leaps = 0
        self._carried_ns = self._arrived_ns = self._last_ns = 0
        self._slack = Slack()

    def begin(self, pairs: list[tuple[int, int]]) -> None:
        """With what came before the first picture is needed: carried and arrived. What stood somewhere came late, the last ones did not."""
        self.offset_ns = min(arrived_ns - carried_ns for carried_ns, arrived_ns in pairs)
        self._carried_ns, self._arrived_ns = pairs[0]
        self._last_ns = self._carried_ns + self.offset_ns - LEAST_STEP_NS

    def push(self, carried_ns: int, arrived_ns: int) -> int:
        """When it was, on CLOCK_MONOTONIC: rising, by at least a millisecond."""
        if self.offset_ns is None:
            self.offset_ns = arrived_ns - carried_ns
            self._last_ns = arrived_ns - LEAST_STEP_NS
        else:
            step_ns, passed_ns = carried_ns - self._carried_ns, arrived_ns - self._arrived_ns
            if not 0 < step_ns <= LONG_NS and abs(step_ns - passed_ns) > LEAP_NS:
                self._leap(carried_ns, passed_ns)
            else:
                self._follow(carried_ns, arrived_ns, step_ns)
        self._carried_ns, self._arrived_ns = carried_ns, arrived_ns
        self._last_ns = max(self._last_ns + LEAST_STEP_NS, carried_ns + self.offset_ns)
        return self._last_ns

    def _leap(self, carried_ns: int, passed_ns: int) -> None:
        self.leaps += 1
        self.offset_ns = self._last_ns + max(LEAST_STEP_NS, passed_ns) - carried_ns
        self._slack = Slack()

    def _follow(self, carried_ns: int, arrived_ns: int, step_ns: int) -> None:
        assert self.offset_ns is not None  # noqa: S101
        late_ns = arrived_ns - carried_ns - self.offset_ns
        if late_ns < 0:  # quicker than any before: no picture is from the future, but it takes two to get there
            move_ns = -min(-late_ns, max(0, step_ns) // 2)
        else:
            move_ns = min(self._slack.push(late_ns, arrived_ns), max(0, step_ns) // SLEW)
        self.offset_ns += move_ns
        self._slack.move(move_ns)


class Slack:
    """By how much even the quickest of the last one or two blocks was late."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._now: int | None = None
        self._end_ns = 0

    def push(self, late_ns: int, at_ns: int) -> int:
        if at_ns >= self._end_ns:
            self._before, self._now, self._end_ns = self._now, None, at_ns + BLOCK_NS
        self._now = late_ns if self._now is None else min(self._now, late_ns)
        return 0 if self._before is None else max(0, min(self._before, self._now))

    def move(self, offset_ns: int) -> None:
        if self._before is not None:
            self._before -= offset_ns
        if self._now is not None:
            self._now -= offset_ns
