"""JSON that comes from outside is read strictly."""

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
