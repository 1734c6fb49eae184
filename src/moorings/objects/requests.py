"""What users hand to ``fetch`` of a stub, ``container_fetch`` and a TCP port: a Request, or a URL and changes."""

from __future__ import annotations

from typing import Any, Final

from yarl import URL

from moorings.http import UNSET, Request

BASE: Final = URL("http://container")
"""What relative URLs are resolved against."""


def request_for(
    request: Request | str | URL,
    *,
    method: str | None = None,
    headers: Any = None,
    body: Any = None,
    json: Any = UNSET,
) -> Request:
    """The request itself where nothing is to be changed, else a new one.

    ``method``, ``headers``, ``body`` and ``json`` are those of ``Request``, and replace a given Request's own. Raises
    TypeError and ValueError as Request does.
    """
    if isinstance(request, Request):
        if method is None and headers is None and body is None and json is UNSET:
            return request
        return Request(request, method=method, headers=headers, body=body, json=json)
    return Request(BASE.join(URL(request)), method=method, headers=headers, body=body, json=json)
