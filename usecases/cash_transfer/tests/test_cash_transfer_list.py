"""The list is read as a whole or refused as a whole; a bad row is named with line, column and reason and stops no other."""

from pathlib import Path

import pytest

from usecases.cash_transfer.importing.csv_list import MOST_ROWS, read_list
from usecases.cash_transfer.refusals import ListDefective

DEFECTS = Path(__file__).parent / "defects"
HEADER = "external_reference,national_id,package,payment_modality,financial_address,lawful_basis\n"
GOOD = "L-1,QZ0000000265,TPA,bank,DELTA:0000009005,public_task\n"
KEY = b"key of this test"

WHOLE = {
    "empty": "the first line names the columns",
    "latin-1": "line 2: byte 0xe4 is not UTF-8",
    "utf-16": "UTF-16",
    "spreadsheet": "XLSX",
    "nul-character": "line 2: a NUL character",
    "semicolons": "not separated by commas",
    "missing-column": "column 'lawful_basis' is missing",
    "misspelt-column": "column 'lawful_bases' is unknown",
    "column-twice": "column 'package' appears twice",
    "open-quote": "line 2",
}
# file, line, column, reason, how many good rows remain
ROWS = [
    ("too-few-fields", 2, "", "has 3 fields, the header has 6", 1),
    ("reference-twice", 3, "external_reference", "appears in line 2", 1),
    ("person-twice", 3, "national_id", "appears in line 2", 1),
    ("formula-cell", 2, "external_reference", "formula", 1),
    ("plus-formula", 2, "external_reference", "formula", 1),
    ("unknown-package", 2, "package", "must be one of CFS, SP, TPA", 0),
    ("unknown-modality", 2, "payment_modality", "must be one of bank, mobile-money", 0),
    ("address-without-institution", 2, "financial_address", "INSTITUTION:account", 0),
    ("no-lawful-basis", 2, "lawful_basis", "is empty", 0),
    ("unknown-lawful-basis", 2, "lawful_basis", "must be one of consent", 0),
    ("no-national-id", 2, "national_id", "is empty", 0),
    ("reference-with-space", 2, "external_reference", "letters, digits", 0),
    ("line-break-in-a-field", 2, "external_reference", "control character", 1),
    ("children-not-a-number", 2, "children", "from 0 to 20", 0),
    ("phone-without-plus", 2, "phone", "+ and 5 to 15 digits", 0),
]


@pytest.mark.parametrize("name", WHOLE)
def test_an_unreadable_file_is_refused_as_a_whole(programme, name):
    with pytest.raises(ListDefective) as refused:
        read_list((DEFECTS / f"{name}.csv").read_bytes(), programme, KEY)
    assert WHOLE[name] in refused.value.detail


@pytest.mark.parametrize(("name", "line", "column", "reason", "good"), ROWS, ids=[row[0] for row in ROWS])
def test_a_bad_row_is_named_and_stops_no_other(programme, name, line, column, reason, good):
    listed = read_list((DEFECTS / f"{name}.csv").read_bytes(), programme, KEY)
    assert len(listed.defects) == 1
    defect = listed.defects[0]
    assert (defect.line, defect.column) == (line, column)
    assert reason in defect.reason
    assert len(listed.rows) == good


def test_every_defect_file_is_tried():
    tried = {*WHOLE, *(row[0] for row in ROWS), "only-a-header"}
    assert {path.stem for path in DEFECTS.glob("*.csv")} == tried


def test_a_list_without_rows_is_a_list(programme):
    assert read_list((DEFECTS / "only-a-header.csv").read_bytes(), programme, KEY).rows == ()


def test_a_byte_order_mark_and_windows_line_ends_are_taken(programme):
    content = b"\xef\xbb\xbf" + (HEADER + GOOD).replace("\n", "\r\n").encode()
    assert read_list(content, programme, KEY).rows[0].external_reference == "L-1"


def test_lines_are_counted_as_an_editor_does(programme):
    quoted = '"L-2",QZ0000000349,TPA,bank,"DELTA:\n9",public_task\n'
    listed = read_list((HEADER + "\n" + quoted + GOOD).encode(), programme, KEY)
    assert [defect.line for defect in listed.defects] == [3]
    assert [row.line for row in listed.rows] == [5]


def test_the_same_row_has_the_same_digest_whatever_its_columns_order(programme):
    turned = ",".join(reversed(HEADER.strip().split(","))) + "\n" + ",".join(reversed(GOOD.strip().split(","))) + "\n"
    first, second = (read_list(text.encode(), programme, KEY).rows[0] for text in (HEADER + GOOD, turned))
    assert first.digest == second.digest
    assert "QZ0000000265" not in first.digest


def test_too_many_rows_are_refused_with_their_number(programme):
    rows = "".join(f"L-{n},QZ{n:010},TPA,bank,DELTA:1,public_task\n" for n in range(MOST_ROWS + 1))
    with pytest.raises(ListDefective, match=f"{MOST_ROWS + 1} rows"):
        read_list((HEADER + rows).encode(), programme, KEY)
