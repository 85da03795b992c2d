"""JSON that comes from outside is read strictly."""

import time

import pytest

from sandroad.contracts import parse_json


@pytest.mark.parametrize("raw", [rb'"\ud800"', rb'{"a": ["\uDFFF x"]}', rb'{"\ud83d": 1}'])
def test_half_a_character_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        parse_json(raw)


@pytest.mark.parametrize("raw", [rb'"a\u0000"', rb'{"a": [{"b": "\u0000"}]}', rb'{"\u0000": 1}'])
def test_nul_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        parse_json(raw)


def test_a_backslash_before_u0000_is_only_text() -> None:
    assert parse_json(rb'"\\u0000"') == "\\u0000"


def test_a_whole_pair_is_a_character() -> None:
    assert parse_json(rb'"\ud83d\ude00"') == "😀"


def test_a_repeated_member_is_named_and_is_found_among_very_many_at_once() -> None:
    members = ",".join(f'"{number}":0' for number in range(30_000))
    began = time.process_time()
    with pytest.raises(ValueError, match="member '29999' appears twice"):
        parse_json(b"{" + members.encode() + b',"29999":1}')
    assert time.process_time() - began < 2
