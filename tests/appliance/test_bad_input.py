"""Bad input as a person meets it: one sentence that names the thing and says what would be right, an exit code by kind, nothing lost."""

from __future__ import annotations

import shutil
import socket
import subprocess
import wave
from pathlib import Path

import pytest

from appliance.exits import AUTH, FAILED, MEDIA, NETWORK, NOT_ARRIVING, OK, USAGE
from firmware.model import parse_flow
from firmware.net.libsrt import load
from firmware.secrets import generate
from firmware.store import Store
from tests.lab.programs import Program, pressbox, wait_until

QUICK = "pattern?size=320x180&preset=ultrafast&bitrate=300k"


def check(ended: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One sentence on standard error, after at most a warning, and nothing on standard output."""
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    *warnings, last = ended.stderr.splitlines()
    assert all("is in the clear" in line for line in warnings), ended.stderr
    assert last.startswith("pressbox")
    for word in words:
        assert word in last


TO = "udp://127.0.0.1:5004"
COMMANDS = ("send", "recv", "run", "demo", "secret", "flow")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("send", "patern", TO), ("`patern`", "clip:FILE")),
        (("send", "pattern", "srt:/127.0.0.1:1"), ("`srt:/127.0.0.1:1`", "srt://host:port")),
        (("send", "pattern", "http://127.0.0.1:1"), ("`http://` is not carried", "srt://host:port")),
        (("send", "pattern", "udp://127.0.0.1"), ("port: missing", "udp://host:port")),
        (("send", "pattern", "udp://127.0.0.1:65536"), ("port: 65536", "65535")),
        (("send", "pattern", "srt://127.0.0.1:1?latency=120000"), ("microseconds", "latency=120")),
        (("send", "pattern", "srt://127.0.0.1:1?lateny=120"), ("lateny: unknown", "latency")),
        (("send", "pattern?size=big", TO), ("size", "size=1280x720")),
        (("send", "pattern", "srt://127.0.0.1:1?passphrase=@file:/no/such"), ("`/no/such`", "No such file")),
        (("send", "pattern", "srt://127.0.0.1:1?passphrase=@env:NO_SUCH"), ("`NO_SUCH`",)),
        (("recv", "pattern", TO), ("pattern", "pressbox send")),
        (("recv", "udp://192.0.2.1:5000", TO), ("allow",)),
        (("recv", "rtp://:5000", TO, "--window", "5"), ("window_ms", ">= 100")),
        (("recv", "rtp://:5000", TO, "--seconds", "0"), ("--seconds", "above 0")),
        (("run", "--port", "99999"), ("--port", "1 to 65535")),
        (("demo", "--camera", "webcam"), ("--camera", "clip:FILE")),
        (("secret", "set"), ("name of the secret",)),
        (("flow", "create", "/no/such.json"), ("/no/such.json", "No such file")),
        (("flow", "create", "/"), ("/ cannot be read", "Is a directory")),
    ],
    ids=lambda value: " ".join(value[:3]) if value[0] in COMMANDS else "",
)
def test_wrong_words(places, arguments, words):
    ended = pressbox(places, *arguments)
    ended.stderr = "\n".join(line for line in ended.stderr.splitlines() if not line.startswith(("usage:", " ")))
    check(ended, USAGE, *words)


def test_a_passphrase_in_a_url_is_refused_and_not_repeated(places):
    ended = pressbox(places, "send", "pattern", "srt://127.0.0.1:1?passphrase=correcthorsebattery")
    check(ended, USAGE, "passphrase=@file:PATH")
    assert "correcthorse" not in ended.stderr


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ("", ("not JSON",)),
        ('{"name": "a",', ("not JSON",)),
        (b'{"name": "\xff"}', ("not JSON",)),
        ("[]", ("the flow: Expected `object`",)),
        ("{}", ("the flow", "required field `name`")),
        ('{"name": "A b", "sources": [{"protocol": "udp", "name": "s", "port": 1}]}', ("name: a name is 1 to 63",)),
        ('{"name": "a", "sources": []}', ("sources", "length >= 1")),
        ('{"name": "a", "sources": [{"protocol": "hls", "name": "s", "port": 1}]}', ("sources[0].protocol", "rist", "srt-listener")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s"}]}', ("sources[0]", "required field `port`")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": "1"}]}', ("sources[0].port", "Expected `int`")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": 70000}]}', ("sources[0].port", "<= 65535")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": 1, "prot": 2}]}', ("sources[0]", "unknown field `prot`")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": 1, "address": "here"}]}', ("address", "`here`", "192.0.2.7")),
        ('{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": 1, "allow": ["x"]}]}', ("allow", "`x`", "192.0.2.0/24")),
        ('{"name": "a", "sources": [{"protocol": "srt-listener", "name": "s", "port": 1}]}', ("secret", "clear: true")),
        ('{"name": "a", "sources": [{"protocol": "camera", "name": "c", "preset": "slow"}]}', ("preset", "slow", "superfast")),
        (
            '{"name": "a", "sources": [{"protocol": "camera", "name": "c"}, {"protocol": "udp", "name": "s", "port": 1}]}',
            ("a camera is a flow's only source",),
        ),
        (
            '{"name": "a", "sources": [{"protocol": "udp", "name": "s", "port": 1}, {"protocol": "udp", "name": "s", "port": 2}]}',
            ("`s` is there twice",),
        ),
    ],
    ids=lambda value: value[0][:30] if isinstance(value, tuple) else "",
)
def test_a_flow_that_cannot_be(places, flow, words):
    check(pressbox(places, "flow", "create", "-", stdin=flow), USAGE, *words)
    assert Store(places.store).list() == []


@pytest.mark.parametrize(
    ("camera", "words"), [("webcam", ("`webcam` is not known", "clip:FILE")), ("clip:/no/film.mp4", ("/no/film.mp4", "No such file"))]
)
def test_a_camera_that_is_not_there(places, camera, words):
    flow = f'{{"name": "a", "sources": [{{"protocol": "camera", "name": "c", "camera": "{camera}"}}]}}'
    check(pressbox(places, "flow", "create", "-", stdin=flow), MEDIA, *words)
    assert Store(places.store).list() == []
    if camera != "webcam":
        check(pressbox(places, "send", camera, TO), MEDIA, *words)
        check(pressbox(places, "demo", "--camera", camera), MEDIA, *words)


def test_a_clip_without_a_picture(places, tmp_path: Path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 48_000, 0, "NONE", ""))
        sound.writeframes(bytes(96_000))
    (tmp_path / "text.mp4").write_text("no film\n" * 999)
    check(pressbox(places, "send", f"clip:{tmp_path}/sound.wav", TO), MEDIA, "sound.wav", "has no video", "a film with a picture")
    check(pressbox(places, "send", f"clip:{tmp_path}/text.mp4", TO), MEDIA, "text.mp4", "cannot be read", "clip:FILE")


def test_a_port_in_use(places, udp_port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        taken = udp.getsockname()[1]
        words = (f"port {taken} of 127.0.0.1 is in use", "choose another port")
        for source in (f"udp://:{taken}", f"rtp://:{taken}", f"srt://:{taken}"):
            check(pressbox(places, "recv", source, TO), NETWORK, *words)
        check(pressbox(places, "recv", f"udp://:{udp_port()}", f"srt://:{taken}"), NETWORK, *words)
        check(pressbox(places, "demo", "--port", str(tcp.getsockname()[1])), NETWORK, str(tcp.getsockname()[1]), "choose another port")


def test_a_page_port_in_use_keeps_no_flow_off_air(places, wait_for):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Program.pressbox(places, "run", "--port", port) as box:
            wait_until(lambda: box.said(f"port {port} of 127.0.0.1 cannot be used"), what="the sentence", among=[box])
            assert pressbox(places, "flow", "create", "-", "--start", stdin=flow_json(places)).returncode == OK
            wait_until(lambda: "ACTIVE" in pressbox(places, "status", "--json").stdout, what="the flow runs", among=[box])
            assert not box.said("Traceback")


def flow_json(places, **changes: object) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f'{{"name": "a", "sources": [{{"protocol": "udp", "name": "s", "port": {port}}}]}}'


def test_an_address_that_is_not_ours_and_a_name_that_nobody_knows(places):
    check(pressbox(places, "recv", "udp://192.0.2.1:5000?allow=any", TO), NETWORK, "192.0.2.1 is no address of this machine")
    check(pressbox(places, "send", QUICK, "udp://no-such-host.invalid:5000"), NETWORK, "no-such-host.invalid cannot be found")


def test_a_libsrt_that_is_missing_or_too_old(places, tmp_path: Path):
    missing, old = {"PRESSBOX_LIBSRT": "/no/libsrt.so"}, tmp_path / "libsrt.so.1.5"
    shutil.copy(load().path, old)  # as found in no package: its fixes cannot be known
    lifted = {"PRESSBOX_LIBSRT": str(old), "PRESSBOX_ALLOW_OLD_LIBSRT": ""}
    for arguments in (("recv", "srt://:5000", TO), ("send", QUICK, "srt://127.0.0.1:5000")):
        check(pressbox(places, *arguments, env=missing), NETWORK, "PRESSBOX_LIBSRT names /no/libsrt.so", "libsrt 1.5")
        if tuple(int(part) for part in load().version.split(".")) < (1, 5, 7):
            check(pressbox(places, *arguments, env=lifted), NETWORK, str(old), "CVE-2026-55868", "1.5.7")


@pytest.fixture
def listener(places, udp_port, tmp_path):
    """`pressbox recv` behind a passphrase: its port."""
    (tmp_path / "right").write_text(generate())
    (tmp_path / "wrong").write_text(generate())
    port = udp_port()
    url = f"srt://:{port}?passphrase=@file:{tmp_path}/right"
    with Program.pressbox(places, "recv", url, f"srt://:{udp_port()}?passphrase=@file:{tmp_path}/right", "--stats", "0.2") as recv:
        wait_until(lambda: recv.said("Mb/s"), what="recv is up", among=[recv])
        yield port


@pytest.mark.parametrize("command", ["send", "recv"])
def test_a_wrong_passphrase_is_said_at_once_and_ends_with_its_own_code(places, udp_port, listener, tmp_path, command):
    url = f"srt://127.0.0.1:{listener}?mode=caller&passphrase=@file:{tmp_path}/wrong"
    ends = (QUICK, url) if command == "send" else (url, f"udp://127.0.0.1:{udp_port()}")
    ended = pressbox(places, command, *ends, "--timeout", "3", "-q")
    first, last = ended.stderr.splitlines()
    assert first.endswith(f"no connection to 127.0.0.1:{listener}: the passphrase is wrong; trying again")
    assert "the passphrase is wrong" in last
    assert ended.returncode == AUTH
    assert (tmp_path / "wrong").read_text() not in ended.stderr


def test_a_receiver_that_is_not_there_is_said_and_waited_for(places, udp_port, tmp_path):
    port = udp_port()
    (tmp_path / "key").write_text(generate())
    url = f"srt://127.0.0.1:{port}?passphrase=@file:{tmp_path}/key"
    with Program.pressbox(places, "send", QUICK, url) as sender:
        wait_until(lambda: sender.said("nobody answers; trying again"), what="the sentence", among=[sender])
        with Program.pressbox(places, "recv", f"srt://:{port}?passphrase=@file:{tmp_path}/key", f"udp://127.0.0.1:{udp_port()}"):
            wait_until(lambda: sender.said("out-1: connected"), what="connected", among=[sender])


def test_nothing_arrives(places, udp_port):
    check(pressbox(places, "recv", f"rtp://:{udp_port()}", TO, "--timeout", "0.5"), NOT_ARRIVING, "nothing arrived at rtp://", "0.5 s")
    ended = pressbox(places, "send", QUICK, f"srt://127.0.0.1:{udp_port()}", "--timeout", "4")
    assert ended.returncode == NOT_ARRIVING
    assert "no output could be reached within 4 s" in ended.stderr.splitlines()[-1]


def test_flows_and_secrets_that_are_not_there(places):
    for action in ("show", "start", "stop", "delete"):
        check(pressbox(places, "flow", action, "nope"), FAILED, "no flow `nope`", "pressbox flow list")
    check(pressbox(places, "flow", "create", "-", "--replace", stdin=flow_json(places)), FAILED, "no flow `a`")
    check(pressbox(places, "secret", "delete", "nope"), FAILED, "no secret `nope`", "pressbox secret list")
    check(pressbox(places, "secret", "set", "key", stdin="short\n"), AUTH, "the secret `key` is not set", "10 to 79")
    check(pressbox(places, "secret", "set", "No!", stdin="long enough\n"), AUTH, "name of a secret")
    check(pressbox(places, "cut", "nope", "out"), FAILED, "engine cannot be reached", "pressbox run")
    assert not (places.secrets / "key").exists()


def test_a_flow_whose_secret_is_missing_is_refused(places):
    flow = '{"name": "a", "sources": [{"protocol": "srt-listener", "name": "s", "port": 5000, "secret": "path-a"}]}'
    check(pressbox(places, "flow", "create", "-", stdin=flow), AUTH, "the secret `path-a` is missing", "pressbox secret set path-a")
    assert Store(places.store).list() == []
    assert pressbox(places, "secret", "generate", "path-a").returncode == OK
    assert pressbox(places, "flow", "create", "-", stdin=flow).returncode == OK


def test_a_truncated_database_is_put_right_or_said(places):
    flow = parse_flow(flow_json(places))
    Store(places.store).create(flow)
    whole = places.store.read_bytes()
    places.store.write_bytes(whole[: len(whole) // 2])
    listed = pressbox(places, "flow", "list")
    assert listed.returncode == OK
    assert listed.stdout.split() == ["a", "STANDBY"]
    assert "was damaged" in listed.stderr
    assert "copy of its last change" in listed.stderr
    for file in (places.store, Store(places.store).good):
        file.write_bytes(file.read_bytes()[:1000])
    check(pressbox(places, "flow", "list"), FAILED, f"the store {places.store} is damaged", "backup")
    check(pressbox(places, "run", "--no-web"), FAILED, f"the store {places.store} is damaged", "backup")


def test_a_second_engine_is_refused_and_disturbs_nothing(places):
    with Program.pressbox(places, "run", "--no-web") as first:
        wait_until(places.control.exists, what="the engine is up", among=[first])
        pressbox(places, "flow", "create", "-", stdin=flow_json(places))
        for command in (("run", "--no-web"), ("demo", "--port", "48231")):
            check(pressbox(places, *command), FAILED, "another pressbox runs", "PRESSBOX_RUN")
        assert pressbox(places, "flow", "start", "a").returncode == OK  # the first one answers
        assert pressbox(places, "secret", "list").stdout == ""
        assert first.process.poll() is None
