"""A running central for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.central.testing import CentralUnderTest, central_under_test


@pytest.fixture
def central(tmp_path: Path) -> Iterator[CentralUnderTest]:
    with central_under_test(tmp_path) as running:
        yield running
