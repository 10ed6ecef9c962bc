"""Backbone weights on this machine: fetched once by whoever starts the workers, and loaded by them whole or not at all.

MMEngine would download them in every worker, fall back to unpickling, and take whichever tensors happen to fit.
"""

import hashlib
import http.client
import pickle
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

from workspace.detectors import BackboneWeights
from workspace.errors import UserError

_SILENCE_SECONDS = 30.0
"""How long a server may say nothing before it counts as out of reach."""


def local_weights(weights: BackboneWeights, mirror: Path | None = None) -> Path:
    """The file of these weights on this machine: in the mirror if one is given, else in torch.hub's cache.

    What the cache lacks is downloaded into it. It lies where torch keeps its own: under ``TORCH_HOME``, else
    ``XDG_CACHE_HOME/torch``.

    Args:
        mirror: a folder that holds the files under their published names.

    Raises:
        UserError: it is not to be had, or is not the published file; the message says what to do.
    """
    if mirror is not None:
        file = mirror / weights.file
        if not file.is_file():
            raise UserError(f"--weights {mirror}: there is no {weights.file} in it; get it from {weights.urls[0]}")
        if not _is_published(file, weights):
            raise UserError(
                f"{file} is not the published file, whose SHA-256 begins with {weights.sha256}; "
                f"get it again from {weights.urls[0]}"
            )
        return file
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.file
    if file.is_file():
        if _is_published(file, weights):
            return file
        file.unlink()  # damaged, or cut off by something else that downloads into this cache
    file.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in weights.urls:
        try:
            with _silence_ends():
                torch.hub.download_url_to_file(url, str(file), weights.sha256, progress=sys.stderr.isatty())
            return file
        except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reasons.append(str(getattr(error, "reason", "") or error))
        except RuntimeError:  # torch.hub's word for a wrong checksum
            reasons.append("what came is damaged: its checksum is wrong")
    raise UserError(
        f"cannot download {' or '.join(weights.urls)} ({'; '.join(dict.fromkeys(reasons))}); without a network, copy "
        f"the file to {file.parent}, or give a folder that holds it with --weights"
    )


def load_backbone(backbone: nn.Module, file: Path) -> None:
    """Loads a backbone's weights. What the file has beyond them, such as a classifier, is left out.

    Raises:
        UserError: the file holds no weights, or not all of this backbone's.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError):
        raise UserError(f"{file} is not a file of tensors alone, or is damaged") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    try:
        missing, _ = backbone.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{file} does not hold weights of {type(backbone).__name__}: {reason}") from None
    # Files of before torch 0.4.1 do not count batches, and neither does anything that reads these statistics.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise UserError(
            f"{file} lacks {len(missing)} of the {len(backbone.state_dict())} weights of {type(backbone).__name__}, "
            f"the first of them {missing[0]}"
        )


def _is_published(file: Path, weights: BackboneWeights) -> bool:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest().startswith(weights.sha256)


@contextmanager
def _silence_ends() -> Iterator[None]:
    """Lets downloads within give up on a server that says nothing; torch.hub sets no limit itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
