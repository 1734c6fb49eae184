"""Malformed and ambiguous requests: each must be refused, its connection closed, and nothing of it reach a container.

Requests are smuggled past a proxy where two parties read the same bytes differently, so what can be read in two ways is
refused, even where a lenient reading exists. ``why`` says what is wrong, with the source. ``GET /smuggled`` stands in
the bytes wherever a lenient reader would find a second request.
"""

from __future__ import annotations

from tests.integration.malformed.bodies import BODIES
from tests.integration.malformed.case import Case
from tests.integration.malformed.chunks import CHUNKS
from tests.integration.malformed.framing import FRAMING
from tests.integration.malformed.heads import HEADERS, HOSTS, NOT_HTTP, REQUEST_LINES, SIZES

MALFORMED: tuple[Case, ...] = FRAMING + CHUNKS + BODIES + HOSTS + HEADERS + REQUEST_LINES + SIZES + NOT_HTTP
