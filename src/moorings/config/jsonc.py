"""JSON with comments and trailing commas, as ``wrangler.jsonc`` has it.

Comments and commas that JSON doesn't know are blanked out, character by character, and what is left goes to the
standard library: so lines and columns in an error are those of the file, and nothing inside a string is touched.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMA = re.compile(rf"{_STRING}|,(?=\s*[\]}}])")


def loads(text: str) -> Any:
    """The value of a JSONC text. Raises ValueError with the line and the column of what can't be read."""
    return json.loads(_without_trailing_commas(_COMMENT.sub(_blank, text)), parse_constant=_refuse)


def _blank(match: re.Match[str]) -> str:
    found = match.group()
    return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)


def _without_trailing_commas(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match.group() != ",":
            return match.group()
        before = match.start() - 1
        while before >= 0 and text[before].isspace():
            before -= 1
        # A comma that follows no value ("[,]") is a mistake, and stays one.
        return "," if before < 0 or text[before] in "[{,:" else " "

    return _COMMA.sub(replace, text)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")
