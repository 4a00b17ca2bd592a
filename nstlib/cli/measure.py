"""``nst evaluate``, ``nst bench`` and ``nst doctor``: how good, how fast, and what is there."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from torch import Tensor
from tqdm import tqdm

from nstlib.cli.bench_video import add_bench_video
from nstlib.cli.flags import find_picture, numbers
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.files import replaced

if TYPE_CHECKING:
    from nstlib.benchmarks import Row

CLIP_STYLES = ("vortex", "stained_glass", "marbling", "engraving")

# ------------------------------------------------------------------------------------- evaluate


def add_evaluate(commands: Any) -> None:
    """Add ``nst evaluate`` with its subjects."""
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
    fast = subjects.add_parser("fast", help="a fast net on held-out photos, judged by VGG-19")
    fast.add_argument("--net", default="fast", help="the one that ships, or a file of weights")
    fast.add_argument(
        "--style", nargs="+", help="pictures of the net's styles, in its order (by their names)"
    )
    fast.add_argument(
        "--photos", type=Path, required=True, help="a folder, of which the held-out are taken"
    )
    fast.add_argument("--count", type=int, default=20, help="so many of them (%(default)s)")
    fast.add_argument(
        "--style-weights", type=numbers(float, "1,10,100"), help="places of the dial (its own)"
    )
    fast.add_argument("--out", type=Path, help="a folder for fast-quality.json")
    fast.set_defaults(run=_run_evaluate_fast)
    adain = subjects.add_parser("adain", help="AdaIN on held-out pictures, beside Gatys' method")
    adain.add_argument("--model", default="adain", help="the one that ships, or a file of weights")
    _add_folders(adain, photos=20, styles=10)
    adain.add_argument("--gatys", action="store_true", help="judge Gatys' method too: minutes")
    adain.add_argument(
        "--gatys-pairs", type=int, default=10, help="… on so many of the pairs (%(default)s)"
    )
    adain.add_argument(
        "--out", type=Path, required=True, help="a folder for adain-quality.json, .md and .png"
    )
    adain.set_defaults(run=_run_evaluate_adain)
    control = subjects.add_parser("control", help="AdaIN's ways to keep colours and to match maps")
    control.add_argument(
        "--model", default="adain", help="the one that ships, or a file of weights"
    )
    _add_folders(control, photos=10, styles=20)
    control.add_argument("--out", type=Path, required=True, help="a folder for adain-control.json")
    control.set_defaults(run=_run_evaluate_control)
    video = subjects.add_parser(
        "video", help="how steady clips are, and how much style they keep, on made clips"
    )
    video.add_argument("--model", default="adain", help="AdaIN's: what ships, or a file of weights")
    video.add_argument("--net", default="fast", help="the fast net: what ships, or a file")
    video.add_argument(
        "--style", nargs="+", default=CLIP_STYLES, help="styles of the fast net (%(default)s)"
    )
    video.add_argument("--frames", type=int, default=24, help="of each clip (%(default)s)")
    video.add_argument("--encoder", default="vgg19", help="the judge of style (%(default)s)")
    video.add_argument("--out", type=Path, required=True, help="a folder for video-quality.json")
    video.set_defaults(run=_run_evaluate_video)


def _add_folders(command: argparse.ArgumentParser, photos: int, styles: int) -> None:
    """Add the flags that name folders of pictures, and how many are taken of each."""
    for kind, flag, count in (("photos", "--contents", photos), ("styles", "--count", styles)):
        command.add_argument(
            f"--{kind}", type=Path, required=True, help="a folder, of which the held-out are taken"
        )
        command.add_argument(
            flag, type=int, default=count, help=f"so many {kind}, from all over it (%(default)s)"
        )


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


def _run_evaluate_fast(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, evaluation
    from nstlib.datasets import picture_paths
    from nstlib.images import load_image
    from nstlib.transform_net import load_net

    net, judge = load_net(options.net), load_encoder("vgg19")
    if options.count < 1:
        raise ValueError(f"--count is {options.count}; it must be at least 1")
    names = net.shape.styles or ("its style",)
    pictures = options.style or names
    if len(pictures) != len(names):
        raise ValueError(f"--style names {len(pictures)} pictures; the net has {len(names)} styles")
    size = evaluation.SIZE
    styles = {n: find_picture(p, size) for n, p in zip(names, pictures, strict=True)}
    paths = picture_paths(options.photos, split="held-out")[: options.count]
    photos = {
        str(path.relative_to(options.photos)): load_image(path, size=size, crop=True)
        for path in paths
    }
    places = options.style_weights or net.shape.dial or (None,)
    count = len(photos) * len(styles) * len(places)
    judged = evaluation.evaluate_net(net, judge, photos, styles, places)
    results = list(tqdm(judged, total=count, leave=False, disable=None))
    print(f"{len(photos)} photos × {len(styles)} styles at {size} px\n")
    print(f"{evaluation.dial_table(results)}\n\n{evaluation.style_table(results)}")
    if options.out:
        content = {"machine": benchmarks.machine(), "results": results}
        benchmarks.write_json(options.out / "fast-quality.json", content)


def _run_evaluate_adain(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, evaluation
    from nstlib.adain import load_adain

    if options.gatys_pairs < 1:
        raise ValueError(f"--gatys-pairs is {options.gatys_pairs}; it must be at least 1")
    photos = _held_out(options.photos, "--contents", options.contents, crop=True)
    styles = _held_out(options.styles, "--count", options.count, crop=False)
    model, judge = load_adain(options.model), load_encoder("vgg19")
    judged = evaluation.evaluate_adain(model, judge, photos, styles)
    count = len(photos) * len(styles) * len(evaluation.ALPHAS)
    results = list(tqdm(judged, total=count, leave=False, disable=None))
    if options.gatys:
        pairs = list(evaluation.diagonal(list(photos), list(styles)))[: options.gatys_pairs]
        judged = evaluation.evaluate_gatys(judge, photos, styles, pairs)
        count = len(pairs) * len(evaluation.GATYS_STEPS)
        results += tqdm(judged, total=count, leave=False, disable=None)
    table = evaluation.adain_table(results)
    print(f"{len(photos)} photos × {len(styles)} styles at {evaluation.SIZE} px\n\n{table}")
    content = {
        "machine": benchmarks.machine(),
        "size": evaluation.SIZE,
        "readings": evaluation.readings(results),
        "equal": evaluation.where_equal(results),
        "results": [dataclasses.asdict(result) | {"left": result.left} for result in results],
    }
    benchmarks.write_json(options.out / "adain-quality.json", content)
    with replaced(options.out / "adain-quality.md") as unfinished:
        unfinished.write_text(table + "\n", encoding="utf-8")
    with replaced(options.out / "adain-quality.png") as unfinished:
        evaluation.draw_quality(results).savefig(unfinished, format="png")


def _run_evaluate_control(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, control_evaluation, evaluation
    from nstlib.adain import load_adain

    photos = _held_out(options.photos, "--contents", options.contents, crop=True)
    styles = _held_out(options.styles, "--count", options.count, crop=False)
    pictures = (load_adain(options.model), load_encoder("vgg19"), photos, styles)
    count = 3 * len(photos) * len(styles)  # ways to keep colours, and ways to match
    judged = control_evaluation.evaluate_colors(*pictures)
    colors = list(tqdm(judged, total=count, leave=False, disable=None))
    seen = control_evaluation.evaluate_matches(*pictures)
    matches = list(tqdm(seen, total=count, leave=False, disable=None))
    content = {"machine": benchmarks.machine(), "size": evaluation.SIZE}
    content |= {"colors": colors, "matches": matches}
    benchmarks.write_json(options.out / "adain-control.json", content)
    print(f"{len(photos)} photos × {len(styles)} styles at {evaluation.SIZE} px\n")
    print(control_evaluation.color_table(colors))
    print(f"\n{control_evaluation.match_table(matches)}")


def _run_evaluate_video(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, images, painting, video_evaluation
    from nstlib.adain import load_adain
    from nstlib.transform_net import load_net

    styles = {name: images.style(name) for name in options.style}
    model, net = load_adain(options.model), load_net(options.net)
    net.condition(options.style)  # wrong ones end it here
    known = {name: model.style(picture) for name, picture in styles.items()}
    painters: dict[str, video_evaluation.Paint] = {
        "adain": lambda frames, name: model.stylize(frames, known[name]),
        "fast": lambda frames, name: net.stylize(frames, name),
    }
    # A still scene flickers by the sensor's noise alone; and no two clips are of one photo.
    clips = {
        kind: painting.clip(kind, frames=options.frames, seed=seed, noise=0.01)
        for seed, kind in enumerate(get_args(painting.Kind))
    }
    weights = video_evaluation.WEIGHTS
    seen = video_evaluation.evaluate_steadiness(
        painters, load_encoder(options.encoder), clips, styles, weights
    )
    count = len(painters) * len(clips) * len(styles) * len(weights)
    results = list(tqdm(seen, total=count, leave=False, disable=None))
    content = {"machine": benchmarks.machine(), "frames": options.frames, "results": results}
    benchmarks.write_json(options.out / "video-quality.json", content)
    print(video_evaluation.steadiness_table(results))
    print(f"\n{video_evaluation.steadiness_table(results, by='clip')}")


def _held_out(folder: Path, flag: str, count: int, crop: bool) -> dict[str, Tensor]:
    """Return so many held-out pictures of a folder, by their paths in it."""
    from nstlib import evaluation
    from nstlib.datasets import picture_paths
    from nstlib.images import load_image

    if count < 1:
        raise ValueError(f"{flag} is {count}; it must be at least 1")
    paths = evaluation.spread(picture_paths(folder, split="held-out"), count)
    size = evaluation.SIZE
    return {path.relative_to(folder).as_posix(): load_image(path, size, crop) for path in paths}


def _encoder(name: str) -> Encoder:
    if name == "random":
        return random_encoder("slim")
    return (
        load_encoder("slim", weights=name) if name.endswith(".safetensors") else load_encoder(name)
    )


# ---------------------------------------------------------------------------------------- bench


def add_bench(commands: Any) -> None:
    """Add ``nst bench`` with its subjects."""
    command = commands.add_parser("bench", help="measure speed: ratios in one run, medians")
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    for what, work, size, help_text in (
        ("gatys", "step", 256, "one step, against VGG-19 as a book has it"),
        ("fast", "pass", 512, "one pass of a fast net, against the plain one"),
        ("adain", "pass", 512, "one pass of AdaIN, against the plain one"),
        ("control", "answer", 384, "one answer of each control, against AdaIN with nothing kept"),
    ):
        subject = subjects.add_parser(what, help=help_text)
        subject.add_argument(
            "--size", type=int, nargs="+", default=[size], help="sides in pixels %(default)s"
        )
        subject.add_argument(
            "--repeats", type=int, default=15, help="timed runs of each (%(default)s)"
        )
        if what == "gatys":
            subject.add_argument("--profile", action="store_true", help="also say where time goes")
        if what == "adain":
            subject.add_argument(
                "--large",
                type=int,
                nargs=2,
                metavar=("HEIGHT", "WIDTH"),
                help="also time a photo in tiles, and weigh its memory",
            )
        subject.add_argument("--device", default="auto")
        subject.add_argument("--out", type=Path, help=f"a folder for {what}.json")
        subject.set_defaults(run=_run_bench, what=what, work=work, profile=False, large=None)
    add_bench_video(subjects)


def _rows_of(what: str) -> Callable[..., list[Row]]:
    """Return what measures a subject; the controls' brings the widgets, which others do without."""
    if what == "control":
        from nstlib import control_benchmarks

        return control_benchmarks.control_rows
    from nstlib import benchmarks

    rows: Callable[..., list[Row]] = getattr(benchmarks, f"{what}_rows")
    return rows


def _run_bench(options: argparse.Namespace) -> None:
    from nstlib import benchmarks

    rows_of = _rows_of(options.what)
    machine = benchmarks.machine()
    for key, value in machine.items():
        print(f"{key}: {value}")
    sizes: list[dict[str, object]] = []
    for size in options.size:
        rows = rows_of(size, options.repeats, device=options.device)
        print(f"\n{size} × {size} px\n\n{benchmarks.as_table(rows, options.work)}")
        sizes.append({"size": size, "rows": rows})
        if options.profile:
            parts = benchmarks.gatys_parts(size, device=options.device)
            print(f"\n{benchmarks.parts_table(parts)}")
            sizes[-1]["parts"] = parts
    content: dict[str, object] = {
        "machine": machine,
        "repeats": options.repeats,
        "device": options.device,
        "sizes": sizes,
    }
    if options.large:
        content["large"] = large = benchmarks.adain_large(*options.large)
        print(
            f"\n{large.height} × {large.width} px in tiles: {large.seconds:.0f} s, "
            f"{large.gigabytes:.2f} GB beyond the photo and the result"
        )
    if options.out:
        benchmarks.write_json(options.out / f"{options.what}.json", content)


# --------------------------------------------------------------------------------------- doctor


def add_doctor(commands: Any) -> None:
    """Add the command."""
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
