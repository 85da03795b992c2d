"""Where people may be sent back to after deciding: only to pages on the allow-list. Pure."""

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from sandroad.problems import Refusal


class ReturnNotAllowed(Refusal):
    """The page to return to is not on this service's list: an open redirect would lend our name to anybody."""

    code = "consent_return_not_allowed"


def allowed_return(address: str, prefixes: str) -> str:
    """Return ``address`` if it begins with one of ``prefixes`` (separated by commas), origin and whole path segments.

    Raises ``ReturnNotAllowed``. The empty address is allowed: nobody is sent anywhere.
    """
    if not address:
        return ""
    refusal = ReturnNotAllowed("the page to return to is not one that this service knows")
    if len(address) > 2000 or not address.isascii() or any(mark <= " " or mark in '\\<>"' for mark in address):
        raise refusal
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as defect:
        raise refusal from defect
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.fragment or ".." in unquote(parts.path):
        raise refusal
    for prefix in (each.strip() for each in prefixes.split(",") if each.strip()):
        known = urlsplit(prefix)
        same_origin = (parts.scheme, parts.hostname, port) == (known.scheme, known.hostname, known.port)
        path = known.path.rstrip("/")
        if same_origin and (parts.path == path or parts.path.startswith(path + "/")):
            return address
    raise refusal


def with_answer(address: str, **answer: str) -> str:
    """Return ``address`` with the answer in its query."""
    parts = urlsplit(address)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in answer]
    return urlunsplit(parts._replace(query=urlencode([*query, *answer.items()])))


def origins(prefixes: str) -> str:
    """Return the origins of the prefixes, separated by spaces, for a content security policy."""
    found = (urlsplit(each.strip()) for each in prefixes.split(",") if each.strip())
    return " ".join(dict.fromkeys(f"{parts.scheme}://{parts.netloc}" for parts in found))
