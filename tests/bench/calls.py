"""A signed, verified, logged call through two gateways, against the same two hops as plain proxies and against a bare RPC."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests.bench.load import BODY
from tests.bench.network import CLIENT, echo, gateways, plain_hops, process, scratch
from tests.bench.peers import rpc_callers

CALLERS = (1, 16, 64)


def measure(say: Callable[[str], None], *, seconds: float, rounds: int) -> None:
    """Print throughput and 99th percentile for each way and number of callers, and the ratios."""
    amqp = os.environ.get("SANDROAD_TEST_AMQP", "")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        service = stack.enter_context(echo(folder))
        ways = {"plain hops": stack.enter_context(plain_hops(folder, service))}
        (folder / "d").mkdir()
        ways["signed, direct"] = stack.enter_context(gateways(folder / "d", service))
        if amqp:
            (folder / "q").mkdir()
            ways["signed, RabbitMQ"] = stack.enter_context(gateways(folder / "q", service, amqp))
        else:
            say("RabbitMQ is not there: its rows are missing")
        say(f"{'way':<18} {'callers':>7} {'calls/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'errors':>6}  ratio to plain hops")
        for callers in CALLERS:
            results = {name: [] for name in ways}  # type: dict[str, list[dict[str, float]]]
            for _ in range(rounds):
                for name, url in ways.items():
                    results[name].append(_load(url, callers, seconds))
            base = _median(results["plain hops"], "per_second")
            for name, rows in results.items():
                rate = _median(rows, "per_second")
                say(
                    f"{name:<18} {callers:>7} {rate:>9.0f} {_median(rows, 'p50_ms'):>8.1f} {_median(rows, 'p99_ms'):>8.1f} "
                    f"{sum(row['errors'] for row in rows):>6.0f}  {rate / base:.2f}"
                )
            if amqp:
                bare = _bare(folder, amqp, callers, seconds, rounds)
                signed = _median(results["signed, RabbitMQ"], "per_second")
                say(
                    f"{'bare pika RPC':<18} {callers:>7} {bare:>9.0f}   signed over RabbitMQ is {signed / bare:.2f} of it"
                )


def _load(url: str, callers: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.load", url, CLIENT, str(callers), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _bare(folder: object, amqp: str, callers: int, seconds: float, rounds: int) -> float:
    url, queue = amqp.split("?")[0], f"bench-{os.getpid()}-{callers}"
    command = [sys.executable, "-m", "tests.bench.peers", url, queue]
    with process(command, folder, f"rpc-{callers}"):  # type: ignore[arg-type]
        _until_there(url, queue)
        return statistics.median(rpc_callers(url, queue, callers, seconds, BODY) for _ in range(rounds))


def _until_there(url: str, queue: str) -> None:
    """Return when the server's queue exists. (It is exclusive, so looking at it is refused as locked, not as missing.)"""
    import time

    import pika

    for _ in range(200):
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code == 405:
                return
        finally:
            if connection.is_open:
                connection.close()
        time.sleep(0.05)
    raise SystemExit("the bare RPC server did not start")


def _median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)
