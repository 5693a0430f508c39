"""SRT's socket options: one table, and how a value becomes the bytes that libsrt takes.

Numbers are those of the enum SRT_SOCKOPT in libsrt 1.5's `srt.h`. The names are libsrt's own, as URLs of the field write them.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int32", "int64", "bool", "text", "linger"]
When = Literal["before bind", "before connect", "any time", "never"]  # until when it can be set
Value = int | bool | str

MAX_VALUE_BYTES = 513  # the longest value is a stream id: 512 and a NUL
_INTEGERS = {"int32": "=i", "int64": "=q"}


@dataclass(frozen=True, slots=True)
class Option:
    number: int
    kind: Kind
    unit: str
    when: When
    means: str
    readable: bool = True
    secret: bool = False


OPTIONS: dict[str, Option] = {
    "bindtodevice": Option(56, "text", "", "before bind", "network interface that packets go through (IPv4 only)"),
    "congestion": Option(47, "text", "", "before connect", "congestion controller: live or file", readable=False),
    "conntimeo": Option(36, "int32", "ms", "before connect", "how long a caller tries to connect"),
    "drifttracer": Option(37, "bool", "", "any time", "follow the drift of the sender's clock"),
    "enforcedencryption": Option(53, "bool", "", "before connect", "refuse a peer whose passphrase is another one, or missing"),
    "fc": Option(4, "int32", "packets", "before connect", "packets that may be on their way unacknowledged"),
    "inputbw": Option(24, "int64", "bytes/s", "any time", "rate of the input, from which the ceiling is reckoned when maxbw is 0"),
    "iptos": Option(30, "int32", "", "before bind", "type of service of IP packets"),
    "ipttl": Option(29, "int32", "hops", "before bind", "time to live of IP packets"),
    "ipv6only": Option(54, "int32", "", "before bind", "1: an IPv6 socket takes no IPv4; must be said for [::]"),
    "isn": Option(3, "int32", "", "never", "number of the first packet"),
    "kmpreannounce": Option(52, "int32", "packets", "before connect", "how long before its use a new key is announced"),
    "kmrefreshrate": Option(51, "int32", "packets", "before connect", "after how many packets the key changes"),
    "kmstate": Option(28, "int32", "", "never", "state of encryption: 0 clear, 1 agreeing, 2 secured, 3 no secret, 4 wrong secret"),
    "latency": Option(23, "int32", "ms", "before connect", "rcvlatency and peerlatency at once"),
    "linger": Option(7, "linger", "s", "any time", "how long a closed socket goes on sending what it holds; 0: not at all"),
    "lossmaxttl": Option(42, "int32", "packets", "any time", "reordering to bear before a loss is reported"),
    "maxbw": Option(16, "int64", "bytes/s", "any time", "ceiling of the sending rate; -1: none, 0: by inputbw and oheadbw"),
    "messageapi": Option(48, "bool", "", "before connect", "keep the borders of messages", readable=False),
    "mininputbw": Option(38, "int64", "bytes/s", "any time", "least input rate to assume when it is measured"),
    "minversion": Option(45, "int32", "", "before connect", "oldest peer to talk to, 0x010300 for 1.3.0"),
    "mss": Option(0, "int32", "bytes", "before bind", "largest IP packet"),
    "nakreport": Option(33, "bool", "", "before connect", "report losses again and again"),
    "oheadbw": Option(25, "int32", "%", "any time", "room for retransmission above the input rate"),
    "packetfilter": Option(60, "text", "", "before connect", "packet filter, as fec,cols:10,rows:5"),
    "passphrase": Option(26, "text", "", "before connect", "what the keys are made of: 10 to 79 characters", readable=False, secret=True),
    "payloadsize": Option(49, "int32", "bytes", "before connect", "largest message of live mode"),
    "pbkeylen": Option(27, "int32", "bytes", "before connect", "length of the key: 16, 24 or 32; 0: the other side's"),
    "peeridletimeo": Option(55, "int32", "ms", "before connect", "silence after which the peer counts as gone"),
    "peerlatency": Option(44, "int32", "ms", "before connect", "least latency that the receiver at the far end shall have"),
    "peerversion": Option(35, "int32", "", "never", "version of the peer's libsrt"),
    "rcvbuf": Option(6, "int32", "bytes", "before bind", "size of the receive buffer"),
    "rcvdata": Option(20, "int32", "packets", "never", "what is ready to be received"),
    "rcvkmstate": Option(41, "int32", "", "never", "kmstate of the receiving side"),
    "rcvlatency": Option(43, "int32", "ms", "before connect", "how long packets are held, so that lost ones can come again"),
    "rcvsyn": Option(2, "bool", "", "any time", "receive, accept and connect wait"),
    "rcvtimeo": Option(14, "int32", "ms", "any time", "how long receive waits; -1: for ever"),
    "retransmitalgo": Option(61, "int32", "", "before connect", "1: never send a packet again before the first repeat can have arrived"),
    "reuseaddr": Option(15, "bool", "", "before bind", "sockets of one process may share a UDP port"),
    "sndbuf": Option(5, "int32", "bytes", "before bind", "size of the send buffer"),
    "snddata": Option(19, "int32", "packets", "never", "what is sent and not acknowledged"),
    "snddropdelay": Option(
        32, "int32", "ms", "any time", "extra time before the sender gives up on a packet; -1: it never does", readable=False
    ),
    "sndkmstate": Option(40, "int32", "", "never", "kmstate of the sending side"),
    "sndsyn": Option(1, "bool", "", "any time", "send waits for room"),
    "sndtimeo": Option(13, "int32", "ms", "any time", "how long send waits; -1: for ever"),
    "streamid": Option(46, "text", "", "before connect", "what a caller asks for: up to 512 bytes, not encrypted"),
    "tlpktdrop": Option(31, "bool", "", "before connect", "pass over packets that come too late"),
    "transtype": Option(50, "int32", "", "before connect", "0: live, 1: file; sets many others, so it comes first", readable=False),
    "tsbpdmode": Option(22, "bool", "", "before connect", "deliver at the pace of sending", readable=False),
    "udp_rcvbuf": Option(9, "int32", "bytes", "before bind", "receive buffer of the UDP socket"),
    "udp_sndbuf": Option(8, "int32", "bytes", "before bind", "send buffer of the UDP socket"),
    "version": Option(34, "int32", "", "never", "version of this libsrt"),
}


def encode(name: str, value: Value) -> bytes:
    """The bytes that libsrt takes for an option, or a ValueError that says what the option takes."""
    option = OPTIONS[name]
    if option.kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"SRT option {name} takes a text")
        return value.encode()
    if isinstance(value, str):
        raise ValueError(f"SRT option {name} takes a number" + (f" of {option.unit}" if option.unit else ""))
    try:
        if option.kind == "linger":
            return struct.pack("=ii", value > 0, value)
        return struct.pack(_INTEGERS.get(option.kind, "=?"), value)
    except struct.error:
        raise ValueError(f"SRT option {name} does not take {value}: it holds {option.kind[3:]} bits") from None


def decode(name: str, raw: bytes) -> Value:
    option = OPTIONS[name]
    if option.kind == "text":
        return raw.rstrip(b"\0").decode(errors="replace")
    if option.kind == "linger":
        on, seconds = struct.unpack("=ii", raw)
        return int(seconds) if on else 0
    number = int.from_bytes(raw, sys.byteorder, signed=True)
    return bool(number) if option.kind == "bool" else number
