"""Access rights without a network: what a pattern covers, and which paths cannot be compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rights import Pattern, PatternInvalid, Right, Rights, UnsafePath, plain_path

SUBJECT, SERVICE = "I/GOV/A/S", "I/GOV/B/S/x"


@pytest.mark.parametrize(
    ("pattern", "method", "path", "covered"),
    [
        ("**", "POST", "/", True),
        ("* /a/**", "PUT", "/a/b/c", True),
        ("* /a/**", "PUT", "/a/", True),
        ("* /a/**", "PUT", "/a", False),
        ("POST /a/*/read", "POST", "/a/b/read", True),
        ("POST /a/*/read", "POST", "/a/b/c/read", False),
        ("POST /a/*/read", "POST", "/a/b/reads", False),
        ("POST /a/*/read", "GET", "/a/b/read", False),
        ("GET /a", "HEAD", "/a", False),
        ("GET /a.b", "GET", "/aXb", False),
        ("GET /a", "GET", "/a/", False),
        ("GET /a", "GET", "/A", False),
    ],
)
def test_a_pattern_covers_a_method_and_a_path(pattern, method, path, covered):
    assert Pattern.parse(pattern).covers(method, path) is covered


@pytest.mark.parametrize("text", ["", "POST", "/a", "post /a", "POST a", "FETCH /a", "POST /a b", "***"])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(PatternInvalid):
        Pattern.parse(text)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a//b/./c/", "/a/b/c/"),
        ("/%61%2Fb", "/a/b"),
        ("/%C3%A4", "/ä"),
        ("/a%25b", "/a%b"),
        ("/a..b/...", "/a..b/..."),
    ],
)
def test_a_path_is_compared_as_a_service_may_read_it(raw, plain):
    assert plain_path(raw) == plain


@pytest.mark.parametrize(
    "raw",
    [
        "/..",
        "/a/../b",
        "/%2e%2e/b",
        "/a/%2E./b",
        "/a%2F..%2Fb",
        "/%252e%252e/b",
        "/a/..;x=1/b",
        "/a\\..\\b",
        "/a%5cb",
        "/%00",
        "/%ff",
    ],
)
def test_a_path_that_could_mean_another_is_refused(raw):
    with pytest.raises(UnsafePath):
        plain_path(raw)


def test_everything_is_denied_that_no_right_allows():
    rights = Rights([Right(SUBJECT, SERVICE, ("GET /a/**",))])
    assert rights.allows(SUBJECT, SERVICE, "GET", "/a/b")
    assert not rights.allows(SUBJECT, SERVICE, "POST", "/a/b")
    assert not rights.allows(SUBJECT, SERVICE + "2", "GET", "/a/b")
    assert not rights.allows(SUBJECT + "2", SERVICE, "GET", "/a/b")
    assert not rights.allows("I/GOV/A", SERVICE, "GET", "/a/b")
    assert not Rights().allows(SUBJECT, SERVICE, "GET", "/a/b")


def test_a_withdrawn_right_allows_nothing():
    assert not Rights([Right(SUBJECT, SERVICE, ("**",), allowed=False)]).allows(SUBJECT, SERVICE, "GET", "/a")


@given(st.text(max_size=60))
def test_no_path_leaves_the_folder_that_a_right_names(raw):
    try:
        plain = plain_path("/open/" + raw)
    except UnsafePath:
        return
    assert plain.startswith("/open")
    assert ".." not in plain.split("/")
