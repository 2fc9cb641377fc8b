"""Headers that announce what is not there end in a message, soon and in little memory."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from data_pipelines.formats.cine import dicom
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import JPEG, KINDS, encoded, picture, write
from tests.helpers.source_code import REPOSITORY

FRAMES = picture(2, (16, 16))
READ = """
import resource, sys, time
from pathlib import Path
from data_pipelines.formats import cine
from data_pipelines.records import UnreadableRecord
for path in sorted(Path(sys.argv[1]).iterdir()):
    began, word = time.monotonic(), "read"
    try:
        for entry in cine.index(path).entries:
            cine.load(entry)
    except UnreadableRecord as error:
        word = error.reason
    print(path.stem, round(time.monotonic() - began, 1), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, word)
"""


def element(tag, vr, value, length=None):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr == b"":
        return head + value
    count = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + vr + b"\0\0" + struct.pack("<L", count) + value
    return head + vr + struct.pack("<H", count) + value


def with_elements(path, inserted, **elements):
    """Writes a file and puts bytes before its group 28."""
    write(path, FRAMES, **elements)
    content = path.read_bytes()
    place = content.index(b"\x28\0\x02\0US")
    path.write_bytes(content[:place] + inserted + content[place:])


def many_elements(path):
    with_elements(path, element(0x00271001, b"LO", b"ab") * 1_500_000)


def deep_sequences(path):
    opened = element(0x00186011, b"SQ", b"", 0xFFFFFFFF) + element(0xFFFEE000, b"", b"\xff\xff\xff\xff")
    with_elements(path, opened * 50_000)


def deep_private_sequences(path):
    opened = element(0x00271001, b"SQ", b"", 0xFFFFFFFF) + element(0xFFFEE000, b"", b"\xff\xff\xff\xff")
    with_elements(path, opened * 50_000)


def long_elements(path):
    with_elements(path, element(0x00186011, b"SQ", b"", 0xFFFFFFF0))


def long_private_elements(path):
    with_elements(path, element(0x00271001, b"UN", b"", 0xFFFFFFF0))


def many_regions(path):
    item = element(0x00186012, b"US", b"\1\0") + element(0x00186014, b"US", b"\1\0")
    with_elements(path, element(0x00186011, b"SQ", (b"\xfe\xff\0\xe0" + struct.pack("<L", len(item)) + item) * 60_000))


def many_times(path):
    with_elements(path, element(0x00181065, b"UT", b"20\\" * 3_000_000))


def long_number(path):
    with_elements(path, element(0x00181063, b"UT", b"9" * 8_000_000))


def huge_picture(path):
    write(path, FRAMES, Rows=65535, Columns=65535, NumberOfFrames=999_999_999)


def many_frames(path):
    write(path, FRAMES, NumberOfFrames=1_000_000_000)


def many_compressed_frames(path):
    payload = encoded(FRAMES, **JPEG)
    write(path, FRAMES, syntax=JPEGBaseline8Bit, payload=payload, NumberOfFrames=2_000_000_000)


def tiny_frames(path):
    write(path, np.zeros((2, 1, 1), np.uint8), payload=bytes(60_000_000), NumberOfFrames=1_000_000_000)


def empty_fragments(path):
    payload = encapsulate([b"ab"]) + b"\xfe\xff\0\xe0\0\0\0\0" * 3_000_000
    write(path, FRAMES, syntax=JPEGBaseline8Bit, payload=payload)


def huge_jpeg(path):
    stream = bytearray(io_bytes(FRAMES[0], **JPEG))
    place = stream.index(b"\xff\xc0") + 5
    stream[place : place + 4] = struct.pack(">HH", 65500, 65500)
    write(path, FRAMES, syntax=JPEGBaseline8Bit, payload=encapsulate([bytes(stream)] * 2), Rows=65500, Columns=65500)


def io_bytes(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)
    return buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2)


def bomb(path, syntax, options):
    black = np.zeros((4096, 4096), np.uint8)
    payload = encapsulate([io_bytes(black, **options)] * 60)
    write(path, FRAMES, syntax=syntax, payload=payload, Rows=4096, Columns=4096, NumberOfFrames=60)


def jpeg_2000_bomb(path):
    bomb(path, JPEG2000Lossless, {"format": "JPEG2000", "irreversible": False, "no_jp2": True})


def jpeg_bomb(path):
    bomb(path, JPEGBaseline8Bit, {"format": "JPEG", "quality": 5})


def tiles_of_one_pixel(path):
    stream = bytearray(io_bytes(FRAMES[0], format="JPEG2000", irreversible=False, no_jp2=True))
    stream[8:16] = struct.pack(">LL", 4096, 4096)
    stream[24:32] = struct.pack(">LL", 1, 1)
    payload = encapsulate([bytes(stream)] * 2)
    write(path, FRAMES, syntax=JPEG2000Lossless, payload=payload, Rows=4096, Columns=4096)


def rle_of_nothing(path):
    header = struct.pack("<16L", 1, 64, *([0] * 14))
    payload = encapsulate([header + b"\x81\0" * 100] * 2)
    write(path, FRAMES, syntax=RLELossless, payload=payload, Rows=5000, Columns=5000)


def deflated_bomb(path):
    write(path, FRAMES)
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    content = content.replace(b"\x02\0\x10\0UI\x14\0", b"\x02\0\x10\0UI\x16\0")
    start = content.index(b"1.2.1.99") + 8
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(32)) + packer.flush()
    path.write_bytes(content[:start] + packed)


MAKERS = (
    many_elements,
    deep_sequences,
    deep_private_sequences,
    long_elements,
    long_private_elements,
    many_regions,
    many_times,
    long_number,
    huge_picture,
    many_frames,
    many_compressed_frames,
    tiny_frames,
    empty_fragments,
    huge_jpeg,
    jpeg_2000_bomb,
    jpeg_bomb,
    tiles_of_one_pixel,
    rle_of_nothing,
    deflated_bomb,
)


def test_hostile_headers_end_soon_and_in_little_memory(tmp_path):
    for make in MAKERS:
        make(tmp_path / f"{make.__name__}.dcm")
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True)
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == sorted(make.__name__ for make in MAKERS), done.stderr
    assert all(float(seconds) < 10 and int(kilobytes) < 1_000_000 for _, seconds, kilobytes, _ in lines), lines
    assert done.stderr == ""


def test_random_damage_ends_in_a_message(tmp_path):
    """Bytes changed, removed and repeated, mostly in the header: nothing but `UnreadableRecord` leaves the reader."""
    random, path, outcomes = np.random.default_rng(0), tmp_path / "a.dcm", set()
    seeds = [make(tmp_path / "seed.dcm", picture(2, (24, 32)))[0].read_bytes() for make in KINDS]
    for turn in range(600):
        content = bytearray(seeds[turn % len(seeds)])
        for _ in range(random.integers(1, 6)):
            place = random.integers(132, len(content) if random.random() < 0.3 else 800)
            change = random.integers(4)
            if change == 0:
                content[place] = random.integers(256)
            elif change == 1:
                content[place : place + 4] = b"\xff\xff\xff\xff"
            elif change == 2:
                del content[place : place + random.integers(1, 9)]
            else:
                content[place:place] = content[place : place + random.integers(1, 9)]
        path.write_bytes(content)
        try:
            dicom.read(path, "case")
            outcomes.add("read")
        except UnreadableRecord as error:
            outcomes.add(error.reason)
    assert "read" in outcomes and len(outcomes) > 5


def test_a_value_representation_that_is_none(tmp_path):
    path = write(tmp_path / "a.dcm", FRAMES)
    path.write_bytes(path.read_bytes().replace(b"\x28\0\x11\0US", b"\x28\0\x11\0UB"))
    with pytest.raises(UnreadableRecord):
        dicom.read(path, "case")
