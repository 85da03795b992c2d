"""What the programme file takes for granted about the rest of the country: the currency, the data agreement."""

from collections.abc import Iterator
from pathlib import Path

from sandroad.country.documents import CountryError, Document


def check_against_country(programme: Path, country: Path, currency: str) -> None:
    """Raise ``CountryError`` unless the programme pays in the country's currency and asks for an agreement that the country has."""
    document = Document(programme)
    if complaints := [*_currency(document, currency), *_agreement(document, country / "agreements")]:
        raise CountryError(complaints)


def _currency(document: Document, currency: str) -> Iterator[str]:
    if document.data["currency"] != currency:
        yield document.complaint(
            f"the programme pays in {document.data['currency']}, the currency in topology.yaml is {currency}",
            "currency",
        )


def _agreement(document: Document, folder: Path) -> Iterator[str]:
    files = [Document(path).data for path in sorted(folder.glob("*.yaml"))]
    known = [str(file["dataAgreement"].get("id")) for file in files if isinstance(file.get("dataAgreement"), dict)]
    if document.data["data_agreement"] not in known:
        yield document.complaint(
            f"no file in {folder.name}/ is the data agreement {document.data['data_agreement']}; "
            f"there are: {', '.join(known) or 'none'}",
            "data_agreement",
        )
