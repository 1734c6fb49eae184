"""How much is read at once from a server: little at first, more where whoever takes it keeps up.

What has been read waits here if its reader is slow, so large reads for many slow readers would be a lot of memory. The
kernel takes some MiB for a slow reader before that shows; only then a connection reads much at once, until a
reader falls behind.

The memory that is read into is one per event loop: a read and the taking of what it gave are one step, so no two
connections ever have something in it at once.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

_SMALL = 64 * 1024
_LARGE = 256 * 1024
_KEEPS_UP = 8 * 1024 * 1024  # bytes read in full buffers, without a pause

_memories: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _memory_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    memory = _memories.get(loop)
    if memory is None:
        memory = _memories[loop] = memoryview(bytearray(_LARGE))
    return memory


class BoundedReads(asyncio.BufferedProtocol):
    """A protocol whose reads are bounded: what has been read is given to ``data_received``."""

    __slots__ = ("_memory", "_passed", "_window")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._memory = _memory_of(loop)
        self._window = self._memory[:_SMALL]
        self._passed = 0

    def data_received(self, data: bytes) -> None:
        """Something has been read."""
        raise NotImplementedError

    def reader_is_behind(self) -> None:
        """What is read isn't taken as fast as it comes: read little."""
        self._passed = 0
        self._window = self._memory[:_SMALL]

    def get_buffer(self, sizehint: int) -> memoryview:
        """What the next read goes into."""
        return self._window

    def buffer_updated(self, nbytes: int) -> None:
        window = self._window
        if nbytes == _SMALL:
            self._passed += nbytes
            if self._passed > _KEEPS_UP:
                self._window = self._memory
        self.data_received(window[:nbytes].tobytes())
