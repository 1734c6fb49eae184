"""Instance types and the sandbox, as a class writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.options import StartOptions, read_options
from moorings.errors import ConfigError
from moorings.runtimes.sandbox import DEFAULT_SANDBOX, INSTANCE_TYPES, MIB, InstanceSize, Neighbours, Sandbox


def start(**attributes: Any) -> StartOptions:
    return read_options(type("Thing", (Container,), {"entrypoint": ["run"], **attributes}), Path("/")).start


def test_an_instance_type_has_its_sizes() -> None:
    for name, size in INSTANCE_TYPES.items():
        assert (start(instance_type=name).instance_type, start(instance_type=name).size) == (name, size)
    assert start().size is None


def test_sizes_of_ones_own_take_texts_and_the_units_of_wrangler() -> None:
    assert start(instance_type={"vcpu": 2, "memory": "512MiB"}).size == InstanceSize(2.0, 512 * MIB, None)
    wrangler = start(instance_type={"vcpu": 0.5, "memory_mib": 1024, "disk_mb": 2000}).size
    assert wrangler == InstanceSize(0.5, 1024 * MIB, 2_000_000_000)


def test_a_sandbox_says_what_a_container_may_do() -> None:
    assert start().sandbox == DEFAULT_SANDBOX
    told = {
        "read_only": True,
        "tmpfs": {"/tmp": "64MiB"},
        "capabilities": ["cap_net_raw"],
        "processes": 10,
        "network": "open",
    }
    assert start(sandbox=told).sandbox == Sandbox(True, (("/tmp", 64 * MIB),), ("NET_RAW",), 10, Neighbours.OPEN)


@pytest.mark.parametrize(
    "attributes",
    [
        {"instance_type": "huge"},
        {"instance_type": {"vcpu": 0}},
        {"instance_type": {"cpus": 1}},
        {"instance_type": {"memory": "1MiB"}},
        {"instance_type": {"memory": "1GiB", "memory_mib": 1024}},
        {"instance_type": {"memory_mib": "1GiB"}},
        {"instance_type": {"disk": 0}},
        {"instance_type": 3},
        {"sandbox": {"readonly": True}},
        {"sandbox": {"read_only": "yes"}},
        {"sandbox": {"tmpfs": ["/tmp"]}},
        {"sandbox": {"tmpfs": {"tmp": "1MiB"}}},
        {"sandbox": {"capabilities": "NET_RAW"}},
        {"sandbox": {"processes": 0}},
        {"sandbox": {"network": "public"}},
        {"sandbox": "strict"},
        {"image_vars": {"A": 1}},
    ],
)
def test_a_mistake_is_refused_with_the_attribute_in_its_sentence(attributes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(attributes))):
        start(**attributes)
