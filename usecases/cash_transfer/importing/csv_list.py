"""Reads the list (``contracts/cash_transfer/beneficiaries-csv.md``): bytes in, rows and named defects out. Pure."""

import codecs
import csv
import hashlib
import hmac
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from usecases.cash_transfer.payee import address_defect
from usecases.cash_transfer.programme import Programme
from usecases.cash_transfer.refusals import ListDefective

MOST_ROWS = 10_000
MOST_BYTES = 10 * 1024 * 1024
LAWFUL_BASES = ("consent", "contract", "legal_obligation", "legitimate_interest", "public_task", "vital_interest")
NEEDED = ("external_reference", "national_id", "package", "payment_modality", "financial_address", "lawful_basis")
OPTIONAL = ("name", "children", "household", "phone")
REFERENCE = re.compile(r"[A-Za-z0-9._/-]{1,60}")
PHONE = re.compile(r"\+[0-9]{5,15}")
OTHER_ENCODINGS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "a spreadsheet (XLSX), not CSV",
}


@dataclass(frozen=True)
class Row:
    """One well-formed row. ``digest`` tells whether it is the same row as before without keeping the national id."""

    line: int
    external_reference: str
    national_id: str
    package: str
    modality: str
    address: str
    lawful_basis: str
    children: int
    household: str
    name: str
    phone: str
    digest: str


@dataclass(frozen=True)
class Defect:
    """Why a row is refused: ``column`` is empty if the row as a whole is wrong."""

    line: int
    external_reference: str
    column: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """A file that could be read."""

    rows: tuple[Row, ...]
    defects: tuple[Defect, ...]


def read_list(content: bytes, programme: Programme, digest_key: bytes) -> Listed:
    """Read a list; raise ``ListDefective`` if it cannot be read as a whole."""
    records = list(_records(_text(content)))
    if not records:
        raise ListDefective("the file is empty; the first line names the columns")
    columns = _columns(*records[0])
    if len(records) - 1 > MOST_ROWS:
        raise ListDefective(f"the file has {len(records) - 1} rows; at most {MOST_ROWS} at a time, so split it")
    rows: list[Row] = []
    defects: list[Defect] = []
    seen: dict[tuple[str, str], int] = {}
    for line, cells in records[1:]:
        found = _row(line, cells, columns, programme, digest_key)
        if isinstance(found, Row):
            found = _first_of_its_kind(found, seen)
        (rows if isinstance(found, Row) else defects).append(found)  # type: ignore[arg-type]
    return Listed(tuple(rows), tuple(defects))


def _text(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise ListDefective(f"the file has {len(content)} bytes; at most {MOST_BYTES} at a time, so split it")
    for mark, name in OTHER_ENCODINGS.items():
        if content.startswith(mark):
            raise ListDefective(f"the file is {name}; save it as “CSV UTF-8”")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as defect:
        line = content[: defect.start].count(b"\n") + 1
        raise ListDefective(
            f"line {line}: byte 0x{content[defect.start]:02x} is not UTF-8; save the file as “CSV UTF-8”"
        ) from defect
    if "\x00" in text:
        raise ListDefective(
            f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL character; this is no text file"
        )
    return text


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) of each record; empty lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    try:
        for cells in reader:
            if cells:
                yield before + 1, cells
            before = reader.line_num
    except csv.Error as defect:
        raise ListDefective(f"line {before + 1}: {defect}; a field that holds a quote doubles it") from defect


def _columns(line: int, header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise ListDefective(f"line {line}: the fields are not separated by commas; save the file with commas")
    known = NEEDED + OPTIONAL
    for name in columns:
        if name not in known:
            raise ListDefective(f"line {line}: column {name[:40]!r} is unknown; known are {', '.join(known)}")
        if columns.count(name) > 1:
            raise ListDefective(f"line {line}: column {name!r} appears twice")
    if missing := [name for name in NEEDED if name not in columns]:
        raise ListDefective(f"line {line}: column {missing[0]!r} is missing; needed are {', '.join(NEEDED)}")
    return columns


def _row(line: int, cells: list[str], columns: list[str], programme: Programme, key: bytes) -> Row | Defect:
    if len(cells) != len(columns):
        return Defect(line, "", "", f"has {len(cells)} fields, the header has {len(columns)}")
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    reference = values["external_reference"]
    shown = reference if REFERENCE.fullmatch(reference) else ""
    for name, what in _defects(dict(zip(columns, cells, strict=True)), values, programme):
        return Defect(line, shown, name, what)
    content = json.dumps([values.get(name, "") for name in NEEDED + OPTIONAL]).encode()
    return Row(
        line=line,
        external_reference=reference,
        national_id=values["national_id"],
        package=values["package"],
        modality=values["payment_modality"],
        address=values["financial_address"],
        lawful_basis=values["lawful_basis"],
        children=int(values.get("children") or 0),
        household=values.get("household", ""),
        name=values.get("name", ""),
        phone=values.get("phone", ""),
        digest=hmac.new(key, content, hashlib.sha256).hexdigest(),
    )


def _defects(cells: Mapping[str, str], values: Mapping[str, str], programme: Programme) -> Iterator[tuple[str, str]]:
    """Yield (column, what is wrong and what would be right)."""
    for name, cell in cells.items():
        if _is_formula(cell):
            yield name, f"begins with {cell.lstrip(' ')[:1]!r}: a spreadsheet would run it as a formula"
    for name in NEEDED:
        if not values[name]:
            yield name, "is empty"
    for name, value in values.items():
        if len(value) > 100 or any(ord(character) < 32 for character in value):
            yield name, "is longer than 100 characters or holds a control character"
    if not REFERENCE.fullmatch(values["external_reference"]):
        yield "external_reference", "is 1 to 60 letters, digits, '.', '_', '/' or '-'"
    if len(values["national_id"]) > 40:
        yield "national_id", "is longer than 40 characters"
    for name, known in (
        ("package", sorted(programme.packages)),
        ("payment_modality", sorted(programme.modalities)),
        ("lawful_basis", LAWFUL_BASES),
    ):
        if values[name] not in known:
            yield name, f"is {values[name][:40]!r}; it must be one of {', '.join(known)}"
    if what := address_defect(values["financial_address"]):
        yield "financial_address", what
    children = values.get("children", "")
    if children and not (children.isascii() and children.isdigit() and int(children[:9]) <= 20):
        yield "children", "is a whole number from 0 to 20"
    if len(values.get("household", "")) > 40:
        yield "household", "is longer than 40 characters"
    phone = values.get("phone", "")
    if phone and not PHONE.fullmatch(phone):
        yield "phone", "is + and 5 to 15 digits"


def _is_formula(cell: str) -> bool:
    """Tell whether a spreadsheet would run the cell; a phone number may begin with a plus sign."""
    stripped = cell.lstrip(" ")
    if stripped[:1] in ("=", "@", "-", "\t", "\r"):
        return True
    return stripped[:1] == "+" and not PHONE.fullmatch(stripped.rstrip())


def _first_of_its_kind(row: Row, seen: dict[tuple[str, str], int]) -> Row | Defect:
    for column in ("external_reference", "national_id"):
        value = getattr(row, column)
        before = seen.setdefault((column, value), row.line)
        if before != row.line:
            return Defect(row.line, row.external_reference, column, f"appears in line {before} already")
    return row
