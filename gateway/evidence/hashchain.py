"""The hash chain of a batch time-stamp: one token proves many messages.

The SHA-512 of each message's ``signatures.xml`` is a leaf of a binary tree; the token covers its root; a message keeps only
its path: the siblings from the root down to its leaf. Bytes and rendering are X-Road's (``http://cyber.ee/hashchain``), so
that its verifier reads them. An odd node is promoted to the next level as it is.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.signature import DIGEST_BYTES

SHA512_URI = b"http://www.w3.org/2001/04/xmlenc#sha512"
MAX_STEPS = 64

_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_RESULT = _DECLARATION + (
    b'<hc:HashChainResult xmlns="http://www.w3.org/2000/09/xmldsig#" xmlns:hc="http://cyber.ee/hashchain"'
    b' URI="/ts-hashchain.xml#STEP0"><DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"/>'
    b"<DigestValue>%b</DigestValue></hc:HashChainResult>"
)
_CHAIN_HEAD = _DECLARATION + (
    b'<hc:HashChain xmlns="http://www.w3.org/2000/09/xmldsig#" xmlns:hc="http://cyber.ee/hashchain">'
    b'<hc:DefaultDigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"/>'
)
_CHAIN_TAIL = b"</hc:HashChain>"
_DATA_REF = b'<hc:DataRef URI="/META-INF/signatures.xml"><DigestValue>%b</DigestValue></hc:DataRef>'
_HASH_VALUE = b"<hc:HashValue><DigestValue>%b</DigestValue></hc:HashValue>"
_STEP = re.compile(rb'<hc:HashStep id="STEP\d+">(.*?)</hc:HashStep>')
_VALUE = re.compile(rb"<DigestValue>([^<]{88})</DigestValue>")

# One child of a node in DER: SEQUENCE { OCTET STRING digest, UTF8String method, SEQUENCE {} }.
_METHOD = b"\x0c" + bytes([len(SHA512_URI)]) + SHA512_URI + b"\x30\x00"
_CHILD_HEAD = b"\x30" + bytes([2 + DIGEST_BYTES + len(_METHOD)]) + b"\x04" + bytes([DIGEST_BYTES])
_CHILD_BYTES = len(_CHILD_HEAD) + DIGEST_BYTES + len(_METHOD)
_ONE_HEAD = b"\x30" + bytes([_CHILD_BYTES])
_TWO_HEAD = b"\x30\x81" + bytes([2 * _CHILD_BYTES])


@dataclass(frozen=True, slots=True)
class Sibling:
    """What stands beside the path in one step: its digest, and whether it comes before the path in tree order."""

    digest: bytes
    before: bool


Path = tuple[Sibling, ...]
"""Siblings from the root down to the leaf; empty for a batch of one."""


def _alone(digest: bytes) -> bytes:
    return hashlib.sha512(b"".join((_ONE_HEAD, _CHILD_HEAD, digest, _METHOD))).digest()


def _pair(left: bytes, right: bytes) -> bytes:
    children = (_TWO_HEAD, _CHILD_HEAD, left, _METHOD, _CHILD_HEAD, right, _METHOD)
    return hashlib.sha512(b"".join(children)).digest()


def build(leaf_digests: Sequence[bytes]) -> tuple[bytes, list[Path]]:
    """Return the root and one path per leaf, in the order of the leaves (SHA-512 digests, at least one)."""
    if not leaf_digests or any(len(digest) != DIGEST_BYTES for digest in leaf_digests):
        raise ValueError("a batch is one or more SHA-512 digests of 64 bytes")
    if len(leaf_digests) == 1:
        return _alone(leaf_digests[0]), [()]
    upwards: list[list[Sibling]] = [[] for _ in leaf_digests]
    level = [(digest, range(at, at + 1)) for at, digest in enumerate(leaf_digests)]
    while len(level) > 1:
        above = []
        for (left, lefts), (right, rights) in zip(level[::2], level[1::2], strict=False):
            for leaf in lefts:
                upwards[leaf].append(Sibling(right, before=False))
            for leaf in rights:
                upwards[leaf].append(Sibling(left, before=True))
            above.append((_pair(left, right), range(lefts.start, rights.stop)))
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0][0], [tuple(reversed(path)) for path in upwards]


def root_of(leaf_digest: bytes, path: Path) -> bytes:
    """Return the root that a leaf and its path lead to."""
    if not path:
        return _alone(leaf_digest)
    digest = leaf_digest
    for sibling in reversed(path):
        digest = _pair(sibling.digest, digest) if sibling.before else _pair(digest, sibling.digest)
    return digest


def pack(path: Path) -> bytes:
    """Return a path as bytes for a store: per step one byte (1: sibling before) and its digest."""
    return b"".join(bytes([sibling.before]) + sibling.digest for sibling in path)


def unpack(packed: bytes) -> Path:
    """Return the path that ``pack`` packed."""
    width = 1 + DIGEST_BYTES
    if len(packed) % width:
        raise ValueError(f"a packed path has {width} bytes a step, this one has {len(packed)} in all")
    steps = [packed[at : at + width] for at in range(0, len(packed), width)]
    return tuple(Sibling(step[1:], bool(step[0])) for step in steps)


def render_result(root: bytes) -> bytes:
    """Render ``ts-hashchainresult.xml``: the bytes that the time-stamp token covers."""
    return _RESULT % b64encode(root)


def render_chain(leaf_digest: bytes, path: Path) -> bytes:
    """Render ``ts-hashchain.xml``: the way from the root to this message's ``signatures.xml``."""
    steps = []
    last = max(len(path), 1) - 1
    for at in range(last + 1):
        nodes = [_DATA_REF % b64encode(leaf_digest) if at == last else b'<hc:StepRef URI="#STEP%d"/>' % (at + 1)]
        if path:
            nodes.insert(0 if path[at].before else 1, _HASH_VALUE % b64encode(path[at].digest))
        steps.append(b'<hc:HashStep id="STEP%d">%b</hc:HashStep>' % (at, b"".join(nodes)))
    return b"".join((_CHAIN_HEAD, *steps, _CHAIN_TAIL))


def parse_chain(rendered: bytes) -> tuple[bytes, Path]:
    """Return leaf digest and path from a rendered chain; ``ValueError`` unless rendering them gives the same bytes."""
    steps = _STEP.findall(rendered)
    if not 1 <= len(steps) <= MAX_STEPS:
        raise ValueError(f"the chain has {len(steps)} steps, allowed are 1 to {MAX_STEPS}")
    leaf, path = b"", []
    for at, step in enumerate(steps):
        values = [b64decode(value, validate=True) for value in _VALUE.findall(step)]
        before = step.startswith(b"<hc:HashValue>")
        if at == len(steps) - 1 and values:
            leaf = values.pop(1 if before and len(values) > 1 else 0)
        path += [Sibling(value, before) for value in values]
    if render_chain(leaf, tuple(path)) != rendered:
        raise ValueError("the chain is not in the form of the profile")
    return leaf, tuple(path)
