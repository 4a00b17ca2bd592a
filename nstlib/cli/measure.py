"""``nst evaluate`` and ``nst doctor``: how good, and what is there."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

from torch import Tensor
from tqdm import tqdm

from nstlib.cli.flags import (
    add_encoder,
    add_trained,
    existing_file,
    find_picture,
    make_folder,
    numbers,
    whole,
)
from nstlib.cli.parsers import add_command
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.files import replaced

EXAMPLES = {
    "evaluate": "nst evaluate video --out out",
    "encoder": """
nst evaluate encoder --pictures pictures
nst evaluate encoder --encoders slim vgg19 random --pictures pictures --out out
""",
    "fast": """
nst evaluate fast --photos photos
nst evaluate fast --net net.safetensors --photos photos --style-weights 1,10,30 --out out
""",
    "adain": """
nst evaluate adain --photos photos --styles paintings --out out
nst evaluate adain --photos photos --styles paintings --gatys --out out
""",
    "control": """
nst evaluate control --photos photos --styles paintings --out out
""",
    "video": """
nst evaluate video --out out
nst evaluate video --style vortex marbling --frames 12 --out out
""",
    "doctor": """
nst doctor
nst doctor --json
""",
}

CLIP_STYLES = ("vortex", "stained_glass", "marbling", "engraving")

# ------------------------------------------------------------------------------------- evaluate


def add_evaluate(commands: Any) -> None:
    """Add ``nst evaluate`` with its subjects."""
    command = add_command(
        commands, "evaluate", "measure quality by the pictures that come out", EXAMPLES["evaluate"]
    )
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    encoder = add_command(
        subjects, "encoder", "Gatys through it, judged by VGG-19", EXAMPLES["encoder"]
    )
    encoder.add_argument(
        "--pictures", type=Path, required=True, help="the folder that the pairs' paths start from"
    )
    encoder.add_argument(
        "--pairs", type=existing_file, help="a CSV with content,style (the 20 held-out ones)"
    )
    encoder.add_argument(
        "--encoders", nargs="+", default=["slim"], help="slim, vgg19, random, or .safetensors files"
    )
    encoder.add_argument("--out", type=Path, help="a folder for encoder.json")
    encoder.set_defaults(run=_run_evaluate_encoder)
    fast = add_command(
        subjects, "fast", "a fast net on held-out photos, judged by VGG-19", EXAMPLES["fast"]
    )
    add_trained(fast, "--net", "fast")
    fast.add_argument(
        "--style", nargs="+", help="pictures of the net's styles, in its order (by their names)"
    )
    fast.add_argument(
        "--photos", type=Path, required=True, help="a folder, of which the held-out are taken"
    )
    fast.add_argument("--photo-count", type=whole, default=20, help="so many of them (%(default)s)")
    fast.add_argument(
        "--style-weights", type=numbers(float, "1,10,100"), help="places of the dial (its own)"
    )
    fast.add_argument("--out", type=Path, help="a folder for fast-quality.json")
    fast.set_defaults(run=_run_evaluate_fast)
    adain = add_command(
        subjects, "adain", "AdaIN on held-out pictures, beside Gatys' method", EXAMPLES["adain"]
    )
    add_trained(adain, "--model", "adain")
    _add_folders(adain, photos=20, styles=10)
    adain.add_argument("--gatys", action="store_true", help="judge Gatys' method too: minutes")
    adain.add_argument(
        "--gatys-pairs", type=whole, default=10, help="… on so many of the pairs (%(default)s)"
    )
    adain.add_argument(
        "--out", type=Path, required=True, help="a folder for adain-quality.json, .md and .png"
    )
    adain.set_defaults(run=_run_evaluate_adain)
    control = add_command(
        subjects, "control", "AdaIN's ways to keep colours and to match maps", EXAMPLES["control"]
    )
    add_trained(control, "--model", "adain")
    _add_folders(control, photos=10, styles=20)
    control.add_argument("--out", type=Path, required=True, help="a folder for adain-control.json")
    control.set_defaults(run=_run_evaluate_control)
    video = add_command(
        subjects,
        "video",
        "how steady clips are, and how much style they keep, on made clips",
        EXAMPLES["video"],
    )
    add_trained(video, "--model", "adain")
    add_trained(video, "--net", "fast")
    video.add_argument(
        "--style", nargs="+", default=CLIP_STYLES, help="styles of the fast net (%(default)s)"
    )
    video.add_argument("--frames", type=whole, default=24, help="of each clip (%(default)s)")
    add_encoder(video, default="vgg19", what="the judge of style")
    video.add_argument("--out", type=Path, required=True, help="a folder for video-quality.json")
    video.set_defaults(run=_run_evaluate_video)


def _add_folders(command: argparse.ArgumentParser, photos: int, styles: int) -> None:
    """Add the flags that name folders of pictures, and how many are taken of each."""
    for kind, count in (("photo", photos), ("style", styles)):
        command.add_argument(
            f"--{kind}s", type=Path, required=True, help="a folder, of which the held-out are taken"
        )
        command.add_argument(
            f"--{kind}-count",
            type=whole,
            default=count,
            help=f"so many {kind}s, from all over it (%(default)s)",
        )


def _run_evaluate_encoder(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.evaluation import encoders

    judge = load_encoder("vgg19")
    pairs = encoders.read_pairs(options.pairs and Path(options.pairs))
    if options.out:
        make_folder(options.out / "encoder.json")
    summaries, details = [], {}
    for name in options.encoders:
        results = []
        for result in encoders.evaluate_encoder(_encoder(name), judge, pairs, options.pictures):
            results.append(result)
            print(f"{name}: {result.pair.content} × {result.pair.style}: {result.left:.2%} left")
        summaries.append(encoders.summarise(name, results))
        details[name] = [dataclasses.asdict(result) | {"left": result.left} for result in results]
    print(encoders.as_table(summaries))
    if options.out:
        rows = [dataclasses.asdict(summary) for summary in summaries]
        content = {"machine": benchmarks.machine(), "summaries": rows, "pairs": details}
        benchmarks.write_json(options.out / "encoder.json", content)


def _run_evaluate_fast(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.datasets import picture_paths
    from nstlib.evaluation import judging, nets
    from nstlib.images import load_image
    from nstlib.transform_net import load_net

    net, judge = load_net(options.net), load_encoder("vgg19")
    names = net.shape.styles or ("its style",)
    pictures = options.style or names
    if len(pictures) != len(names):
        raise ValueError(f"--style names {len(pictures)} pictures; the net has {len(names)} styles")
    size = judging.SIZE
    styles = {n: find_picture(p, size) for n, p in zip(names, pictures, strict=True)}
    paths = picture_paths(options.photos, split="held-out")[: options.photo_count]
    photos = {
        str(path.relative_to(options.photos)): load_image(path, size=size, crop=True)
        for path in paths
    }
    places = options.style_weights or net.shape.dial or (None,)
    count = len(photos) * len(styles) * len(places)
    if options.out:
        make_folder(options.out / "fast-quality.json")
    judged = nets.evaluate_net(net, judge, photos, styles, places)
    results = list(tqdm(judged, total=count, leave=False, disable=None))
    print(f"{len(photos)} photos × {len(styles)} styles at {size} px\n")
    print(f"{nets.dial_table(results)}\n\n{nets.style_table(results)}")
    if options.out:
        content = {"machine": benchmarks.machine(), "results": results}
        benchmarks.write_json(options.out / "fast-quality.json", content)


def _run_evaluate_adain(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.adain import load_adain
    from nstlib.evaluation import adain, judging

    photos = _held_out(options.photos, options.photo_count, crop=True)
    styles = _held_out(options.styles, options.style_count, crop=False)
    model, judge = load_adain(options.model), load_encoder("vgg19")
    make_folder(options.out / "adain-quality.json")
    judged = adain.evaluate_adain(model, judge, photos, styles)
    count = len(photos) * len(styles) * len(adain.ALPHAS)
    results = list(tqdm(judged, total=count, leave=False, disable=None))
    if options.gatys:
        pairs = list(judging.diagonal(list(photos), list(styles)))[: options.gatys_pairs]
        judged = adain.evaluate_gatys(judge, photos, styles, pairs)
        count = len(pairs) * len(adain.GATYS_STEPS)
        results += tqdm(judged, total=count, leave=False, disable=None)
    table = adain.adain_table(results)
    print(f"{len(photos)} photos × {len(styles)} styles at {judging.SIZE} px\n\n{table}")
    content = {
        "machine": benchmarks.machine(),
        "size": judging.SIZE,
        "readings": adain.readings(results),
        "equal": adain.where_equal(results),
        "results": [dataclasses.asdict(result) | {"left": result.left} for result in results],
    }
    benchmarks.write_json(options.out / "adain-quality.json", content)
    with replaced(options.out / "adain-quality.md") as unfinished:
        unfinished.write_text(table + "\n", encoding="utf-8")
    with replaced(options.out / "adain-quality.png") as unfinished:
        adain.draw_quality(results).savefig(unfinished, format="png")


def _run_evaluate_control(options: argparse.Namespace) -> None:
    from nstlib import benchmarks
    from nstlib.adain import load_adain
    from nstlib.evaluation import control, judging

    photos = _held_out(options.photos, options.photo_count, crop=True)
    styles = _held_out(options.styles, options.style_count, crop=False)
    pictures = (load_adain(options.model), load_encoder("vgg19"), photos, styles)
    make_folder(options.out / "adain-control.json")
    count = 3 * len(photos) * len(styles)  # ways to keep colours, and ways to match
    judged = control.evaluate_colors(*pictures)
    colors = list(tqdm(judged, total=count, leave=False, disable=None))
    seen = control.evaluate_matches(*pictures)
    matches = list(tqdm(seen, total=count, leave=False, disable=None))
    content = {"machine": benchmarks.machine(), "size": judging.SIZE}
    content |= {"colors": colors, "matches": matches}
    benchmarks.write_json(options.out / "adain-control.json", content)
    print(f"{len(photos)} photos × {len(styles)} styles at {judging.SIZE} px\n")
    print(control.color_table(colors))
    print(f"\n{control.match_table(matches)}")


def _run_evaluate_video(options: argparse.Namespace) -> None:
    from nstlib import benchmarks, images, painting
    from nstlib.adain import load_adain
    from nstlib.evaluation import video
    from nstlib.transform_net import load_net

    styles = {name: images.style(name) for name in options.style}
    model, net = load_adain(options.model), load_net(options.net)
    net.condition(options.style)  # wrong ones end it here
    make_folder(options.out / "video-quality.json")
    known = {name: model.style(picture) for name, picture in styles.items()}
    painters: dict[str, video.Paint] = {
        "adain": lambda frames, name: model.stylize(frames, known[name]),
        "fast": lambda frames, name: net.stylize(frames, name),
    }
    # A still scene flickers by the sensor's noise alone; and no two clips are of one photo.
    clips = {
        kind: painting.clip(kind, frames=options.frames, seed=seed, noise=0.01)
        for seed, kind in enumerate(get_args(painting.Kind))
    }
    weights = video.WEIGHTS
    seen = video.evaluate_steadiness(
        painters, load_encoder(options.encoder), clips, styles, weights
    )
    count = len(painters) * len(clips) * len(styles) * len(weights)
    results = list(tqdm(seen, total=count, leave=False, disable=None))
    content = {"machine": benchmarks.machine(), "frames": options.frames, "results": results}
    benchmarks.write_json(options.out / "video-quality.json", content)
    print(video.steadiness_table(results))
    print(f"\n{video.steadiness_table(results, by='clip')}")


def _held_out(folder: Path, count: int, crop: bool) -> dict[str, Tensor]:
    """Return so many held-out pictures of a folder, by their paths in it."""
    from nstlib.datasets import picture_paths
    from nstlib.evaluation import judging
    from nstlib.images import load_image

    paths = judging.spread(picture_paths(folder, split="held-out"), count)
    size = judging.SIZE
    return {path.relative_to(folder).as_posix(): load_image(path, size, crop) for path in paths}


def _encoder(name: str) -> Encoder:
    if name == "random":
        return random_encoder("slim")
    return (
        load_encoder("slim", weights=name) if name.endswith(".safetensors") else load_encoder(name)
    )


# --------------------------------------------------------------------------------------- doctor


def add_doctor(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "doctor",
        "say what this installation has, and what to do about each gap",
        EXAMPLES["doctor"],
    )
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    command.set_defaults(run=_run_doctor)


def _run_doctor(options: argparse.Namespace) -> None:
    from nstlib import doctor

    findings = doctor.examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        return
    print(doctor.as_text(findings))
