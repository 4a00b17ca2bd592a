"""Files of weights: written whole or not at all, and read without running anything in them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from nstlib.errors import WeightsError
from nstlib.files import replaced


def save_weights(state: Mapping[str, Tensor], path: Path, facts: Mapping[str, Any]) -> None:
    """Write tensors in float16 as ``.safetensors``, with ``facts`` as JSON in the file's metadata.

    Raises:
        FloatingPointError: a value is too large for float16, or no number; nothing is written.
        OSError: the file cannot be written.
    """
    tensors = {name: value.detach().half().contiguous().cpu() for name, value in state.items()}
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise FloatingPointError(f"{name} holds what float16 cannot say; nothing is written")
    metadata = {"config": json.dumps(dict(facts)), "format": "pt"}
    content = save(tensors, metadata)
    with replaced(path) as unfinished:
        unfinished.write_bytes(content)


def save_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write all that a training keeps, for ``torch.load``.

    By way of memory: where a disk is full, torch itself would say "unexpected pos 576 vs 534".

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    with replaced(path) as unfinished:
        unfinished.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path, what: str) -> dict[str, Any]:
    """Return what :func:`save_checkpoint` wrote, each part of it as it was written.

    ``torch.load`` alone looks at no checksum, and would go on from a weight with a wrong bit.

    Raises:
        WeightsError: it is damaged, or no checkpoint of ``what``.
    """
    with checkpoint_named(path, what):
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise ValueError(f"{part} in it is not as it was written")
        return dict(torch.load(path, map_location="cpu", weights_only=True))


@contextmanager
def checkpoint_named(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged checkpoint leads to into an error that names it."""
    try:
        yield
    except Exception as error:  # no list of kinds would be whole: any byte may be wrong
        raise WeightsError(f"{path}: is no checkpoint of a {what} ({error})") from error


def check_checkpoint(checkpoint: Path | None, every: int) -> None:
    """Raise ValueError unless a checkpoint can be written there, every so many steps."""
    if checkpoint is not None and (
        checkpoint.suffix != ".pt" or checkpoint.is_dir() or not checkpoint.parent.is_dir()
    ):
        raise ValueError(
            f"checkpoint is {str(checkpoint)!r}; it must be a .pt file in a folder that exists"
        )
    if every < 1:
        raise ValueError(f"every is {every}; it must be at least 1")


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file by name, and the facts that :func:`save_weights` wrote with them.

    A pickle (``.pth``, ``.pt``, ``.model``) is read as plain tensors only, and has no facts.

    Raises:
        WeightsError: no such file, or none of weights.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            facts = json.loads(metadata.get("config", "{}"))
            return _unwrapped(load_file(path)), facts if isinstance(facts, dict) else {}
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    except Exception as error:  # pickle.UnpicklingError and its kin: refused by weights_only
        raise WeightsError(f"{path}: is no plain file of tensors ({error})") from error
    if isinstance(loaded, dict) and {"averaged", "step"} <= loaded.keys():
        raise WeightsError(
            f"{path}: is a checkpoint of a training; its model is '{path.with_suffix('.safetensors')}'"
        )
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{path}: holds no table of tensors by name")
    return _unwrapped({name: value.detach() for name, value in loaded.items()}), {}


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the ``module.`` with which the names of a model saved inside DDP's wrapper begin."""
    return {name.removeprefix("module."): value for name, value in state.items()}
