"""SRTP with AES-256-GCM (RFC 3711, RFC 7714) through libsrtp: no RTCP, one master key for all streams of an end.

What libsrtp leaves to its user is the roll-over counter. The 16 bits of the RTP number are not all of a packet's index: the
turns of that number count too (RFC 3711, 3.3.1), and they are not sent. A sender here starts at the turn its numbers are in;
a receiver that joins late finds the turn by trial: it walks its session forward with packets of its own making, which carry
the same key and number stream, until the packet that really came is authentic.
"""

from __future__ import annotations

import base64
import binascii
import struct

from pylibsrtp import Error, Policy, Session

KEY_BYTES = 44  # 32 of master key, 12 of master salt
STRIDE = 21_845  # a third of a turn: libsrtp takes a number for the next turn's only when it is less than half a turn ahead
WINDOW = 8192  # packets that may come late, or be sealed again for an output that gathers longer
TURNS_A_PACKET = 20  # tried for each packet that comes: about a quarter of a millisecond
MOST_TURNS = 1 << 15  # 26 days of 10 Mb/s
_HEADER = struct.Struct("!BBHII")


def parse_key(text: str) -> bytes:
    """Master key and salt from the text of a secret, base64 as in SDES (RFC 4568); ValueError that does not show it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the secret is no SRTP key: it must be {KEY_BYTES} random bytes in base64 (`openssl rand -base64 {KEY_BYTES}`)")
    return key


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
        """`index`: the number of the next packet, its turns counted."""
        session = _session(key, Policy.SSRC_ANY_OUTBOUND)
        turns = _Turns(session, ssrc)
        for passed in range(index % STRIDE, index, STRIDE):
            turns.packet(passed)
        self.protect = session.protect


class Opening:
    """Decrypts what comes from one sender, whichever turn its numbers are in."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._session = _session(key, Policy.SSRC_ANY_INBOUND)
        self._known: set[int] = set()  # streams that were authentic in this session
        self._trial: _Trial | None = None
        self.refused = 0  # not authentic, or a copy

    def __call__(self, packet: bytes) -> bytes | None:
        """The packet in the clear; None where it is not authentic, came before, or its turn is not found yet."""
        try:
            clear = self._session.unprotect(packet)
        except Error:
            return self._try_turns(packet)
        if len(packet) >= 12:
            self._known.add(int.from_bytes(packet[8:12], "big"))
        return clear

    def _try_turns(self, packet: bytes) -> bytes | None:
        self.refused += 1
        if len(packet) < 12 + 16 or len(packet) > 2048:
            return None
        ssrc = int.from_bytes(packet[8:12], "big")
        if ssrc in self._known:
            return None
        if self._trial is None or self._trial.ssrc != ssrc or self._trial.turn > MOST_TURNS:
            self._trial = _Trial(self._key, self._session, ssrc)
        clear = self._trial(packet)
        if clear is not None:
            self._known.add(ssrc)
            self._trial = None
            self.refused -= 1
        return clear

    def forget(self) -> None:
        """Another sender: its streams begin anew."""
        self._session = _session(self._key, Policy.SSRC_ANY_INBOUND)
        self._known.clear()
        self._trial = None


class _Trial:
    """The search for the turn of one stream's numbers, some turns at a time, with each packet that comes."""

    def __init__(self, key: bytes, session: Session, ssrc: int) -> None:
        self.ssrc = ssrc
        self.turn = 0
        self._session = session
        self._turns = _Turns(_session(key, Policy.SSRC_ANY_OUTBOUND), ssrc)
        self._at = -1  # index that both sessions have reached

    def __call__(self, packet: bytes) -> bytes | None:
        number = int.from_bytes(packet[2:4], "big")
        for _ in range(TURNS_A_PACKET):
            self.turn += 1
            goal = (self.turn << 16) + number - 1
            try:
                for index in (*range(goal - (goal - self._at) // STRIDE * STRIDE, goal, STRIDE), goal):
                    if index > self._at:
                        self._session.unprotect(self._turns.packet(index))
                        self._at = index
                return self._session.unprotect(packet)
            except Error:
                continue
        return None
