"""The decorator form of a step: ``@step.do("name")`` over a function.

As in Cloudflare's Python SDK, a parameter that has the name of another decorated function gets that step's result; the
step is run first where it hasn't been. A parameter named ``ctx`` gets the step's context.
Source: developers.cloudflare.com/workflows/python/python-workers-api
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moorings.workflows.retrying import StepConfig

Perform = Callable[[str, Any, Callable[..., Any]], Awaitable[Any]]


class Declared:
    """A declared step: ``await function()`` runs it and gives its result.

    Its arguments are handed on to the function. It can be called once, as each step's name can be used once; the steps
    that depend on it get the same result.
    """

    __slots__ = (
        "__wrapped__",
        "_called",
        "_concurrent",
        "_config",
        "_declared",
        "_ended",
        "_outcome",
        "_perform",
        "name",
    )

    def __init__(
        self,
        declared: Mapping[str, Declared],
        name: str,
        config: StepConfig,
        function: Callable[..., Any],
        perform: Perform,
        concurrent: bool,
    ) -> None:
        self.name = name
        self.__wrapped__ = function
        self._declared = declared
        self._config = config
        self._perform = perform
        self._concurrent = concurrent
        self._called = False
        self._ended = asyncio.Event()
        self._outcome: tuple[Any, Exception | None] = (None, None)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step. Raises what ``WorkflowStep.do`` does."""
        depends = self._dependencies(args, kwargs)
        if self._concurrent:
            results = await asyncio.gather(*(each.result() for each in depends.values()))
            kwargs |= dict(zip(depends, results, strict=True))
        else:
            for parameter, each in depends.items():
                kwargs[parameter] = await each.result()
        self._called = True
        call = functools.partial(self.__wrapped__, *args, **kwargs)
        try:
            result = await self._perform(self.name, self._config, call)
        except Exception as error:
            if not self._ended.is_set():
                self._outcome = (None, error)
                self._ended.set()
            raise
        if not self._ended.is_set():
            self._outcome = (result, None)
            self._ended.set()
        return result

    async def result(self) -> Any:
        """The result for a step that depends on this one, which is run where nobody has yet."""
        if not self._called:
            return await self()
        await self._ended.wait()
        result, error = self._outcome
        if error is not None:
            raise error
        return result

    def _dependencies(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Declared]:
        try:
            given = inspect.signature(self.__wrapped__).bind_partial(*args, **kwargs).arguments
        except (TypeError, ValueError):
            return {}  # the call itself says what is wrong with it
        parameters = inspect.signature(self.__wrapped__).parameters
        return {name: self._declared[name] for name in parameters if name in self._declared and name not in given}
