"""What a flow is: sources, how they are recovered, outputs. Typed and validated; every message names the key.

The words are MediaConnect's. A flow is stored and passed about as JSON; `parse_flow` is the only way in, so nothing
further inside checks again. A secret is only ever a *name* here; its value lives beside the store in a file of its own.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

import msgspec
import msgspec.inspect
from msgspec import Meta, field

from firmware.capture.lane import line_bps
from firmware.recording import Recording

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
LatencyMs = Annotated[int, Meta(ge=10, le=15_000)]
Ttl = Annotated[int, Meta(ge=1, le=255)]
Dscp = Annotated[int, Meta(ge=0, le=63)]
GatherMs = Annotated[int, Meta(ge=0, le=50)]
SmoothMs = Annotated[int, Meta(ge=0, le=1000)]
Cidrs = list[str]

_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)


class FlowError(ValueError):
    """A flow that cannot be. The message names the key and what would be right."""


def loopback() -> Cidrs:
    """Who may reach a listening end unless it says otherwise: this machine alone."""
    return ["127.0.0.0/8", "::1/128"]


class End(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="protocol"):
    """One end of a flow, source or output. What its fields mean is said at the first class that has them."""

    name: Name

    def __post_init__(self) -> None:
        for key in ("address", "bind_address", "second_bind_address", "interface"):
            _check_address(key, getattr(self, key, ""))
        for block in getattr(self, "allow", ()):
            _check_block(block)
        if isinstance(self, RtpFecSource | RtpFecOutput) and self.port > 65_531:
            raise ValueError(f"port: {self.port} leaves no room for the FEC ports 2 and 4 above it; take one up to 65531")
        if getattr(self, "gather_ms", 0) and getattr(self, "smooth_ms", 0):
            raise ValueError("smooth_ms: gathering makes bursts, smoothing takes them away; set `gather_ms` or `smooth_ms` to 0")
        if not getattr(self, "host", "-").strip():
            raise ValueError("host: missing; write a host name or an address")
        secret, clear = getattr(self, "secret", ""), getattr(self, "clear", False)
        if secret and clear:
            raise ValueError("clear: set either a secret or `clear: true`, not both")
        if isinstance(self, Srt | Rist) and not secret and not clear:
            raise ValueError("secret: name the secret that holds the passphrase, or set `clear: true` to run unencrypted on purpose")


class Camera(End, kw_only=True, tag="camera"):
    """A camera of this machine, encoded on it. `camera` says which: see `hw.camera`."""

    camera: str = "pattern"
    sound: str = ""  # empty: the camera's own, or silence
    encoder: Literal["auto", "x264", "v4l2m2m", "jetson", "camera"] = "auto"  # camera: it encodes itself
    width: Annotated[int, Meta(ge=160, le=3840, multiple_of=2)] = 1280
    height: Annotated[int, Meta(ge=90, le=2160, multiple_of=2)] = 720
    fps: Annotated[int, Meta(ge=5, le=60)] = 30
    video_bps: Annotated[int, Meta(ge=200_000, le=50_000_000)] = 4_000_000
    audio_bps: Annotated[int, Meta(ge=32_000, le=320_000)] = 128_000
    gop_ms: Annotated[int, Meta(ge=250, le=10_000)] = 1000
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "superfast"
    floor_bps: Annotated[int, Meta(ge=0, le=50_000_000)] = 500_000  # never below it, however bad the paths are; 0: never changed
    rotation: Literal[0, 180] = 0
    focus: str = ""  # auto, continuous, or dioptres; empty: as the camera has it
    exposure_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 0  # 0: by itself
    transport: Literal["tcp", "udp"] = "tcp"  # of a network camera
    secret: str = ""  # name of the secret that holds a network camera's password
    shape: Literal["constant", "frames"] = "constant"
    """On the wire: stuffed to a constant rate, or each picture at once at 4 x that rate, about a frame's time sooner."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if re.match(r"rtsp://[^/]*:[^/]*@", self.camera):
            raise ValueError("camera: a password in an address is there for everybody to read; keep it as a secret and name that")
        if not re.fullmatch(r"|none|alsa:\S{1,200}", self.sound):
            raise ValueError("sound: allowed are nothing (the camera's own, or silence), none, and alsa:DEVICE like alsa:hw:1,0")
        if not re.fullmatch(r"|auto|continuous|[0-9]{1,2}(\.[0-9]{1,3})?", self.focus, re.ASCII):
            raise ValueError("focus: allowed are auto, continuous, and dioptres like 0.5")

    @property
    def line_bps(self) -> int:
        """The rate at which packets leave while there are any."""
        return self.mux_bps * (4 if self.shape == "frames" else 1)

    @property
    def mux_bps(self) -> int:
        """Rate of the constant-rate transport stream."""
        return line_bps(self.video_bps, self.audio_bps)


class Srt(End, kw_only=True):
    port: Port
    latency_ms: LatencyMs = 120
    stream_id: Annotated[str, Meta(max_length=512)] = ""
    secret: str = ""  # name of the secret that holds the passphrase
    clear: bool = False  # unencrypted on purpose; either this or a secret
    key_bits: Literal[128, 192, 256] = 256


class SrtListener(Srt, kw_only=True):
    address: str = "127.0.0.1"  # the local address that listens
    allow: Cidrs = field(default_factory=loopback)  # who may connect; everybody else is refused before the handshake ends


class SrtCaller(Srt, kw_only=True):
    host: str
    bind_address: str = ""  # local address, so that a path keeps to its network
    bind_device: str = ""  # local interface, the same
    dscp: Dscp = 0  # marks the packets for the network's queues (RFC 2474)


class SrtListenerSource(SrtListener, kw_only=True, tag="srt-listener"):
    pass


class SrtCallerSource(SrtCaller, kw_only=True, tag="srt-caller"):
    pass


class Datagram(End, kw_only=True):
    port: Port
    address: str = "127.0.0.1"  # the local address, or a multicast group to join
    interface: str = ""  # local address of the interface that joins the group
    allow: Cidrs = field(default_factory=loopback)


class RtpSource(Datagram, kw_only=True, tag="rtp"):
    """MPEG-TS in RTP, RFC 2250 section 2. With a secret it is SRTP, AES-256-GCM (RFC 7714)."""

    secret: str = ""  # name of the secret that holds the master key and salt


class RtpFecSource(RtpSource, kw_only=True, tag="rtp-fec"):
    """With SMPTE 2022-1 FEC, columns on port + 2 and rows on port + 4. The matrix is learnt from the packets."""


class UdpSource(Datagram, kw_only=True, tag="udp"):
    """MPEG-TS in bare UDP datagrams."""


class Rist(End, kw_only=True):
    """RIST, TR-06-2 main profile with a pre-shared key, or TR-06-1 simple profile, which has no encryption."""

    port: Port  # simple: even; the port above it carries RTCP
    second_port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of a second path with the same packets; 0: there is none
    latency_ms: LatencyMs = 200
    secret: str = ""
    clear: bool = False
    key_bits: Literal[128, 256] = 256
    profile: Literal["main", "simple"] = "main"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile == "simple":
            if self.secret:
                raise ValueError("profile: simple has no encryption; use main, or set `clear: true` in place of the secret")
            for key in ("port", "second_port"):
                if getattr(self, key) % 2:
                    raise ValueError(f"{key}: the simple profile takes an even port; the one above it carries RTCP")
        if self.second_port and abs(self.second_port - self.port) < 2 and not self._has_two_ways():
            raise ValueError("second_port: too close to `port`; leave at least one port between them")

    def _has_two_ways(self) -> bool:
        """Whether the second path differs by more than its port."""
        return False


class RistSource(Rist, kw_only=True, tag="rist"):
    address: str = "127.0.0.1"
    allow: Cidrs = field(default_factory=loopback)


class SrtListenerOutput(SrtListener, kw_only=True, tag="srt-listener"):
    enabled: bool = True
    gather_ms: GatherMs = 0  # datagrams wait up to so long and leave together: cheaper, in bursts of that much of the stream


class SrtCallerOutput(SrtCaller, kw_only=True, tag="srt-caller"):
    enabled: bool = True
    gather_ms: GatherMs = 0


class RistOutput(Rist, kw_only=True, tag="rist"):
    host: str
    second_host: str = ""  # of the second path; empty: the same host
    bind_address: str = ""
    bind_device: str = ""
    second_bind_address: str = ""
    second_bind_device: str = ""
    dscp: Dscp = 0
    enabled: bool = True
    gather_ms: GatherMs = 0
    smooth_ms: SmoothMs = 0

    def _has_two_ways(self) -> bool:
        second = self.second_host or self.host, self.second_bind_address, self.second_bind_device
        return second != (self.host, self.bind_address, self.bind_device)


class DatagramOutput(End, kw_only=True):
    host: str
    port: Port
    bind_address: str = ""
    bind_device: str = ""
    ttl: Ttl = 16
    dscp: Dscp = 0
    clear: bool = False  # unencrypted to a public address, on purpose
    enabled: bool = True
    gather_ms: GatherMs = 0
    smooth_ms: SmoothMs = 0  # leaves by the stream's own clock, so long behind: bursts of up to that much are taken away

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.clear and not getattr(self, "secret", "") and is_public(self.host):
            cure = "name a secret (SRTP), or set" if isinstance(self, RtpOutput) else "set"
            raise ValueError(f"clear: {self.host} is a public address, and this would go there in the clear; {cure} `clear: true`")


class RtpOutput(DatagramOutput, kw_only=True, tag="rtp"):
    secret: str = ""


class RtpFecOutput(RtpOutput, kw_only=True, tag="rtp-fec"):
    """A matrix of `columns` (L) times `rows` (D) packets: 100 at most. A burst of up to L lost packets is repaired."""

    columns: Annotated[int, Meta(ge=1, le=20)] = 10
    rows: Annotated[int, Meta(ge=4, le=20)] = 10
    row_fec: bool = True  # columns alone halve the overhead
    aligned: bool = True  # columns begin with the block; else each one row later than its neighbour

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns * self.rows > 100:
            raise ValueError(f"columns: {self.columns} x {self.rows} rows are more than 100 packets; make one of them smaller")
        if self.row_fec and self.columns < 4:
            raise ValueError("columns: with row FEC at least 4 (SMPTE 2022-1); add columns, or set `row_fec: false`")


class UdpOutput(DatagramOutput, kw_only=True, tag="udp"):
    pass


Source = Camera | SrtListenerSource | SrtCallerSource | RtpSource | RtpFecSource | RistSource | UdpSource
Output = SrtListenerOutput | SrtCallerOutput | RtpOutput | RtpFecOutput | RistOutput | UdpOutput
Keyed = Srt | Rist | RtpSource | RtpOutput | Camera


class Flow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One or two sources, recovered into one stream, given to any number of outputs.

    `recover` matters with two sources: `merge` takes them as two copies of one stream (hitless), `failover` as two
    streams of which one plays at a time. `window_ms` is how long the merge waits for the slower copy.
    """

    name: Name
    sources: Annotated[list[Source], Meta(min_length=1, max_length=2)]
    recover: Literal["merge", "failover"] = "merge"
    window_ms: Annotated[int, Meta(ge=100, le=15_000)] = 200
    failover_ms: Annotated[int, Meta(ge=100, le=15_000)] = 500
    primary: str = ""  # of a failover: the source that plays whenever it is steady; empty: neither is preferred
    pacing: Literal["arrival", "pcr"] = "arrival"  # how a received stream leaves: as it came, or smoothed by its PCR
    outputs: Annotated[list[Output], Meta(max_length=50)] = []
    recording: Recording | None = None

    def __post_init__(self) -> None:
        for key, ends in (("sources", self.sources), ("outputs", self.outputs)):
            names = [end.name for end in ends]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(f"{key}: `{twice}` is there twice; each needs a name of its own")
        if self.primary and self.primary not in [source.name for source in self.sources]:
            raise ValueError(f"primary: `{self.primary}` is none of the sources; allowed are {', '.join(s.name for s in self.sources)}")
        if len(self.sources) == 2 and any(isinstance(source, Camera) for source in self.sources):
            raise ValueError("sources: a camera is a flow's only source; give the second camera a flow of its own")

    @property
    def camera(self) -> Camera | None:
        """The camera, where this flow has one."""
        first = self.sources[0]
        return first if isinstance(first, Camera) else None

    @property
    def secrets(self) -> set[str]:
        """Names of the secrets that this flow needs."""
        return {end.secret for end in (*self.sources, *self.outputs) if isinstance(end, Keyed) and end.secret}


def parse_flow(data: object) -> Flow:
    """A flow from JSON (`bytes` or `str`) or from plain objects; raises `FlowError` with the key and the allowed values."""
    try:
        if isinstance(data, bytes | str):
            return msgspec.json.decode(data, type=Flow)
        return msgspec.convert(data, type=Flow)
    except msgspec.ValidationError as error:
        raise FlowError(_in_words(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FlowError(f"not JSON: {error}") from None


def dump_flow(flow: Flow) -> bytes:
    """The flow as JSON, defaults written out, so that a later version's other defaults change no stored flow."""
    return msgspec.json.encode(flow)


def _in_words(message: str) -> str:
    found = _MESSAGE.match(message)
    assert found  # noqa: S101 - the pattern matches any text
    what, key = found["what"], found["key"]
    if key and key.endswith("protocol"):
        ends = Source if key.startswith("sources") else Output
        what += "; allowed are " + ", ".join(sorted(end.__struct_config__.tag for end in ends.__args__))
    elif what.startswith("Invalid enum value") and key:
        what += "; allowed are " + ", ".join(_choices(key))
    elif "matching regex" in what and key and key.endswith("name"):
        what = "a name is 1 to 63 of a-z, 0-9 and -, and starts with a letter or a digit"
    if not key and what.startswith(("Expected", "Object")):
        key = "the flow"
    return f"{key}: {what}" if key else what


def _fields(struct: type) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(struct)
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()


def _choices(key: str) -> list[str]:
    leaf = key.rsplit(".", 1)[-1]
    for struct in (Flow, Camera, Srt, Rist):
        kind = next((f.type for f in _fields(struct) if f.name == leaf), None)
        if isinstance(kind, msgspec.inspect.LiteralType):
            return sorted(map(str, kind.values))
    return []


def _check_address(key: str, address: str) -> None:
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"{key}: `{address}` is no IP address; write one like 192.0.2.7") from None


def is_public(host: str) -> bool:
    """Of names nobody knows yet; they are looked at again when they are found."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def _check_block(block: str) -> None:
    try:
        ipaddress.ip_network(block)
    except ValueError:
        raise ValueError(f"allow: `{block}` is no CIDR block; write one like 192.0.2.0/24 or 203.0.113.7/32") from None
