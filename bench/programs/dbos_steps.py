"""Workflow steps with DBOS on SQLite. `dbos_steps.py FOLDER INSTANCES EACH MS ROUNDS` prints steps/s of each round."""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from dbos import DBOS  # type: ignore[import-not-found,unused-ignore]


@DBOS.step()  # type: ignore[untyped-decorator,unused-ignore]
async def work(longest: float) -> int:
    if longest:
        await asyncio.sleep(random.uniform(0.0, longest))
    return 1


@DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]
async def steps(each: int, longest: float) -> int:
    total = 0
    for _ in range(each):
        total += await work(longest)
    return total


async def measure(instances: int, each: int, ms: int) -> float:
    began = time.perf_counter()
    handles = [await DBOS.start_workflow_async(steps, each, ms / 1000) for _ in range(instances)]
    done = sum(await asyncio.gather(*(handle.get_result() for handle in handles)))
    return float(done / (time.perf_counter() - began))


async def main() -> None:
    folder = Path(sys.argv[1])
    instances, each, ms, rounds = map(int, sys.argv[2:])
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    await measure(1, 2, 0)
    rates = [await measure(instances, each, ms) for _ in range(rounds)]
    print(json.dumps(rates), flush=True)
    DBOS.destroy()


asyncio.run(main())
