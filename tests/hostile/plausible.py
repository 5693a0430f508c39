"""Cases that get deep: ARNs of what there is, and ends whose members fit together. What schemathesis draws alone is refused at the door."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from appliance.api.arns import Arn
from appliance.api.ends import ANY_PROTOCOL, NEEDED, OUTPUT_MEMBERS, SOURCE_MEMBERS
from appliance.api.notes import notes_of
from firmware.places import Places
from firmware.store import Store

TABLES = {"source": SOURCE_MEMBERS, "sources": SOURCE_MEMBERS, "outputs": OUTPUT_MEMBERS}
GONE = str(Arn("flow", "1-gone", "gone"))
MOSTLY = ["rtp", "rtp-fec"] * 3  # two sources of one flow may differ in these
HOSTS = ("destination", "sourceListenerAddress")


class Plausible:
    def __init__(self, places: Places, chance: Random) -> None:
        self._places, self._chance = places, chance

    def labels(self, labels: Iterable[str]) -> dict[str, str]:
        """ARNs of one flow and its parts; of what it has none of, an ARN of something that is gone."""
        every = Store(self._places.store).list()
        if not every:
            return dict.fromkeys(labels, GONE)
        notes = notes_of(self._chance.choice(every))
        parts = {
            "FlowArn": [notes.arn],
            "SourceArn": [str(Arn("source", end.id, end.name)) for end in notes.sources.values()],
            "OutputArn": [str(Arn("output", end.id, end.name)) for end in notes.outputs.values()],
            "EntitlementArn": [one.arn for one in notes.entitlements],
            "ResourceArn": list(notes.all_tags()),
        }
        return {label: self._chance.choice(parts.get(label) or [GONE]) for label in labels}

    def body(self, operation: str, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        whole = {member: self._part(member, value) for member, value in body.items()}
        if operation == "CreateFlow" and "source" in whole and "sources" in whole:
            del whole[self._chance.choice(["source", "sources"])]
        if operation in ("UpdateFlowSource", "UpdateFlowOutput"):
            whole = self._end(whole, SOURCE_MEMBERS if operation.endswith("Source") else OUTPUT_MEMBERS, whole=False)
        if operation == "CreateFlow" and not whole.get("source") and not whole.get("sources"):
            whole["sources"] = [self._end({}, SOURCE_MEMBERS)]
        if operation in ("CreateFlow", "AddFlowSources", "GrantFlowEntitlements") and self._chance.random() < 0.7:
            self._fit(whole)
        return whole

    def _fit(self, whole: dict[str, Any]) -> None:
        """What has to go together."""
        sources = whole.get("sources")
        if isinstance(sources, list) and len(sources) > 1:
            whole["sources"] = sources[:1]
        if "name" in whole:
            whole.pop("sourceFailoverConfig", None)
        if "name" in whole and self._chance.random() < 0.5:
            mode = self._chance.choice([{"failoverMode": "MERGE", "recoveryWindow": 500}, {"failoverMode": "FAILOVER"}, {}])
            whole["sourceFailoverConfig"] = {"state": "ENABLED", **mode}
        for one in whole.get("entitlements") or []:
            if isinstance(one, dict):
                one.pop("encryption", None)
                one["name"] = f"truck-{self._chance.randrange(10**6)}"

    def _part(self, member: str, value: Any) -> Any:
        if member not in TABLES:
            return value
        if isinstance(value, list):
            return [self._end(one, TABLES[member]) for one in value[:3]]
        return self._end(value, TABLES[member])

    def _end(self, given: Any, table: dict[str, set[str]], *, whole: bool = True) -> Any:
        """The members of one protocol, and all that it needs."""
        if not isinstance(given, dict):
            return given
        protocol = self._chance.choice([*table, *MOSTLY])
        own = table[protocol]
        known = {"protocol": protocol} if whole else {}
        known |= {member: self._needed(member) for member in sorted(own & NEEDED) if whole}
        kept = {member: value for member, value in given.items() if member in own | ANY_PROTOCOL and member not in HOSTS}
        if "minLatency" in own:
            kept.pop("decryption" if table is SOURCE_MEMBERS else "encryption", None)
        if whole and self._chance.random() < 0.8:
            kept["name"] = f"end-{self._chance.randrange(10**6)}"
        return {**kept, **known}

    def _needed(self, member: str) -> Any:
        if member.lower().endswith("port"):
            return self._chance.randrange(1024, 65_000)
        if member in HOSTS:
            return "127.0.0.1"
        return ["127.0.0.0/8"] if member == "cidrAllowList" else self._chance.choice(["127.0.0.0/8", "192.0.2.0/24", "203.0.113.7/32"])
