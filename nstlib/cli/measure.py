"""``nst evaluate``, ``nst bench`` and ``nst doctor``: how good, how fast, and what is there."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nstlib.cli.flags import find_picture, numbers
from nstlib.encoders import Encoder, load_encoder, random_encoder

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
    steps = subjects.add_parser("gatys", help="one step, against VGG-19 as a book has it")
    steps.add_argument(
        "--size", type=int, nargs="+", default=[256], help="sides in pixels %(default)s"
    )
    steps.add_argument("--repeats", type=int, default=15, help="steps of each (%(default)s)")
    steps.add_argument("--profile", action="store_true", help="also say where the time goes")
    steps.add_argument("--device", default="auto")
    steps.add_argument("--out", type=Path, help="a folder for gatys.json")
    steps.set_defaults(run=_run_bench_gatys)
    passes = subjects.add_parser("fast", help="one pass of a fast net, against the plain one")
    passes.add_argument(
        "--size", type=int, nargs="+", default=[512], help="sides in pixels %(default)s"
    )
    passes.add_argument("--repeats", type=int, default=15, help="passes of each (%(default)s)")
    passes.add_argument("--device", default="auto")
    passes.add_argument("--out", type=Path, help="a folder for fast.json")
    passes.set_defaults(run=_run_bench_fast)


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


def _run_bench_fast(options: argparse.Namespace) -> None:
    from nstlib import benchmarks

    machine = benchmarks.machine()
    for key, value in machine.items():
        print(f"{key}: {value}")
    sizes = []
    for size in options.size:
        rows = benchmarks.fast_rows(size, options.repeats, device=options.device)
        print(f"\n{size} × {size} px\n\n{benchmarks.as_table(rows, 'pass')}")
        sizes.append({"size": size, "rows": rows})
    if options.out:
        content = {
            "machine": machine,
            "repeats": options.repeats,
            "device": options.device,
            "sizes": sizes,
        }
        benchmarks.write_json(options.out / "fast.json", content)


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
