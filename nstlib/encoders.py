"""Encoders: an image in, named feature maps out.

Every method of the course looks at pictures through the convolutions of a VGG. This file holds one
class for them, and the ways to fill it: ``"slim"``, ours, always there; ``"vgg19"``, the
original, where its weights are found; and random weights, for tests and for showing that training
matters.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config
from nstlib.errors import WeightsError
from nstlib.weights import read_weights

Pooling = Literal["max", "avg"]
Padding = Literal["zeros", "reflect", "replicate"]

DEPTHS = (2, 2, 4, 4, 4)  # convolutions in each block of a VGG-19
# Channels of each convolution.
VGG19_WIDTHS = (64,) * 2 + (128,) * 2 + (256,) * 4 + (512,) * 8
# Half of VGG-19's and less, but for relu3_1 and relu3_4: a style is read there, and 128 channels
# after a ReLU cannot stand for VGG-19's 256, though all that is needed to compute them is there.
SLIM_WIDTHS = (32, 32, 64, 64, 256, 96, 96, 256)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# sha256 of conv1_1's float32 weights in the original Caffe release (BGR and 0–255 folded in), which
# tells it from torchvision's own training: the two differ in scale, so absolute loss weights that
# suit one do not suit the other.
_CAFFE_CONV1_1 = "9ec991774a2c5268d99d6ef0fe1101fdd8ff556eada71b501ed5d4cb224120aa"
_TORCHVISION_FILE = "vgg19-dcbb9e9d.pth"


class Encoder(nn.Module):
    """A frozen VGG that returns the feature maps asked for, by name.

    Maps are called ``conv{block}_{i}`` (before the ReLU) and ``relu{block}_{i}`` (after it). The
    image is normalised in here and nowhere else. Nothing deeper than the deepest tap is computed,
    and no map is altered after it was handed out: a ReLU works in place only where nobody asked for
    the map before it.

    Args:
        widths: channels of each convolution, conv1_1 first; as many as there are, the encoder has.
        pooling: what halves the maps between blocks; Gatys et al. found ``"avg"`` smoother.
        padding: how the first convolution pads the picture; ``"replicate"`` avoids the dark frame
            that zeros suggest to the network.
        inner_padding: how the others pad their maps: with zeros, as VGGs are trained.
        name, weights: what the encoder is, and which set of weights it carries.

    Example:
        >>> encoder = random_encoder("slim")
        >>> maps = encoder(torch.zeros(1, 3, 64, 48), taps=("relu1_1", "conv3_1"))
        >>> {tap: tuple(features.shape) for tap, features in maps.items()}
        {'relu1_1': (1, 32, 64, 48), 'conv3_1': (1, 256, 16, 12)}

    Reference:
        Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
        2015.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        widths: Sequence[int],
        *,
        pooling: Pooling = "max",
        padding: Padding = "zeros",
        inner_padding: Padding = "zeros",
        name: str = "vgg",
        weights: str = "random",
    ) -> None:
        super().__init__()
        if pooling not in ("max", "avg"):
            raise ValueError(f"pooling is {pooling!r}; it takes 'max' or 'avg'")
        for argument, mode in (("padding", padding), ("inner_padding", inner_padding)):
            if mode not in ("zeros", "reflect", "replicate"):
                raise ValueError(
                    f"{argument} is {mode!r}; it takes 'zeros', 'reflect' or 'replicate'"
                )
        self.name, self.weights, self.pooling = name, weights, pooling
        self.padding, self.inner_padding = padding, inner_padding
        self.widths = checked_widths(widths)
        self.convs = nn.ModuleDict()
        channels = 3
        for (layer, _), width in zip(conv_names(), self.widths, strict=False):
            mode = padding if layer == "conv1_1" else inner_padding
            self.convs[layer] = nn.Conv2d(channels, width, 3, padding=1, padding_mode=mode)
            channels = width
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        # Channels last is how processors and tensor cores like to convolve: no layout copies.
        self.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the maps that can be asked for, from shallow to deep."""
        return tuple(tap for layer in self.convs for tap in (layer, relu_of(layer)))

    @property
    def channels(self) -> dict[str, int]:
        """The number of channels of each tap."""
        return {tap: self.widths[i // 2] for i, tap in enumerate(self.taps)}

    @property
    def strides(self) -> dict[str, int]:
        """How many pixels of the picture one step in each tap's map covers."""
        return {tap: 2 ** (block_of(tap) - 1) for tap in self.taps}

    @property
    def mirrors(self) -> bool:
        """Whether every convolution sees its maps go on as in a mirror."""
        return self.padding == self.inner_padding == "reflect"

    @property
    def identity(self) -> dict[str, str]:
        """What tells this encoder from others: a model that was trained with it needs the same."""
        return {
            "name": self.name,
            "weights": self.weights,
            "pooling": self.pooling,
            "padding": self.padding,
            "inner_padding": self.inner_padding,
        }

    @property
    def dtype(self) -> torch.dtype:
        """What the convolutions compute in, and what the maps come in."""
        return next(self.parameters()).dtype

    def forward(self, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return the maps named in ``taps``, each ``(N, C, H/stride, W/stride)``, in that order.

        Args:
            image: ``(N, 3, H, W)`` in [0, 1].
            taps: names from :attr:`taps`.

        Raises:
            ValueError: a tap that the encoder lacks, or an image of another shape or too small.
            TypeError: an image that is no floating-point tensor.
        """
        self._check(image, taps)
        wanted, maps = set(taps), {}
        normalised = (image - self.mean) / self.std
        features = normalised.to(self.dtype, memory_format=torch.channels_last)
        for layer, conv in self.convs.items():
            if layer.endswith("_1") and layer != "conv1_1":
                features = self._pool(features)
            features = conv(features)
            if layer in wanted:
                maps[layer] = features
            if len(maps) == len(wanted):  # what nobody asked for is not kept: it can be gigabytes
                break
            # In place where nobody holds the map before it: memory for one map less.
            features = F.relu(features, inplace=layer not in wanted)
            if relu_of(layer) in wanted:
                maps[relu_of(layer)] = features
            if len(maps) == len(wanted):
                break
        return {tap: maps[tap] for tap in taps}

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """Return this encoder computing in ``dtype``: itself, or a copy."""
        if dtype == self.dtype:
            return self
        twin = copy.deepcopy(self)
        # Not mean and std: rounded, they would shift every picture.
        twin.convs.to(dtype)
        return twin

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: an encoder is an instrument, not something that is trained here."""
        return super().train(False)

    def _pool(self, features: Tensor) -> Tensor:
        pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
        return pool(features, kernel_size=2)

    def _check(self, image: Tensor, taps: Sequence[str]) -> None:
        check_taps(self, taps)
        if not isinstance(image, Tensor) or not image.is_floating_point():
            found = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise TypeError(f"image is {found}; it must be a floating-point tensor in [0, 1]")
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image has shape {tuple(image.shape)}; it must be (N, 3, H, W)")
        stride = max((self.strides[tap] for tap in taps), default=1)
        smallest = max(stride, 2) if self.padding == "reflect" else stride  # a pixel has no mirror
        if self.inner_padding == "reflect":
            smallest = 2 * stride
        if min(image.shape[2:]) < smallest:
            raise ValueError(
                f"image is {image.shape[2]}×{image.shape[3]} px; "
                f"{max(taps, key=self.strides.__getitem__)} needs at least {smallest} px a side"
            )


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return ``widths`` as a tuple, or raise ValueError where no encoder can have such.

    Example:
        >>> checked_widths([32, 64])
        (32, 64)
    """
    if not 1 <= len(widths) <= len(VGG19_WIDTHS):
        raise ValueError(f"widths has {len(widths)} values; it takes 1 to {len(VGG19_WIDTHS)}")
    if not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(f"widths is {widths!r}; it takes whole numbers above 0")
    return tuple(widths)


def check_taps(encoder: Encoder, taps: Sequence[str], argument: str = "taps") -> None:
    """Raise ValueError unless ``encoder`` has every tap, naming those it has.

    Example:
        >>> check_taps(random_encoder("slim"), ["relu4_1"])
        Traceback (most recent call last):
        ...
        ValueError: taps asks for relu4_1, which encoder 'slim' (random weights) lacks; it has \
conv1_1 … relu3_4 (conv1_1, conv1_2, conv2_1, conv2_2, conv3_1, conv3_2, conv3_3, conv3_4, and a \
relu after each)
    """
    if isinstance(taps, str):
        raise TypeError(f"{argument} is the string {taps!r}; it must be a sequence of names")
    missing = [tap for tap in taps if tap not in encoder.taps]
    if missing:
        raise ValueError(
            f"{argument} asks for {', '.join(map(str, missing))}, which encoder {encoder.name!r} "
            f"({encoder.weights} weights) lacks; it has {encoder.taps[0]} … {encoder.taps[-1]} "
            f"({', '.join(encoder.convs)}, and a relu after each)"
        )


def conv_names(depths: Sequence[int] = DEPTHS) -> Iterator[tuple[str, int]]:
    """Yield the name of each convolution, and its block, from shallow to deep.

    Example:
        >>> list(conv_names([2, 1]))
        [('conv1_1', 1), ('conv1_2', 1), ('conv2_1', 2)]
    """
    for block, depth in enumerate(depths, start=1):
        for i in range(1, depth + 1):
            yield f"conv{block}_{i}", block


def mirrored_maps(encoder: Encoder, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """Return the maps of pictures as if these were parts of larger ones, which go on as in a mirror.

    An encoder pads its maps with zeros, and so sees a dark frame around every picture. Where a net
    makes the picture that would not do: it would learn to paint a frame. One that mirrors by itself
    (:attr:`Encoder.mirrors`) is asked as it is.

    Args:
        encoder: whose eyes to look with.
        image: ``(N, 3, H, W)`` in [0, 1], of more than 8 pixels a side, and than the taps' strides.
        taps: names from :attr:`Encoder.taps`.

    Raises:
        ValueError: the pictures are too small.

    Example:
        >>> encoder, flat = random_encoder("slim"), torch.full((1, 3, 32, 32), 0.4)
        >>> framed = encoder(flat, ["relu1_2"])["relu1_2"]
        >>> mirrored = mirrored_maps(encoder, flat, ["relu1_2"])["relu1_2"]
        >>> framed.std(dim=(2, 3)).max() > 0.01, mirrored.std(dim=(2, 3)).max() < 1e-5
        (tensor(True), tensor(True))
    """
    maps: dict[str, Tensor]
    if encoder.mirrors:
        maps = encoder(image, taps)
        return maps
    border = mirrored_border(encoder, taps)
    if min(image.shape[2:]) <= border:
        raise ValueError(
            f"image is {image.shape[2]} × {image.shape[3]} px; to be mirrored at its edges it needs "
            f"more than {border} px a side"
        )
    maps = encoder(F.pad(image, (border,) * 4, mode="reflect"), taps)
    inside = {
        tap: slice(border // encoder.strides[tap], -border // encoder.strides[tap]) for tap in taps
    }
    # Copied: on a processor, sums over a part of a larger map take nine times as long.
    return {
        tap: features[:, :, inside[tap], inside[tap]].contiguous(memory_format=torch.channels_last)
        for tap, features in maps.items()
    }


def mirrored_border(encoder: Encoder, taps: Sequence[str]) -> int:
    """Return how many pixels of the mirror's picture :func:`mirrored_maps` lays around another.

    Example:
        >>> mirrored_border(random_encoder("slim"), ["relu1_1"])
        8
    """
    return max([8, *(encoder.strides[tap] for tap in taps)])


def torchvision_indices() -> dict[str, int]:
    """Return where each convolution stands in torchvision's ``vgg19().features``.

    Its list counts convolutions, ReLUs and pools alike, which is why bare integers go wrong:
    index 21 is conv4_2, and index 25, often taken for it, is conv4_4.

    Example:
        >>> torchvision_indices()["conv4_2"], torchvision_indices()["conv4_4"]
        (21, 25)
    """
    # A convolution and its ReLU take two places, and the pool after each finished block one more.
    return {
        layer: 2 * position + (block - 1)
        for position, (layer, block) in enumerate(conv_names(DEPTHS))
    }


def load_encoder(
    name: str = "slim",
    *,
    weights: str | Path | None = None,
    pooling: Pooling = "max",
    padding: Padding | None = None,
    device: str | torch.device = "cpu",
) -> Encoder:
    """Return the encoder ``name``, frozen, in float32.

    Args:
        name: ``"slim"`` ships with the package: blocks 1 to 3 of a narrower VGG, distilled from
            VGG-19. ``"vgg19"`` is the original: its file is looked for in ``NSTLIB_WEIGHTS``, then
            in torch hub's cache, else downloaded once (548 MB) and checked. A file with the first
            blocks only gives an encoder with fewer taps.
        weights: a file to load instead of those. A ``"vgg19"`` may also be the
            ``vgg_normalised.pth`` of AdaIN's port to PyTorch, which pads by reflection everywhere.
        pooling, padding: see :class:`Encoder`; pads as the weights were trained to where it is None.
        device: where it computes.

    Raises:
        ValueError: an unknown name.
        WeightsError: no file and no network, or a file that does not hold these weights.

    Example:
        >>> encoder = load_encoder("slim")
        >>> encoder.channels["relu3_1"], encoder.strides["relu3_1"], encoder.weights
        (256, 4, 'distilled from VGG-19')
    """
    path = Path(weights) if weights is not None else None
    if name == "slim":
        path = path or config.data_dir() / "weights" / "slim.safetensors"
        encoder = _load_slim(path, pooling, padding or "zeros")
    elif name == "vgg19":
        encoder = _load_vgg19(path or find_vgg19_weights() or _download_vgg19(), pooling, padding)
    else:
        raise ValueError(f"name is {name!r}; it takes 'slim' or 'vgg19'")
    return encoder.to(config.pick_device(device))


def random_encoder(
    name: str = "slim", seed: int = 0, *, pooling: Pooling = "max", padding: Padding = "zeros"
) -> Encoder:
    """Return an encoder of the named shape with random weights: the control in every comparison.

    The weights keep the scale of the maps from layer to layer (He initialisation), so what it lacks
    is training, not numerical health.

    Example:
        >>> random_encoder("vgg19").taps[-1]
        'relu5_4'
    """
    shapes = {"slim": SLIM_WIDTHS, "vgg19": VGG19_WIDTHS}
    if name not in shapes:
        raise ValueError(f"name is {name!r}; it takes 'slim' or 'vgg19'")
    encoder = Encoder(shapes[name], pooling=pooling, padding=padding, name=name)
    generator = torch.Generator().manual_seed(seed)
    for conv in encoder.convs.values():
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return encoder


def find_vgg19_weights() -> Path | None:
    """Return the file of VGG-19 weights on this machine, or None.

    Looks in ``NSTLIB_WEIGHTS`` (a folder or a file, or several joined by the system's path
    separator), then in torch hub's cache. A file is taken whatever its name is; of a folder's
    ``vgg19*`` files the largest has the most blocks, and a folder without one is passed over.

    Raises:
        WeightsError: ``NSTLIB_WEIGHTS`` names a place that does not exist.
    """
    for place in config.weights_dirs():
        if place.is_file():
            return place
        if not place.is_dir():
            raise WeightsError(f"NSTLIB_WEIGHTS names {place}, and there is no such file or folder")
        files = [path for path in sorted(place.glob("vgg19*")) if _may_be_vgg19(path)]
        if files:
            return max(files, key=lambda path: path.stat().st_size)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _TORCHVISION_FILE
    return cached if cached.is_file() else None


def _may_be_vgg19(path: Path) -> bool:
    named_so = path.name.startswith("vgg19") and not path.name.startswith("vgg19_bn")
    return named_so and path.suffix in (".safetensors", ".pth")


def _load_slim(path: Path, pooling: Pooling, padding: Padding) -> Encoder:
    state, facts = read_weights(path)
    try:
        widths, source = checked_widths(facts["widths"]), str(facts["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: holds no encoder of ours, by its 'config': {error}") from error
    encoder = Encoder(widths, pooling=pooling, padding=padding, name="slim", weights=source)
    return _fill(encoder, state, path)


def _load_vgg19(path: Path, pooling: Pooling, padding: Padding | None) -> Encoder:
    state, _ = read_weights(path)
    is_of_port = "0.weight" in state and state["0.weight"].shape == (3, 3, 1, 1)
    if is_of_port:
        state = _from_adain_port(state, path)
    present = {
        layer: index
        for layer, index in torchvision_indices().items()
        if f"features.{index}.weight" in state
    }
    expected = [layer for layer, _ in conv_names()][: len(present)]
    if not present or list(present) != expected:
        raise WeightsError(
            f"{path}: is no VGG-19: its convolutions are {', '.join(present) or 'none'}, where "
            "conv1_1 and those after it, without a gap, are wanted under torchvision's names, or "
            "those of vgg_normalised.pth"
        )
    trained_with: Padding = "reflect" if is_of_port else "zeros"
    encoder = Encoder(
        VGG19_WIDTHS[: len(present)],
        pooling=pooling,
        padding=padding or trained_with,
        inner_padding=trained_with,
        name="vgg19",
        weights=_whose(state["features.0.weight"], path),
    )
    renamed = {
        f"convs.{layer}.{part}": state[f"features.{index}.{part}"]
        for layer, index in present.items()
        for part in ("weight", "bias")
        if f"features.{index}.{part}" in state
    }
    return _fill(encoder, renamed, path)


def _from_adain_port(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights of a ``vgg_normalised.pth`` under torchvision's names.

    Its first layer is a 1×1 convolution A·x + b of pictures in [0, 1], ours is (x − mean) / std. A
    map of each pixel by itself commutes with padding by reflection, so both become one with conv1_1:
    as A·(std·n + mean) + b of the normalised pixel n.
    """
    # Each convolution comes after its own padding and before its ReLU: three places for our two.
    state = {
        f"features.{index}.{part}": theirs[f"{_port_index(layer)}.{part}"]
        for layer, index in torchvision_indices().items()
        for part in ("weight", "bias")
        if f"{_port_index(layer)}.{part}" in theirs
    }
    mean, std = (torch.tensor(values).double() for values in (IMAGENET_MEAN, IMAGENET_STD))
    try:
        colours, offset = theirs["0.weight"].double().flatten(1), theirs["0.bias"].double()
        weight, bias = state["features.0.weight"].double(), state["features.0.bias"].double()
        state["features.0.weight"] = torch.einsum("oikl,ij->ojkl", weight, colours * std)
        state["features.0.bias"] = bias + weight.sum(dim=(2, 3)) @ (colours @ mean + offset)
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: its 1×1 convolution '0' and conv1_1, '2', do not fit together, or are not "
            f"whole: {error}"
        ) from error
    return state


def _port_index(layer: str) -> int:
    """Return where a convolution stands in ``vgg_normalised.pth``: conv1_1 at 2, conv4_1 at 29."""
    position = [name for name, _ in conv_names()].index(layer)
    return 2 + 3 * position + block_of(layer) - 1  # and one more for each pool


def _whose(conv1_1: Tensor, path: Path) -> str:
    """Tell the two sets of VGG-19 weights in use apart, by their numbers and never by a guess."""
    digest = hashlib.sha256(conv1_1.float().contiguous().numpy().tobytes()).hexdigest()
    if digest == _CAFFE_CONV1_1:
        return "caffe"
    if path.name == _TORCHVISION_FILE:  # the name promises how the file's own hash begins
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest()[:8] in path.stem:
                return "torchvision"
    return f"unknown ({path.name})"


def _fill(encoder: Encoder, state: Mapping[str, Tensor], path: Path) -> Encoder:
    try:
        encoder.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit encoder {encoder.name!r}: {error}") from error
    return encoder


def _download_vgg19() -> Path:
    """Fetch torchvision's VGG-19 into torch hub's cache, with progress and a checksum."""
    from torchvision.models import VGG19_Weights

    try:
        VGG19_Weights.IMAGENET1K_V1.get_state_dict(
            progress=True, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"VGG-19 is not on this machine and cannot be downloaded ({error}). Either put a "
            f"vgg19*.pth or vgg19*.safetensors file into a folder and name the folder in the "
            f"environment variable NSTLIB_WEIGHTS, or use the encoder that ships: 'slim'"
        ) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / _TORCHVISION_FILE


def relu_of(layer: str) -> str:
    """Return the tap after the ReLU that follows a convolution."""
    return layer.replace("conv", "relu")


def block_of(tap: str) -> int:
    """Return the block that a tap or a convolution belongs to, counted from 1."""
    match = re.fullmatch(r"(?:conv|relu)(\d+)_\d+", tap)
    if match is None:
        raise ValueError(f"tap is {tap!r}; taps are called like 'conv3_1' or 'relu3_1'")
    return int(match.group(1))
