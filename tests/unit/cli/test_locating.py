"""Which worker a command means, which configuration goes with it, and whose options win."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorings.cli.locating import locate, serve_options
from moorings.config.file import read_config
from moorings.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two workers and no configuration."""
    (tmp_path / "src").mkdir()
    (tmp_path / "worker.py").write_text("")
    (tmp_path / "src" / "other.py").write_text("")
    return tmp_path


def test_without_a_file_and_a_configuration_it_is_worker_py_in_the_current_folder(folder: Path) -> None:
    located = locate(None, None, folder=folder, command="dev")
    assert located.file == folder / "worker.py"
    assert located.found is None


def test_without_a_file_main_of_the_configuration_says_which_it_is(folder: Path) -> None:
    (folder / "wrangler.toml").write_text('main = "src/other.py"')
    for given in (None, folder):
        located = locate(given, None, folder=folder, command="dev")
        assert located.file == folder / "src" / "other.py"
        assert located.config == folder
        assert located.found is not None


def test_a_file_that_is_given_wins_over_main_and_has_the_configuration_beside_it(folder: Path) -> None:
    (folder / "moorings.toml").write_text('main = "worker.py"')
    (folder / "src" / "moorings.toml").write_text('main = "nothing.py"')
    located = locate(folder / "src" / "other.py", None, folder=folder, command="dev")
    assert located.file == folder / "src" / "other.py"
    assert located.found is not None
    assert located.found.path == folder / "src" / "moorings.toml"


def test_a_configuration_that_is_given_is_the_only_one(folder: Path) -> None:
    (folder / "moorings.toml").write_text('main = "nothing.py"')
    (folder / "src" / "staging.toml").write_text('main = "other.py"')
    located = locate(None, folder / "src" / "staging.toml", folder=folder, command="dev")
    assert located.file == folder / "src" / "other.py"
    assert located.config == folder / "src" / "staging.toml"


def test_where_there_is_no_worker_the_error_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no worker\.py in .*moorings serve path/to/worker\.py"):
        locate(None, None, folder=tmp_path, command="serve")
    (tmp_path / "moorings.toml").write_text("")
    with pytest.raises(ConfigError, match=r"and moorings\.toml has no main"):
        locate(None, None, folder=tmp_path, command="serve")
    (tmp_path / "moorings.toml").write_text('mian = "other.py"')
    with pytest.raises(ConfigError, match=r"moorings\.toml:\nmian: unknown key; did you mean main\?"):
        locate(None, None, folder=tmp_path, command="serve")


def test_options_of_serve_are_taken_from_the_configuration_unless_said(tmp_path: Path) -> None:
    (tmp_path / "moorings.toml").write_text(
        """
        [moorings.serve]
        host = "::1"
        port = 80
        data_dir = "data"
        runtime = "process"
        trusted_proxies = ["10.0.0.0/8"]
        max_body = "10MiB"
        drain_timeout = "1m"
        stop_containers = true
        """
    )
    found = read_config(tmp_path / "moorings.toml")
    assert found.mistakes == ()
    assert serve_options(found, set()) == {
        "host": "::1",
        "port": 80,
        "data_dir": tmp_path / "data",
        "runtime": "process",
        "trusted_proxies": ("10.0.0.0/8",),
        "max_body": 10 << 20,
        "drain_timeout": 60.0,
        "stop_containers": True,
    }
    assert serve_options(found, {"host", "port", "runtime", "max_body", "drain_timeout", "stop_containers"}) == {
        "data_dir": tmp_path / "data",
        "trusted_proxies": ("10.0.0.0/8",),
    }


def test_a_configuration_without_options_has_none(tmp_path: Path) -> None:
    (tmp_path / "moorings.toml").write_text('name = "x"')
    assert serve_options(None, set()) == serve_options(read_config(tmp_path / "moorings.toml"), set()) == {}
