"""Any end of a flow that can be, for properties of whatever reads and writes them."""

from __future__ import annotations

import ipaddress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from firmware import model

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
PORTS = st.integers(1, 65535)
FEC_PORTS = st.integers(1, 65531)
ADDRESSES = st.ip_addresses().map(str)
UNICAST = ADDRESSES.filter(lambda a: not ipaddress.ip_address(a).is_multicast)
NAMED = st.from_regex(r"[a-z][a-z0-9]{0,9}(?:[.-][a-z0-9]{1,9}){0,3}", fullmatch=True)
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co", "Cf", "Zs", "Zl", "Zp")), max_size=40)
SECRETS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
ALLOW = st.lists(st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen}"), max_size=3)
ADAPTERS, DEVICES = st.just("") | ADDRESSES, st.sampled_from(["", "eth0", "wwan0.7"])
BIND = {"bind_address": ADAPTERS, "bind_device": DEVICES}
LATENCY = {"latency_ms": st.integers(10, 15_000)}
GATHER = {"gather_ms": st.integers(0, 50)}
DSCP = {"dscp": st.integers(0, 63)}
SRT = {"name": NAMES, "port": PORTS, "stream_id": PRINTABLE, **LATENCY}


def end(kind: type, *, bits: list[int], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Ends with a secret or in the clear."""
    keys = st.one_of(st.just({"clear": True}), st.fixed_dictionaries({"secret": SECRETS, "key_bits": st.sampled_from(bits)}))
    return st.tuples(st.fixed_dictionaries(fields), keys).map(lambda both: kind(**both[0], **both[1]))


def srt(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return end(kind, bits=[128, 192, 256], **SRT, **fields)


CAMERAS = st.builds(
    model.Camera,
    name=NAMES,
    camera=st.just("pattern") | PRINTABLE.filter(bool).map("clip:{}".format),
    width=st.integers(80, 1920).map(lambda n: 2 * n),
    height=st.integers(45, 1080).map(lambda n: 2 * n),
    fps=st.integers(5, 60),
    video_bps=st.integers(200_000, 50_000_000),
    audio_bps=st.integers(32_000, 320_000),
    gop_ms=st.integers(250, 10_000),
    preset=st.sampled_from(["ultrafast", "medium"]),
)
LISTENING = {"name": NAMES, "port": PORTS, "address": UNICAST, "allow": ALLOW}
KEYED = {"secret": st.just("") | SECRETS}
SMOOTH = {"smooth_ms": st.integers(0, 1000)}
SENDING = {"name": NAMES, "port": PORTS, **BIND, **GATHER, **SMOOTH, **DSCP, "ttl": st.integers(1, 255)}
MATRICES = st.one_of(
    st.tuples(st.integers(4, 20), st.integers(4, 20), st.booleans()), st.tuples(st.integers(1, 3), st.integers(4, 20), st.just(False))
).filter(lambda matrix: matrix[0] * matrix[1] <= 100)
RIST = {"name": NAMES, "port": st.integers(10_000, 19_999).map(lambda n: 2 * n), **LATENCY}
SECOND_PORTS = st.integers(20_001, 30_000).map(lambda n: 2 * n)


def sent(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Datagram outputs: to a public address only in the clear on purpose, or with a secret."""

    def permitted(chosen: dict[str, object]) -> bool:
        return bool(chosen["clear"] or chosen.get("secret") or not model.is_public(str(chosen["host"]))) and not (
            chosen["clear"] and chosen.get("secret")
        )

    everything = st.fixed_dictionaries(SENDING | {"host": NAMED | ADDRESSES, "clear": st.booleans()} | fields)
    return everything.filter(permitted).map(lambda chosen: kind(**chosen | ({"smooth_ms": 0} if chosen["gather_ms"] else {})))


def with_matrix(chosen: model.RtpOutput, matrix: tuple[int, int, bool], aligned: bool) -> model.RtpFecOutput:
    fields = {key: getattr(chosen, key) for key in chosen.__struct_fields__} | {"port": min(chosen.port, 65531)}
    return model.RtpFecOutput(**fields, columns=matrix[0], rows=matrix[1], row_fec=matrix[2], aligned=aligned)


def two_paths(chosen: tuple[model.RistOutput, int, str, str, str]) -> model.RistOutput:
    output, output.second_port, output.second_host, output.second_bind_address, output.second_bind_device = chosen
    return output


RIST_SOURCES = end(model.RistSource, bits=[128, 256], **RIST, address=UNICAST, allow=ALLOW, second_port=st.just(0) | SECOND_PORTS)
RIST_OUTPUTS = end(model.RistOutput, bits=[128, 256], **RIST, **BIND, **GATHER, host=NAMED | UNICAST, **DSCP)
SIMPLE = {"profile": st.just("simple"), "clear": st.just(True)}
SOURCES = st.one_of(
    CAMERAS,
    srt(model.SrtListenerSource, address=UNICAST, allow=ALLOW),
    srt(model.SrtCallerSource, **BIND, **DSCP, host=NAMED | UNICAST),
    st.builds(model.RtpSource, **LISTENING, **KEYED),
    st.builds(model.RtpFecSource, **LISTENING | KEYED | {"port": FEC_PORTS}),
    st.builds(model.UdpSource, **LISTENING | {"address": st.just("239.1.2.3"), "interface": ADAPTERS}),
    RIST_SOURCES,
    st.builds(model.RistSource, **RIST, **SIMPLE, address=UNICAST, allow=ALLOW),
)
OUTPUTS = st.one_of(
    srt(model.SrtListenerOutput, **GATHER, address=UNICAST, allow=ALLOW),
    srt(model.SrtCallerOutput, **BIND, **GATHER, **DSCP, host=NAMED | UNICAST),
    sent(model.UdpOutput),
    sent(model.RtpOutput, **KEYED),
    st.builds(with_matrix, sent(model.RtpOutput, **KEYED), MATRICES, st.booleans()),
    RIST_OUTPUTS,
    st.builds(model.RistOutput, **RIST, **SIMPLE, host=NAMED | UNICAST),
    st.tuples(RIST_OUTPUTS, SECOND_PORTS, st.just("") | NAMED | UNICAST, ADAPTERS, DEVICES).map(two_paths),
)
