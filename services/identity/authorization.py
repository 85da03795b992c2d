"""The authorisation request (OpenID Connect Core 3.1.2): read and judged; pure."""

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from sandroad.problems import Refusal
from services.identity.domain import GENERATED_CODE, SCOPE_CLAIMS, RelyingParty

KNOWN_SCOPES = ("openid", *SCOPE_CLAIMS, "offline_access")
PROMPTS = ("none", "login", "consent", "select_account")
DISPLAYS = ("page", "popup", "touch", "wap")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
LONGEST = {"state": 256, "nonce": 512, "claims": 8192}
LONGEST_OTHER = 1024


class UnknownClient(Refusal):
    """No relying party of that id is registered and active; told on a page: there is no safe place to redirect to."""

    code = "unknown_client"


class RedirectUriNotRegistered(Refusal):
    """The redirect URI is not one of the client's; told on a page: redirecting would make this an open redirector."""

    code = "redirect_uri_not_registered"


class AuthorizationRefusal(Refusal):
    """What is told to the relying party by redirect; ``code`` is OAuth's or OIDC's."""

    code = "invalid_request"


class UnsupportedResponseType(AuthorizationRefusal):
    code = "unsupported_response_type"


class InvalidScope(AuthorizationRefusal):
    code = "invalid_scope"


class RequestNotSupported(AuthorizationRefusal):
    code = "request_not_supported"


class RequestUriNotSupported(AuthorizationRefusal):
    code = "request_uri_not_supported"


class RegistrationNotSupported(AuthorizationRefusal):
    code = "registration_not_supported"


class LoginRequired(AuthorizationRefusal):
    code = "login_required"


class UnmetAuthenticationRequirements(AuthorizationRefusal):
    """None of the demanded authentication contexts can be given (OpenID Connect Core Unmet Authentication Requirements)."""

    code = "unmet_authentication_requirements"


class LoginDenied(AuthorizationRefusal):
    """The person said no, or could not prove who they are."""

    code = "access_denied"


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a relying party asked for, judged. ``claims`` are those it may see beyond ``sub``, in a stable order."""

    client_id: str
    redirect_uri: str
    scope: str
    state: str = ""
    nonce: str = ""
    code_challenge: str = ""
    acr: str = GENERATED_CODE
    claims: tuple[str, ...] = ()
    claims_locales: tuple[str, ...] = ()
    wanted_sub: str = ""

    def to_json(self) -> str:
        """Return the request as it is stored with the login."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "AuthorizationRequest":
        """Return a stored request."""
        kept: dict[str, Any] = json.loads(text)
        for name in ("claims", "claims_locales"):
            kept[name] = tuple(kept[name])
        return cls(**kept)


def repeated(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the name of a parameter that appears twice (RFC 6749 §3.1 forbids it), or ''."""
    counted = Counter(name for name, _ in pairs)
    return next((name for name, count in counted.items() if count > 1), "")


def check_redirect_uri(given: str, party: RelyingParty) -> str:
    """Return the redirect URI if it equals a registered one, character by character (RFC 9700 §2.1)."""
    if given not in party.redirect_uris:
        raise RedirectUriNotRegistered(f"the redirect_uri is not one that {party.name} has registered")
    return given


def read_request(given: Mapping[str, str], party: RelyingParty) -> AuthorizationRequest:
    """Return the judged request; raise an ``AuthorizationRefusal`` that the relying party is told by redirect."""
    _refuse_unsupported(given)
    scope = _scope(given.get("scope", ""))
    wanted = _claims_parameter(given.get("claims", ""))
    return AuthorizationRequest(
        client_id=party.client_id,
        redirect_uri=given["redirect_uri"],
        scope=" ".join(scope),
        state=given.get("state", ""),
        nonce=given.get("nonce", ""),
        code_challenge=_challenge(given),
        acr=_acr(given.get("acr_values", ""), wanted, party),
        claims=_claims(scope, wanted, party),
        claims_locales=tuple(given.get("claims_locales", "").split()[:10]),
        wanted_sub=_wanted_sub(wanted),
    )


def _refuse_unsupported(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if len(value) > LONGEST.get(name, LONGEST_OTHER):
            raise AuthorizationRefusal(f"{name} is longer than {LONGEST.get(name, LONGEST_OTHER)} characters")
        if "\0" in value:
            raise AuthorizationRefusal(f"{name} contains a NUL character")
    if "request" in given:
        raise RequestNotSupported("request objects are not taken here; send plain parameters")
    if "request_uri" in given:
        raise RequestUriNotSupported("request_uri is not taken here; send plain parameters")
    if "registration" in given:
        raise RegistrationNotSupported("clients are registered by the administrator")
    if not given.get("response_type"):
        raise AuthorizationRefusal("response_type is missing; the only one here is code")
    if given["response_type"] != "code":
        raise UnsupportedResponseType("the only response_type here is code")
    if given.get("response_mode", "query") != "query":
        raise AuthorizationRefusal("the only response_mode here is query")
    if given.get("display", "page") not in DISPLAYS:
        raise AuthorizationRefusal(f"display is one of {', '.join(DISPLAYS)}")
    if not re.fullmatch(r"\d{0,9}", given.get("max_age", "")):
        raise AuthorizationRefusal("max_age is a whole number of seconds")
    prompts = given.get("prompt", "").split()
    if unknown := [prompt for prompt in prompts if prompt not in PROMPTS]:
        raise AuthorizationRefusal(f"prompt is any of {', '.join(PROMPTS)}, not {unknown[0][:40]}")
    if "none" in prompts:
        if len(prompts) > 1:
            raise AuthorizationRefusal("prompt none stands alone")
        raise LoginRequired("there is no session here: every login asks the person")


def _scope(text: str) -> list[str]:
    scope = list(dict.fromkeys(text.split()))
    if "openid" not in scope:
        raise InvalidScope("scope must contain openid")
    if unknown := [each for each in scope if each not in KNOWN_SCOPES]:
        raise InvalidScope(f"scope {unknown[0][:40]} is not one of {', '.join(KNOWN_SCOPES)}")
    return scope


def _challenge(given: Mapping[str, str]) -> str:
    challenge, method = given.get("code_challenge", ""), given.get("code_challenge_method", "")
    if not challenge:
        if method:
            raise AuthorizationRefusal("code_challenge_method comes without code_challenge")
        return ""
    # RFC 7636 §4.3: a missing method means plain, which protects nothing once the request is seen.
    if method != "S256":
        raise AuthorizationRefusal("the only code_challenge_method here is S256")
    if not CHALLENGE.fullmatch(challenge):
        raise AuthorizationRefusal("code_challenge is not the 43 characters of a base64url SHA-256 digest")
    return challenge


def _claims_parameter(text: str) -> dict[str, dict[str, Any]]:
    """Return the members ``userinfo`` and ``id_token`` of the claims parameter (OpenID Connect Core 5.5)."""
    if not text:
        return {}
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as defect:
        raise AuthorizationRefusal("claims is not JSON") from defect
    if not isinstance(parsed, dict):
        raise AuthorizationRefusal("claims is a JSON object")
    wanted = {}
    for place in ("userinfo", "id_token"):
        members = parsed.get(place) or {}
        if not isinstance(members, dict) or not all(v is None or isinstance(v, dict) for v in members.values()):
            raise AuthorizationRefusal(f"claims.{place} is a JSON object of null or objects")
        wanted[place] = {name: value or {} for name, value in members.items()}
    return wanted


def _claims(scope: list[str], wanted: Mapping[str, Mapping[str, Any]], party: RelyingParty) -> tuple[str, ...]:
    """Return the claims asked for that the client may request; others are left out, as OIDC Core 5.5.1 has it."""
    asked = {claim for each in scope for claim in SCOPE_CLAIMS.get(each, ())} | set(wanted.get("userinfo", ()))
    return tuple(claim for claim in dict.fromkeys(party.user_claims) if claim in asked)


def _acr(text: str, wanted: Mapping[str, Mapping[str, Any]], party: RelyingParty) -> str:
    """Return the authentication context that will be used: the one that is real here, if it is among the wanted."""
    values = text.split()
    demanded = wanted.get("id_token", {}).get("acr", {})
    if demanded.get("essential"):
        listed = demanded.get("values") or [demanded.get("value")]
        values = [str(v) for v in listed if v] if isinstance(listed, list) else []
        values = values or [GENERATED_CODE]
    if values and GENERATED_CODE not in values:
        raise UnmetAuthenticationRequirements(f"what can be given here is {GENERATED_CODE}")
    if GENERATED_CODE not in party.acr_values:
        raise UnmetAuthenticationRequirements(f"this client is not registered for {GENERATED_CODE}")
    return GENERATED_CODE


def _wanted_sub(wanted: Mapping[str, Mapping[str, Any]]) -> str:
    for place in ("id_token", "userinfo"):
        value = wanted.get(place, {}).get("sub", {}).get("value")
        if value:
            return str(value)[:255]
    return ""


def verifier_fits(verifier: str, challenge: str) -> bool:
    """Tell whether a PKCE verifier belongs to an S256 challenge (RFC 7636 §4.6)."""
    if not VERIFIER.fullmatch(verifier):
        return False
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode() == challenge


def answer_url(redirect_uri: str, **answer: str) -> str:
    """Return the redirect URI with the answer added to its query; empty values are left out."""
    parts = urlsplit(redirect_uri)
    added = urlencode({name: value for name, value in answer.items() if value})
    return urlunsplit(parts._replace(query="&".join(part for part in (parts.query, added) if part)))
