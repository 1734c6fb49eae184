"""What a configuration file adds to a Container class, and what it overrides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.options import ContainerOptions, Overrides, read_options
from moorings.errors import ConfigError
from moorings.runtimes.fake import Script
from tests.unit.containers.support import harness


class Base(Container):
    entrypoint = ("server",)
    sleep_after = "30m"


class Backend(Base):
    default_port = 3000
    env_vars = {"LEVEL": "info", "HOME_PAGE": "/"}


def read(values: dict[str, Any]) -> tuple[ContainerOptions, Overrides]:
    overrides = Overrides("containers[0]", values)
    return read_options(Backend, Path("/srv"), overrides), overrides


def test_what_the_class_does_not_say_is_added_without_a_warning() -> None:
    options, overrides = read({"instance_get_timeout": "1m", "port_ready_timeout": 90})
    assert (options.instance_get_timeout, options.port_ready_timeout) == (60, 90)
    options, overrides = read({"max_instances": 3, "labels": {"team": "a"}, "required_ports": [3000, 3001]})
    assert options.max_instances == 3
    assert options.start.labels == (("team", "a"),)
    assert options.required_ports == (3000, 3001)
    assert overrides.warnings == overrides.mistakes == []


def test_the_file_wins_over_the_class_and_a_warning_names_both() -> None:
    options, overrides = read({"sleep_after": "5m", "default_port": 4000})
    assert options.sleep_after == 300
    assert options.start.ports == (4000,)
    assert overrides.warnings == [
        "containers[0].default_port overrides Backend.default_port (3000)",
        "containers[0].sleep_after overrides Backend.sleep_after ('30m')",
    ]


def test_the_same_value_in_other_words_is_no_conflict() -> None:
    options, overrides = read({"sleep_after": 1800, "entrypoint": ["server"]})
    assert options.sleep_after == 1800
    assert overrides.warnings == []


def test_tables_are_merged_name_by_name_and_only_other_values_are_a_conflict() -> None:
    options, overrides = read({"env_vars": {"LEVEL": "info", "EXTRA": "1"}})
    assert dict(options.start.env_vars) == {"LEVEL": "info", "HOME_PAGE": "/", "EXTRA": "1"}
    assert overrides.warnings == []
    options, overrides = read({"env_vars": {"LEVEL": "debug"}})
    assert dict(options.start.env_vars) == {"LEVEL": "debug", "HOME_PAGE": "/"}
    assert len(overrides.warnings) == 1


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({"max_instances": 0}, "containers[0].max_instances: expected a whole number of at least 1, got 0"),
        (
            {"required_ports": [80, 80]},
            "containers[0].required_ports: expected a list of ports from 1 to 65535 (a port is listed twice), "
            "got [80,80]",
        ),
        ({"env_vars": {"A=B": "1"}}, "containers[0].env_vars: expected a mapping of str to str"),
    ],
)
def test_values_of_the_file_pass_the_checks_of_the_class(values: dict[str, Any], mistake: str) -> None:
    options, overrides = read(values)
    assert len(overrides.mistakes) == 1
    assert overrides.mistakes[0].startswith(mistake)
    assert options == read_options(Backend, Path("/srv"))


def test_mistakes_of_the_class_and_of_the_file_are_told_apart() -> None:
    cls = type("Wrong", (Base,), {"default_port": 0})
    overrides = Overrides("containers[2]", {"max_instances": 0})
    with pytest.raises(ConfigError) as caught:
        read_options(cls, Path("/srv"), overrides)
    assert str(caught.value).startswith("Wrong.default_port = 0")
    assert "max_instances" not in str(caught.value)
    assert len(overrides.mistakes) == 1


def test_the_file_can_say_what_to_run() -> None:
    cls = type("Bare", (Container,), {})
    options = read_options(cls, Path("/srv"), Overrides("containers[0]", {"entrypoint": ["server"]}))
    assert options.start.entrypoint == ("server",)


async def test_the_program_is_started_as_the_file_says_and_its_object_sees_that() -> None:
    cls = type("Backend", (Container,), {"entrypoint": ["server"], "env_vars": {"MODE": "fast", "LEVEL": "info"}})
    values = {"entrypoint": ["other", "--quick"], "env_vars": {"LEVEL": "debug"}, "labels": {"tier": "paid"}}
    async with harness(cls, Script()) as h:
        options = read_options(cls, Path("/"), Overrides("containers[0]", values))
        h.objects.reload(replace(h.application(cls), options={"Backend": options}), {})
        await h.run(h.stub().start())
        [spec] = h.machine.started
        assert (spec.entrypoint, spec.labels) == (("other", "--quick"), {"tier": "paid"})
        assert spec.env == {"MODE": "fast", "LEVEL": "debug"} == h.instance().env_vars
