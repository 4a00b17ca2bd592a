"""``nst video``: a clip in a style, steady, with its sound."""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from nstlib import adain, images, transform_net, video
from nstlib.cli import control
from nstlib.cli.flags import OWN_PICTURES, find_picture, make_folder
from nstlib.config import Range
from nstlib.errors import VideoError
from nstlib.flow import Method
from nstlib.losses import mixing_table
from nstlib.stylist import NetStylist, Stylist
from nstlib.video.steadying import TEMPORAL_WEIGHT

SIZE = 384  # px: a laptop paints about ten such frames a second
SECONDS = Range(0.001, 1e6, "stop after so many seconds")

EXAMPLES = """examples:
  nst video clip.mp4 painting.jpg -o out.mp4
  nst video clip.mov vortex --alpha 0.8 --temporal-weight 0.85 --size 216 --seconds 5 -o out.mp4
  nst video clip.mp4 --style vortex --style mosaic --weights .3 .7 --keep-color luminance -o out.mp4
  nst video clip.mp4 --style vortex --style ink_wash --foreground .3 .1 .7 .9 -o out.mp4
  nst video clip.mp4 impasto --net fast --style-weight 10 -o out.gif

Regions are those of the first frame, and move along with what they are on. The sound is copied.
"""


def add_video(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "video",
        help="stylise a clip, steady in time",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("clip", help="a file that FFmpeg reads: .mp4, .mov, .webm, .mkv, .gif ...")
    styles = ", ".join(images.style_names())
    style = command.add_argument(
        "style", metavar="[style]", help=f"{OWN_PICTURES}{styles}; with --net, one of the net's own"
    )
    style.required = False  # with nargs="?" it could not stand after a flag, before Python 3.13
    control.add_mixture(command, styles="the style; or again and again for a mixture of several")
    low, high = TEMPORAL_WEIGHT.low, TEMPORAL_WEIGHT.high
    command.add_argument(
        "--temporal-weight",
        type=float,
        default=0.7,
        help=f"{TEMPORAL_WEIGHT.meaning}, from {low:g} (each frame by itself) to {high:g} (%(default)s)",
    )
    command.add_argument(
        "--flow", choices=get_args(Method), default="dis", help="how motion is found (%(default)s)"
    )
    control.add_controls(command, Stylist.stylize, NetStylist.stylize)
    painter = command.add_mutually_exclusive_group()
    painter.add_argument("--model", help="AdaIN's weights: 'adain', or a file (adain)")
    painter.add_argument("--net", help="paint by a fast net: 'fast', or a file of weights")
    command.add_argument(
        "--size",
        type=int,
        default=SIZE,
        help="shorter side in pixels; a smaller clip keeps its own (%(default)s)",
    )
    command.add_argument(
        "--style-size", type=int, default=argparse.SUPPRESS, help=control.STYLE_SIZE_HELP
    )
    command.add_argument("--seconds", type=float, help=f"{SECONDS.meaning} (all of the clip)")
    command.add_argument("--no-audio", action="store_true", help="leave the sound out")
    command.add_argument("--device", default="auto")
    command.add_argument(
        "-o", "--out", type=Path, required=True, help=f"a clip: {' or '.join(video.FASTEST)}"
    )
    command.set_defaults(run=_run_video)


def _run_video(options: argparse.Namespace) -> None:
    names = control.styles_asked(options, after="clip")
    _check_out(options, names)
    mixing_table(control.weights(options), len(names))
    regions = control.Regions.asked(options, len(names), [options.out])
    clip = video.read(options.clip, options.size)
    _check_rate(options.out, clip)
    frames, count = _until(clip, options.seconds)
    stylize = _with_net(options, names) if options.net else _with_adain(options, names)
    painted = stylize(frames, mask=regions.on(next(iter(clip)).image))
    make_folder(options.out)
    audio = None if options.no_audio or _is_gif(options.out) else options.clip
    with (
        closing(painted),
        tqdm(painted, total=count, unit="frame", leave=False, disable=None) as bar,
    ):
        # Frames keep their own times: where some cannot be decoded, the others stay with the sound.
        print(video.write(options.out, bar, audio=audio))


def _check_out(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise an error unless the output is a clip, and none of the files that it is made of."""
    suffix = options.out.suffix.lower()
    if suffix not in video.FASTEST:
        known = ", ".join(video.FASTEST)
        raise ValueError(f"out is '{options.out}'; its suffix must be one of {known}")
    control.check_kept(options.out, "file it is made of", [options.clip, *names])
    if _is_gif(options.out) and options.no_audio:
        control.check_idle("a GIF, which holds no sound", ["no_audio"])


def _check_rate(out: Path, clip: video.Reader) -> None:
    """Raise VideoError where frames come too fast for a GIF."""
    fastest = video.FASTEST[".gif"]
    if _is_gif(out) and clip.rate and clip.rate > fastest:
        raise VideoError(
            f"'{clip.path}' has {float(clip.rate):.4g} frames a second, and a GIF has {fastest} at "
            "most: write an .mp4"
        )


def _is_gif(out: Path) -> bool:
    return out.suffix.lower() == ".gif"


def _until(clip: video.Reader, seconds: float | None) -> tuple[Iterable[video.Frame], int]:
    """Return a clip's frames of the first seconds, and their number: nearly, where the rate varies."""
    if seconds is None:
        return clip, len(clip)
    end = SECONDS.check("seconds", seconds)
    count = min(len(clip), max(1, round(end / float(clip.seconds) * len(clip))))
    # As floats: 0.4 s is a little more than 2/5.
    return itertools.takewhile(lambda frame: float(frame.time) < end, clip), count


_Stylize = Callable[..., Generator[Any, None, None]]  # of frames, and a mask


def _with_adain(options: argparse.Namespace, names: Sequence[str]) -> _Stylize:
    """Return what stylises frames by AdaIN: styles are pictures."""
    turned = control.controls(options, Stylist.stylize, "AdaIN")
    size = getattr(options, "style_size", control.STYLE_SIZE)
    styles = [images.at_size(find_picture(name), size) for name in names]
    return _stylize(
        options, adain.load_adain(options.model or "adain", device=options.device), styles, turned
    )


def _with_net(options: argparse.Namespace, names: Sequence[str]) -> _Stylize:
    """Return what stylises frames by a fast net, whose styles have names."""
    turned = control.controls(options, NetStylist.stylize, "a fast net")
    if hasattr(options, "style_size"):
        control.check_idle("a fast net", ["style_size"])
    net = transform_net.load_net(options.net, device=options.device)
    net.condition(names, turned["style_weight"])  # wrong ones end it here
    return _stylize(options, net, names, turned)


def _stylize(
    options: argparse.Namespace, model: Any, styles: Sequence[Any], turned: dict[str, Any]
) -> _Stylize:
    return functools.partial(
        video.stylize,
        model=model,
        style=styles,
        weights=control.weights(options),
        temporal_weight=options.temporal_weight,
        flow=options.flow,
        **turned,
    )
