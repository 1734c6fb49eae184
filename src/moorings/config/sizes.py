"""Sizes as users write them: bytes, or ``"512KiB"``, ``"10MiB"``, ``"1GB"``: powers of 1024 with an i, else of 1000."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{prefix + suffix: 1000**power for power, prefix in enumerate("kmgt", 1) for suffix in ("", "b")},
    **{prefix + suffix: 1024**power for power, prefix in enumerate("kmgt", 1) for suffix in ("i", "ib")},
}
_TEXT: Final = re.compile(r"(\d+)(?:(\.\d+)\s*(?=[a-z]))?\s*([a-z]*)")


def size(value: str | int) -> int:
    """The size in bytes.

    Raises TypeError for another type, and ValueError for a negative one or a text that can't be read.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"a size is a number of bytes or a text such as '10MiB', not {value!r:.80}")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"a size is not negative, not {value!r}")
        return value
    match = _TEXT.fullmatch(value.strip().lower())
    factor = _UNITS.get(match[3]) if match else None
    if match is None or factor is None:
        raise ValueError(
            f"{value!r} is no size; write bytes or a number and a unit, such as '512KiB', '10MiB' or '1GB'"
        )
    whole = int(match[1]) * factor
    return whole if match[2] is None else whole + int(float(match[2]) * factor)
