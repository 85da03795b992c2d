"""A citizen at the consent service: reads the question, answers it, and may take the answer back later."""

from usecases.cash_transfer.scenario.browser import Browser
from usecases.cash_transfer.scenario.cast import Person
from usecases.cash_transfer.scenario.desk import ScreenWrong, log_in
from usecases.cash_transfer.scenario.stage import Stage


def answer_consent(browser: Browser, *, agrees: bool) -> None:
    """Answer on the consent page, which then sends the browser back to the ministry."""
    form = browser.form_with("decision")
    if form is None:
        raise ScreenWrong(f"the consent service asks nothing: {browser.address} ({browser.status})")
    browser.submit(form, decision="agree" if agrees else "refuse")
    if browser.status != 200:
        raise ScreenWrong(f"the way back from the consent service ends at {browser.address} ({browser.status})")


def withdraw_consent(stage: Stage, browser: Browser, person: Person) -> None:
    """Withdraw every consent on the citizen's own page at the consent service."""
    page = stage.consent_page
    browser.open(f"{page}/mine")
    log_in(browser, person, stage.phones)
    browser.open(f"{page}/mine")
    if browser.form_with("decision") is None:
        raise ScreenWrong(f"the consent service shows {person.name} no consent to withdraw")
    while form := browser.form_with("decision"):
        browser.submit(form, decision="withdraw")
