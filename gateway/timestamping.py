"""Batch time-stamps: one RFC 3161 token proves when all the messages of a few seconds existed.

The SHA-512 of each message's finished ``signatures.xml`` is a leaf of a hash tree; the token covers its root. Nothing
waits for it on the data path; an export that comes before the batch asks for one at once.
"""

import asyncio
import hashlib
import json
import logging
import secrets
from dataclasses import dataclass
from typing import Any

import requests
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, func, insert, select

from gateway import tables
from gateway.core import Core
from gateway.evidence import hashchain
from gateway.evidence.container import render_signatures
from gateway.evidence.timestamp import TimestampInvalid, verify_token
from gateway.log import Batch
from gateway.monitoring import now_ms
from gateway.signature import Compact
from gateway.tables import put_if_absent
from gateway.trust.configuration import GlobalConfiguration
from sandroad.problems import Error

log = logging.getLogger(__name__)

MOST_IN_A_BATCH = 10_000
LARGEST_REPLY = 64 * 1024


class StampingFailed(Error):
    """No time-stamp could be had."""


@dataclass(frozen=True)
class Unstamped:
    """One message that waits for a time-stamp; ``ocsp`` is the OCSP response that its evidence will carry."""

    id: int
    leaf: bytes
    ocsp: bytes


class TimeStamping:
    """Stamps what the message log holds, every few seconds and on demand."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = asyncio.Lock()
        self.trouble = ""

    async def run(self) -> None:
        """Stamp for ever; a time-stamping authority that is away is asked again."""
        while True:
            await asyncio.sleep(self._core.config.timestamp_seconds)
            try:
                await self.stamp()
                self.trouble = ""
            except Exception as failure:
                self.trouble = f"time-stamping failed: {failure}"
                log.warning("time-stamping failed: %s", failure)

    async def stamp(self) -> int:
        """Stamp everything that is logged and has no stamp; return how many messages that were."""
        count = 0
        async with self._lock:
            while waiting := await asyncio.to_thread(self._unstamped):
                await self._stamp(waiting)
                count += len(waiting)
                if len(waiting) < MOST_IN_A_BATCH:
                    break
        return count

    async def _stamp(self, waiting: list[Unstamped]) -> None:
        configuration = self._core.trust.configuration
        if configuration is None:
            raise StampingFailed("there is no global configuration, which names the time-stamping authority")
        root, paths = await asyncio.to_thread(hashchain.build, [one.leaf for one in waiting])
        token = await asyncio.to_thread(ask_for_token, configuration, hashchain.render_result(root))
        authorities = {_sha256(der): der for der in map(_der, configuration.ca_certificates)}
        blobs = authorities | {_sha256(one.ocsp): one.ocsp for one in waiting}
        listed = json.dumps([digest.hex() for digest in authorities])

        def write(batch: Batch) -> None:
            rows = [{"hash": digest, "der": der} for digest, der in blobs.items()]
            put_if_absent(batch.connection, tables.blobs, rows)
            row = {"at": now_ms(), "root": root, "token": token, "authorities": listed}
            new = insert(tables.batches).values(row).returning(tables.batches.c.id)
            number = batch.connection.execute(new).scalar_one()
            stamps = [
                {"id": one.id, "batch": number, "path": hashchain.pack(path), "ocsp": _sha256(one.ocsp)}
                for one, path in zip(waiting, paths, strict=True)
            ]
            batch.connection.execute(insert(tables.stamps), stamps)

        await self._core.writer.write(write)

    def _unstamped(self) -> list[Unstamped]:
        configuration = self._core.trust.configuration
        if configuration is None:
            return []
        with self._core.log.database.read() as connection:
            first, last = self._core.log.own_range()
            done = connection.execute(
                select(func.max(tables.stamps.c.id)).where(tables.stamps.c.id.between(first, last))
            ).scalar()
            records = tables.records
            query = select(records).where(records.c.id > (done or first), records.c.id <= last)
            rows = connection.execute(query.order_by(records.c.id).limit(MOST_IN_A_BATCH)).mappings().all()
            ders = blobs_of(connection, {bytes(row["x5t"]) for row in rows})
        authorities = tuple(_der(certificate) for certificate in configuration.ca_certificates)
        return [self._leaf(row, ders, authorities, configuration) for row in rows]

    def _leaf(
        self, row: Any, ders: dict[bytes, bytes], authorities: tuple[bytes, ...], configuration: GlobalConfiguration
    ) -> Unstamped:
        """Return a message's leaf, with the freshest OCSP response that calls its certificate good."""
        x5t = bytes(row["x5t"])
        entry = configuration.certificate(x5t)
        if entry is not None and entry.status == "good":
            ocsp_der = entry.ocsp_der
        else:
            with self._core.log.database.read() as connection:
                ocsp_der = blobs_of(connection, {bytes(row["ocsp"])})[bytes(row["ocsp"])]
        compact = Compact(row["alg"], row["t"], x5t, bytes(row["sig"]))
        digests = bytes(row["message_digest"]), None if row["body_digest"] is None else bytes(row["body_digest"])
        signatures = render_signatures(compact, *digests, ders[x5t], authorities, (ocsp_der,))
        return Unstamped(row["id"], hashlib.sha512(signatures).digest(), ocsp_der)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _sha256(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def blobs_of(connection: Connection, hashes: set[bytes]) -> dict[bytes, bytes]:
    """Return stored certificates and OCSP responses by their SHA-256."""
    blobs = tables.blobs
    rows = connection.execute(select(blobs.c.hash, blobs.c.der).where(blobs.c.hash.in_(hashes)))
    return {bytes(row.hash): bytes(row.der) for row in rows}


def ask_for_token(configuration: GlobalConfiguration, data: bytes) -> bytes:
    """Return an RFC 3161 token over the SHA-512 of ``data``, verified; raise ``StampingFailed``."""
    nonce = secrets.randbits(63)
    imprint = {"hash_algorithm": {"algorithm": "sha512"}, "hashed_message": hashlib.sha512(data).digest()}
    query = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": nonce, "cert_req": True})
    try:
        answer = requests.post(
            configuration.timestamping_url,
            data=query.dump(),
            headers={"Content-Type": "application/timestamp-query"},
            timeout=10,
            allow_redirects=False,
        )
    except requests.RequestException as failure:
        raise StampingFailed(f"the authority cannot be reached: {type(failure).__name__}") from failure
    if answer.status_code != 200 or len(answer.content) > LARGEST_REPLY:
        raise StampingFailed(f"the authority answered {answer.status_code}")
    try:
        reply = tsp.TimeStampResp.load(answer.content, strict=True)
        if reply["status"]["status"].native not in ("granted", "granted_with_mods"):
            raise StampingFailed("the authority refused the query")
        token = bytes(reply["time_stamp_token"].dump())
        info = reply["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
        if info["nonce"].native != nonce:
            raise StampingFailed("the authority answered another query")
        verify_token(token, data, configuration.tsa_certificates, configuration.ca_certificates)
    except (ValueError, TypeError, KeyError, AttributeError, TimestampInvalid) as defect:
        raise StampingFailed(f"the authority's answer is no time-stamp of these bytes: {defect}") from defect
    return token
