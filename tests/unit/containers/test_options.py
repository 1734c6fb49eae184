from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.options import read_options
from moorings.errors import ConfigError


class Plain(Container):
    entrypoint = ("server",)


def test_the_defaults_are_those_of_the_documentation() -> None:
    options = read_options(Plain, Path("/srv"))
    assert options.sleep_after == 600
    assert options.stop_grace == 900
    assert options.max_instances == 100
    assert (options.instance_get_timeout, options.port_ready_timeout) == (8, 20)
    assert options.awaited_ports == ()
    assert options.fetch_port is None
    assert options.start.directory == Path("/srv")


def test_default_port_is_awaited_only_where_no_ports_are_required() -> None:
    class Both(Plain):
        default_port = 1
        required_ports = (2, 3)

    class One(Plain):
        default_port = 1

    class Required(Plain):
        required_ports = (2, 3)

    assert read_options(Both, Path("/")).awaited_ports == (2, 3)
    assert read_options(Both, Path("/")).fetch_port == 1
    assert read_options(Both, Path("/")).start.ports == (1, 2, 3)
    assert read_options(One, Path("/")).awaited_ports == (1,)
    assert read_options(Required, Path("/")).fetch_port == 2


def test_an_image_folder_is_where_the_program_runs(tmp_path: Path) -> None:
    class Built(Container):
        image = "./container"
        entrypoint = ("python", "server.py")

    (tmp_path / "container").mkdir()
    assert read_options(Built, tmp_path).start.directory == tmp_path / "container"
    assert read_options(Built, tmp_path / "container").start.directory == tmp_path / "container"


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("default_port", "80", "a port from 1 to 65535"),
        ("default_port", 0, "a port from 1 to 65535"),
        ("default_port", True, "a port from 1 to 65535"),
        ("required_ports", [80, 80], "listed twice"),
        ("required_ports", 80, "a list of ports"),
        ("sleep_after", "soon", "30s"),
        ("sleep_after", 0, "more than 0"),
        ("sleep_after", timedelta(seconds=-1), "not negative"),
        ("stop_grace", None, "seconds"),
        ("max_instances", 0, "at least 1"),
        ("max_instances", "many", "at least 1"),
        ("env_vars", {"A": 1}, "str to str"),
        ("env_vars", {"A=B": "1"}, "str to str"),
        ("labels", ["x"], "str to str"),
        ("entrypoint", "python server.py", '["python", "server.py"]'),
        ("entrypoint", [1], "a list of strings"),
        ("enable_internet", "no", "True or False"),
        ("image", 5, "a folder with a Dockerfile"),
        ("ping_endpoint", 5, "a path"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(attribute: str, value: Any, expected: str) -> None:
    cls = type("Wrong", (Plain,), {attribute: value})
    with pytest.raises(ConfigError) as caught:
        read_options(cls, Path("/"))
    assert f"Wrong.{attribute} = {value!r}" in str(caught.value)
    assert expected in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    cls = type("Wrong", (Container,), {"default_port": -1, "sleep_after": "soon", "max_instances": 0})
    with pytest.raises(ConfigError) as caught:
        read_options(cls, Path("/"))
    assert len(str(caught.value).splitlines()) == 4
    assert "neither entrypoint nor image" in str(caught.value)


@pytest.mark.parametrize(
    ("hook", "function", "wanted"),
    [
        ("on_stop", lambda self, code: None, "def on_stop(self)"),
        ("on_exit", lambda self: None, "def on_exit(self, exit_code, reason)"),
        ("on_error", lambda self: None, "def on_error(self, error)"),
        ("on_start", "yes", "def on_start(self)"),
        ("alarm", lambda self, when: None, "def alarm(self)"),
    ],
)
def test_a_hook_that_does_not_fit_is_refused_with_the_one_that_is_wanted(hook: str, function: Any, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(type("Hooked", (Plain,), {hook: function}), Path("/"))
    assert wanted in str(caught.value)
