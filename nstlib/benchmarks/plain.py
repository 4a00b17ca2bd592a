"""Each method as a reader would type it from a book: the yardsticks of the ratios.

float32, eager, channels first, PyTorch alone. That they compute what the package does, tests hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib.adain import Decoder, Shape
from nstlib.encoders import Encoder

# ------------------------------------------------------------------------------------------- Gatys


@dataclass(frozen=True)
class Recipe:
    """What the plain form of Gatys' method looks at."""

    content_tap: str
    style_taps: tuple[str, ...]

    @property
    def deepest(self) -> str:
        """The last layer that it computes."""
        return max(self.content_tap, self.style_taps[-1])  # conv3_4 comes after conv3_1


# What Dive into Deep Learning's recipe taps: the deepest is conv5_1.
D2L = Recipe("conv4_4", tuple(f"conv{block}_1" for block in range(1, 6)))


def d2l_within(encoder: Encoder) -> Recipe:
    """Return that recipe as far as an encoder goes; a file of VGG-19 may hold its first blocks only.

    The content is then taken at the last convolution, if the encoder ends before conv4_4.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> d2l_within(random_encoder("slim")).deepest, d2l_within(random_encoder("vgg19")) == D2L
        ('conv3_4', True)
    """
    content = D2L.content_tap if D2L.content_tap in encoder.convs else [*encoder.convs][-1]
    return Recipe(content, tuple(tap for tap in D2L.style_taps if tap in encoder.convs))


class PlainGatys:
    """The recipe as a reader would type it from a book: the yardstick of the ratios.

    float32, eager, channels first, every map kept, autograd for every product; d2l's layers.

    Args:
        vgg19: whose weights it has, in copies.
        recipe: what it looks at.
    """

    def __init__(self, vgg19: Encoder, recipe: Recipe = D2L) -> None:
        self.recipe, self.mean, self.std = recipe, vgg19.mean, vgg19.std
        self.layers: list[tuple[str, nn.Module]] = []
        for name, conv in vgg19.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                self.layers.append(("pool", nn.MaxPool2d(2)))
            self.layers.append((name, _typed(conv, padding=1).to(vgg19.mean.device)))
            if name == recipe.deepest:
                break
            self.layers.append(("relu", nn.ReLU()))

    def steps(self, content: Tensor, style: Tensor) -> Iterator[Tensor]:
        """Yield the picture after each step, normalised as VGG-19 sees it."""
        recipe = self.recipe
        with torch.no_grad():
            content_map = self._maps(self.normalized(content))[recipe.content_tap]
            style_maps = self._maps(self.normalized(style))
            grams = {tap: _gram(style_maps[tap]) for tap in recipe.style_taps}
        image = nn.Parameter(self.normalized(content))
        optimizer = torch.optim.Adam([image], lr=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=50, gamma=0.8)
        while True:
            maps = self._maps(image)
            loss = F.mse_loss(maps[recipe.content_tap], content_map)
            for tap in recipe.style_taps:
                loss = loss + 1e4 * F.mse_loss(_gram(maps[tap]), grams[tap])
            loss = loss + 5 * (image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            yield image

    def normalized(self, picture: Tensor) -> Tensor:
        """Return a picture as VGG-19 sees it."""
        return (picture - self.mean) / self.std

    def shown(self, image: Tensor) -> Tensor:
        """Return what :meth:`steps` yields as a picture in [0, 1]."""
        return (image.detach() * self.std + self.mean).clamp(0, 1)

    def _maps(self, image: Tensor) -> dict[str, Tensor]:
        maps = {}
        for name, layer in self.layers:
            image = maps[name] = layer(image)
        return maps


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)[0]  # (C, H·W)
    return flat @ flat.T / flat.numel()


# ------------------------------------------------------------------------------------- fast nets


def plain_net() -> nn.Module:
    """Return the net of the paper as a reader would type it: the yardstick of the ratios.

    float32, eager, channels first, instance norm and ReLU as modules of their own, nearest
    upsampling before a 3×3 convolution.
    """

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="reflect")

    def normed(*before: nn.Module, channels: int) -> list[nn.Module]:
        return [*before, nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = nn.InstanceNorm2d(128, affine=True)
            first = normed(conv(128, 128, 3), channels=128)
            self.body = nn.Sequential(*first, conv(128, 128, 3), norm)

        def forward(self, features: Tensor) -> Tensor:
            out: Tensor = features + self.body(features)
            return out

    return nn.Sequential(
        *normed(conv(3, 32, 9), channels=32),
        *normed(conv(32, 64, 3, 2), channels=64),
        *normed(conv(64, 128, 3, 2), channels=128),
        *(Block() for _ in range(5)),
        *normed(nn.Upsample(scale_factor=2), conv(128, 64, 3), channels=64),
        *normed(nn.Upsample(scale_factor=2), conv(64, 32, 3), channels=32),
        conv(32, 3, 9),
        nn.Sigmoid(),
    )


# ----------------------------------------------------------------------------------------- AdaIN


class PlainAdaIN(nn.Module):
    """AdaIN as a reader would type it: the yardstick of the ratios.

    float32, eager, channels first, a ReLU, an upsampling and a border as modules of their own; both
    pictures are encoded each time.

    Args:
        encoder, decoder: whose weights it has, in copies.

    Raises:
        ValueError: a decoder with more than a mirror of its encoder has.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        plain = Shape(widths=decoder.shape.widths, tap=decoder.shape.tap)
        if decoder.shape != plain:
            raise ValueError(f"decoder has the shape {decoder.shape}; a plain one is {plain}")
        self.register_buffer("mean", encoder.mean.clone())
        self.register_buffer("std", encoder.std.clone())
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for name, before in zip(decoder.shape.layers, (None, *decoder.shape.layers), strict=False):
            is_halved = before is not None and before[:5] != name[:5]  # conv2_1 follows conv1_2
            if is_halved:
                down.append(nn.MaxPool2d(2))
                up.insert(0, nn.Upsample(scale_factor=2))
            down += [_typed(encoder.convs[name], padding=1), nn.ReLU()]
            up[:0] = [nn.ReflectionPad2d(1), _typed(decoder.convs[name]), nn.ReLU()]
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up[:-1], nn.Sigmoid())

    def forward(self, photo: Tensor, painting: Tensor) -> Tensor:
        """Return the photo in the style of the painting."""
        content, style = (
            self.encoder((image - self.mean) / self.std) for image in (photo, painting)
        )
        normalized = (content - _mean(content)) / _std(content)
        painted: Tensor = self.decoder(normalized * _std(style) + _mean(style))
        return painted


def _typed(conv: nn.Module, padding: int = 0) -> nn.Conv2d:
    """Return a plain convolution with the weights of ``conv``."""
    assert isinstance(conv, nn.Conv2d)
    copy = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=padding)
    copy.load_state_dict(conv.state_dict())
    return copy.requires_grad_(False)


def _mean(maps: Tensor) -> Tensor:
    return maps.mean(dim=(2, 3), keepdim=True)


def _std(maps: Tensor) -> Tensor:
    return (maps.var(dim=(2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
