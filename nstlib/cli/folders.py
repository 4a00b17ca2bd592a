"""Folders on the command line: what is made of their pictures, where it goes, and bad files."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor
from tqdm import tqdm

from nstlib import images
from nstlib.cli.flags import UsageError, make_folder
from nstlib.cli.parsers import one_line
from nstlib.datasets import picture_paths
from nstlib.errors import DivergenceError, ImageError
from nstlib.memory import allocation_named

Photo = TypeVar("Photo")
Style = TypeVar("Style")


@dataclass(frozen=True)
class Pictures:
    """What an argument stands for: a file or the name of one that ships, or a folder of files."""

    kind: str  # what a user would call one of them: "photo"
    argument: str

    @property
    def is_folder(self) -> bool:
        """Whether there may be many."""
        return os.path.isdir(self.argument)  # pathlib's raises an error of a name that is too long

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


Painted = tuple[Tensor, dict[str, Any]]  # a picture, and how it was made


@dataclass(frozen=True)
class Order:
    """What is asked for: pictures of each photo with each style, and where they go."""

    out: Path
    photos: Pictures
    styles: Sequence[Pictures] = ()  # of several, each picture takes one of each

    @property
    def asked(self) -> tuple[Pictures, ...]:
        """What the pictures are made of, the photos first."""
        return (self.photos, *self.styles)

    @property
    def is_folder(self) -> bool:
        """Whether there may be many pictures: then they go into a folder."""
        return any(pictures.is_folder for pictures in self.asked)

    @cached_property
    def jobs(self) -> list[Job]:
        """A job for each combination of what is asked for, with the photos outermost.

        Of single pictures, ``out`` is a file. Else it is a folder; a picture in it has the place of
        its photo, and the names of all that it is made of: ``photo-style.jpg``, or ``.png`` for a
        photo of a kind that is not written.

        Raises:
            UsageError: two pictures would be written to one file, or one over what it is made of.
            ValueError: a suffix that cannot be written, or a folder without pictures.
        """
        kinds = {Path(name).resolve(): of.kind for of in self.asked for name in of.names}
        if not self.is_folder:
            images.kind_of(self.out)
            jobs = [Job(tuple(pictures.argument for pictures in self.asked), self.out)]
        else:
            _check_folder(self.out, *self.asked)
            combinations = itertools.product(*(pictures.names for pictures in self.asked))
            jobs = [Job(names, self.out / _called(self.asked, names)) for names in combinations]
        taken: dict[Path, Job] = {}
        for job in jobs:
            if kind := kinds.get(job.out.resolve()):
                raise UsageError(f"'{job.out}' is the {kind}, which would be overwritten")
            if other := taken.get(job.out):
                both = " and ".join(f"'{' with '.join(one.names)}'" for one in (job, other))
                raise UsageError(f"{both} would both be written to '{job.out}'")
            taken[job.out] = job
        return jobs

    def each_style(self, read: Callable[[str], Style]) -> dict[str, Style]:
        """Return all styles by their names, without those of a folder that cannot be read."""
        styles: dict[str, Style] = {}
        for name, is_one_of_many in {
            n: of.is_folder for of in self.styles for n in of.names
        }.items():
            with leaving_out(is_one_of_many):
                styles[name] = read(name)
        return styles

    def carry_out(
        self,
        begin: Callable[[str], Photo],
        paint: Callable[[Photo, Job], Painted],
        styles: Collection[str] = (),
    ) -> int:
        """Make all pictures, and print where they are; return the exit code: 1 where some are not.

        Args:
            begin: returns what there is to know of a photo, once for all its pictures.
            paint: makes a picture of that.
            styles: those that could be read; a job with another was told of already.
        """
        saved: list[Path] = []
        is_alone = len(self.jobs) == 1
        bar = tqdm(self.jobs, unit="picture", leave=False, disable=is_alone or None)
        for name, of_photo in itertools.groupby(bar, lambda job: job.names[0]):
            with leaving_out(self.photos.is_folder):
                with _about(name):
                    photo = begin(name)
                for job in of_photo:
                    if not set(job.names[1:]) <= set(styles):
                        continue
                    make_folder(job.out)
                    with _about(name):
                        image, recipe = paint(photo, job)
                    with leaving_out(self.is_folder):
                        saved.append(images.save_image(image, job.out, recipe))
        many = f"{self.out}: {len(saved)} of {len(self.jobs)} pictures"
        print(many if self.is_folder else saved[0])
        return 0 if len(saved) == len(self.jobs) else 1


def _check_folder(out: Path, *asked: Pictures) -> None:
    if out.is_file():
        raise UsageError(f"'{out}' is a file; what is made of a folder goes into a folder")
    for pictures in asked:
        if pictures.is_folder and out.resolve().is_relative_to(Path(pictures.argument).resolve()):
            kind = pictures.kind
            raise UsageError(
                f"'{out}' lies within the folder of the {kind}s: next time it would be one"
            )


def _called(asked: tuple[Pictures, ...], names: tuple[str, ...]) -> Path:
    """Return the path, from the folder of outputs, of what is made of ``names``."""
    place = asked[0].within(names[0])
    suffix = place.suffix if place.suffix.lower() in images.WRITABLE else ".png"
    return place.with_name("-".join(Path(name).stem for name in names) + suffix)


@contextmanager
def _about(photo: str) -> Iterator[None]:
    """Say of which photo it is that what was asked for cannot be: of many, it is left out."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{photo}: {error}") from error


# What may be wrong with one picture, and not with the next.
_OF_ONE_PICTURE = (ImageError, UsageError, DivergenceError, MemoryError)


@contextmanager
def leaving_out(many: bool) -> Iterator[None]:
    """Tell of a bad file in a line, and go on where it is one of ``many``; alone it ends the run."""
    try:
        with allocation_named():
            yield
    except _OF_ONE_PICTURE as error:
        if not many:
            raise
        tqdm.write(f"nst: left out: {one_line(str(error))}", file=sys.stderr)
