"""Sources, outputs and entitlements of a flow: add, update, remove; grant, update, revoke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.api import describe
from appliance.api.arns import parse_arn
from appliance.api.ends import (
    OUTPUT_MEMBERS,
    SOURCE_MEMBERS,
    members_of,
    note,
    output_from,
    output_members,
    protocol_of,
    source_from,
    source_members,
    with_unseen,
)
from appliance.api.entitled import EntitledOperations, Taken, entitled_source, note_entitled
from appliance.api.entitlements import EntitlementOperations
from appliance.api.faults import BadRequest, NotFound
from appliance.api.notes import EndNotes, new_notes, plain_name
from appliance.api.operations import Known, with_flow
from appliance.api.shapes import (
    AddOutput,
    AddOutputs,
    AddSources,
    SetSource,
    UpdateOutput,
    UpdateSource,
    check_tags,
    convert,
)
from firmware.model import Output, Source
from firmware.secrets import Secrets

TOGETHER = ({"rtp", "rtp-fec"},)  # protocols that two sources of one flow may differ in


class EndOperations(EntitledOperations, EntitlementOperations):
    def add_flow_sources(self, flow_arn: str, given: AddSources) -> dict[str, Any]:
        added: list[str] = []

        def change(known: Known) -> None:
            sources = list(known.flow.sources)
            for place, one in enumerate(given.sources):
                made, notes = make_source(one, sources, known.notes.sources, self.service.secrets, f"sources[{place}].", taken)
                sources.append(made)
                known.notes.sources[made.name] = notes
                added.append(made.name)
            _take_sources(known, sources)

        with self.entitled((f"sources[{place}].", one) for place, one in enumerate(given.sources)) as taken:
            known = self.change(flow_arn, change)
        return {"flowArn": flow_arn, "sources": [self._source(known, name) for name in added]}

    def update_flow_source(self, flow_arn: str, source_arn: str, given: UpdateSource) -> dict[str, Any]:
        name = ""

        def change(known: Known) -> None:
            nonlocal name
            name = _named(known.notes.sources, "source", source_arn)
            before = next(one for one in known.flow.sources if one.name == name)
            notes = known.notes.sources[name]
            made: Source
            if notes.entitlement_arn:
                made = self.update_entitled(known, name, given)
            else:
                whole = convert(_updated(source_members(before, notes), members_of(given), SOURCE_MEMBERS), UpdateSource)
                made = with_unseen(source_from(whole, name, self.service.secrets), before)
                note(notes, whole)
            _take_sources(known, [made if one is before else one for one in known.flow.sources])

        known = self.change(flow_arn, change)
        return {"flowArn": flow_arn, "source": self._source(known, name)}

    def remove_flow_source(self, flow_arn: str, source_arn: str) -> dict[str, Any]:
        def change(known: Known) -> None:
            name = _named(known.notes.sources, "source", source_arn)
            if len(known.flow.sources) == 1:
                raise BadRequest("sourceArn: it is the flow's only source; add the other one first")
            primary = "" if known.flow.primary == name else known.flow.primary
            with_flow(known, primary=primary, sources=[one for one in known.flow.sources if one.name != name])
            removed.append(known.notes.sources.pop(name))

        removed: list[EndNotes] = []
        self.change(flow_arn, change)
        self.give_back(removed)
        return {"flowArn": flow_arn, "sourceArn": source_arn}

    def add_flow_outputs(self, flow_arn: str, given: AddOutputs) -> dict[str, Any]:
        added: list[str] = []

        def change(known: Known) -> None:
            outputs = list(known.flow.outputs)
            self.over_quota("AddFlowOutputs", "outputs", len(outputs) + len(given.outputs), self.quotas.outputs)
            for place, one in enumerate(given.outputs):
                made, notes = make_output(one, outputs, known.notes.outputs, self.service.secrets, f"outputs[{place}].")
                outputs.append(made)
                known.notes.outputs[made.name] = notes
                added.append(made.name)
            with_flow(known, outputs=outputs)

        known = self.change(flow_arn, change)
        return {"flowArn": flow_arn, "outputs": [self._output(known, name) for name in added]}

    def update_flow_output(self, flow_arn: str, output_arn: str, given: UpdateOutput) -> dict[str, Any]:
        name = ""

        def change(known: Known) -> None:
            nonlocal name
            name = _own_output(known, output_arn)
            before = next(one for one in known.flow.outputs if one.name == name)
            notes = known.notes.outputs[name]
            whole = convert(_updated(output_members(before, notes), members_of(given), OUTPUT_MEMBERS), UpdateOutput)
            made = with_unseen(output_from(whole, name, self.service.secrets), before)
            note(notes, whole)
            with_flow(known, outputs=[made if one is before else one for one in known.flow.outputs])

        known = self.change(flow_arn, change)
        return {"flowArn": flow_arn, "output": self._output(known, name)}

    def remove_flow_output(self, flow_arn: str, output_arn: str) -> dict[str, Any]:
        def change(known: Known) -> None:
            name = _own_output(known, output_arn)
            with_flow(known, outputs=[one for one in known.flow.outputs if one.name != name])
            del known.notes.outputs[name]

        self.change(flow_arn, change)
        return {"flowArn": flow_arn, "outputArn": output_arn}

    def _source(self, known: Known, name: str) -> dict[str, Any]:
        one = next(source for source in known.flow.sources if source.name == name)
        return describe.source(one, known.notes.sources[name], None, describe.own_address())

    def _output(self, known: Known, name: str) -> dict[str, Any]:
        one = next(output for output in known.flow.outputs if output.name == name)
        return describe.output(one, known.notes.outputs[name], None, describe.own_address())


def make_source(
    given: SetSource, others: Sequence[Source], noted: dict[str, EndNotes], secrets: Secrets, way: str, taken: Taken
) -> tuple[Source, EndNotes]:
    name = _new_name(given.name, "source", noted, way)
    plain = plain_name(name, [one.name for one in others])
    notes = new_notes("source", name, given.description, check_tags(given.source_tags))
    if given.entitlement_arn:
        return entitled_source(given, plain, taken, secrets, way), note_entitled(notes, given, taken)
    return source_from(given, plain, secrets, way), note(notes, given)


def make_output(
    given: AddOutput, others: Sequence[Output], noted: dict[str, EndNotes], secrets: Secrets, way: str
) -> tuple[Output, EndNotes]:
    name = _new_name(given.name, "output", noted, way)
    made = output_from(given, plain_name(name, [one.name for one in others]), secrets, way)
    return made, note(new_notes("output", name, given.description, check_tags(given.output_tags)), given)


def check_sources(known: Known) -> None:
    """MediaConnect's rules for two sources of one flow."""
    if len(known.flow.sources) < 2:
        return
    if not known.notes.failover:
        raise BadRequest("sourceFailoverConfig.state: two sources need ENABLED")
    if any(notes.entitlement_arn for notes in known.notes.sources.values()):
        raise BadRequest("sources: one that comes by an entitlement is its flow's only source")
    protocols = {protocol_of(source) for source in known.flow.sources}
    if len(protocols) > 1 and protocols not in TOGETHER:
        raise BadRequest(
            f"sources: two of one flow have the same protocol, or are rtp and rtp-fec; these are {' and '.join(sorted(protocols))}"
        )


def _take_sources(known: Known, sources: Sequence[Source]) -> None:
    if len(sources) > 2:
        raise BadRequest(f"sources: {len(sources)} are more than the 2 that a flow has")
    if len(sources) > 1 and not known.notes.failover:
        raise BadRequest("sourceFailoverConfig.state: a second source needs ENABLED; update the flow first")
    with_flow(known, sources=list(sources))
    check_sources(known)


def _new_name(name: str | None, kind: str, noted: dict[str, EndNotes], way: str) -> str:
    names = [notes.name for notes in noted.values()]
    if name is None:
        name = next(made for number in range(1, len(names) + 2) if (made := f"{kind}-{number}") not in names)
    if name in names:
        raise BadRequest(f"{way}name: `{name}` is there already; each {kind} needs a name of its own")
    return name


def _named(noted: dict[str, EndNotes], kind: str, arn: str) -> str:
    wanted = parse_arn(arn, kind, f"{kind}Arn")
    for name, notes in noted.items():
        if (notes.id, notes.name) == (wanted.id, wanted.name):
            return name
    raise NotFound(f"{kind}Arn: this flow has no {kind} {arn}")


def _own_output(known: Known, arn: str) -> str:
    name = _named(known.notes.outputs, "output", arn)
    whose = known.notes.outputs[name].entitlement_arn
    if whose:
        raise BadRequest(f"outputArn: it belongs to the entitlement {whose}; update or revoke that")
    return name


def _updated(before: dict[str, Any], given: dict[str, Any], table: dict[str, set[str]]) -> dict[str, Any]:
    """The members of before with those that are given; with another protocol only what that one has too."""
    before = {member: value for member, value in before.items() if member != "name"}
    protocol = given.get("protocol", before["protocol"])
    if protocol != before["protocol"] and protocol in table:
        before = {member: value for member, value in before.items() if member in table[protocol] | {"description", "outputStatus"}}
    merged = {**before, **given}
    for key in ("encryption", "decryption"):
        if key in before and key in given:
            merged[key] = {**before[key], **given[key]}
    return merged
