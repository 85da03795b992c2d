"""Fixtures for the tests of the plumbing and of what steers a sandbox."""

import socket

import pytest


@pytest.fixture
def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
