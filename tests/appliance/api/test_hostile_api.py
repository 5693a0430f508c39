"""A small share of `scripts/hostile api`: whatever is asked, rightly or wrongly signed, is answered as described."""

from __future__ import annotations

from appliance.api.table import ROWS
from tests.hostile.api import Hostile


def test_no_case_of_the_description_and_no_forgery_gets_further_than_it_may(host):
    found = Hostile(host, seed_number=20).run(400)
    assert found["holds"], found["failures"]
    answers = found["answers"]
    changing = {row.operation for row in ROWS if row.does.isdecimal() and row.method != "GET"}
    assert len(changing & found["carried_out"].keys()) >= 10, "too few came deep"
    assert set(answers["unsigned"]) == {"403"}
    assert answers["replayed"].get("403", 0) >= 8
