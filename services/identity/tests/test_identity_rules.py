"""The pure rules: check characters, one-time codes, rights, and that code, contract and catalogue agree."""

import base64
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from sandroad.callers import Caller
from sandroad.contracts import Contract
from sandroad.problems import AccessDenied, Refusal
from sandroad.testing import ROOT
from services.identity import domain
from services.identity.authorization import AuthorizationRequest, repeated
from services.identity.domain import RelyingParty, check_character, is_functional_id, new_functional_id, one_time_code
from services.identity.keys import KeyRing
from services.identity.login import Outcome, begin_login
from services.identity.rights import Rights
from services.identity.routes import make_routes
from services.identity.tokens import InvalidToken, Session, TokenMint, verify_assertion

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_check_character_is_iso_7064_mod_37_36() -> None:
    # The example of the GRid standard, which uses the same scheme.
    assert check_character("A12425GABC1234002") == "M"


@given(st.integers(0, 19), st.sampled_from(domain.ALPHANUMERIC))
def test_a_functional_id_notices_one_wrong_character(place: int, character: str) -> None:
    number = new_functional_id("CT-01")
    assert len(number) == 20 and number.startswith("CT01-") and is_functional_id(number)
    spoilt = number[:place] + character + number[place + 1 :]
    assert is_functional_id(spoilt) == (spoilt == number)


def test_one_time_codes_are_those_of_rfc_4226() -> None:
    expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [one_time_code(b"12345678901234567890", counter) for counter in range(10)] == expected


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("POST /functional-ids/resolve", True),
        ("* /functional-ids/**", True),
        ("**", True),
        ("POST /functional-ids/*", True),
        ("GET /functional-ids/resolve", False),
        ("POST /functional-ids", False),
        ("POST /functional-ids/*/x", False),
        ("POST /functional.ids/resolve", False),
        ("*", False),
    ],
)
def test_rights_are_patterns_of_method_and_path(pattern: str, allowed: bool) -> None:
    rights = Rights("SANDBOX", [{"subject": "GOV/CIVIL/REGISTRY", "allow": [pattern]}])
    caller = Caller("SANDBOX/GOV/CIVIL/REGISTRY", "gateway")
    if allowed:
        rights.require(caller, "POST", "/functional-ids/resolve")
    else:
        with pytest.raises(AccessDenied):
            rights.require(caller, "POST", "/functional-ids/resolve")


def test_every_operation_of_the_contract_is_answered() -> None:
    contract = Contract.load(ROOT / "contracts" / "identity" / "openapi.yaml")
    bound = [name for routes in make_routes(contract) for name in routes.bound]
    assert sorted(bound) == sorted(contract.operations)


def test_every_refusal_is_in_the_catalogue() -> None:
    catalogue = yaml.safe_load((ROOT / "contracts" / "problems.yaml").read_text(encoding="utf-8"))

    def below(kind: type[Refusal]) -> set[type[Refusal]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    codes = {kind.code for kind in below(Refusal) if kind.__module__.startswith("services.identity")}
    assert codes and codes <= set(catalogue)


def test_a_number_that_nobody_has_signs_nobody_in_even_with_the_code() -> None:
    login = begin_login(AuthorizationRequest("c", "https://c.example/cb", "openid"), "browser", 1000.0, 900.0)
    for individual_id, outcome in (("", Outcome.WRONG), ("QZ1000000017", Outcome.RIGHT)):
        sent = login.with_code("QZ1000000017", individual_id, 1000.0, 180.0)
        assert sent.try_code(sent.code, 1001.0, 5)[1] is outcome


def test_an_id_token_is_no_access_token_even_with_the_id_of_one(signing_keys: Path) -> None:
    mint = TokenMint("https://id.example", KeyRing(signing_keys, "https://id.example", datetime.now(UTC)))
    session = Session("sub", "c", "acr", 1000, "nonce", "openid")
    access = mint.access_token(session, "t-1", 1000.0, 600)
    assert mint.read_access_token(access, 1100.0) == "t-1"
    with pytest.raises(InvalidToken):
        mint.read_access_token(mint.id_token(session, access, 1000.0, 600), 1100.0)
    with pytest.raises(InvalidToken):
        mint.read_access_token(access, 1600.0)


def test_keys_are_made_once_private_and_renewed_in_time(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = KeyRing(tmp_path, "https://id.example", now)
    again = KeyRing(tmp_path, "https://id.example", now)
    assert first.signing.kid == again.signing.kid and len(again.keys) == 1
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    later = KeyRing(tmp_path, "https://id.example", now + timedelta(days=700))
    assert len(later.keys) == 2 and later.signing.kid != first.signing.kid
    assert later.find(first.signing.kid) is not None, "tokens that the old key signed still verify"


def test_a_request_of_very_many_parameters_is_judged_at_once() -> None:
    pairs = [(f"p{number}", "") for number in range(30_000)]
    began = time.process_time()
    assert repeated(pairs) == ""
    assert repeated([*pairs, ("p29999", "")]) == "p29999"
    assert time.process_time() - began < 2


def test_an_assertion_without_an_id_is_the_same_with_the_other_signature_of_ecdsa() -> None:
    key, now = ECKey.generate_key("P-256"), time.time()
    party = RelyingParty("c", "C", "g", "", (), (), (), key.as_dict(private=False))
    claims = {"iss": "c", "sub": "c", "aud": "x", "iat": int(now), "exp": int(now) + 60}
    signed, _, signature = jwt.encode({"alg": "ES256"}, claims, key, algorithms=["ES256"]).rpartition(".")
    r, s = (base64.urlsafe_b64decode(signature + "==")[part] for part in (slice(32), slice(32, 64)))
    # Whoever has (r, s) can make (r, n - s), which verifies too: a used assertion must not count as a new one.
    other = r + (P256_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    both = [signature, base64.urlsafe_b64encode(other).rstrip(b"=").decode()]
    ids = {verify_assertion(f"{signed}.{each}", party, ("x",), now).assertion_id for each in both}
    assert both[0] != both[1] and len(ids) == 1
