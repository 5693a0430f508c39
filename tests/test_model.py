"""The flow model: what gets in comes out the same, and what does not is told which key is wrong and what would be right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.model import Camera, Flow, FlowError, RtpSource, SrtCallerOutput, SrtListenerSource, UdpOutput, dump_flow, parse_flow

CAMERA: dict[str, Any] = {"protocol": "camera", "name": "cam"}
LISTENER: dict[str, Any] = {"protocol": "srt-listener", "name": "a", "port": 5000, "secret": "show"}
CALLER: dict[str, Any] = {"protocol": "srt-caller", "name": "path-a", "host": "192.0.2.7", "port": 5000, "secret": "show"}
RTP: dict[str, Any] = {"protocol": "rtp", "name": "b", "port": 5002}
UDP: dict[str, Any] = {"protocol": "udp", "name": "player", "host": "127.0.0.1", "port": 5004}


def flow(**changes: Any) -> dict[str, Any]:
    return {"name": "show", "sources": [CAMERA], "outputs": [], **changes}


def source(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return flow(sources=[{**base, **changes}])


def output(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return flow(outputs=[{**base, **changes}])


def without(base: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in base.items() if name != key}


def test_a_flow_comes_back_as_it_went_in() -> None:
    whole = Flow(
        name="court-3",
        sources=[
            SrtListenerSource(name="a", port=5000, secret="show", latency_ms=250, stream_id="court/3"),
            RtpSource(name="b", port=5002),
        ],
        recover="failover",
        outputs=[
            SrtCallerOutput(name="far", host="studio.example", port=9000, clear=True, bind_device="eth0"),
            UdpOutput(name="near", host="239.1.1.1", port=5004, ttl=1, enabled=False),
        ],
    )
    assert parse_flow(dump_flow(whole)) == whole


def test_a_stored_flow_has_its_defaults_written_out() -> None:
    stored = json.loads(dump_flow(parse_flow(flow())))
    assert stored["window_ms"] == 200
    assert stored["sources"][0]["protocol"] == "camera"
    assert stored["sources"][0]["video_bps"] == 4_000_000


def test_objects_bytes_and_text_are_the_same_flow() -> None:
    text = json.dumps(flow(outputs=[UDP]))
    assert parse_flow(text) == parse_flow(text.encode()) == parse_flow(json.loads(text))


def test_defaults_listen_to_this_machine_alone_and_encrypt() -> None:
    listener = parse_flow(source(LISTENER)).sources[0]
    assert isinstance(listener, SrtListenerSource)
    assert listener.address == "127.0.0.1"
    assert listener.allow == ["127.0.0.0/8", "::1/128"]
    assert listener.key_bits == 256
    assert not listener.clear


def test_two_flows_do_not_share_their_lists() -> None:
    one, two = parse_flow({"name": "one", "sources": [CAMERA]}), parse_flow({"name": "two", "sources": [CAMERA]})
    one.outputs.append(UdpOutput(name="extra", host="127.0.0.1", port=5004))
    assert two.outputs == []
    assert parse_flow({"name": "three", "sources": [CAMERA]}).outputs == []


def test_secrets_are_names_and_are_found() -> None:
    both = parse_flow(flow(sources=[LISTENER, RTP], outputs=[{**CALLER, "secret": "far"}, UDP]))
    assert both.secrets == {"show", "far"}


def test_camera_is_known_and_its_mux_has_room() -> None:
    camera = parse_flow(source(CAMERA, video_bps=6_000_000)).camera
    assert isinstance(camera, Camera)
    assert camera.mux_bps > camera.video_bps + camera.audio_bps
    assert parse_flow(source(LISTENER)).camera is None


# One row for each way of being wrong: the flow, the key that the message must start with, and what it must say would be right.
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": (without(flow(), "name"), "", "`name`"),
    "name with a space": (flow(name="my show"), "name", "a-z, 0-9 and -"),
    "name empty": (flow(name=""), "name", "1 to 63"),
    "name of a source": (source(CAMERA, name="Cam"), "sources[0].name", "a-z, 0-9 and -"),
    "no source": (flow(sources=[]), "sources", ">= 1"),
    "three sources": (flow(sources=[LISTENER, {**LISTENER, "name": "b"}, {**LISTENER, "name": "c"}]), "sources", "<= 2"),
    "sources missing": (without(flow(), "sources"), "", "`sources`"),
    "sources as text": (flow(sources="camera"), "sources", "`array`"),
    "one name twice in sources": (flow(sources=[LISTENER, LISTENER]), "sources", "a name of its own"),
    "one name twice in outputs": (flow(outputs=[UDP, UDP]), "outputs", "a name of its own"),
    "camera and another": (flow(sources=[CAMERA, RTP]), "sources", "a flow of its own"),
    "unknown key": (flow(colour="red"), "", "`colour`"),
    "unknown key in a source": (source(CAMERA, zoom=2), "sources[0]", "`zoom`"),
    "unknown recover": (flow(recover="hope"), "recover", "failover, merge"),
    "unknown pacing": (flow(pacing="fast"), "pacing", "arrival, pcr"),
    "window too short": (flow(window_ms=5), "window_ms", ">= 100"),
    "window too long": (flow(window_ms=20_000), "window_ms", "<= 15000"),
    "window as text": (flow(window_ms="200"), "window_ms", "`int`"),
    "failover too short": (flow(failover_ms=1), "failover_ms", ">= 100"),
    "51 outputs": (flow(outputs=[{**UDP, "name": f"o{i}"} for i in range(51)]), "outputs", "<= 50"),
    "unknown source protocol": (
        source(CAMERA, protocol="ndi"),
        "sources[0].protocol",
        "camera, rist, rtp, rtp-fec, srt-caller, srt-listener, udp",
    ),
    "unknown output protocol": (output(UDP, protocol="rtmp"), "outputs[0].protocol", "rist, rtp, rtp-fec, srt-caller, srt-listener, udp"),
    "camera as an output": (output(CAMERA), "outputs[0].protocol", "rist, rtp, rtp-fec, srt-caller, srt-listener, udp"),
    "protocol missing": (flow(sources=[without(CAMERA, "protocol")]), "sources[0]", "`protocol`"),
    "odd width": (source(CAMERA, width=1281), "sources[0].width", "multiple of 2"),
    "fps too high": (source(CAMERA, fps=120), "sources[0].fps", "<= 60"),
    "bitrate too low": (source(CAMERA, video_bps=1000), "sources[0].video_bps", ">= 200000"),
    "unknown preset": (source(CAMERA, preset="placebo"), "sources[0].preset", "superfast, ultrafast, veryfast"),
    "port 0": (source(LISTENER, port=0), "sources[0].port", ">= 1"),
    "port too high": (output(UDP, port=70_000), "outputs[0].port", "<= 65535"),
    "port missing": (flow(sources=[without(LISTENER, "port")]), "sources[0]", "`port`"),
    "latency too low": (source(LISTENER, latency_ms=1), "sources[0].latency_ms", ">= 10"),
    "key of an odd length": (source(LISTENER, key_bits=512), "sources[0].key_bits", "128, 192, 256"),
    "stream id too long": (source(LISTENER, stream_id="x" * 513), "sources[0].stream_id", "<= 512"),
    "no secret": (source(LISTENER, secret=""), "sources[0]", "`clear: true`"),
    "secret and clear": (source(LISTENER, clear=True), "sources[0]", "not both"),
    "host missing": (flow(outputs=[without(UDP, "host")]), "outputs[0]", "`host`"),
    "host blank": (output(UDP, host=" "), "outputs[0]", "host name or an address"),
    "address with letters": (source(LISTENER, address="studio"), "sources[0]", "192.0.2.7"),
    "bind address with letters": (output(CALLER, bind_address="eth0"), "outputs[0]", "192.0.2.7"),
    "block with host bits": (source(RTP, allow=["192.0.2.7/24"]), "sources[0]", "192.0.2.0/24"),
    "ttl 0": (output(UDP, ttl=0), "outputs[0].ttl", ">= 1"),
    "enabled as a number": (output(UDP, enabled=1), "outputs[0].enabled", "`bool`"),
}


@pytest.mark.parametrize(("wrong", "key", "right"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_flow_is_told_which_key_and_what_would_be_right(wrong: dict[str, Any], key: str, right: str) -> None:
    with pytest.raises(FlowError) as told:
        parse_flow(json.dumps(wrong))
    message = str(told.value)
    assert message.startswith(f"{key}: " if key else ""), message
    assert right in message, message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "{", "flow: show", "\x00", '{"name": "show"'])
def test_what_is_not_json_is_told_so(text: str) -> None:
    with pytest.raises(FlowError, match="not JSON"):
        parse_flow(text)


@pytest.mark.parametrize("key", ["address", "host", "secret"])
def test_a_passphrase_in_the_wrong_place_is_not_echoed(key: str) -> None:
    """Nobody writes a passphrase into the flow on purpose; the message of an unknown key names the key alone."""
    with pytest.raises(FlowError) as told:
        parse_flow(source(LISTENER, **{f"{key}_passphrase": "correct horse battery"}))
    assert "horse" not in str(told.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.fixed_dictionaries({}, optional={key: JSON for key in ("name", "sources", "outputs", "recover", "window_ms", "pacing")}))
def test_any_object_is_a_flow_or_a_flow_error(thing: dict[str, Any]) -> None:
    try:
        parsed = parse_flow(thing)
    except FlowError as error:
        assert str(error)  # noqa: PT017 - most objects raise, a few are flows
    else:
        assert parse_flow(dump_flow(parsed)) == parsed


@given(JSON)
def test_any_end_is_a_source_or_a_flow_error(thing: Any) -> None:
    with pytest.raises(FlowError):
        parse_flow(flow(sources=[{"protocol": "srt-listener", "name": thing}]))


RIST = {"protocol": "rist", "name": "out", "host": "192.0.2.7", "port": 5000, "second_port": 5000, "clear": True}


@pytest.mark.parametrize("way", [{}, {"second_host": "192.0.2.7"}])
def test_two_rist_paths_to_one_place_by_one_way_are_refused(way: dict) -> None:
    with pytest.raises(FlowError, match="second_port: too close"):
        parse_flow(output(RIST | way))


@pytest.mark.parametrize("way", [{"second_host": "192.0.2.8"}, {"bind_device": "eth0", "second_bind_device": "wwan0"}])
def test_two_rist_paths_to_one_port_differ_by_place_or_by_way(way: dict) -> None:
    assert parse_flow(output(RIST | way)).outputs
