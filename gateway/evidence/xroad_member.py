"""Whose message an X-Road container holds: REST or SOAP, under the basic or the Finnish certificate profile."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.evidence.canonical import Element, parse
from gateway.evidence.subject import OtherMember, only, speaking_member

XROAD, IDENTIFIERS = "http://x-road.eu/xsd/xroad.xsd", "http://x-road.eu/xsd/identifiers"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def check_foreign_member(message: bytes, certificate: x509.Certificate, instance: str) -> str:
    """Return what was compared, or raise ``OtherMember`` if the certificate is not that of who speaks in the message."""
    header, speaks = _soap_member(message) if message.lstrip()[:1] == b"<" else speaking_member(message)
    certified = _certified_member(certificate, instance)
    if speaks != certified:
        raise OtherMember(f"{header} is of {'/'.join(speaks)}, the certificate of {'/'.join(certified)}")
    return f"{header} is of {'/'.join(speaks)}, the certificate's member"


def _certified_member(certificate: x509.Certificate, instance: str) -> list[str]:
    """Basic profile: businessCategory, serialNumber. FiVRK: serialNumber is instance/server/class, CN the code."""
    if certificate.subject.get_attributes_for_oid(NameOID.BUSINESS_CATEGORY):
        category = only(certificate, NameOID.BUSINESS_CATEGORY, "businessCategory")
        return [instance, category, only(certificate, NameOID.SERIAL_NUMBER, "serialNumber")]
    parts = only(certificate, NameOID.SERIAL_NUMBER, "serialNumber").split("/")
    if len(parts) != 3 or parts[0] != instance:
        raise OtherMember(f"the certificate's serialNumber is not {instance}/server/class")
    return [instance, parts[2], only(certificate, NameOID.COMMON_NAME, "commonName")]


def _soap_member(message: bytes) -> tuple[str, list[str]]:
    """A request is its client's, a response its service's; the first element of the body tells which it is."""
    envelope = parse(message)
    body = envelope.one((SOAP, "Body")).children()
    response = bool(body) and (body[0].tag[1].endswith("Response") or body[0].tag == (SOAP, "Fault"))
    name = "service" if response else "client"
    return f"SOAP header {name}", _identifier(envelope.one((SOAP, "Header"), (XROAD, name)))


def _identifier(element: Element) -> list[str]:
    return [element.one((IDENTIFIERS, name)).text for name in ("xRoadInstance", "memberClass", "memberCode")]
