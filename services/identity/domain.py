"""Persons, relying parties and the numbers that stand for persons: pure rules, no HTTP, no SQL, no clock."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandroad.problems import Refusal

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INDIVIDUAL_ID = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,39}")
FUNCTIONAL_ID = re.compile(r"[A-Z]{2}[0-9]{2}-[A-Z2-7]{14}[0-9A-Z]")
GENERATED_CODE = "idbb:acr:generated-code"
SCOPE_CLAIMS: dict[str, tuple[str, ...]] = {
    "profile": (
        "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "picture", "gender",
        "birthdate", "zoneinfo", "locale",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}  # fmt: skip
CLAIM_WORDS = {
    "name": "Full name",
    "given_name": "Given name",
    "family_name": "Family name",
    "middle_name": "Middle name",
    "nickname": "Nickname",
    "preferred_username": "User name",
    "picture": "Photograph",
    "gender": "Gender",
    "birthdate": "Date of birth",
    "zoneinfo": "Time zone",
    "locale": "Preferred language",
    "email": "E-mail address",
    "email_verified": "Whether the e-mail address was verified",
    "address": "Address",
    "phone_number": "Phone number",
    "phone_number_verified": "Whether the phone number was verified",
}
TWO_LETTERS = {"eng": "en", "fra": "fr", "spa": "es", "por": "pt", "ara": "ar", "swa": "sw", "hin": "hi", "rus": "ru"}
KEPT_CLAIMS = (
    "name", "given_name", "family_name", "preferred_username", "gender", "birthdate", "locale", "email",
    "email_verified", "address", "phone_number", "phone_number_verified",
)  # fmt: skip


class IndividualDiffers(Refusal):
    """Somebody with this document number is enrolled with other data; process UPDATE changes them."""

    code = "individual_differs"


class UnknownIndividual(Refusal):
    """Nobody is enrolled with this document number."""

    code = "unknown_individual"


class CodeNotSent(Refusal):
    """The one-time code could not be handed to messaging."""

    code = "code_not_sent"


@dataclass(frozen=True)
class Individual:
    """A person. ``individual_id`` is the number of their document; ``claims`` are OIDC claims without ``sub``."""

    individual_id: str
    document_type: str
    claims: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The full name."""
        return str(self.claims.get("name", ""))

    @property
    def fingerprint(self) -> str:
        """A digest of everything that is kept, to tell a repetition from a change."""
        content = json.dumps([self.document_type, self.claims], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class RelyingParty:
    """A registered OIDC client. ``subject_group`` (GovStack's relyingPartyId) shares one pairwise ``sub`` per person."""

    client_id: str
    name: str
    subject_group: str
    logo_uri: str
    redirect_uris: tuple[str, ...]
    acr_values: tuple[str, ...]
    user_claims: tuple[str, ...]
    public_key: Mapping[str, Any]
    programmes: tuple[str, ...] = ()
    userinfo_encryption: str = ""
    active: bool = True


def individual_id_of(text: str) -> str:
    """Return a document number as it is kept: capitals, without spaces."""
    return re.sub(r"\s+", "", text).upper()


def is_individual_id(text: str) -> bool:
    """Tell whether ``text`` can be the number of a document at all."""
    return bool(INDIVIDUAL_ID.fullmatch(text))


def check_character(text: str) -> str:
    """Return the ISO 7064 MOD 37,36 check character of capitals and digits; it notices any one wrong character."""
    product = 36
    for character in text:
        product = ((product + ALPHANUMERIC.index(character)) % 36 or 36) * 2 % 37
    return ALPHANUMERIC[(37 - product) % 36]


def new_functional_id(programme: str) -> str:
    """Return a new random functional id of ``programme`` (``CT-01``): exactly 20 characters, ``CT01-`` + 14 + check."""
    prefix = programme.replace("-", "")
    body = "".join(secrets.choice(BASE32) for _ in range(14))
    return f"{prefix}-{body}{check_character(prefix + body)}"


def is_functional_id(text: str) -> bool:
    """Tell whether ``text`` has the form and the check character of a functional id."""
    return bool(FUNCTIONAL_ID.fullmatch(text)) and check_character(text[:-1].replace("-", "")) == text[-1]


def one_time_code(secret: bytes, counter: int) -> str:
    """Return the HOTP value of six digits (RFC 4226 §5.3)."""
    digest = hmac.new(secret, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def from_batch_row(row: Mapping[str, Any]) -> Individual:
    """Return the person of a checked row of ``POST /enrollment/batch``; empty members are left out."""
    name = row["name"]
    full_name = " ".join(part for part in (name["given_name"], name.get("family_name")) if part)
    address = {key: value for key, value in (row.get("address") or {}).items() if value}
    claims = {
        "name": full_name,
        **{key: name[key] for key in ("given_name", "family_name") if name.get(key)},
        **{
            key: row[key]
            for key in ("birthdate", "gender", "phone_number", "email", "preferred_username", "locale")
            if row.get(key)
        },
    }
    if address:
        claims["address"] = address
    return Individual(individual_id_of(row["individualId"]), row["documentType"], claims)


def from_enrollment(request: Mapping[str, Any]) -> Individual:
    """Return the person of a checked ``PUT /enrollment`` (GovStack Identity 7.3.1), whose texts may carry languages."""
    fields = request["fields"]
    names = by_language(fields["fullName"])
    claims: dict[str, Any] = {"name": next(iter(names.values()))}
    if any(language for language in names):
        claims["names"] = {language: text for language, text in names.items() if language}
    for field, claim in (("dateOfBirth", "birthdate"), ("phone", "phone_number"), ("email", "email"),
                         ("preferredUsername", "preferred_username")):  # fmt: skip
        if fields.get(field):
            claims[claim] = fields[field]
    if fields.get("gender"):
        claims["gender"] = next(iter(by_language(fields["gender"]).values()))
    address = {}
    if fields.get("city"):
        address["locality"] = next(iter(by_language(fields["city"]).values()))
    if fields.get("postalCode"):
        address["postal_code"] = fields["postalCode"]
    if address:
        claims["address"] = address
    return Individual(individual_id_of(request["id"]), fields.get("documentType", "other"), claims)


def by_language(text: str) -> dict[str, str]:
    """Return ``{"en": "…"}`` of GovStack's JSON list of {language, value} in a string; plain text has the language ''.

    Three-letter codes become the two letters of BCP 47 where there are any that we know.
    """
    if not text.lstrip().startswith("["):
        return {"": text.strip()}
    try:
        entries = json.loads(text)
        pairs = [(str(entry["language"]), str(entry["value"])) for entry in entries if entry["value"]]
        found = {TWO_LETTERS.get(language, language): value for language, value in pairs}
    except (ValueError, KeyError, TypeError, RecursionError):
        found = {}
    return found or {"": text.strip()}


def disclosed(individual: Individual, claims: Sequence[str], locales: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``claims`` that are kept; ``name#en`` beside ``name`` where a language was asked for and kept."""
    found: dict[str, Any] = {}
    for claim in claims:
        if claim == "email_verified":
            found[claim] = "email" in individual.claims
        elif claim == "phone_number_verified":
            found[claim] = "phone_number" in individual.claims
        elif claim in individual.claims and claim in CLAIM_WORDS:
            found[claim] = individual.claims[claim]
    if "name" in found:
        names = individual.claims.get("names", {})
        found |= {f"name#{language}": names[language] for language in locales if language in names}
    return found
