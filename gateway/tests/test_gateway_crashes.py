"""SIGKILL between any two steps: no request is executed twice, and every caller learns what became of its own."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from gateway.errors import OUTCOME_UNKNOWN
from gateway.testing import CLIENT, SERVICE, Reply
from gateway.testing_deaths import DEATHS, disk_full

REPEATABLE = SERVICE.replace("registry", "repeatable")

# death → (what the caller of a POST learns, how often the service was called)
ONCE, UNKNOWN_BEFORE, UNKNOWN_AFTER = ("", 1), (OUTCOME_UNKNOWN, 0), (OUTCOME_UNKNOWN, 1)
FATES = {
    "before_received": ONCE,
    "inside_the_commit": ONCE,
    "after_received": ONCE,
    "after_started": UNKNOWN_BEFORE,
    "after_the_service": UNKNOWN_AFTER,
    "after_answered": ONCE,
}


def call_across_a_death(network, death, **call):
    """Call while the provider's gateway dies in the way planted, and is started again."""
    network.civil.stop()
    network.civil.start(death)
    network.civil.wait_until_healthy()
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(network.welfare.call, **call)
        network.civil.restart()
        return answer.result(timeout=60)


@pytest.mark.parametrize("death", FATES)
def test_a_request_is_executed_at_most_once_and_its_fate_is_known(network_over, death):
    network = network_over
    error, executed = FATES[death]
    answer = call_across_a_death(network, DEATHS[death])
    assert answer.error == error
    assert network.executed() == executed
    assert "unknown" in answer.document["hint"] if error else answer.body == b"done"
    assert network.civil.logged() == 2
    assert network.welfare.logged() == 2


@pytest.mark.parametrize("death", ["after_started", "after_the_service"])
@pytest.mark.parametrize(
    ("method", "service"), [("GET", SERVICE), ("POST", REPEATABLE)], ids=["GET", "idempotent POST"]
)
def test_what_may_be_repeated_is_run_again_after_a_death(network_over, death, method, service):
    answer = call_across_a_death(network_over, DEATHS[death], method=method, service=service)
    assert (answer.error, answer.body) == ("", b"" if method == "HEAD" else b"done")
    assert network_over.executed(method) == (1 if death == "after_started" else 2)


def test_a_gateway_that_is_not_running_is_known_at_once(network_over):
    network = network_over
    network.civil.stop()
    began = time.monotonic()
    answer = network.welfare.call()
    assert answer.error == "Server.ClientProxy.NetworkError"
    assert answer.document["message"] == "Could not connect to any target host (civil-gateway)"
    assert time.monotonic() - began < 3
    network.civil.start()
    network.civil.wait_until_healthy()
    end = time.monotonic() + 10
    while network.welfare.call().status != 200:  # over AMQP, that nobody listens is remembered for a second
        assert time.monotonic() < end
    assert network.executed() == 1


def test_a_consumer_that_dies_has_its_request_in_the_log(fresh_network):
    network, asked, answered = fresh_network, threading.Event(), threading.Event()

    def answer(_seen):
        asked.set()
        answered.wait(20)
        return Reply()

    network.service.answer = answer
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(network.welfare.call)
        assert asked.wait(10)
        network.welfare.kill()
        answered.set()
        with pytest.raises(OSError):
            call.result(timeout=20)
    network.welfare.restart()
    assert network.welfare.logged() == 1
    assert network.executed() == 1
    assert network.welfare.call().status == 200


@pytest.mark.parametrize(("side", "error"), [("civil", "Server.ServerProxy"), ("welfare", "Server.ClientProxy")])
def test_what_cannot_be_logged_is_not_executed(fresh_network, side, error):
    gateway = getattr(fresh_network, side)
    gateway.stop()
    gateway.start(disk_full)
    gateway.wait_until_healthy()
    assert fresh_network.welfare.call().error == f"{error}.LoggingFailed"
    assert fresh_network.executed() == 0


def test_sigterm_lets_what_began_come_to_its_end(fresh_network):
    network, asked = fresh_network, threading.Event()

    def answer(_seen):
        asked.set()
        time.sleep(0.5)
        return Reply()

    network.service.answer = answer
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(network.welfare.call)
        assert asked.wait(10)
        network.civil.process.terminate()
        assert call.result(timeout=20).status == 200
    network.civil.process.join(20)
    assert network.civil.process.exitcode == 0


def test_killed_in_the_middle_of_many_calls_none_is_executed_twice(network_over):
    network, calls = network_over, 120
    executed: Counter[bytes] = Counter()
    guard = threading.Lock()

    def answer(seen):
        with guard:
            executed[seen.body] += 1
        return Reply()

    network.service.answer = answer
    answers = {}

    def call(number):
        body = str(number).encode()
        answers[body] = network.welfare.call(body=body)

    with ThreadPoolExecutor(24) as callers:
        work = [callers.submit(call, number) for number in range(calls)]
        while sum(executed.values()) < calls // 4:
            time.sleep(0.002)
        network.civil.kill()
        network.civil.restart()
        for each in work:
            each.result(timeout=60)
    outcomes = Counter(answer.error for answer in answers.values())
    assert set(outcomes) <= {"", OUTCOME_UNKNOWN, "Server.ClientProxy.NetworkError"}, outcomes
    assert max(executed.values()) == 1
    for body, reply in answers.items():
        if reply.error == "":
            assert executed[body] == 1
        if reply.error == "Server.ClientProxy.NetworkError":
            assert executed[body] == 0
    network.civil.logged()
    network.welfare.logged()


def test_the_log_goes_on_where_it_was_after_a_restart(fresh_network):
    for _ in range(3):
        assert fresh_network.welfare.call().status == 200
    fresh_network.civil.kill()
    fresh_network.civil.restart()
    assert fresh_network.welfare.call().status == 200
    assert fresh_network.civil.logged() == 8


def test_a_caller_that_goes_away_stops_nothing_half_way(fresh_network):
    network, asked = fresh_network, threading.Event()

    def answer(_seen):
        asked.set()
        time.sleep(0.5)
        return Reply()

    network.service.answer = answer
    with pytest.raises(requests.Timeout):
        requests.post(f"{network.welfare.url}/r1/{SERVICE}/data", headers={"X-Road-Client": CLIENT}, timeout=0.2)
    assert asked.wait(10)
    end = time.monotonic() + 10
    while network.welfare.logged() < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert network.welfare.logged() == 2
    assert network.executed() == 1
