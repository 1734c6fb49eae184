"""``env``: the bindings and variables of an app, as attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def binding_name(class_name: str) -> str:
    """``SessionBackend`` → ``SESSION_BACKEND``; ``HTTPServer2`` → ``HTTP_SERVER2``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return spaced.upper()


class Env:
    """Attribute access to bindings; reading one that doesn't exist says which there are."""

    __slots__ = ("__dict__",)

    def __init__(self, bindings: Mapping[str, Any]) -> None:
        self.__dict__.update(bindings)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(self.__dict__)) or "nothing"
        raise AttributeError(f"env has no {name!r}; it has: {known}")

    def __getitem__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        return f"Env({', '.join(sorted(self.__dict__))})"
