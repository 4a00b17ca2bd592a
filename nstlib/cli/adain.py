"""``nst adain``: any photo in any style, a pass each."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from nstlib import adain, images
from nstlib.adain import AdaIN, Style
from nstlib.cli import control, folders
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder
from nstlib.cli.folders import Job, Pictures, leaving_out
from nstlib.losses import mixing_table
from nstlib.stylist import Stylist

EXAMPLES = """examples:
  nst adain photo.jpg painting.jpg -o out.jpg
  nst adain astronaut vortex --alpha 0.6 --size 512 -o out.png
  nst adain holiday/ paintings/ -o holiday-painted/
  nst adain astronaut --style vortex --style mosaic --weights .3 .7 -o mixed.png
  nst adain photo.jpg painting.jpg --keep-color match --stroke-size 2 -o out.jpg
  nst adain photo.jpg --style a.jpg --style b.jpg --mask sky.png -o out.jpg   # b below the sky
  nst adain coffee --style vortex --style marbling --foreground .2 .1 .8 .9 -o out.png
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
    style = command.add_argument(
        "style", metavar="[style]", help=f"{OWN_PICTURES}{styles}; or a folder, one by one"
    )
    style.required = False  # with nargs="?" it could not stand after a flag, before Python 3.13
    control.add_mixture(command, styles="the style; or again and again for a mixture of several")
    control.add_controls(command, Stylist.stylize)
    command.add_argument(
        "--model", default="adain", help="the one that ships, or a file of weights"
    )
    command.add_argument("--size", type=int, help="shorter side in pixels (the photo's own)")
    command.add_argument(
        "--style-size", type=int, default=control.STYLE_SIZE, help=control.STYLE_SIZE_HELP
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
    """A style, or its picture where it will be recoloured, and the shorter side it was seen at."""

    style: Style | Tensor
    size: int


def _run_adain(options: argparse.Namespace) -> int:
    photos = Pictures("photo", options.photo)
    asked = [Pictures("style", name) for name in control.styles_asked(options)]
    jobs = folders.jobs(options.out, photos, *asked)
    # What is wrong with these ends it here.
    turned, weights = control.controls(options, Stylist.stylize, "AdaIN"), control.weights(options)
    mixing_table(weights, len(asked))
    regions = control.Regions.asked(options, len(asked), [job.out for job in jobs])
    model = adain.load_adain(options.model, device=options.device)
    stylist = Stylist(model, kept=1)  # photos come one after the other
    paintings = _paintings(model, asked, options.style_size, turned["keep_color"] == "match")
    many = any(pictures.is_folder for pictures in (photos, *asked))
    saved: list[Path] = []
    bar = tqdm(jobs, unit="picture", leave=False, disable=None)
    for name, of_photo in itertools.groupby(bar, lambda job: job.names[0]):
        with leaving_out(photos.is_folder):
            photo = find_picture(name, options.size)
            with control.about(name):
                mask = regions.on(photo)
                for job in of_photo:
                    used = [paintings[style] for style in job.names[1:] if style in paintings]
                    if len(used) < len(asked):
                        continue  # it was told of already
                    styles = [painting.style for painting in used]
                    painted = stylist.stylize(photo, styles, weights, mask=mask, **turned)
                    facts = {"weights": weights, **turned, **regions.recipe}
                    with leaving_out(many):
                        saved.append(_save(painted, job, used, facts, options))
    print(f"{options.out}: {len(saved)} of {len(jobs)} pictures" if many else saved[0])
    return 0 if len(saved) == len(jobs) else 1


def _save(
    painted: Tensor,
    job: Job,
    used: Sequence[_Painting],
    facts: dict[str, Any],
    options: argparse.Namespace,
) -> Path:
    make_folder(job.out)
    photo, *styles = job.names
    recipe = {
        "method": "adain",
        "content": Path(photo).name,
        "style": [Path(style).name for style in styles],
        "style_size": [painting.size for painting in used],
        "model": Path(options.model).name,
        "size": options.size,
    }
    return images.save_image(painted, job.out, recipe | facts)


def _paintings(
    model: AdaIN, asked: Sequence[Pictures], size: int, is_recoloured: bool
) -> dict[str, _Painting]:
    """Return all styles by their names, without those that cannot be read."""
    paintings: dict[str, _Painting] = {}
    for name, is_one_of_many in {n: of.is_folder for of in asked for n in of.names}.items():
        with leaving_out(is_one_of_many):
            picture = images.at_size(find_picture(name), size)
            style = picture if is_recoloured else model.style(picture)
            paintings[name] = _Painting(style, min(picture.shape[2:]))
    return paintings
