"""What a Container class declares, and what the configuration file adds to it, checked once when it is loaded.

All mistakes of a class are reported at once, each with the attribute's name and what was expected. Where the file and
the class both say something, the file wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from moorings.config.durations import seconds
from moorings.config.parsing import shown
from moorings.containers import sandboxing
from moorings.errors import ConfigError, ContainerFailedToStart
from moorings.runtimes.sandbox import DEFAULT_SANDBOX, InstanceSize, Sandbox

HOOK_PARAMETERS: dict[str, tuple[str, ...]] = {
    "on_start": (),
    "on_stop": (),
    "on_exit": ("exit_code", "reason"),
    "on_error": ("error",),
    "on_activity_expired": (),
    "alarm": (),
}
"""The hooks of a Container and the parameters each is called with; a class needs no ``alarm``."""


class SleepAction(StrEnum):
    """What becomes of a container that is idle."""

    STOP = "stop"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What a start depends on; in ``dev`` a container is restarted when these change, and only then."""

    entrypoint: tuple[str, ...]
    image: str | None
    directory: Path
    ports: tuple[int, ...]
    env_vars: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    enable_internet: bool
    instance_type: str | None
    image_folder: Path | None = None
    image_vars: tuple[tuple[str, str], ...] = ()
    size: InstanceSize | None = None
    sandbox: Sandbox = DEFAULT_SANDBOX


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """A Container class's attributes, parsed. Times are in seconds."""

    class_name: str
    start: StartOptions
    default_port: int | None
    required_ports: tuple[int, ...]
    sleep_after: float
    sleep_action: SleepAction
    stop_grace: float
    instance_get_timeout: float
    port_ready_timeout: float
    max_instances: int
    warm_spares: int
    ping_endpoint: str | None
    h2c_ports: frozenset[int]
    overridden: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, compare=False)
    """Of ``entrypoint``, ``env_vars`` and ``labels`` those of which the configuration file says something."""

    @property
    def awaited_ports(self) -> tuple[int, ...]:
        """The ports that ``start_and_wait_for_ports()`` waits for when it is given none."""
        if self.required_ports:
            return self.required_ports
        return () if self.default_port is None else (self.default_port,)

    @property
    def fetch_port(self) -> int | None:
        """Where ``fetch`` goes when nothing else is said: ``default_port``, else the first required port."""
        if self.default_port is not None:
            return self.default_port
        return self.required_ports[0] if self.required_ports else None


@dataclass(frozen=True, slots=True)
class Overrides:
    """Attributes that the configuration file gives a class: they win over the class's own, tables name by name.

    ``path`` is where they stand in the file (``containers[0]``). ``read_options`` adds to ``mistakes`` what is wrong
    with them, and to ``warnings`` what the class says otherwise.
    """

    path: str
    values: Mapping[str, Any]
    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Reader:
    """Reads attributes of one class and gathers what is wrong with them."""

    def __init__(self, cls: type, overrides: Overrides | None) -> None:
        self.cls = cls
        self.overrides = overrides
        self.mistakes: list[str] = []

    def read(self, name: str, expected: str, parse: Callable[[Any], Any]) -> Any:
        value = getattr(self.cls, name)
        own = None
        try:
            own = parse(value)
        except (TypeError, ValueError) as error:
            label = f"{self.cls.__name__}.{name}"
            self.mistakes.append(f"{label} = {value!r:.80}: expected {expected}{_detail(error)}")
        if self.overrides is None or name not in self.overrides.values:
            return own
        return self._override(self.overrides, name, own, expected, parse)

    def _override(self, overrides: Overrides, name: str, own: Any, expected: str, parse: Callable[[Any], Any]) -> Any:
        value = overrides.values[name]
        label = f"{overrides.path}.{name}"
        try:
            given = parse(value)
        except (TypeError, ValueError) as error:
            overrides.mistakes.append(f"{label}: expected {expected}{_detail(error)}, got {shown(value)}")
            return own
        if isinstance(given, tuple) and isinstance(value, Mapping):
            before = dict(own or ())
            differs = any(before.get(key, item) != item for key, item in given)
            given = tuple(sorted({**before, **dict(given)}.items()))
        else:
            declaring = [cls for cls in self.cls.__mro__ if name in vars(cls)]
            differs = len(declaring) > 1 and own != given
        if differs:
            overrides.warnings.append(f"{label} overrides {self.cls.__name__}.{name} ({getattr(self.cls, name)!r:.80})")
        return given


def _detail(error: Exception) -> str:
    return f" ({error})" if str(error) else ""


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError
    return value


def _optional_port(value: Any) -> int | None:
    return None if value is None else _port(value)


def _ports(value: Any) -> tuple[int, ...]:
    if isinstance(value, str | bytes | Mapping):
        raise TypeError
    ports = tuple(_port(port) for port in value)
    if len(set(ports)) != len(ports):
        raise ValueError("a port is listed twice")
    return ports


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError('a list of words, such as ["python", "server.py"]')
    words = tuple(value or ())
    if not all(isinstance(word, str) and "\0" not in word for word in words):
        raise TypeError
    return words


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise TypeError
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise TypeError(f"{key!r}: {item!r}")
        if not key or "=" in key or "\0" in key + item:
            raise ValueError(f"{key!r}")
    return tuple(sorted(value.items()))


def _positive_duration(value: str | float | timedelta) -> float:
    parsed = seconds(value)
    if parsed <= 0:
        raise ValueError("it must be more than 0")
    return parsed


def optional_duration(name: str, value: str | float | timedelta | None) -> float | None:
    """A call's own timeout in seconds; None where it has none. Raises TypeError and ValueError that name it."""
    try:
        return None if value is None else _positive_duration(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{name} = {value!r:.80}: seconds, a timedelta, or a text such as "30s" ({error})') from None


def _sleep_action(value: Any) -> SleepAction:
    if value not in tuple(SleepAction):
        raise ValueError
    return SleepAction(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _optional_text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value or None


def read_options(cls: type, base: Path, overrides: Overrides | None = None) -> ContainerOptions:
    """The options of a Container class whose worker file lies in ``base``.

    Raises ConfigError naming every mistake of the class; those of ``overrides`` are added to its own ``mistakes``, and
    the values they are in are left out.
    """
    reader = _Reader(cls, overrides)
    duration = 'seconds, a timedelta, or a text such as "30s", "5m", "1h"'
    default_port = reader.read("default_port", "a port from 1 to 65535, or None", _optional_port)
    required = reader.read("required_ports", "a list of ports from 1 to 65535", _ports) or ()
    ping = reader.read("ping_endpoint", 'a path such as "/health", or None', _optional_text)
    image = reader.read("image", "a folder with a Dockerfile or an image reference, or None", _optional_text)
    entrypoint = reader.read("entrypoint", "a list of strings", _strings) or ()
    h2c = reader.read("h2c_ports", "a list of ports", _ports) or ()
    folder = (base / image) if image is not None else base
    if image is not None and folder.name == "Dockerfile" and folder.is_file():
        folder = folder.parent
    size = reader.read("instance_type", sandboxing.INSTANCE_TYPE, sandboxing.instance_type)
    declared = dict.fromkeys([*([default_port] if default_port else []), *required, *h2c])
    start = StartOptions(
        entrypoint=entrypoint,
        image=image,
        directory=(folder if folder.is_dir() else base).resolve(),
        ports=tuple(declared),
        env_vars=reader.read("env_vars", "a mapping of str to str", _pairs) or (),
        labels=reader.read("labels", "a mapping of str to str", _pairs) or (),
        enable_internet=reader.read("enable_internet", "True or False", _flag) is not False,
        instance_type=None if size is None else size.name,
        image_folder=folder.resolve() if image is not None and folder.is_dir() else None,
        image_vars=reader.read("image_vars", "a mapping of str to str", _pairs) or (),
        size=None if size is None else size.size,
        sandbox=reader.read("sandbox", sandboxing.SANDBOX, sandboxing.sandbox) or DEFAULT_SANDBOX,
    )
    options = ContainerOptions(
        class_name=cls.__name__,
        start=start,
        default_port=default_port,
        required_ports=required,
        sleep_after=reader.read("sleep_after", duration, _positive_duration) or 1.0,
        sleep_action=reader.read("sleep_action", '"stop" or "pause"', _sleep_action) or SleepAction.STOP,
        stop_grace=reader.read("stop_grace", duration, _positive_duration) or 1.0,
        instance_get_timeout=reader.read("instance_get_timeout", duration, _positive_duration) or 1.0,
        port_ready_timeout=reader.read("port_ready_timeout", duration, _positive_duration) or 1.0,
        max_instances=reader.read("max_instances", "a whole number of at least 1", _count) or 1,
        warm_spares=reader.read("warm_spares", "a whole number of at least 0", _number) or 0,
        ping_endpoint=ping,
        h2c_ports=frozenset(h2c),
        overridden={
            name: getattr(start, name)
            for name in ("entrypoint", "env_vars", "labels")
            if overrides is not None and name in overrides.values
        },
    )
    if not entrypoint and image is None:
        reader.mistakes.append(
            f"{cls.__name__} has neither entrypoint nor image: say what to run, "
            'such as entrypoint = ["python", "server.py"]'
        )
    reader.mistakes += hook_mistakes(cls)
    if reader.mistakes:
        raise ConfigError("\n".join(reader.mistakes))
    return options


def hook_mistakes(cls: type, hooks: Mapping[str, tuple[str, ...]] = HOOK_PARAMETERS) -> list[str]:
    """What is wrong with the hooks that a class defines: a sentence for each, with the hook that is wanted."""
    mistakes = []
    for hook, parameters in hooks.items():
        if not hasattr(cls, hook):
            continue
        method = inspect.getattr_static(cls, hook)
        wanted = f"def {hook}({', '.join(('self', *parameters))})"
        if not inspect.isfunction(method):
            mistakes.append(f"{cls.__name__}.{hook} must be a method: {wanted}")
            continue
        try:
            inspect.signature(method).bind(None, *parameters)
        except TypeError:
            has = f"{hook}{inspect.signature(method)}"
            mistakes.append(f"{cls.__name__}.{has} can't be called: the hook is {wanted}, plain or async")
    return mistakes


def set_overridden(instance: Any, options: ContainerOptions) -> None:
    """Give an instance what the configuration file says of how its class is started, so that its own code finds it."""
    for name, value in options.overridden.items():
        setattr(instance, name, list(value) if name == "entrypoint" else dict(value))


def checked_entrypoint(instance: Any) -> tuple[str, ...]:
    """What an instance's program is started with, which its code may have changed. Raises ContainerFailedToStart."""
    try:
        return _strings(instance.entrypoint)
    except (TypeError, ValueError) as error:
        raise ContainerFailedToStart(f"{type(instance).__name__}.entrypoint must be a list of words: {error}") from None


def checked_environment(instance: Any, attribute: str) -> dict[str, str]:
    """An instance's ``env_vars`` or ``labels``, which its code may have changed. Raises ContainerFailedToStart."""
    try:
        return dict(_pairs(getattr(instance, attribute)))
    except (TypeError, ValueError) as error:
        name = f"{type(instance).__name__}.{attribute}"
        raise ContainerFailedToStart(f"{name} must be a mapping of str to str: {error}") from None
