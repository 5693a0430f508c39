"""Tags of flows, sources, outputs and entitlements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from appliance.api.arns import parse_arn
from appliance.api.faults import BadRequest, NotFound
from appliance.api.flows import FlowOperations
from appliance.api.operations import Known
from appliance.api.shapes import MOST_TAGS, Tagging, check_tags


class TagOperations(FlowOperations):
    def tag_resource(self, resource_arn: str, given: Tagging) -> None:
        added = check_tags(given.tags)

        def change(tags: dict[str, str]) -> None:
            tags.update(added)
            if len(tags) > MOST_TAGS:
                raise BadRequest(f"tags: {len(tags)} are more than the {MOST_TAGS} that a resource may have")

        self._change_tags(resource_arn, change)

    def untag_resource(self, resource_arn: str, keys: Sequence[str]) -> None:
        if not keys:
            raise BadRequest("tagKeys: missing; name the tags to remove")

        def change(tags: dict[str, str]) -> None:
            for key in keys:
                tags.pop(key, None)

        self._change_tags(resource_arn, change)

    def list_tags_for_resource(self, resource_arn: str) -> dict[str, Any]:
        _, tags = self._tagged(resource_arn)
        return {"tags": tags}

    def _change_tags(self, resource_arn: str, change: Callable[[dict[str, str]], None]) -> None:
        owner, _ = self._tagged(resource_arn)

        def change_owner(known: Known) -> None:
            tags = known.notes.all_tags().get(resource_arn)
            if tags is None:
                raise _unknown(resource_arn)
            change(tags)

        self.change(owner.notes.arn, change_owner)

    def _tagged(self, resource_arn: str) -> tuple[Known, dict[str, str]]:
        """The flow that has the resource, and the resource's tags."""
        kind = resource_arn.split(":")[5] if resource_arn.count(":") == 7 else ""
        parse_arn(resource_arn, kind if kind in ("source", "output", "entitlement") else "flow", "resourceArn")
        for kept in self.service.list():
            known = Known.of(kept)
            tags = known.notes.all_tags().get(resource_arn)
            if tags is not None:
                return known, tags
        raise _unknown(resource_arn)


def _unknown(arn: str) -> NotFound:
    return NotFound(f"resourceArn: there is no {arn}")
