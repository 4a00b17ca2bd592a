"""``nst fast``: photos in the styles of a trained net, a pass each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nstlib import images, transform_net
from nstlib.cli import control, folders
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder
from nstlib.cli.folders import Pictures, leaving_out
from nstlib.stylist import NetStylist

EXAMPLES = """examples:
  nst fast astronaut --style vortex -o out.png
  nst fast photo.jpg --style vortex mosaic-cathedral --weights .3 .7 --style-weight 20 -o out.jpg
  nst fast holiday/ --style woodblock -o holiday-woodblock/
  nst fast astronaut --style vortex --keep-color luminance --stroke-size 2 -o out.png
  nst fast photo.jpg --style vortex gilded --mask sky.png -o out.jpg   # gilded below the sky
  nst fast coffee --style engraving --foreground .2 .1 .8 .9 -o out.png
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
    control.add_mixture(command, styles="a style of the net, or several to mix (its first)")
    control.add_controls(command, NetStylist.stylize)
    command.add_argument("--net", default="fast", help="the one that ships, or a file of weights")
    command.add_argument("--size", type=int, help="shorter side in pixels (the photo's own)")
    command.add_argument("--device", default="auto")
    command.add_argument(
        "-o", "--out", type=Path, required=True, help="a picture, or a folder for a folder"
    )
    command.set_defaults(run=_run_fast)


def _run_fast(options: argparse.Namespace) -> int:
    net = transform_net.load_net(options.net, device=options.device)
    # What is wrong with these ends it here.
    turned = control.controls(options, NetStylist.stylize, "a fast net")
    styles, weights = options.styles or list(net.shape.styles[:1]), control.weights(options)
    net.condition(styles, turned["style_weight"], weights)
    photos = Pictures("photo", options.photo)
    jobs = folders.jobs(options.out, photos)
    regions = control.Regions.asked(options, len(styles), [job.out for job in jobs])
    if net.shape.dial and turned["style_weight"] is None:
        turned["style_weight"] = net.shape.dial[-1]
    recipe = {"method": "fast", "net": Path(options.net).name, "style": styles, "weights": weights}
    recipe |= turned | regions.recipe
    stylist, saved = NetStylist(net), []
    for job in tqdm(jobs, unit="photo", leave=False, disable=None):
        (name,) = job.names
        with leaving_out(photos.is_folder):
            make_folder(job.out)
            photo = find_picture(name, options.size)
            with control.about(name):
                mask = regions.on(photo)
                painted = stylist.stylize(photo, styles, weights, mask=mask, **turned)
            facts = recipe | {"content": Path(name).name, "size": options.size}
            saved.append(images.save_image(painted, job.out, facts))
    many = photos.is_folder
    print(f"{options.out}: {len(saved)} of {len(jobs)} photos" if many else saved[0])
    return 0 if len(saved) == len(jobs) else 1
