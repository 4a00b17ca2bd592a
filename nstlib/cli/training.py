"""``nst train`` and ``nst distill``: how the models that ship were made, and how to make others."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nstlib import fast_training, images, painting, training, transform_net
from nstlib.cli.flags import OWN_PICTURES, add_fields, chosen_fields, find_picture
from nstlib.datasets import Crops, picture_paths
from nstlib.encoders import load_encoder


def add_distill(commands: Any) -> None:
    """Add the command."""
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
    add_fields(command, Recipe)
    command.set_defaults(run=_run_distill)


def _run_distill(options: argparse.Namespace) -> None:
    from nstlib.distillation import Recipe, distill

    recipe = Recipe(**chosen_fields(options, Recipe))
    crops, held_out = (
        Crops(picture_paths(*options.pictures, split=split), recipe.crop)
        for split in ("train", "held-out")
    )
    _say_skipped(crops)
    _say_skipped(held_out)
    options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    print(f"training on {len(crops)} pictures, judged on {len(held_out)}")
    for progress in distill(
        load_encoder("vgg19"), crops, held_out, options.checkpoint, recipe, device=options.device
    ):
        print(json.dumps(dataclasses.asdict(progress)), flush=True)


# ---------------------------------------------------------------------------------------- train

TRAIN_FAST_EXAMPLES = """examples:
  nst train fast --style vortex --content photos/ --checkpoint runs/vortex.pt
  nst train fast --style a.jpg b.jpg --dial 1,100 --content photos/ --checkpoint runs/two.pt
  torchrun --nproc-per-node 2 -m nstlib.cli train fast --style vortex --content photos/ \\
    --checkpoint runs/vortex.pt
"""


def add_train(commands: Any) -> None:
    """Add ``nst train`` with its subjects."""
    command = commands.add_parser("train", help="train a model of your own")
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    fast = subjects.add_parser(
        "fast",
        help="a fast style net, of one style or several, with a dial or without",
        epilog=TRAIN_FAST_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fast.add_argument(
        "--style", nargs="+", required=True, help=OWN_PICTURES + ", ".join(images.style_names())
    )
    fast.add_argument(
        "--style-size", type=int, default=256, help="its shorter side in pixels (%(default)s)"
    )
    fast.add_argument(
        "--content",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="photos; a MANIFEST.csv in or above a folder names what is held out",
    )
    fast.add_argument(
        "--painted", type=int, default=0, help="so many painted pictures beside the photos (0)"
    )
    fast.add_argument("--crop", type=int, default=128, help="side in pixels (%(default)s)")
    fast.add_argument(
        "--checkpoint", type=Path, required=True, help="a .pt file; gone on from where it exists"
    )
    fast.add_argument("--every", type=int, default=500, help="steps between two (%(default)s)")
    fast.add_argument("--log", type=Path, help="a folder for TensorBoard, and sheets of samples")
    fast.add_argument("--encoder", default="slim", choices=("slim", "vgg19"))
    fast.add_argument("--recipe", default="default", choices=fast_training.RECIPES)
    fast.add_argument("--device", default="auto")
    add_fields(fast, transform_net.Shape, leave_out=("styles",))
    add_fields(fast, fast_training.Recipe)
    add_fields(fast, training.Settings)
    fast.set_defaults(run=_run_train_fast)


def _run_train_fast(options: argparse.Namespace) -> None:
    settings = training.Settings(**chosen_fields(options, training.Settings))
    chosen = chosen_fields(options, fast_training.Recipe)
    recipe = dataclasses.replace(fast_training.RECIPES[options.recipe], **chosen)
    shape = chosen_fields(options, transform_net.Shape)
    if "dial" in shape and "style_weight" in chosen:
        raise ValueError("--style-weight is of nets without a dial: --dial says its style weights")
    with training.processes() as rank:
        # What is quick, and may be wrong, before the photos are decoded, which takes long.
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        net, styles = _net_to_train(options, shape, settings.seed)
        encoder, crops = load_encoder(options.encoder), _crops(options)
        task = fast_training.FastNetTask(net, styles, crops, encoder, recipe)
        if rank == 0:
            _say_skipped(crops)
            print(f"training on {len(crops)} pictures")
        steps = training.train(
            task,
            settings,
            options.checkpoint,
            every=options.every,
            device=options.device,
            log=options.log,
        )
        _watch(steps, settings.steps, quiet=rank > 0)
    if rank == 0:
        print(options.checkpoint.with_suffix(".safetensors"))


def _net_to_train(
    options: argparse.Namespace, shape: dict[str, Any], seed: int
) -> tuple[transform_net.TransformNet, list[Tensor]]:
    """Return a new net, and the pictures of its styles, which have the names of their files."""
    styles = [find_picture(name, options.style_size) for name in options.style]
    if shape.get("norm") != "batch":  # which has no rows to be called by a name
        shape = shape | {"styles": tuple(Path(name).stem for name in options.style)}
    torch.manual_seed(seed)
    return transform_net.TransformNet(**shape), styles


def _crops(options: argparse.Namespace) -> Crops:
    photos: list[Path | Tensor] = [*picture_paths(*options.content, split="train")]
    painted = [painting.random(seed, size=304) for seed in range(options.painted)]
    return Crops([*photos, *painted], options.crop)


def _say_skipped(crops: Crops) -> None:
    for line in crops.skipped:
        print(f"left out: {line}", file=sys.stderr)
    if crops.skipped:
        print(f"left out: {len(crops.skipped)} in all", file=sys.stderr)


def _watch(steps: Iterable[training.Progress], count: int, quiet: bool) -> None:
    """Show a bar on a terminal, and a line of JSON, the mean losses, for each checkpoint."""
    sums: Counter[str] = Counter()
    since = 0
    bar = tqdm(total=count, unit="step", leave=False, disable=True if quiet else None)
    for progress in steps:
        sums.update(progress.losses)
        since += 1
        bar.n = progress.step
        bar.set_postfix(loss=f"{progress.losses['total']:.4g}", refresh=False)
        bar.update(0)
        if progress.saved and not quiet:
            means = {name: round(value / since, 5) for name, value in sums.items()}
            left = round(progress.seconds_left)
            bar.write(json.dumps({"step": progress.step, **means, "seconds_left": left}))
            sums.clear()
            since = 0
    bar.close()
