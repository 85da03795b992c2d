"""The zip: other tools read it, and no other writing of the same entries is accepted."""

import io
import zipfile

import pytest

from gateway.evidence import archive
from gateway.evidence.archive import ArchiveDefect

ENTRIES = {"mimetype": archive.MIMETYPE, "message.xml": b"GET\r\n" * 40, "META-INF/signatures.xml": b"<a/>" * 30}
GOOD = archive.write(ENTRIES)


def zipped(entries=ENTRIES, comment=archive.COMMENT, change=None, date=(1980, 1, 1, 0, 0, 0)):
    """Write the entries with the standard library, which can say more than one thing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr, entry.create_system = 0o100644 << 16, 3
            if change:
                change(entry)
            written.writestr(entry, content)
        written.comment = comment
    return buffer.getvalue()


def with_value(name, value):
    return lambda entry: setattr(entry, name, value)


def test_other_tools_read_it():
    with zipfile.ZipFile(io.BytesIO(GOOD)) as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == ENTRIES
        assert read.comment == b"mimetype=application/vnd.etsi.asic-e+zip"
        first = read.infolist()[0]
        assert (first.filename, first.compress_type, first.extra) == ("mimetype", zipfile.ZIP_STORED, b"")


def test_it_reads_back_and_is_what_the_standard_library_would_write():
    assert archive.read(GOOD) == ENTRIES and list(archive.read(GOOD)) == list(ENTRIES)
    assert zipped() == GOOD


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (zipped(comment=b""), "comment"),
        (zipped(date=(2026, 1, 1, 0, 0, 0)), "message.xml|mimetype.*date"),
        (zipped(change=with_value("compress_type", zipfile.ZIP_DEFLATED)), "entry"),
        (zipped(change=with_value("extra", b"\x99\x99\x01\x00x")), "extra field"),
        (zipped(change=with_value("comment", b"x")), "central directory"),
        (zipped(change=with_value("external_attr", 0o100755 << 16)), "central directory"),
        (zipped(change=with_value("create_system", 0)), "central directory"),
        (zipped({"mimetype": archive.MIMETYPE, "mëssage.xml": b"x"}), "name of the entry"),
        (zipped({f"{at}": b"" for at in range(40)}), "more than 16 entries"),
        (b"#!/bin/sh\n" + GOOD, "at byte 0"),
        (GOOD + b"\0", "end record"),
        (GOOD[:-1], "end record"),
        (b"", "end record"),
        (b"PK\x03\x04", "cut off"),
        (GOOD[:60], "cut off"),
        (GOOD.replace(b"message.xml", b"mimetype\0\0\0"), "name of the entry"),
        (GOOD.replace(b"message.xml", b"massage.xml", 1), "central directory"),
    ],
)
def test_every_other_writing_is_refused(written, said):
    with pytest.raises(ArchiveDefect, match=said):
        archive.read(written)


def test_an_entry_that_stands_twice_is_refused():
    first = archive.write({"mimetype": archive.MIMETYPE, "message.xml": b"one", "massage.xml": b"two"})
    with pytest.raises(ArchiveDefect, match="stands twice"):
        archive.read(first.replace(b"massage.xml", b"message.xml"))


def test_an_entry_that_is_larger_than_any_message_is_refused():
    large = archive.write({"mimetype": archive.MIMETYPE, "message.xml": bytes(archive.MAX_ENTRY + 1)})
    with pytest.raises(ArchiveDefect, match="larger than"):
        archive.read(large)
    with pytest.raises(ArchiveDefect, match="more than the"):
        archive.read(bytes(archive.MAX_ARCHIVE + 1))


def test_every_flipped_bit_is_refused():
    """Refused, not read otherwise: no bit of the file is without meaning."""
    for bit in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArchiveDefect):
            archive.read(bytes(flipped))
