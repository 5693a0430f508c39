"""Every operation that the clients know is answered: done, empty, or refused by name."""

from __future__ import annotations

import re

import botocore.session
import pytest

from appliance.api.table import ROWS

MODEL = botocore.session.get_session().get_service_model("mediaconnect")


def test_the_table_is_the_clients_model():
    """What later clients know beside it is not in the table, and refused as not an operation of a local flow."""
    known = {name: MODEL.operation_model(name).http for name in MODEL.operation_names}
    rows = {row.operation: row for row in ROWS}
    assert len(rows.keys() & known.keys()) >= 82
    for name, http in ((name, known[name]) for name in rows.keys() & known.keys()):
        assert (rows[name].method, re.sub(r"[<>]", "", rows[name].path)) == (http["method"], re.sub(r"[{}]", "", http["requestUri"]))
        if rows[name].does.isdecimal():
            assert int(rows[name].does) == http.get("responseCode", 200)


@pytest.mark.parametrize("row", [row for row in ROWS if row.does.startswith("empty")], ids=lambda row: row.operation)
def test_an_empty_list_is_named_as_the_clients_expect(row):
    members = MODEL.operation_model(row.operation).output_shape.members
    assert row.does.split()[1] in {shape.serialization.get("name", name) for name, shape in members.items()}
