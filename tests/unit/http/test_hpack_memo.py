"""HPACK with a memory says, and understands, exactly what it would without."""

from __future__ import annotations

from hpack.exceptions import HPACKError
from hpack.hpack import Decoder, Encoder
from hpack.struct import HeaderTuple
from hypothesis import given, settings
from hypothesis import strategies as st

from moorings.http.hpack_memo import RepeatingDecoder, RepeatingEncoder

NAMES = st.sampled_from([b":path", b"te", b"x-a", b"x-b", b"content-type"])
VALUES = st.sampled_from([b"/", b"trailers", b"1", b"2", b"x" * 60, b"y" * 200])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
STEPS = st.lists(st.one_of(FIELDS, st.integers(min_value=0, max_value=400)), max_size=30)


def outcome(decoder: Decoder, block: bytes) -> list[HeaderTuple] | type[HPACKError]:
    """What a block means, or the error it is."""
    try:
        return list(decoder.decode(block, raw=True))
    except HPACKError as error:
        return type(error)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(FIELDS, st.integers(min_value=0, max_value=400)), max_size=30))
def test_any_sequence_of_blocks_and_table_sizes_is_the_librarys_own(
    steps: list[list[tuple[bytes, bytes]] | int],
) -> None:
    plain_encoder, plain_decoder = Encoder(), Decoder()
    encoder, decoder = RepeatingEncoder(), RepeatingDecoder()
    for step in steps:
        if isinstance(step, int):
            plain_encoder.header_table_size = encoder.header_table_size = step
            continue
        block = plain_encoder.encode(step)
        assert encoder.encode(step) == block
        expected = outcome(plain_decoder, block)
        assert outcome(decoder, block) == expected
        if isinstance(expected, type):
            return  # the library trips over its own changes of the table's size
        assert expected == step


def test_a_repeated_block_is_remembered_until_the_table_changes() -> None:
    encoder = RepeatingEncoder()
    fields = [(b"x-a", b"1")]
    encoder.encode(fields)
    first = encoder.encode(fields)
    assert encoder.encode(fields) is first
    encoder.encode([(b"x-b", b"2")])
    assert encoder.encode(fields) != first
