"""SRTP with AES-256-GCM (RFC 3711, RFC 7714) through libsrtp: no RTCP, one master key for all streams of an end.

What libsrtp leaves to its user is the roll-over counter. The 16 bits of the RTP number are not all of a packet's index: the
turns of that number count too (RFC 3711, 3.3.1), and they are not sent. A sender here starts at the turn its numbers are in;
a receiver that joins late finds the turn by trial: it walks a session forward with packets of its own making, which carry
the same key and number stream, until the packet that really came is authentic.

A trial costs time, and anybody can send what looks like a late packet. So a stream must have sent a few packets before it is
tried, all trials together get a share of the time, and none touches the streams that are known. A trial that went past the
right turn (it was led by a forged packet, or by one from before the turn) begins again.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable

from pylibsrtp import Error, Policy, Session

STRIDE = 21_845  # a third of a turn: libsrtp takes a number for the next turn's only when it is less than half a turn ahead
WINDOW = 8192  # packets that may come late, or be sealed again for an output that gathers longer
LONGEST = 1500  # of a packet that libsrtp's Python binding takes
LONGEST_CLEAR = LONGEST - 144  # it leaves room for the longest trailer that libsrtp knows
TRAILER = 16
TURNS_A_TRY = 8
PAUSE_NS = 5_000_000  # from try to try; each takes up to a fifth of that
FIRST_PASS, LAST_PASS = 64, 1 << 20  # turns; the last are two years of 10 Mb/s
ENOUGH = 3  # packets of a stream that make it worth a trial
MOST_STRANGERS = 256
MOST_TRIALS = 4
_HEADER = struct.Struct("!BBHII")


def _session(key: bytes, direction: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_256_GCM)
    policy.window_size = WINDOW
    policy.allow_repeat_tx = True
    return Session(policy=policy)


class _Turns:
    """Walks a session along one stream's numbers with packets that never leave this machine."""

    def __init__(self, session: Session, ssrc: int) -> None:
        self._protect = session.protect
        self._ssrc = ssrc

    def packet(self, index: int) -> bytes:
        return self._protect(_HEADER.pack(0x80, 33, index & 0xFFFF, 0, self._ssrc))


class Seal:
    """Encrypts. One for each key and stream of numbers, for as long as the numbers go on: a number must never be used twice."""

    def __init__(self, key: bytes, ssrc: int, index: int) -> None:
        """`index`: the number of the next packet, its turns counted. `protect` takes packets of up to LONGEST_CLEAR bytes."""
        session = _session(key, Policy.SSRC_ANY_OUTBOUND)
        turns = _Turns(session, ssrc)
        for passed in range(index % STRIDE, index, STRIDE):
            turns.packet(passed)
        self.protect = session.protect


class Opening:
    """Decrypts what comes from one sender, whichever turn its numbers are in."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._first_turn = _session(key, Policy.SSRC_ANY_INBOUND).unprotect
        self._known: dict[bytes, Callable[[bytes], bytes]] = {}  # streams that were authentic, by SSRC
        self._strangers: OrderedDict[bytes, int] = OrderedDict()  # packets of streams that were not
        self._trials: OrderedDict[bytes, _Trial] = OrderedDict()
        self._pause_until_ns = 0
        self.refused = 0  # not authentic, or a copy

    def __call__(self, packet: bytes, now_ns: int) -> bytes | None:
        """The packet in the clear; None where it is not authentic, came before, or its turn is not found yet."""
        if len(packet) > LONGEST:
            self.refused += 1
            return None
        ssrc = packet[8:12]
        try:
            clear = self._known.get(ssrc, self._first_turn)(packet)
        except Error:
            return self._late(packet, ssrc, now_ns)
        if ssrc not in self._known:
            self._known[ssrc] = self._first_turn
        return clear

    def _late(self, packet: bytes, ssrc: bytes, now_ns: int) -> bytes | None:
        self.refused += 1
        if ssrc in self._known or len(packet) < _HEADER.size + TRAILER or not self._is_worth_it(ssrc) or now_ns < self._pause_until_ns:
            return None
        self._pause_until_ns = now_ns + PAUSE_NS
        trial = self._trial_of(ssrc)
        clear = trial(packet)
        if clear is not None:
            self._known[ssrc] = trial.unprotect
            del self._trials[ssrc], self._strangers[ssrc]
            self.refused -= 1
        return clear

    def _is_worth_it(self, ssrc: bytes) -> bool:
        packets = self._strangers.pop(ssrc, 0) + 1
        self._strangers[ssrc] = packets
        if len(self._strangers) > MOST_STRANGERS:
            self._strangers.popitem(last=False)
        return packets >= ENOUGH

    def _trial_of(self, ssrc: bytes) -> _Trial:
        trial = self._trials.get(ssrc)
        if trial is None:
            if len(self._trials) == MOST_TRIALS:
                self._trials.popitem(last=False)
            trial = self._trials[ssrc] = _Trial(self._key, int.from_bytes(ssrc, "big"))
        return trial


class _Trial:
    """The search for the turn of one stream's numbers, some turns at a time, with each packet that comes."""

    def __init__(self, key: bytes, ssrc: int) -> None:
        self._key = key
        self._ssrc = ssrc
        self._begin(FIRST_PASS)

    def _begin(self, turns: int) -> None:
        self._pass = turns
        self._turn = 0
        self._at = -1  # index that both sessions have reached
        self._turns = _Turns(_session(self._key, Policy.SSRC_ANY_OUTBOUND), self._ssrc)
        self.unprotect = _session(self._key, Policy.SSRC_ANY_INBOUND).unprotect

    def __call__(self, packet: bytes) -> bytes | None:
        if self._turn >= self._pass:
            self._begin(min(4 * self._pass, LAST_PASS))
        number = int.from_bytes(packet[2:4], "big")
        for _ in range(TURNS_A_TRY):
            self._turn += 1
            goal = (self._turn << 16) + number - 1
            try:
                for index in (*range(goal - (goal - self._at) // STRIDE * STRIDE, goal, STRIDE), goal):
                    if index > self._at:
                        self.unprotect(self._turns.packet(index))
                        self._at = index
                return self.unprotect(packet)
            except Error:
                continue
        return None
