"""The zip of a container: written always the same way, and read only if it was written that way.

Everything that a zip could say twice or hide (time stamps, extra fields, comments, gaps between entries, names that differ
between directory and header) has one fixed value. The compressed bytes themselves may come from another deflate
implementation: what must be equal is what they unfold to.
"""

import re
import zlib
from struct import Struct

MIMETYPE = b"application/vnd.etsi.asic-e+zip"
COMMENT = b"mimetype=" + MIMETYPE
MAX_ARCHIVE = 72 * 1024 * 1024
MAX_ENTRY = 40 * 1024 * 1024
MAX_ENTRIES = 16
_NAME = re.compile(rb"[A-Za-z0-9./_-]{1,64}")

STORED, DEFLATED = 0, 8
_VERSION = 20
_DATE = 0x21  # 1980-01-01, the first day a zip can name
_MADE_BY = 3 << 8 | _VERSION  # Unix
_ATTRIBUTES = 0o100644 << 16
_LOCAL = Struct("<4s5H3I2H")
_CENTRAL = Struct("<4s6H3I5H2I")
_END = Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


class ArchiveDefect(ValueError):
    """The bytes are not a container's zip; the text says where they deviate."""


def _local(name: bytes, method: int, crc: int, packed: int, size: int) -> bytes:
    return _LOCAL.pack(_LOCAL_MAGIC, _VERSION, 0, method, 0, _DATE, crc, packed, size, len(name), 0) + name


def _central(name: bytes, method: int, crc: int, packed: int, size: int, offset: int) -> bytes:
    head = (_CENTRAL_MAGIC, _MADE_BY, _VERSION, 0, method, 0, _DATE, crc, packed, size, len(name))
    return _CENTRAL.pack(*head, 0, 0, 0, 0, _ATTRIBUTES, offset) + name


def _end(entries: int, directory: int, offset: int) -> bytes:
    return _END.pack(_END_MAGIC, 0, 0, entries, entries, directory, offset, len(COMMENT)) + COMMENT


def write(entries: dict[str, bytes]) -> bytes:
    """Return the zip of ``entries`` in their order: the first, ``mimetype``, stored, the rest deflated."""
    parts, directory, offset = [], [], 0
    for at, (name, content) in enumerate(entries.items()):
        method = DEFLATED if at else STORED
        packed = _deflate(content) if method == DEFLATED else content
        described = (name.encode("ascii"), method, zlib.crc32(content), len(packed), len(content))
        parts += [_local(*described), packed]
        directory.append(_central(*described, offset))
        offset += len(parts[-2]) + len(packed)
    listed = b"".join(directory)
    return b"".join((*parts, listed, _end(len(entries), len(listed), offset)))


def read(data: bytes) -> dict[str, bytes]:
    """Return the entries in their order; ``ArchiveDefect`` if the zip differs from what ``write`` makes of them."""
    if len(data) > MAX_ARCHIVE:
        raise ArchiveDefect(f"{len(data)} bytes, more than the {MAX_ARCHIVE} of a container")
    entries: dict[str, bytes] = {}
    directory, offset = [], 0
    while data[offset : offset + 4] == _LOCAL_MAGIC:
        name, content, central, offset = _read_entry(data, offset, STORED if not entries else DEFLATED)
        if name in entries:
            raise ArchiveDefect(f"entry {name} stands twice")
        entries[name] = content
        directory.append(central)
        if len(entries) > MAX_ENTRIES:
            raise ArchiveDefect(f"more than {MAX_ENTRIES} entries")
    listed = b"".join(directory)
    if data[offset : offset + len(listed)] != listed:
        raise ArchiveDefect("the central directory differs from the entries, or from the fixed form")
    if data[offset + len(listed) :] != _end(len(entries), len(listed), offset):
        raise ArchiveDefect(f"the end record, with the comment {COMMENT.decode()}, differs from the fixed form")
    return entries


def _read_entry(data: bytes, offset: int, method: int) -> tuple[str, bytes, bytes, int]:
    """Return name, content, expected directory record and the offset after the entry that starts at ``offset``."""
    if len(data) - offset < _LOCAL.size:
        raise ArchiveDefect(f"cut off in an entry's header at byte {offset}")
    *_, crc, packed_size, size, name_size, _extra = _LOCAL.unpack_from(data, offset)
    raw_name = data[offset + _LOCAL.size : offset + _LOCAL.size + name_size]
    described = (raw_name, method, crc, packed_size, size)
    start = offset + _LOCAL.size + name_size
    if not _NAME.fullmatch(raw_name):
        raise ArchiveDefect(f"the name of the entry at byte {offset} is not one to be found in a container")
    name = raw_name.decode("ascii")
    if data[offset:start] != _local(*described):
        raise ArchiveDefect(f"header of entry {name!r}: time, flags, method or extra fields are not the fixed ones")
    packed = data[start : start + packed_size]
    if len(packed) != packed_size or size > MAX_ENTRY:
        raise ArchiveDefect(f"entry {name!r}: cut off, or larger than {MAX_ENTRY} bytes")
    content = _inflate(name, packed, size) if method == DEFLATED else packed
    if len(content) != size or zlib.crc32(content) != crc:
        raise ArchiveDefect(f"entry {name!r}: size or checksum differs from its content")
    return name, content, _central(*described, offset), start + packed_size


def _deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


def _inflate(name: str, packed: bytes, size: int) -> bytes:
    """Unfold at most ``size`` bytes, so that a small file cannot unfold to a large one unnoticed."""
    inflater = zlib.decompressobj(-15)
    try:
        content = inflater.decompress(packed[:-1], size + 1)
        before_last = inflater.copy()
        rest = inflater.unconsumed_tail + packed[-1:]
        content += inflater.decompress(rest, max(size + 1 - len(content), 1))
    except zlib.error as error:
        raise ArchiveDefect(f"entry {name!r}: the compressed bytes are damaged ({error})") from None
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail or len(content) != size:
        raise ArchiveDefect(f"entry {name!r}: the compressed bytes do not unfold to the {size} bytes announced")
    if _has_idle_bits(before_last, rest, content) and packed != _deflate(content):
        raise ArchiveDefect(f"entry {name!r}: unused bits after the compressed bytes are not zero")
    return content


def _has_idle_bits(before_last: "zlib._Decompress", rest: bytes, content: bytes) -> bool:
    """Tell whether a bit set in the last byte makes no difference: padding, which deflate leaves zero (RFC 1951 §3.2.3)."""
    for bit in range(8):
        if rest[-1] >> bit & 1:
            inflater = before_last.copy()
            try:
                end = inflater.decompress(rest[:-1] + bytes([rest[-1] ^ 1 << bit]), len(content) + 1)
            except zlib.error:
                continue
            if inflater.eof and content.endswith(end) and not inflater.unused_data:
                return True
    return False
