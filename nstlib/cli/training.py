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
from nstlib.cli.flags import (
    ENCODERS,
    OWN_PICTURES,
    UsageError,
    add_device,
    add_encoder,
    add_fields,
    add_parameters,
    chosen_fields,
    file_ending_in,
    find_picture,
    make_folder,
    trained,
    values,
    whole,
)
from nstlib.cli.parsers import add_command, one_line
from nstlib.datasets import Crops, picture_paths
from nstlib.encoders import Encoder, check_taps, load_encoder

_NEW_CROPS = Crops.__init__  # whose parameters are flags
PAINTED = 304  # px: the side of a painted picture, at least

DISTILL_EXAMPLES = """
nst distill --pictures photos/ paintings/ --checkpoint runs/slim.pt
"""


def add_distill(commands: Any) -> None:
    """Add the command."""
    from nstlib.distillation import Recipe

    command = add_command(
        commands, "distill", "train a slim encoder to see what VGG-19 sees", DISTILL_EXAMPLES
    )
    command.add_argument(
        "--pictures",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="what to train on; a MANIFEST.csv in or above a folder names what is held out",
    )
    _add_checkpoint(command)
    add_device(command)
    add_fields(command, Recipe)
    command.set_defaults(run=_run_distill)


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        type=file_ending_in(".pt"),
        required=True,
        help="a .pt file; resumed if it exists",
    )


def _run_distill(options: argparse.Namespace) -> None:
    from nstlib.distillation import Recipe, distill

    # What is quick, and may be wrong, before the pictures are decoded, which takes long.
    recipe = Recipe(**chosen_fields(options, Recipe))
    make_folder(options.checkpoint)
    teacher = load_encoder("vgg19")
    crops, held_out = (
        Crops(picture_paths(*options.pictures, split=split), recipe.crop)
        for split in ("train", "held-out")
    )
    _say_skipped([crops, held_out])
    print(f"training on {len(crops)} pictures, judged on {len(held_out)}")
    run = distill(teacher, crops, held_out, options.checkpoint, recipe, device=options.device)
    for progress in run:
        print(json.dumps(dataclasses.asdict(progress)), flush=True)


# ---------------------------------------------------------------------------------------- train

TRAIN_EXAMPLES = """
nst train fast --style vortex --content photos/ --checkpoint runs/vortex.pt
nst train adain --content photos/ --style paintings/ --painted 100 --checkpoint runs/adain.pt
"""

TRAIN_FAST_EXAMPLES = """
nst train fast --style vortex --content photos/ --checkpoint runs/vortex.pt
nst train fast --style a.jpg b.jpg --dial 1,100 --content photos/ --checkpoint runs/two.pt
nst train fast --style a.jpg b.jpg --start runs/two.safetensors --temporal-weight 10 \\
  --content photos/ --checkpoint runs/steady.pt
torchrun --nproc-per-node 2 -m nstlib.cli train fast --style vortex --content photos/ \\
  --checkpoint runs/two-gpus.pt
"""

TRAIN_ADAIN_EXAMPLES = """
nst train adain --content photos/ --style paintings/ --painted 100 --checkpoint runs/adain.pt
nst train adain --encoder vgg19 --recipe style10 --learning-rate 1e-4 --decay 5e-5 --batch 8 \\
  --crop 256 --shorter-side 512 --content coco/train2017/ --style wikiart/ \\
  --checkpoint runs/literature.pt
nst train adain --start adain --eyes vgg19 --content photos/ --style paintings/ \\
  --checkpoint runs/longer.pt
torchrun --nproc-per-node 2 -m nstlib.cli train adain --content coco/train2017/ \\
  --style wikiart/ --checkpoint runs/two-gpus.pt
"""
COLLECTIONS = """\
Folders are searched with all those within them, so MS-COCO and WikiArt are taken as they come:
  coco/train2017/000000000009.jpg ...
  wikiart/Impressionism/claude-monet_water-lilies-1919.jpg ...
A .tar file in a folder, such as WebDataset's shards, stands for the pictures in it:
  coco/train2017-00000.tar ...
"""


def add_train(commands: Any) -> None:
    """Add ``nst train`` with its subjects."""
    command = add_command(commands, "train", "train a model of your own", TRAIN_EXAMPLES)
    subjects = command.add_subparsers(metavar="WHAT")
    _add_train_fast(subjects)
    _add_train_adain(subjects)


def _add_train_fast(subjects: Any) -> None:
    command = add_command(
        subjects,
        "fast",
        "a fast style net, of one style or several, with a dial or without",
        TRAIN_FAST_EXAMPLES,
        COLLECTIONS,
    )
    command.add_argument(
        "--style", nargs="+", required=True, help=OWN_PICTURES + ", ".join(images.style_names())
    )
    command.add_argument(
        "--style-size", type=whole, default=256, help="its shorter side in pixels (%(default)s)"
    )
    _add_run(command, "photos", fast_training.RECIPES)
    command.add_argument(
        "--start",
        type=trained("fast"),
        metavar="WEIGHTS",
        help="a trained net to set out from, of the same styles: 'fast', which ships, or a file of "
        "weights",
    )
    add_fields(command, transform_net.Shape, leave_out=("styles",))
    add_fields(command, fast_training.Recipe)
    add_fields(command, training.Settings)
    command.set_defaults(run=_run_train_fast)


def _add_train_adain(subjects: Any) -> None:
    command = add_command(
        subjects,
        "adain",
        "a decoder that paints any photo in the style of any painting",
        TRAIN_ADAIN_EXAMPLES,
        COLLECTIONS,
    )
    command.add_argument(
        "--style",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="paintings, in folders like those of the photos",
    )
    _add_run(command, "paintings", adain_training.RECIPES)
    command.add_argument(
        "--eyes", choices=ENCODERS, help="what the losses look with (the decoder's encoder)"
    )
    command.add_argument(
        "--start",
        type=trained("adain"),
        metavar="WEIGHTS",
        help="a trained decoder to set out from, with another recipe or rate: 'adain', which ships, "
        "or a file of weights",
    )
    command.add_argument(
        "--tap", default=argparse.SUPPRESS, help="whose maps it decodes (the recipe's content tap)"
    )
    add_fields(command, adain.Shape, leave_out=("widths", "tap"))
    add_fields(command, adain_training.Recipe)
    add_fields(command, training.Settings)
    command.set_defaults(run=_run_train_adain)


def _add_run(command: argparse.ArgumentParser, others: str, recipes: Iterable[str]) -> None:
    """Add what every training has: where its photos lie, and what becomes of it."""
    command.add_argument(
        "--content",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="photos; a MANIFEST.csv in or above a folder names what is held out",
    )
    command.add_argument(
        "--painted",
        type=int,
        default=0,
        help=f"so many painted pictures beside the {others} (%(default)s)",
    )
    command.add_argument(
        "--crop", type=whole, default=128, help="side of a crop in pixels (%(default)s)"
    )
    add_parameters(command, _NEW_CROPS, "shorter_side")
    _add_checkpoint(command)
    add_parameters(command, training.train, "every")
    command.add_argument("--log", type=Path, help="a folder for TensorBoard, and sheets of samples")
    add_encoder(command)
    add_device(command)
    command.add_argument(
        "--recipe",
        default="default",
        choices=tuple(recipes),
        help="where the loss below stands that is not given (%(default)s)",
    )


def _run_train_fast(options: argparse.Namespace) -> None:
    settings = training.Settings(**chosen_fields(options, training.Settings))
    chosen = chosen_fields(options, fast_training.Recipe)
    recipe = dataclasses.replace(fast_training.RECIPES[options.recipe], **chosen)
    with training.processes() as rank:
        # What is quick, and may be wrong, before the photos are decoded, which takes long.
        make_folder(options.checkpoint)
        net = _net_to_train(options, settings.seed)
        if net.shape.dial and "style_weight" in chosen:
            raise UsageError(
                "--style-weight is of nets without a dial: --dial says its style weights"
            )
        styles = [find_picture(name, options.style_size) for name in options.style]
        encoder = load_encoder(options.encoder)
        fast_training.check_crop(options.crop, encoder, recipe)
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
        make_folder(options.checkpoint)
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
        raise UsageError(
            f"--style is {' '.join(names)}; the net to start from has: {' '.join(net.shape.styles)}"
        )
    return net.requires_grad_(True).train()


def _style_names(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(Path(name).stem for name in options.style)


def _check_settled(what: str, fields: Collection[str]) -> None:
    """Raise UsageError where flags ask for the shape of what has one already."""
    if fields:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in fields)
        raise UsageError(f"--start brings {what} whose shape is settled: leave out {flags}")


def _crops(options: argparse.Namespace, folders: Sequence[Path], painted: int = 0) -> Crops:
    """Return what is for training in folders, and so many painted pictures."""
    paths: list[Path | Tensor] = [*picture_paths(*folders, split="train", shards=True)]
    size = max(PAINTED, options.crop)
    more = [painting.random(seed, size=size) for seed in range(painted)]
    sizes = values(options, _NEW_CROPS, "shorter_side")
    return Crops([*paths, *more], options.crop, **sizes)


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
        **values(options, training.train, "every"),
        device=options.device,
        log=options.log,
    )
    try:
        _watch(steps, settings.steps, crops, rank)
    except KeyboardInterrupt as interrupt:
        if options.checkpoint.is_file():
            interrupt.add_note(f"stopped; the same command goes on from '{options.checkpoint}'")
        raise
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
        tqdm.write(f"left out: {one_line(line)}", file=sys.stderr)
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
