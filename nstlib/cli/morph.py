"""``nst morph``: a clip in which one photo walks through several styles."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from tqdm import tqdm

from nstlib import adain, images, transform_net, video
from nstlib.cli import control
from nstlib.cli.flags import (
    OWN_PICTURES,
    UsageError,
    add_device,
    add_out,
    add_painter,
    add_size,
    check_kept,
    clip_file,
    find_picture,
    make_folder,
)
from nstlib.cli.parsers import add_command
from nstlib.config import Range
from nstlib.interpolation import path_weights
from nstlib.stylist import NetStylist, Stylist

SECONDS = Range(0.1, 3600, "how long the clip is")
SECONDS_A_STYLE = 2
SLOWEST = 1  # frames a second; how many at most, the kind of clip says
FRAMES_AT_ONCE = 4  # a pass: more are no faster, and take more memory

EXAMPLES = """
nst morph astronaut vortex mosaic marbling -o walk.mp4
nst morph photo.jpg a.jpg b.jpg --open --seconds 5 --keep-color luminance -o walk.mp4
nst morph coffee vortex gilded engraving --net fast --size 256 --rate 15 -o walk.gif
"""


def add_morph(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "morph",
        "walk through styles, in a clip",
        EXAMPLES,
        f"Without --seconds, the clip stays {SECONDS_A_STYLE} s with each style.",
    )
    photos, styles = ", ".join(images.sample_names()), ", ".join(images.style_names())
    command.add_argument("photo", help=OWN_PICTURES + photos)
    command.add_argument(
        "styles",
        nargs="+",
        metavar="STYLE",
        help=f"two or more: {OWN_PICTURES}{styles}; with --net, the net's own",
    )
    command.add_argument(
        "--open",
        action="store_true",
        help="stop at the last style, and do not walk back to the first; a GIF then plays once",
    )
    command.add_argument(
        "--seconds",
        type=float,
        help=f"{SECONDS.meaning}, {SECONDS.low:g} to {SECONDS.high:g} ({SECONDS_A_STYLE} a style)",
    )
    rates = ", ".join(f"{rate} in a {suffix}" for suffix, rate in video.FASTEST.items())
    command.add_argument(
        "--rate",
        type=float,
        default=25,
        help=f"frames a second, from {SLOWEST} to {rates} (%(default)s)",
    )
    control.add_controls(command, Stylist.stylize, NetStylist.stylize)
    add_painter(command)
    add_size(command, 384)
    control.add_style_size(command)
    add_device(command)
    add_out(command, f"a clip: {' or '.join(video.FASTEST)}", clip_file)
    command.set_defaults(run=_run_morph)


def _run_morph(options: argparse.Namespace) -> None:
    table = _table(options)
    paint = _with_net(options) if options.net else _with_adain(options)
    make_folder(options.out)
    with tqdm(total=len(table), unit="frame", leave=False, disable=None) as bar:

        def frames() -> Iterator[Tensor]:
            for start in range(0, len(table), FRAMES_AT_ONCE):
                painted = paint(table[start : start + FRAMES_AT_ONCE])
                bar.update(len(painted))
                yield painted

        print(video.write(options.out, frames(), options.rate, loop=not options.open))


def _table(options: argparse.Namespace) -> Tensor:
    """Return how much of each style a frame takes, (frames, styles), or say what is wrong."""
    check_kept(options.out, "picture it is made of", [options.photo, *options.styles])
    count = len(options.styles)
    if count < 2:
        raise UsageError(f"there is one style, {options.styles[0]!r}; a walk takes two or more")
    default = SECONDS_A_STYLE * count
    seconds = SECONDS.check("seconds", default if options.seconds is None else options.seconds)
    rate = Range(SLOWEST, video.FASTEST[options.out.suffix.lower()]).check("rate", options.rate)
    frames = round(seconds * rate)
    if frames < count:
        raise UsageError(
            f"seconds is {seconds:g} and rate {rate:g}: {frames} frames; each of the {count} styles "
            "takes one at least"
        )
    return path_weights(count, frames, closed=not options.open)


_Painter = Callable[[Tensor], Tensor]  # rows of weights (N, styles) to frames (N, 3, H, W)


def _with_adain(options: argparse.Namespace) -> _Painter:
    """Return what paints frames by AdaIN: photo and styles are encoded with the first."""
    turned = control.controls(options, Stylist.stylize, "AdaIN")
    style_size = control.style_size(options)
    photo = find_picture(options.photo, options.size)
    styles = [images.at_size(find_picture(name), style_size) for name in options.styles]
    model = adain.load_adain(options.model or "adain", device=options.device)
    stylist = Stylist(model, kept=len(styles))
    return lambda rows: stylist.stylize(photo, styles, weights=rows, **turned)


def _with_net(options: argparse.Namespace) -> _Painter:
    """Return what paints frames by a fast net, whose styles have names."""
    turned = control.controls(options, NetStylist.stylize, "a fast net")
    if hasattr(options, "style_size"):
        control.check_idle("a fast net", ["style_size"])
    net = transform_net.load_net(options.net, device=options.device)
    net.condition(options.styles, turned["style_weight"])  # wrong ones end it here
    photo, stylist = find_picture(options.photo, options.size), NetStylist(net)
    return lambda rows: stylist.stylize(photo, options.styles, weights=rows, **turned)
