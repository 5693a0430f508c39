"""What libsrt counts, with our names and units."""

from __future__ import annotations

from dataclasses import dataclass

from firmware.net.libsrt import TraceStats


@dataclass(slots=True)
class Statistics:
    """Packets are SRT data packets, one datagram each; bytes count 44 of headers with each.

    Totals count from the connection on, unless said otherwise.
    """

    age_ms: int
    # sender
    sent_packets: int  # each once
    sent_bytes: int
    resent_packets: int
    sent_lost_packets: int  # reported missing by the receiver
    sent_dropped_packets: int  # given up before they left: too late
    acknowledgements: int  # that the receiver sent
    # receiver
    received_packets: int  # each once
    received_bytes: int
    received_lost_packets: int  # missing at first: repaired, or dropped
    received_dropped_packets: int  # never came in time: lost for good
    undecrypted_packets: int
    received_repeats: int  # retransmitted packets that came, since the last clear
    belated_packets: int  # came too late or twice, since the last clear
    # now
    rtt_ms: float
    bandwidth_bps: float  # as libsrt estimates the link
    send_rate_bps: float  # mean since the last clear
    receive_rate_bps: float  # mean since the last clear
    flight_packets: int  # sent and not acknowledged
    send_buffer_packets: int
    send_buffer_bytes: int
    send_buffer_ms: int
    send_latency_ms: int  # negotiated, of the stream that goes out
    receive_buffer_packets: int
    receive_buffer_bytes: int
    receive_buffer_ms: int
    receive_latency_ms: int  # negotiated, of the stream that comes in

    @property
    def repaired_packets(self) -> int:
        """Missing at first and not given up: brought by retransmission, or still on the way."""
        return max(0, self.received_lost_packets - self.received_dropped_packets)

    @classmethod
    def of(cls, raw: TraceStats) -> Statistics:
        return cls(
            age_ms=raw.msTimeStamp,
            sent_packets=raw.pktSentUniqueTotal,
            sent_bytes=raw.byteSentUniqueTotal,
            resent_packets=raw.pktRetransTotal,
            sent_lost_packets=raw.pktSndLossTotal,
            sent_dropped_packets=raw.pktSndDropTotal,
            acknowledgements=raw.pktRecvACKTotal,
            received_packets=raw.pktRecvUniqueTotal,
            received_bytes=raw.byteRecvUniqueTotal,
            received_lost_packets=raw.pktRcvLossTotal,
            received_dropped_packets=raw.pktRcvDropTotal,
            undecrypted_packets=raw.pktRcvUndecryptTotal,
            received_repeats=raw.pktRcvRetrans,
            belated_packets=raw.pktRcvBelated,
            rtt_ms=raw.msRTT,
            bandwidth_bps=raw.mbpsBandwidth * 1e6,
            send_rate_bps=raw.mbpsSendRate * 1e6,
            receive_rate_bps=raw.mbpsRecvRate * 1e6,
            flight_packets=raw.pktFlightSize,
            send_buffer_packets=raw.pktSndBuf,
            send_buffer_bytes=raw.byteSndBuf,
            send_buffer_ms=raw.msSndBuf,
            send_latency_ms=raw.msSndTsbPdDelay,
            receive_buffer_packets=raw.pktRcvBuf,
            receive_buffer_bytes=raw.byteRcvBuf,
            receive_buffer_ms=raw.msRcvBuf,
            receive_latency_ms=raw.msRcvTsbPdDelay,
        )
