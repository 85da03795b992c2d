"""The evidence of one message: an ASiC-E container in the form *batch*, rendered from what the message log keeps.

Pure and deterministic: the same values always give the same ``signatures.xml`` and the same entries. The signed bytes stand
in ``signatures.xml`` exactly as they were signed when the message was sent; nothing is signed again on export.
"""

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field

from gateway.evidence import archive, hashchain
from gateway.signature import Compact, render_signed_info, render_signed_properties

MESSAGE = "message.xml"
BODY = "attachment1"
SIGNATURES = "META-INF/signatures.xml"
CHAIN_RESULT = "ts-hashchainresult.xml"
CHAIN = "ts-hashchain.xml"
ASIC_MANIFEST = "META-INF/ASiCManifest.xml"
TOKEN = "META-INF/timestamp.tst"
MANIFEST = "META-INF/manifest.xml"

_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_SIGNATURES = _DECLARATION + (
    b'<asic:XAdESSignatures xmlns:asic="http://uri.etsi.org/02918/v1.2.1#">'
    b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="sig">%b'
    b'<ds:SignatureValue Id="sv">%b</ds:SignatureValue>'
    b"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>%b</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    b'<ds:Object><xades:QualifyingProperties xmlns:xades="http://uri.etsi.org/01903/v1.3.2#" Target="#sig">%b'
    b"<xades:UnsignedProperties><xades:UnsignedSignatureProperties>"
    b"<xades:CertificateValues>%b</xades:CertificateValues>"
    b"<xades:RevocationValues><xades:OCSPValues>%b</xades:OCSPValues></xades:RevocationValues>"
    b"</xades:UnsignedSignatureProperties></xades:UnsignedProperties></xades:QualifyingProperties></ds:Object>"
    b"</ds:Signature></asic:XAdESSignatures>"
)
_CA = b"<xades:EncapsulatedX509Certificate>%b</xades:EncapsulatedX509Certificate>"
_OCSP = b"<xades:EncapsulatedOCSPValue>%b</xades:EncapsulatedOCSPValue>"
_MANIFEST_HEAD = _DECLARATION + (
    b'<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2">\n'
)
_FILE_ENTRY = b'<manifest:file-entry manifest:media-type="%b" manifest:full-path="%b"/>\n'
_ASIC_MANIFEST = _DECLARATION + (
    b'<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
    b'<asic:SigReference URI="META-INF/timestamp.tst" MimeType="application/vnd.etsi.timestamp-token"/>'
    b'<asic:DataObjectReference URI="ts-hashchainresult.xml" MimeType="text/xml">'
    b'<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"/>'
    b"<ds:DigestValue>%b</ds:DigestValue></asic:DataObjectReference></asic:ASiCManifest>"
)


def render_signatures(
    compact: Compact,
    message_digest: bytes,
    body_digest: bytes | None,
    certificate_der: bytes,
    ca_ders: tuple[bytes, ...],
    ocsp_ders: tuple[bytes, ...],
) -> bytes:
    """Render ``signatures.xml`` from SHA-512 digests, so that it can be stamped without the message at hand.

    Its SHA-512 is the leaf of the batch: CA list and OCSP responses are fixed from then on.
    """
    properties = render_signed_properties(compact.t, compact.x5t, body_digest is not None)
    properties_digest = hashlib.sha512(properties).digest()
    return _SIGNATURES % (
        render_signed_info(compact.alg, message_digest, body_digest, properties_digest),
        b64encode(compact.sig),
        b64encode(certificate_der),
        properties,
        b"".join(_CA % b64encode(der) for der in ca_ders),
        b"".join(_OCSP % b64encode(der) for der in ocsp_ders),
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one container is made of.

    ``path`` and ``token`` are those of the batch in which the message was time-stamped; the token (RFC 3161, DER) covers
    the bytes ``hashchain.render_result(root)``.
    """

    compact: Compact
    message: bytes = field(repr=False)
    body: bytes = field(repr=False)
    certificate_der: bytes = field(repr=False)
    ca_ders: tuple[bytes, ...] = field(repr=False)
    ocsp_ders: tuple[bytes, ...] = field(repr=False)
    path: hashchain.Path = field(repr=False)
    token: bytes = field(repr=False)

    def signatures(self) -> bytes:
        """Render ``META-INF/signatures.xml``."""
        body_digest = hashlib.sha512(self.body).digest() if self.body else None
        digests = hashlib.sha512(self.message).digest(), body_digest
        return render_signatures(self.compact, *digests, self.certificate_der, self.ca_ders, self.ocsp_ders)

    def entries(self) -> dict[str, bytes]:
        """Render every entry, in the order of the container."""
        signatures = self.signatures()
        leaf = hashlib.sha512(signatures).digest()
        result = hashchain.render_result(hashchain.root_of(leaf, self.path))
        return {
            "mimetype": archive.MIMETYPE,
            MESSAGE: self.message,
            **({BODY: self.body} if self.body else {}),
            SIGNATURES: signatures,
            CHAIN_RESULT: result,
            CHAIN: hashchain.render_chain(leaf, self.path),
            ASIC_MANIFEST: _ASIC_MANIFEST % b64encode(hashlib.sha512(result).digest()),
            TOKEN: self.token,
            MANIFEST: render_manifest(bool(self.body)),
        }

    def container(self) -> bytes:
        """Render the container, a zip."""
        return archive.write(self.entries())


def entry_names(has_body: bool) -> list[str]:
    """Return the names of a container's entries in their order."""
    body = [BODY] if has_body else []
    return ["mimetype", MESSAGE, *body, SIGNATURES, CHAIN_RESULT, CHAIN, ASIC_MANIFEST, TOKEN, MANIFEST]


def render_manifest(has_body: bool) -> bytes:
    """Render ``META-INF/manifest.xml``; the media types of the signed parts are those that are signed."""
    signed = [MESSAGE, BODY] if has_body else [MESSAGE]
    listed = [(archive.MIMETYPE, "/"), *((b"application/octet-stream", name) for name in signed)]
    listed += [(b"text/xml", CHAIN_RESULT), (b"text/xml", CHAIN)]
    lines = [_FILE_ENTRY % (kind, name.encode()) for kind, name in listed]
    return b"".join((_MANIFEST_HEAD, *lines, b"</manifest:manifest>\n"))
