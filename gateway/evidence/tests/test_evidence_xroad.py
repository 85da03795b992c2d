"""Containers in X-Road's own forms; and its sample containers, if SANDROAD_XROAD_SAMPLES names a folder with them."""

import base64
import dataclasses
import os
import random
import re
import zipfile
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.evidence.canonical import XmlRefused, canonical, parse
from gateway.evidence.tests.authorities import BODY, REQUEST
from gateway.evidence.tests.xroad_builder import XRoadBuilder, chain, data_ref, node, sha512, zipped
from gateway.evidence.verifier import verify_container

SOAP = (
    b'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    b'xmlns:i="http://x-road.eu/xsd/identifiers" xmlns:x="http://x-road.eu/xsd/xroad.xsd"><s:Header><x:client>'
    b"<i:xRoadInstance>SANDBOX</i:xRoadInstance><i:memberClass>GOV</i:memberClass><i:memberCode>WELFARE</i:memberCode>"
    b'</x:client></s:Header><s:Body><p:exists xmlns:p="urn:p"/></s:Body></s:Envelope>'
)
FORMS = [
    ("message", False, REQUEST, b""),
    ("message", True, REQUEST, b""),
    ("chain", False, REQUEST, BODY),
    ("chain", True, REQUEST, BODY),
    ("direct", True, REQUEST, BODY),
    ("direct", False, REQUEST, b""),
    ("message", True, SOAP, b""),
]


def failed(entries, anchor) -> set[str]:
    return {check.name for check in verify_container(zipped(entries), anchor) if not check.ok}


@pytest.fixture(
    scope="module", params=FORMS, ids=lambda form: f"{form[0]}-{'batch' if form[1] else 'single'}-{len(form[2])}"
)
def built(request, authorities):
    form, batch, message, body = request.param
    return XRoadBuilder(authorities, message, body, form=form, batch=batch).build()


@pytest.fixture(scope="module")
def chained(authorities):
    return XRoadBuilder(authorities, REQUEST, BODY, form="chain", batch=True).build()


def test_every_form_of_x_road_passes_every_check(built, authorities):
    checks = verify_container(zipped(built), authorities.anchor)
    assert [(check.name, check.said) for check in checks if not check.ok] == []
    assert len(checks) == 12


def test_a_changed_message_or_body_fails(built, authorities):
    for name in ("message.xml", "attachment1"):
        if name in built:
            assert "references" in failed({**built, name: built[name] + b" "}, authorities.anchor)


def test_an_entry_that_nobody_signed_fails(built, authorities):
    assert failed({**built, "attachment2": b"x"}, authorities.anchor) == {"entries"}


def test_flipped_bits_of_signature_and_chains_fail(built, authorities):
    """Not in the white space, the unsigned comment or the manifest: only what the verdict rests on."""
    dice = random.Random(7)
    for name in [name for name in built if name.endswith(("signatures.xml", "result.xml", ".tst"))]:
        text = built[name]
        spots = [found.start() for found in re.finditer(rb"[A-Za-z0-9+/]{60,}", text)] or range(len(text))
        for start in list(spots)[:: max(1, len(spots) // 40)]:
            at = start + dice.randrange(30)
            if at < len(text):
                flipped = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
                assert failed({**built, name: flipped}, authorities.anchor), f"{name} at {at}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"WELFARE", b"LANDS", {"references"}),
        (b'Id="signed-properties"', b'Id="other"', {"references"}),
        (b"#rsa-sha512", b"#rsa-sha256", {"signature value"}),
    ],
)
def test_forged_signature_files_fail(authorities, old, new, expected):
    entries = XRoadBuilder(authorities, REQUEST, BODY, form="message", batch=False).build()
    changed = {name: text.replace(old, new) for name, text in entries.items()}
    assert expected <= failed(changed, authorities.anchor)


def test_signed_properties_elsewhere_in_the_document_are_not_taken(authorities):
    """Signature wrapping: the signed element is moved, another one stands where it is read."""
    entries = XRoadBuilder(authorities, REQUEST, form="message", batch=False).build()
    text = entries["META-INF/signatures.xml"]
    start, end = text.index(b"<xades:SignedProperties "), text.index(b"<xades:UnsignedProperties>")
    signed = text[start:end]
    forged = signed.replace(b'Id="signed-properties"', b'Id="x"')
    moved = text.replace(signed, forged).replace(
        b"</ds:Signature>", b"<ds:Object>" + signed + b"</ds:Object></ds:Signature>"
    )
    assert failed({**entries, "META-INF/signatures.xml": moved}, authorities.anchor)


def test_an_id_that_stands_twice_is_refused(authorities):
    """Another verifier might take the other element for the signed one."""
    entries = XRoadBuilder(authorities, REQUEST, form="message", batch=False).build()
    text = entries["META-INF/signatures.xml"]
    twice = text.replace(b"<ds:X509Certificate>", b'<x Id="signed-properties"/><ds:X509Certificate>')
    assert {"references", "entries"} == failed({**entries, "META-INF/signatures.xml": twice}, authorities.anchor)


def test_a_chain_without_the_message_fails(authorities, chained):
    made = chain(
        "sig-hashchain", f'<ns2:HashStep id="STEP0">{data_ref("/attachment1", BODY)}</ns2:HashStep>', node(sha512(BODY))
    )
    assert "references" in failed({**chained, **made}, authorities.anchor)


def test_a_chain_in_circles_fails(authorities, chained):
    step = '<ns2:HashStep id="STEP0"><ns2:StepRef URI="#STEP0"/></ns2:HashStep>'
    assert "time-stamp" in failed({**chained, **chain("ts-hashchain", step, bytes(64))}, authorities.anchor)


def test_our_own_container_is_never_taken_for_a_foreign_one(authorities, evidence):
    entries = evidence.entries()
    names = {check.name for check in verify_container(zipped(entries), authorities.anchor)}
    assert names == {"zip"}, "held to our own form, where this zip is not the right one"


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        b"<?xml-stylesheet href='x'?><a/>",
        b"<a>" * 100 + b"</a>" * 100,
        b"<a",
        b"<b:a/>",
        b'<a xml:lang="en"/>',
        b" " * 2_000_000,
    ],
)
def test_xml_that_no_signature_needs_is_refused(document):
    with pytest.raises(XmlRefused):
        parse(document)


names = st.sampled_from(["a", "p:a", "q:b", "c"])
texts = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n"), max_size=8)


@st.composite
def xml(draw, depth=0):
    declared = draw(st.sampled_from(["", ' xmlns="urn:d"', ' xmlns:p="urn:other"', ' xmlns=""']))
    if depth == 0:
        declared = ' xmlns:p="urn:p" xmlns:q="urn:q"'
    chosen = draw(st.dictionaries(st.sampled_from(["x", "y", "q:x", "p:z"]), texts, max_size=3))
    attributes = "".join(f' {key}="{escaped(value)}"' for key, value in chosen.items())
    inner = escaped(draw(texts))
    if depth < 3:
        for child in draw(st.lists(xml(depth=depth + 1), max_size=2)):
            inner += child + escaped(draw(texts))
    name = draw(names)
    return f"<{name} {declared}{attributes}>{inner}</{name}>"


def escaped(text: str) -> str:
    for raw, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(raw, reference)
    return text.replace("\t", "&#9;") + "&#13;"


@settings(max_examples=100, deadline=None)
@given(xml())
def test_the_canonical_forms_are_lxmls(document):
    """But for inclusive subtrees with a default namespace, where libxml2 2.14 invents an xmlns="" in grandchildren."""
    ours = list(parse(document.encode()).walk())
    theirs = list(etree.fromstring(document.encode()).iter())
    for mine, yours in zip(ours, theirs, strict=True):
        whole = mine is ours[0] or 'xmlns="' not in document
        for exclusive in (False, True) if whole else (True,):
            expected = etree.tostring(yours, method="c14n", exclusive=exclusive, with_tail=False)
            assert canonical(mine, exclusive=exclusive) == expected


@given(
    st.binary(max_size=200), st.sampled_from(["META-INF/signatures.xml", "sig-hashchain.xml", "ts-hashchainresult.xml"])
)
@settings(max_examples=100, deadline=None)
def test_hostile_entries_fail_and_never_raise(authorities, chained, junk, name):
    assert failed({**chained, name: junk}, authorities.anchor)


SAMPLES = os.environ.get("SANDROAD_XROAD_SAMPLES", "")
VERDICTS = {
    "valid-signed-message": set(),
    "valid-batch-ts": set(),
    "valid-non-batch-rest": set(),
    "wrong-message": {"references"},
    "invalid-digest": {"references"},
    "invalid-signed-hashchain": {"references"},
}


def judge_sample(authorities, sample):
    """Their test CA's certificate is not in them: path and OCSP cannot be judged, everything else is."""
    path = Path(SAMPLES) / f"{sample}.asice"
    with zipfile.ZipFile(path) as archive:
        signatures = archive.read("META-INF/signatures.xml").decode()
        single = re.search("EncapsulatedTimeStamp>([^<]*)", signatures)
        token = base64.b64decode(single[1].replace("&#13;", "")) if single else archive.read("META-INF/timestamp.tst")
    carried = cms.ContentInfo.load(token)["content"]["certificates"][0].chosen.dump()
    tsa = x509.load_der_x509_certificate(carried)
    anchor = dataclasses.replace(authorities.anchor, instance="DEV", tsa_certificates=(tsa,))
    wrong = {check.name for check in verify_container(path.read_bytes(), anchor) if not check.ok}
    assert wrong - {"entries"} == VERDICTS[sample] | {"certificate path", "revocation"}


if SAMPLES:

    @pytest.mark.parametrize("sample", VERDICTS)
    def test_x_roads_own_samples_get_its_verdict(authorities, sample):
        judge_sample(authorities, sample)
