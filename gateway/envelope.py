"""The envelope: message, body and compact signature in one string of bytes, the same on every transport.

The layout is fixed and every envelope has exactly one encoding: whoever decodes and encodes again gets the same bytes,
and whatever deviates is refused with the name of the defect. ``contracts/gateway/protocol.md`` §2 describes it for
other implementations, ``contracts/gateway/vectors/`` holds examples. Nothing here checks the signature.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from gateway.signature import ES256, LATEST_TIME_MS, RS512, RSA_BYTES, X5T_BYTES, Compact

MAGIC = b"SRGE"
VERSION = 1
MAX_MESSAGE = 256 * 1024
MAX_BODY = 32 * 1024 * 1024

_HEAD = Struct(">4sBBBQQ32sHII")
HEAD_BYTES = _HEAD.size
MAX_ENVELOPE = HEAD_BYTES + max(RSA_BYTES) + MAX_MESSAGE + MAX_BODY
_CODE_OF = {ES256: 1, RS512: 2}
_ALG_OF = {code: alg for alg, code in _CODE_OF.items()}


class Kind(IntEnum):
    """Which direction a message goes."""

    REQUEST = 1
    RESPONSE = 2


REQUEST = Kind.REQUEST
RESPONSE = Kind.RESPONSE


class MalformedEnvelope(ValueError):
    """These bytes are no envelope; ``defect`` is one word for a machine, the text says what and where."""

    def __init__(self, defect: str, message: str) -> None:
        super().__init__(message)
        self.defect = defect


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message between gateways.

    ``message`` is the X-Road message (request line or status, then headers; UTF-8); an empty ``body`` means no body.
    ``deadline_ms`` is the caller's deadline in milliseconds since 1970, 0 for none: unsigned, advice only.
    """

    kind: Kind
    compact: Compact
    message: bytes = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    deadline_ms: int = 0

    def encode(self) -> bytes:
        """Return the one encoding; ``MalformedEnvelope`` if a value does not fit it."""
        compact = self.compact
        code = _CODE_OF.get(compact.alg)
        if code is None:
            raise MalformedEnvelope("algorithm", f"algorithm {compact.alg!r} is neither ES256 nor RS512")
        if len(compact.x5t) != X5T_BYTES:
            raise MalformedEnvelope("x5t", f"the certificate hash has {len(compact.x5t)} bytes, not {X5T_BYTES}")
        _check_times(compact.t, self.deadline_ms)
        _check_lengths(compact.alg, len(compact.sig), len(self.message), len(self.body))
        _check_text(self.message)
        lengths = len(compact.sig), len(self.message), len(self.body)
        head = _HEAD.pack(MAGIC, VERSION, self.kind, code, compact.t, self.deadline_ms, compact.x5t, *lengths)
        return b"".join((head, compact.sig, self.message, self.body))

    @classmethod
    def decode(cls, data: bytes) -> "Envelope":
        """Read an envelope; ``MalformedEnvelope`` names the first defect in the order of the layout."""
        if len(data) < HEAD_BYTES:
            if not data.startswith(MAGIC[: len(data)]):
                raise _bad_magic(data)
            raise MalformedEnvelope("truncated", f"{len(data)} bytes, the fixed part alone has {HEAD_BYTES}")
        magic, version, kind, code, t, deadline, x5t, sig_size, message_size, body_size = _HEAD.unpack_from(data)
        if magic != MAGIC:
            raise _bad_magic(magic)
        if version != VERSION:
            raise MalformedEnvelope("version", f"version {version} at byte 4, known is {VERSION}")
        if kind != REQUEST and kind != RESPONSE:
            raise MalformedEnvelope("kind", f"kind {kind} at byte 5 is neither 1 (request) nor 2 (response)")
        alg = _ALG_OF.get(code)
        if alg is None:
            raise MalformedEnvelope("algorithm", f"algorithm {code} at byte 6 is neither 1 (ES256) nor 2 (RS512)")
        _check_times(t, deadline)
        _check_lengths(alg, sig_size, message_size, body_size)
        at_message = HEAD_BYTES + sig_size
        at_body = at_message + message_size
        end = at_body + body_size
        if len(data) != end:
            defect = "truncated" if len(data) < end else "trailing"
            raise MalformedEnvelope(defect, f"{len(data)} bytes, but the lengths in its head make {end}")
        message = bytes(data[at_message:at_body])
        _check_text(message)
        compact = Compact(alg, t, x5t, bytes(data[HEAD_BYTES:at_message]))
        return cls(Kind(kind), compact, message, bytes(data[at_body:]), deadline)


def _bad_magic(found: bytes) -> MalformedEnvelope:
    return MalformedEnvelope(
        "magic", f"starts with {bytes(found[:4]).hex()}, an envelope with {MAGIC.hex()} ({MAGIC.decode()})"
    )


def _check_times(t: int, deadline: int) -> None:
    if not 0 <= t <= LATEST_TIME_MS:
        raise MalformedEnvelope("time", f"signing time {t} ms is not between 1970 and 9999")
    if not 0 <= deadline <= LATEST_TIME_MS:
        raise MalformedEnvelope("deadline", f"deadline {deadline} ms is not between 1970 and 9999")


def _check_lengths(alg: str, sig: int, message: int, body: int) -> None:
    if alg == ES256 and sig != 64:
        raise MalformedEnvelope("signature-length", f"signature of {sig} bytes, ES256 has 64")
    if alg == RS512 and sig not in RSA_BYTES:
        raise MalformedEnvelope("signature-length", f"signature of {sig} bytes, RS512 has 256 to 1024")
    if not 1 <= message <= MAX_MESSAGE:
        raise MalformedEnvelope("message-length", f"message of {message} bytes, allowed are 1 to {MAX_MESSAGE}")
    if body > MAX_BODY:
        raise MalformedEnvelope("body-length", f"body of {body} bytes, allowed are at most {MAX_BODY}")


def _check_text(message: bytes) -> None:
    """X-Road's verifier reads ``message.xml`` as UTF-8: another byte would make evidence that it refuses."""
    try:
        message.decode()
    except UnicodeDecodeError as error:
        raise MalformedEnvelope("utf-8", f"the message is not UTF-8 at its byte {error.start}") from None
