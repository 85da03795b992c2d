"""What the programme refuses, each named for the broken rule; ``contracts/problems.yaml`` has their statuses and titles."""

from sandroad.problems import Refusal


class NotLoggedIn(Refusal):
    """The screen or call needs an officer who has logged in."""

    code = "login_needed"


class NotAnOfficer(Refusal):
    """Logged in at identity, but the programme file does not name this e-mail."""

    code = "not_an_officer"


class RoleMissing(Refusal):
    """The officer's roles do not cover this step."""

    code = "role_missing"


class CrossSite(Refusal):
    """The request does not bear the token of the officer's own session: another site may have caused it."""

    code = "session_token_missing"


class LoginFailed(Refusal):
    """Identity did not confirm who this is."""

    code = "login_failed"


class LoginNotSetUp(Refusal):
    """This app has no client id at identity yet."""

    code = "login_not_set_up"


class UnknownApplication(Refusal):
    """There is no application of that number."""

    code = "unknown_application"


class UnknownBeneficiary(Refusal):
    """There is no beneficiary of that functional id."""

    code = "unknown_beneficiary"


class UnknownBatch(Refusal):
    """There is no batch of that id."""

    code = "unknown_batch"


class StepOutOfOrder(Refusal):
    """The case or batch is in a state that does not allow this step."""

    code = "step_out_of_order"


class SomebodyElse(Refusal):
    """The application is bound to another person already."""

    code = "application_of_somebody_else"


class DuplicateHousehold(Refusal):
    """The household has an application or is enrolled already."""

    code = "duplicate_household"


class FactNotKnown(Refusal):
    """The rules need a fact that the case does not hold."""

    code = "fact_not_known"


class FourEyes(Refusal):
    """Who prepared a batch may not release it."""

    code = "four_eyes"


class CycleNotDue(Refusal):
    """The cycle that is due was opened already; the next one is not due yet."""

    code = "cycle_not_due"


class NothingToPay(Refusal):
    """There is nobody to pay, or nothing that failed and may be tried again."""

    code = "nothing_to_pay"


class ProviderRefused(Refusal):
    """Another organisation or its gateway said no; ``provider`` tells its status and words."""

    code = "provider_refused"


class ProviderUnavailable(Refusal):
    """Another organisation could not be reached, or failed: nothing was changed here, try again."""

    code = "provider_unavailable"


class ListDefective(Refusal):
    """The imported file as a whole cannot be read: encoding, header, size."""

    code = "list_defective"
