"""The zip of a container: the same entries always give the same bytes, and no other bytes are read.

Everything that a zip could say twice or hide (dates, extra fields, comments, gaps between entries, names that differ between
directory and header) has one fixed value. Entries are stored, not deflated: one content has many deflated forms, which
differ from one implementation to the next, so that a changed bit could pass unnoticed. Nothing unfolds, either.
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


def _local(name: bytes, crc: int, size: int) -> bytes:
    return _LOCAL.pack(_LOCAL_MAGIC, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name


def _central(name: bytes, crc: int, size: int, offset: int) -> bytes:
    head = (_CENTRAL_MAGIC, _MADE_BY, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name))
    return _CENTRAL.pack(*head, 0, 0, 0, 0, _ATTRIBUTES, offset) + name


def _end(entries: int, directory: int, offset: int) -> bytes:
    return _END.pack(_END_MAGIC, 0, 0, entries, entries, directory, offset, len(COMMENT)) + COMMENT


def write(entries: dict[str, bytes]) -> bytes:
    """Return the zip of ``entries``, in their order."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, content in entries.items():
        described = name.encode("ascii"), zlib.crc32(content), len(content)
        parts += [_local(*described), content]
        directory.append(_central(*described, offset))
        offset += len(parts[-2]) + len(content)
    listed = b"".join(directory)
    return b"".join((*parts, listed, _end(len(entries), len(listed), offset)))


def read(data: bytes) -> dict[str, bytes]:
    """Return the entries in their order; ``ArchiveDefect`` if ``data`` is not byte by byte what ``write`` makes of them."""
    if len(data) > MAX_ARCHIVE:
        raise ArchiveDefect(f"{len(data)} bytes, more than the {MAX_ARCHIVE} of a container")
    entries: dict[str, bytes] = {}
    offset = 0
    while data[offset : offset + 4] == _LOCAL_MAGIC:
        name, content, offset = _read_entry(data, offset)
        if name in entries:
            raise ArchiveDefect(f"entry {name} stands twice")
        if len(entries) == MAX_ENTRIES:
            raise ArchiveDefect(f"more than {MAX_ENTRIES} entries")
        entries[name] = content
    if data != write(entries):
        raise ArchiveDefect(f"after the entries, at byte {offset}: central directory, end record or comment deviate")
    return entries


def _read_entry(data: bytes, offset: int) -> tuple[str, bytes, int]:
    """Return name and content of the entry at ``offset``, and the offset after it."""
    if len(data) - offset < _LOCAL.size:
        raise ArchiveDefect(f"cut off in an entry's header at byte {offset}")
    *_, size, name_size, _extra = _LOCAL.unpack_from(data, offset)
    start = offset + _LOCAL.size + name_size
    raw_name = data[offset + _LOCAL.size : start]
    if not _NAME.fullmatch(raw_name):
        raise ArchiveDefect(f"the name of the entry at byte {offset} is not one to be found in a container")
    name = raw_name.decode("ascii")
    content = data[start : start + size]
    if size > MAX_ENTRY or len(content) != size:
        raise ArchiveDefect(f"entry {name!r}: cut off, or larger than {MAX_ENTRY} bytes")
    if data[offset:start] != _local(raw_name, zlib.crc32(content), size):
        raise ArchiveDefect(f"entry {name!r}: checksum, date, flags, method or extra field deviate from the fixed form")
    return name, content, start + size
