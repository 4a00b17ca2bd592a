"""``nst adain``: any photo in any style, a pass each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from nstlib import adain, images
from nstlib.adain import Style
from nstlib.cli import control
from nstlib.cli.control import Photo
from nstlib.cli.flags import (
    OWN_PICTURES,
    add_device,
    add_out,
    add_size,
    add_trained,
    find_picture,
    weights,
)
from nstlib.cli.folders import Job, Order, Painted, Pictures
from nstlib.cli.parsers import add_command
from nstlib.files import expanded
from nstlib.losses import mixing_table
from nstlib.stylist import Stylist

EXAMPLES = """
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
    command = add_command(commands, "adain", "stylise photos by any picture, in a pass", EXAMPLES)
    photos = ", ".join(images.sample_names())
    command.add_argument("photo", help=f"{OWN_PICTURES}{photos}; or a folder of photos")
    control.add_style(command, "or a folder, one by one")
    control.add_controls(command, Stylist.stylize)
    add_trained(command, "--model", "adain")
    add_size(command, None)
    control.add_style_size(command)
    add_device(command)
    add_out(command, "a picture, or a folder for a folder, with photo-style.jpg in it", expanded)
    command.set_defaults(run=_run_adain)


class _Painting(NamedTuple):
    """A style, or its picture where it will be recoloured, and the shorter side it was seen at."""

    style: Style | Tensor
    size: int


def _run_adain(options: argparse.Namespace) -> int:
    asked = [Pictures("style", name) for name in control.styles_asked(options)]
    order = Order(options.out, Pictures("photo", options.photo), asked)
    outs = [job.out for job in order.jobs]
    # What is wrong with these ends it here.
    turned, mixed = control.controls(options, Stylist.stylize, "AdaIN"), weights(options)
    mixing_table(mixed, len(asked))
    regions = control.Regions.asked(options, len(asked), outs)
    model = adain.load_adain(options.model, device=options.device)
    stylist = Stylist(model, kept=1)  # photos come one after the other

    def read(name: str) -> _Painting:
        picture = images.at_size(find_picture(name), control.style_size(options))
        is_recoloured = turned["keep_color"] == "match"
        return _Painting(picture if is_recoloured else model.style(picture), min(picture.shape[2:]))

    def paint(photo: Photo, job: Job) -> Painted:
        name, *names = job.names
        used = [paintings[name] for name in names]
        styles = [painting.style for painting in used]
        painted = stylist.stylize(photo.image, styles, weights=mixed, mask=photo.mask, **turned)
        made_of = {
            "content": Path(name).name,
            "style": [Path(name).name for name in names],
            "style_size": [painting.size for painting in used],
        }
        return painted, recipe | made_of

    recipe = {"method": "adain", "model": Path(options.model).name, "size": options.size}
    recipe |= {"weights": mixed} | turned | regions.recipe
    paintings = order.each_style(read)
    return order.carry_out(lambda name: regions.photo(name, options.size), paint, paintings)
