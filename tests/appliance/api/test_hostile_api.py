"""A small share of `scripts/hostile api`: whatever is asked, rightly or wrongly signed, is answered as described."""

from __future__ import annotations

from tests.hostile.api import Hostile


def test_no_case_of_the_description_and_no_forgery_gets_further_than_it_may(host):
    found = Hostile(host, seed_number=20).run(400)
    assert found["holds"], found["failures"]
    answers = found["answers"]
    assert sum(count for status, count in answers["signed"].items() if status.startswith("2")) > 50, "too few came deep"
    assert set(answers["unsigned"]) == {"403"}
    assert answers["replayed"].get("403", 0) >= 8
