"""Canonical XML of one element, inclusive (1.0) and exclusive, without comments: what XML signatures are made over.

Only for evidence that others wrote: our own is rendered in canonical form and never parsed. It refuses what no signature
needs and attacks like: document types (entities that expand), processing instructions, deep nesting.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

MAX_DEPTH = 64
MAX_XML = 1024 * 1024
_XML = "http://www.w3.org/XML/1998/namespace"
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_VALUE = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"})


class XmlRefused(ValueError):
    """This XML is malformed, or has what is not accepted here."""


@dataclass(eq=False)
class Element:
    """One element: its name as written, the prefixes in scope, attributes and content in their order."""

    name: str
    scope: dict[str, str]
    attributes: dict[str, str]
    content: "list[Element | str]" = field(default_factory=list)

    @property
    def tag(self) -> tuple[str, str]:
        """The namespace and the local name."""
        prefix, local = _split(self.name)
        return _uri(self.scope, prefix), local

    @property
    def text(self) -> str:
        """The text directly in this element."""
        return "".join(part for part in self.content if isinstance(part, str))

    def children(self, *tag: str) -> "list[Element]":
        """Return the child elements, of one namespace and local name if given."""
        elements = [part for part in self.content if isinstance(part, Element)]
        return [child for child in elements if child.tag == tag] if tag else elements

    def one(self, *path: tuple[str, str]) -> "Element":
        """Return the element at the end of a path of which each step stands exactly once."""
        found = self
        for tag in path:
            children = found.children(*tag)
            if len(children) != 1:
                raise XmlRefused(f"{found.name} has {len(children)} times {tag[1]}, expected is one")
            found = children[0]
        return found

    def walk(self) -> "Iterator[Element]":
        """Yield this element and everything below it."""
        yield self
        for child in self.children():
            yield from child.walk()


def parse(document: bytes) -> Element:
    """Return the root of a document; ``XmlRefused`` if it is not acceptable."""
    if len(document) > MAX_XML:
        raise XmlRefused(f"{len(document)} bytes of XML, more than {MAX_XML}")
    builder = _Builder()
    try:
        builder.parser.Parse(document, True)
    except expat.ExpatError as error:
        raise XmlRefused(f"malformed XML: {error}") from None
    return builder.top.children()[0]


class _Builder:
    def __init__(self) -> None:
        self.top = Element("", {"xml": _XML}, {})
        self._open = [self.top]
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = lambda _name: self._open.pop()
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = _refuse
        self.parser.ProcessingInstructionHandler = _refuse

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > MAX_DEPTH:
            raise XmlRefused("XML nested too deeply")
        scope, own = self._open[-1].scope, {}
        declared = {}
        for key, value in attributes.items():
            prefix, local = _split(key)
            if key == "xmlns":
                declared[""] = value
            elif prefix == "xmlns" and value:
                declared[local] = value
            elif prefix in ("xml", "xmlns"):
                raise XmlRefused(f"attribute {key} is not accepted here")
            else:
                own[key] = value
        element = Element(name, {**scope, **declared} if declared else scope, own)
        _ = element.tag, [_uri(element.scope, _split(key)[0]) for key in own]
        self._open[-1].content.append(element)
        self._open.append(element)

    def _characters(self, text: str) -> None:
        if len(self._open) > 1:
            self._open[-1].content.append(text)


def _refuse(*_: object) -> None:
    raise XmlRefused("document types and processing instructions are not accepted here")


def _split(name: str) -> tuple[str, str]:
    prefix, colon, local = name.partition(":")
    return (prefix, local) if colon else ("", name)


def _uri(scope: dict[str, str], prefix: str) -> str:
    if prefix and prefix not in scope:
        raise XmlRefused(f"prefix {prefix} is not declared")
    return scope.get(prefix, "")


def canonical(element: Element, *, exclusive: bool) -> bytes:
    """Return the canonical form of an element and all below it."""
    parts: list[str] = []
    _write(element, {}, exclusive, parts)
    return "".join(parts).encode()


def _write(element: Element, rendered: dict[str, str], exclusive: bool, parts: list[str]) -> None:
    if exclusive:
        used = {_split(element.name)[0]} | {_split(key)[0] for key in element.attributes if ":" in key}
    else:
        used = {*element.scope, *rendered}
    wanted = {prefix: element.scope.get(prefix, "") for prefix in sorted(used - {"xml"})}
    declared = {prefix: uri for prefix, uri in wanted.items() if rendered.get(prefix, "") != uri}
    parts.append(f"<{element.name}")
    for prefix, uri in declared.items():
        parts.append(f' xmlns{":" + prefix if prefix else ""}="{uri.translate(_VALUE)}"')
    for key in sorted(element.attributes, key=lambda key: _order(element, key)):
        parts.append(f' {key}="{element.attributes[key].translate(_VALUE)}"')
    parts.append(">")
    below = {**rendered, **declared}
    for part in element.content:
        if isinstance(part, str):
            parts.append(part.translate(_TEXT))
        else:
            _write(part, below, exclusive, parts)
    parts.append(f"</{element.name}>")


def _order(element: Element, key: str) -> tuple[str, str]:
    """Attributes are sorted by namespace, those without one first, then by local name."""
    prefix, local = _split(key)
    return (_uri(element.scope, prefix) if prefix else "", local)
