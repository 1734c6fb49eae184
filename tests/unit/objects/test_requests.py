from __future__ import annotations

from moorings.http import Request
from moorings.objects.requests import request_for


def test_a_request_that_nothing_is_changed_of_is_passed_on_itself() -> None:
    request = Request("http://example.com/x")
    assert request_for(request) is request


async def test_an_empty_body_replaces_a_requests_own() -> None:
    request = Request("http://example.com/x", method="POST", body=b"old")
    assert await request_for(request, body=b"").bytes() == b""


def test_a_method_given_beside_a_request_replaces_its_own() -> None:
    changed = request_for(Request("http://example.com/x"), method="DELETE")
    assert (changed.method, str(changed.url)) == ("DELETE", "http://example.com/x")


async def test_a_relative_url_is_one_of_the_container_and_json_none_is_json() -> None:
    request = request_for("/jobs?x=1", method="POST", json=None)
    assert str(request.url) == "http://container/jobs?x=1"
    assert await request.text() == "null"
