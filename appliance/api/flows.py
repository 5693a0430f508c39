"""Flows: create, describe, list, update, delete, start, stop."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.api import describe
from appliance.api.arns import new_id
from appliance.api.endings import EndOperations, check_sources, make_output, make_source
from appliance.api.entitled import Taken
from appliance.api.entitlements import secret_name
from appliance.api.faults import BadRequest, NotFound
from appliance.api.notes import EndNotes, FlowNotes, notes_of, plain_name
from appliance.api.operations import Known, check_lock, with_flow
from appliance.api.ports import check_ports
from appliance.api.shapes import CreateFlow, Failover, SetSource, UpdateFlow, check_tags
from appliance.locks import lock_of
from firmware.alarms.board import read_alarms
from firmware.model import Flow, Output, Source
from firmware.store import Kept, UnknownFlow

PAGE = 100
MOST_A_PAGE = 1000


class FlowOperations(EndOperations):
    def create_flow(self, given: CreateFlow) -> dict[str, Any]:
        made: list[Known] = []

        def make(every: Sequence[Kept]) -> Kept:
            self.over_quota("CreateFlow", "flows", len(every) + 1, self.quotas.flows)
            known = self._new_flow(given, [kept.flow.name for kept in every], taken)
            check_ports(known.flow, [kept.flow for kept in every])
            self.record.changed(None, known.document())
            made.append(known)
            return known.kept()

        with self.entitled(_sources(given)) as taken:
            kept = self.service.add(make)
        self.warnings = describe.warnings(kept.flow, made[0].notes)
        return {"flow": describe.flow(kept, made[0].notes, None)}

    def _new_flow(self, given: CreateFlow, names: Sequence[str], taken: Taken) -> Known:
        wanted = _sources(given)
        if given.source and given.sources:
            raise BadRequest("source: give either source or sources, not both")
        if not wanted:
            raise BadRequest("sources: missing; a flow has one source or two")
        notes = FlowNotes(id=new_id("flow"), name=given.name, zone=given.availability_zone or "local", tags=check_tags(given.flow_tags))
        if given.maintenance:
            notes.maintenance = msgspec.to_builtins(given.maintenance)
        if given.source_monitoring_config:
            notes.thumbnails = given.source_monitoring_config.thumbnail_state != "DISABLED"
        sources: list[Source] = []
        for way, one in wanted:
            self._add_source(sources, notes.sources, one, way, taken)
        self.over_quota("CreateFlow", "outputs", len(given.outputs), self.quotas.outputs)
        self.over_quota("CreateFlow", "entitlements", len(given.entitlements), self.quotas.entitlements)
        outputs: list[Output] = []
        for place, output in enumerate(given.outputs):
            made, noted = make_output(output, outputs, notes.outputs, self.service.secrets, f"outputs[{place}].")
            outputs.append(made)
            notes.outputs[made.name] = noted
        known = Known(Flow(name=plain_name(given.name, names), sources=sources[:1]), "STANDBY", notes)
        configure_failover(known, given.source_failover_config or Failover(), sources)
        check_sources(known)
        with_flow(known, outputs=outputs)
        for place, entitlement in enumerate(given.entitlements):
            self.new_entitlement(notes, entitlement, f"entitlements[{place}].")
        return known

    def _add_source(self, sources: list[Source], noted: dict[str, EndNotes], given: SetSource, way: str, taken: Taken) -> None:
        made, notes = make_source(given, sources, noted, self.service.secrets, way, taken)
        sources.append(made)
        noted[made.name] = notes

    def describe_flow(self, flow_arn: str) -> dict[str, Any]:
        known = self.find(flow_arn)
        status = self.status(known)
        lock = lock_of(known.kept())
        told = describe.messages(known.kept(), status) + ([str(lock)] if lock else []) + describe.warnings(known.flow, known.notes)
        if known.desired == "ACTIVE":
            told += [f"{alarm.alarm}: {alarm.reason}" for alarm in read_alarms(self.service.places).of_flow(known.flow.name)]
            if known.flow.name in self.peering.told:
                told.append(self.peering.told[known.flow.name])
        document = {"flow": describe.flow(known.kept(), known.notes, status)}
        return document | ({"messages": {"errors": told}} if told else {})

    def list_flows(self, max_results: str | None, next_token: str | None) -> dict[str, Any]:
        most = _page_size(max_results)
        after = _token_name(next_token)
        every = [kept for kept in self.service.list() if kept.flow.name > after]
        page = every[:most]
        flows = [describe.listed(kept, notes_of(kept), self.service.status(kept.flow.name)) for kept in page]
        return {"flows": flows} | ({"nextToken": _token(page[-1].flow.name)} if len(every) > most else {})

    def update_flow(self, flow_arn: str, given: UpdateFlow) -> dict[str, Any]:
        def change(known: Known) -> None:
            if given.source_failover_config:
                configure_failover(known, given.source_failover_config, known.flow.sources)
                check_sources(known)
            if given.maintenance:
                known.notes.maintenance |= msgspec.to_builtins(given.maintenance)
            if given.source_monitoring_config and given.source_monitoring_config.thumbnail_state:
                known.notes.thumbnails = given.source_monitoring_config.thumbnail_state == "ENABLED"

        known = self.change(flow_arn, change)
        return {"flow": describe.flow(known.kept(), known.notes, self.status(known))}

    def delete_flow(self, flow_arn: str) -> dict[str, Any]:
        known = self.find(flow_arn)

        def become(kept: Kept, others: Sequence[Kept]) -> None:
            if kept.desired == "ACTIVE":
                raise BadRequest("flowArn: the flow is ACTIVE; stop it first")
            check_lock(kept, None)
            self.record.changed(Known.of(kept).document(), None)

        try:
            self.service.change(known.flow.name, become)
        except UnknownFlow:  # somebody else was first
            raise NotFound(f"flowArn: there is no flow {flow_arn}") from None
        self.give_back(known.notes.sources.values())
        for one in known.notes.entitlements:
            self.service.secrets.delete(secret_name(one))
        return {"flowArn": flow_arn, "status": "DELETING"}

    def start_flow(self, flow_arn: str) -> dict[str, Any]:
        def change(known: Known) -> None:
            if known.desired == "ACTIVE":
                raise BadRequest("flowArn: the flow is started already; a flow is started from STANDBY")
            known.desired = "ACTIVE"

        self.change(flow_arn, change)
        return {"flowArn": flow_arn, "status": "STARTING"}

    def stop_flow(self, flow_arn: str) -> dict[str, Any]:
        def change(known: Known) -> None:
            if known.desired != "ACTIVE":
                raise BadRequest("flowArn: the flow is in STANDBY already")
            known.desired = "STANDBY"

        self.change(flow_arn, change)
        return {"flowArn": flow_arn, "status": "STOPPING"}


def _sources(given: CreateFlow) -> list[tuple[str, SetSource]]:
    """Each with its way."""
    if given.source:
        return [("source.", given.source)]
    return [(f"sources[{place}].", one) for place, one in enumerate(given.sources or [])]


def configure_failover(known: Known, given: Failover, sources: Sequence[Source]) -> None:
    """Give the flow these sources, recovered as `given` says where it says so."""
    way = "sourceFailoverConfig."
    if given.state is not None:
        known.notes.failover = given.state == "ENABLED"
    changes: dict[str, Any] = {"sources": list(sources)}
    mode = given.failover_mode.lower() if given.failover_mode else known.flow.recover
    if given.recovery_window is not None and mode != "merge":
        raise BadRequest(f"{way}recoveryWindow: is for MERGE; the mode is FAILOVER")
    if given.source_priority is not None and mode != "failover":
        raise BadRequest(f"{way}sourcePriority: is for FAILOVER; the mode is MERGE")
    primary = given.source_priority.primary_source if given.source_priority else None
    names = {notes.name: name for name, notes in known.notes.sources.items()}
    if primary and primary not in names:
        raise BadRequest(f"{way}sourcePriority.primarySource: `{primary}` is none of the sources; allowed are {', '.join(names)}")
    kept = known.flow.primary if known.flow.primary in names.values() and given.source_priority is None else ""
    changes |= {"recover": mode, "primary": (names[primary] if primary else kept) if mode == "failover" else ""}
    if given.recovery_window is not None:
        changes["window_ms"] = given.recovery_window
    with_flow(known, **changes)


def _page_size(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= MOST_A_PAGE:
        raise BadRequest(f"maxResults: `{text[:20]}` is not between 1 and {MOST_A_PAGE}")
    return int(text)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _token_name(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadRequest("nextToken: not one that this server gave") from None
