"""``nst fast``: photos in the styles of a trained net, a pass each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nstlib import images, transform_net
from nstlib.cli import control
from nstlib.cli.control import Photo
from nstlib.cli.flags import (
    OWN_PICTURES,
    add_device,
    add_out,
    add_size,
    add_trained,
    weights,
)
from nstlib.cli.folders import Job, Order, Painted, Pictures
from nstlib.cli.parsers import add_command
from nstlib.files import expanded
from nstlib.stylist import NetStylist

EXAMPLES = """
nst fast astronaut --style vortex -o out.png
nst fast photo.jpg --style vortex mosaic-cathedral --weights .3 .7 --style-weight 20 -o out.jpg
nst fast holiday/ --style woodblock -o holiday-woodblock/
nst fast astronaut --style vortex --keep-color luminance --stroke-size 2 -o out.png
nst fast photo.jpg --style vortex gilded --mask sky.png -o out.jpg   # gilded below the sky
nst fast coffee --style engraving --foreground .2 .1 .8 .9 -o out.png
"""


def add_fast(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands, "fast", "stylise photos by a trained net, in milliseconds", EXAMPLES
    )
    named = OWN_PICTURES + ", ".join(images.sample_names())
    command.add_argument("photo", help=f"{named}; or a folder of photos")
    control.add_mixture(command, styles="a style of the net, or several to mix (its first)")
    control.add_controls(command, NetStylist.stylize)
    add_trained(command, "--net", "fast")
    add_size(command, None)
    add_device(command)
    add_out(command, "a picture, or a folder for a folder", expanded)
    command.set_defaults(run=_run_fast)


def _run_fast(options: argparse.Namespace) -> int:
    net = transform_net.load_net(options.net, device=options.device)
    # What is wrong with these ends it here.
    turned = control.controls(options, NetStylist.stylize, "a fast net")
    styles, mixed = options.styles or list(net.shape.styles[:1]), weights(options)
    net.condition(styles, turned["style_weight"], mixed)
    order = Order(options.out, Pictures("photo", options.photo))
    regions = control.Regions.asked(options, len(styles), [job.out for job in order.jobs])
    if net.shape.dial and turned["style_weight"] is None:
        turned["style_weight"] = net.shape.dial[-1]
    stylist = NetStylist(net)
    recipe = {"method": "fast", "net": Path(options.net).name, "style": styles, "weights": mixed}
    recipe |= {"size": options.size} | turned | regions.recipe

    def paint(photo: Photo, job: Job) -> Painted:
        painted = stylist.stylize(photo.image, styles, weights=mixed, mask=photo.mask, **turned)
        return painted, recipe | {"content": Path(job.names[0]).name}

    return order.carry_out(lambda name: regions.photo(name, options.size), paint)
