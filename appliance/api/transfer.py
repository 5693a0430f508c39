"""What went to a subscriber, and which share of it is the subscriber's to pay."""

from __future__ import annotations

import time
from typing import Any

from appliance.api.notes import Entitlement, Subscription
from firmware.metrics.history import History
from firmware.places import Places

DAY_S = 86_400
KEPT_S = 30 * DAY_S  # metrics are not kept for longer


def transferred(places: Places, flow: str, subscription: Subscription) -> int:
    """Bytes since the subscription began, of the last 30 days: the sum of the output's bitrate, second by second."""
    now_s = time.time()
    since_s = int(max(subscription.since, now_s - KEPT_S))
    points = History(places.state, places.run).read(flow, subscription.output, "OutputBitrate", since_s, int(now_s) + 1, DAY_S, "Sum")
    return round(sum(bits for _, bits in points) / 8)


def transfer_told(one: Entitlement, subscription: Subscription, carried: int) -> dict[str, Any]:
    return {
        "account": subscription.account,
        "bytes": carried,
        "subscriberFeePercent": one.fee_percent,
        "subscriberBytes": round(carried * one.fee_percent / 100),
    }
