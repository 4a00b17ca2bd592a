"""``nst gatys``, ``nst gallery`` and ``nst paint``: pictures made pixel by pixel, and by code."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from torch import Tensor
from tqdm import tqdm

from nstlib import adain, gatys, images, painting, transform_net
from nstlib.cli.flags import (
    OWN_PICTURES,
    UsageError,
    add_encoder,
    add_fields,
    add_out,
    add_painter,
    add_parameters,
    add_size,
    add_weights,
    check_kept,
    chosen_fields,
    file_ending_in,
    find_picture,
    make_folder,
    picture_file,
    values,
    weights,
    whole,
)
from nstlib.cli.folders import Job, Order, Painted, Pictures
from nstlib.cli.parsers import add_command
from nstlib.encoders import check_taps, load_encoder
from nstlib.files import expanded
from nstlib.losses import mixing_table, tap_weights
from nstlib.showing import compare
from nstlib.stylist import Stylist

PRESET = "picture"  # what the command line starts from

GATYS_EXAMPLES = """
nst gatys astronaut vortex -o out.png
nst gatys photo.jpg painting.jpg --size 512 --steps 500 --style-weight 200 -o out.jpg
nst gatys photo.jpg a.jpg b.jpg --weights .3 .7 -o mixed.png
nst gatys holiday/ painting.jpg -o holiday-painted/
nst gatys astronaut vortex --encoder vgg19 --init noise --seed 7 -o out.png
"""


def add_gatys(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "gatys",
        "stylise photos by optimising their pixels",
        GATYS_EXAMPLES,
        "Ctrl-C ends a run early, and keeps the picture so far.",
    )
    photos, styles = ", ".join(images.sample_names()), ", ".join(images.style_names())
    command.add_argument("photo", help=f"{OWN_PICTURES}{photos}; or a folder of photos")
    command.add_argument(
        "style", nargs="+", help=f"one, or several to mix; {OWN_PICTURES}{styles}; or a folder"
    )
    add_weights(command)
    add_size(command, 384)
    _add_gatys_settings(command)
    add_out(command, "a picture, or a folder for a folder, with photo-style.jpg in it", expanded)
    command.set_defaults(run=_run_gatys)


def _add_gatys_settings(command: argparse.ArgumentParser) -> None:
    add_encoder(command)
    command.add_argument(
        "--preset",
        default=PRESET,
        choices=gatys.PRESETS,
        help="where the settings below stand that are not given (%(default)s, whose values they tell)",
    )
    add_fields(command, gatys.Settings, leave_out=("weights",), stands=gatys.preset(PRESET))


def _run_gatys(options: argparse.Namespace) -> int:
    order = Order(
        options.out,
        Pictures("photo", options.photo),
        [Pictures("style", name) for name in options.style],
    )
    for job in order.jobs:
        check_kept(job.out, "picture it begins with", [getattr(options, "init", "")])
    # What is wrong with these ends it here.
    settings = _settings(options)
    encoder = load_encoder(options.encoder, device=settings.device)
    for name in ("content_taps", "style_taps"):
        check_taps(encoder, list(tap_weights(name, getattr(settings, name))), name)
    was_stopped = False

    def paint(photo: Tensor, job: Job) -> Painted:
        nonlocal was_stopped
        if was_stopped:
            raise KeyboardInterrupt
        name, *names = job.names
        recipe = {
            "method": "gatys",
            "content": Path(name).name,
            "style": [Path(name).name for name in names],
            "encoder": {"name": encoder.name, "weights": encoder.weights},
            "settings": dataclasses.asdict(settings) | init,
        }
        try:
            steps = gatys.optimize(photo, [styles[name] for name in names], encoder, settings)
            step, was_stopped = _watch(steps, settings.steps)
        except gatys.PixelDivergenceError as error:
            saved = images.save_image(error.image, job.out, recipe)
            raise gatys.PixelDivergenceError(
                f"{error}; it is saved as {saved}", error.image
            ) from error
        return step.image, recipe | {"steps_done": step.index}

    init = {"init": options.init} if hasattr(options, "init") else {}
    styles = order.each_style(lambda name: find_picture(name, options.size))
    return order.carry_out(lambda name: find_picture(name, options.size), paint, styles)


def _settings(options: argparse.Namespace) -> gatys.Settings:
    """Return the settings that are asked for; a run may begin with a picture."""
    mixed = weights(options)
    mixing_table(mixed, len(options.style))
    chosen = chosen_fields(options, gatys.Settings) | {"weights": mixed}
    if chosen.get("init", "noise") not in get_args(gatys.Init):
        chosen["init"] = find_picture(chosen["init"], options.size)  # of another shape: refused
    return gatys.preset(options.preset, **chosen)


def _watch(steps: Iterable[gatys.Step], count: int) -> tuple[gatys.Step, bool]:
    """Show a progress bar; return the last step, and whether Ctrl-C made it so: it is kept."""
    last: Any = None
    try:
        for last in (bar := tqdm(steps, total=count, unit="step", leave=False, disable=None)):
            bar.set_postfix(loss=f"{last.weighted['total']:.4g}", refresh=False)
    except KeyboardInterrupt:
        if last is None:
            raise  # before the first step there is nothing to keep
        print("stopped; keeping the picture so far", file=sys.stderr)
        return last, True
    return last, False


# -------------------------------------------------------------------------------------- gallery

GALLERY_EXAMPLES = """
nst gallery --net fast --style-weight 10 -o sheet.jpg
nst gallery --model adain --photos photo.jpg coffee --styles painting.jpg vortex --alpha .8 -o sheet.jpg
nst gallery --photos astronaut --styles marbling impasto --size 192 --steps 100 -o sheet.jpg
"""


def add_gallery(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands, "gallery", "stylise each photo by each style, on one sheet", GALLERY_EXAMPLES
    )
    photos = ["astronaut", "chelsea", "coffee"]
    command.add_argument(
        "--photos",
        nargs="+",
        default=photos,
        help=f"files, or photos that ship ({' '.join(photos)})",
    )
    command.add_argument(
        "--styles",
        nargs="+",
        help="files, or names of what ships or of the net's styles (all of them)",
    )
    add_painter(command, otherwise="else Gatys' method paints")
    add_parameters(command, Stylist.stylize, "alpha")
    add_size(command, 256, " of a square")
    command.add_argument("--shown", type=whole, default=192, help="side on the sheet (%(default)s)")
    command.add_argument("--columns", type=whole, default=2, help="styles in a row (%(default)s)")
    _add_gatys_settings(command)
    add_out(command, "a .jpg file", file_ending_in(".jpg", ".jpeg"))
    command.set_defaults(run=_run_gallery)


def _run_gallery(options: argparse.Namespace) -> None:
    """Write rows of a style and the photos made with it, squares all."""
    make_folder(options.out)
    if hasattr(options, "alpha") and not options.model:
        raise UsageError("--alpha is of AdaIN: it goes with --model")
    named = _with_adain if options.model else _with_net if options.net else _with_gatys
    names, painted = named(options)
    photos = [find_picture(name, options.size, crop=True) for name in options.photos]
    styles = [find_picture(name, options.size, crop=True) for name in names]
    pictures, titles = [], []
    for name, style in zip(
        tqdm(names, unit="style", leave=False, disable=None), styles, strict=True
    ):
        pictures += [style, *(painted(photo, name, style) for photo in photos)]
        titles += [Path(name).stem, *("" for _ in photos)]
    alt = f"{', '.join(options.photos)}, each stylised by {', '.join(names)}"
    columns = options.columns * (1 + len(photos))
    sheet = compare(pictures, titles, columns, alt, height=options.shown)
    print(sheet.save(options.out))


_Painter = Callable[[Tensor, str, Tensor], Tensor]  # of a photo, a style's name and its picture


def _with_gatys(options: argparse.Namespace) -> tuple[Sequence[str], _Painter]:
    """Return the styles of the sheet, and how a photo is painted in one."""
    settings = gatys.preset(options.preset, **chosen_fields(options, gatys.Settings))
    encoder = load_encoder(options.encoder)
    names = options.styles or images.style_names()
    return names, lambda photo, _, style: gatys.stylize(photo, style, encoder, settings)


def _with_net(options: argparse.Namespace) -> tuple[Sequence[str], _Painter]:
    """Return the styles of the sheet, and how the net paints a photo in one."""
    chosen = _chosen_of_one_pass("--net", options, {"device", "style_weight"})
    net = transform_net.load_net(options.net, device=chosen.get("device", "auto"))
    names = options.styles or net.shape.styles
    if not names:
        raise UsageError(f"--net is {options.net!r}, whose styles have no names; give --styles")
    return names, lambda photo, name, _: net.stylize(
        photo, name, style_weight=chosen.get("style_weight")
    )


def _with_adain(options: argparse.Namespace) -> tuple[Sequence[str], _Painter]:
    """Return the styles of the sheet, and how AdaIN paints a photo in one."""
    chosen = _chosen_of_one_pass("--model", options, {"device"})
    model = adain.load_adain(options.model, device=chosen.get("device", "auto"))
    (alpha,) = values(options, Stylist.stylize, "alpha").values()
    names = options.styles or images.style_names()
    return names, lambda photo, _, style: model.stylize(photo, style, alpha=alpha)


def _chosen_of_one_pass(flag: str, options: argparse.Namespace, known: set[str]) -> dict[str, Any]:
    """Return the settings that were given, or raise ValueError for one that only Gatys' method has."""
    chosen = chosen_fields(options, gatys.Settings)
    if idle := chosen.keys() - known:
        names = ", ".join(sorted(idle))
        raise UsageError(f"{flag} paints in one pass; {names} has no effect on it")
    return chosen


# ---------------------------------------------------------------------------------------- paint

PAINT_EXAMPLES = """
nst paint vortex -o vortex.png
nst paint art_nouveau --seed 5 --palette pond --size 1024 -o painting.png
"""


def add_paint(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "paint", "paint a style picture by code", PAINT_EXAMPLES)
    command.add_argument("painter", choices=painting.painters(), help="who paints: %(choices)s")
    add_parameters(command, painting.paint, "size", "seed")
    command.add_argument(
        "--palette", choices=sorted(painting.PALETTES), help="else the painter's own"
    )
    add_out(command, "where to write the picture", picture_file)
    command.set_defaults(run=_run_paint)


def _run_paint(options: argparse.Namespace) -> None:
    make_folder(options.out)
    chosen = values(options, painting.paint, "size", "seed", "palette")
    picture = painting.paint(options.painter, **chosen)
    print(images.save_image(picture, options.out, {"painter": options.painter, **chosen}))
