"""The zip: other tools read it, and no other writing of the same entries is accepted."""

import io
import zipfile
import zlib

import pytest

from gateway.evidence import archive
from gateway.evidence.archive import ArchiveDefect

ENTRIES = {"mimetype": archive.MIMETYPE, "message.xml": b"GET\r\n" * 40, "META-INF/signatures.xml": b"<a/>" * 30}
GOOD = archive.write(ENTRIES)


def zipped(
    entries=ENTRIES, comment=archive.COMMENT, change=None, method=zipfile.ZIP_DEFLATED, date=(1980, 1, 1, 0, 0, 0)
):
    """Write the entries with the standard library, which can say more than one thing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr, entry.create_system = 0o100644 << 16, 3
            entry.compress_type = zipfile.ZIP_STORED if name == "mimetype" else method
            if change:
                change(entry)
            written.writestr(entry, content)
        written.comment = comment
    return buffer.getvalue()


def test_other_tools_read_it():
    with zipfile.ZipFile(io.BytesIO(GOOD)) as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == ENTRIES
        assert read.comment == b"mimetype=application/vnd.etsi.asic-e+zip"
        first = read.infolist()[0]
        assert (first.filename, first.compress_type, first.extra) == ("mimetype", zipfile.ZIP_STORED, b"")


def test_it_is_deterministic_and_reads_back():
    assert archive.write(ENTRIES) == GOOD
    assert archive.read(GOOD) == ENTRIES and list(archive.read(GOOD)) == list(ENTRIES)


def test_another_deflate_with_the_same_content_is_accepted():
    """zlib has siblings that compress otherwise; evidence written with one is verified with another."""

    content = b"".join(b"line %d of a message\r\n" % at for at in range(200))
    entries = {"mimetype": archive.MIMETYPE, "message.xml": content}
    quick = zipped(entries, change=lambda entry: setattr(entry, "_compresslevel", 1))
    assert quick != archive.write(entries)
    assert archive.read(quick) == entries


def set_extra(entry):
    entry.extra = b"\x99\x99\x01\x00x"


def set_comment(entry):
    entry.comment = b"x"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (zipped(comment=b""), "end record"),
        (zipped(date=(2026, 1, 1, 0, 0, 0)), "header of entry"),
        (zipped(method=zipfile.ZIP_STORED), "header of entry"),
        (zipped(method=zipfile.ZIP_BZIP2), "header of entry"),
        (zipped(change=set_extra), "header of entry"),
        (zipped(change=set_comment), "central directory"),
        (zipped({"mimetype": archive.MIMETYPE, "mëssage.xml": b"x"}), "name of the entry"),
        (zipped({f"{at}": b"" for at in range(40)}, change=lambda entry: setattr(entry, "compress_type", 8)), "header"),
        (b"#!/bin/sh\n" + GOOD, "central directory|end record"),
        (GOOD + b"\0", "end record"),
        (GOOD[:-1], "end record"),
        (b"", "end record"),
        (b"PK\x03\x04", "cut off"),
        (GOOD.replace(b"message.xml", b"mimetype\0\0\0"), "name of the entry"),
    ],
)
def test_every_other_writing_is_refused(written, said):
    with pytest.raises(ArchiveDefect, match=said):
        archive.read(written)


def test_an_entry_that_stands_twice_is_refused():
    first = archive.write({"mimetype": archive.MIMETYPE, "message.xml": b"one", "massage.xml": b"two"})
    with pytest.raises(ArchiveDefect, match="stands twice"):
        archive.read(first.replace(b"massage.xml", b"message.xml"))


def test_a_bomb_is_refused_before_it_unfolds():
    bomb = archive.write({"mimetype": archive.MIMETYPE, "message.xml": bytes(archive.MAX_ENTRY + 1)})
    assert len(bomb) < 100_000
    with pytest.raises(ArchiveDefect, match="larger than"):
        archive.read(bomb)


def test_a_bomb_that_lies_about_its_size_unfolds_no_further_than_it_says():
    honest = archive.write({"mimetype": archive.MIMETYPE, "message.xml": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    with pytest.raises(ArchiveDefect, match="do not unfold to the 9 bytes"):
        archive.read(honest.replace(size, (9).to_bytes(4, "little")))


def test_every_flipped_bit_of_the_zip_is_noticed():
    for bit in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert archive.read(bytes(flipped)) != ENTRIES
        except ArchiveDefect:
            continue


def test_the_idle_bits_of_a_stream_are_looked_at():
    content = b"GET\r\n" * 40
    packed = archive._deflate(content)
    idle = [bit for bit in range(8) if archive._deflate(content)[-1] >> bit == 0]
    if not idle:
        pytest.fail("this content fills its last byte: take another")
    changed = packed[:-1] + bytes([packed[-1] | 1 << 7])
    assert zlib.decompress(changed, -15) == content
    with pytest.raises(ArchiveDefect, match="unused bits"):
        archive._inflate("message.xml", changed, len(content))
