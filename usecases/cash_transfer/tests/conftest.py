"""Fixtures of the cash transfer: the programme as the country configures it."""

import pytest

from sandroad.testing import ROOT
from usecases.cash_transfer.programme import Programme, read_programme


@pytest.fixture(scope="session")
def programme() -> Programme:
    return read_programme(ROOT / "country" / "programmes" / "CT-01.yaml")
