"""`pressbox flow stats`: what a person reads of what was recorded."""

from __future__ import annotations

import argparse
import json
import time

import pytest

from appliance.commands import stats as metricscli
from appliance.commands.stats import BARS, sparkline
from appliance.exits import FAILED, USAGE, Failure
from firmware.metrics.recorder import Config, Recorder
from firmware.status import EndStatus, FlowStatus, write_snapshot


@pytest.fixture
def recorded(places, monkeypatch):
    """Ninety seconds, the last of them now; packets are lost in one of them."""
    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    monkeypatch.setenv("PRESSBOX_RUN", str(places.run))
    recorder = Recorder(Config(run=str(places.run), state=str(places.state)))
    now = int(time.time())
    for passed in range(90):
        source = EndStatus(
            name="path-a",
            protocol="srt-caller",
            state="connected",
            packets=passed * 1000,
            lost=7 * (passed > 50),
            rate_bps=1e7,
            rtt_ms=20.5,
        )
        output = EndStatus(name="wall", protocol="udp", state="connected", packets=passed * 1000, rate_bps=9e6)
        status = FlowStatus(name="studio", state="ACTIVE", pid=1, at=passed, rate_bps=1e7, sources=[source], outputs=[output])
        write_snapshot(places.snapshot("studio"), status)
        recorder.look(now - 89 + passed + 0.5, passed * 1_000_000_000)
    return now


def stats(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    metricscli.add(parser.add_subparsers())
    options = parser.parse_args(["stats", *arguments])
    return options.run(options)


def test_a_row_for_each_figure_of_each_end(recorded, capsys):
    assert stats("studio", "--last", "2m") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["end", "metric", "last", "least", "most", "sum"]
    by_metric = {tuple(row.split()[:2]): row.split()[2:] for row in rows}
    assert by_metric["flow", "BitRate"][:4] == ["10.00", "10.00", "10.00", "Mb/s"]
    assert by_metric["path-a", "SourceRoundTripTime"][:4] == ["20.50", "20.50", "20.50", "ms"]
    assert by_metric["path-a", "SourceNotRecoveredPackets"][:4] == ["0", "0", "7", "7"]
    assert by_metric["wall", "OutputBitrate"][:4] == ["9.00", "9.00", "9.00", "Mb/s"]
    assert ("wall", "OutputRoundTripTime") not in by_metric


def test_json_has_every_point(recorded, capsys):
    assert stats("studio", "--last", "30s", "--period", "1s", "--metric", "SourceNotRecoveredPackets", "--metric", "BitRate", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["flow"], told["period_s"]) == ("studio", 1)
    assert [(one["name"], one["metric"], one["statistic"]) for one in told["metrics"]] == [
        ("studio", "BitRate", "Average"),
        ("path-a", "SourceNotRecoveredPackets", "Sum"),
    ]
    times = [at for at, _ in told["metrics"][0]["points"]]
    assert times == list(range(times[0], recorded + 1))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody",), FAILED, "nothing was recorded of a flow `nobody`; recorded are studio"),
        (("studio", "--metric", "Bitrate"), USAGE, "--metric: `Bitrate` is unknown; allowed are BitRate"),
        (("studio", "--last", "30d", "--period", "1s"), USAGE, "--period: 1 s makes more than"),
    ],
)
def test_what_cannot_be_shown_is_said(recorded, arguments, code, said):
    with pytest.raises(Failure, match=said) as failed:
        stats(*arguments)
    assert failed.value.code == code


@pytest.mark.parametrize("time_", ["0", "-5m", "10 m", "1w", "ten", "1e3"])
def test_a_time_that_is_none_is_refused(time_, capsys):
    with pytest.raises(SystemExit):
        stats("studio", f"--last={time_}")
    assert f"{time_} is not a time; write it as 90s, 10m, 24h or 30d" in capsys.readouterr().err


def test_a_sparkline_goes_from_nothing_to_the_most_and_leaves_gaps():
    assert sparkline([(0, 0.0), (1, 7.0), (3, 3.5)], 0, 5, 1) == f"{BARS[0]}{BARS[7]} {BARS[4]} "
    assert sparkline([(at, 0.0) for at in range(4)], 0, 4, 1) == BARS[0] * 4
    assert len(sparkline([(at, float(at)) for at in range(1000)], 0, 1000, 1)) == 60
