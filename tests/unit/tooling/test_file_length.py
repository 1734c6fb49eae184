"""The check that keeps files short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "check_file_length.py"


@pytest.fixture
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_file_length", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_above_the_limit_is_named_with_its_length(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "long.py").write_text("x = 1\n" * 501)
    (tmp_path / "src" / "just_right.py").write_text("x = 1\n" * 500)
    assert check.too_long(tmp_path) == [(Path("src/long.py"), 501)]


def test_what_is_not_source_may_be_long(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bench" / "out").mkdir(parents=True)
    (tmp_path / "bench" / "out" / "run.py").write_text("\n" * 900)
    (tmp_path / "bench" / "corpus.json").write_text("\n" * 900)
    assert check.too_long(tmp_path) == []
