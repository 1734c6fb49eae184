"""Which platform answers."""

from __future__ import annotations

import os

import msgspec

from moorings.server.admin.router import NoParameters, Operation, Route


class About(msgspec.Struct, frozen=True):
    """A platform: its app, its URL, its process."""

    app: str
    url: str
    pid: int


def routes(app: str, url: str) -> list[Route]:
    """``/about``."""

    async def about(params: NoParameters) -> About:
        return About(app, url, os.getpid())

    return [Operation("/about", NoParameters, about)]
