"""``nst fast``: photos in the styles of a trained net, a pass each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nstlib import images, transform_net
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder, numbers
from nstlib.datasets import picture_paths
from nstlib.errors import ImageError
from nstlib.transform_net import TransformNet

EXAMPLES = """examples:
  nst fast astronaut --style vortex -o out.png
  nst fast photo.jpg --style vortex mosaic-cathedral --weights 0.3,0.7 --style-weight 20 -o out.jpg
  nst fast holiday/ --style woodblock -o holiday-woodblock/
"""


def add_fast(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "fast",
        help="stylise photos by a trained net, in milliseconds",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = OWN_PICTURES + ", ".join(images.sample_names())
    command.add_argument("photo", help=f"{named}; or a folder of photos")
    command.add_argument(
        "--style", nargs="+", help="a style of the net, or several to mix (its first)"
    )
    command.add_argument(
        "--weights",
        type=numbers(float, "0.3,0.7"),
        help="of several styles; divided by their sum (equal)",
    )
    command.add_argument(
        "--style-weight", type=float, help="where the net's dial stands (its upper end)"
    )
    command.add_argument("--net", default="fast", help="the one that ships, or a file of weights")
    command.add_argument("--size", type=int, help="shorter side in pixels (the photo's own)")
    command.add_argument("--device", default="auto")
    command.add_argument(
        "-o", "--out", type=Path, required=True, help="a picture, or a folder for a folder"
    )
    command.set_defaults(run=_run_fast)


@dataclass(frozen=True)
class _Job:
    """A photo, and where its picture goes."""

    photo: str
    out: Path


def _run_fast(options: argparse.Namespace) -> int:
    net = transform_net.load_net(options.net, device=options.device)
    net.condition(options.style, options.style_weight, options.weights)  # wrong ones end it here
    if not Path(options.photo).is_dir():
        images.kind_of(options.out)
        if options.out.resolve() == Path(options.photo).resolve():
            raise ImageError(f"'{options.out}' is the photo, which would be overwritten")
        print(_stylize(net, _Job(options.photo, options.out), options))
        return 0
    jobs, failed = list(_jobs(Path(options.photo), options.out)), 0
    for job in tqdm(jobs, unit="photo", leave=False, disable=None):
        try:
            _stylize(net, job, options)
        except (ImageError, MemoryError, torch.OutOfMemoryError) as error:
            failed += 1
            print(f"nst: left out: {error}", file=sys.stderr)
    print(f"{options.out}: {len(jobs) - failed} of {len(jobs)} photos")
    return 1 if failed else 0


def _jobs(photos: Path, out: Path) -> Iterator[_Job]:
    """Yield each photo of a folder, and a file of the same name in ``out``.

    Raises:
        ImageError: two photos would be written to one file, or one over a photo.
    """
    if out.resolve().is_relative_to(photos.resolve()):
        raise ImageError(f"'{out}' lies within the folder of the photos: next time it would be one")
    paths = picture_paths(photos)
    originals = {path.resolve() for path in paths}
    taken: dict[Path, Path] = {}
    for photo in paths:
        target = out / photo.relative_to(photos)
        if target.suffix.lower() not in images.SUFFIXES:
            target = target.with_suffix(".png")
        if target.resolve() in originals:
            raise ImageError(f"'{target}' is a photo, which would be overwritten")
        if target in taken:
            raise ImageError(f"'{photo}' and '{taken[target]}' would both be written to '{target}'")
        taken[target] = photo
        yield _Job(str(photo), target)


def _stylize(net: TransformNet, job: _Job, options: argparse.Namespace) -> Path:
    make_folder(job.out)
    painted = net.stylize(
        find_picture(job.photo, options.size), options.style, options.style_weight, options.weights
    )
    recipe = {
        "method": "fast",
        "content": Path(job.photo).name,
        "net": Path(options.net).name,
        "style": options.style or list(net.shape.styles[:1]),
        "weights": options.weights,
        "style_weight": options.style_weight or (net.shape.dial[-1] if net.shape.dial else None),
    }
    return images.save_image(painted, job.out, recipe)
