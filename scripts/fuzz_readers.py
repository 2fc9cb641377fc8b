"""Feeds mutated files to every reader and keeps those that end in anything but data or a message.

    pip install atheris
    python scripts/fuzz_readers.py --out fuzz --minutes 10            # every target, ten minutes each
    python scripts/fuzz_readers.py --out fuzz --minutes 60 --targets dicom video

atheris (libFuzzer) mutates files of a corpus towards new paths through the readers. A reader may return data or raise
`DataError` or `EchoForgeError`; any other error is a fault, kept once for each place that raises it as
OUT/TARGET/faults/NAME with NAME.txt beside it (the trace). More than 10 s or 1 GB for one file is a fault as well, and
so is a crash of a library. The corpus grows in OUT/TARGET/corpus and is used again by the next run.
Exit codes: 0 no fault, 1 faults were found, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

SECONDS_A_FILE, MEGABYTES_A_FILE, LARGEST_BYTES = 10, 1024, 1 << 16
ONE_FILE = "input"
INSTRUMENTED = ["data_pipelines", "pydicom", "nibabel", "echoforge_jax.config"]


# ---- what a file is fed to -----------------------------------------------------------------------------------------


def read_cine(suffix: str) -> Callable[[Path, bytes], None]:
    """Makes a target that reads the bytes as a cine of one suffix."""

    def feed(folder: Path, content: bytes) -> None:
        from data_pipelines.formats import cine

        path = folder / f"{ONE_FILE}{suffix}"
        path.write_bytes(gzip.compress(content, 1) if suffix == ".nii.gz" else content)
        cine.read(path)

    return feed


def read_pictures(folder: Path, content: bytes) -> None:
    """Reads the bytes as the second of three pictures of a folder."""
    from data_pipelines.formats import cine

    for number in (1, 3):
        (folder / f"frame_{number}.png").write_bytes(_png())
    (folder / "frame_2.png").write_bytes(content)
    cine.read(folder)


def read_camus_cfg(folder: Path, content: bytes) -> None:
    """Reads a CAMUS record whose Info_4CH.cfg holds the bytes."""
    from data_pipelines.formats import camus
    from tests.helpers.trees import make_clip

    if not (folder / "patient0001").exists():
        camus.write_clip(make_clip(), folder)
    (folder / "patient0001" / "Info_4CH.cfg").write_bytes(content)
    _read_all(camus, folder)


def read_camus_mask(folder: Path, content: bytes) -> None:
    """Reads a CAMUS record whose ED mask holds the bytes."""
    from data_pipelines.formats import camus
    from tests.helpers.trees import make_clip

    if not (folder / "patient0001").exists():
        camus.write_clip(make_clip(), folder)
    (folder / "patient0001" / "patient0001_4CH_half_sequence_gt.nii.gz").unlink(missing_ok=True)
    (folder / "patient0001" / "patient0001_4CH_ED_gt.nii.gz").write_bytes(gzip.compress(content, 1))
    _read_all(camus, folder)


def read_camus_mhd(folder: Path, content: bytes) -> None:
    """Reads a record of the .mhd release whose ED header holds the bytes."""
    from data_pipelines.formats import camus

    patient = folder / "patient0001"
    patient.mkdir(exist_ok=True)
    for kind in ("ED", "ES", "ED_gt", "ES_gt"):
        (patient / f"patient0001_4CH_{kind}.raw").write_bytes(_raw(kind))
        (patient / f"patient0001_4CH_{kind}.mhd").write_bytes(_mhd(kind))
    (patient / "patient0001_4CH_ED.mhd").write_bytes(content)
    _read_all(camus, folder)


def read_echonet_table(name: str) -> Callable[[Path, bytes], None]:
    """Makes a target that reads an EchoNet-Dynamic tree of which one table holds the bytes."""

    def feed(folder: Path, content: bytes) -> None:
        from data_pipelines.formats import echonet_dynamic
        from data_pipelines.formats.echonet_dynamic.clips import write_tree
        from tests.helpers.trees import make_clip

        if not (folder / "Videos").exists():
            write_tree([make_clip(patient_id="0X01")], folder, {"0X01": "TRAIN"})
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        try:
            _read_all(echonet_dynamic, folder)
        finally:
            (folder / name).write_bytes(kept)

    return feed


def read_splits(suffix: str) -> Callable[[Path, bytes], None]:
    """Makes a target that reads the bytes as a split file."""

    def feed(folder: Path, content: bytes) -> None:
        from data_pipelines import splits

        path = folder / f"{ONE_FILE}{suffix}"
        path.write_bytes(content)
        splits.read_splits(path, ["patient0001", "patient0002"])

    return feed


def read_network(folder: Path, content: bytes) -> None:
    """Reads the bytes as a released network, up to its configuration."""
    from echoforge_jax.weights.safetensors_file import read_card

    path = folder / f"{ONE_FILE}.safetensors"
    path.write_bytes(content)
    read_card(path)


def read_configuration(folder: Path, content: bytes) -> None:
    """Reads the bytes as the config.json of a run."""
    from echoforge_jax.training.run_folder import read_run_config

    (folder / "config.json").write_bytes(content)
    read_run_config(folder)


TARGETS: dict[str, Callable[[Path, bytes], None]] = {
    "dicom": read_cine(".dcm"),
    "nifti": read_cine(".nii"),
    "nifti_gz": read_cine(".nii.gz"),
    "avi": read_cine(".avi"),
    "mp4": read_cine(".mp4"),
    "pictures": read_pictures,
    "camus_cfg": read_camus_cfg,
    "camus_mask": read_camus_mask,
    "camus_mhd": read_camus_mhd,
    "echonet_list": read_echonet_table("FileList.csv"),
    "echonet_tracings": read_echonet_table("VolumeTracings.csv"),
    "splits_json": read_splits(".json"),
    "splits_csv": read_splits(".csv"),
    "network": read_network,
    "configuration": read_configuration,
}


def _read_all(reader: ModuleType, folder: Path) -> None:
    for entry in reader.index(folder, "all").entries:
        reader.read(entry)


def _png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (24, 20), 90).save(buffer, "PNG")
    return buffer.getvalue()


def _raw(kind: str) -> bytes:
    """Makes 16 x 16 bytes: a picture, or the mask of a cavity that is smaller at end-systole."""
    if not kind.endswith("_gt"):
        return bytes((7 * i + len(kind) * i // 16 + (90 if kind == "ES" else 0)) % 256 for i in range(256))
    half = 4 if kind.startswith("ED") else 3
    return bytes(int(abs(row - 7) <= half + 1 and abs(column - 8) <= half) for row in range(16) for column in range(16))


def _mhd(kind: str) -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\nDimSize = 16 16 1\nElementSpacing = 0.3 0.15 1\nElementType = MET_UCHAR\n"
        f"ElementDataFile = patient0001_4CH_{kind}.raw\n"
    ).encode()


# ---- the files to begin with ---------------------------------------------------------------------------------------


def seeds(target: str, folder: Path) -> list[bytes]:
    """Makes healthy files of a target, from which the fuzzer starts.

    Args:
        target: one of `TARGETS`.
        folder: an empty folder for files on the way.
    """
    from data_pipelines.formats.camus.writing import nifti_bytes
    from tests.helpers import dicom_files, trees

    if target == "dicom":
        files = []
        for number, make in enumerate(dicom_files.KINDS):
            path = folder / f"{number}.dcm"
            make(path, dicom_files.picture(3, (32, 40)))
            files.append(path.read_bytes())
        return files
    if target in ("nifti", "nifti_gz"):
        return [_nifti(3), _nifti(3, "<f4"), _nifti(2)]
    if target in ("avi", "mp4"):
        return _videos(folder, target)
    if target == "pictures":
        return [_png()]
    if target == "camus_mask":
        return [gzip.decompress(nifti_bytes(trees.make_clip().label_map[0], (0.308, 0.154)))]
    if target == "camus_mhd":
        return [_mhd("ED")]
    if target == "camus_cfg":
        return [b"ED: 1\nES: 6\nNbFrame: 6\nSex: F\nAge: 60\nImageQuality: Good\nEF: 55.25\nFrameRate: 51.3\n"]
    if target.startswith("echonet"):
        from data_pipelines.formats.echonet_dynamic.clips import write_tree

        write_tree([trees.make_clip(patient_id="0X01")], folder, {"0X01": "TRAIN"})
        return [(folder / ("FileList.csv" if target == "echonet_list" else "VolumeTracings.csv")).read_bytes()]
    if target == "splits_json":
        return [b'{"train": ["patient0001"], "validation": ["patient0002"], "test": []}']
    if target == "splits_csv":
        return [b"patient,split\npatient0001,train\npatient0002,val\n"]
    if target == "network":
        from echoforge_jax.networks import find_network

        content = Path(find_network("camus-small")).read_bytes()
        return [content[: 8 + int.from_bytes(content[:8], "little")]]
    from echoforge_jax.config import Config, stored_form

    return [json.dumps({"config": stored_form(Config())}).encode()]


def _nifti(dimensions: int, kind: str = "u1") -> bytes:
    import nibabel as nib
    import numpy as np

    shape = (60, 72, 4)[:dimensions]
    array = (np.random.default_rng(0).random(shape) * (3 if dimensions == 2 else 255)).astype(kind)
    image = nib.Nifti1Image(array, np.diag([-0.154, -0.308, 1, 1]))
    image.header.set_xyzt_units("mm", "msec")
    return image.to_bytes()


def _videos(folder: Path, container: str) -> list[bytes]:
    import av
    import numpy as np

    files = []
    for number, (codec, pixels) in enumerate((("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p"))):
        path = folder / f"{number}.{container}"
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
            for t in range(3):
                frame = av.VideoFrame.from_ndarray(np.full((32, 48), 60 * t, np.uint8), "gray").reformat(format=pixels)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        files.append(path.read_bytes())
    return files


# ---- one target in a process of its own ----------------------------------------------------------------------------


def fuzz(target: str, out: Path, seconds: int) -> None:
    """Runs libFuzzer on one target in this process; does not return.

    Args:
        target: one of `TARGETS`.
        out: folder of the target, with corpus/ and faults/.
        seconds: how long.
    """
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        for name in ("data_pipelines.formats.cine", "data_pipelines.formats.camus", "echoforge_jax.config"):
            importlib.import_module(name)
    from data_pipelines.errors import DataError
    from echoforge_jax.errors import EchoForgeError

    warnings.simplefilter("ignore")
    feed, faults = TARGETS[target], out / "faults"
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))

    def one_file(content: bytes) -> None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                feed(folder, content)
        except (DataError, EchoForgeError):
            return
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__}_{Path(last.filename).stem}_{last.lineno}"
            if not (faults / place).exists():
                (faults / place).write_bytes(content)
                (faults / f"{place}.txt").write_text(traceback.format_exc())

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_A_FILE}",
        f"-rss_limit_mb={MEGABYTES_A_FILE}",
        f"-max_len={LARGEST_BYTES}",
        f"-artifact_prefix={faults}/",
        "-verbosity=0",
        "-print_final_stats=1",
        str(out / "corpus"),
    ]
    atheris.Setup([sys.argv[0], *options], one_file)
    atheris.Fuzz()


def supervise(target: str, out: Path, minutes: float) -> tuple[int, int]:
    """Fuzzes one target for its time, starting anew after a crash, a timeout or too much memory.

    Args:
        target: one of `TARGETS`.
        out: folder of the target.
        minutes: how long.

    Returns:
        Files executed, and faults there are in the folder.
    """
    for name in ("corpus", "faults"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for content in seeds(target, Path(folder)):
            (out / "corpus" / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    end, executed = time.monotonic() + 60 * minutes, 0
    with (out / "log.txt").open("a") as log:
        while (left_s := int(end - time.monotonic())) > 5:
            command = [sys.executable, __file__, "--one", target, "--out", str(out), "--seconds", str(left_s)]
            result = subprocess.run(command, capture_output=True, text=True, errors="replace")
            log.write(result.stderr)
            for line in result.stderr.splitlines():
                if line.startswith("stat::number_of_executed_units:"):
                    executed += int(line.split()[-1])
    return executed, sum(1 for path in (out / "faults").iterdir() if path.suffix != ".txt")


def main() -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="Folder of the corpus and of the faults.")
    parser.add_argument("--minutes", type=float, default=10.0, help="Minutes for each target.")
    parser.add_argument("--targets", nargs="+", default=[*TARGETS], choices=[*TARGETS], help="What to fuzz.")
    parser.add_argument("--one", choices=[*TARGETS], help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if options.one:
        fuzz(options.one, options.out, options.seconds)
    faults = 0
    for target in options.targets:
        executed, found = supervise(target, options.out / target, options.minutes)
        faults += found
        print(f"{target}: {executed} files in {options.minutes:g} min, {found} faults", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
