"""What the platform must know of gRPC: which requests are calls, their deadlines, and errors as statuses."""

from __future__ import annotations

import pytest

from moorings.errors import ConfigError, DeadlineExceeded, UpstreamError
from moorings.http import Debug, Request
from moorings.http.grpc import (
    STATUS_OF_CODE,
    Status,
    error_response,
    is_call,
    percent_encoded,
    status_of,
    timeout_of,
)
from moorings.http.h2_client.stream import UpstreamReset
from tests.support.documents import DOCS, rows


def call(**headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("http://a/", method="POST", headers={"content-type": "application/grpc", **fields})


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc-web", False),
        ("application/grpc-web+proto", False),
        ("application/json", False),
    ],
)
def test_calls_are_told_by_their_media_type(content_type: str, expected: bool) -> None:
    assert is_call(Request("http://a/", headers={"content-type": content_type})) is expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1H", 3600.0), ("2M", 120.0), ("3S", 3.0), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("99999999S", 99999999.0)],
)
def test_a_timeout_is_read_in_its_unit(value: str, seconds: float) -> None:
    assert timeout_of(call(grpc_timeout=value)) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1 S"])
def test_a_timeout_that_is_none_bounds_nothing(value: str) -> None:
    assert timeout_of(call(grpc_timeout=value)) is None


def test_the_statuses_of_codes_are_those_of_the_reference() -> None:
    documented = {
        row[0].strip("`"): row[1].strip("`") for row in rows(DOCS / "reference" / "grpc.md") if row[0].startswith("`")
    }
    assert documented == {code: status.name for code, status in STATUS_OF_CODE.items()}


def test_what_is_in_no_table_is_internal_or_unknown() -> None:
    assert status_of(ConfigError("x")) is Status.INTERNAL
    assert status_of(ValueError("x")) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("reset", "status"), [(8, Status.CANCELLED), (11, Status.RESOURCE_EXHAUSTED), (2, Status.INTERNAL)]
)
def test_a_reset_becomes_the_status_of_its_code(reset: int, status: Status) -> None:
    assert status_of(UpstreamReset("x", reset)) is status


def test_an_error_is_a_head_with_status_and_message_and_tells_more_only_in_debug_mode() -> None:
    response = error_response(UpstreamError("secret"))
    assert (response.status, response.body) == (200, None)
    assert response.headers["grpc-status"] == "14"
    assert "secret" not in response.headers["grpc-message"]
    assert "secret" in error_response(UpstreamError("secret"), debug=Debug.ON).headers["grpc-message"]
    assert error_response(DeadlineExceeded("x")).headers["grpc-status"] == "4"


def test_a_message_is_percent_encoded() -> None:
    assert percent_encoded("a b~\t%ü😈\r\n") == "a b~%09%25%C3%BC%F0%9F%98%88%0D%0A"
    assert percent_encoded("\ud800") == "\\ud800"
