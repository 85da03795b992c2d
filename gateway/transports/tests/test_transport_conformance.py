"""What every transport owes, on each of them; and what RabbitMQ owes besides."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pika
import pytest
import requests

from gateway.envelope import MAX_ENVELOPE
from gateway.transports import DeadlinePassed, Delivery, PeerUnreachable, Transport
from gateway.transports.amqp import AmqpTransport
from gateway.transports.direct import DirectTransport
from gateway.trust.configuration import GatewayEntry
from sandroad.country.topology import Topology
from sandroad.running.provision import Provision
from sandroad.running.secrets import Secrets
from sandroad.testing import ROOT
from tests.servers import free_ports

CIVIL, WELFARE = "GOV/CIVIL", "GOV/WELFARE"
Work = Callable[["Network"], Awaitable[None]]


class Network:
    """Gateways of two members on one transport; ``entry`` is how the directory lists them."""

    def __init__(self, kind: str, urls: Callable[[str], str]) -> None:
        self.kind = kind
        self.urls = urls
        self._ports = dict(zip((CIVIL, WELFARE), free_ports(2), strict=True))

    def transport(self, member: str) -> Transport:
        if self.kind == "direct":
            return DirectTransport("127.0.0.1", self._ports[member], stop_seconds=5)
        return AmqpTransport(self.urls(member), self.queue(member), stop_seconds=5)

    def queue(self, member: str) -> str:
        return f"gateway.SANDBOX.{member.replace('/', '.')}"

    def entry(self, member: str) -> GatewayEntry:
        return GatewayEntry(
            member=member,
            code="gw",
            address=f"http://127.0.0.1:{self._ports[member]}",
            queue=self.queue(member),
            certificates=frozenset(),
        )

    @asynccontextmanager
    async def running(self, member: str, handler: Callable[[Delivery], Awaitable[bytes]]) -> AsyncIterator[Transport]:
        transport = self.transport(member)
        await transport.start(handler)
        await until(lambda: transport.health() == "ok")
        try:
            yield transport
        finally:
            await transport.stop()


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def echo(delivery: Delivery) -> bytes:
    await delivery.accepted()
    return b"answer to " + delivery.envelope


@pytest.fixture
def broker(amqp_admin_url: str, tmp_path: Path) -> Callable[[str], str]:
    """Users and a virtual host on the real broker, as ``sandroad up --amqp`` makes them."""
    provision = Provision(amqp_admin_url, "", tmp_path)
    provision.make(Topology.read(ROOT / "country"), Secrets(tmp_path / "steward"))
    return provision.broker_url


@pytest.fixture(params=["direct", "amqp"])
def network(request: pytest.FixtureRequest) -> Network:
    urls = request.getfixturevalue("broker") if request.param == "amqp" else lambda member: ""
    return Network(request.param, urls)


@pytest.fixture
def amqp(broker: Callable[[str], str]) -> Network:
    return Network("amqp", broker)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize(
    "envelope", [b"x", bytes(range(256)) * 64, os.urandom(MAX_ENVELOPE // 4)], ids=["one", "all-bytes", "large"]
)
def test_an_envelope_arrives_and_its_answer_returns_byte_for_byte(network: Network, envelope: bytes) -> None:
    async def work() -> None:
        async with network.running(CIVIL, echo), network.running(WELFARE, echo) as caller:
            assert await caller.call(network.entry(CIVIL), envelope, 10) == b"answer to " + envelope

    run(work)


def test_a_peer_that_nobody_runs_is_unreachable_at_once(network: Network) -> None:
    async def work() -> None:
        async with network.running(WELFARE, echo) as caller:
            began = time.monotonic()
            with pytest.raises(PeerUnreachable):
                await caller.call(network.entry(CIVIL), b"x", 30)
            assert time.monotonic() - began < 10

    run(work)


def test_a_peer_that_has_stopped_is_unreachable_at_once(network: Network) -> None:
    async def work() -> None:
        async with network.running(WELFARE, echo) as caller:
            async with network.running(CIVIL, echo):
                await caller.call(network.entry(CIVIL), b"x", 10)
            await asyncio.sleep(1.1)  # what the caller saw is remembered for a second
            began = time.monotonic()
            with pytest.raises(PeerUnreachable):
                await caller.call(network.entry(CIVIL), b"x", 30)
            assert time.monotonic() - began < 10

    run(work)


def test_an_answer_that_comes_too_late_is_a_passed_deadline(network: Network) -> None:
    async def work() -> None:
        release = asyncio.Event()

        async def slow(delivery: Delivery) -> bytes:
            await delivery.accepted()
            await release.wait()
            return b"late"

        async with network.running(CIVIL, slow), network.running(WELFARE, echo) as caller:
            with pytest.raises(DeadlinePassed):
                await caller.call(network.entry(CIVIL), b"x", 0.5)
            release.set()

    run(work)


def test_many_callers_at_once_each_get_their_own_answer_and_a_key_of_their_own(network: Network) -> None:
    keys: list[str] = []

    async def answering(delivery: Delivery) -> bytes:
        keys.append(delivery.key)
        return await echo(delivery)

    async def work() -> None:
        async with network.running(CIVIL, answering), network.running(WELFARE, echo) as caller:
            sent = [f"envelope {n}".encode() for n in range(200)]
            answers = await asyncio.gather(*(caller.call(network.entry(CIVIL), each, 30) for each in sent))
            assert answers == [b"answer to " + each for each in sent]
        assert len(set(keys)) == 200

    run(work)


def test_a_call_that_hangs_delays_no_other(network: Network) -> None:
    async def work() -> None:
        release = asyncio.Event()

        async def sometimes_slow(delivery: Delivery) -> bytes:
            await delivery.accepted()
            if delivery.envelope == b"slow":
                await release.wait()
            return delivery.envelope

        async with network.running(CIVIL, sometimes_slow), network.running(WELFARE, echo) as caller:
            hanging = [asyncio.create_task(caller.call(network.entry(CIVIL), b"slow", 30)) for _ in range(20)]
            assert await caller.call(network.entry(CIVIL), b"quick", 10) == b"quick"
            assert not any(task.done() for task in hanging)
            release.set()
            assert await asyncio.gather(*hanging) == [b"slow"] * 20

    run(work)


def test_stopping_finishes_what_began(network: Network) -> None:
    async def work() -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def slow(delivery: Delivery) -> bytes:
            await delivery.accepted()
            begun.set()
            await release.wait()
            return b"finished"

        async with network.running(WELFARE, echo) as caller:
            provider = network.transport(CIVIL)
            await provider.start(slow)
            await until(lambda: provider.health() == "ok")
            call = asyncio.create_task(caller.call(network.entry(CIVIL), b"x", 20))
            await begun.wait()
            stopping = asyncio.create_task(provider.stop())
            await asyncio.sleep(0)
            release.set()
            assert await call == b"finished"
            await stopping

    run(work)


def test_two_instances_share_one_queue(amqp: Network) -> None:
    counts = {"a": 0, "b": 0}

    def counting(name: str) -> Callable[[Delivery], Awaitable[bytes]]:
        async def handler(delivery: Delivery) -> bytes:
            counts[name] += 1
            return await echo(delivery)

        return handler

    async def work() -> None:
        async with (
            amqp.running(CIVIL, counting("a")),
            amqp.running(CIVIL, counting("b")),
            amqp.running(WELFARE, echo) as caller,
        ):
            await asyncio.gather(*(caller.call(amqp.entry(CIVIL), b"x", 20) for _ in range(100)))
        assert counts["a"] + counts["b"] == 100
        assert min(counts.values()) > 10

    run(work)


def test_what_was_not_accepted_is_delivered_again_under_the_same_key(amqp: Network, amqp_admin_url: str) -> None:
    keys: list[str] = []

    async def work() -> None:
        hang = asyncio.Event()

        async def first_hangs(delivery: Delivery) -> bytes:
            keys.append(delivery.key)
            if len(keys) == 1:
                await hang.wait()  # before accepted(): the broker still owns the message
            return await echo(delivery)

        async with amqp.running(CIVIL, first_hangs), amqp.running(WELFARE, echo) as caller:
            call = asyncio.create_task(caller.call(amqp.entry(CIVIL), b"x", 40))
            await until(lambda: len(keys) == 1)
            await asyncio.to_thread(close_connections, amqp_admin_url, amqp.urls(CIVIL))
            await until(lambda: len(keys) == 2, 30)
            assert keys[0] == keys[1]
            assert await call == b"answer to x"
            hang.set()

    run(work)


def test_a_lost_connection_comes_back_by_itself(amqp: Network, amqp_admin_url: str) -> None:
    async def work() -> None:
        async with amqp.running(CIVIL, echo) as provider, amqp.running(WELFARE, echo) as caller:
            await caller.call(amqp.entry(CIVIL), b"before", 10)
            for member in (CIVIL, WELFARE):
                await asyncio.to_thread(close_connections, amqp_admin_url, amqp.urls(member))
            await until(lambda: provider.health() == caller.health() == "ok", 30)

            async def called() -> bytes:
                while True:
                    try:
                        return await caller.call(amqp.entry(CIVIL), b"after", 10)
                    except PeerUnreachable:
                        await asyncio.sleep(0.1)

            assert await called() == b"answer to after"

    run(work)


def test_a_broker_that_is_down_is_named_by_health_and_refuses_calls_clearly() -> None:
    async def work() -> None:
        (port,) = free_ports(1)
        transport = AmqpTransport(f"amqp://nobody:x@127.0.0.1:{port}/", "gateway.SANDBOX.GOV.WELFARE")
        await transport.start(echo)
        entry = GatewayEntry(
            member=CIVIL, code="gw", address="", queue="gateway.SANDBOX.GOV.CIVIL", certificates=frozenset()
        )
        with pytest.raises(PeerUnreachable, match="not connected to RabbitMQ"):
            await transport.call(entry, b"x", 1)
        assert transport.health().startswith("not connected to RabbitMQ")
        await transport.stop()

    run(work)


@pytest.mark.parametrize("attempt", ["consume", "get", "declare", "purge"])
def test_a_member_cannot_touch_another_members_queue(amqp: Network, attempt: str) -> None:
    """The broker's own permissions: even a gateway that misbehaves reads nobody else's messages."""

    async def exist() -> None:
        async with amqp.running(CIVIL, echo):
            pass

    run(exist)
    connection = pika.BlockingConnection(pika.URLParameters(amqp.urls(WELFARE)))
    channel, queue = connection.channel(), amqp.queue(CIVIL)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        match attempt:
            case "consume":
                channel.basic_consume(queue, lambda *_: None)
            case "get":
                channel.basic_get(queue)
            case "declare":
                channel.queue_declare(queue, durable=True)
            case "purge":
                channel.queue_purge(queue)
    connection.close()


def close_connections(admin_url: str, user_url: str) -> None:
    """Cut a user's connections at the broker, as a failing network would."""
    parts, user = urlsplit(admin_url), urlsplit(user_url).username
    base = parts.query.removeprefix("management=")
    auth = (parts.username or "", parts.password or "")
    deadline = time.monotonic() + 30
    while True:  # the management API learns of connections with a delay
        found = [
            c["name"]
            for c in requests.get(f"{base}/api/connections", auth=auth, timeout=10).json()
            if c.get("user") == user
        ]
        if found:
            break
        assert time.monotonic() < deadline, f"no connection of {user} is listed"
        time.sleep(0.2)
    for name in found:
        requests.delete(f"{base}/api/connections/{quote(name, safe='')}", auth=auth, timeout=10)
