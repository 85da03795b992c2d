"""The stage: prints the story in plain words, and keeps what it found for the result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sandroad.running.client import Sandbox
from usecases.cash_transfer.programme import read_programme
from usecases.cash_transfer.scenario.browser import Browser
from usecases.cash_transfer.scenario.cast import Cast, Person
from usecases.cash_transfer.scenario.desk import Desk
from usecases.cash_transfer.scenario.phones import Phones
from usecases.cash_transfer.scenario.places import Places
from usecases.cash_transfer.scenario.waiting import until
from usecases.cash_transfer.scenario.watch import Exchange, Watch

Output = Callable[[str], Any]


class Stage:
    """Everything that the acts of the story share."""

    def __init__(self, sandbox: Sandbox, output: Output) -> None:
        self.sandbox = sandbox
        self.places = Places(sandbox)
        self.cast = Cast(sandbox.country)
        self.programme = read_programme(sandbox.country / str(self.places.settings["programme"]))
        self.phones = Phones(self.places.app("messaging").url)
        self.watch = Watch(self.places)
        self.refusals: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.trouble: list[str] = []
        self._output = output
        self._step = ""
        self._held: list[str] | None = None
        consent = self.places.app("consent")
        self.consent_page = consent.public_url or consent.url
        self.base = self.places.ministry.public_url or self.places.ministry.url

    def say(self, line: str = "") -> None:
        """Print one line; what a scene has found stands below the messages that led to it."""
        if self._held is None:
            self._output(line)
        else:
            self._held.append(line)

    def act(self, step: str, meaning: str) -> None:
        """Begin a step of the programme."""
        self._step = step
        self.say()
        self.say(f"== {step}")
        self.say(f"   {meaning}")

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """Play a scene, then show which messages it made."""
        self.say(f"-- {title}")
        self._held = []
        try:
            yield
            self.show_messages()
        finally:
            found, self._held = self._held, None
            for line in found:
                self.say(line)

    def show_messages(self) -> None:
        """Show the exchanges that are new: number, who asked whom what, and the answer; the same in a row in one line."""
        for line, same in groupby(self.watch.collect(self._step), key=self._told):
            alike = list(same)
            first, last = alike[0], alike[-1]
            numbers = f"{first.number}" if first is last else f"{first.number}-{last.number}"
            self._output(f"{numbers:>7}  {line}, {max(each.milliseconds for each in alike)} ms")

    def _told(self, each: Exchange) -> str:
        consumer, provider = self.places.member_name(each.consumer), self.places.member_name(each.provider)
        if consumer == provider:
            consumer, provider = f"{consumer}, {_system(each.consumer)}", f"its {_system(each.provider)}"
        answer = each.fault or ("ok" if each.status < 400 else f"refused, {each.status}")
        return f"{consumer} -> {provider}: {each.title} | {answer}"

    def refusal(self, case: str, expected: str, got: str, meaning: str) -> None:
        """Note a refusal that was played on purpose, and whether it was the right one."""
        right = got == expected
        self.refusals.append({"case": case, "expected": expected, "got": got})
        self.say(
            f"      refused as it must be: {got}"
            if right
            else f"      WRONG: expected {expected}, got {got or 'no refusal'}"
        )
        self.say(f"      {meaning}")
        if not right:
            self.trouble.append(f"{case}: expected {expected}, got {got or 'no refusal'}")

    def expect(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.trouble.append(what)
            self.say(f"      WRONG: {what}")

    def browser(self) -> Browser:
        """Return a new person's browser."""
        return Browser(self.places.addresses)

    def officer(self, role: str, *, besides: Desk | None = None) -> Desk:
        """Log in the first officer whom the programme gives this role, another one than ``besides``."""
        known = {besides.person.email.casefold()} if besides else set()
        emails = [each.email.casefold() for each in self.programme.officers if role in each.roles]
        desk = Desk(self.browser(), self.base, self.cast.officer([each for each in emails if each not in known]))
        desk.log_in(self.phones)
        return desk

    def settle(self) -> None:
        """Wait until the ministry's app has nothing left to send."""
        steward = self.sandbox.steward(self.places.ministry.name)
        until(lambda: steward.get("/-/outbox")["waiting"] == 0, "the ministry's outgoing calls")


def _system(identifier: str) -> str:
    return identifier.rsplit("/", 1)[-1].lower().replace("-", " ")


def person_line(person: Person) -> str:
    """Return a person as the story introduces them."""
    return f"{person.name} (household {person.household}, phone {person.phone})"
