"""What may stand in a configuration file: the names, the nesting and the types, those of a wrangler configuration.

A field that is None was not said. Each has an ``Expect``: the words for what it wants, which are in the mistakes and in
the reference, and the check that its type alone can't make. ``moorings.config.parsing`` reads files into these.
Source: developers.cloudflare.com/workers/wrangler/configuration/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Struct, field

from moorings.config.addresses import host_and_port
from moorings.config.durations import seconds
from moorings.config.sizes import size


@dataclass(frozen=True, slots=True)
class Expect:
    """What a value must be, in words. ``check(value)`` raises ValueError or TypeError where it isn't that."""

    text: str
    check: Callable[[Any], object] | None = None


def _between(low: float, high: float = float("inf")) -> Callable[[Any], None]:
    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError

    return check


def _some(value: str) -> None:
    if not value:
        raise ValueError


def _some_time(value: str | float) -> None:
    if seconds(value) <= 0:
        raise ValueError


def _network(value: str) -> None:
    ipaddress.ip_network(value, strict=False)


def _json(value: Any) -> None:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _json(item)
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise TypeError


def _one_of(*names: str) -> Expect:
    def check(value: str) -> None:
        if value not in names:
            raise ValueError

    return Expect(" or ".join(f'"{name}"' for name in names), check)


_text = Expect("a text that is not empty", _some)
_count = Expect("an integer of at least 1", _between(1))
_flag = Expect("true or false")
_port = Expect("a port from 1 to 65535", _between(1, 65535))
_ports = Expect("a list of ports from 1 to 65535")
_class = Expect("the name of a class in the worker's file", _some)
_binding = Expect("a name for an attribute of env", _some)
_queue = Expect("the name of a queue", _some)
_duration = Expect('seconds, or a text such as "30s", "5m", "1h"', seconds)
_period = Expect('more than 0 seconds, or a text such as "30s", "5m", "1h"', _some_time)
_size = Expect('bytes, or a text such as "10MiB", "1GB"; 0 for no limit', size)
_room = Expect('bytes, or a text such as "512MiB", "8GB"', size)
_delay = Expect("whole seconds from 0 to 43200", _between(0, 43200))
_texts_by_name = Expect("a table of texts")


class InstanceSize(Struct, frozen=True, kw_only=True):
    """A size of one's own for a container's machine. Memory and disk may have the keys of the class or wrangler's."""

    vcpu: Annotated[float | None, Expect("a number of virtual CPUs of more than 0", _between(1e-9))] = None
    memory: Annotated[str | int | None, _room] = None
    disk: Annotated[str | int | None, _room] = None
    memory_mib: Annotated[int | None, _count] = None
    disk_mb: Annotated[int | None, _count] = None


class ContainerEntry(Struct, frozen=True, kw_only=True):
    """What ``containers`` says of one Container class: the attributes of the class under their own names."""

    class_name: Annotated[str, _class]
    name: Annotated[str | None, _text] = None
    image: Annotated[str | None, Expect("a folder, a Dockerfile or an image reference", _some)] = None
    max_instances: Annotated[int | None, _count] = None
    warm_spares: Annotated[int | None, Expect("an integer of at least 0", _between(0))] = None
    instance_type: Annotated[str | InstanceSize | None, Expect('a name such as "basic", or a table of sizes')] = None
    image_vars: Annotated[dict[str, Annotated[str, Expect("a text")]] | None, _texts_by_name] = None
    sandbox: Annotated[dict[str, Any] | None, Expect("a table")] = None
    default_port: Annotated[int | None, _port] = None
    required_ports: Annotated[list[Annotated[int, _port]] | None, _ports] = None
    sleep_after: Annotated[str | float | None, _period] = None
    sleep_action: Annotated[str | None, _one_of("stop", "pause")] = None
    env_vars: Annotated[dict[str, Annotated[str, Expect("a text")]] | None, _texts_by_name] = None
    entrypoint: Annotated[
        list[Annotated[str, Expect("a text")]] | None, Expect('a list of texts, such as ["python", "server.py"]')
    ] = None
    enable_internet: Annotated[bool | None, _flag] = None
    ping_endpoint: Annotated[str | None, Expect('a path such as "/health"', _some)] = None
    h2c_ports: Annotated[list[Annotated[int, _port]] | None, _ports] = None
    labels: Annotated[dict[str, Annotated[str, Expect("a text")]] | None, _texts_by_name] = None
    stop_grace: Annotated[str | float | None, _period] = None
    instance_get_timeout: Annotated[str | float | None, _period] = None
    port_ready_timeout: Annotated[str | float | None, _period] = None


class ObjectBinding(Struct, frozen=True, kw_only=True):
    """A name in ``env`` for the objects of a class."""

    name: Annotated[str, _binding]
    class_name: Annotated[str, _class]
    script_name: Annotated[str | None, _text] = None


class DurableObjects(Struct, frozen=True, kw_only=True):
    """The table ``durable_objects``."""

    bindings: Annotated[list[ObjectBinding] | None, Expect("a list of tables with name and class_name")] = None


class QueueProducer(Struct, frozen=True, kw_only=True):
    """A name in ``env`` under which messages are sent to a queue."""

    binding: Annotated[str, _binding]
    queue: Annotated[str, _queue]
    delivery_delay: Annotated[int | None, _delay] = None
    message_retention_period: Annotated[
        int | None, Expect("whole seconds from 60 to 1209600 (14 days)", _between(60, 1_209_600))
    ] = None


class QueueConsumer(Struct, frozen=True, kw_only=True):
    """How messages of a queue come to the worker's ``queue(batch)``, or are pulled."""

    queue: Annotated[str, _queue]
    type: Annotated[str | None, _one_of("worker", "http_pull")] = None
    max_batch_size: Annotated[int | None, Expect("an integer from 1 to 100", _between(1, 100))] = None
    max_batch_timeout: Annotated[float | None, Expect("seconds from 0 to 60", _between(0, 60))] = None
    max_retries: Annotated[int | None, Expect("an integer from 0 to 100", _between(0, 100))] = None
    max_concurrency: Annotated[int | None, _count] = None
    dead_letter_queue: Annotated[str | None, _queue] = None
    retry_delay: Annotated[int | None, _delay] = None
    visibility_timeout_ms: Annotated[int | None, Expect("milliseconds from 1 to 43200000", _between(1, 43_200_000))] = (
        None
    )


class Queues(Struct, frozen=True, kw_only=True):
    """The table ``queues``."""

    producers: Annotated[list[QueueProducer] | None, Expect("a list of tables with binding and queue")] = None
    consumers: Annotated[list[QueueConsumer] | None, Expect("a list of tables with queue")] = None


class WorkflowEntry(Struct, frozen=True, kw_only=True):
    """A name in ``env`` for the workflows of a class."""

    binding: Annotated[str, _binding]
    name: Annotated[str, _text]
    class_name: Annotated[str, _class]
    script_name: Annotated[str | None, _text] = None
    max_concurrency: Annotated[int | None, _count] = None
    retention: Annotated[str | float | None, _duration] = None


class Triggers(Struct, frozen=True, kw_only=True):
    """The table ``triggers``."""

    crons: Annotated[
        list[Annotated[str, Expect('a cron expression such as "*/5 * * * *"', _some)]] | None,
        Expect('a list of cron expressions, such as ["*/5 * * * *"]'),
    ] = None


class Serve(Struct, frozen=True, kw_only=True):
    """Options of ``moorings serve``, under the names that they have there; the command line wins over them."""

    host: Annotated[str | None, Expect("an address to listen on", _some)] = None
    port: Annotated[int | None, Expect("a port from 0 (a free one) to 65535", _between(0, 65535))] = None
    data_dir: Annotated[str | None, Expect("a folder", _some)] = None
    runtime: Annotated[str | None, _one_of("auto", "docker", "process")] = None
    trusted_proxies: Annotated[
        list[Annotated[str, Expect('an address or a network, such as "10.0.0.0/8"', _network)]] | None,
        Expect('a list of addresses and networks, such as ["10.0.0.0/8"]'),
    ] = None
    max_body: Annotated[str | int | None, _size] = None
    drain_timeout: Annotated[str | float | None, _duration] = None
    stop_containers: Annotated[bool | None, _flag] = None
    admin_listen: Annotated[str | None, Expect('an address with a port, such as "127.0.0.1:8788"', host_and_port)] = (
        None
    )
    admin_token_file: Annotated[str | None, Expect("a file", _some)] = None
    tls_cert: Annotated[str | None, Expect("a file", _some)] = None
    tls_key: Annotated[str | None, Expect("a file", _some)] = None


class Moorings(Struct, frozen=True, kw_only=True):
    """The table ``moorings``: what a wrangler configuration has no place for."""

    serve: Annotated[Serve | None, Expect("a table")] = None


class Configuration(Struct, frozen=True, kw_only=True):
    """A configuration file."""

    name: Annotated[str | None, _text] = None
    main: Annotated[str | None, Expect("the worker's file, relative to this file", _some)] = None
    vars: Annotated[dict[str, Annotated[Any, Expect("a JSON value", _json)]] | None, Expect("a table")] = None
    containers: Annotated[list[ContainerEntry] | None, Expect("a list of tables with class_name")] = None
    durable_objects: Annotated[DurableObjects | None, Expect("a table")] = None
    queues: Annotated[Queues | None, Expect("a table")] = None
    workflows: Annotated[list[WorkflowEntry] | None, Expect("a list of tables with binding, name and class_name")] = (
        None
    )
    triggers: Annotated[Triggers | None, Expect("a table")] = None
    moorings: Annotated[Moorings | None, Expect("a table")] = None
    migrations: Annotated[Any, Expect("anything")] = None
    env: Annotated[Any, Expect("anything")] = None
    schema: Annotated[Any, Expect("anything")] = field(name="$schema", default=None)
