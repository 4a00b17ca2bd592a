"""``nst fast``: photos in the styles of a trained net, a pass each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nstlib import images, transform_net
from nstlib.cli import folders
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder, numbers
from nstlib.cli.folders import Job, Pictures, leaving_out
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


def _run_fast(options: argparse.Namespace) -> int:
    net = transform_net.load_net(options.net, device=options.device)
    net.condition(options.style, options.style_weight, options.weights)  # wrong ones end it here
    photos, done = Pictures("photo", options.photo), 0
    jobs = folders.jobs(options.out, photos)
    for job in tqdm(jobs, unit="photo", leave=False, disable=None):
        with leaving_out(photos.is_folder):
            saved = _stylize(net, job, options)
            done += 1
    print(f"{options.out}: {done} of {len(jobs)} photos" if photos.is_folder else saved)
    return 0 if done == len(jobs) else 1


def _stylize(net: TransformNet, job: Job, options: argparse.Namespace) -> Path:
    make_folder(job.out)
    (name,) = job.names
    photo = find_picture(name, options.size)
    painted = net.stylize(photo, options.style, options.style_weight, options.weights)
    recipe = {
        "method": "fast",
        "content": Path(name).name,
        "net": Path(options.net).name,
        "style": options.style or list(net.shape.styles[:1]),
        "weights": options.weights,
        "style_weight": options.style_weight or (net.shape.dial[-1] if net.shape.dial else None),
    }
    return images.save_image(painted, job.out, recipe)
