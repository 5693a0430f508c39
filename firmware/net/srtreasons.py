"""What libsrt's numbers mean, in words: reject reasons of a handshake and errors of a call."""

from __future__ import annotations

REJ_UNKNOWN, REJ_TIMEOUT = 0, 16

REJECTIONS = {  # after "refused by …: "
    0: "no reason given",
    1: "a system call failed",
    2: "the far end refused without saying why",
    3: "the far end ran out of resources",
    4: "the handshake was malformed",
    5: "too many callers are waiting there",
    6: "libsrt failed inside",
    7: "the far end is closing",
    8: "the versions do not fit: 1.3.0 or newer is needed",
    9: "rendezvous collision",
    10: "the passphrase is wrong",
    11: "one side has a passphrase and the other has none",
    12: "one side is in message mode and the other is not",
    13: "the congestion controllers differ; live is needed",
    14: "the packet filters do not fit",
    15: "one side wants a bonded group and the other does not",
    16: "nobody answers",
    17: "the ciphers differ (CTR and GCM)",
    1000: "the far end does not say why",
    1001: "a key in the stream id is not known there",
    1002: "the path in the stream id is not known there",
    1003: "the host in the stream id is not known there",
    1400: "the stream id is malformed",
    1401: "not authorised",
    1402: "the far end is overloaded, or the credit is used up",
    1403: "forbidden",
    1404: "there is no such stream",
    1405: "the mode in the stream id is not supported there",
    1406: "what was asked for cannot be had",
    1407: "the far end wants its proxy to be authorised first",
    1408: "the far end waited too long",
    1409: "the stream is in use",
    1410: "the stream is gone for good",
    1411: "a length is required",
    1412: "a condition is not met",
    1413: "too large",
    1414: "the stream id is too long",
    1415: "the type of media is not supported there",
    1416: "the range is not available",
    1417: "what is expected cannot be met",
    1421: "this is not the server for it",
    1423: "the stream is locked",
    1424: "a session that this one depends on has failed",
    1426: "a newer protocol is needed",
    1428: "a condition is required",
    1429: "too many requests",
    1431: "the stream id is too large",
    1451: "unavailable for legal reasons",
    1500: "the far end failed inside",
    1501: "not implemented there",
    1502: "a gateway was refused by the server behind it",
    1503: "the service is down",
    1504: "a gateway got no answer from the server behind it",
    1505: "this version of SRT is not supported there",
    1506: "the far end is set up in a circle",
    1507: "no room to store the stream",
}

ECONNREJ = 1002
ECONNLOST, ENOCONN = 2001, 2002
EBOUNDSOCK, ECONNSOCK, EINVPARAM, EINVSOCK, EINVALMSGAPI, EDUPLISTEN, ELARGEMSG, EBINDCONFLICT = (
    5001,
    5002,
    5003,
    5004,
    5009,
    5011,
    5012,
    5015,
)
EASYNCSND, EASYNCRCV, ETIMEOUT = 6001, 6002, 6003


def rejection(code: int) -> str:
    """Why a handshake failed. 1000 and up come from the far end's application, 2000 and up in a meaning of its own."""
    if code in REJECTIONS:
        return REJECTIONS[code]
    return f"the far end gives code {code}" if code >= 1000 else f"reason {code}, which is not known here"
