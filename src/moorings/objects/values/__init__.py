"""Values that cross the border of an object: copied for RPC, encoded for storage.

Why it exists: two objects never share memory, and what was stored comes back as what it was. One closed set of types
serves both: None, bool, int of any size, float, str, bytes, datetime, timedelta, list, tuple, dict, set, frozenset,
and the platform's own records (frozen dataclasses and enums given to ``register_record``).

Invariants: types are matched exactly (a subclass is refused, because its copy would be something else); a copy equals
its original at every depth in value *and* in type, and shares nothing mutable with it; refusals are a TypeError (a
type that has no place) or a ValueError (a cycle, nesting past ``MAX_DEPTH``), and begin with ``what``, the caller's
name for the value.
"""

from moorings.objects.values.copying import copy_value
from moorings.objects.values.encoding import decode, encode
from moorings.objects.values.records import register_record
from moorings.objects.values.types import MAX_DEPTH

__all__ = ["MAX_DEPTH", "copy_value", "decode", "encode", "register_record"]
