"""``nst video``: a clip in a style, steady, with its sound."""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nstlib import adain, images, transform_net, video
from nstlib.cli import control
from nstlib.cli.flags import (
    UsageError,
    add_device,
    add_out,
    add_painter,
    add_parameters,
    add_size,
    check_kept,
    clip_file,
    existing_file,
    find_picture,
    make_folder,
    values,
    weights,
)
from nstlib.cli.parsers import add_command
from nstlib.config import Range
from nstlib.losses import mixing_table
from nstlib.stylist import NetStylist, Stylist

SIZE = 384  # px: a laptop paints about ten such frames a second
SECONDS = Range(0.001, 1e6, "stop after so many seconds")

EXAMPLES = """
nst video clip.mp4 painting.jpg -o out.mp4
nst video clip.mov vortex --alpha 0.8 --temporal-weight 0.85 --size 216 --seconds 5 -o out.mp4
nst video clip.mp4 --style vortex --style mosaic --weights .3 .7 --keep-color luminance -o out.mp4
nst video clip.mp4 --style vortex --style ink_wash --foreground .3 .1 .7 .9 -o out.mp4
nst video clip.mp4 impasto --net fast --style-weight 10 -o out.gif
"""
NOTES = "Regions are those of the first frame, and move along with what they are on. The sound is copied."


def add_video(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "video", "stylise a clip, steady in time", EXAMPLES, NOTES)
    command.add_argument(
        "clip",
        type=existing_file,
        help="a file that FFmpeg reads: .mp4, .mov, .webm, .mkv, .gif ...",
    )
    control.add_style(command, "with --net, one of the net's own")
    add_parameters(command, video.stylize, "temporal_weight", "flow")
    control.add_controls(command, Stylist.stylize, NetStylist.stylize)
    add_painter(command)
    add_size(command, SIZE, "; a smaller clip keeps its own")
    control.add_style_size(command)
    command.add_argument("--seconds", type=float, help=f"{SECONDS.meaning} (all of the clip)")
    command.add_argument("--no-audio", action="store_true", help="leave the sound out")
    add_device(command)
    add_out(command, f"a clip: {' or '.join(video.FASTEST)}", clip_file)
    command.set_defaults(run=_run_video)


def _run_video(options: argparse.Namespace) -> None:
    names = control.styles_asked(options, after="clip")
    _check_out(options, names)
    mixing_table(weights(options), len(names))
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
    """Raise UsageError where the output is one of the files that it is made of."""
    check_kept(options.out, "file it is made of", [options.clip, *names])
    if _is_gif(options.out) and options.no_audio:
        control.check_idle("a GIF, which holds no sound", ["no_audio"])


def _check_rate(out: Path, clip: video.Reader) -> None:
    """Raise UsageError where frames come too fast for a GIF."""
    fastest = video.FASTEST[".gif"]
    if _is_gif(out) and clip.rate and clip.rate > fastest:
        raise UsageError(
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
    size = control.style_size(options)
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
        weights=weights(options),
        **values(options, video.stylize, "temporal_weight", "flow"),
        **turned,
    )
