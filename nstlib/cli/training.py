"""``nst train`` and ``nst distill``: how the models that ship were made, and how to make others."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nstlib import adain, adain_training, fast_training, images, painting, training, transform_net
from nstlib.cli.flags import OWN_PICTURES, add_fields, chosen_fields, find_picture
from nstlib.datasets import Crops, picture_paths
from nstlib.encoders import Encoder, check_taps, load_encoder

ENCODERS = ("slim", "vgg19")


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
    _say_skipped([crops, held_out])
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
  nst train fast --style a.jpg b.jpg --start runs/two.safetensors --temporal-weight 10 \\
    --content photos/ --checkpoint runs/steady.pt
  torchrun --nproc-per-node 2 -m nstlib.cli train fast --style vortex --content photos/ \\
    --checkpoint runs/vortex.pt
"""


TRAIN_ADAIN_EXAMPLES = """examples:
  nst train adain --content photos/ --style paintings/ --painted 100 --checkpoint runs/adain.pt
  nst train adain --encoder vgg19 --recipe style10 --learning-rate 1e-4 --decay 5e-5 --batch 8 \\
    --crop 256 --shorter-side 512 --content coco/train2017/ --style wikiart/ \\
    --checkpoint runs/literature.pt
  nst train adain --start adain --eyes vgg19 --content photos/ --style paintings/ \\
    --checkpoint runs/longer.pt
  torchrun --nproc-per-node 2 -m nstlib.cli train adain --content coco/train2017/ \\
    --style wikiart/ --checkpoint runs/adain.pt

Folders are searched with all those within them, so MS-COCO and WikiArt are taken as they come:
  coco/train2017/000000000009.jpg ...
  wikiart/Impressionism/claude-monet_water-lilies-1919.jpg ...
A .tar file in a folder, such as WebDataset's shards, stands for the pictures in it:
  coco/train2017-00000.tar ...
"""


def add_train(commands: Any) -> None:
    """Add ``nst train`` with its subjects."""
    command = commands.add_parser("train", help="train a model of your own")
    subjects = command.add_subparsers(required=True, metavar="WHAT")
    _add_train_fast(subjects)
    _add_train_adain(subjects)


def _add_train_fast(subjects: Any) -> None:
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
    _add_run(fast, painted="so many painted pictures beside the photos (0)")
    fast.add_argument("--recipe", default="default", choices=fast_training.RECIPES)
    fast.add_argument(
        "--start",
        metavar="WEIGHTS",
        help='a trained net to set out from, of the same styles: its file, or "fast", the one that '
        "ships",
    )
    add_fields(fast, transform_net.Shape, leave_out=("styles",))
    add_fields(fast, fast_training.Recipe)
    add_fields(fast, training.Settings)
    fast.set_defaults(run=_run_train_fast)


def _add_train_adain(subjects: Any) -> None:
    command = subjects.add_parser(
        "adain",
        help="a decoder that paints any photo in the style of any painting",
        epilog=TRAIN_ADAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--style",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="paintings, in folders like those of the photos",
    )
    _add_run(command, painted="so many painted pictures beside the paintings (0)")
    command.add_argument(
        "--eyes", choices=ENCODERS, help="what the losses look with (the decoder's encoder)"
    )
    command.add_argument("--recipe", default="default", choices=adain_training.RECIPES)
    command.add_argument(
        "--start",
        metavar="WEIGHTS",
        help='a trained decoder to set out from, with another recipe or rate: its file, or "adain", '
        "the one that ships",
    )
    command.add_argument(
        "--tap", default=argparse.SUPPRESS, help="whose maps it decodes (the recipe's content tap)"
    )
    add_fields(command, adain.Shape, leave_out=("widths", "tap"))
    add_fields(command, adain_training.Recipe)
    add_fields(command, training.Settings)
    command.set_defaults(run=_run_train_adain)


def _add_run(command: argparse.ArgumentParser, painted: str) -> None:
    """Add what every training has: where its photos lie, and what becomes of it."""
    command.add_argument(
        "--content",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="photos; a MANIFEST.csv in or above a folder names what is held out",
    )
    command.add_argument("--painted", type=int, default=0, help=painted)
    command.add_argument("--crop", type=int, default=128, help="side in pixels (%(default)s)")
    command.add_argument(
        "--shorter-side",
        type=int,
        default=304,
        help="larger pictures are made so small; large collections are often used at crops of 256 "
        "px out of 512 (%(default)s)",
    )
    command.add_argument(
        "--checkpoint", type=Path, required=True, help="a .pt file; gone on from where it exists"
    )
    command.add_argument("--every", type=int, default=500, help="steps between two (%(default)s)")
    command.add_argument("--log", type=Path, help="a folder for TensorBoard, and sheets of samples")
    command.add_argument("--encoder", default="slim", choices=ENCODERS, help="(%(default)s)")
    command.add_argument("--device", default="auto")


def _run_train_fast(options: argparse.Namespace) -> None:
    settings = training.Settings(**chosen_fields(options, training.Settings))
    chosen = chosen_fields(options, fast_training.Recipe)
    recipe = dataclasses.replace(fast_training.RECIPES[options.recipe], **chosen)
    with training.processes() as rank:
        # What is quick, and may be wrong, before the photos are decoded, which takes long.
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        net = _net_to_train(options, settings.seed)
        if net.shape.dial and "style_weight" in chosen:
            raise ValueError(
                "--style-weight is of nets without a dial: --dial says its style weights"
            )
        styles = [find_picture(name, options.style_size) for name in options.style]
        encoder = load_encoder(options.encoder)
        crops = _crops(options, options.content, options.painted)
        task = fast_training.FastNetTask(net, styles, crops, encoder, recipe)
        if rank == 0:
            print(f"training on {len(crops)} pictures")
        _train(task, settings, options, [crops], rank)


def _run_train_adain(options: argparse.Namespace) -> None:
    settings = training.Settings(**chosen_fields(options, training.Settings))
    chosen = chosen_fields(options, adain_training.Recipe)
    recipe = dataclasses.replace(adain_training.RECIPES[options.recipe], **chosen)
    with training.processes() as rank:
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        encoder = load_encoder(options.encoder)
        eyes = encoder if options.eyes in (None, options.encoder) else load_encoder(options.eyes)
        check_taps(eyes, recipe.taps, "recipe")
        decoder = _decoder_to_train(options, encoder, recipe.content_tap, settings.seed)
        adain_training.check_crop(options.crop, decoder.shape, eyes, recipe)
        photos = _crops(options, options.content)
        paintings = _crops(options, options.style, options.painted)
        task = adain_training.AdaINTask(decoder, encoder, photos, paintings, eyes, recipe)
        if rank == 0:
            print(f"training on {len(photos)} photos and {len(paintings)} paintings")
        _train(task, settings, options, [photos, paintings], rank)


def _decoder_to_train(
    options: argparse.Namespace, encoder: Encoder, tap: str, seed: int
) -> adain.Decoder:
    """Return a new decoder, or the one to set out from."""
    fields = chosen_fields(options, adain.Shape)
    if options.start is None:
        torch.manual_seed(seed)
        return adain.Decoder.of(encoder, **{"tap": tap} | fields)
    _check_settled("a decoder", fields)
    model = adain.load_adain(options.start, encoder, precision="float32")
    return model.decoder.requires_grad_(True).train()


def _net_to_train(options: argparse.Namespace, seed: int) -> transform_net.TransformNet:
    """Return a new net, whose styles have the names of their files, or the one to set out from."""
    fields, names = chosen_fields(options, transform_net.Shape), _style_names(options)
    if options.start is None:
        if fields.get("norm") != "batch":  # which has no rows to be called by a name
            fields["styles"] = names
        torch.manual_seed(seed)
        return transform_net.TransformNet(**fields)
    _check_settled("a net", fields)
    net = transform_net.load_net(options.start, precision="float32")
    if net.shape.styles not in ((), names):
        raise ValueError(
            f"--style is {' '.join(names)}; the net to start from has: {' '.join(net.shape.styles)}"
        )
    return net.requires_grad_(True).train()


def _style_names(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(Path(name).stem for name in options.style)


def _check_settled(what: str, fields: Collection[str]) -> None:
    """Raise ValueError where flags ask for the shape of what has one already."""
    if fields:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in fields)
        raise ValueError(f"--start brings {what} whose shape is settled: leave out {flags}")


def _crops(options: argparse.Namespace, folders: Sequence[Path], painted: int = 0) -> Crops:
    """Return what is for training in folders, and so many painted pictures."""
    paths: list[Path | Tensor] = [*picture_paths(*folders, split="train", shards=True)]
    size = max(304, options.crop)
    more = [painting.random(seed, size=size) for seed in range(painted)]
    return Crops([*paths, *more], options.crop, options.shorter_side)


def _train(
    task: training.Task[Any],
    settings: training.Settings,
    options: argparse.Namespace,
    crops: Sequence[Crops],
    rank: int,
) -> None:
    steps = training.train(
        task,
        settings,
        options.checkpoint,
        every=options.every,
        device=options.device,
        log=options.log,
    )
    _watch(steps, settings.steps, crops, rank)
    if rank == 0:
        print(options.checkpoint.with_suffix(".safetensors"))


def _skipped(crops: Iterable[Crops]) -> Collection[str]:
    """Return a line for each picture that is left out, once."""
    return dict.fromkeys(line for each in crops for line in each.skipped)


def _say_skipped(crops: Sequence[Crops], told: Collection[str] = ()) -> Collection[str]:
    """Print which pictures are left out, but for those that were told of; return all of them."""
    lines = _skipped(crops)
    new = [line for line in lines if line not in told]
    for line in new:
        tqdm.write(f"left out: {line}", file=sys.stderr)
    if new:
        tqdm.write(f"left out: {len(lines)} in all", file=sys.stderr)
    return lines


def _watch(
    steps: Iterable[training.Progress], count: int, crops: Sequence[Crops], rank: int
) -> None:
    """Show a bar on a terminal, and a line of JSON, the mean losses, for each checkpoint.

    Pictures that turn out to be unusable when they are drawn are told of by whoever drew them.
    """
    quiet = rank > 0
    told = _skipped(crops) if quiet else _say_skipped(crops)
    sums: Counter[str] = Counter()
    since = 0
    bar = tqdm(total=count, unit="step", leave=False, disable=True if quiet else None)
    for progress in steps:
        sums.update(progress.losses)
        since += 1
        bar.n = progress.step
        bar.set_postfix(loss=f"{progress.losses['total']:.4g}", refresh=False)
        bar.update(0)
        if progress.saved:
            told = _say_skipped(crops, told)
        if progress.saved and not quiet:
            means = {name: round(value / since, 5) for name, value in sums.items()}
            left = round(progress.seconds_left)
            bar.write(json.dumps({"step": progress.step, **means, "seconds_left": left}))
            sums.clear()
            since = 0
    bar.close()
