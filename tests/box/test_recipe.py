"""The guide that `scripts/prove recipe` runs: whether its commands are commands."""

from __future__ import annotations

import re

from appliance.api.table import ROWS

from .recipe import blocks, guide


def test_every_command_of_the_guide_is_an_operation_of_a_local_flow():
    here = {row.operation for row in ROWS if row.does != "-"}
    named = re.findall(r"aws mediaconnect (?:wait )?([a-z-]+)", "".join(blocks()))
    operations = {"".join(part.capitalize() for part in name.split("-")) for name in named}
    assert operations - {"FlowActive", "FlowStandby", "FlowDeleted"} <= here
    assert len(named) >= 15


def test_the_encoder_sends_between_the_start_and_the_health_loop():
    before, after = guide()
    assert "flow-active" in before[-1]
    assert "describe-flow" in after[0]
    assert "flow-deleted" in after[-1]
    assert len(blocks("settings")) == len(blocks("encoder")) == 1
