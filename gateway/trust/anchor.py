"""The trust anchor: the one file that an outsider needs to believe an instance's configuration and its evidence.

Central writes it; it travels to gateways and auditors by a way they trust. Everything else is signed by what it names.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

MAX_ANCHOR = 1024 * 1024
MAX_FRESHNESS = 366 * 24 * 3600


class AnchorUnreadable(ValueError):
    """This is no trust anchor; the text says which file, which field, and what would be right."""


@dataclass(frozen=True)
class Anchor:
    """What is believed without proof in one instance.

    ``ocsp_freshness_seconds``: how old an OCSP answer may be when it is used (X-Road's ocspFreshnessSeconds).
    """

    instance: str
    configuration_url: str
    configuration_certificate: x509.Certificate
    ca_certificates: tuple[x509.Certificate, ...]
    tsa_certificates: tuple[x509.Certificate, ...]
    ocsp_freshness_seconds: int

    @classmethod
    def read(cls, path: Path | str) -> "Anchor":
        """Read an anchor file; ``AnchorUnreadable`` names the file and the defect."""
        path = Path(path)
        try:
            if path.stat().st_size > MAX_ANCHOR:
                raise AnchorUnreadable(f"trust anchor {path} is larger than {MAX_ANCHOR} bytes: not an anchor file")
            return cls.parse(path.read_bytes())
        except FileNotFoundError:
            raise AnchorUnreadable(f"no trust anchor at {path}: a running sandbox writes one, or name it") from None
        except OSError as error:
            raise AnchorUnreadable(f"trust anchor {path} cannot be read: {error.strerror}") from None
        except AnchorUnreadable as error:
            raise AnchorUnreadable(f"trust anchor {path}: {error}") from None

    @classmethod
    def parse(cls, text: bytes) -> "Anchor":
        """Read the bytes of an anchor file."""
        try:
            fields = json.loads(text.decode())
        except (ValueError, RecursionError):
            raise AnchorUnreadable("not JSON in UTF-8") from None
        if not isinstance(fields, dict):
            raise AnchorUnreadable("not a JSON object")
        freshness = fields.get("ocsp_freshness_seconds")
        if not isinstance(freshness, int) or isinstance(freshness, bool) or not 1 <= freshness <= MAX_FRESHNESS:
            raise AnchorUnreadable(f"ocsp_freshness_seconds must be a whole number from 1 to {MAX_FRESHNESS}")
        return cls(
            instance=_text(fields, "instance"),
            configuration_url=_text(fields, "configuration_url"),
            configuration_certificate=_certificate(
                fields.get("configuration_certificate"), "configuration_certificate"
            ),
            ca_certificates=_certificates(fields, "ca_certificates"),
            tsa_certificates=_certificates(fields, "tsa_certificates"),
            ocsp_freshness_seconds=freshness,
        )

    def render(self) -> bytes:
        """Return the bytes of the anchor file."""
        fields = {
            "instance": self.instance,
            "configuration_url": self.configuration_url,
            "configuration_certificate": _pem(self.configuration_certificate),
            "ca_certificates": [_pem(certificate) for certificate in self.ca_certificates],
            "tsa_certificates": [_pem(certificate) for certificate in self.tsa_certificates],
            "ocsp_freshness_seconds": self.ocsp_freshness_seconds,
        }
        return json.dumps(fields, indent=2).encode() + b"\n"


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise AnchorUnreadable(f"{name} must be a text that is not empty")
    return value


def _certificates(fields: dict[str, Any], name: str) -> tuple[x509.Certificate, ...]:
    values = fields.get(name)
    if not isinstance(values, list) or not values:
        raise AnchorUnreadable(f"{name} must be a list of at least one certificate in PEM")
    return tuple(_certificate(value, f"{name}[{at}]") for at, value in enumerate(values))


def _certificate(value: object, name: str) -> x509.Certificate:
    """Read one certificate; its key too, so that no later step meets one that cannot be used."""
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        certificate = x509.load_pem_x509_certificate(value.encode())
        certificate.public_key()
    except (ValueError, x509.InvalidVersion) as error:
        raise AnchorUnreadable(f"{name} must be one certificate in PEM ({error})") from None
    return certificate
