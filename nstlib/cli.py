"""``nst``: the course's methods on the command line.

Flags take their names, ranges and defaults from the settings of the functions behind them, so that
what is called ``style_weight`` in a notebook is ``--style-weight`` here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor
from tqdm import tqdm

import nstlib
from nstlib import gatys, images
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.errors import ImageError, NstError

OWN_PICTURES = "a file, or one that ships: "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 where the run failed, or 2 where an argument is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (NstError, ValueError, TypeError) as error:
        print(f"nst: {error}", file=sys.stderr)
        return 2
    except (ArithmeticError, MemoryError, OSError, torch.OutOfMemoryError) as error:
        print(f"nst: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nst", description="Neural style transfer.")
    parser.add_argument("--version", action="version", version=f"nst {nstlib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_gatys(commands)
    _add_gallery(commands)
    _add_paint(commands)
    _add_distill(commands)
    _add_evaluate(commands)
    _add_bench(commands)
    _add_doctor(commands)
    return parser


# ---------------------------------------------------------------------------------------- gatys


def _add_gatys(commands: Any) -> None:
    command = commands.add_parser("gatys", help="stylise a photo by optimising its pixels")
    command.add_argument("photo", help=OWN_PICTURES + ", ".join(images.sample_names()))
    command.add_argument(
        "style", nargs="+", help="one or several; " + OWN_PICTURES + ", ".join(images.style_names())
    )
    command.add_argument("-o", "--out", type=_out, required=True, help="where to write the picture")
    command.add_argument(
        "--size", type=int, default=384, help="shorter side in pixels (%(default)s)"
    )
    _add_gatys_settings(command)
    command.set_defaults(run=_run_gatys)


def _add_gatys_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--encoder", default="slim", choices=("slim", "vgg19"))
    command.add_argument("--preset", default="picture", choices=gatys.PRESETS)
    _add_fields(command, gatys.Settings)


def _run_gatys(options: argparse.Namespace) -> None:
    _make_folder(options.out)
    content = find_picture(options.photo, options.size)
    styles = [find_picture(name, options.size) for name in options.style]
    chosen = _chosen_fields(options, gatys.Settings)
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


def find_picture(name: str, size: int | None = None, crop: bool = False) -> Tensor:
    """Return the picture of a file, or the photo or painted style that ships under ``name``.

    ``size`` is its shorter side in pixels, and ``crop`` takes the square in its middle.

    Raises:
        ImageError: there is neither.
    """
    if Path(name).is_file():
        return images.load_image(name, size=size, crop=crop)
    if name in images.sample_names():
        return images.sample(name, size=size, crop=crop)
    if name in images.style_names():
        return images.style(name, size=size)  # a square already
    if Path(name).exists():
        return images.load_image(name, size=size)  # a folder, say: the error says what it is
    known = ", ".join([*images.sample_names(), *images.style_names()])
    raise ImageError(f"{name}: no such file, and none that ships is called so; there are: {known}")


# -------------------------------------------------------------------------------------- gallery


def _add_gallery(commands: Any) -> None:
    command = commands.add_parser("gallery", help="stylise each photo by each style, on one sheet")
    command.add_argument(
        "--photos", nargs="+", default=["astronaut", "chelsea", "coffee"], help="(%(default)s)"
    )
    command.add_argument(
        "--styles", nargs="+", default=images.style_names(), help="(all that ship)"
    )
    command.add_argument("-o", "--out", type=_sheet, required=True, help="a .jpg file")
    command.add_argument("--size", type=int, default=256, help="side in pixels (%(default)s)")
    command.add_argument("--shown", type=int, default=192, help="… on the sheet (%(default)s)")
    command.add_argument("--columns", type=int, default=2, help="styles in a row (%(default)s)")
    _add_gatys_settings(command)
    command.set_defaults(run=_run_gallery)


def _run_gallery(options: argparse.Namespace) -> None:
    """Write rows of a style and the photos made with it, squares all."""
    _make_folder(options.out)
    settings = gatys.preset(options.preset, **_chosen_fields(options, gatys.Settings))
    encoder = load_encoder(options.encoder)
    photos = [find_picture(name, options.size, crop=True) for name in options.photos]
    styles = [find_picture(name, options.size, crop=True) for name in options.styles]
    pictures, titles = [], []
    for name, style in zip(tqdm(options.styles, leave=False, disable=None), styles, strict=True):
        pictures += [style, *(gatys.stylize(photo, style, encoder, settings) for photo in photos)]
        titles += [Path(name).stem, *("" for _ in photos)]
    alt = f"{', '.join(options.photos)}, each stylised by {', '.join(options.styles)}"
    columns = options.columns * (1 + len(photos))
    sheet = images.compare(pictures, titles, columns, alt, height=options.shown)
    print(sheet.save(options.out))


def _sheet(text: str) -> Path:
    path = _out(text)
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .jpg")
    return path


def _out(text: str) -> Path:
    path = Path(text).expanduser()
    if path.suffix.lower() not in images.SUFFIXES:
        known = ", ".join(images.SUFFIXES)
        raise argparse.ArgumentTypeError(f"{text!r} must end in one of {known}")
    return path


def _make_folder(path: Path) -> None:
    """Make the folder of an output before the work: a long run must not fail at its last line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"'{path}' cannot be written: {error.strerror}") from error


# ---------------------------------------------------------------------------------------- paint


def _add_paint(commands: Any) -> None:
    from nstlib import painting

    command = commands.add_parser("paint", help="paint a style picture by code")
    command.add_argument("painter", choices=painting.painters())
    command.add_argument("-o", "--out", type=_out, required=True, help="where to write the picture")
    command.add_argument("--size", type=int, default=512, help="side in pixels (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="another seed, another picture")
    command.add_argument(
        "--palette", choices=sorted(painting.PALETTES), help="else the painter's own"
    )
    command.set_defaults(run=_run_paint)


def _run_paint(options: argparse.Namespace) -> None:
    from nstlib import painting

    _make_folder(options.out)
    chosen = {"size": options.size, "seed": options.seed, "palette": options.palette}
    picture = painting.paint(options.painter, **chosen)
    print(images.save_image(picture, options.out, {"painter": options.painter, **chosen}))


# -------------------------------------------------------------------------------------- distill


def _add_distill(commands: Any) -> None:
    from nstlib.distillation import Recipe

    command = commands.add_parser("distill", help="train a slim encoder to see what VGG-19 sees")
    command.add_argument(
        "--pictures",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="what to train on; a MANIFEST.csv in or above a folder names what is held out",
    )
    command.add_argument(
        "--checkpoint", type=Path, required=True, help="a .pt file; gone on from where it exists"
    )
    command.add_argument("--device", default="auto")
    _add_fields(command, Recipe)
    command.set_defaults(run=_run_distill)


def _run_distill(options: argparse.Namespace) -> None:
    from nstlib.datasets import Crops, picture_paths
    from nstlib.distillation import Recipe, distill

    recipe = Recipe(**_chosen_fields(options, Recipe))
    crops, held_out = (
        Crops(picture_paths(*options.pictures, split=split), recipe.crop)
        for split in ("train", "held-out")
    )
    for line in crops.skipped + held_out.skipped:
        print(f"left out: {line}", file=sys.stderr)
    options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    print(f"training on {len(crops)} pictures, judged on {len(held_out)}")
    for progress in distill(
        load_encoder("vgg19"), crops, held_out, options.checkpoint, recipe, device=options.device
    ):
        print(json.dumps(dataclasses.asdict(progress)), flush=True)


# ------------------------------------------------------------------------------------- evaluate


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure quality by the pictures that come out")
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    encoder = subjects.add_parser("encoder", help="Gatys through it, judged by VGG-19")
    encoder.add_argument(
        "--pictures", type=Path, required=True, help="the folder that the pairs' paths start from"
    )
    encoder.add_argument(
        "--pairs", type=Path, help="a CSV with content,style (the 20 held-out ones)"
    )
    encoder.add_argument(
        "--encoders", nargs="+", default=["slim"], help="slim, vgg19, random, or .safetensors files"
    )
    encoder.add_argument("--out", type=Path, help="a folder for encoder.json")
    encoder.set_defaults(run=_run_evaluate_encoder)


def _run_evaluate_encoder(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, evaluation

    judge = load_encoder("vgg19")
    pairs = evaluation.read_pairs(options.pairs)
    summaries, details = [], {}
    for name in options.encoders:
        results = []
        for result in evaluation.evaluate_encoder(_encoder(name), judge, pairs, options.pictures):
            results.append(result)
            print(f"{name}: {result.pair.content} × {result.pair.style}: {result.left:.2%} left")
        summaries.append(evaluation.summarise(name, results))
        details[name] = [dataclasses.asdict(result) | {"left": result.left} for result in results]
    print(evaluation.as_table(summaries))
    if options.out:
        rows = [dataclasses.asdict(summary) for summary in summaries]
        content = {"machine": benchmarks.machine(), "summaries": rows, "pairs": details}
        benchmarks.write_json(options.out / "encoder.json", content)


def _encoder(name: str) -> Encoder:
    if name == "random":
        return random_encoder("slim")
    return (
        load_encoder("slim", weights=name) if name.endswith(".safetensors") else load_encoder(name)
    )


# ---------------------------------------------------------------------------------------- bench


def _add_bench(commands: Any) -> None:
    command = commands.add_parser("bench", help="measure speed: ratios in one run, medians")
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    steps = subjects.add_parser("gatys", help="one step, against VGG-19 as a book has it")
    steps.add_argument(
        "--size", type=int, nargs="+", default=[256], help="sides in pixels %(default)s"
    )
    steps.add_argument("--repeats", type=int, default=15, help="steps of each (%(default)s)")
    steps.add_argument("--profile", action="store_true", help="also say where the time goes")
    steps.add_argument("--device", default="auto")
    steps.add_argument("--out", type=Path, help="a folder for gatys.json")
    steps.set_defaults(run=_run_bench_gatys)


def _run_bench_gatys(options: argparse.Namespace) -> None:
    from nstlib import benchmarks

    machine = benchmarks.machine()
    for key, value in machine.items():
        print(f"{key}: {value}")
    sizes = []
    for size in options.size:
        rows = benchmarks.gatys_rows(size, options.repeats, device=options.device)
        print(f"\n{size} × {size} px\n\n{benchmarks.as_table(rows)}")
        parts = benchmarks.gatys_parts(size, device=options.device) if options.profile else []
        if parts:
            print(f"\n{benchmarks.parts_table(parts)}")
        sizes.append({"size": size, "rows": rows, "parts": parts})
    if options.out:
        content = {
            "machine": machine,
            "repeats": options.repeats,
            "device": options.device,
            "sizes": sizes,
        }
        benchmarks.write_json(options.out / "gatys.json", content)


# --------------------------------------------------------------------------------------- doctor


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser(
        "doctor", help="say what this installation has, and what to do about each gap"
    )
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    command.set_defaults(run=_run_doctor)


def _run_doctor(options: argparse.Namespace) -> None:
    from nstlib import doctor

    findings = doctor.examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        return
    # What Windows writes to a file or a pipe may have no arrow.
    encoding = sys.stdout.encoding or "utf-8"
    print(doctor.as_text(findings).encode(encoding, "replace").decode(encoding))


# ------------------------------------------------------------------- flags from a dataclass's fields


def _add_fields(command: argparse.ArgumentParser, settings: type[Any]) -> None:
    """Add a flag for each field; one that is not given is left out, so that the default stands."""
    hints = get_type_hints(settings, include_extras=True)
    group = command.add_argument_group("settings")
    for item in dataclasses.fields(settings):
        hint, help_text = hints[item.name], f"({item.default})"
        if get_origin(hint) is Annotated:
            hint, value_range = get_args(hint)
            help_text = (
                f"{value_range.meaning}, {value_range.low:g} to {value_range.high:g} {help_text}"
            )
        flag = "--" + item.name.replace("_", "-")
        if hint is bool:
            group.add_argument(
                flag,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=help_text,
            )
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else None
        kind = type(choices[0]) if choices else _PARSERS.get(item.name, _PLAIN.get(hint, str))
        group.add_argument(
            flag, type=kind, choices=choices, default=argparse.SUPPRESS, help=help_text
        )


def _chosen_fields(options: argparse.Namespace, settings: type[Any]) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(settings)}
    return {name: value for name, value in vars(options).items() if name in names}


def _taps(text: str) -> dict[str, float] | tuple[str, ...]:
    """Read ``relu1_1,relu2_1`` or ``relu1_1=0.5,relu2_1=2``."""
    parts = [part.strip() for part in text.split(",")]
    if "=" not in text:
        return tuple(parts)
    try:
        return {name: float(weight) for name, _, weight in (part.partition("=") for part in parts)}
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: write relu1_1,relu2_1 or relu1_1=0.5,relu2_1=2"
        ) from error


def _numbers(kind: type[int] | type[float], example: str) -> Callable[[str], tuple[float, ...]]:
    """Return what reads numbers like those of ``example``."""

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: write {example}") from error

    return read


_PLAIN: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str}
_PARSERS: dict[str, Callable[[str], Any]] = {
    "content_taps": _taps,
    "style_taps": _taps,
    "weights": _numbers(float, "0.3,0.7"),
    "widths": _numbers(int, "32,64"),
}

if __name__ == "__main__":
    sys.exit(main())
