"""Folders of pictures to learn from, and the seeded crops that are drawn from them.

Where a collection has more files than a disk likes, its pictures may lie in ``.tar`` files, as those
that WebDataset calls shards. Such a file is read through once, for the places of its pictures; from
then on each is read by itself, and a batch is a function of its step as with any other pictures.
"""

from __future__ import annotations

import csv
import itertools
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nstlib.errors import ImageError
from nstlib.images import check_image, load_image, resize, to_uint8

Split = Literal["train", "held-out", "all"]
# Of every kind of file that load_image reads: what has none of these is passed over in silence.
READABLE = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".dib"),
    *(".heic", ".heif", ".hif", ".avif"),
)
SHARD = ".tar"


def picture_paths(*folders: str | Path, split: Split = "all", shards: bool = False) -> list[Path]:
    """Return the picture files under each of ``folders`` in turn, sorted by name.

    A ``MANIFEST.csv`` with the columns ``path`` and ``split`` in a folder, or in the one above it,
    says which pictures are held out; a file that it does not list belongs to ``"train"``.

    Args:
        folders: where to look, and in the folders within.
        split: which of them.
        shards: return ``.tar`` files of pictures, too, for :class:`Crops`.

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
    suffixes = (*READABLE, SHARD) if shards else READABLE
    found = (path for folder in folders for path in sorted(Path(folder).rglob("*")))
    paths = [path for path in found if path.suffix.lower() in suffixes and not path.is_dir()]
    paths = list(dict.fromkeys(paths))
    if split != "all":
        paths = [path for path in paths if (path.resolve() in held_out) == (split == "held-out")]
    if not paths:
        kind = "" if split == "all" else f" of split {split!r}"
        raise ValueError(f"no picture{kind} in {' or '.join(map(repr, map(str, folders)))}")
    return paths


@dataclass(frozen=True, slots=True)
class Member:
    """A picture in a ``.tar`` file: where its bytes begin, and how many they are."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: the file cannot be read any more.
        """
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


Picture = Tensor | Path | Member


class Crops:
    """Pictures from which square crops are drawn, decoded once as far as memory allows.

    A picture whose shorter side is longer than ``shorter_side`` is made smaller, keeping its
    aspect (squashing to a square would teach the network a squashed world); none is enlarged.
    Pictures smaller than the crop, and files that cannot be read, are left out: :attr:`skipped`
    says which and why; "image 3" is the third of the images given. Where that comes out only when
    a crop is drawn, the next picture stands in.

    Args:
        pictures: files, ``.tar`` files of pictures, or images (1, 3, H, W) such as painters make.
            What cannot be read of a ``.tar`` file is left out, as are links and sparse files in it;
            packed (``.tar.gz``) it must not be.
        crop: the side of a crop in pixels.
        shorter_side: of a picture, in pixels.
        in_memory: bytes of decoded pictures to keep, about; the files that do not fit are decoded
            whenever one of their crops is drawn. Images are kept in any case.

    Raises:
        ValueError: a crop that fits no picture, or no picture that can be used.
        TypeError, ValueError: an image of another type, shape or range.

    Example:
        >>> from nstlib import config
        >>> crops = Crops(sorted((config.data_dir() / "styles").glob("*.jpg"))[:1], crop=64)
        >>> tuple(crops.draw(2, torch.Generator().manual_seed(0)).shape)
        (2, 3, 64, 64)
    """

    def __init__(
        self,
        pictures: Iterable[Path | Tensor],
        crop: int,
        shorter_side: int = 304,
        in_memory: int = 2 << 30,
    ) -> None:
        if not 1 <= crop <= shorter_side:
            raise ValueError(f"crop is {crop}; it must lie in [1, shorter_side], {shorter_side}")
        self.crop, self.shorter_side = crop, shorter_side
        self.pictures: list[Picture] = []  # tensors are (3, H, W), uint8
        self._skipped: dict[str, None] = {}  # a set that keeps its order
        numbers = itertools.count(1)
        for picture in self._unpacked(pictures):
            is_image = isinstance(picture, Tensor)
            name = f"image {next(numbers)}" if is_image else str(picture)
            is_kept = in_memory > 0 or is_image
            decoded: Picture | None = self._decoded(picture, name) if is_kept else picture
            if isinstance(decoded, Tensor):
                in_memory -= decoded.numel()
            if decoded is not None:
                self.pictures.append(decoded)
        if not self.pictures:
            raise ValueError(
                f"pictures holds no picture of at least {crop} px ({self.skipped[:3]})"
            )
        self._shuffled: tuple[int, int, list[int]] = (-1, -1, [])  # seed, pass, order

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def skipped(self) -> list[str]:
        """A line for each picture that was left out so far, and why."""
        return list(self._skipped)

    def _unpacked(self, pictures: Iterable[Path | Tensor]) -> Iterator[Picture]:
        """Yield the pictures, and in place of a .tar file those within it."""
        for picture in pictures:
            if isinstance(picture, Path) and picture.suffix.lower() == SHARD:
                yield from self._members(picture)
            else:
                yield picture

    def _members(self, shard: Path) -> list[Member]:
        """Return the pictures of a .tar file, as far as it can be read."""
        found: list[Member] = []
        try:
            with tarfile.open(shard, "r:") as tar:
                for part in tar:
                    if part.isdir() or Path(part.name).suffix.lower() not in READABLE:
                        continue
                    member = Member(shard, part.name, part.offset_data, part.size)
                    if reason := _why_not_whole(part):
                        self._skip(f"{member}: {reason}")
                    else:
                        found.append(member)
            _check_end(shard, tar.offset)
        except (tarfile.TarError, OSError) as error:
            self._skip(f"{shard}: is no whole .tar file, {len(found)} pictures found ({error})")
        return found

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` random crops, mirrored half the time: ``(count, 3, crop, crop)`` in [0, 1].

        Colours are left alone: a network that must recognise paint should see the colours of paint.
        """
        indices = [(_below(len(self), generator), generator) for _ in range(count)]
        return torch.stack([self._crop(*index) for index in indices]).float() / 255

    def batch(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Tensor:
        """Return the crops of a training step, as :meth:`draw` does: a function of its arguments.

        Every picture is seen once before any is seen again, in an order that each pass draws anew.

        Args:
            step: 1 is the first.
            count: pictures of the whole batch.
            seed: another seed, another order and other crops.
            share: which of the batch to make, where several processes share it out.
        """
        places = range((step - 1) * count, step * count)[share]
        indices = [self._order(seed, place // len(self))[place % len(self)] for place in places]
        generators = [generator_of(seed, place, 1) for place in places]
        with ThreadPoolExecutor() as pool:  # decoding files takes longer than a crop
            return torch.stack(list(pool.map(self._crop, indices, generators))).float() / 255

    def _order(self, seed: int, turn: int) -> list[int]:
        shuffled = self._shuffled  # read and written as one: several threads may draw at once
        if shuffled[:2] != (seed, turn):
            order = torch.randperm(len(self), generator=generator_of(seed, turn, 2)).tolist()
            self._shuffled = shuffled = (seed, turn, order)
        return shuffled[2]

    def _crop(self, index: int, generator: torch.Generator) -> Tensor:
        picture = self._picture(index)
        top = _below(picture.shape[1] - self.crop + 1, generator)
        left = _below(picture.shape[2] - self.crop + 1, generator)
        crop = picture[:, top : top + self.crop, left : left + self.crop]
        return crop.flip(2) if _below(2, generator) else crop

    def _picture(self, index: int) -> Tensor:
        """Return a picture, or the next one that can be read."""
        for other in range(len(self)):
            picture = self.pictures[(index + other) % len(self)]
            if isinstance(picture, Tensor):
                return picture
            decoded = self._decoded(picture, str(picture))
            if decoded is not None:
                return decoded
        raise ImageError(f"none of the {len(self)} pictures can be read any more")

    def _decoded(self, picture: Picture, name: str) -> Tensor | None:
        """Return (3, H, W) in uint8, or None and a line in :attr:`skipped`."""
        try:
            if isinstance(picture, Tensor):
                check_image("picture", picture)
                image = picture
            elif isinstance(picture, Path):
                image = load_image(picture)
            else:
                image = load_image(picture.read())
        except (ImageError, OSError) as error:
            self._skip(f"{name}: {error}" if isinstance(picture, Member) else str(error))
            return None
        if min(image.shape[2:]) > self.shorter_side:
            image = resize(image, self.shorter_side)
        if min(image.shape[2:]) < self.crop:
            self._skip(f"{name}: smaller than the crop of {self.crop} px")
            return None
        return torch.from_numpy(to_uint8(image)).permute(2, 0, 1)

    def _skip(self, line: str) -> None:
        self._skipped[line] = None


def _why_not_whole(part: tarfile.TarInfo) -> str | None:
    """Return why the bytes of a part of a .tar file do not lie there in one piece, None if they do."""
    if part.islnk() or part.issym():
        return "is a link"
    if part.issparse():
        return "is sparse"
    return None if part.isreg() else "is no file"


def _check_end(shard: Path, offset: int) -> None:
    """Raise ReadError unless nothing, or a block of zeros, is where the last part ends.

    ``tarfile`` takes a damaged header for the end, and would pass over all that follows it.
    """
    with shard.open("rb") as file:
        file.seek(offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"what follows byte {offset} is damaged")


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator seeded with whole numbers: another stream for each tuple of one length.

    Example:
        >>> [int(torch.randint(100, (1,), generator=generator_of(0, step))) for step in (1, 2, 1)]
        [41, 83, 41]
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
