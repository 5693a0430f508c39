"""Real librist at both ends: delivery, numbers, loss, two paths, secrets, strangers, ends that come and go."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from firmware.net import librist, rist
from tests.lab.relay import Relay
from tests.net.ristlab import FORGERIES, HOST, LATENCY_MS, PASSPHRASE, Collect, RistLab, forge, number_of, whole

KEYED = {"passphrase": PASSPHRASE}
MODES = {
    "main": {},
    "AES-128": KEYED | {"key_bits": 128},
    "AES-256": KEYED | {"key_bits": 256},
    "simple": {"profile": "simple"},
}


@pytest.fixture
def lab() -> Iterator[RistLab]:
    with ExitStack() as stack:
        yield RistLab(stack)


# the library


def test_structs_are_as_large_as_the_headers_make_them():
    """C's sizeof on 64-bit machines, from the headers of 0.2.7 and of 0.2.11."""
    sizes = [ctypes.sizeof(kind) for kind in (librist.PeerConfig, librist.DataBlock, librist.SentBlock, librist.LogSettings)]
    assert sizes == [1240, 72, 72, 40]


def test_the_library_says_its_version():
    assert str(rist.load()).startswith("librist 0.2.")
    assert rist.load() is rist.load()


@pytest.mark.parametrize(
    ("api", "fits"), [("4.2.0", True), ("4.5.0", True), ("4.10.1", True), ("4.1.0", False), ("3.9.0", False), ("5.0.0", False)]
)
def test_only_a_known_abi_is_taken(api, fits):
    reason = librist.reason_against(api)
    assert not reason if fits else (api in reason and "apt install librist4" in reason)


def test_a_missing_library_is_said(tmp_path):
    code = "from firmware.net import rist\ntry: rist.load()\nexcept rist.RistUnavailable as error: print(error)"
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PRESSBOX_LIBRIST": "/none.so", "PYTHONPATH": "."}, capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("PRESSBOX_LIBRIST names /none.so, which cannot be loaded")


# delivery


@pytest.mark.parametrize("mode", MODES)
def test_every_datagram_comes_once_in_order_with_its_number(lab, mode):
    receiver, sender = lab.pair(**MODES[mode])
    feed = lab.feed(sender)
    collect = Collect(receiver)
    got = collect.count(400)
    assert whole(collect.numbers)
    assert collect.got[0].data == feed.sent[collect.numbers[0]]
    assert {(one.number - number_of(one.data)) % 65536 for one in got} == {0}
    assert len({one.flow_id for one in got}) == 1
    assert [one.afresh for one in got].count(True) == 1
    collect.until(lambda: receiver.statistics().received > 300, "the receiver's figures")
    collect.until(lambda: sender.statistics().heard_ns, "the sender's figures")
    figures = receiver.statistics()
    assert (figures.lost, figures.missing) == (0, 0)
    assert [path.rtt_ms is not None and path.rtt_ms < 200 for path in figures.paths.values()] == [True]
    assert set(receiver.peers.values()) == {HOST}


@pytest.mark.parametrize("mode", ["AES-256", "simple"])
def test_loss_is_repaired_and_counted(lab, mode):
    port = lab.port()
    receiver = lab.receiver(port, latency_ms=400, **MODES[mode])
    entry = lab.port()
    with ExitStack() as relays:
        first = relays.enter_context(Relay((HOST, port), listen=(HOST, entry), seed=3, delay_ms=2))
        relays.enter_context(Relay((HOST, port + 1), listen=(HOST, entry + 1), delay_ms=2))  # RTCP of simple profile
        sender = lab.sender(entry, latency_ms=400, **MODES[mode])
        lab.feed(sender)
        collect = Collect(receiver)
        collect.count(100)  # before both ends know each other nothing is asked for again
        first.forward.loss = 0.05
        collect.count(800)
        assert whole(collect.numbers)
        assert first.forward.lost > 20
        collect.until(lambda: receiver.statistics().repaired > 10, "the receiver's figures")
        collect.until(lambda: sum(path.repeated for path in sender.statistics().paths) > 10, "the sender's figures")
        assert receiver.statistics().lost == 0


def test_numbers_jump_over_what_is_lost_for_good(lab):
    """A constant offset to what was sent, whatever is missing: what a merge of two legs rests on."""
    port = lab.port()
    receiver = lab.receiver(port)
    gone = {b"%04d" % number for number in (300, 301, 302, 350)}
    with Relay((HOST, port), drop=lambda datagram, _forward: datagram[-4:] in gone) as relay:
        lab.feed(lab.sender(relay.address[1]))
        collect = Collect(receiver)
        collect.until(lambda: collect.got and collect.numbers[-1] > 500, "the stream goes on")
        assert {300, 301, 302, 350}.isdisjoint(collect.numbers)
        assert len(collect.numbers) == collect.numbers[-1] - collect.numbers[0] + 1 - 4
        assert {(one.number - number_of(one.data)) % 65536 for one in collect.got} == {0}
        collect.until(lambda: receiver.statistics().lost == 4, "the loss is counted")


@pytest.mark.parametrize("key", [{}, KEYED], ids=["clear", "AES-256"])
def test_one_of_two_paths_is_cut_and_nothing_is_lost(lab, key):
    ports = lab.port(), lab.port()
    receiver = lab.receiver(*ports, **key)
    with Relay((HOST, ports[0])) as first, Relay((HOST, ports[1])) as second:
        sender = lab.sender(first.address[1], second.address[1], **key)
        lab.feed(sender)
        collect = Collect(receiver)
        collect.until(lambda: receiver.statistics().duplicates > 100, "both paths bring the stream")
        first.cut()
        collect.count(500)
        first.restore()
        collect.until(lambda: sum(path.heard_ns > 0 for path in receiver.statistics().paths.values()) == 2, "the first path is back")
        second.cut()
        collect.count(500)
        assert whole(collect.numbers)
        assert receiver.statistics().lost == 0


def test_simple_profile_does_not_join_two_paths(lab):
    """librist takes two ports for two flows there: each datagram comes twice. Why a source refuses it."""
    ports = lab.port(), lab.port()
    receiver = lab.receiver(*ports, profile="simple")
    lab.feed(lab.sender(*ports, profile="simple"))
    collect = Collect(receiver)
    collect.count(400)
    assert len(set(collect.numbers)) < len(collect.numbers) * 0.7


@pytest.mark.parametrize(
    "way", [{"bind_address": "127.0.0.3"}, {"bind_address": "127.0.0.3", "bind_device": "lo"}], ids=["address", "device"]
)
@pytest.mark.parametrize("mode", ["AES-256", "simple"])
def test_a_path_keeps_to_its_address(lab, mode, way):
    port = lab.port()
    receiver = lab.receiver(port, admit=lambda address, _port: address == "127.0.0.3", **MODES[mode])
    sender = lab.sender(rist.Path(HOST, port, **way), **MODES[mode])
    lab.feed(sender)
    Collect(receiver).count(200)
    assert set(receiver.peers.values()) == {"127.0.0.3"}


def test_ipv6(lab):
    port = lab.port()
    with ExitStack() as ends:
        receiver = rist.RistReceiver(
            [rist.Address("::1", port)], latency_ms=LATENCY_MS, admit=lambda address, _port: address == "::1", **KEYED
        )
        ends.callback(receiver.close)
        lab.feed(lab.sender(rist.Path("::1", port), **KEYED))
        Collect(receiver).count(100)


# secrets


def wire(lab: RistLab, key: dict[str, str]) -> list[bytes]:
    seen: list[bytes] = []
    port = lab.port()
    receiver = lab.receiver(port, **key)
    with Relay((HOST, port), drop=lambda datagram, _forward: seen.append(datagram) is not None) as relay:
        lab.feed(lab.sender(relay.address[1], **key))
        Collect(receiver).count(300)
    return seen


def test_nothing_can_be_read_on_the_wire(lab):
    seen = wire(lab, {})
    assert sum(b"PRESSBOX" in datagram for datagram in seen) > 250
    assert any(b"pressbox" in datagram for datagram in seen)  # RTCP's canonical name: librist's own is made of this machine's name
    seen = wire(lab, KEYED)
    assert len(seen) > 300
    assert not [datagram for datagram in seen if b"pressbox" in datagram.lower() or PASSPHRASE.encode() in datagram]


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (PASSPHRASE, "another passphrase", "Malformed packet"),
        ("", PASSPHRASE, "configured without keysize"),
        (PASSPHRASE, "", "sent clear communication"),
    ],
    ids=["wrong", "missing at the receiver", "missing at the sender"],
)
def test_a_wrong_or_missing_secret_delivers_nothing_and_is_said(lab, ours, theirs, words):
    port = lab.port()
    receiver = lab.receiver(port, passphrase=ours)
    sender = lab.sender(port, passphrase=theirs)
    lab.feed(sender)
    collect = Collect(receiver)
    # 0.2.7 sends the clear without sequence numbers, which the filter drops; later ones with, which librist refuses
    collect.until(lambda: receiver.filtered > 100 or any(words in line.message for line in receiver.log.lines), words)
    assert [one for one in collect.during(0.3) if one.data[0] == 0x47 and b"PRESSBOX" in one.data] == []
    assert sender.statistics().heard_ns == 0


@pytest.mark.parametrize("kind", FORGERIES)
def test_who_lacks_the_passphrase_puts_nothing_in(lab, kind):
    """librist alone takes all of these but the second kind (0.2.7), or those with nonce 0 (0.2.11)."""
    port = lab.port()
    receiver = lab.receiver(port, latency_ms=50, **KEYED)
    sent = forge(kind, port)
    collect = Collect(receiver)
    assert collect.during(0.3) == []
    assert receiver.peers == {}
    if kind != "not encrypted":
        assert receiver.filtered == sent
    lab.feed(lab.sender(port, latency_ms=50, **KEYED))
    collect.count(100)  # and the right sender is let in after all that


def test_the_forged_packets_would_be_taken_in_the_clear(lab):
    """So that the test above shows more than bad packets."""
    port = lab.port()
    receiver = lab.receiver(port, latency_ms=50)
    forge("no sequence number", port)
    Collect(receiver).count(50)


def test_a_forger_does_not_disturb_the_right_sender(lab):
    port = lab.port()
    receiver = lab.receiver(port, **KEYED)
    lab.feed(lab.sender(port, **KEYED))
    collect = Collect(receiver)
    collect.count(100)
    for kind in FORGERIES:
        forge(kind, port, 60)
    collect.count(300)
    assert whole(collect.numbers)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"passphrase": "x" * 128}, "the passphrase has 128 bytes; RIST takes 1 to 127"),
        ({"passphrase": "one\0two"}, "none of them 0"),
        ({"passphrase": PASSPHRASE, "profile": "simple"}, "simple profile cannot encrypt"),
    ],
)
def test_what_cannot_be_encrypted_is_said(lab, wish, words):
    for end in (lab.sender, lab.receiver):
        with pytest.raises(rist.RistError, match=words) as caught:
            end(lab.port(), **wish)
        assert wish["passphrase"] not in str(caught.value)


def test_the_passphrase_is_in_no_log_line(lab):
    receiver, sender = lab.pair(**KEYED)
    assert not [line for end in (receiver, sender) for line in end.log.lines if PASSPHRASE in line.message]
    assert PASSPHRASE not in repr(vars(receiver)) + repr(vars(sender))


# who may send


def fails(_address: str, _port: int) -> bool:
    raise KeyError("a mistake of ours")


@pytest.mark.parametrize("mode", ["AES-256", "simple"])
@pytest.mark.parametrize("admit", [lambda _address, _port: False, fails], ids=["not allowed", "failing"])
def test_who_is_not_let_in_delivers_nothing(lab, mode, admit):
    port = lab.port()
    receiver = lab.receiver(port, admit=admit, **MODES[mode])
    lab.feed(lab.sender(port, **MODES[mode]))
    collect = Collect(receiver)
    collect.until(lambda: receiver.refused > 3, "the sender is turned away")
    assert collect.during(0.3) == []
    assert receiver.peers == {}


# ports


@pytest.mark.parametrize("profile", ["main", "simple"])
def test_a_port_that_is_taken_is_said(lab, profile):
    """librist opens its ports so that a second one takes them too, and says nothing."""
    port = lab.port()
    first = lab.receiver(port, profile=profile)
    with pytest.raises(rist.RistError, match=f"UDP port {port} of 127.0.0.1 is in use"):
        lab.receiver(port, profile=profile)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            thief.bind((HOST, port))
    first.close()
    lab.receiver(port, profile=profile)


def test_simple_profile_needs_both_ports(lab):
    port = lab.port()
    with pytest.raises(rist.RistError, match=f"port: {port + 1} is odd; simple profile needs an even port"):
        lab.receiver(port + 1, profile="simple")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOST, port + 1))
        with pytest.raises(rist.RistError, match=f"UDP port {port + 1} of 127.0.0.1 is in use"):
            lab.receiver(port, profile="simple")


def test_an_address_that_is_not_ours_is_said(lab):
    with pytest.raises(rist.RistError, match=r"192\.0\.2\.1:5000 cannot be bound"):
        rist.RistReceiver([rist.Address("192.0.2.1", 5000)], latency_ms=LATENCY_MS, admit=lambda _address, _port: True)
    with pytest.raises(rist.RistError, match=r"192\.0\.2\.1 cannot be used"):
        lab.sender(rist.Path(HOST, 5000, bind_address="192.0.2.1"))
    with pytest.raises(rist.RistError, match="on network interface none0 cannot be used"):
        lab.sender(rist.Path(HOST, 5000, bind_device="none0"))
    with pytest.raises(OSError, match=r"no-such-host\.invalid cannot be found"):
        lab.sender(rist.Path("no-such-host.invalid", 5000))


# coming and going


@pytest.mark.parametrize("mode", ["AES-256", "simple"])
def test_a_sender_may_come_first_and_a_receiver_come_again(lab, mode):
    port = lab.port()
    sender = lab.sender(port, **MODES[mode])
    lab.feed(sender)
    for _ in range(2):
        receiver = lab.receiver(port, **MODES[mode])
        collect = Collect(receiver)
        collect.count(200)
        assert whole(collect.numbers)
        receiver.close()


def test_a_new_sender_begins_afresh(lab):
    receiver, sender = lab.pair(**KEYED)
    port = sender.far_ends[0].port
    collect = Collect(receiver)
    lab.feed(sender)
    collect.count(200)
    sender.close()
    lab.feed(lab.sender(port, **KEYED))
    collect.until(lambda: [one.afresh for one in collect.got].count(True) > 1, "the new sender's stream")
    collect.count(200)
    begun = [place for place, one in enumerate(collect.got) if one.afresh][-1]
    assert whole(collect.numbers[begun:])


def test_a_link_that_was_gone_comes_back_by_itself(lab):
    """Longer than librist's session timeout of 2 s: both ends gave each other up. In simple profile 0.2.11 needs to be opened anew."""
    port, entry = lab.port(), lab.port()
    receiver = lab.receiver(port, **KEYED)
    with Relay((HOST, port), listen=(HOST, entry)) as data, Relay((HOST, port + 1), listen=(HOST, entry + 1)) as rtcp:
        lab.feed(lab.sender(entry, **KEYED))
        collect = Collect(receiver)
        collect.count(200)
        data.cut()
        rtcp.cut()
        collect.during(2.6)
        before = len(collect.got)
        back = time.monotonic()
        data.restore()
        rtcp.restore()
        collect.until(lambda: len(collect.got) > before + 200, "the stream is back")
        assert time.monotonic() - back < 5
        begun = [place for place, one in enumerate(collect.got) if one.afresh][-1]
        assert whole(collect.numbers[max(begun, before) :])


def test_closed_ends_are_quiet(lab):
    receiver, sender = lab.pair(**KEYED)
    for end in (receiver, sender):
        end.close()
        end.close()
    assert sender.send([b"late"]) == 0
    with pytest.raises(rist.RistError, match="the receiver is closed"):
        receiver.receive(10)
    assert receiver.filtered == 0


@pytest.mark.parametrize(("last", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)], ids=["end", "exit", "exception"])
def test_a_program_ends_with_open_ends(lab, last, code):
    """librist's threads call into Python; they must be gone before the interpreter is."""
    port = lab.port()
    program = f"""
import threading, time
from firmware.net import rist
receiver = rist.RistReceiver([rist.Address("127.0.0.1", {port})], latency_ms=50, admit=lambda address, port: True, passphrase="secret")
sender = rist.RistSender([rist.Path("127.0.0.1", {port})], latency_ms=50, passphrase="secret")
def feed():
    while sender.send([b"G" * 1316]):
        time.sleep(0.0002)
threading.Thread(target=feed, daemon=True).start()
got = 0
while got < 300 or not sender.statistics().heard_ns:
    got += len(receiver.receive(20))
{last}
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": "."}, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == code, ended.stderr
