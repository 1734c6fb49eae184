"""Reading a configuration file: which one, what it says, and every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorings.config.file import NAMES, ConfigFile, find_config, read_config
from moorings.config.schema import Configuration
from moorings.errors import ConfigError


def own(folder: Path, text: str) -> ConfigFile:
    """``text`` as a moorings.toml."""
    (folder / "moorings.toml").write_text(text)
    return read_config(folder / "moorings.toml")


def of_wrangler(folder: Path, text: str, name: str = "wrangler.jsonc") -> ConfigFile:
    """``text`` as a file of wrangler's."""
    (folder / name).write_text(text)
    return read_config(folder / name)


# --- which file -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_file_has_no_configuration(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_names_is_found_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('name = "x"' if name.endswith("toml") else '{"name": "x"}')
    found = find_config(tmp_path)
    assert found is not None
    assert found.path == tmp_path / name
    assert found.configuration.name == "x"
    assert found.warnings == ()


def test_of_several_files_the_first_name_wins_and_a_warning_names_the_others(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text(f'name = "{name}"' if name.endswith("toml") else f'{{"name": "{name}"}}')
    for index, name in enumerate(NAMES):
        found = find_config(tmp_path)
        assert found is not None
        assert found.configuration.name == name
        assert len(found.warnings) == (index < len(NAMES) - 1)
        assert all(f"{name} is used" in warning for warning in found.warnings)
        assert all(other in found.warnings[0] for other in NAMES[index + 1 :])
        (tmp_path / name).unlink()


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert own(tmp_path, "").configuration == Configuration()
    assert of_wrangler(tmp_path, "{}").configuration == Configuration()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("moorings.toml", "a = \n", r"is no TOML: .*line 1, column 5"),
        ("wrangler.jsonc", '{"a": }', r"is no JSON: .*line 1 column 7"),
        ("wrangler.json", "[" * 100_000, r"is no JSON"),
        ("wrangler.toml", "a = 1\na = 2\n", r"is no TOML"),
    ],
)
def test_a_file_that_is_no_toml_or_json_is_named_with_the_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        find_config(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "moorings.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match=r"moorings.toml: can't be read"):
        find_config(tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere.toml: can't be read"):
        read_config(tmp_path / "nowhere.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "wrangler.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_config(tmp_path / "wrangler.json").configuration == Configuration()


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("main = 5", "main: expected the worker's file, relative to this file, got 5"),
        ('name = ""', 'name: expected a text that is not empty, got ""'),
        ("containers = 5", "containers: expected a list of tables with class_name, got 5"),
        ("containers = [5]", "containers[0]: expected a table, got 5"),
        ("triggers = []", "triggers: expected a table, got []"),
        (
            '[[containers]]\nclass_name = "A"\nmax_instances = "many"',
            'containers[0].max_instances: expected an integer of at least 1, got "many"',
        ),
        (
            '[[containers]]\nclass_name = "A"\nmax_instances = true',
            "containers[0].max_instances: expected an integer of at least 1, got true",
        ),
        (
            '[[containers]]\nclass_name = "A"\nmax_instances = 0',
            "containers[0].max_instances: expected an integer of at least 1, got 0",
        ),
        (
            '[[containers]]\nclass_name = "A"\nrequired_ports = [80, 65536]',
            "containers[0].required_ports[1]: expected a port from 1 to 65535, got 65536",
        ),
        (
            '[[containers]]\nclass_name = "A"\nenv_vars = { A = 1 }',
            "containers[0].env_vars.A: expected a text, got 1",
        ),
        (
            '[[containers]]\nclass_name = "A"\nstop_grace = "soon"',
            'containers[0].stop_grace: expected more than 0 seconds, or a text such as "30s", "5m", "1h", got "soon"',
        ),
        (
            '[[containers]]\nclass_name = "A"\ninstance_type = { vcpu = 0 }',
            "containers[0].instance_type.vcpu: expected a number of virtual CPUs of more than 0, got 0",
        ),
        (
            "[[containers]]\nmax_instances = 1",
            "containers[0].class_name: expected the name of a class in the worker's file, got nothing",
        ),
        (
            '[[containers]]\nclass_name = "A"\n[[containers]]\nclass_name = "A"',
            "containers[1].class_name: expected one entry for each class, A has containers[0] already",
        ),
        (
            'vars.X = 1\n[[durable_objects.bindings]]\nname = "X"\nclass_name = "A"',
            "durable_objects.bindings[0].name: expected a name of its own in env, X is that of vars.X already",
        ),
        ("vars.START = 1979-05-27", "vars.START: expected a JSON value, got 1979-05-27"),
        ("vars.DEEP = [{ A = 1979-05-27 }]", 'vars.DEEP: expected a JSON value, got [{"A":"1979-05-27"}]'),
        ("vars = 1", "vars: expected a table, got 1"),
        (
            'queues.consumers = [{ queue = "q", max_batch_size = 101 }]',
            "queues.consumers[0].max_batch_size: expected an integer from 1 to 100, got 101",
        ),
        (
            'queues.producers = [{ binding = "Q" }]',
            "queues.producers[0].queue: expected the name of a queue, got nothing",
        ),
        (
            'workflows = [{ binding = "W", class_name = "Flow" }]',
            "workflows[0].name: expected a text that is not empty, got nothing",
        ),
        (
            'triggers.crons = "* * * * *"',
            'triggers.crons: expected a list of cron expressions, such as ["*/5 * * * *"], got "* * * * *"',
        ),
        (
            'moorings.serve.runtime = "dockr"',
            'moorings.serve.runtime: expected "auto" or "docker" or "process", got "dockr"',
        ),
        (
            'moorings.serve.trusted_proxies = ["proxy"]',
            'moorings.serve.trusted_proxies[0]: expected an address or a network, such as "10.0.0.0/8", got "proxy"',
        ),
        ("nam = 1", "nam: unknown key; did you mean name?"),
        (
            '[[containers]]\nclass_name = "A"\nsleepAfter = "5m"',
            "containers[0].sleepAfter: unknown key; did you mean sleep_after?",
        ),
        ("triggers.zzz = 1", "triggers.zzz: unknown key; the keys here are crons"),
        ('"a key" = 1\n', '"a key": unknown key; the keys here are name, main, vars,'),
    ],
)
def test_a_mistake_names_its_path_what_was_expected_and_what_was_found(tmp_path: Path, text: str, mistake: str) -> None:
    (found,) = own(tmp_path, text).mistakes
    assert found.startswith(mistake)


def test_all_mistakes_are_told_in_the_order_of_the_file_and_the_rest_is_kept(tmp_path: Path) -> None:
    config = own(
        tmp_path,
        """
        name = "fine"
        mian = "worker.py"
        triggers.crons = [5, "* * * * *"]
        [[containers]]
        max_instances = "many"
        [[containers]]
        class_name = "Fine"
        sleep_after = "5m"
        """,
    )
    assert [mistake.split(":")[0] for mistake in config.mistakes] == [
        "mian",
        "triggers.crons[0]",
        "containers[0].max_instances",
        "containers[0].class_name",
    ]
    configuration = config.configuration
    assert configuration.name == "fine"
    assert configuration.containers is not None
    assert configuration.containers[1].sleep_after == "5m"
    assert configuration.triggers is not None
    assert configuration.triggers.crons == ["", "* * * * *"]


def test_a_long_value_is_shortened_in_its_mistake(tmp_path: Path) -> None:
    (mistake,) = own(tmp_path, f"main = [{'1, ' * 1000}]").mistakes
    assert len(mistake) < 200


def test_a_document_that_is_no_table_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = of_wrangler(tmp_path, "[]").mistakes
    assert mistake == "the file: expected a table, got []"


# --- wrangler's files -------------------------------------------------------------------------------------------------


def test_keys_of_wrangler_that_mean_nothing_here_are_named_once_in_one_warning(tmp_path: Path) -> None:
    config = of_wrangler(
        tmp_path,
        """{
          "$schema": "node_modules/wrangler/config-schema.json",
          "name": "my-worker", "main": "worker.py", // the usual
          "compatibility_date": "2026-01-10", "observability": {"enabled": true},
          "containers": [
            {"class_name": "A", "image": "./Dockerfile", "rollout_kind": "none", "ssh": {"enabled": true}},
            {"class_name": "B", "image": "./Dockerfile", "rollout_kind": "none"},
          ],
          "migrations": [{"tag": "v1", "new_sqlite_classes": ["A", "B"]}],
        }""",
    )
    assert config.mistakes == ()
    (warning,) = config.warnings
    assert warning.endswith(
        "are ignored: compatibility_date, observability, containers[].rollout_kind, containers[].ssh"
    )
    assert config.configuration.containers is not None
    assert [entry.class_name for entry in config.configuration.containers] == ["A", "B"]


def test_a_bad_value_is_a_mistake_in_a_file_of_wranglers_too(tmp_path: Path) -> None:
    text = '[[containers]]\nclass_name = "A"\nmax_instances = "many"\n'
    (mistake,) = of_wrangler(tmp_path, text, "wrangler.toml").mistakes
    assert mistake.startswith("containers[0].max_instances: expected an integer")


def test_null_says_nothing(tmp_path: Path) -> None:
    config = of_wrangler(tmp_path, '{"name": null, "triggers": {"crons": null}, "containers": null}')
    assert config.mistakes == ()
    assert config.configuration.name is None


def test_environments_are_left_out_with_a_warning(tmp_path: Path) -> None:
    for config in (of_wrangler(tmp_path, '{"env": {"staging": {}}}'), own(tmp_path, '[env.staging]\nname = "x"')):
        assert config.mistakes == ()
        (warning,) = config.warnings
        assert "environments (env) mean nothing here" in warning


def test_migrations_are_passed_over_in_silence(tmp_path: Path) -> None:
    config = own(tmp_path, '[[migrations]]\ntag = "v1"\nnew_sqlite_classes = ["A"]')
    assert config.mistakes == config.warnings == ()


def test_queues_and_workflows_are_read_as_they_stand(tmp_path: Path) -> None:
    config = own(
        tmp_path,
        """
        queues.producers = [{ binding = "JOBS", queue = "jobs", delivery_delay = 5 }]
        queues.consumers = [{ queue = "jobs", max_batch_timeout = 0.5, dead_letter_queue = "dead" }]
        workflows = [{ binding = "FLOW", name = "flow", class_name = "Flow" }]
        """,
    )
    assert config.mistakes == config.warnings == ()
    queues, workflows = config.configuration.queues, config.configuration.workflows
    assert queues is not None
    assert queues.producers is not None
    assert queues.producers[0].delivery_delay == 5
    assert queues.consumers is not None
    assert queues.consumers[0].dead_letter_queue == "dead"
    assert workflows is not None
    assert workflows[0].class_name == "Flow"
