"""Reads a container's zip that others wrote: more ways of writing one are accepted, sizes are bounded all the same."""

import re
import zipfile
from io import BytesIO

from gateway.evidence.archive import MAX_ARCHIVE, MAX_ENTRIES, MAX_ENTRY, MIMETYPE, ArchiveDefect

MAX_UNPACKED = 2 * MAX_ENTRY
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,2}")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read(data: bytes, only: str | None = None) -> dict[str, bytes]:
    """Return the entries (or ``only`` one), folders left out; ``ArchiveDefect`` if the zip is not acceptable."""
    if len(data) > MAX_ARCHIVE:
        raise ArchiveDefect(f"{len(data)} bytes, more than the {MAX_ARCHIVE} of a container")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            listed = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(listed)
            entries = {entry.filename: _unpack(archive, entry) for entry in listed if only in (None, entry.filename)}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ArchiveDefect(f"not a readable zip: {error}") from None
    if only is None and entries.get("mimetype") != MIMETYPE:
        raise ArchiveDefect(f"the entry mimetype does not say {MIMETYPE.decode()}")
    return entries


def _check(listed: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in listed]
    if len(set(names)) != len(names) or len(names) > MAX_ENTRIES:
        raise ArchiveDefect(f"an entry stands twice, or there are more than {MAX_ENTRIES}")
    if sum(entry.file_size for entry in listed) > MAX_UNPACKED:
        raise ArchiveDefect(f"unpacked it has more than {MAX_UNPACKED} bytes")
    for entry in listed:
        if not _NAME.fullmatch(entry.filename) or entry.compress_type not in _METHODS or entry.flag_bits & 1:
            raise ArchiveDefect(f"entry {entry.filename!r}: name, compression or encryption is not that of a container")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpack no more than the size announced; the zip module compares size and checksum."""
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise ArchiveDefect(f"entry {entry.filename!r} has another size than announced")
    return content
