"""The batch's tree: every leaf reaches the root, and only its own."""

import hashlib
from base64 import b64decode

import pytest
from asn1crypto import core
from lxml import etree

from gateway.evidence import hashchain

HC, DS = "{http://cyber.ee/hashchain}", "{http://www.w3.org/2000/09/xmldsig#}"


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha512(bytes([at % 256, at // 256])).digest() for at in range(count)]


def node(*digests: bytes) -> bytes:
    """A node by asn1crypto instead of by hand."""

    class Child(core.Sequence):
        _fields = [("digest", core.OctetString), ("method", core.UTF8String), ("parameters", core.Any)]  # noqa: RUF012

    class Children(core.SequenceOf):
        _child_spec = Child

    method = "http://www.w3.org/2001/04/xmlenc#sha512"
    children = [
        Child({"digest": digest, "method": method, "parameters": core.Any(core.Sequence.load(b"\x30\x00"))})
        for digest in digests
    ]
    return hashlib.sha512(Children(children).dump()).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 33, 1001])
def test_every_path_leads_from_its_leaf_to_the_root(count):
    digests = leaves(count)
    root, paths = hashchain.build(digests)
    assert len(paths) == count
    for digest, path in zip(digests, paths, strict=True):
        assert hashchain.root_of(digest, path) == root
        assert hashchain.unpack(hashchain.pack(path)) == path
        assert hashchain.parse_chain(hashchain.render_chain(digest, path)) == (digest, path)
    assert count == 1 or hashchain.root_of(digests[0], paths[-1]) != root


def test_the_nodes_are_those_of_the_profile():
    a, b, c = leaves(3)
    assert hashchain.build([a])[0] == node(a)
    assert hashchain.build([a, b])[0] == node(a, b)
    root, paths = hashchain.build([a, b, c])
    assert root == node(node(a, b), c), "an odd node is promoted"
    assert paths[2] == (hashchain.Sibling(node(a, b), before=True),)
    assert paths[1] == (hashchain.Sibling(c, before=False), hashchain.Sibling(a, before=True))


def evaluate(steps, step) -> bytes:
    """Evaluate a rendered chain as X-Road's verifier does: by its XML."""
    digests = []
    for child in step:
        if child.tag == HC + "StepRef":
            digests.append(evaluate(steps, steps[child.get("URI")[1:]]))
        else:
            digests.append(b64decode(child.find(DS + "DigestValue").text))
    return node(*digests)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 11])
def test_the_rendered_chain_evaluates_to_the_rendered_root(count):
    digests = leaves(count)
    root, paths = hashchain.build(digests)
    result = etree.fromstring(hashchain.render_result(root))
    assert result.get("URI") == "/ts-hashchain.xml#STEP0"
    for digest, path in zip(digests, paths, strict=True):
        chain = etree.fromstring(hashchain.render_chain(digest, path))
        steps = {step.get("id"): step for step in chain.findall(HC + "HashStep")}
        assert evaluate(steps, steps["STEP0"]) == root
        assert [ref.get("URI") for ref in chain.iter(HC + "DataRef")] == ["/META-INF/signatures.xml"]


@pytest.mark.parametrize("digests", [[], [b"short"], [hashlib.sha256(b"").digest()]])
def test_what_is_no_batch_of_sha512_digests_is_refused(digests):
    with pytest.raises(ValueError, match="SHA-512"):
        hashchain.build(digests)


@pytest.mark.parametrize(
    "change",
    [
        (b"STEP1", b"STEP2"),
        (b"signatures.xml", b"signaturez.xml"),
        (b"<hc:HashStep", b"<hc:HashStep "),
        (b"</hc:HashChain>", b"</hc:HashChain>\n"),
        (b"<DigestValue>", b"<DigestValue> "),
        (b"=", b""),
    ],
)
def test_a_chain_in_another_form_is_not_parsed(change):
    digests = leaves(5)
    rendered = hashchain.render_chain(digests[1], hashchain.build(digests)[1][1])
    with pytest.raises(ValueError, match="chain"):
        hashchain.parse_chain(rendered.replace(*change))


def test_a_chain_of_a_million_steps_is_not_parsed():
    path = (hashchain.Sibling(bytes(64), before=False),) * (hashchain.MAX_STEPS + 1)
    with pytest.raises(ValueError, match="steps"):
        hashchain.parse_chain(hashchain.render_chain(bytes(64), path))


def test_a_packed_path_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="65 bytes a step"):
        hashchain.unpack(b"\0" * 64)
