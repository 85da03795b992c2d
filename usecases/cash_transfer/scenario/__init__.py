"""``sandroad demo cash-transfer``: the whole programme played by people with browsers, through gateways only.

Officers and citizens log in for real; one-time codes are read from the inbox of messaging. What only administrators may do
(take a right away, flip a bit, move business time, read the ledgers) is done as the steward. It can be played again and again:
the next planted household, the next payday.
"""

import time
from typing import Any

import requests

from sandroad.running.client import Sandbox, SandboxError
from usecases.cash_transfer.scenario.closing import close_books, prove
from usecases.cash_transfer.scenario.desk import Refused, ScreenWrong
from usecases.cash_transfer.scenario.household import play_next_household
from usecases.cash_transfer.scenario.payment import PaymentAct
from usecases.cash_transfer.scenario.planted_list import play_list
from usecases.cash_transfer.scenario.refusals import Refusals
from usecases.cash_transfer.scenario.stage import Output, Stage
from usecases.cash_transfer.scenario.summary import introduce, tell_in_short, tell_what_is_broken
from usecases.cash_transfer.scenario.waiting import NeverCame

NOTHING: dict[str, Any] = {
    "batch": {"instructions": 0, "paid": 0, "failed": 0, "retried": 0, "amount": "0"},
    "ledger": {"debits": "0", "credits": "0", "in_flight": "0"},
    "evidence": {"messages": 0, "verified": 0},
}


def play(sandbox: Sandbox, *, output: Output) -> dict[str, Any]:
    """Play the story and return its result; ``verdict`` is ``ok`` only if everything adds up."""
    began = time.monotonic()
    stage = Stage(sandbox, output)
    result = dict(NOTHING)
    try:
        _play(stage, result)
    except (Refused, ScreenWrong, NeverCame, SandboxError, LookupError, requests.RequestException) as defect:
        stage.trouble.append(f"{type(defect).__name__}: {defect}")
        stage.say(f"      STOPPED: {defect}")
        stage.show_messages()
    result |= {
        "steps": [exchange.shown for exchange in stage.watch.exchanges],
        "refusals": stage.refusals,
        "trouble": stage.trouble,
        "seconds": round(time.monotonic() - began, 1),
        "verdict": "failed" if stage.trouble else "ok",
    }
    if not stage.trouble:
        tell_in_short(stage, result)
    stage.say()
    stage.say(f"== {'Everything adds up.' if not stage.trouble else 'It does not add up:'} ({result['seconds']} s)")
    for line in stage.trouble:
        stage.say(f"   {line}")
    if stage.trouble:
        tell_what_is_broken(stage)
    return result


def _play(stage: Stage, result: dict[str, Any]) -> None:
    introduce(stage)
    tell_what_is_broken(stage)
    stage.act("Before the day begins", "Officers log in at the identity service; a code comes to each one's phone.")
    with stage.scene("Three officers log in"):
        registrar, preparing = stage.officer("registration"), stage.officer("payment")
        approving = stage.officer("approval", besides=preparing)
    play_next_household(stage, registrar)
    planted = play_list(stage, registrar)
    result["batch"] = PaymentAct(stage, preparing, approving, planted).play()
    stage.act("Case management", "What must not happen is tried on purpose, and refused by the right party.")
    refusals = Refusals(stage, registrar)
    refusals.play_no_consent()
    refusals.play_duplicate()
    consenting = refusals.consenting_household()
    refusals.play_revoked_right(consenting)
    refusals.play_tampering(consenting)
    refusals.play_bypass(consenting)
    refusals.play_withdrawal(consenting)
    stage.settle()
    stage.act("Monitoring", "Do the books of all institutions agree, and can an outsider check every message?")
    with stage.scene("The books"):
        result["ledger"] = close_books(stage)
    with stage.scene("The evidence"):
        result["evidence"] = prove(stage)
