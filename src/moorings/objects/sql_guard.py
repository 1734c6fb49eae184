"""What an object may say to its private database: everything that stays inside it. Pure, but for SQLite's own callback.

Two walls: the first word of a statement, for a hint that helps; and SQLite's authorizer, which sees through every
disguise. Transactions are the platform's (one for each turn), other files are out of reach, and so are tables whose
names begin with ``_moorings``, which are kept for the platform.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from moorings.errors import SqlError

_BLANK: Final = r"(?>[\s;]+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))*+"
_NOTHING: Final = re.compile(_BLANK, re.DOTALL)
_FIRST_WORD: Final = re.compile(_BLANK + "([A-Za-z]*)", re.DOTALL)

_OWN_TRANSACTIONS: Final = (
    "every turn of the event loop is a transaction already, so what is written without an await in between is stored "
    "together or not at all"
)
_REFUSED_WORDS: Final = {
    **dict.fromkeys(("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"), _OWN_TRANSACTIONS),
    **dict.fromkeys(("ATTACH", "DETACH"), "an object reaches its own database only"),
    "VACUUM": "the platform looks after the file",
}
_QUERIES: Final = frozenset({"SELECT", "VALUES", "EXPLAIN"})
_WRITES: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
_PRAGMA_NAME: Final = re.compile(r"(?:\w+\s*\.\s*)?(\w+)")

_PRAGMAS: Final = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "defer_foreign_keys",
        "function_list",
        "compile_options",
        "quick_check",
        "data_version",
        "page_count",
        "page_size",
        "optimize",
    }
)
_WRITING_PRAGMAS: Final = frozenset({"optimize", "defer_foreign_keys"})
_MODULES: Final = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32", "geopoly"})
_FUNCTIONS: Final = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
_RESERVED: Final = "_moorings"

MOST_STEPS: Final = 200_000_000
"""How many steps of SQLite's machine one statement may take: seconds, in which the loop does nothing else."""
MOST_SECONDS: Final = 1.0
"""How long the statements of one call may run, by the clock."""
LONGEST_QUERY: Final = 2**20
"""Characters of the SQL of one call."""
_STEPS_A_CALL: Final = 10_000

_TOKEN: Final = re.compile(
    r"""(?P<semi>;(?:[\s;]*;)?)
    | (?P<blank>\s+ | --[^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<word>[\w$]+)
    | \[[^]]*+]? | "[^"]*+"? | '[^']*+'? | `[^`]*+`? | [^\s\w;$/\-["'`]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_SEMI, _OTHER, _EXPLAIN, _CREATE, _TEMP, _TRIGGER, _END = range(7)
_KEYWORDS: Final = {
    "EXPLAIN": _EXPLAIN,
    "CREATE": _CREATE,
    "TEMP": _TEMP,
    "TEMPORARY": _TEMP,
    "TRIGGER": _TRIGGER,
    "END": _END,
}
# The states of sqlite3_complete (sqlite.org, src/complete.c): a trigger ends at a semicolon behind "; END".
_NEXT: Final = (
    # SEMI OTHER EXPLAIN CREATE TEMP TRIGGER END
    (0, 1, 2, 3, 1, 1, 1),  # 0 start
    (0, 1, 1, 1, 1, 1, 1),  # 1 normal
    (0, 2, 1, 3, 1, 1, 1),  # 2 behind EXPLAIN
    (0, 1, 1, 1, 3, 4, 1),  # 3 behind CREATE
    (5, 4, 4, 4, 4, 4, 4),  # 4 in a trigger
    (5, 4, 4, 4, 4, 4, 6),  # 5 behind a semicolon in a trigger
    (0, 4, 4, 4, 4, 4, 4),  # 6 behind its END
)

Parameter = None | int | float | str | bytes
_PARAMETER_TYPES: Final = frozenset({type(None), bool, int, float, str, bytes})


def statements(query: str) -> list[str]:
    """The statements in ``query``, without empty ones, in linear time. Raises TypeError, and SqlError over 1 MiB."""
    if not isinstance(query, str):
        raise TypeError(f"sql.exec takes SQL as a str, not {type(query).__name__}")
    if len(query) > LONGEST_QUERY:
        raise SqlError(f"sql.exec takes up to {LONGEST_QUERY:,} characters of SQL at once, not {len(query):,}")
    parts = []
    start = state = 0
    for token in _TOKEN.finditer(query):
        match token.lastgroup:
            case "blank":
                continue
            case "semi":
                state = _NEXT[state][_SEMI]
                if state == 0:
                    parts.append(query[start : token.start() + 1])
                    start = token.end()
            case "word":
                state = _NEXT[state][_KEYWORDS.get(token[0].upper(), _OTHER)]
            case _:
                state = _NEXT[state][_OTHER]
    parts.append(query[start:])
    return [part for part in parts if _NOTHING.fullmatch(part) is None]


def first_word(statement: str) -> str:
    """The keyword that a statement begins with, in capitals; empty where there is none."""
    match = _FIRST_WORD.match(statement)
    return match[1].upper() if match is not None else ""


def is_query(statement: str) -> bool:
    """Whether the statement only reads, as far as its words tell: a cautious no for all that may write."""
    word = first_word(statement)
    if word == "WITH":
        return _WRITES.search(statement) is None
    if word == "PRAGMA":
        return _pragma(statement) not in _WRITING_PRAGMAS
    return word in _QUERIES


def check_statement(statement: str) -> None:
    """Raises SqlError, with a hint, for statements that are the platform's to make."""
    word = first_word(statement)
    hint = _REFUSED_WORDS.get(word)
    if hint is not None:
        raise SqlError(f"{word} is not for sql.exec: {hint}")
    if word == "PRAGMA" and _pragma(statement) not in _PRAGMAS:
        raise SqlError(f"PRAGMA {_pragma(statement)} is the platform's to set")


def _pragma(statement: str) -> str:
    match = _PRAGMA_NAME.search(statement, _FIRST_WORD.match(statement).end())  # type: ignore[union-attr]  # it has matched
    return match[1].lower() if match is not None else ""


def check_parameters(args: Sequence[object]) -> None:
    """Raises TypeError and ValueError for what SQLite has no form for."""
    for position, value in enumerate(args, start=1):
        if type(value) not in _PARAMETER_TYPES:
            raise TypeError(
                f"parameter {position} of sql.exec: '{type(value).__qualname__}' values cannot be stored in a column; "
                "use None, bool, int, float, str or bytes"
            )
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError(f"parameter {position} of sql.exec: an INTEGER column holds 64 bits, {value} needs more")


class Guard:
    """SQLite's callbacks for one connection: what a statement may touch, and for how long it may run.

    ``off`` lets the platform's own statements through; ``refusal`` says what was denied last.
    """

    __slots__ = ("_calls", "_monotonic", "_until", "exceeded", "off", "refusal")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.off = False
        self.exceeded = ""
        """Which limit the statement that was interrupted last has gone over."""
        self._monotonic = monotonic
        self._until = 0.0
        self.refusal: str | None = None
        self._calls = 0

    def watch(self, connection: sqlite3.Connection) -> None:
        """Guard this connection."""
        connection.set_authorizer(self.authorize)
        connection.set_progress_handler(self.progress, _STEPS_A_CALL)

    def start(self) -> None:
        """A call starts: its statements, or its next rows."""
        self._calls = 0
        self._until = self._monotonic() + MOST_SECONDS
        self.refusal = None

    def authorize(self, action: int, first: Any, second: Any, database: Any, trigger: Any) -> int:
        """See https://sqlite.org/c3ref/set_authorizer.html."""
        refusal = None if self.off else _refusal(action, first, second)
        if refusal is None:
            return sqlite3.SQLITE_OK
        self.refusal = refusal
        return sqlite3.SQLITE_DENY

    def progress(self) -> bool:
        """Whether to interrupt the statement."""
        if self.off:
            return False
        self._calls += 1
        if self._calls > MOST_STEPS // _STEPS_A_CALL:
            self.exceeded = f"{MOST_STEPS:,} steps"
        elif self._monotonic() > self._until:
            self.exceeded = f"{MOST_SECONDS:g} second, in which nothing else could run"
        else:
            return False
        return True


def _refusal(action: int, first: str | None, second: str | None) -> str | None:
    match action:
        case sqlite3.SQLITE_ATTACH | sqlite3.SQLITE_DETACH:
            return "an object reaches its own database only"
        case sqlite3.SQLITE_TRANSACTION | sqlite3.SQLITE_SAVEPOINT:
            return _OWN_TRANSACTIONS
        case sqlite3.SQLITE_PRAGMA:
            return None if (first or "").lower() in _PRAGMAS else f"PRAGMA {first} is the platform's to set"
        case sqlite3.SQLITE_FUNCTION:
            return f"the function {second} is not available" if (second or "").lower() in _FUNCTIONS else None
        case sqlite3.SQLITE_CREATE_VTABLE | sqlite3.SQLITE_DROP_VTABLE if (second or "").lower() not in _MODULES:
            return f"virtual tables of the module {second} are not available"
    for name in (first, second):
        if name is not None and name.lower().startswith(_RESERVED):
            return f"names that begin with {_RESERVED} are kept for the platform"
    return None
