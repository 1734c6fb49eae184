"""Sending one message of the corpus and seeing what becomes of it: the answer, the connection, what reached behind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from tests.support.raw import Address, Answer, Connection, Ending, Truncated, get

JOURNAL = "/journal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``answer`` is None where the connection ended, or nothing came, before a complete answer."""

    answer: Answer | None
    ending: Ending
    surplus: bytes


async def send(address: Address, data: bytes, *, piece: int | None = None, patience: float = 10.0) -> Outcome:
    """Send ``data`` (in pieces of ``piece`` bytes); ``patience`` bounds the wait for the answer, and for the end."""
    with await Connection.open(address, timeout=patience) as connection:
        await connection.offer(data, piece=piece)
        return await outcome(connection, patience=patience)


async def outcome(connection: Connection, *, patience: float = 10.0) -> Outcome:
    """The next answer on ``connection``, and how it ends after that."""
    answer = None
    with contextlib.suppress(Truncated, TimeoutError):
        answer = await connection.receive()
    ending = await connection.ending(within=patience)
    return Outcome(answer, ending, connection.surplus)


async def reached(address: Address) -> list[dict[str, Any]]:
    """What reached the program behind ``address`` since the last call, without the request that asks for it.

    The request is itself the sentinel: residue of an earlier message on a shared connection would spoil its answer.
    """
    answer = await get(address, JOURNAL)
    assert answer.status == 200, answer
    entries: list[dict[str, Any]] = answer.json()["entries"]
    assert entries, "the journal does not know its own request"
    last = entries.pop()
    assert (last["target"], last["complete"]) == (JOURNAL, True), last
    return entries
