"""The rules decide by facts alone, exclusions first, and say why."""

from datetime import date
from decimal import Decimal

import pytest

from usecases.cash_transfer.eligibility import FactMissing, age_on, inputs_hash

POOR = {
    "person.age": 34,
    "person.gender": "female",
    "household.size": 3,
    "household.children": 2,
    "household.children_under_5": 1,
    "roof_thatch": True,
    "no_electricity": True,
    "dependants": 3,
    "livestock": 1,
    "pension": False,
    "alive": True,
    "income_high": False,
    "land_over_2ha": False,
}

# name, facts that differ from POOR, eligible, rule, band, what the deciding reason holds
CASES = [
    ("a thatched roof without electricity", {}, True, "R1", "A", "26 reaches 21"),
    ("just above the cut-off", {"dependants": 2}, True, "R1", "A", "22 reaches 21"),
    ("a small child", {"roof_thatch": False, "no_electricity": False, "dependants": 1}, True, "R2", "B", "child under five"),
    ("old without a pension", {"roof_thatch": False, "no_electricity": False, "dependants": 0, "household.children_under_5": 0,
                               "person.age": 65}, True, "R3", "C", "sixty-five"),
    ("64 is not yet 65", {"roof_thatch": False, "no_electricity": False, "dependants": 0, "household.children_under_5": 0,
                          "person.age": 64}, False, "", "", "no rule"),
    ("old with a pension", {"roof_thatch": False, "no_electricity": False, "dependants": 0, "household.children_under_5": 0,
                            "person.age": 80, "pension": True}, False, "", "", "no rule"),
    ("a high income, however poor the house", {"income_high": True}, False, "X1", "", "highest band"),
    ("much land", {"land_over_2ha": True}, False, "X2", "", "two hectares"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed", "eligible", "rule", "band", "reason"), CASES, ids=[case[0] for case in CASES]
)
def test_the_first_rule_that_holds_decides(programme, name, changed, eligible, rule, band, reason):
    decision = programme.rules.decide({**POOR, **changed})
    assert (decision.eligible, decision.rule, decision.band) == (eligible, rule, band)
    assert reason in decision.reason
    assert decision.version == "2026-01"


def test_a_score_under_the_cut_off_is_told_as_a_reason(programme):
    decision = programme.rules.decide({**POOR, "dependants": 1, "livestock": 2})
    assert decision.rule == "R2"
    assert decision.score == "16"
    assert decision.reasons[0] == "proxy-means test: 16 is under 21"


def test_nothing_is_decided_on_a_missing_fact(programme):
    facts = {name: value for name, value in POOR.items() if name != "livestock"}
    with pytest.raises(FactMissing) as missing:
        programme.rules.decide(facts)
    assert missing.value.attribute == "livestock"


def test_the_same_inputs_have_the_same_hash_whatever_their_order():
    assert inputs_hash(POOR) == inputs_hash(dict(reversed(POOR.items())))
    assert inputs_hash(POOR) != inputs_hash({**POOR, "livestock": 2})


@pytest.mark.parametrize(
    ("born", "today", "age"),
    [
        ("1961-02-20", "2026-02-19", 64),
        ("1961-02-20", "2026-02-20", 65),
        ("2024-02-29", "2025-02-28", 0),
        ("2024-02-29", "2025-03-01", 1),
        ("2024-02-29", "2028-02-29", 4),
    ],
)
def test_ages_change_on_the_birthday(born, today, age):
    assert age_on(date.fromisoformat(born), date.fromisoformat(today)) == age


@pytest.mark.parametrize(
    ("children", "amount"), [(0, "900.00"), (1, "1020.00"), (4, "1380.00"), (9, "1380.00"), (-1, "900.00")]
)
def test_the_package_adds_so_much_per_child_up_to_its_limit(programme, children, amount):
    assert programme.package_for("A").amount_for(children).amount == Decimal(amount)
