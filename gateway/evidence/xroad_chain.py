"""Evaluates a hash chain as X-Road writes it: what its result covers. For evidence that others wrote."""

import hashlib
from base64 import b64decode

from gateway.evidence.canonical import Element, parse

HC, DS = "http://cyber.ee/hashchain", "http://www.w3.org/2000/09/xmldsig#"
DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
MAX_STEPS = 64


class ChainBroken(ValueError):
    """The chain does not lead from its result to its inputs, or an input differs from the entry it names."""


def chain_inputs(entries: dict[str, bytes], chain: str, result: str) -> set[str]:
    """Return the URIs of the entries that a chain covers, each compared with its entry; ``ChainBroken`` if one differs."""
    if chain not in entries or result not in entries:
        raise ChainBroken(f"no entry {chain} or {result}")
    top, steps = parse(entries[result]), parse(entries[chain])
    method = _method(steps.one((HC, "DefaultDigestMethod")))
    file, _, first = top.attributes.get("URI", "").partition("#")
    if file != f"/{chain}" or _method(top.one((DS, "DigestMethod"))) != method:
        raise ChainBroken(f"{result} does not belong to {chain}")
    evaluation = _Evaluation(
        entries, method, {step.attributes.get("id", ""): step for step in steps.children(HC, "HashStep")}
    )
    if evaluation.digest_of(first) != _value(top):
        raise ChainBroken(f"the chain in {chain} does not lead to {result}")
    if evaluation.unused:
        raise ChainBroken(f"{chain} has steps that lead nowhere")
    return evaluation.inputs


class _Evaluation:
    def __init__(self, entries: dict[str, bytes], method: str, steps: dict[str, Element]) -> None:
        if len(steps) > MAX_STEPS:
            raise ChainBroken(f"more than {MAX_STEPS} steps")
        self.entries = entries
        self.method = method
        self.unused = dict(steps)
        self.inputs: set[str] = set()

    def digest_of(self, identifier: str) -> bytes:
        """Evaluate a step; each one once, so that a chain cannot run in circles."""
        step = self.unused.pop(identifier, None)
        if step is None:
            raise ChainBroken(f"step {identifier!r} does not exist, or stands in the chain twice")
        return _node(self.method, [self._child(child) for child in step.children()])

    def _child(self, child: Element) -> bytes:
        if child.tag == (HC, "StepRef"):
            return self.digest_of(child.attributes.get("URI", "").removeprefix("#"))
        digest = _value(child)
        if child.tag == (HC, "DataRef"):
            uri = child.attributes.get("URI", "")
            data = self.entries.get(uri.removeprefix("/"))
            if data is None or hashlib.new(DIGESTS[self.method], data).digest() != digest:
                raise ChainBroken(f"input {uri} of the chain is missing or differs from its entry")
            self.inputs.add(uri)
        elif child.tag != (HC, "HashValue"):
            raise ChainBroken(f"a step holds {child.name}")
        return digest


def _method(element: Element) -> str:
    algorithm = element.attributes.get("Algorithm", "")
    if algorithm not in DIGESTS:
        raise ChainBroken(f"digest method {algorithm!r} is not accepted")
    return algorithm


def _value(element: Element) -> bytes:
    if element.children(DS, "DigestMethod") and element.tag != (HC, "HashChainResult"):
        raise ChainBroken("a node with a digest method of its own is not accepted")
    return b64decode("".join(element.one((DS, "DigestValue")).text.split()), validate=True)


def _node(method: str, digests: list[bytes]) -> bytes:
    children = b"".join(
        _der(0x30, _der(0x04, digest) + _der(0x0C, method.encode()) + _der(0x30, b"")) for digest in digests
    )
    return hashlib.new(DIGESTS[method], _der(0x30, children)).digest()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
