"""Opens video files for FFmpeg: by their content alone, with bounds on what they may cost, and clear words on failure.

FFmpeg takes a path for a URL ("12:30.mp4" names a protocol, "%03d" a pattern) and follows play lists to other files and
to the network. It is therefore given an object to read from, never a name, and a list of the containers that hold
their pictures themselves.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from data_pipelines.formats.video.containers import find_shortfall
from data_pipelines.records import UnreadableRecord

BARE_STREAMS = ("mpegvideo", "m4v", "h264", "hevc", "mjpeg", "obu", "vc1")  # without a container, and without times
CONTAINERS = (
    *("mov", "avi", "matroska", "mpeg", "mpegts", "asf", "ogg", "flv", "ivf", "mxf", "dv", "nut", "yuv4mpegpipe"),
    *BARE_STREAMS,
)
MOST_PIXELS = 2**25  # of one frame: 8K video has as many; a header that states more would only fill the memory
MOST_SILENT_BYTES = 2**28  # read without meeting a picture: the file is endless or empty
MOST_SILENT_S = 2.0  # of this thread's work (not of waiting for a disk) without meeting a picture

BEGINNINGS = (
    (b"<!doctype", "a web page, as a failed download leaves it"),
    (b"<html", "a web page, as a failed download leaves it"),
    (b"<?xml", "XML"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
    (b"#extm3u", "a play list, which only names other files"),
    (b"ffconcat", "a list of files"),
    (b"pk\x03\x04", "a ZIP archive; unpack it"),
    (b"\x1f\x8b", "gzip; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"rar!", "a RAR archive; unpack it"),
    (b"%pdf", "PDF"),
    (b"\x89png", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"gif8", "a GIF; rename it to .gif"),
    (b"ii*\x00", "a TIFF; rename it to .tif"),
    (b"mm\x00*", "a TIFF; rename it to .tif"),
    (b"\x89hdf", "HDF5"),
    (b"id3", "sound"),
    (b"{", "JSON"),
)


class _Reader:
    """A file as FFmpeg reads it: without a name, and not for ever.

    Attributes:
        gave_up: whether the file was ended because it goes on and on without a picture.
    """

    def __init__(self, file: BufferedIOBase):
        self._file, self.gave_up = file, False
        self.met_picture()

    def read(self, size: int) -> bytes:
        self._silent += size
        too_long = time.thread_time() - self._since_s > MOST_SILENT_S
        self.gave_up = self.gave_up or too_long or self._silent > MOST_SILENT_BYTES
        return b"" if self.gave_up else self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def met_picture(self) -> None:
        self._silent, self._since_s = 0, time.thread_time()


@contextlib.contextmanager
def open_bytes(source: Path | BufferedIOBase | bytes) -> Iterator[BufferedIOBase]:
    """Opens a source for reading at its beginning.

    Args:
        source: a path, an open binary file (which stays open), or the content itself.

    Raises:
        OSError: the path cannot be opened.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


class OpenContainer:
    """A container that FFmpeg has opened, for as long as the `with` block lasts.

    Attributes:
        container: PyAV's container.
    """

    def __init__(self, file: BufferedIOBase, record_id: str, name: str):
        """Opens the file from its beginning.

        Args:
            file: the file.
            record_id: the record, for the message of a fault.
            name: what the file is called, for the same.

        Raises:
            UnreadableRecord: with one of the reasons "empty file", "truncated file" and "not a video".
        """
        file.seek(0)
        self._file, self._record_id, self._name = file, record_id, name
        self._reader = _Reader(file)
        limits = {"max_pixels": str(MOST_PIXELS)}
        try:
            self.container: InputContainer = av.open(
                self._reader, "r", container_options={"format_whitelist": ",".join(CONTAINERS)}, options=limits
            )
        except (FFmpegError, UnicodeError, ValueError, MemoryError) as error:
            raise self.not_a_video(error) from error

    def __enter__(self) -> OpenContainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def met_picture(self) -> None:
        """Says that the file has just given a picture, so that reading may go on."""
        self._reader.met_picture()

    @property
    def gave_up(self) -> bool:
        """Whether reading was ended because the file goes on and on without a picture."""
        return self._reader.gave_up

    def not_a_video(self, error: Exception) -> UnreadableRecord:
        """Finds the words for a file that FFmpeg does not open."""
        file, name = self._file, self._name
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(512)
        if size == 0:
            return UnreadableRecord(self._record_id, "empty file", f"{name} has 0 bytes: fetch it again")
        if short := find_shortfall(file):
            return UnreadableRecord(self._record_id, "truncated file", f"{name} {short}: fetch it again")
        if self.gave_up:
            detail = f"{name} ({size} bytes) goes on and on without a picture: fetch it again"
            return UnreadableRecord(self._record_id, "zero frames", detail)
        detail = f"{name} ({size} bytes) is {describe(head)}; expected a video"
        return UnreadableRecord(self._record_id, "not a video", f"{detail} (FFmpeg: {words(error)})")


def describe(head: bytes) -> str:
    """Says what a file looks like that is no video.

    Args:
        head: its first bytes, 512 or so.
    """
    if not head.strip(b"\x00"):
        return "all zeros at its beginning"
    if head[128:132] == b"DICM":
        return "a DICOM file; rename it to .dcm"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "sound"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, meaning in BEGINNINGS:
        if begin.startswith(beginning):
            return meaning
    return f"of no known kind (it begins with the bytes {head[:8].hex(' ')})"


def words(error: Exception) -> str:
    """Returns what FFmpeg says, without the name of the file."""
    return str(getattr(error, "strerror", None) or error)
