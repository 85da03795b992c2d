"""Settings, money, business time and faults."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandroad.clock import BusinessClock, ClockMovesForwardOnly
from sandroad.faults import Faults, LabModeOff, NoSuchFault
from sandroad.money import Money, NotMoney
from sandroad.settings import SettingsError, read_config
from sandroad.storage import Database


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    port: int
    lab: bool = True
    folder: Path = Path()
    rights: tuple[dict[str, Any], ...] = ()
    secret: str | None = None


def test_settings_are_read_by_their_types() -> None:
    config = read_config(
        Config,
        {
            "SANDROAD_NAME": "x",
            "SANDROAD_PORT": "80",
            "SANDROAD_LAB": "no",
            "SANDROAD_RIGHTS": '[{"a": 1}]',
            "PATH": "/",
        },
    )
    assert config == Config(name="x", port=80, lab=False, rights=({"a": 1},))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"SANDROAD_PROT": "80"}, "SANDROAD_PROT is not a setting"),
        ({"SANDROAD_PORT": "eighty"}, "SANDROAD_PORT='eighty'"),
        ({"SANDROAD_LAB": "perhaps"}, "expected true or false"),
        ({"SANDROAD_RIGHTS": "{}"}, "expected a JSON list"),
        ({"SANDROAD_RIGHTS": "[1"}, "SANDROAD_RIGHTS"),
        ({"SANDROAD_NAME": 5}, "expected a string"),
        ({"SANDROAD_SECRET": 5}, "(hidden)"),
    ],
)
def test_a_defect_in_the_settings_names_the_setting(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_config(Config, {"SANDROAD_NAME": "x", "SANDROAD_PORT": "80"} | changed)
    assert said in str(refusal.value)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="SANDROAD_PORT is not set"):
        read_config(Config, {"SANDROAD_NAME": "x"})


@pytest.mark.parametrize(
    ("text", "minor"), [("900.00", 90000), ("0.1", 10), (0.1, 10), (7, 700), ("1e2", 10000), ("-3.50", -350)]
)
def test_an_amount_is_read_exactly(text: Any, minor: int) -> None:
    assert Money.parse(text, "XTS").minor == minor


@pytest.mark.parametrize("text", ["1.005", "NaN", "Infinity", "ten", "", True, "1e30", "0x10", None])
def test_what_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises(NotMoney):
        Money.parse(text, "XTS")


def test_currencies_do_not_mix_and_sums_are_exact() -> None:
    tenth = Money.parse("0.10", "XTS")
    assert sum([tenth] * 9, tenth) == Money(Decimal("1.00"), "XTS")
    with pytest.raises(ValueError, match="do not add up"):
        tenth + Money.parse("1", "EUR")


def test_business_time_moves_forward_only_and_is_kept(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/clock.db")
    clock = BusinessClock(database)
    before = clock()
    clock.move_to(timedelta(days=30))
    assert timedelta(days=30) <= clock() - before < timedelta(days=30, minutes=1)
    with pytest.raises(ClockMovesForwardOnly):
        clock.move_to(timedelta(days=29))
    with pytest.raises(ClockMovesForwardOnly):
        clock.move_to(timedelta(days=100_000))
    assert BusinessClock(database).offset == timedelta(days=30)


def test_a_fault_for_one_time_is_off_after_it_was_taken() -> None:
    faults = Faults({"flip-bit": "…"}, lab=True)
    faults.switch_on("flip-bit", {"times": 2})
    assert [bool(faults.take("flip-bit")) for _ in range(3)] == [True, True, False]


def test_faults_exist_in_lab_mode_only_and_only_known_ones() -> None:
    with pytest.raises(LabModeOff):
        Faults({"delay": "…"}, lab=False).switch_on("delay", {})
    with pytest.raises(NoSuchFault, match="known are: delay"):
        Faults({"delay": "…"}, lab=True).switch_on("dealy", {})
