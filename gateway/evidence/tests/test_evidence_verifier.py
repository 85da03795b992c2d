"""The offline verifier: a good container passes every check, and each way of forging one fails the check named for it."""

import dataclasses
import datetime as dt
import hashlib
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.evidence import archive, container, hashchain
from gateway.evidence.tests.authorities import BODY, CA_USAGE, NOW, REQUEST, RESPONSE, Authorities, name, signer_of
from gateway.evidence.verifier import verify_container
from gateway.signature import Compact

ALL_CHECKS = [
    "zip", "entries", "form", "message digest", "body digest", "certificate digest", "hash chain", "time-stamp imprint",
    "time-stamp signature", "time order", "signature value", "signing time", "certificate path", "key usage", "member",
    "revocation", "rendering",
]  # fmt: skip


def failed(made: bytes, authorities) -> set[str]:
    return {check.name for check in verify_container(made, authorities.anchor) if not check.ok}


@pytest.mark.parametrize("body", [BODY, b"", bytes(100_000)])
@pytest.mark.parametrize("neighbours", [0, 1, 6])
def test_a_good_container_passes_every_check(authorities, signer, body, neighbours):
    made = authorities.evidence(signer, body=body, neighbours=neighbours).container()
    checks = verify_container(made, authorities.anchor)
    assert [(check.name, check.ok) for check in checks] == [(name, True) for name in ALL_CHECKS]
    assert all(check.said for check in checks)


def test_a_response_is_that_of_the_service_that_gave_it(authorities, welfare):
    civil = signer_of(authorities, "CIVIL")
    assert failed(authorities.evidence(civil, message=RESPONSE).container(), authorities) == set()
    assert failed(authorities.evidence(welfare, message=RESPONSE).container(), authorities) == {"member"}


def test_a_refusal_of_unread_bytes_speaks_for_the_gateways_own_member(authorities, welfare):
    refusal = (
        b"500\r\nInternal Server Error\r\nContent-Type:application/json\r\n"
        b"x-road-error:Server.ServerProxy.InvalidSignatureValue\r\nx-sandroad-refused:AAAA\r\n"
    )
    assert failed(authorities.evidence(welfare, message=refusal).container(), authorities) == set()
    for other in (
        refusal.replace(b"500\r\n", b"GET\r\n"),
        refusal.replace(b"x-road-error", b"x-road-fehler"),
        refusal + b"x-road-service:SANDBOX/GOV/CIVIL/REGISTRY/registry\r\n",
    ):
        assert failed(authorities.evidence(welfare, message=other).container(), authorities) == {"member"}


def test_rendering_is_deterministic(evidence):
    assert evidence.container() == dataclasses.replace(evidence).container()


def test_flipped_bits_in_every_entry_fail(authorities, evidence):
    """A sample; a longer trial of every bit of a whole container (65,560) found none that passes."""
    dice = random.Random(1)
    entries = archive.read(evidence.container())
    for entry, content in entries.items():
        for at in range(dice.randrange(16) % len(content), len(content), 1 if len(content) < 100 else 16):
            flipped = bytearray(content)
            flipped[at] ^= 1 << dice.randrange(8)
            made = archive.write({**entries, entry: bytes(flipped)})
            assert failed(made, authorities), f"byte {at} of {entry}"


def test_a_flipped_bit_in_every_byte_of_the_container_file_fails(authorities, evidence):
    """Headers, directory and contents; that every bit counts is shown in the archive's own tests."""
    made = evidence.container()
    for bit in (at * 8 + (at * 5 + at // 8) % 8 for at in range(len(made))):
        flipped = bytearray(made)
        flipped[bit // 8] ^= 1 << bit % 8
        assert failed(bytes(flipped), authorities), f"bit {bit}"


@pytest.mark.parametrize("entry", container.entry_names(has_body=True))
def test_a_missing_entry_fails(authorities, evidence, entry):
    entries = archive.read(evidence.container())
    del entries[entry]
    assert failed(archive.write(entries), authorities)


@pytest.mark.parametrize("added", ["attachment2", "META-INF/signatures2.xml", "sig-hashchain.xml", "README"])
def test_an_added_entry_fails(authorities, evidence, added):
    entries = archive.read(evidence.container())
    assert "entries" in failed(archive.write({**entries, added: b"x"}), authorities)


def test_entries_in_another_order_fail(authorities, evidence):
    entries = list(archive.read(evidence.container()).items())
    entries[2:4] = reversed(entries[2:4])
    assert "entries" in failed(archive.write(dict(entries)), authorities)


def restamped(authorities, evidence, **changes):
    """Make the same evidence with other values, stamped again: a forger with access to the time-stamping authority."""
    changed = dataclasses.replace(evidence, path=(), **changes)
    leaf = hashlib.sha512(changed.signatures()).digest()
    token = authorities.stamp(hashchain.render_result(hashchain.root_of(leaf, ())))
    return dataclasses.replace(changed, token=token)


def test_stamping_again_is_no_defect_by_itself(authorities, evidence):
    assert failed(restamped(authorities, evidence).container(), authorities) == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"message": REQUEST.replace(b"?x=1", b"?x=2")}, {"signature value"}),
        ({"message": REQUEST.replace(b"WELFARE", b"CIVIL")}, {"signature value", "member"}),
        ({"message": b"\xff\xfe"}, {"signature value", "member"}),
        ({"body": b"other"}, {"signature value"}),
        ({"body": b""}, {"signature value"}),
    ],
)
def test_other_content_fails_even_if_it_is_stamped(authorities, evidence, changes, expected):
    assert failed(restamped(authorities, evidence, **changes).container(), authorities) == expected


def test_another_signing_time_fails(authorities, evidence):
    compact = dataclasses.replace(evidence.compact, t=evidence.compact.t - 1)
    assert failed(restamped(authorities, evidence, compact=compact).container(), authorities) == {"signature value"}


def test_a_certificate_that_was_not_signed_fails(authorities, evidence):
    other = signer_of(authorities)
    made = restamped(authorities, evidence, certificate_der=other.certificate_der).container()
    assert {"certificate digest", "signature value"} <= failed(made, authorities)


def test_a_signature_that_only_claims_the_certificate_fails(authorities, welfare):
    thief = authorities.evidence(signer_of(authorities))
    compact = dataclasses.replace(thief.compact, x5t=welfare.x5t)
    made = restamped(authorities, thief, compact=compact, certificate_der=welfare.certificate_der).container()
    assert "signature value" in failed(made, authorities)


def test_another_member_cannot_speak_for_this_one(authorities):
    assert failed(authorities.evidence(signer_of(authorities, "LANDS")).container(), authorities) == {"member"}
    commerce = signer_of(authorities, member_class="COM")
    assert failed(authorities.evidence(commerce).container(), authorities) == {"member"}


@pytest.mark.parametrize(
    "message",
    [
        REQUEST.replace(b"SANDBOX/GOV/WELFARE", b"OTHER/GOV/WELFARE"),
        REQUEST.replace(b"X-Road-Client:", b"X-Road-Klient:"),
        REQUEST.replace(b"SANDBOX/GOV/WELFARE/CASH-TRANSFER", b"SANDBOX/GOV"),
        REQUEST.replace(b"SANDBOX/GOV/WELFARE/CASH-TRANSFER", b"SANDBOX/GOV/WELF%FFARE"),
        REQUEST + b"X-Road-Client:SANDBOX/GOV/CIVIL/REGISTRY\r\n",
        b"200",
    ],
)
def test_a_message_in_nobodys_or_another_instances_name_fails(authorities, welfare, message):
    assert failed(authorities.evidence(welfare, message=message).container(), authorities) == {"member"}


def test_what_a_message_says_cannot_steer_the_terminal(authorities, welfare):
    message = REQUEST.replace(b"CASH-TRANSFER", b"\x1b[2Jok")
    checks = verify_container(authorities.evidence(welfare, message=message).container(), authorities.anchor)
    assert all(check.said.isprintable() for check in checks)


def test_an_unknown_authority_fails(authorities, evidence):
    stranger = Authorities()
    assert {"certificate path", "time-stamp signature"} <= failed(evidence.container(), stranger)


def test_a_certificate_that_had_expired_when_it_was_stamped_fails(authorities):
    signer = signer_of(authorities, end=NOW - dt.timedelta(hours=1))
    early = authorities.evidence(signer, at=NOW - dt.timedelta(hours=2))
    assert failed(early.container(), authorities) == set()
    late = authorities.evidence(signer, at=NOW - dt.timedelta(hours=2), stamped_at=NOW)
    assert {"certificate path", "revocation"} <= failed(late.container(), authorities)


def test_a_key_that_may_also_authenticate_fails(authorities):
    signer = signer_of(authorities, usage=CA_USAGE)
    assert "key usage" in failed(authorities.evidence(signer).container(), authorities)


def test_a_time_stamp_from_before_the_signature_fails(authorities, welfare):
    within = authorities.evidence(welfare, stamped_at=NOW - dt.timedelta(seconds=59))
    assert failed(within.container(), authorities) == set()
    before = authorities.evidence(welfare, stamped_at=NOW - dt.timedelta(seconds=61))
    assert "time order" in failed(before.container(), authorities)


def certificate_of(signer):
    return x509.load_der_x509_certificate(signer.certificate_der)


def delegate(authorities, purpose):
    key = ec.generate_private_key(ec.SECP256R1())
    return authorities.issue(name(COMMON_NAME="r"), key.public_key(), authorities.ca, None, purpose=purpose), key


def test_a_delegated_responder_is_believed_and_no_other(authorities, welfare):
    for purpose, expected in (("OCSP_SIGNING", set()), ("CLIENT_AUTH", {"revocation"}), (None, {"revocation"})):
        answer = authorities.ocsp(certificate_of(welfare), responder=delegate(authorities, purpose))
        assert failed(authorities.evidence(welfare, ocsp_der=answer).container(), authorities) == expected


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "REVOKED"},
        {"status": "UNKNOWN"},
        {"algorithm": hashes.SHA256()},
        {"at": NOW - dt.timedelta(seconds=3601)},
        {"at": NOW + dt.timedelta(seconds=120)},
    ],
)
def test_an_ocsp_answer_that_is_not_good_fresh_and_x_roads_fails(authorities, welfare, answer):
    der = authorities.ocsp(certificate_of(welfare), **answer)
    assert failed(authorities.evidence(welfare, ocsp_der=der).container(), authorities) == {"revocation"}


def test_an_ocsp_answer_about_another_certificate_or_of_another_authority_fails(authorities, welfare):
    other = certificate_of(signer_of(authorities))
    stranger = Authorities()
    for der in (authorities.ocsp(other), stranger.ocsp(certificate_of(welfare)), b"", b"\x30\x00"):
        assert failed(authorities.evidence(welfare, ocsp_der=der).container(), authorities) == {"revocation"}


def test_a_message_that_is_not_in_the_batch_fails(authorities, welfare, evidence):
    other = authorities.evidence(welfare, body=b"another")
    made = dataclasses.replace(evidence, path=other.path, token=other.token).container()
    assert {"time-stamp imprint", "time-stamp signature"} <= failed(made, authorities)


def test_a_chain_of_another_signature_is_named_as_such(authorities, welfare, evidence):
    """Not only the comparison at the end notices: each check stands by itself."""
    entries = archive.read(evidence.container())
    other = archive.read(authorities.evidence(welfare, body=b"another").container())
    assert "hash chain" in failed(archive.write({**entries, container.CHAIN: other[container.CHAIN]}), authorities)
    assert "hash chain" in failed(
        archive.write({**entries, container.CHAIN_RESULT: other[container.CHAIN_RESULT]}), authorities
    )
    checks = verify_container(archive.write({**entries, container.CHAIN: other[container.CHAIN]}), authorities.anchor)
    assert "is not the leaf of the chain" in next(check.said for check in checks if check.name == "hash chain")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'Id="sig"', b'Id="sig" '),
        (b"<xades:UnsignedProperties>", b"<xades:UnsignedProperties><!-- -->"),
        (b"#ecdsa-sha256", b"#ecdsa-sha512"),
        (b"#ecdsa-sha256", b"#hmac-sha1"),
        (b"/message.xml", b"/message.xmk"),
        (b".000Z", b".00Z"),
        (b"</asic:XAdESSignatures>", b"</asic:XAdESSignatures>\n"),
        (b"<ds:X509Certificate>", b"<ds:X509Certificate>!"),
        (b"<?xml", b'<!DOCTYPE a [<!ENTITY b "b">]><?xml'),
    ],
)
def test_another_spelling_of_the_signature_fails(authorities, evidence, old, new):
    entries = archive.read(evidence.container())
    signatures = entries[container.SIGNATURES]
    assert old in signatures
    assert failed(archive.write({**entries, container.SIGNATURES: signatures.replace(old, new)}), authorities)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_hostile_entries_give_failed_checks_and_never_an_error(authorities, evidence, data):
    entries = archive.read(evidence.container())
    entry = data.draw(st.sampled_from(list(entries)[1:]))
    content = bytearray(entries[entry])
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    expected_to_pass = bytes(content) == entries[entry]
    assert bool(failed(archive.write({**entries, entry: bytes(content)}), authorities)) != expected_to_pass


@given(st.binary(max_size=300))
def test_hostile_files_give_failed_checks_and_never_an_error(authorities, data):
    for made in (data, b"PK\x03\x04" + data, archive.write({"mimetype": archive.MIMETYPE}) + data):
        assert failed(made, authorities)


def test_a_huge_signature_file_is_not_searched(authorities, evidence):
    entries = archive.read(evidence.container())
    entries[container.SIGNATURES] = b'<ds:Reference Id="r0"' * 100_000
    assert "form" in failed(archive.write(entries), authorities)


def test_values_that_no_signer_makes_fail(authorities, evidence):
    for compact in (Compact("ES256", 0, b"", b""), Compact("RS512", 253402300799999, bytes(40), bytes(5000))):
        assert "signature value" in failed(restamped(authorities, evidence, compact=compact).container(), authorities)


def test_other_certificate_values_are_evidence_of_something_else(authorities, evidence):
    stranger = Authorities()
    changed = dataclasses.replace(evidence, ca_ders=(stranger.ca.public_bytes(Encoding.DER),))
    assert "time-stamp imprint" in failed(changed.container(), authorities)
