"""Whose message it is: the member that the signed headers name against the member that the certificate was issued to.

Without this comparison any member could sign as any other: a signature proves a key, and only the subject makes it a name.
"""

import re
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

_STATUS = re.compile(r"\d{3}(?=\r\n|$)")


class OtherMember(ValueError):
    """The certificate's member is not the one in whose name the message speaks."""


def refused_bytes(message: bytes) -> str | None:
    """Return what a gateway's refusal of unverifiable bytes names: their SHA-512; None for any other message.

    Nothing of such bytes was read, so the refusal speaks for nobody but the gateway's own member.
    """
    headers = {
        name.lower(): value for name, _, value in (line.partition(":") for line in message.decode().split("\r\n"))
    }
    if "x-road-error" not in headers or "x-road-service" in headers or not _STATUS.match(message.decode()):
        return None
    return headers.get("x-sandroad-refused")


def speaker(message: bytes) -> tuple[str, str]:
    """Return the header that names who speaks, and its value: X-Road-Client of a request, x-road-service of a response.

    Of several such headers the last one counts, as in X-Road. ``OtherMember`` if there is none.
    """
    lines = message.decode().split("\r\n")
    name = "x-road-service" if _STATUS.match(message.decode()) else "x-road-client"
    values = [value for header, _, value in (line.partition(":") for line in lines[2:]) if header.lower() == name]
    if not values:
        raise OtherMember(f"the message has no {name}, so nobody speaks in it")
    return name, values[-1]


def speaking_member(message: bytes) -> tuple[str, list[str]]:
    """Return the header that names who speaks, and the member in it: instance, class, code."""
    header, identifier = speaker(message)
    parts = [unquote(part, errors="strict") for part in identifier.split("/")]
    if not (3 <= len(parts) <= 5 and all(parts)):
        raise OtherMember(f"{header} {identifier!r} is no identifier of instance, class, code …")
    return header, parts[:3]


def check_member(message: bytes, certificate: x509.Certificate, instance: str) -> str:
    """Return what was compared, or raise ``OtherMember``.

    X-Road's basic certificate profile: businessCategory is the member class, serialNumber the member code.
    """
    member_class = only(certificate, NameOID.BUSINESS_CATEGORY, "businessCategory")
    code = only(certificate, NameOID.SERIAL_NUMBER, "serialNumber")
    refused = refused_bytes(message)
    if refused is not None:
        return f"the gateway of {instance}/{member_class}/{code} refused, in its own name, the bytes {refused[:16]}…"
    header, speaks = speaking_member(message)
    if speaks != [instance, member_class, code]:
        raise OtherMember(f"{header} is of {'/'.join(speaks)}, the certificate of {instance}/{member_class}/{code}")
    return f"{header} is of {'/'.join(speaks)}, and so is the certificate: businessCategory, serialNumber"


def only(certificate: x509.Certificate, oid: x509.ObjectIdentifier, name: str) -> str:
    """Return an attribute of the subject that stands in it exactly once."""
    values = certificate.subject.get_attributes_for_oid(oid)
    if len(values) != 1:
        raise OtherMember(f"the certificate's subject has {len(values)} times {name}, X-Road's profile has it once")
    return str(values[0].value)
