"""Who is let in: the listen callback of real libsrt."""

from __future__ import annotations

import threading

import pytest

from firmware.net import srt
from firmware.net.libsrt import LISTEN_HOOK

SECRETS = {"one": "first-source-secret", "two": "second-source-secret"}


def by_stream(caller: srt.Caller) -> srt.Admission | srt.Reject:
    passphrase = SECRETS.get(caller.stream_id)
    return srt.Admission(passphrase) if passphrase else srt.Reject(1404)


def test_each_source_has_its_own_passphrase(lab, receive):
    listener = lab.listener(admit=by_stream)
    for name, passphrase in SECRETS.items():
        caller, accepted = lab.pair(listener, stream_id=name, passphrase=passphrase)
        assert accepted.stream_id == name
        assert accepted.get("kmstate") == 2
        assert caller.get("pbkeylen") == 32
        assert caller.send(name.encode())
        assert receive(accepted, 1)[0][0] == name.encode()
    assert lab.refusal(listener, stream_id="one", passphrase=SECRETS["two"]).code == 10
    assert lab.refusal(listener, stream_id="one").code == 11
    unknown = lab.refusal(listener, stream_id="three", passphrase=SECRETS["one"])
    assert (unknown.code, str(unknown)) == (1404, f"no connection to {listener.address}: there is no such stream")
    assert (listener.refused, listener.admission_failures) == (1, 0)


@pytest.mark.parametrize(
    ("code", "words"), [(1403, "forbidden"), (1409, "the stream is in use"), (1499, "the far end gives code 1499"), (2001, "code 2001")]
)
def test_the_reject_code_reaches_the_caller(lab, passphrase, code, words):
    listener = lab.listener(passphrase=passphrase, admit=lambda _: srt.Reject(code))
    refusal = lab.refusal(listener, passphrase=passphrase)
    assert refusal.code == code
    assert str(refusal).endswith(words)
    assert listener.accept() is None


def test_a_reject_code_of_libsrts_own_is_not_taken():
    with pytest.raises(ValueError, match="codes below 1000"):
        srt.Reject(10)


def test_the_hook_is_told_who_asks(lab):
    asked: list[srt.Caller] = []

    def admit(caller: srt.Caller) -> srt.Admission:
        asked.append(caller)
        return srt.Admission()

    caller, _ = lab.pair(lab.listener(admit=admit), stream_id="publish:kanal/1 ü", bind_address="127.0.0.5")
    assert asked == [srt.Caller("127.0.0.5", caller.local_address.port, "publish:kanal/1 ü", 5)]


def test_the_hook_over_ipv6(lab):
    asked: list[srt.Caller] = []
    listener = lab.listener(address="::1", admit=lambda caller: asked.append(caller) or srt.Admission())
    caller, _ = lab.pair(listener)
    assert (asked[0].address, asked[0].port) == ("::1", caller.local_address.port)


def test_admitted_with_the_passphrase_of_the_listener_or_in_the_clear(lab, passphrase):
    listener = lab.listener(passphrase=passphrase, admit=lambda caller: srt.Admission("" if caller.stream_id == "open" else None))
    _, secured = lab.pair(listener, passphrase=passphrase)
    assert secured.get("kmstate") == 2
    _, clear = lab.pair(listener, stream_id="open")
    assert clear.get("kmstate") == 0
    assert lab.refusal(listener).code == 11


def fails(_caller):
    raise RuntimeError("a mistake of ours")


def leaves(_caller):
    raise SystemExit


@pytest.mark.parametrize(
    ("admit", "failure"),
    [
        (fails, "RuntimeError"),
        (leaves, "SystemExit"),
        (lambda _: None, "AttributeError"),
        (lambda _: True, "AttributeError"),
        (lambda: 0, "TypeError"),
    ],
)
@pytest.mark.parametrize("secured", [True, False])
def test_a_hook_that_fails_lets_nobody_in(lab, passphrase, admit, failure, secured):
    ours = passphrase if secured else ""
    listener = lab.listener(passphrase=ours, admit=admit)
    assert lab.refusal(listener, passphrase=ours).code == 1500
    assert listener.accept() is None
    assert (listener.admission_failures, listener.last_admission_failure, listener.refused) == (1, failure, 0)


@pytest.mark.parametrize("secured", [True, False])
def test_nobody_gets_in_past_a_hook_that_was_never_asked(lab, passphrase, secured, monkeypatch):
    """What ctypes does when it cannot call the hook at all: it answers 0, which lets in."""
    never_asking = LISTEN_HOOK(lambda *_: 0)  # in place from the start: libsrt 1.5.4 takes no other one while it listens
    monkeypatch.setattr(srt, "LISTEN_HOOK", lambda _: never_asking)
    ours = passphrase if secured else ""
    listener = lab.listener(passphrase=ours, admit=lambda _: srt.Admission())
    assert lab.refusal(listener, passphrase=ours).code in (10, 11)


def test_a_refused_caller_does_not_disturb_the_one_on_air(lab, receive):
    listener = lab.listener(admit=by_stream)
    caller, accepted = lab.pair(listener, stream_id="one", passphrase=SECRETS["one"])
    stop = threading.Event()

    def knock() -> None:
        while not stop.is_set():
            lab.refusal(listener, stream_id="unknown")

    knocking = threading.Thread(target=knock)
    knocking.start()
    received = []
    try:
        for number in range(20):
            assert caller.send(b"%d" % number)
            received += receive(accepted, 1)
    finally:
        stop.set()
        knocking.join()
    assert [data for data, _, _ in received] == [b"%d" % number for number in range(20)]
    assert accepted.statistics().received_dropped_packets == 0
    assert listener.refused > 0


def test_a_passphrase_is_not_shown():
    assert "first-source-secret" not in repr(srt.Admission("first-source-secret"))
    with pytest.raises(ValueError, match="10 to 79 characters") as caught:
        srt.Admission("tooshort")
    assert "tooshort" not in str(caught.value)
