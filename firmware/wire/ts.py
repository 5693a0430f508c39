"""MPEG transport stream, ISO/IEC 13818-1: the few fields that a carrier must read or rewrite.

A *packet* is 188 bytes (2.4.3.2), a *datagram* up to seven of them. Clocks: PCR counts 27 MHz in 42 bits
(2.4.3.5), PTS and DTS count 90 kHz in 33 bits (2.4.3.7).
"""

from __future__ import annotations

from collections.abc import Iterator

PACKET = 188
DATAGRAM = 7 * PACKET
SYNC = 0x47
NULL_PID = 0x1FFF
PCR_HZ = 27_000_000
PTS_MODULUS = 1 << 33
PCR_MODULUS = PTS_MODULUS * 300

NULL_PACKET = bytes((SYNC, 0x1F, 0xFF, 0x10)) + b"\xff" * 184


def is_transport_stream(datagram: bytes) -> bool:
    """Whole packets, each with its sync byte."""
    size = len(datagram)
    return size > 0 and size % PACKET == 0 and datagram[::PACKET].count(SYNC) * PACKET == size


def pid_of(data: bytes, at: int) -> int:
    return (data[at + 1] & 0x1F) << 8 | data[at + 2]


def payload_at(data: bytes, at: int) -> int:
    """Where the payload of the packet at `at` begins; `at + 188` where it has none."""
    control = data[at + 3]
    if not control & 0x10:
        return at + PACKET
    return at + 4 + (1 + data[at + 4] if control & 0x20 else 0)


def pcr_of(data: bytes, at: int) -> int | None:
    """PCR of the packet at `at` in 27 MHz ticks, or None."""
    if data[at + 3] & 0x20 and data[at + 4] >= 7 and data[at + 5] & 0x10:
        base = int.from_bytes(data[at + 6 : at + 10], "big") << 1 | data[at + 10] >> 7
        return base * 300 + ((data[at + 10] & 1) << 8 | data[at + 11])
    return None


def write_pcr(data: bytearray, at: int, pcr_27m: int) -> None:
    """Overwrite the PCR that the packet at `at` carries."""
    base, extension = divmod(pcr_27m % PCR_MODULUS, 300)
    data[at + 6 : at + 12] = (base << 15 | 0x3F << 9 | extension).to_bytes(6, "big")


def pcr_packet(pid: int, continuity: int, pcr_27m: int, *, discontinuity: bool = False) -> bytes:
    """A packet with a PCR and no payload; it repeats the PID's last continuity counter (2.4.3.3)."""
    packet = bytearray((SYNC, pid >> 8, pid & 0xFF, 0x20 | continuity, 183, 0x90 if discontinuity else 0x10))
    packet += b"\xff" * (PACKET - len(packet))
    write_pcr(packet, 0, pcr_27m)
    return bytes(packet)


def is_key_picture(data: bytes, at: int) -> bool:
    """True when the packet at `at` says random access: a decoder can begin here (2.4.3.5)."""
    return bool(data[at + 3] & 0x20 and data[at + 4] and data[at + 5] & 0x40)


def starts_timed_pes(data: bytes, at: int) -> bool:
    """True when a PES packet with a PTS begins in the packet at `at`."""
    if not data[at + 1] & 0x40:
        return False
    pes = payload_at(data, at)
    return data[pes : pes + 3] == b"\0\0\1" and pes + 9 <= at + PACKET and bool(data[pes + 7] & 0x80)


def is_anchor(datagram: bytes) -> bool:
    """True when the datagram holds a PCR or the start of a timed PES packet: bytes that do not come twice in a while."""
    for at in range(0, len(datagram), PACKET):
        if datagram[at + 3] & 0x20 and datagram[at + 4] and datagram[at + 5] & 0x10:
            return True
        if datagram[at + 1] & 0x40 and starts_timed_pes(datagram, at):
            return True
    return False


def read_timestamp(data: bytes, at: int) -> int:
    """PTS or DTS, 33 bits at 90 kHz, from its five bytes (2.4.3.6)."""
    a, b, c, d, e = data[at : at + 5]
    return (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1


def write_timestamp(data: bytearray, at: int, ticks: int) -> None:
    """Overwrite the PTS or DTS in the five bytes at `at`, keeping the marker nibble."""
    ticks %= PTS_MODULUS
    data[at : at + 5] = bytes(
        (data[at] & 0xF0 | ticks >> 29 & 0xE | 1, ticks >> 22 & 0xFF, ticks >> 14 & 0xFE | 1, ticks >> 7 & 0xFF, ticks << 1 & 0xFE | 1)
    )


def timestamps_at(data: bytes, at: int) -> list[int]:
    """Where the PTS and the DTS of the PES packet that begins in the packet at `at` lie: none, one or two places."""
    if not starts_timed_pes(data, at):
        return []
    pes = payload_at(data, at)
    return [pes + 9, pes + 14] if data[pes + 7] & 0x40 else [pes + 9]


def packets(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PACKET):
        yield data[at : at + PACKET]
