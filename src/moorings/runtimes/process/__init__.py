"""Containers as local processes, parented by a small supervisor that outlives the platform.

The supervisor imports this package, so it stays empty: the platform's side is in ``runtime``, the supervisor's starts
in ``supervisor``, and both share ``wire``, ``paths`` and ``proc``. Nothing the supervisor imports may import asyncio.
"""
