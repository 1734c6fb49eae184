from __future__ import annotations

from typing import Any

import pytest

from moorings.config.sizes import size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1048576, 1048576),
        ("1048576", 1048576),
        ("512B", 512),
        ("512KiB", 512 << 10),
        ("10MiB", 10 << 20),
        ("10 mib", 10 << 20),
        ("1GB", 1_000_000_000),
        ("1.5GB", 1_500_000_000),
        ("2G", 2_000_000_000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_read_as_users_write_them(value: Any, expected: int) -> None:
    assert size(value) == expected


@pytest.mark.parametrize("value", ["", "MiB", "10 parsecs", "-5", "1.5", "1e6", "10MiB5", -1])
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="size"):
        size(value)


@pytest.mark.parametrize("value", [None, True, 1.5, [5]])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="size"):
        size(value)
