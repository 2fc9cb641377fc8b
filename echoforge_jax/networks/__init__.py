"""Trained networks that can be loaded by name: the small one ships in the package, the large one in a checkout."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import sys
from pathlib import Path

from data_pipelines.local_path import local_path
from echoforge_jax.errors import ConfigError

_HERE = Path(__file__).parent
_LARGE_FOLDER = _HERE.parents[1] / "docs" / "models"


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network of this project.

    Attributes:
        name: by which `find_network` knows it.
        file: a safetensors file with the weights, the configuration and the preprocessing.
        sha256: hexadecimal digest of the file.
        licence: of the weights; it differs from that of the code.
        advice: where to get the file if it is not there.
    """

    name: str
    file: Path
    sha256: str
    licence: str
    advice: str


_NON_COMMERCIAL = "CC BY-NC-SA 4.0 (no commercial use; trained on CAMUS, Leclerc et al. 2019)"
NETWORKS = (
    Network(
        name="camus-small",
        file=_HERE / "camus_small.safetensors",
        sha256="9c0c9072e0dab6459e652fe6699a522f526ff3770017f28fcc7f95092e79f3c2",
        licence=_NON_COMMERCIAL,
        advice="it is part of the package, so install echoforge_jax again",
    ),
    Network(
        name="camus-large",
        file=_LARGE_FOLDER / "echoforge_camus_256.safetensors",
        sha256="a74c5d7102a8cff2f22e60a08cab87d939a2ee392122adadeb1a37e1081265c9",
        licence=_NON_COMMERCIAL,
        advice="it does not ship with the package: take docs/models/echoforge_camus_256.safetensors from a checkout of "
        "the repository and give its path",
    ),
)


def find_network(name_or_path: str | Path) -> Path:
    """Finds a trained network by its name or its path.

    The file of a name is compared with its digest. The first use of a name in a process prints the licence of the
    weights to standard error.

    Args:
        name_or_path: a path that exists (a .safetensors file, an inference folder or the folder of a run), or a name in
            `NETWORKS`, e.g. "camus-small". A path comes first.

    Raises:
        ConfigError: there is no such path and no such name, the named network is not installed, or its file is damaged.
    """
    path = Path(local_path(str(name_or_path)))
    if path.exists():
        return path
    names = {network.name: network for network in NETWORKS}
    network = names.get(str(name_or_path))
    if network is None:
        close = difflib.get_close_matches(str(name_or_path), names, n=1)
        raise ConfigError(
            f"{name_or_path}: no such file or folder, and no network has that name"
            + (f"; did you mean {close[0]}?" if close else ".")
            + f" Expected a .safetensors file, the folder of a run, or one of: {', '.join(names)}"
        )
    return _checked(network)


@functools.cache
def _checked(network: Network) -> Path:
    if not network.file.is_file():
        raise ConfigError(f"the network {network.name} is not at {network.file}: {network.advice}")
    digest = hashlib.sha256(network.file.read_bytes()).hexdigest()
    if digest != network.sha256:
        raise ConfigError(
            f"{network.file} is damaged: its SHA-256 is {digest}, expected {network.sha256}. Replace the file"
        )
    print(f"The weights of {network.name} are under {network.licence}.", file=sys.stderr)
    return network.file
