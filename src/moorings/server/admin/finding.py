"""Which container a name on the command line means.

A container is written as its name, as ``Class/name``, as its id (64 hex digits), or as ``Class/id``. A name with a
slash may be read in two ways; whatever has ever had a container counts, and where that leaves several, it is for the
user to say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moorings.containers.controller import Controller
from moorings.containers.service import ContainerService
from moorings.errors import Ambiguous, NotFound
from moorings.objects import identity
from moorings.objects.identity import ObjectId
from moorings.server.objects import Objects

_ID: Final = re.compile(r"[0-9a-fA-F]{64}")
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a name may mean."""

    class_name: str
    id: ObjectId

    def written(self) -> str:
        """As it can be written on the command line."""
        return f"{self.class_name}/{self.id.name if self.id.name is not None else self.id}"


class Finder:
    """Finds controllers by what users write."""

    def __init__(self, service: ContainerService, objects: Objects) -> None:
        self._service = service
        self._objects = objects

    async def find(self, written: str) -> Controller:
        """The container that is meant. Raises NotFound, Ambiguous and StoreError."""
        found = [known for each in self._readings(written) if (known := await self._known(each)) is not None]
        found = list({(each.class_name, each.id.raw): each for each in found}.values())
        if len(found) > 1:
            choice = ", ".join(each.written() for each in found[:_SHOWN])
            raise Ambiguous(f"{written} may be any of these: {choice}; write one of them")
        if not found:
            raise NotFound(
                f"there is no container {written}; moorings ps --all lists those there are (the first request to a "
                "name makes one)"
            )
        return self._controller(found[0])

    def _readings(self, written: str) -> Iterator[Candidate]:
        class_name, slash, rest = written.partition("/")
        classes = sorted(self._objects.container_classes)
        if slash and class_name in classes:
            yield from _in_class(class_name, rest)
        for each in classes:
            yield from _in_class(each, written)

    async def _known(self, candidate: Candidate) -> Candidate | None:
        """The candidate, with its name, if there is or was such a container."""
        raw = candidate.id.raw
        for controller in self._service.controllers():
            subject = controller.subject
            if subject.class_name == candidate.class_name and subject.object_id == str(candidate.id):
                return Candidate(candidate.class_name, ObjectId(raw, subject.name))
        record = await self._service.records.find(candidate.class_name, raw)
        return None if record is None else Candidate(candidate.class_name, ObjectId(raw, record.name))

    def _controller(self, candidate: Candidate) -> Controller:
        hosted = self._objects.namespaces[candidate.class_name].activate(candidate.id).hosted
        assert isinstance(hosted, Controller)
        return hosted


def _in_class(class_name: str, text: str) -> Iterator[Candidate]:
    """What a text may mean within a class."""
    try:
        yield Candidate(class_name, identity.id_from_name(class_name, text))
        if _ID.fullmatch(text):
            yield Candidate(class_name, identity.id_from_string(class_name, text))
    except ValueError:
        return  # it can't be a name, or is an id of another class
