"""The frame of the story: how to read it, and at its end what happened and where to look at it by oneself."""

from collections.abc import Mapping
from typing import Any

from sandroad.cli.lab import broken_now
from usecases.cash_transfer.scenario.cast import Person
from usecases.cash_transfer.scenario.stage import Stage

HOW_TO_READ = """
   ==  a step of the programme
   --  a scene in it
    7  the seventh message from one organisation to another: who -> whom: what is asked | the answer

A message leaves by the sender's gateway, which signs it. The receiver's gateway lets it in only if the signature is
good and the sender has the right to ask this. Both keep it, signed and time-stamped: that is the evidence.
Organisations know a person by a functional id (such as CT01-…) that is good in this programme only, not by name or
national id. What is refused below is refused on purpose.
"""


def introduce(stage: Stage) -> None:
    """Say what is played and how to read it."""
    stage.say(f"{stage.programme.name}: people apply, agree, are found eligible and are paid. How to read this:")
    for line in HOW_TO_READ.rstrip().splitlines():
        stage.say(line)


def tell_what_is_broken(stage: Stage) -> None:
    """Name the faults that somebody has switched on: they explain what is seen."""
    for line in broken_now(stage.sandbox):
        stage.say(f"   broken on purpose: {line}")


def tell_in_short(stage: Stage, result: Mapping[str, Any]) -> None:
    """Tell what the story came to, and name the screens with the people who may log in there."""
    batch, ledger, evidence = result["batch"], result["ledger"], result["evidence"]
    exchanges = stage.watch.exchanges
    organisations = {stage.places.member_name(name) for each in exchanges for name in (each.consumer, each.provider)}
    currency = stage.programme.currency
    stage.say()
    stage.say("== In short")
    tell(stage, "messages", f"{len(exchanges)} between {len(organisations)} organisations")
    tell(stage, "refused", f"{len(stage.refusals)} attempts, each by the party that has to refuse it")
    tell(stage, "payments", f"{batch['paid']} paid, {batch['amount']} {currency}; {batch['failed']} failed and mended")
    tell(
        stage,
        "books",
        f"paid out {ledger['debits']} = received {ledger['credits']} + in suspense {ledger['in_flight']}",
    )
    tell(stage, "evidence", str(evidence["folder"]))
    tell(stage, "", "messages.csv there names each message; `sandroad evidence verify FILE` checks it")
    stage.say("   To look by yourself, while the sandbox runs:")
    inbox = stage.places.app("messaging")
    tell(stage, "phones", f"{inbox.public_url or inbox.url}/inbox   codes and text messages arrive here")
    tell(stage, "ministry", f"{stage.base}/   log in with one of these numbers; the code comes to the phone:")
    for officer in stage.programme.officers:
        for person in stage.cast.with_email(officer.email):
            tell(stage, "", f"{login_line(person)}, {' and '.join(sorted(officer.roles))}")
    tell(stage, "consent", f"{stage.consent_page}/mine   a citizen's own page; for example:")
    tell(stage, "", login_line(stage.cast.one("story")))


def tell(stage: Stage, name: str, said: str) -> None:
    """Print one line of a list with names."""
    stage.say(f"   {name:<9} {said}")


def login_line(person: Person) -> str:
    """Return a person with what a login takes."""
    return f"{person.individual_id}  phone {person.phone}  {person.name}"
