"""Who is eligible, and why: pure rules over facts. No clock, no network; the same facts always give the same decision."""

import hashlib
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

Facts = Mapping[str, Any]

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


class FactMissing(Exception):
    """A rule asks for a fact that the case does not hold: nothing is decided on a guess."""

    def __init__(self, attribute: str) -> None:
        super().__init__(attribute)
        self.attribute = attribute


@dataclass(frozen=True)
class Condition:
    """``attribute op value``."""

    attribute: str
    op: str
    value: Any

    def holds(self, facts: Facts) -> bool:
        """Tell whether the facts meet the condition."""
        return OPERATORS[self.op](fact(facts, self.attribute), self.value)

    def __str__(self) -> str:
        return f"{self.attribute} {self.op} {json.dumps(self.value)}"


@dataclass(frozen=True)
class Score:
    """A proxy-means test: the weighted sum of what can be seen stands in for an income that cannot be measured."""

    weights: Mapping[str, Decimal]
    cutoff: Decimal

    def of(self, facts: Facts) -> Decimal:
        """Return the score; yes counts as one."""
        return sum((weight * _number(fact(facts, name)) for name, weight in self.weights.items()), Decimal(0))


@dataclass(frozen=True)
class Exclusion:
    """A condition that ends the case, whatever the rules say."""

    id: str
    condition: Condition
    reason: str


@dataclass(frozen=True)
class Rule:
    """All conditions hold and the score reaches its cut-off: then the household is in ``band``."""

    id: str
    title: str
    band: str
    conditions: tuple[Condition, ...]
    score: Score | None


@dataclass(frozen=True)
class Decision:
    """What the rules said, with everything needed to check it later.

    ``reasons`` is one line for each rule that was looked at. ``inputs_hash`` is SHA-256 over the facts in canonical JSON.
    """

    eligible: bool
    rule: str
    band: str
    score: str
    reasons: tuple[str, ...]
    version: str
    inputs_hash: str

    @property
    def reason(self) -> str:
        """The line that decided."""
        return self.reasons[-1]


@dataclass(frozen=True)
class Rules:
    """The eligibility section of a programme."""

    version: str
    exclusions: tuple[Exclusion, ...]
    rules: tuple[Rule, ...]

    def decide(self, facts: Facts) -> Decision:
        """Return the decision; raise ``FactMissing`` if a rule that must be looked at lacks a fact.

        Exclusions come first; then the first rule that holds decides the band.
        """
        reasons: list[str] = []
        score = ""
        for exclusion in self.exclusions:
            if exclusion.condition.holds(facts):
                reasons.append(exclusion.reason)
                return self._decision(False, exclusion.id, "", score, reasons, facts)
        for rule in self.rules:
            holds, why, reached = _look_at(rule, facts)
            score = reached or score
            reasons.append(why)
            if holds:
                return self._decision(True, rule.id, rule.band, score, reasons, facts)
        reasons.append("no rule of the programme holds for this household")
        return self._decision(False, "", "", score, reasons, facts)

    def _decision(self, eligible: bool, rule: str, band: str, score: str, reasons: list[str], facts: Facts) -> Decision:
        return Decision(eligible, rule, band, score, tuple(reasons), self.version, inputs_hash(facts))


def _look_at(rule: Rule, facts: Facts) -> tuple[bool, str, str]:
    """Return (whether the rule holds, why in words, the score if the rule has one)."""
    failing = next((each for each in rule.conditions if not each.holds(facts)), None)
    if failing is not None:
        return False, f"{rule.title}: {failing} does not hold", ""
    if rule.score is None:
        return True, rule.title, ""
    reached = rule.score.of(facts)
    if reached < rule.score.cutoff:
        return False, f"{rule.title}: {reached} is under {rule.score.cutoff}", str(reached)
    return True, f"{rule.title}: {reached} reaches {rule.score.cutoff}", str(reached)


def fact(facts: Facts, attribute: str) -> Any:
    """Return one fact or raise ``FactMissing``."""
    value = facts.get(attribute)
    if value is None:
        raise FactMissing(attribute)
    return value


def _number(value: Any) -> Decimal:
    return Decimal(int(value)) if isinstance(value, bool) else Decimal(str(value))


def inputs_hash(facts: Facts) -> str:
    """Return SHA-256 over the facts, so that a decision can be checked against what it was based on."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def age_on(birth_date: date, today: date) -> int:
    """Return the age in whole years; somebody born on 29 February has the birthday on 1 March in other years."""
    had_birthday = (today.month, today.day) >= (birth_date.month, birth_date.day)
    return today.year - birth_date.year - (not had_birthday)
