"""Builds containers in the forms that X-Road writes, canonicalised by lxml, so that our own canonicaliser has a judge."""

import hashlib
import io
import zipfile
from base64 import b64encode

from asn1crypto import core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.evidence.tests.authorities import NOW, Authorities

SHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"
INCLUSIVE, EXCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2001/10/xml-exc-c14n#"
NAMESPACES = (
    'xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:xades="http://uri.etsi.org/01903/v1.3.2#" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
HC = 'xmlns="http://www.w3.org/2000/09/xmldsig#" xmlns:ns2="http://cyber.ee/hashchain"'


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def broken(data: bytes) -> str:
    """Base64 in lines that end in CRLF, the CR as a character reference, as X-Road writes it."""
    text = b64(data)
    return "&#13;\n".join(text[at : at + 76] for at in range(0, len(text), 76))


def sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def node(*digests: bytes) -> bytes:
    empty = core.Sequence.load(b"\x30\x00")
    children = [core.OctetString(digest).dump() + core.UTF8String(SHA512).dump() + empty.dump() for digest in digests]
    content = b"".join(_der(child) for child in children)
    return sha512(_der(content))


def _der(content: bytes) -> bytes:
    head = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return b"\x30" + head + content


def chain(name: str, steps: str, top: bytes) -> dict[str, bytes]:
    """A chain and its result."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    result = f'{head}<ns2:HashChainResult URI="/{name}.xml#STEP0" {HC}>\n    <DigestMethod Algorithm="{SHA512}"/>\n'
    result += f"    <DigestValue>{b64(top)}</DigestValue>\n</ns2:HashChainResult>\n"
    body = (
        f'{head}<ns2:HashChain {HC}>\n    <ns2:DefaultDigestMethod Algorithm="{SHA512}"/>\n{steps}\n</ns2:HashChain>\n'
    )
    return {f"{name}result.xml": result.encode(), f"{name}.xml": body.encode()}


def data_ref(uri: str, data: bytes) -> str:
    return f'<ns2:DataRef URI="{uri}"><DigestValue>{b64(sha512(data))}</DigestValue></ns2:DataRef>'


def reference(uri: str, data: bytes, at: int) -> str:
    return (
        f'<ds:Reference Id="signature-reference-{at}" URI="{uri}">\n<ds:DigestMethod Algorithm="{SHA512}"/>\n'
        f"<ds:DigestValue>{broken(sha512(data))}</ds:DigestValue>\n</ds:Reference>\n"
    )


class XRoadBuilder:
    """Makes the entries of one container; ``form`` is ``message``, ``chain`` or ``direct``; ``batch`` how it is stamped."""

    def __init__(self, authorities: Authorities, message: bytes, body: bytes = b"", *, form: str, batch: bool) -> None:
        self.authorities, self.form, self.batch = authorities, form, batch
        self.key = rsa.generate_private_key(65537, 2048)
        self.certificate = authorities.certify(self.key)
        self.entries = {"mimetype": b"application/vnd.etsi.asic-e+zip", "message.xml": message}
        if body:
            self.entries["attachment1"] = body

    def build(self) -> dict[str, bytes]:
        signed = {f"/{name}": data for name, data in self.entries.items() if name != "mimetype"}
        if self.form == "chain":
            refs = "".join(data_ref(uri, data) for uri, data in signed.items())
            top = node(*(sha512(data) for data in signed.values()))
            made = chain("sig-hashchain", f'<ns2:HashStep id="STEP0">{refs}</ns2:HashStep>', top)
            self.entries |= made
            signed = {"/sig-hashchainresult.xml": made["sig-hashchainresult.xml"]}
        signatures, value = self._signatures(signed)
        if self.batch:
            other = sha512(b"another message's signature")
            step = f'<ns2:HashStep id="STEP0">{data_ref("/META-INF/signatures.xml", signatures)}<ns2:HashValue>'
            step += f"<DigestValue>{b64(other)}</DigestValue></ns2:HashValue></ns2:HashStep>"
            made = chain("ts-hashchain", step, node(sha512(signatures), other))
            token = self.authorities.stamp(made["ts-hashchainresult.xml"], digest="sha256")
            self.entries |= {**made, "META-INF/timestamp.tst": token}
        else:
            token = self.authorities.stamp(value, digest="sha256")
            stamp = f"<xades:SignatureTimeStamp><xades:EncapsulatedTimeStamp>{b64(token)}</xades:EncapsulatedTimeStamp>"
            signatures = signatures.replace(b"<!--stamp-->", f"{stamp}</xades:SignatureTimeStamp>".encode())
        self.entries |= {"META-INF/signatures.xml": signatures, "META-INF/manifest.xml": b"<manifest/>"}
        return self.entries

    def _signatures(self, signed: dict[str, bytes]) -> tuple[bytes, bytes]:
        der = self.certificate.public_bytes(Encoding.DER)
        c14n = EXCLUSIVE if self.form == "direct" else INCLUSIVE
        transform = (
            f'<ds:Transforms><ds:Transform Algorithm="{c14n}"/></ds:Transforms>' if self.form == "direct" else ""
        )
        answer = self.authorities.ocsp(self.certificate)
        version = "V2" if self.form == "direct" else ""
        references = "".join(reference(uri, data, at) for at, (uri, data) in enumerate(signed.items()))
        text = (
            f'<ds:Signature Id="signature" {NAMESPACES if self.form == "direct" else ""}>\n<ds:SignedInfo>\n'
            f'<ds:CanonicalizationMethod Algorithm="{c14n}"/>\n'
            '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"/>\n'
            f'{references}<ds:Reference Type="http://uri.etsi.org/01903#SignedProperties" URI="#signed-properties">\n'
            f'{transform}<ds:DigestMethod Algorithm="{SHA512}"/>\n<ds:DigestValue>@properties@</ds:DigestValue>\n'
            "</ds:Reference>\n</ds:SignedInfo>\n<ds:SignatureValue>\n@value@\n</ds:SignatureValue>\n"
            f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{broken(der)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>\n"
            '<ds:Object><xades:QualifyingProperties Target="#signature"><xades:SignedProperties Id="signed-properties">'
            f"<xades:SignedSignatureProperties><xades:SigningTime>{NOW:%FT%T}.000Z</xades:SigningTime>"
            f"<xades:SigningCertificate{version}><xades:Cert><xades:CertDigest>"
            f'<ds:DigestMethod Algorithm="{SHA512}"/><ds:DigestValue>{b64(sha512(der))}</ds:DigestValue>'
            f"</xades:CertDigest></xades:Cert></xades:SigningCertificate{version}></xades:SignedSignatureProperties>"
            "</xades:SignedProperties><xades:UnsignedProperties><xades:UnsignedSignatureProperties><!--stamp-->"
            f'<xades:RevocationValues><xades:OCSPValues><xades:EncapsulatedOCSPValue Id="o">{b64(answer)}'
            "</xades:EncapsulatedOCSPValue></xades:OCSPValues></xades:RevocationValues></xades:UnsignedSignatureProperties>"
            "</xades:UnsignedProperties></xades:QualifyingProperties></ds:Object>\n</ds:Signature>"
        )
        if self.form != "direct":
            text = f'<asic:XAdESSignatures xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" {NAMESPACES}>{text}</asic:XAdESSignatures>'
        text = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>' + text
        exclusive = self.form == "direct"
        text = text.replace("@properties@", b64(sha512(canonical(text, "SignedProperties", exclusive))))
        value = self.key.sign(canonical(text, "SignedInfo", exclusive), padding.PKCS1v15(), hashes.SHA512())
        return text.replace("@value@", broken(value)).encode(), value


def canonical(text: str, local: str, exclusive: bool) -> bytes:
    element = etree.fromstring(text.encode()).xpath(f"//*[local-name()='{local}']")[0]
    return etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/", b"")
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()
