"""What a gateway knows of the network: its own key and certificate, and the newest global configuration it could get.

The last good configuration is kept on disk, so that a gateway that starts while central is away works until it
expires, and no longer. The version is kept with it, so that a restart cannot be used to roll it back.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import requests

from gateway.config import GatewayConfig
from gateway.errors import GatewayError, not_enrolled, outdated_configuration
from gateway.signature import Signer
from gateway.trust.anchor import Anchor, AnchorUnreadable
from gateway.trust.configuration import CertificateEntry, GatewayEntry, GlobalConfiguration, load
from gateway.trust.enrolment import Enrolled, enrol, fetch_configuration, stored
from gateway.trust.keys import put_file
from gateway.trust.refusals import CentralUnavailable, ConfigurationRefused, EnrolmentPending, EnrolmentRefused

log = logging.getLogger(__name__)

CONFIGURATION_FILE = "configuration.signed"
VERSION_FILE = "configuration.version"
ANCHOR_FILE = "anchor.json"
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
REFETCH_SECONDS = 1.0


def real_time() -> datetime:
    """Return security time, which is always the real clock's."""
    return datetime.now(UTC)


class Trust:
    """Enrols, then keeps the configuration fresh. All files are in ``config.data``."""

    def __init__(self, config: GatewayConfig, now: Callable[[], datetime] = real_time) -> None:
        self._config = config
        self.now = now
        self.anchor: Anchor | None = None
        self.signer: Signer | None = None
        self.configuration: GlobalConfiguration | None = None
        self.trouble = "has not asked central yet"
        self._version = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._next_fetch: asyncio.Task[None] | None = None
        self._fetching = asyncio.Lock()
        self._fetched_at = 0.0
        self.enrolled = asyncio.Event()
        self.ready = asyncio.Event()

    async def start(self) -> None:
        """Load what is on disk; enrol and refresh in the background."""
        await asyncio.to_thread(self._load_stored)
        self._note_readiness()
        self._tasks = [asyncio.create_task(self._enrol()), asyncio.create_task(self._refresh())]

    async def stop(self) -> None:
        """End the background work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def current(self, prefix: str) -> GlobalConfiguration:
        """Return the configuration, or raise ``OutdatedGlobalConf`` of the side ``prefix``."""
        configuration = self.configuration
        if configuration is None:
            raise outdated_configuration(prefix, f"this gateway has no global configuration yet ({self.trouble})")
        if configuration.is_expired(self.now()):
            since = f"the newest global configuration this gateway has expired at {configuration.expires_at:%FT%TZ}"
            raise outdated_configuration(prefix, since)
        return configuration

    def own_signer(self, prefix: str) -> Signer:
        """Return what signs for this member, or raise: there is no certificate yet."""
        if self.signer is None:
            raise not_enrolled(prefix)
        return self.signer

    def own_certificate(self) -> CertificateEntry | None:
        """Return the own certificate as the configuration has it."""
        if self.signer is None or self.configuration is None:
            return None
        return self.configuration.certificate(self.signer.x5t)

    def health(self) -> dict[str, str]:
        """Return per check ``ok`` or what is wrong."""
        return {"configuration": self._configuration_health(), "certificate": self._certificate_health()}

    def _configuration_health(self) -> str:
        try:
            self.current("")
        except GatewayError as error:
            return error.hint
        return "ok"

    def _certificate_health(self) -> str:
        if self.signer is None:
            return f"no certificate yet: {self.trouble}"
        entry = self.own_certificate()
        if entry is None:
            return "the own certificate is not in the global configuration"
        return "ok" if entry.is_good_at(self.now()) else f"the own certificate is {entry.status}, or out of its time"

    async def certificate(self, x5t: bytes) -> CertificateEntry | None:
        """Return what is known of a certificate; an unknown one causes one refetch, shared and rate-limited."""
        found = self.configuration.certificate(x5t) if self.configuration else None
        if found is None:
            await self.refetch()
            found = self.configuration.certificate(x5t) if self.configuration else None
        return found

    async def gateways_of(self, subsystem: str) -> tuple[GatewayEntry, ...]:
        """Return the gateways that serve a subsystem; for one that has none the configuration is fetched anew."""
        found = self.configuration.gateways_of(subsystem) if self.configuration else ()
        if not found:
            await self.refetch()
            found = self.configuration.gateways_of(subsystem) if self.configuration else ()
        return found

    async def refetch(self) -> None:
        """Fetch the configuration anew; at most once a second, all who wait for the same fetch share it.

        What began before the call does not count: central may have published in between.
        """
        if self._next_fetch is None:
            self._next_fetch = asyncio.create_task(self._fetch_soon())
        await asyncio.shield(self._next_fetch)

    async def _fetch_soon(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._fetching:
            wait = self._fetched_at + REFETCH_SECONDS - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._next_fetch = None
            self._fetched_at = loop.time()
            if self.anchor is not None:
                await self._fetch(self.anchor)

    async def _fetch(self, anchor: Anchor) -> None:
        try:
            signed = await asyncio.to_thread(fetch_configuration, anchor.configuration_url)
            await asyncio.to_thread(self._take, signed)
            self._note_readiness()
        except (CentralUnavailable, ConfigurationRefused) as reason:
            self.trouble = str(reason)
            log.warning("global configuration not refreshed: %s", reason)
        except Exception as fault:  # a full disk, say: the next attempt must come
            self.trouble = f"the global configuration could not be kept: {fault}"
            log.exception("global configuration not refreshed")

    def _note_readiness(self) -> None:
        """From the moment that the own certificate is published, others can verify what this gateway signs."""
        if self.own_certificate() is not None:
            self.ready.set()

    def _take(self, signed: bytes) -> None:
        assert self.anchor is not None
        configuration = load(signed, self.anchor, self.now(), minimum_version=self._version)
        if self.configuration is None or configuration.version != self.configuration.version:
            put_file(self._config.data / CONFIGURATION_FILE, signed)
            put_file(self._config.data / VERSION_FILE, json.dumps(configuration.version).encode())
        self._version = configuration.version
        self.configuration = configuration

    async def _refresh(self) -> None:
        """Fetch the configuration at the pace that it asks for; faster until the own certificate is in it."""
        await self._anchored()
        await self.enrolled.wait()
        while True:
            await self.refetch()
            if self.configuration is not None and self.own_certificate() is not None:
                await asyncio.sleep(float(self.configuration.settings.get("refresh_seconds", 60)))

    async def _anchored(self) -> None:
        pause = FIRST_PAUSE
        while self.anchor is None:
            try:
                self.anchor = await asyncio.to_thread(self._find_anchor)
            except (AnchorUnreadable, CentralUnavailable) as reason:
                self.trouble = str(reason)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 1.0)

    def _find_anchor(self) -> Anchor:
        """Read the anchor file that was handed over; without one, the pinned copy of what central said at first."""
        if self._config.anchor is not None:
            return Anchor.read(self._config.anchor)
        pinned = self._config.data / ANCHOR_FILE
        if not pinned.exists():
            put_file(pinned, _anchor_from(self._config.central_url))
        return Anchor.read(pinned)

    async def _enrol(self) -> None:
        """Ask central for a certificate until there is one. What an earlier start was given works meanwhile."""
        pause = FIRST_PAUSE
        while True:
            try:
                self._use(await asyncio.to_thread(self._ask_for_certificate))
                return
            except (CentralUnavailable, EnrolmentPending, EnrolmentRefused) as reason:
                self.trouble = str(reason)
                if not isinstance(reason, CentralUnavailable):
                    log.warning("not enrolled: %s", reason)
            except Exception as fault:
                self.trouble = f"enrolment failed: {fault}"
                log.exception("not enrolled")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _ask_for_certificate(self) -> Enrolled:
        config = self._config
        return enrol(
            config.central_url,
            config.data,
            gateway=config.name,
            token=config.enrolment_token,
            address=config.peer_address,
            queue=config.queue,
        )

    def _use(self, enrolled: Enrolled) -> None:
        self.signer = Signer(enrolled.private_key, enrolled.certificate_der)
        self.enrolled.set()

    def _load_stored(self) -> None:
        if (enrolled := stored(self._config.data)) is not None:
            self._use(enrolled)
        with contextlib.suppress(AnchorUnreadable, CentralUnavailable):
            self.anchor = self._find_anchor()
        self._version = _stored_version(self._config.data / VERSION_FILE)
        try:
            if self.anchor is not None:
                self._take((self._config.data / CONFIGURATION_FILE).read_bytes())
        except (OSError, ConfigurationRefused) as reason:
            self.trouble = str(reason)


def _stored_version(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return 0


def _anchor_from(central_url: str) -> bytes:
    """Return the anchor as central gives it out, if it is one."""
    try:
        answer = requests.get(f"{central_url.rstrip('/')}/anchor", timeout=5, allow_redirects=False)
    except requests.RequestException as failure:
        raise CentralUnavailable(f"central cannot be reached: {type(failure).__name__}") from failure
    if answer.status_code != 200:
        raise CentralUnavailable(f"central answered {answer.status_code} to a request for the anchor")
    Anchor.parse(answer.content)
    return answer.content
