"""Folders on the command line: what is made of their pictures, where it goes, and bad files."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from nstlib import images
from nstlib.datasets import picture_paths
from nstlib.errors import ImageError
from nstlib.memory import allocation_named


@dataclass(frozen=True)
class Pictures:
    """What an argument stands for: a file or the name of one that ships, or a folder of files."""

    kind: str  # what a user would call one of them: "photo"
    argument: str

    @property
    def is_folder(self) -> bool:
        """Whether there may be many."""
        return Path(self.argument).is_dir()

    @property
    def names(self) -> list[str]:
        """What :func:`~nstlib.cli.flags.find_picture` takes, for each."""
        if self.is_folder:
            return [str(path) for path in picture_paths(self.argument)]
        return [self.argument]

    def within(self, name: str) -> Path:
        """Return where a picture lies, as seen from the folder."""
        return Path(name).relative_to(self.argument) if self.is_folder else Path(Path(name).name)


@dataclass(frozen=True)
class Job:
    """A picture to be made: of what, and where it goes."""

    names: tuple[str, ...]
    out: Path


def jobs(out: Path, *asked: Pictures) -> list[Job]:
    """Return a job for each combination of the pictures asked for, those of the first outermost.

    Of single pictures, ``out`` is a file. Where one of ``asked`` is a folder, so is ``out``; a
    picture in it has the place of the first that it is made of, and the names of all:
    ``photo-style.jpg``, or ``.png`` for a photo of a kind that is not written.

    Raises:
        ImageError: two pictures would be written to one file, or one over what it is made of.
        ValueError: a suffix that cannot be written, or a folder without pictures.
    """
    names = [pictures.names for pictures in asked]
    kinds = {Path(n).resolve(): p.kind for p, own in zip(asked, names, strict=True) for n in own}
    if not any(pictures.is_folder for pictures in asked):
        images.kind_of(out)
        if out.resolve() in kinds:
            raise ImageError(f"'{out}' is the {kinds[out.resolve()]}, which would be overwritten")
        return [Job(tuple(pictures.argument for pictures in asked), out)]
    _check_folder(out, *asked)
    taken: dict[Path, Job] = {}
    for combination in itertools.product(*names):
        job = Job(combination, out / _called(asked, combination))
        if kind := kinds.get(job.out.resolve()):
            raise ImageError(f"'{job.out}' is a {kind}, which would be overwritten")
        if other := taken.get(job.out):
            both = " and ".join(f"'{' with '.join(one.names)}'" for one in (job, other))
            raise ImageError(f"{both} would both be written to '{job.out}'")
        taken[job.out] = job
    return list(taken.values())


def _check_folder(out: Path, *asked: Pictures) -> None:
    if out.is_file():
        raise ImageError(f"'{out}' is a file; what is made of a folder goes into a folder")
    for pictures in asked:
        if pictures.is_folder and out.resolve().is_relative_to(Path(pictures.argument).resolve()):
            kind = pictures.kind
            raise ImageError(
                f"'{out}' lies within the folder of the {kind}s: next time it would be one"
            )


def _called(asked: tuple[Pictures, ...], names: tuple[str, ...]) -> Path:
    """Return the path, from the folder of outputs, of what is made of ``names``."""
    place = asked[0].within(names[0])
    suffix = place.suffix if place.suffix.lower() in images.SUFFIXES else ".png"
    return place.with_name("-".join(Path(name).stem for name in names) + suffix)


@contextmanager
def leaving_out(many: bool) -> Iterator[None]:
    """Tell of a bad file in a line, and go on where it is one of ``many``; alone it ends the run."""
    try:
        with allocation_named():
            yield
    except (ImageError, MemoryError, torch.OutOfMemoryError) as error:
        if not many:
            raise
        tqdm.write(f"nst: left out: {error}", file=sys.stderr)
