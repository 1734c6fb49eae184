"""What a client is told of an error: code and status, and nothing else unless the platform runs for a developer."""

from __future__ import annotations

import pytest

from moorings.errors import (
    ConnectFailed,
    ContainerFailedToStart,
    MooringsError,
    NoInstanceAvailable,
    PortNotReady,
    UpstreamError,
    WorkerError,
)
from moorings.http.client_connection import Dropped
from moorings.http.problem import Debug, problem_response

ERRORS = [
    (UpstreamError("secret"), 502, "upstream_error"),
    (NoInstanceAvailable("secret"), 503, "no_instance_available"),
    (PortNotReady("secret"), 504, "port_not_ready"),
    (ContainerFailedToStart("secret", exit_code=3, output=("secret",)), 500, "container_failed_to_start"),
    (WorkerError("secret"), 500, "worker_error"),
    (LookupError("secret"), 500, "worker_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda value: str(value))
async def test_a_problem_has_its_stable_code_and_status_and_tells_nothing_of_the_inside(
    error: Exception, status: int, code: str
) -> None:
    response = problem_response(error)
    assert (response.status, response.headers["Content-Type"]) == (status, "application/problem+json")
    text = await response.text()
    assert "secret" not in text
    assert f'"code":"{code}"' in text


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda value: str(value))
async def test_a_developer_is_told_the_message_and_the_traceback(error: Exception, status: int, code: str) -> None:
    problem = await problem_response(error, debug=Debug.ON).json()
    assert (problem["status"], problem["code"], problem["detail"]) == (status, code, "secret")
    assert "Error" in problem["traceback"] or type(error).__name__ in problem["traceback"]


@pytest.mark.parametrize("error", [Dropped("gone"), ConnectFailed("refused"), UpstreamError("malformed")])
async def test_a_developer_is_told_the_class_that_the_reference_has(error: Exception) -> None:
    problem = await problem_response(error, debug=Debug.ON).json()
    assert problem["error"] == "UpstreamError"


async def test_a_developer_is_told_the_exit_code_and_the_last_output() -> None:
    error = ContainerFailedToStart("ended", exit_code=3, output=("one", "two"))
    problem = await problem_response(error, debug=Debug.ON).json()
    assert (problem["exit_code"], problem["output"]) == (3, ["one", "two"])


def test_only_a_lack_of_instances_says_when_to_try_again() -> None:
    assert problem_response(NoInstanceAvailable("full")).headers["Retry-After"] == "8"
    assert "Retry-After" not in problem_response(MooringsError("other")).headers
