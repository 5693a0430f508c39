"""The arithmetic, against the signatures that AWS published for its key `AKIDEXAMPLE`."""

from __future__ import annotations

import hashlib

import pytest

from appliance.api.signing import Scope, canonical_query, canonical_request, signature

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
DATE = "20150830T123600Z"
SCOPE = Scope("20150830", "us-east-1", "service")
HEADERS = {"host": ["example.amazonaws.com"], "x-amz-date": [DATE]}
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("vector", "method", "path", "query", "wanted"),
    [
        ("get-vanilla", "GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("post-vanilla", "POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_published_vectors(vector: str, method: str, path: str, query: str, wanted: str) -> None:
    canonical = canonical_request(method, path, query, HEADERS, sorted(HEADERS), NOTHING)
    assert signature(SECRET, DATE, SCOPE, canonical) == wanted, vector


def test_an_encoded_path_is_encoded_once_more() -> None:
    canonical = canonical_request("GET", "/v1/flows/arn%3Aaws~x", "", HEADERS, ["host"], NOTHING)
    assert canonical.split(b"\n")[1] == b"/v1/flows/arn%253Aaws~x"


def test_headers_are_trimmed_and_joined() -> None:
    headers = {"a": ["  b \t  c ", "d"]}
    assert b"\na:b c,d\n" in canonical_request("GET", "/", "", headers, ["a"], NOTHING)


def test_a_query_is_sorted_by_name_then_value() -> None:
    assert canonical_query("tagKeys=z%20z&tagKeys=k&a&B=") == "B=&a=&tagKeys=k&tagKeys=z%20z"
