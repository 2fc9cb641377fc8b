"""Paths of files and folders on this machine, told from URLs.

Everything here is read and written through the file system. Without this check `--workdir=gs://bucket/run` would make a
local folder named `gs:`, which is lost with the machine.
"""

from __future__ import annotations

import argparse
import os
import re
import urllib.parse
from pathlib import Path

from data_pipelines.errors import DataError

# A scheme of two letters or more (one letter is a drive), then a slash: gs://bucket, gs:/bucket, host:/folder.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
_MOUNTS = {
    "gs": "mount the bucket with gcsfuse, or work in a local folder and copy it: gsutil rsync -r LOCAL gs://BUCKET/PATH",
    "s3": "mount the bucket with mountpoint-s3 or s3fs, or work in a local folder and copy it: aws s3 sync LOCAL "
    "s3://BUCKET/PATH",
    "az": "mount the container with blobfuse2, or work in a local folder and copy it: azcopy sync LOCAL URL",
    "hdfs": "mount it (hdfs-fuse, NFS gateway), or copy it: hdfs dfs -get PATH LOCAL",
    "http": "fetch it first, for example with curl or wget, and give the local path",
    "ssh": "mount it with sshfs, or copy it with rsync or scp, and give the local path",
}
_SAME = {
    "gcs": "gs",
    "s3a": "s3",
    "s3n": "s3",
    "r2": "s3",
    "abfs": "az",
    "abfss": "az",
    "wasb": "az",
    "wasbs": "az",
    "adl": "az",
    "https": "http",
    "ftp": "http",
    "ftps": "http",
    "webhdfs": "hdfs",
    "sftp": "ssh",
    "scp": "ssh",
    "rsync": "ssh",
}


class NoLocalPath(DataError):
    """A URL, or the name of a place on another machine, where a path of this machine is wanted."""


def local_path(text: str) -> str:
    """Returns a path of this machine as it is, and the path that a `file://` URL means.

    >>> local_path("runs/camus"), local_path("file:///data/CAMUS")
    ('runs/camus', '/data/CAMUS')

    Raises:
        NoLocalPath: it is a URL or a place on another machine; the message says how to use it.
    """
    match = _URL.match(text)
    if match is None:
        return text
    scheme = match["scheme"].lower()
    if scheme == "file":
        return _path_of_file_url(text)
    kind = _SAME.get(scheme, scheme)
    if kind not in _MOUNTS and os.path.lexists(text.partition(":")[0] + ":"):
        return text  # a folder that is really named so
    advice = _MOUNTS.get(kind, "mount it or copy it, and give the local path")
    raise NoLocalPath(f"{text} is no path on this machine ({scheme}:), and URLs are not read or written: {advice}")


def path_argument(text: str) -> Path:
    """Reads the value of an argparse option as a path of this machine; argparse shows why it is refused."""
    return Path(path_text(text))


def path_text(text: str) -> str:
    """Reads the value of an argparse option that may be a path or a word, as `path_argument`."""
    try:
        return local_path(text)
    except NoLocalPath as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _path_of_file_url(text: str) -> str:
    url = urllib.parse.urlsplit(text)
    path = urllib.parse.unquote(url.path)
    if url.netloc not in ("", "localhost") or not Path(path).is_absolute() or url.query or url.fragment:
        raise NoLocalPath(f"{text} names no file of this machine; expected file:///FOLDER/FILE")
    return path
