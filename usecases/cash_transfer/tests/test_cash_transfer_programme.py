"""A defective programme file is refused by file and line, with what would be right."""

from pathlib import Path

import pytest

from sandroad.country.documents import CountryError
from sandroad.testing import ROOT
from usecases.cash_transfer.programme import read_programme

GOOD = (ROOT / "country" / "programmes" / "CT-01.yaml").read_text(encoding="utf-8")

# name, what is replaced, by what, what the complaint says, what stands on the line that it names
DEFECTS = [
    (
        "unknown attribute",
        "attribute: household.children_under_5",
        "attribute: household.childs",
        "'household.childs' is unknown",
        "childs",
    ),
    ("unknown operator", 'op: ">=", value: 1', 'op: "=>", value: 1', "operator '=>' is unknown; use one of", "=>"),
    ("negative amount", 'amount: "500.00"', 'amount: "-500.00"', "must be more than zero", "-500"),
    ("amount as a float", 'amount: "500.00"', "amount: 500.00", "/packages/CFS/amount", "amount: 500.00"),
    ("too many decimals", 'amount: "500.00"', 'amount: "500.001"', "more than 2 decimals", "500.001"),
    (
        "missing package",
        "band: C, title: Social",
        "band: D, title: Social",
        "no package pays band C; packages exist for A, B, D",
        "band: C",
    ),
    (
        "number for a yes or no",
        'attribute: pension, op: "==", value: false',
        'attribute: pension, op: "==", value: 0',
        "a yes or no",
        "pension",
    ),
    ("size of a yes or no", 'attribute: pension, op: "=="', 'attribute: pension, op: ">"', "only == and !=", "pension"),
    ("weight of an unknown thing", "livestock: -2", "camels: -2", "'camels' is unknown", "camels"),
    ("the same rule twice", "id: R3", "id: R2", "rule id R2 appears twice", "id: R2"),
    ("unknown role", "roles: [registration]", "roles: [registrar]", "/officers/0/roles/0", "registrar"),
    ("nobody approves", "approval]", "registration]", "no officer has the role approval", "registrar@"),
    ("letter with an unknown word", "{appeal}.", "{apeal}.", "{apeal} is unknown", "{apeal}"),
    ("letter with an open brace", "{appeal}.", "{appeal.", "letter refused", "{appeal."),
    ("payer of eleven characters", "payer: CASHTRANSFER", "payer: CASHTRANSFE", "/payer", "CASHTRANSFE"),
    ("payday on the 31st", "day: 5}", "day: 31}", "/cycle/day", "day: 31"),
    ("an unknown section", "retries: 2", "retrys: 2", "retrys", "programme:"),
    (
        "two packages for a band",
        "band: B, title: Child",
        "band: A, title: Child",
        "band A has two packages",
        "band: A, title: Child",
    ),
    ("a question that the visit asks", "- id: income_high", "- id: pension", "pension is asked twice", "id: pension"),
    ("not YAML", "packages:", "packages: [", "not YAML", "CFS"),
]


def test_the_countrys_own_programme_is_sound(programme):
    assert programme.id == "CT-01"
    assert programme.roles_of("Registrar@WELFARE.qz.example") == {"registration"}
    assert programme.roles_of("") == frozenset()


@pytest.mark.parametrize(("name", "old", "new", "says", "there"), DEFECTS, ids=[defect[0] for defect in DEFECTS])
def test_a_defect_is_named_with_file_and_line(tmp_path: Path, name, old, new, says, there):
    assert old in GOOD
    path = tmp_path / "CT-09.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(CountryError) as refused:
        read_programme(path)
    complaint = next((each for each in refused.value.complaints if says in each), None)
    assert complaint, refused.value.complaints
    line = int(complaint.split(":")[1])
    assert there in path.read_text(encoding="utf-8").splitlines()[line - 1]


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CountryError, match=r"CT-10\.yaml: there is no such file"):
        read_programme(tmp_path / "CT-10.yaml")
