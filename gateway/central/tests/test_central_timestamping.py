"""Time-stamps verify with openssl, whatever the query asks for; a query that cannot be granted is rejected with its reason."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from asn1crypto import cms, tsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.central.authority import open_authority, pem
from gateway.central.testing import CentralUnderTest
from gateway.central.timestamping import POLICY, TimeStampingAuthority

HEADERS = {"Content-Type": "application/timestamp-query"}
STAMPED = b"what was there at that moment"


def query(folder: Path, *options: str) -> bytes:
    (folder / "data").write_bytes(STAMPED)
    command = ["openssl", "ts", "-query", "-data", "data", "-out", "query.tsq", *options]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return (folder / "query.tsq").read_bytes()


def stamp(central: CentralUnderTest, asked: bytes) -> bytes:
    answer = requests.post(f"{central.url}/timestamp", data=asked, headers=HEADERS, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/timestamp-reply")
    return answer.content


def verifies(central: CentralUnderTest, folder: Path, reply: bytes, *options: str) -> bool:
    (folder / "reply.tsr").write_bytes(reply)
    (folder / "ca.pem").write_text(pem(central.authority.ca.certificate))
    (folder / "tsa.pem").write_text(pem(central.authority.tsa.certificate))
    what = options or ("-queryfile", "query.tsq", "-in", "reply.tsr")
    command = ["openssl", "ts", "-verify", *what, "-CAfile", "ca.pem", "-untrusted", "tsa.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "Verification: OK" in done.stdout


def rejection(reply: bytes) -> set[str]:
    """Return the failure info of a reply without a token."""

    class WithoutToken(tsp.Sequence):
        _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012

    status = WithoutToken.load(reply, strict=True)["status"]
    assert status["status"].native == "rejection"
    assert status["status_string"].native
    failures: set[str] = status["fail_info"].native
    return failures


def info_of(reply: bytes) -> tuple[tsp.TSTInfo, cms.SignedData]:
    token = tsp.TimeStampResp.load(reply, strict=True)["time_stamp_token"]["content"]
    return token["encap_content_info"]["content"].parsed, token


@pytest.mark.parametrize("digest", ["-sha256", "-sha384", "-sha512"])
@pytest.mark.parametrize("certificate", [[], ["-cert"]], ids=["without certificate", "with certificate"])
@pytest.mark.parametrize("nonce", [[], ["-no_nonce"]], ids=["nonce", "no nonce"])
def test_openssl_verifies_a_stamp(
    central: CentralUnderTest, tmp_path: Path, digest: str, certificate: list[str], nonce: list[str]
) -> None:
    reply = stamp(central, query(tmp_path, digest, *certificate, *nonce))
    assert verifies(central, tmp_path, reply)
    info, token = info_of(reply)
    assert (info["nonce"].native is None) == bool(nonce)
    assert len(token["certificates"] or ()) == len(certificate)


def test_openssl_verifies_the_bare_token_over_the_data(central: CentralUnderTest, tmp_path: Path) -> None:
    reply = stamp(central, query(tmp_path, "-sha512", "-cert"))
    (tmp_path / "token.tst").write_bytes(tsp.TimeStampResp.load(reply)["time_stamp_token"].dump())
    assert verifies(central, tmp_path, reply, "-data", "data", "-in", "token.tst", "-token_in")
    (tmp_path / "data").write_bytes(STAMPED + b"!")
    assert not verifies(central, tmp_path, reply, "-data", "data", "-in", "token.tst", "-token_in")


def test_a_stamp_bears_the_real_time_and_a_serial_of_its_own(central: CentralUnderTest, tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    infos = [info_of(stamp(central, query(tmp_path)))[0] for _ in range(5)]
    assert all(before <= info["gen_time"].native <= datetime.now(UTC) for info in infos)
    assert len({info["serial_number"].native for info in infos}) == 5
    assert all(info["serial_number"].native.bit_length() == 159 for info in infos)


def test_a_stamp_is_strict_der_with_sorted_sets(central: CentralUnderTest, tmp_path: Path) -> None:
    reply = stamp(central, query(tmp_path, "-cert"))
    parsed = tsp.TimeStampResp.load(reply, strict=True)
    assert parsed.dump(force=True) == reply
    attributes = info_of(reply)[1]["signer_infos"][0]["signed_attrs"]
    encoded = [attribute.dump() for attribute in attributes]
    assert encoded == sorted(encoded)
    names = {attribute["type"].native for attribute in attributes}
    assert names == {"content_type", "message_digest", "signing_certificate_v2"}


@pytest.mark.parametrize("microsecond", [0, 100_000, 120_000, 123_456, 999])
def test_fractions_of_a_second_are_written_as_der_wants_them(tmp_path: Path, microsecond: int) -> None:
    """RFC 3161 §2.4.2: no trailing zeros, and no point without a fraction."""
    moment = datetime.now(UTC).replace(microsecond=microsecond)
    authority = TimeStampingAuthority(open_authority(tmp_path, "SANDBOX", "QZ").tsa, lambda: moment)
    written = info_of(authority.answer(query(tmp_path)))[0]["gen_time"].contents.decode()
    fraction = f"{microsecond // 1000:03d}".rstrip("0")
    assert written == f"{moment:%Y%m%d%H%M%S}" + (f".{fraction}" if fraction else "") + "Z"


def changed(asked: bytes, **values: Any) -> bytes:
    request = tsp.TimeStampReq.load(asked)
    for name, value in values.items():
        request[name] = value
    return request.dump(force=True)


def imprint(algorithm: str, digest: bytes) -> dict[str, Any]:
    return {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": digest}


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "SHA-1": ({"message_imprint": imprint("sha1", b"\1" * 20)}, "bad_alg"),
    "a digest too short": ({"message_imprint": imprint("sha256", b"\1" * 31)}, "bad_data_format"),
    "a digest of another hash": ({"message_imprint": imprint("sha512", b"\1" * 32)}, "bad_data_format"),
    "another policy": ({"req_policy": "1.2.3.4"}, "unaccepted_policy"),
    "an endless nonce": ({"nonce": 1 << 600}, "bad_request"),
    "an extension": (
        {"extensions": [{"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\x00"}]},
        "unaccepted_extensions",
    ),
}


@pytest.mark.parametrize(("values", "failure"), REJECTED.values(), ids=REJECTED.keys())
def test_a_query_that_cannot_be_granted_is_rejected_with_its_reason(
    central: CentralUnderTest, tmp_path: Path, values: dict[str, Any], failure: str
) -> None:
    assert rejection(stamp(central, changed(query(tmp_path), **values))) == {failure}


def test_another_version_of_the_query_is_rejected(central: CentralUnderTest, tmp_path: Path) -> None:
    asked = query(tmp_path)
    at = asked.index(b"\x02\x01\x01")
    assert rejection(stamp(central, asked[:at] + b"\x02\x01\x02" + asked[at + 3 :])) <= {
        "bad_request",
        "bad_data_format",
    }


def test_the_authoritys_own_policy_may_be_asked_for(central: CentralUnderTest, tmp_path: Path) -> None:
    assert verifies(central, tmp_path, stamp(central, query(tmp_path, "-tspolicy", POLICY)))


@pytest.mark.parametrize("asked", [b"", b"x", b"\x30\x00", b"\x30\x80" * 50, b"\0" * 70_000], ids=range(5))
def test_what_is_no_query_is_rejected(central: CentralUnderTest, asked: bytes) -> None:
    assert rejection(stamp(central, asked)) == {"bad_data_format"}


def test_bytes_after_the_query_are_rejected(central: CentralUnderTest, tmp_path: Path) -> None:
    assert rejection(stamp(central, query(tmp_path) + b"\0")) == {"bad_data_format"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_query_is_a_fault(tmp_path: Path, data: st.DataObject) -> None:
    authority = TimeStampingAuthority(open_authority(tmp_path, "SANDBOX", "QZ").tsa, lambda: datetime.now(UTC))
    good = changed(tsp.TimeStampReq({"version": 1, "message_imprint": imprint("sha256", b"\1" * 32)}).dump(), nonce=7)
    at = data.draw(st.integers(0, len(good) - 1))
    assert authority.answer(good[:at] + data.draw(st.binary(max_size=3)) + good[at + 1 :])
