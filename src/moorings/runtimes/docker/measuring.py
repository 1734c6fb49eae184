"""What a container uses, from the Engine's ``stats``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorings.runtimes.base import Stats


def stats_of(shown: Mapping[str, Any], machine_memory: int) -> Stats:
    """Stats from the Engine's answer; memory without the file cache that could be dropped, as in ``docker stats``."""
    memory = shown.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = int(details.get("total_inactive_file") or details.get("inactive_file") or 0)
    used, limit = int(memory.get("usage") or 0), int(memory.get("limit") or 0)
    networks = shown.get("networks")
    interfaces = list(networks.values()) if networks else None
    return Stats(
        cpu_seconds=int(((shown.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0) / 1e9,
        memory_bytes=used - cache if used > cache else used,
        memory_limit=limit if 0 < limit < machine_memory else None,
        network_received=None if interfaces is None else sum(int(each.get("rx_bytes") or 0) for each in interfaces),
        network_sent=None if interfaces is None else sum(int(each.get("tx_bytes") or 0) for each in interfaces),
        processes=int((shown.get("pids_stats") or {}).get("current") or 0),
    )
