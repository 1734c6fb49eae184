"""A Docker Engine of one's own, for tests, the bench and the soak: private, and gone when it is closed."""

from tools.engine.private import Engine, EngineNotPossible, private_engine

__all__ = ["Engine", "EngineNotPossible", "private_engine"]
