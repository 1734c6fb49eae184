"""A worker file and the configuration beside it, held against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorings.errors import ConfigError
from moorings.runtimes.sandbox import MB, MIB, InstanceSize
from moorings.worker.loader import Application, load_application

WORKER = """
from moorings import Container, DurableObject, WorkerEntrypoint, WorkflowEntrypoint

class SessionBackend(Container):
    entrypoint = ["python", "server.py"]
    sleep_after = "30m"

class Counter(DurableObject):
    pass

class Flow(WorkflowEntrypoint):
    async def run(self, event, step):
        pass

class Default(WorkerEntrypoint):
    async def scheduled(self, controller):
        pass
"""


def load(folder: Path, config: str, *, worker: str = WORKER, name: str = "moorings.toml") -> Application:
    (folder / "worker.py").write_text(worker)
    (folder / name).write_text(config)
    return load_application(folder / "worker.py")


def mistakes(folder: Path, config: str, *, worker: str = WORKER) -> list[str]:
    """The lines of the error, without the first, which must name the configuration."""
    with pytest.raises(ConfigError) as caught:
        load(folder, config, worker=worker)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{folder / 'moorings.toml'}:"
    return rest


def test_without_a_file_classes_are_bound_under_their_names_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    app = load_application(tmp_path / "worker.py")
    assert app.bindings == {"SESSION_BACKEND": "SessionBackend", "COUNTER": "Counter"}
    assert app.name == tmp_path.name
    assert app.warnings == ()


def test_names_of_the_file_replace_the_default_one_of_their_class_and_no_other(tmp_path: Path) -> None:
    config = """
    durable_objects.bindings = [
        { name = "ROOMS", class_name = "Counter" },
        { name = "HALLS", class_name = "Counter" },
    ]
    """
    app = load(tmp_path, config)
    assert app.bindings == {"SESSION_BACKEND": "SessionBackend", "ROOMS": "Counter", "HALLS": "Counter"}


def test_a_name_that_two_classes_swap_is_no_conflict(tmp_path: Path) -> None:
    config = """
    durable_objects.bindings = [
        { name = "SESSION_BACKEND", class_name = "Counter" },
        { name = "COUNTER", class_name = "SessionBackend" },
    ]
    """
    assert load(tmp_path, config).bindings == {"COUNTER": "SessionBackend", "SESSION_BACKEND": "Counter"}


def test_an_unknown_class_is_named_with_those_there_are(tmp_path: Path) -> None:
    config = """
    containers = [{ class_name = "SesionBackend" }, { class_name = "Counter" }]
    durable_objects.bindings = [{ name = "X", class_name = "Counters" }]
    """
    assert mistakes(tmp_path, config) == [
        'containers[0].class_name: expected a Container class of worker.py (SessionBackend), got "SesionBackend"',
        'containers[1].class_name: expected a Container class of worker.py (SessionBackend), got "Counter"',
        "durable_objects.bindings[0].class_name: expected a class of worker.py that env can have "
        '(Counter, SessionBackend), got "Counters"',
    ]


def test_a_class_of_another_worker_is_not_bound_and_a_warning_says_so(tmp_path: Path) -> None:
    config = '{"durable_objects": {"bindings": [{"name": "X", "class_name": "Far", "script_name": "other"}]}}'
    app = load(tmp_path, config, name="wrangler.jsonc")
    assert "X" not in app.bindings
    (warning,) = app.warnings
    assert "durable_objects.bindings[0]" in warning


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("vars.COUNTER = 1", "vars.COUNTER"),
        (
            'durable_objects.bindings = [{ name = "COUNTER", class_name = "SessionBackend" }]',
            "durable_objects.bindings[0].name",
        ),
        ('queues.producers = [{ binding = "COUNTER", queue = "q" }]', "queues.producers[0].binding"),
        ('workflows = [{ binding = "COUNTER", name = "w", class_name = "Flow" }]', "workflows[0].binding"),
    ],
)
def test_a_name_in_env_that_a_class_has_is_a_mistake(tmp_path: Path, config: str, path: str) -> None:
    (mistake,) = mistakes(tmp_path, config)
    assert mistake == f"{path}: expected a name of its own in env, COUNTER is that of the class Counter already"


def test_containers_entries_change_the_options_of_their_class(tmp_path: Path) -> None:
    config = '[[containers]]\nclass_name = "SessionBackend"\nsleep_after = "5m"\nmax_instances = 2\nname = "x"\n'
    app = load(tmp_path, config)
    assert app.options["SessionBackend"].sleep_after == 300
    assert app.options["SessionBackend"].max_instances == 2
    assert app.warnings == ("containers[0].sleep_after overrides SessionBackend.sleep_after ('30m')",)


def test_every_attribute_of_the_class_can_stand_in_the_file(tmp_path: Path) -> None:
    config = """
    [[containers]]
    class_name = "SessionBackend"
    image = "registry.example/image:1"
    max_instances = 5
    instance_type = "basic"
    default_port = 3000
    required_ports = [3000, 3001]
    env_vars = { A = "1" }
    entrypoint = ["other"]
    enable_internet = false
    ping_endpoint = "/health"
    h2c_ports = [3001]
    labels = { team = "a" }
    stop_grace = 5
    """
    options = load(tmp_path, config).options["SessionBackend"]
    start = options.start
    assert (start.image, start.instance_type, start.enable_internet) == ("registry.example/image:1", "basic", False)
    assert (start.entrypoint, start.env_vars, start.labels) == (("other",), (("A", "1"),), (("team", "a"),))
    assert (options.default_port, options.required_ports) == (3000, (3000, 3001))
    assert options.h2c_ports == frozenset({3001})
    assert (options.max_instances, options.ping_endpoint, options.stop_grace) == (5, "/health", 5)


def test_checks_of_the_class_name_the_path_in_the_file(tmp_path: Path) -> None:
    config = '[[containers]]\nclass_name = "SessionBackend"\nrequired_ports = [80, 80]\n'
    (mistake,) = mistakes(tmp_path, config)
    assert mistake.startswith("containers[0].required_ports: expected a list of ports")
    assert "listed twice" in mistake


def test_a_dockerfile_stands_for_its_folder_which_is_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "src" / "worker.py").write_text(WORKER)
    (tmp_path / "wrangler.toml").write_text(
        '[[containers]]\nclass_name = "SessionBackend"\nimage = "./box/Dockerfile"\n'
    )
    app = load_application(tmp_path / "src" / "worker.py", tmp_path)
    assert app.options["SessionBackend"].start.image == "../box"
    assert app.options["SessionBackend"].start.directory == tmp_path / "box"


@pytest.mark.parametrize(
    "sizes",
    [
        'memory = "1GiB", disk = "2GB"',
        "memory = 1073741824, disk = 2000000000",
        "memory_mib = 1024, disk_mb = 2000",
    ],
    ids=["texts", "bytes", "wrangler"],
)
def test_a_table_of_sizes_takes_the_place_of_an_instance_type(tmp_path: Path, sizes: str) -> None:
    config = f'[[containers]]\nclass_name = "SessionBackend"\ninstance_type = {{ vcpu = 1, {sizes} }}\n'
    start = load(tmp_path, config).options["SessionBackend"].start
    assert start.instance_type is None
    assert start.size == InstanceSize(1.0, 1024 * MIB, 2000 * MB)


def test_a_size_that_is_told_twice_is_a_mistake(tmp_path: Path) -> None:
    sizes = 'memory = "1GiB", memory_mib = 1024'
    config = f'[[containers]]\nclass_name = "SessionBackend"\ninstance_type = {{ {sizes} }}\n'
    with pytest.raises(ConfigError, match="give memory or memory_mib, not both"):
        load(tmp_path, config)


def test_name_and_variables_are_those_of_the_file(tmp_path: Path) -> None:
    app = load(tmp_path, 'name = "shop"\nvars = { A = "1", B = { C = [1, true] } }')
    assert app.name == "shop"
    assert app.settings.variables == {"A": "1", "B": {"C": [1, True]}}


# --- crons ------------------------------------------------------------------------------------------------------------


def test_crons_are_read_in_order(tmp_path: Path) -> None:
    app = load(tmp_path, 'triggers.crons = ["* * * * *", " 0  9 * * MON "]')
    assert [cron.text for cron in app.settings.crons] == ["* * * * *", "0 9 * * MON"]


def test_a_bad_cron_expression_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    found = mistakes(tmp_path, 'triggers.crons = ["* * * * *", "61 * * * *", "0 0 * * 0", "@daily"]')
    expected = "expected a cron expression (minute hour day month weekday), got"
    assert found == [
        f'triggers.crons[1]: {expected} "61 * * * *": bad minute',
        f"triggers.crons[2]: {expected} \"0 0 * * 0\": '0' is no weekday: they are 1 (Sunday) to 7 (Saturday), "
        "or SUN to SAT",
        f'triggers.crons[3]: {expected} "@daily": it has 1 field',
    ]


def test_crons_need_a_worker_with_scheduled(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, 'triggers.crons = ["* * * * *"]', worker=WORKER.replace("scheduled", "other"))
    assert mistake.startswith(
        "triggers.crons: expected the class Default to have async def scheduled(self, controller)"
    )


@pytest.mark.parametrize("signature", ["(self)", "(self, controller, env, ctx)"])
def test_a_scheduled_that_cannot_be_called_is_refused_with_the_one_that_is_wanted(
    tmp_path: Path, signature: str
) -> None:
    (tmp_path / "worker.py").write_text(WORKER.replace("(self, controller)", signature))
    with pytest.raises(ConfigError, match=r"Default\.scheduled\(self.*write async def scheduled\(self, controller\)"):
        load_application(tmp_path / "worker.py")


# --- mistakes of both -------------------------------------------------------------------------------------------------


def test_mistakes_of_the_file_and_of_the_classes_are_told_at_once_under_their_files(tmp_path: Path) -> None:
    worker = WORKER.replace('"30m"', '"soon"')
    config = 'nam = "x"\n[[containers]]\nclass_name = "SessionBackend"\nmax_instances = "many"\n'
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, config, worker=worker)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'moorings.toml'}:",
        "nam: unknown key; did you mean name?",
        'containers[0].max_instances: expected an integer of at least 1, got "many"',
        f"{tmp_path / 'worker.py'}:",
        'SessionBackend.sleep_after = \'soon\': expected seconds, a timedelta, or a text such as "30s", "5m", "1h" '
        "('soon' is no duration; write a number and a unit, such as '30s', '5m', '1h' or '2 days')",
    ]


def test_a_worker_that_does_not_load_hides_no_mistake_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "nam = 1", worker="import nothing_of_that_name")
    assert "nam: unknown key" in str(caught.value)
    assert "nothing_of_that_name" in str(caught.value)


def test_a_workflow_is_bound_under_its_name_in_capitals_and_stored_under_its_own(tmp_path: Path) -> None:
    flow = load(tmp_path, "").workflows["FLOW"]
    assert (flow.name, flow.cls.__name__, flow.max_concurrency, flow.retention) == ("Flow", "Flow", 10_000, 30 * 86_400)


def test_the_configuration_names_workflows_and_wins_over_their_class(tmp_path: Path) -> None:
    config = """
    workflows = [
        { binding = "A", name = "first", class_name = "Flow", max_concurrency = 2, retention = "1 day" },
        { binding = "B", name = "second", class_name = "Flow" },
    ]
    """
    app = load(tmp_path, config)
    assert {binding: flow.name for binding, flow in app.workflows.items()} == {"A": "first", "B": "second"}
    assert (app.workflows["A"].max_concurrency, app.workflows["A"].retention) == (2, 86_400.0)
    assert app.warnings == ()


def test_a_workflow_of_a_class_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, 'workflows = [{ binding = "W", name = "w", class_name = "Flaw" }]')
    assert mistake.startswith("workflows[0].class_name: expected a WorkflowEntrypoint class of worker.py (Flow), got ")


def test_a_run_that_can_not_be_called_is_refused_with_the_one_that_can(tmp_path: Path) -> None:
    worker = WORKER.replace("async def run(self, event, step)", "def run(self, event)")
    with pytest.raises(ConfigError, match=r"Flow\.run must be a method: async def run\(self, event, step\)"):
        load(tmp_path, "", worker=worker)
