"""Folders of pictures to learn from, and the seeded crops that are drawn from them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nstlib.errors import ImageError
from nstlib.images import load_image, to_uint8

Split = Literal["train", "held-out", "all"]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".gif")


def picture_paths(*folders: str | Path, split: Split = "all") -> list[Path]:
    """Return the picture files under each of ``folders`` in turn, sorted by name.

    A ``MANIFEST.csv`` with the columns ``path`` and ``split`` in a folder, or in the one above it,
    says which pictures are held out; a file that it does not list belongs to ``"train"``.

    Raises:
        ValueError: no folder, an unknown split, no picture in any of them, or a manifest that cannot
            be understood.
    """
    if split not in ("train", "held-out", "all"):
        raise ValueError(f"split is {split!r}; it takes 'train', 'held-out' or 'all'")
    if not folders:
        raise ValueError("folders is empty; it takes at least one folder")
    # Of all folders first: where one lies within another, both must hold out the same.
    held_out = {path for folder in folders for path in _held_out(Path(folder))}
    paths = list(dict.fromkeys(path for folder in folders for path in _pictures(Path(folder))))
    if split != "all":
        paths = [path for path in paths if (path.resolve() in held_out) == (split == "held-out")]
    if not paths:
        raise ValueError(
            f"no picture of split {split!r} in {' or '.join(map(repr, map(str, folders)))}"
        )
    return paths


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


class Crops:
    """Pictures decoded once into memory, from which square crops are drawn.

    A picture whose shorter side is longer than ``shorter_side`` is made smaller, keeping its
    aspect (squashing to a square would teach the network a squashed world); none is enlarged.
    Pictures smaller than the crop, and files that cannot be read, are left out: :attr:`skipped`
    says which and why.

    Example:
        >>> from nstlib import config
        >>> crops = Crops(sorted((config.data_dir() / "styles").glob("*.jpg"))[:1], crop=64)
        >>> tuple(crops.draw(2, torch.Generator().manual_seed(0)).shape)
        (2, 3, 64, 64)
    """

    def __init__(self, paths: Iterable[Path], crop: int, shorter_side: int = 304) -> None:
        if not 1 <= crop <= shorter_side:
            raise ValueError(f"crop is {crop}; it must lie in [1, shorter_side], {shorter_side}")
        self.crop = crop
        self.pictures: list[Tensor] = []  # each (3, H, W), uint8
        self.skipped: list[str] = []
        self._shuffled: tuple[int, int, list[int]] = (-1, -1, [])  # seed, epoch, order
        for path in paths:
            try:
                picture = load_image(path)
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            if min(picture.shape[2:]) > shorter_side:
                picture = load_image(path, size=shorter_side)
            if min(picture.shape[2:]) < crop:
                self.skipped.append(f"{path}: smaller than the crop of {crop} px")
                continue
            self.pictures.append(torch.from_numpy(to_uint8(picture)).permute(2, 0, 1))
        if not self.pictures:
            raise ValueError(f"paths holds no picture of at least {crop} px ({self.skipped[:3]})")

    def __len__(self) -> int:
        return len(self.pictures)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` random crops, mirrored half the time: ``(count, 3, crop, crop)`` in [0, 1].

        Colours are left alone: a network that must recognise paint should see the colours of paint.
        """
        crops = [self._one(generator) for _ in range(count)]
        return torch.stack(crops).float() / 255

    def batch(self, step: int, count: int, seed: int) -> Tensor:
        """Return the crops of a training step, as :meth:`draw` does: a function of its arguments.

        Every picture is seen once before any is seen again, in an order that each pass draws anew.
        """
        generator = generator_of(seed, step, 1)
        places = range((step - 1) * count, step * count)
        crops = [self._crop(self._order(seed, p // len(self))[p % len(self)], generator) for p in places]
        return torch.stack(crops).float() / 255

    def _order(self, seed: int, epoch: int) -> list[int]:
        if self._shuffled[:2] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator_of(seed, epoch, 2)).tolist()
            self._shuffled = (seed, epoch, order)
        return self._shuffled[2]

    def _one(self, generator: torch.Generator) -> Tensor:
        return self._crop(_below(len(self.pictures), generator), generator)

    def _crop(self, index: int, generator: torch.Generator) -> Tensor:
        picture = self.pictures[index]
        top = _below(picture.shape[1] - self.crop + 1, generator)
        left = _below(picture.shape[2] - self.crop + 1, generator)
        crop = picture[:, top : top + self.crop, left : left + self.crop]
        return crop.flip(2) if _below(2, generator) else crop


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator seeded with several whole numbers: another stream for each tuple.

    Example:
        >>> [int(torch.randint(100, (1,), generator=generator_of(0, step))) for step in (1, 2, 1)]
        [54, 40, 54]
    """
    words = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def _held_out(folder: Path) -> set[Path]:
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is not a folder")
    for place in (folder, folder.parent):
        manifest = place / "MANIFEST.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as file:
                rows: Sequence[dict[str, str]] = list(csv.DictReader(file))
            for number, row in enumerate(rows, start=2):  # the first line has the columns' names
                if not row.get("path") or row.get("split") not in ("train", "held-out"):
                    raise ValueError(
                        f"{manifest}, row {number}: path is {row.get('path')!r} and split is "
                        f"{row.get('split')!r}; it takes a path, and 'train' or 'held-out'"
                    )
            return {(place / r["path"]).resolve() for r in rows if r["split"] == "held-out"}
    return set()


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (1,), generator=generator))
