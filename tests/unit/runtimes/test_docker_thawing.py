"""Where the kernel says whether a container is frozen, in either version of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorings.clock import SystemClock
from moorings.runtimes.docker.thawing import freezer_of

CONTAINER = "c0ffee"
V1 = "6:freezer:/docker/c0ffee\n4:memory:/docker/c0ffee\n0::/\n"
V2 = "0::/system.slice/docker-c0ffee.scope\n"


def machine(folder: Path, cgroup: str, file: str, content: str) -> Path:
    """A machine's /proc and /sys/fs/cgroup with one process, 7. Returns the file."""
    (folder / "proc" / "7").mkdir(parents=True)
    (folder / "proc" / "7" / "cgroup").write_text(cgroup)
    state = folder / "cgroup" / file
    state.parent.mkdir(parents=True)
    state.write_text(content)
    return state


@pytest.mark.parametrize(
    ("cgroup", "file", "frozen", "thawed"),
    [
        (V1, "freezer/docker/c0ffee/freezer.state", "FROZEN\n", "THAWED\n"),
        (
            V2,
            "system.slice/docker-c0ffee.scope/cgroup.events",
            "populated 1\nfrozen 1\n",
            "populated 1\nfrozen 0\n",
        ),
    ],
)
async def test_a_freezer_follows_what_the_kernel_says(
    tmp_path: Path, cgroup: str, file: str, frozen: str, thawed: str
) -> None:
    state = machine(tmp_path, cgroup, file, frozen)
    freezer = freezer_of(7, CONTAINER, proc=tmp_path / "proc", cgroups=tmp_path / "cgroup")
    assert freezer is not None
    assert not freezer.is_thawed
    state.write_text(thawed)
    await freezer.thawed(SystemClock())
    state.unlink()
    assert not freezer.is_thawed


def test_a_process_that_is_gone_or_of_another_container_has_no_freezer(tmp_path: Path) -> None:
    machine(tmp_path, V1.replace("c0ffee", "other"), "freezer/docker/other/freezer.state", "FROZEN\n")
    for pid in (7, 8):
        assert freezer_of(pid, CONTAINER, proc=tmp_path / "proc", cgroups=tmp_path / "cgroup") is None
