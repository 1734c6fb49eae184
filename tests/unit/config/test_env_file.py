from __future__ import annotations

from pathlib import Path

import pytest

from moorings.config.env_file import read_env_file
from moorings.errors import ConfigError


def test_variables_are_read_with_quotes_comments_and_export(tmp_path: Path) -> None:
    file = tmp_path / ".dev.vars"
    file.write_text(
        "# secrets\n\nexport API_KEY=abc # the key\nQUOTED='a # b'\nLINES=\"one\\ntwo\"\nEMPTY=\nURL=http://a/?b=c#d\n"
    )
    assert read_env_file(file) == {
        "API_KEY": "abc",
        "QUOTED": "a # b",
        "LINES": "one\ntwo",
        "EMPTY": "",
        "URL": "http://a/?b=c#d",
    }


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".dev.vars"
    file.write_text("A=1\nnot a variable\n")
    with pytest.raises(ConfigError, match="line 2: expected NAME=value"):
        read_env_file(file)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: can't be read"):
        read_env_file(tmp_path / "nowhere")
