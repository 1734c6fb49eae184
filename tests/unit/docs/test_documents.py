"""The documentation says what the code does: options, names, codes, limits, the diagram, links and examples."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click
import pytest

import moorings as package
from moorings import Headers, Request, Response, errors
from moorings.cli.commands import moorings
from moorings.containers import lifecycle
from moorings.containers.container import Container
from moorings.containers.handle import ContainerHandle
from moorings.errors import MooringsError
from moorings.http.limits import Limits
from moorings.objects.state import DurableObjectState
from moorings.worker.loader import load_application
from moorings.workflows import lifecycle as workflow_lifecycle
from tests.support.documents import DOCS, ROOT, anchors, blocks, links, pages, prose, rows

REFERENCE = DOCS / "reference"

FOR_THE_PLATFORM = {
    *("fields", "target", "head", "from_wire", "changed", "frozen"),  # a message as it came off a connection
    *("container_port", "expire_at", "gate_messages", "hold_chunks", "give_back"),  # what the layers above note on it
    *("services", "controller"),  # what a context is made of
}
"""Public names of what users hold that are the platform's own."""


def options(command: click.Command) -> set[str]:
    """The long options of a command, and of those below it."""
    if isinstance(command, click.Group):
        return set().union(*map(options, command.commands.values()))
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def codes() -> dict[str, tuple[int, str]]:
    """Every error's code, with the status and the name of the first class that has it."""
    found: dict[str, tuple[int, str]] = {}
    for _, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, MooringsError) and ("code" in vars(cls)):
            found[cls.code] = (cls.status, cls.__name__)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(target), f"{target} has no #{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [target for target, _ in links(page) if target.suffix == ".md"]
    assert not set(DOCS.rglob("*.md")) - reached


def test_every_option_is_in_the_reference() -> None:
    documented = set(re.findall(r"`(--[a-z-]+)`", (REFERENCE / "cli.md").read_text()))
    assert documented == set().union(*map(options, moorings.commands.values()))


def test_commands_are_documented_with_their_arguments() -> None:
    documented = [usage for row in rows(REFERENCE / "cli.md") for usage in re.findall(r"`(moorings [^`]+)`", row[0])]
    assert {usage.split()[1] for usage in documented} == set(moorings.commands)
    for usage in documented:
        command: click.Command = moorings
        words = usage.split()[1:]
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        _options, *arguments = command.collect_usage_pieces(click.Context(command))
        assert " ".join(words) == " ".join(arguments)


def test_every_option_that_a_page_names_exists() -> None:
    known = {"--help", "--version"} | set().union(*map(options, moorings.commands.values()))
    for page in pages():
        mentioned = set(re.findall(r"`(--[a-z-]+)", prose(page)))
        for block in blocks(page):
            for line in block.text.splitlines():
                if "moorings dev" in line or "moorings serve" in line:
                    mentioned |= set(re.findall(r" (--[a-z-]+)", line))
        assert mentioned <= known, f"{page} names {mentioned - known}"


def test_defaults_of_options_are_those_of_the_command() -> None:
    documented = {
        row[0].strip("`"): row[1].strip("`") for row in rows(REFERENCE / "cli.md") if row[0].startswith("`--")
    }
    for parameter in moorings.commands["serve"].params:
        if isinstance(parameter, click.Option) and parameter.show_default and parameter.default is not None:
            assert documented[parameter.opts[0]] == str(parameter.default)


def test_every_error_is_in_the_reference_with_its_status() -> None:
    documented = {}
    for row in rows(REFERENCE / "errors.md"):
        if len(row) == 4 and row[1].isdigit():
            documented[row[0].strip("`")] = (int(row[1]), re.findall(r"`(\w+)`", row[2])[0])
    assert documented == codes()


def test_every_error_in_the_reference_can_be_imported_from_the_package() -> None:
    for _, name in codes().values():
        assert getattr(package, name) is getattr(errors, name)
        assert name in package.__all__


def test_what_the_pages_import_from_the_package_is_there() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "python":
                for node in ast.walk(ast.parse(block.text)):
                    if isinstance(node, ast.ImportFrom) and node.module == "moorings":
                        assert {alias.name for alias in node.names} <= set(package.__all__), page


def test_every_limit_is_in_the_reference_with_its_value() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(REFERENCE / "http-limits.md") if row[0].startswith("`")}
    assert documented == {field.name: shown(field.name, field.default) for field in fields(Limits)}


def shown(name: str, value: object) -> str:
    """A limit as the reference writes it."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g} s"
    assert isinstance(value, int)
    return f"{value // 1024} KiB" if value >= 1024 else str(value)


def test_every_public_name_of_a_container_is_in_the_reference() -> None:
    text = (REFERENCE / "container.md").read_text()
    for name in vars(Container):
        if not name.startswith("_"):
            assert re.search(rf"`{name}[`(]", text), f"{name} is not in the reference"


def test_every_name_in_the_reference_is_public_on_a_container() -> None:
    text = (REFERENCE / "container.md").read_text().partition("## Stubs")[0]
    first_cells = [row[0] for row in rows(REFERENCE / "container.md")]
    for cell in first_cells:
        for name in re.findall(r"`(\w+)\(?", cell):
            if f"| {cell} |" in text:
                assert hasattr(Container, name), f"{name} is in the reference, but not on Container"


@pytest.mark.parametrize("cls", [Request, Response, Headers], ids=lambda cls: str(cls.__name__))
def test_every_public_name_of_a_message_is_in_the_reference(cls: type) -> None:
    text = (REFERENCE / "requests.md").read_text()
    for name in {name for base in cls.__mro__[:-1] for name in vars(base) if not name.startswith("_")}:
        if name not in FOR_THE_PLATFORM:
            assert re.search(rf"`(await |headers\.|Response\.)?{name}[`(]", text), f"{name} is not in the reference"


@pytest.mark.parametrize("cls", [DurableObjectState, ContainerHandle], ids=lambda cls: str(cls.__name__))
def test_every_public_name_of_a_context_is_in_the_reference(cls: type) -> None:
    section = (REFERENCE / "container.md").read_text().partition("## `ctx` and `env`")[2]
    for name in vars(cls):
        if not name.startswith("_") and name not in FOR_THE_PLATFORM:
            assert re.search(rf"`(await )?{name}[`(]", section), f"{name} is not in the reference"


def test_defaults_of_a_container_are_those_of_the_class() -> None:
    for row in rows(REFERENCE / "container.md"):
        name, default = row[0].strip("`"), row[1].strip("`")
        if row[1].startswith("`") and hasattr(Container, name):
            assert repr(getattr(Container, name)).replace("'", '"') == default


@pytest.mark.parametrize(
    ("page", "diagram"),
    [("explanation/lifecycle.md", lifecycle.diagram), ("reference/workflows.md", workflow_lifecycle.diagram)],
    ids=["containers", "workflows"],
)
def test_the_diagram_is_that_of_the_table(page: str, diagram: Callable[[], str]) -> None:
    [block] = [block for block in blocks(DOCS / page) if block.language == "mermaid"]
    assert block.text.strip() == diagram()


def test_every_state_is_explained() -> None:
    explained = {row[0].strip("`") for row in rows(DOCS / "explanation" / "lifecycle.md")} - {"state"}
    assert explained == {str(status) for status in lifecycle.Status}
    cells = {name for row in rows(REFERENCE / "workflows.md") for name in re.findall(r"`(\w+)`", row[0])}
    assert {str(status) for status in workflow_lifecycle.WorkflowStatus} <= cells


def test_every_layer_is_explained() -> None:
    packages = {path.name for path in (ROOT / "src" / "moorings").iterdir() if (path / "__init__.py").exists()}
    table = [row[0] for row in rows(DOCS / "explanation" / "architecture.md")]
    explained = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert explained == packages | {"clock", "observer", "errors"}


def test_the_places_where_to_look_exist() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where to look")[2].partition("\n## ")[0]
    places = [row.split("|")[2] for row in table.splitlines() if row.startswith("| ")][1:]
    assert places
    for place in places:
        paths = re.findall(r"`([\w-]+(?:[/.][\w.-]+)+|examples)`", place)
        assert paths, f"no path in {place}"
        for path in paths:
            assert (ROOT / path).exists(), f"{path} does not exist"


def test_the_files_that_the_architecture_names_exist() -> None:
    package = ROOT / "src" / "moorings"
    page = DOCS / "explanation" / "architecture.md"
    for layers, content in (row for row in rows(page) if row[0] != "layer"):
        folders = [package / name for name in re.findall(r"`(\w+)`", layers)]
        for name in re.findall(r"`(\w+(?:\.py|/))`", content):
            assert any((folder / name).exists() for folder in folders), f"{name} is not in {layers}"
    for path in re.findall(r"`(\w+/[\w/]*\w\.py)`", prose(page)):
        assert (package / path).exists(), f"{path} does not exist"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_workers_in_the_pages_load(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page)):
        if block.language == "python" and "from moorings import" in block.text and "WorkerEntrypoint)" in block.text:
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "worker.py").write_text(block.text)
            assert load_application(folder / "worker.py").worker.__name__ == "Default"
