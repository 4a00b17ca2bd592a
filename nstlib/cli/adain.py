"""``nst adain``: any photo in any style, a pass each."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from nstlib import adain, images
from nstlib.adain import AdaIN, Content, Style
from nstlib.cli import folders
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder
from nstlib.cli.folders import Job, Pictures, leaving_out

EXAMPLES = """examples:
  nst adain photo.jpg painting.jpg -o out.jpg
  nst adain astronaut vortex --alpha 0.6 --size 512 -o out.png
  nst adain holiday/ paintings/ -o holiday-painted/
"""


def add_adain(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "adain",
        help="stylise photos by any picture, in a pass",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    photos, styles = ", ".join(images.sample_names()), ", ".join(images.style_names())
    command.add_argument("photo", help=f"{OWN_PICTURES}{photos}; or a folder of photos")
    command.add_argument("style", help=f"{OWN_PICTURES}{styles}; or a folder of pictures")
    alpha = adain.ALPHA
    command.add_argument(
        "--alpha",
        type=float,
        default=1.0,
        help=f"{alpha.meaning}, {alpha.low:g} to {alpha.high:g} (%(default)s)",
    )
    command.add_argument(
        "--model", default="adain", help="the one that ships, or a file of weights"
    )
    command.add_argument("--size", type=int, help="shorter side in pixels (the photo's own)")
    command.add_argument(
        "--style-size",
        type=int,
        default=512,
        help="shorter side that the style is seen at, or its own if smaller; its strokes grow with "
        "it (%(default)s)",
    )
    command.add_argument("--device", default="auto")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        help="a picture, or a folder for a folder, with photo-style.jpg in it",
    )
    command.set_defaults(run=_run_adain)


class _Painting(NamedTuple):
    """A style, and the shorter side in pixels that it was seen at."""

    style: Style
    size: int


def _run_adain(options: argparse.Namespace) -> int:
    adain.ALPHA.check("alpha", options.alpha)
    photos, paintings = Pictures("photo", options.photo), Pictures("style", options.style)
    jobs = folders.jobs(options.out, photos, paintings)
    model = adain.load_adain(options.model, device=options.device)
    styles: dict[str, _Painting] = {}
    for name in paintings.names:
        with leaving_out(paintings.is_folder):
            picture = images.at_size(find_picture(name), options.style_size)
            styles[name] = _Painting(model.style(picture), min(picture.shape[2:]))
    many = photos.is_folder or paintings.is_folder
    saved: list[Path] = []
    bar = tqdm(jobs, unit="picture", leave=False, disable=None)
    for photo, of_photo in itertools.groupby(bar, lambda job: job.names[0]):
        with leaving_out(photos.is_folder):
            content = model.content_or_photo(find_picture(photo, options.size))
            for job in of_photo:
                if painting := styles.get(job.names[1]):  # else it was told of already
                    with leaving_out(many):
                        saved.append(_paint(model, content, painting, job, options))
    print(f"{options.out}: {len(saved)} of {len(jobs)} pictures" if many else saved[0])
    return 0 if len(saved) == len(jobs) else 1


def _paint(
    model: AdaIN,
    content: Tensor | Content,
    painting: _Painting,
    job: Job,
    options: argparse.Namespace,
) -> Path:
    make_folder(job.out)
    photo, style = job.names
    recipe = {
        "method": "adain",
        "content": Path(photo).name,
        "style": Path(style).name,
        "model": Path(options.model).name,
        "alpha": options.alpha,
        "size": options.size,
        "style_size": painting.size,
    }
    painted = model.stylize(content, painting.style, options.alpha)
    return images.save_image(painted, job.out, recipe)
