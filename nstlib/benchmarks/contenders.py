"""Every contender of the whole table: each method in its plain form, on VGG-19 and as it ships.

A contender is a stream of pictures. To ask it for the next is one unit of work: a step of Gatys'
method, a pass of a net. Each method's first contender is its plain form in float32, the yardstick. A
network with random weights costs the same as a trained one, but what it paints is not judged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nstlib import config, gatys, images
from nstlib.adain import AdaIN, Decoder, load_adain
from nstlib.benchmarks.plain import D2L, PlainAdaIN, PlainGatys, d2l_within, plain_net
from nstlib.benchmarks.rows import FEWER, KEPT, METHODS, PLAIN, SAME, SHIPS
from nstlib.encoders import Encoder, find_vgg19_weights, load_encoder, random_encoder
from nstlib.transform_net import TransformNet, load_net

ENDLESS = 1_000_000  # steps


@dataclass(frozen=True, eq=False)
class Pictures:
    """A photo (1, 3, S, S) and a style, both on the device that paints."""

    name: str
    photo: Tensor
    style: Tensor
    style_name: str


def load_pictures(
    pair: tuple[str, str], size: int, style_size: int, device: torch.device
) -> Pictures:
    """Return the square in the middle of a photo that ships, and a style that ships."""
    photo, style = pair
    return Pictures(
        " × ".join(pair),
        images.sample(photo, size, crop=True).to(device),
        images.style(style, style_size).to(device),
        style,
    )


@dataclass(frozen=True, eq=False)
class Contender:
    """One way to paint: what it is, and the stream of what it makes of pictures."""

    network: str
    kind: str  # one of rows.KINDS
    dtype: str
    stream: Callable[[Pictures], Iterator[Tensor]]
    is_trained: bool = False


def dtypes_of(device: torch.device) -> list[torch.dtype]:
    """Return the dtypes that are worth while on a device; float32 is the first."""
    return [torch.float32] + [torch.bfloat16] * config.has_fast_bfloat16(device.type)


def contenders(method: str, device: torch.device) -> list[Contender]:
    """Return all that a method has, the plain form first.

    Raises:
        ValueError: no such method.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it takes {', '.join(map(repr, METHODS))}")
    return dict(zip(METHODS, (_gatys, _fast, _adain), strict=True))[method](device)


def _gatys(device: torch.device) -> list[Contender]:
    """Return Gatys' method, plain and by nstlib.

    VGG-19 has trained weights where they are found, as deep as they go. Where that is less than the
    recipe looks at, the yardstick has random ones, and the recipe as far as they go is one more.
    """
    path = find_vgg19_weights()
    found = random_encoder("vgg19") if path is None else load_encoder("vgg19")
    recipe, is_trained = d2l_within(found), path is not None
    whole = [(found, is_trained)]
    if recipe != D2L:
        whole.insert(0, (random_encoder("vgg19"), False))
    rows = [_plain_gatys(vgg19.to(device), trained) for vgg19, trained in whole]
    taps = {
        "content_taps": {recipe.content_tap: 1.0},
        "style_taps": dict.fromkeys(recipe.style_taps, 1.0),
    }
    name, slim = f"VGG-19 to {recipe.deepest}", load_encoder("slim").to(device)
    for dtype in dtypes_of(device):
        options = {"precision": _precision(dtype), "device": str(device), "steps": ENDLESS}
        same = gatys.preset("d2l", **taps, **options)
        ours = gatys.preset("default", **options)
        rows.append(_gatys_on(found, name, SAME, dtype, same, is_trained))
        rows.append(_gatys_on(slim, "slim", SHIPS, dtype, ours, True))
    return rows


def _plain_gatys(vgg19: Encoder, is_trained: bool) -> Contender:
    recipe = d2l_within(vgg19)
    plain = PlainGatys(vgg19, recipe)
    kind = PLAIN if recipe == D2L else FEWER

    def stream(of: Pictures) -> Iterator[Tensor]:
        return map(plain.shown, plain.steps(of.photo, of.style))

    return Contender(f"plain VGG-19 to {recipe.deepest}", kind, "float32", stream, is_trained)


def _gatys_on(
    encoder: Encoder,
    name: str,
    kind: str,
    dtype: torch.dtype,
    settings: gatys.Settings,
    is_trained: bool,
) -> Contender:
    ready = encoder.in_dtype(dtype)  # else each run would convert the weights

    def stream(of: Pictures) -> Iterator[Tensor]:
        for step in gatys.optimize(of.photo, of.style, ready, settings):
            yield step.image

    return Contender(name, kind, name_of(dtype), stream, is_trained)


def _fast(device: torch.device) -> list[Contender]:
    """Return fast nets: the plain one, ours in the paper's width, and the one that ships."""
    plain, same = plain_net().to(device).eval(), TransformNet().to(device).eval()
    rows = [Contender("plain, the paper's width", PLAIN, "float32", _passes(plain))]
    for dtype in dtypes_of(device):
        wide = same.in_dtype(dtype)
        ships = load_net("fast", device=device, precision=_precision(dtype))
        rows += [
            Contender("the paper's width", SAME, name_of(dtype), _passes(wide.stylize)),
            Contender("the net that ships", SHIPS, name_of(dtype), _named_passes(ships), True),
        ]
    return rows


def _adain(device: torch.device) -> list[Contender]:
    """Return AdaIN: plain, ours on VGG-19, and the model that ships, also with its style kept."""
    vgg19 = random_encoder("vgg19")
    decoder = Decoder.of(vgg19, tap="relu4_1", output="sigmoid")
    plain = PlainAdaIN(vgg19, decoder).to(device).eval()
    same = AdaIN(vgg19, decoder).to(device).eval()
    rows = [Contender("plain, VGG-19", PLAIN, "float32", _pair_passes(plain))]
    for dtype in dtypes_of(device):
        wide, name = same.in_dtype(dtype), name_of(dtype)
        ships = load_adain(device=device, precision=_precision(dtype))
        rows += [
            Contender("VGG-19", SAME, name, _pair_passes(wide.stylize)),
            Contender("the model that ships", SHIPS, name, _pair_passes(ships.stylize), True),
            Contender("… its style kept", KEPT, name, _kept_passes(ships), True),
        ]
    return rows


def _passes(paint: Callable[[Tensor], Tensor]) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(paint, of.photo))


def _pair_passes(paint: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Iterator[Tensor]]:
    return lambda of: _again(functools.partial(paint, of.photo, of.style))


def _named_passes(net: TransformNet) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(net.stylize, of.photo, of.style_name))


def _kept_passes(model: AdaIN) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(model.stylize, of.photo, model.style(of.style)))


def _again(paint: Callable[[], Tensor]) -> Iterator[Tensor]:
    while True:
        with torch.no_grad():  # not around the yield: who asks for a picture may want gradients
            picture = paint()
        yield picture


def name_of(dtype: torch.dtype) -> str:
    """Return a dtype's name as rows have it."""
    return str(dtype).removeprefix("torch.")


def _precision(dtype: torch.dtype) -> config.Precision:
    return "float32" if dtype == torch.float32 else "bfloat16"
