"""Webhooks: signed, tried again, in order, each on his own, and never more shown of an address than where it leads."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.alarms.courier import TRIES_OF_UNWANTED, Courier, Patience, read_place, waiting_s
from appliance.alarms.shapes import Names
from appliance.alarms.webhook import WebhookSender
from firmware.alarms.board import Alarm
from firmware.alarms.journal import ALARMS, EVENTS, Journal, Notice
from firmware.alarms.settings import FOLDER, AlarmError, Webhook, parse
from firmware.secrets import Secrets
from tests.alarms.receiver import Receiver

SECRET = "a-secret-of-the-receiver"
DOCUMENT = Path(__file__).parents[2] / "docs/alarms.md"


def alarm(name: str = "output-down", **more: object) -> Alarm:
    fields = {"id": "1", "alarm": name, "flow": "studio", "kind": "output", "end": "wall", "severity": "critical", "state": "ALARM"}
    return Alarm(**fields | {"since": time.time(), "raised_at": time.time(), "reason": "gone", "advice": "look"} | more)


def told(name: str = "output-down", at: float | None = None) -> Notice:
    return Notice(what="alarm", at=at or time.time(), flow="studio", end="wall", alarm=alarm(name), before="OK")


@pytest.fixture
def folder(places):
    Secrets(places.secrets).set("sig", SECRET)
    return places.state / FOLDER


@pytest.fixture
def journal(folder) -> Iterator[Journal]:
    made = Journal(folder, ALARMS)
    yield made
    made.close()


@pytest.fixture
def begin(places, folder) -> Iterator[Callable[..., Courier]]:
    """`begin(url, name=…)`: a courier to this address."""
    with ExitStack() as stack:

        def start(url: str, name: str = "ops", timeout_s: float = 10.0, oldest_s: float = 86_400.0, **more: object) -> Courier:
            hook = parse(Webhook, {"name": name, "url": url, "secret": "sig", **more})
            sender = WebhookSender(hook, Secrets(places.secrets), Names(places), timeout_s)
            courier = Courier(name, sender, folder, (0, 0), events=hook.events, patience=Patience(0.02, oldest_s))
            courier.start()
            stack.callback(courier.join)
            stack.callback(courier.stop)
            return courier

        yield start


def test_a_notice_has_the_shape_of_the_cloud_and_a_signature_that_the_document_checks(journal, begin, wait_for):
    with Receiver().up() as receiver:
        journal.add(told())
        begin(receiver.url)
        wait_for(lambda: receiver.requests, what="the notice")
    path, headers, body = receiver.requests[0]
    recipe = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    checks: dict[str, Callable[..., bool]] = {}
    exec(recipe[1], checks)
    assert checks["is_ours"](SECRET, headers, body)
    assert not checks["is_ours"](SECRET, headers, body.replace(b"wall", b"hall"))
    assert not checks["is_ours"]("another secret", headers, body)
    assert not checks["is_ours"](SECRET, headers | {"Pressbox-Timestamp": "1800000000"}, body)
    assert path == "/hook"
    sent = receiver.bodies[0]
    assert headers["Pressbox-Id"] == sent["id"]
    assert (sent["version"], sent["source"], sent["detail-type"]) == ("0", "aws.cloudwatch", "CloudWatch Alarm State Change")
    assert [arn.split(":")[5] for arn in sent["resources"]] == ["flow", "output"]
    assert sent["detail"]["state"]["value"] == "ALARM"
    assert sent["detail"]["previousState"] == {"value": "OK"}


@pytest.mark.parametrize("answers", [(500,), (503, 429, 404), ("moved",), (403, 302)], ids=str)
def test_what_is_not_taken_is_tried_again_with_the_same_id(journal, begin, wait_for, answers):
    with Receiver(*answers).up() as receiver:
        first, second = journal.add(told()), journal.add(told("failover"))
        courier = begin(receiver.url)
        wait_for(lambda: courier.place.delivered == 2, what="both")
    assert receiver.ids == [first.id] * (len(answers) + 1) + [second.id]
    assert courier.place.error == ""


def test_a_redirect_is_not_followed(journal, begin, wait_for):
    with Receiver().up() as elsewhere, Receiver(*[elsewhere.url] * 100).up() as receiver:
        journal.add(told())
        courier = begin(receiver.url)
        wait_for(lambda: len(receiver.requests) > 2, what="tries")
        assert "redirects are not followed" in courier.place.error
    assert elsewhere.requests == []


def test_what_the_far_end_will_never_take_holds_up_nobody(journal, begin, wait_for):
    with Receiver(*[400] * TRIES_OF_UNWANTED).up() as receiver:
        first, second = journal.add(told()), journal.add(told("failover"))
        courier = begin(receiver.url)
        wait_for(lambda: courier.place.delivered, what="the second one")
    assert receiver.ids == [first.id] * TRIES_OF_UNWANTED + [second.id]
    assert courier.place.unwanted == 1


def test_one_that_hangs_delays_no_other_and_gets_it_in_the_end(journal, begin, wait_for):
    with Receiver("hang").up() as slow, Receiver().up() as quick:
        stuck = begin(slow.url, "slow", timeout_s=2.0)
        begin(quick.url, "quick")
        sent = [journal.add(told()) for _ in range(3)]
        wait_for(lambda: quick.ids == [notice.id for notice in sent], what="all at the quick one")
        assert stuck.place.delivered == 0
        wait_for(lambda: stuck.place.delivered == 3, what="all at the slow one")
    assert slow.ids == [sent[0].id, *(notice.id for notice in sent)]


def test_notices_wait_for_a_receiver_that_is_not_there_and_come_in_order(journal, begin, wait_for, folder):
    with Receiver().up() as receiver:
        port = receiver.port
    courier = begin(receiver.url)
    sent = [journal.add(told()) for _ in range(5)]
    wait_for(lambda: courier.place.error, what="a failure")
    assert read_place(folder, "ops").failing_since
    with receiver.up(port):
        wait_for(lambda: len(receiver.ids) == 5, what="all")
    assert receiver.ids == [notice.id for notice in sent]


def test_alarms_come_before_events_and_events_only_where_they_are_wanted(journal, folder, begin, wait_for):
    events = Journal(folder, EVENTS)
    event = events.add(Notice(what="output-status", at=time.time(), flow="studio", end="wall", detail={"currentStatus": "DISABLED"}))
    raised = journal.add(told())
    with Receiver().up() as both, Receiver().up() as alarms:
        begin(both.url, "both")
        quiet = begin(alarms.url, "alarms", events=False)
        wait_for(lambda: len(both.ids) == 2 and quiet.place.delivered, what="all")
    assert both.ids == [raised.id, event.id]
    assert both.bodies[1]["detail-type"] == "MediaConnect Output Status Change"
    assert alarms.ids == [raised.id]
    events.close()


def test_what_was_not_taken_for_too_long_is_counted_and_given_up(journal, begin, wait_for):
    with Receiver(*[503] * 1000).up() as receiver:
        journal.add(told(at=time.time() - 90_000))
        courier = begin(receiver.url, oldest_s=1.0)
        wait_for(lambda: courier.place.missed, what="that it is given up")
        receiver.script.clear()
        last = journal.add(told())
        wait_for(lambda: courier.place.delivered, what="the next one")
    assert receiver.ids[-1] == last.id
    assert len(receiver.ids) > 2


def test_a_clock_that_jumps_ages_nothing(journal, begin, wait_for):
    with Receiver(503).up() as receiver:
        journal.add(told(at=time.time() - 400 * 86_400))
        courier = begin(receiver.url)
        wait_for(lambda: courier.place.delivered, what="what was raised before the jump")


def test_what_was_pushed_out_is_counted(folder, begin, wait_for):
    small = Journal(folder, ALARMS, max_bytes=4000)
    sent = [small.add(told()) for _ in range(40)]
    with Receiver().up() as receiver:
        courier = begin(receiver.url)
        wait_for(lambda: receiver.ids and receiver.ids[-1] == sent[-1].id, what="the newest")
        wait_for(lambda: courier.place.alarms == sent[-1].number, what="its place")
    assert 0 < len(receiver.ids) < 40
    assert courier.place.missed + courier.place.delivered == 40
    small.close()


def test_a_courier_goes_on_where_the_one_before_him_was(journal, begin, wait_for):
    with Receiver().up() as receiver:
        first = journal.add(told())
        before = begin(receiver.url)
        wait_for(lambda: before.place.delivered, what="the first")
        before.stop()
        before.join()
        second = journal.add(told())
        begin(receiver.url)
        wait_for(lambda: len(receiver.ids) == 2, what="the second")
    assert receiver.ids == [first.id, second.id]


def test_nothing_of_an_address_but_the_host_is_shown_and_the_user_goes_in_a_header(journal, begin, wait_for, caplog):
    with Receiver(500).up() as receiver:
        url = f"http://ann:let-me-in@127.0.0.1:{receiver.port}/services/T0KEN?key=K3Y"
        journal.add(told())
        courier = begin(url)
        wait_for(lambda: courier.place.delivered, what="the notice")
    path, headers, _ = receiver.requests[0]
    assert path == "/services/T0KEN?key=K3Y"
    assert headers["Authorization"] == "Basic YW5uOmxldC1tZS1pbg=="
    shown = Webhook(name="ops", url=url, secret="sig").shown + caplog.text + repr(courier.place)
    assert not [word for word in ("let-me-in", "T0KEN", "K3Y", SECRET) if word in shown]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    options = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout", key, "-out", made]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *options], check=True, capture_output=True)
    return made, key


def test_a_certificate_is_checked(journal, begin, wait_for, certificate):
    with Receiver().up(certificate=certificate) as receiver:
        journal.add(told())
        url = receiver.url.replace("http:", "https:")
        doubts = begin(url, "doubts")
        wait_for(lambda: "certificate is not believed" in doubts.place.error, what="the refusal")
        assert receiver.requests == []
        knows = begin(url, "knows", ca=str(certificate[0]))
        wait_for(lambda: knows.place.delivered, what="the notice")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "http://192.0.2.7/x"}, "http would go there in the clear"),
        ({"url": "ftp://192.0.2.7/x"}, "it is no address"),
        ({"url": "https:///x"}, "it is no address"),
        ({"url": "https://a b/x"}, "it is no address"),
        ({"url": "https://h:99999/x"}, "it is no address"),
        ({"secret": ""}, "name the secret that signs"),
        ({"name": "Ops"}, "a name is 1 to 63"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_by_its_field(fields, words):
    with pytest.raises(AlarmError, match=words):
        parse(Webhook, {"name": "ops", "url": "https://192.0.2.7/x", "secret": "sig"} | fields)


def test_http_to_another_machine_is_sent_on_purpose_only():
    assert parse(Webhook, {"name": "ops", "url": "http://192.0.2.7/x", "secret": "sig", "clear": True}).shown == "http://192.0.2.7/…"


def test_tries_become_rarer_and_differ():
    assert 0.5 <= waiting_s(1) <= 1 <= waiting_s(3) <= 4
    assert 30 <= waiting_s(50) <= 60
    assert len({waiting_s(5) for _ in range(20)}) > 10
