"""Stubs: what ``get_by_name`` returns, at once and without I/O.

A stub of a class has the class's public methods, each an RPC call: arguments and results are copied, so neither side
can change what the other holds. Methods of the platform itself run no user code, so they are called in the caller's
task.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from yarl import URL

from moorings.errors import NotCallable
from moorings.http import UNSET, Request, Response
from moorings.http.message import held
from moorings.objects.durable_object import HOOKS, DurableObject, is_inline, is_streaming
from moorings.objects.event import caller_written, current_event
from moorings.objects.identity import ObjectId
from moorings.objects.outgoing import StreamGate, send_body, send_stream
from moorings.objects.requests import request_for
from moorings.objects.running import refuse_unwinding
from moorings.objects.streams import Stream
from moorings.objects.values import copy_value

if TYPE_CHECKING:
    from moorings.objects.activation import Activation
    from moorings.objects.namespace import Namespace


class Stub:
    """The way to one object. Cheap to make, safe to keep: it finds the object again whenever it was put away."""

    __slots__ = ("_activation", "_id", "_name", "_namespace")

    def __init__(
        self, namespace: Namespace, name: str | None, object_id: ObjectId | None, activation: Activation | None
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._id = object_id
        self._activation = activation

    @property
    def id(self) -> ObjectId:
        """The object's id."""
        if self._id is None:
            assert self._name is not None
            self._id = self._namespace.id_from_name(self._name)
        return self._id

    @property
    def name(self) -> str | None:
        """The object's name; None where only its id is known."""
        return self._name

    def __repr__(self) -> str:
        return f"<{self._namespace.class_name} stub {self._name if self._name is not None else self.id}>"

    def _live(self) -> Activation:
        activation = self._activation
        if activation is None or not activation.alive:
            activation = self._activation = self._namespace.activate(self.id)
        return activation

    async def fetch(
        self,
        request: Request | str | URL,
        *,
        method: str | None = None,
        headers: Any = None,
        body: Any = None,
        json: Any = UNSET,
    ) -> Response:
        """Send a request to the object and return its response, streamed.

        ``request`` is a Request or a URL; a relative URL is resolved against ``http://container``. ``method``,
        ``headers``, ``body`` and ``json`` are those of ``Request`` and replace a given Request's own.
        """
        request = request_for(request, method=method, headers=headers, body=body, json=json)
        caller = current_event.get()
        if caller is not None:
            await caller.activation.written()
            request.hold_chunks(StreamGate(caller.activation))
        else:
            refuse_unwinding()
        activation = self._live()
        if self._namespace.inline_fetch and activation.gate.free:
            response: Response = await activation.instantiated().fetch(request)
            if activation.durable is not None:
                await activation.written()
            return response
        return await activation.fetch(request)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    else:

        def __getattr__(self, name: str) -> Callable[..., Any]:
            raise self._namespace.refusal(name)


def public_methods(cls: type) -> dict[str, Callable[..., Any]]:
    """The methods of a user's class that a stub offers, by name."""
    methods: dict[str, Callable[..., Any]] = {}
    for name in dir(cls):
        if name.startswith("_") or name in HOOKS or name == "fetch":
            continue
        method = inspect.getattr_static(cls, name)
        if inspect.isfunction(method):
            methods[name] = method
    return methods


def stub_type(cls: type[DurableObject]) -> type[Stub]:
    """A Stub class with one async method per public method of ``cls``."""
    body: dict[str, Any] = {"__slots__": (), "__doc__": cls.__doc__}
    for name, method in public_methods(cls).items():
        if is_streaming(method):
            body[name] = _streaming_call(name, method)
        elif is_inline(method):
            body[name] = _inline_call(name, method)
        else:
            body[name] = _rpc_call(f"{cls.__name__}.{name}", name, method)
    return type(f"{cls.__name__}Stub", (Stub,), body)


def _inline_call(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    is_async = inspect.iscoroutinefunction(method)

    async def call(self: Stub, /, *args: Any, **kwargs: Any) -> Any:
        if current_event.get() is not None:
            await caller_written()
        else:
            refuse_unwinding()
        activation = self._live()
        if not activation.gate.free:
            return await activation.deliver(name, lambda instance: method(instance, *args, **kwargs))
        result = method(activation.instantiated(), *args, **kwargs)
        return await result if is_async else result

    return _dressed(call, name, method)


def _streaming_call(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Stub, /, *args: Any, **kwargs: Any) -> Stream[Any]:
        values = method(self._live().instantiated(), *args, **kwargs)  # a wrong call fails here

        async def after_what_was_written() -> AsyncGenerator[Any, None]:
            try:
                if current_event.get() is not None:
                    await caller_written()
                else:
                    refuse_unwinding()
                async for value in values:
                    yield value
            finally:
                await values.aclose()

        return Stream(after_what_was_written())

    return _dressed(call, name, method)


def _rpc_call(label: str, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    async def call(self: Stub, /, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(None, *args, **kwargs)  # a wrong call fails here, with Python's own message
        caller = current_event.get()
        until = None if caller is None else StreamGate(caller.activation)
        sent = [
            _argument(value, f"argument {_parameter(bound, i + 1)!r} of {label}", until) for i, value in enumerate(args)
        ]
        named = {key: _argument(value, f"argument {key!r} of {label}", until) for key, value in kwargs.items()}
        await caller_written()
        activation = self._live()
        result = await activation.deliver(label, lambda instance: getattr(instance, name)(*sent, **named))
        return _result(result, f"the result of {label}", activation)

    return _dressed(call, name, method)


def _parameter(bound: inspect.BoundArguments, index: int) -> str:
    names = [
        parameter.name
        for parameter in bound.signature.parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    return names[min(index, len(names) - 1)]


def _dressed(call: Callable[..., Any], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    call.__name__ = name
    call.__qualname__ = f"Stub.{name}"
    call.__doc__ = method.__doc__
    return call


def _argument(value: Any, what: str, until: StreamGate | None) -> Any:
    """``value`` as it is passed to an object: a copy, or a handle.

    Requests, responses and byte streams go by handle, and what the caller makes of them waits for ``until``. Raises
    TypeError.
    """
    if isinstance(value, Request | Response):
        if until is not None:
            value.hold_chunks(until)
        return value
    if isinstance(value, AsyncIterator):
        return value if until is None else held(value, until)
    return copy_value(value, what=what)


def _result(value: Any, what: str, activation: Activation) -> Any:
    """What an object's method has returned, as its caller gets it: see ``_argument``."""
    if isinstance(value, Response):
        send_body(activation, value)
    elif isinstance(value, Request):
        value.hold_chunks(StreamGate(activation))
    elif isinstance(value, AsyncIterator):
        return send_stream(activation, value)
    else:
        return copy_value(value, what=what)
    return value


def refusal(cls: type[DurableObject], name: str) -> NotCallable:
    """Why a stub of ``cls`` has no ``name``."""
    if name in HOOKS:
        return NotCallable(f"{cls.__name__}.{name} is a hook: the platform calls it, a stub can't")
    if name.startswith("_"):
        return NotCallable(f"{cls.__name__}.{name} is private: a stub offers public methods only")
    if hasattr(cls, name):
        return NotCallable(f"{cls.__name__}.{name} is no method: a stub offers methods; write one that returns it")
    offered = ", ".join(sorted(public_methods(cls))) or "none"
    return NotCallable(f"{cls.__name__} has no method {name!r}; its public methods are: {offered}")
