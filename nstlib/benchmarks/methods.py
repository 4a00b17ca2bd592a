"""What is timed of each method: a step of Gatys' or a pass of a net, first in its plain form."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from nstlib import config, gatys
from nstlib.adain import TILE, AdaIN, Decoder, load_adain
from nstlib.benchmarks.memory import PeakMemory
from nstlib.benchmarks.plain import PlainAdaIN, PlainGatys, plain_net
from nstlib.benchmarks.profiling import Part, profile
from nstlib.benchmarks.timing import Row, compare
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.transform_net import TransformNet, load_net

# ------------------------------------------------------------------------------------------- Gatys


def gatys_rows(
    size: int = 256, repeats: int = 15, slim: Encoder | None = None, device: str = "auto"
) -> list[Row]:
    """Time one step of Gatys' method at ``size²``: plain VGG-19, ours on VGG-19, ours on slim."""
    contenders = gatys_contenders(size, slim, device)
    return compare({name: _advance(steps) for name, steps in contenders.items()}, repeats)


def gatys_parts(
    size: int = 256, steps: int = 5, slim: Encoder | None = None, device: str = "auto"
) -> list[Part]:
    """Say where the time of one step goes, for the contenders of :func:`gatys_rows`."""
    contenders = gatys_contenders(size, slim, device)
    place = config.pick_device(device)
    return [part for name, run in contenders.items() for part in profile(name, run, steps, place)]


def gatys_contenders(
    size: int, slim: Encoder | None = None, device: str = "auto"
) -> dict[str, Iterator[object]]:
    """Return endless runs of Gatys' method at ``size²``, by name; the plain one is the yardstick.

    The VGG-19 has random weights, which cost the same as trained ones.
    """
    place = config.pick_device(device)
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, size, size, generator=generator).to(place)
    style = torch.rand(1, 3, size, size, generator=generator).to(place)
    vgg19 = random_encoder("vgg19").to(place)
    recipe = gatys.preset("d2l", steps=1_000_000, device=str(place))
    ours = gatys.optimize(content, style, vgg19, recipe)
    exact = gatys.optimize(content, style, vgg19, recipe, precision="float32")
    settings = gatys.Settings(steps=1_000_000, device=str(place))
    small = gatys.optimize(content, style, slim or load_encoder("slim"), settings)
    return {
        "plain VGG-19, float32": PlainGatys(vgg19).steps(content, style),
        "nstlib on VGG-19, float32": exact,
        "nstlib on VGG-19, precision auto": ours,
        "nstlib on slim, precision auto": small,
    }


def _advance(steps: Iterator[object]) -> Callable[[], object]:
    return lambda: next(steps)


# ------------------------------------------------------------------------------------- fast nets


def fast_rows(size: int = 512, repeats: int = 15, device: str = "auto") -> list[Row]:
    """Time one pass at ``size²``: the plain net, ours in the paper's width, the one that ships."""
    contenders = fast_contenders(size, device)
    with torch.no_grad():
        return compare(contenders, repeats)


def fast_contenders(size: int, device: str = "auto") -> dict[str, Callable[[], object]]:
    """Return passes over one photo of ``size²``, by name; the plain one is the yardstick."""
    place = config.pick_device(device)
    photo = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(place)
    plain = plain_net().to(place).eval()
    exact = TransformNet().to(place).eval()
    ours = exact.in_dtype(config.pick_dtype("auto", place))
    shipped = load_net("fast", device=place)
    return {
        "plain net, the paper's width, float32": partial(plain, photo),
        "nstlib, the paper's width, float32": partial(exact.stylize, photo),
        "nstlib, the paper's width, precision auto": partial(ours.stylize, photo),
        "nstlib, the net that ships, precision auto": partial(shipped.stylize, photo),
    }


# ----------------------------------------------------------------------------------------- AdaIN


def adain_rows(
    size: int = 512, repeats: int = 15, device: str = "auto", shipped: AdaIN | None = None
) -> list[Row]:
    """Time one pass at ``size²``: the plain network, ours on VGG-19, the model that ships."""
    contenders = adain_contenders(size, device, shipped)
    with torch.no_grad():
        return compare(contenders, repeats)


def adain_contenders(
    size: int, device: str = "auto", shipped: AdaIN | None = None
) -> dict[str, Callable[[], object]]:
    """Return passes over one photo and one style of ``size²``, by name; the plain one is the yardstick.

    The VGG-19 and its decoder have random weights, which cost the same as trained ones; ``shipped``
    stands for the model that ships, and is to be on ``device``.
    """
    place = config.pick_device(device)
    generator = torch.Generator().manual_seed(0)
    photo, painting = torch.rand(2, 1, 3, size, size, generator=generator).to(place)
    vgg19 = random_encoder("vgg19")
    decoder = Decoder.of(vgg19, tap="relu4_1", output="sigmoid")
    plain = PlainAdaIN(vgg19, decoder).to(place).eval()
    exact = AdaIN(vgg19, decoder).to(place).eval()
    ours = exact.in_dtype(config.pick_dtype("auto", place))
    small = shipped or load_adain(device=place)
    our_style, small_style = ours.style(painting), small.style(painting)
    return {
        "plain AdaIN, VGG-19, float32": partial(plain, photo, painting),
        "nstlib on VGG-19, float32": partial(exact.stylize, photo, painting),
        "nstlib on VGG-19, precision auto, style cached": partial(ours.stylize, photo, our_style),
        "the model that ships, style cached": partial(small.stylize, photo, small_style),
        "the model that ships, style and photo cached": partial(
            small.stylize, small.content(photo), small_style
        ),
    }


@dataclass(frozen=True)
class Large:
    """One pass over a photo that is made in tiles."""

    height: int
    width: int
    seconds: float
    gigabytes: float  # at the peak, beyond what the process had with the photo and the result


def adain_large(height: int, width: int, shipped: AdaIN | None = None) -> Large:
    """Time a photo of ``height`` × ``width`` px in tiles on the CPU, and weigh the memory it takes."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, height, width, generator=generator)
    model = shipped or load_adain()
    style = model.style(photo[..., :256, :256])
    with PeakMemory() as peak:
        started = time.perf_counter()
        painted = model.stylize(photo, style, tile=TILE)
        seconds = time.perf_counter() - started
    beyond = peak.bytes - painted.numel() * painted.element_size()
    return Large(height, width, seconds, beyond / 1e9)
