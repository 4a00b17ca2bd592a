"""``nst gatys``, ``nst gallery`` and ``nst paint``: pictures made pixel by pixel, and by code."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from nstlib import adain, gatys, images, transform_net
from nstlib.cli.flags import (
    OWN_PICTURES,
    add_fields,
    chosen_fields,
    find_picture,
    make_folder,
    picture_file,
)
from nstlib.encoders import load_encoder


def add_gatys(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("gatys", help="stylise a photo by optimising its pixels")
    command.add_argument("photo", help=OWN_PICTURES + ", ".join(images.sample_names()))
    command.add_argument(
        "style", nargs="+", help="one or several; " + OWN_PICTURES + ", ".join(images.style_names())
    )
    command.add_argument(
        "-o", "--out", type=picture_file, required=True, help="where to write the picture"
    )
    command.add_argument(
        "--size", type=int, default=384, help="shorter side in pixels (%(default)s)"
    )
    _add_gatys_settings(command)
    command.set_defaults(run=_run_gatys)


def _add_gatys_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--encoder", default="slim", choices=("slim", "vgg19"))
    command.add_argument("--preset", default="picture", choices=gatys.PRESETS)
    add_fields(command, gatys.Settings)


def _run_gatys(options: argparse.Namespace) -> None:
    make_folder(options.out)
    content = find_picture(options.photo, options.size)
    styles = [find_picture(name, options.size) for name in options.style]
    chosen = chosen_fields(options, gatys.Settings)
    init_name: str | None = chosen.get("init")
    if init_name is not None and init_name not in gatys.CHOICES["init"]:
        chosen["init"] = find_picture(init_name, options.size)  # of another shape: refused
    settings = gatys.preset(options.preset, **chosen)
    encoder = load_encoder(options.encoder)
    recipe = {
        "method": "gatys",
        "content": Path(options.photo).name,
        "style": [Path(name).name for name in options.style],
        "encoder": {"name": encoder.name, "weights": encoder.weights},
        "settings": dataclasses.asdict(settings) | ({"init": init_name} if init_name else {}),
    }
    try:
        step = _watch(gatys.optimize(content, styles, encoder, settings), settings.steps)
    except gatys.DivergenceError as error:
        saved = images.save_image(error.image, options.out, recipe)
        raise gatys.DivergenceError(f"{error}; it is saved as {saved}", error.image) from error
    if step is None:
        raise KeyboardInterrupt  # stopped before the first step: there is nothing to save
    print(images.save_image(step.image, options.out, recipe | {"steps_done": step.index}))


def _watch(steps: Iterable[gatys.Step], count: int) -> gatys.Step | None:
    """Show a progress bar; Ctrl-C ends the run, and keeps the picture so far."""
    last = None
    try:
        for last in (bar := tqdm(steps, total=count, unit="step", leave=False, disable=None)):
            bar.set_postfix(loss=f"{last.weighted['total']:.4g}", refresh=False)
    except KeyboardInterrupt:
        print("stopped; keeping the picture so far", file=sys.stderr)
    return last


# -------------------------------------------------------------------------------------- gallery


def add_gallery(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("gallery", help="stylise each photo by each style, on one sheet")
    command.add_argument(
        "--photos", nargs="+", default=["astronaut", "chelsea", "coffee"], help="(%(default)s)"
    )
    command.add_argument("--styles", nargs="+", help="(all that ship, or all that the net knows)")
    command.add_argument("-o", "--out", type=_sheet, required=True, help="a .jpg file")
    painter = command.add_mutually_exclusive_group()
    painter.add_argument("--net", help="paint by a fast net: 'fast', or a file of weights")
    painter.add_argument("--model", help="paint by AdaIN: 'adain', or a file of its decoder")
    command.add_argument("--alpha", type=float, help="with --model: how much of the style (1)")
    command.add_argument("--size", type=int, default=256, help="side in pixels (%(default)s)")
    command.add_argument("--shown", type=int, default=192, help="… on the sheet (%(default)s)")
    command.add_argument("--columns", type=int, default=2, help="styles in a row (%(default)s)")
    _add_gatys_settings(command)
    command.set_defaults(run=_run_gallery)


def _run_gallery(options: argparse.Namespace) -> None:
    """Write rows of a style and the photos made with it, squares all."""
    make_folder(options.out)
    if options.alpha is not None and not options.model:
        raise ValueError("--alpha is of AdaIN: it goes with --model")
    named = _with_adain if options.model else _with_net if options.net else _with_gatys
    names, painted = named(options)
    photos = [find_picture(name, options.size, crop=True) for name in options.photos]
    styles = [find_picture(name, options.size, crop=True) for name in names]
    pictures, titles = [], []
    for name, style in zip(tqdm(names, leave=False, disable=None), styles, strict=True):
        pictures += [style, *(painted(photo, name, style) for photo in photos)]
        titles += [Path(name).stem, *("" for _ in photos)]
    alt = f"{', '.join(options.photos)}, each stylised by {', '.join(names)}"
    columns = options.columns * (1 + len(photos))
    sheet = images.compare(pictures, titles, columns, alt, height=options.shown)
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
        raise ValueError(f"--net is {options.net!r}, whose styles have no names; give --styles")
    return names, lambda photo, name, _: net.stylize(photo, name, chosen.get("style_weight"))


def _with_adain(options: argparse.Namespace) -> tuple[Sequence[str], _Painter]:
    """Return the styles of the sheet, and how AdaIN paints a photo in one."""
    chosen = _chosen_of_one_pass("--model", options, {"device"})
    model = adain.load_adain(options.model, device=chosen.get("device", "auto"))
    alpha = 1.0 if options.alpha is None else options.alpha
    names = options.styles or images.style_names()
    return names, lambda photo, _, style: model.stylize(photo, style, alpha)


def _chosen_of_one_pass(flag: str, options: argparse.Namespace, known: set[str]) -> dict[str, Any]:
    """Return the settings that were given, or raise ValueError for one that only Gatys' method has."""
    chosen = chosen_fields(options, gatys.Settings)
    if idle := chosen.keys() - known:
        names = ", ".join(sorted(idle))
        raise ValueError(f"{flag} paints in one pass; {names} has no effect on it")
    return chosen


def _sheet(text: str) -> Path:
    path = picture_file(text)
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .jpg")
    return path


# ---------------------------------------------------------------------------------------- paint


def add_paint(commands: Any) -> None:
    """Add the command."""
    from nstlib import painting

    command = commands.add_parser("paint", help="paint a style picture by code")
    command.add_argument("painter", choices=painting.painters())
    command.add_argument(
        "-o", "--out", type=picture_file, required=True, help="where to write the picture"
    )
    command.add_argument("--size", type=int, default=512, help="side in pixels (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="another seed, another picture")
    command.add_argument(
        "--palette", choices=sorted(painting.PALETTES), help="else the painter's own"
    )
    command.set_defaults(run=_run_paint)


def _run_paint(options: argparse.Namespace) -> None:
    from nstlib import painting

    make_folder(options.out)
    chosen = {"size": options.size, "seed": options.seed, "palette": options.palette}
    picture = painting.paint(options.painter, **chosen)
    print(images.save_image(picture, options.out, {"painter": options.painter, **chosen}))
