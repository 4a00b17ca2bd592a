"""An encoder is torchvision's VGG-19 by names, frozen, lazy and safe to tap; bad files are named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nstlib import WeightsError, config, encoders, sample
from nstlib.encoders import (
    SLIM_WIDTHS,
    VGG19_WIDTHS,
    Encoder,
    find_vgg19_weights,
    load_encoder,
    mirrored_maps,
    random_encoder,
)

State = dict[str, Tensor]

ALL_TAPS = tuple(
    f"{kind}{block}_{i}"
    for block, depth in enumerate((2, 2, 4, 4, 4), start=1)
    for i in range(1, depth + 1)
    for kind in ("conv", "relu")
)


def torchvision_features() -> nn.Sequential:
    """Torchvision's own VGG-19, random, with biases that are not zero."""
    features: nn.Sequential = torchvision.models.vgg.make_layers(
        torchvision.models.vgg.cfgs["E"], batch_norm=False
    )
    generator = torch.Generator().manual_seed(0)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            assert module.bias is not None
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return features.requires_grad_(False)


def as_file(features: nn.Sequential) -> State:
    """The tensors under the names of torchvision's checkpoint."""
    return {f"features.{key}": value for key, value in features.state_dict().items()}


def first_blocks(state: State, last_index: int) -> State:
    return {key: value for key, value in state.items() if int(key.split(".")[1]) <= last_index}


def normalised(image: Tensor) -> Tensor:
    """The ImageNet normalisation, by hand."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    channels = [(image[:, c] - mean[c]) / std[c] for c in range(3)]
    return torch.stack(channels, dim=1)


def assert_same_maps(ours: Tensor, theirs: Tensor) -> None:
    """Equal but for the order in which float32 adds up: 1e-5 of the largest value."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.fixture(scope="module")
def features() -> nn.Sequential:
    return torchvision_features()


@pytest.fixture(scope="module")
def full_file(features: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg19-random.pth"
    torch.save(as_file(features), path)
    return path


@pytest.fixture(scope="module")
def vgg19(full_file: Path) -> Encoder:
    return load_encoder("vgg19", weights=full_file)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 3, 33, 46, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no VGG-19 anywhere."""
    monkeypatch.delenv("NSTLIB_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def two_convs(features: nn.Sequential) -> State:
    """The smallest file that is a VGG-19: its first block."""
    return first_blocks(as_file(features), 2)


# ------------------------------------------------------------------------- parity with torchvision


@pytest.fixture(scope="module")
def torchvision_maps(features: nn.Sequential, image: Tensor) -> dict[int, Tensor]:
    """What each of torchvision's modules gives; the clones keep its in-place ReLUs off them."""
    maps, values = {}, normalised(image)
    for index, module in enumerate(features):
        values = maps[index] = module(values.clone())
    return maps


def test_every_map_is_that_of_torchvisions_own_module(
    vgg19: Encoder, torchvision_maps: dict[int, Tensor], image: Tensor
) -> None:
    maps = vgg19(image, ALL_TAPS)
    assert tuple(maps) == ALL_TAPS
    for layer, index in encoders.torchvision_indices().items():
        assert_same_maps(maps[layer], torchvision_maps[index])
        assert_same_maps(maps[layer.replace("conv", "relu")], torchvision_maps[index + 1])


def test_index_25_is_conv4_4_and_21_is_conv4_2(
    vgg19: Encoder, torchvision_maps: dict[int, Tensor], image: Tensor
) -> None:
    maps = vgg19(image, ["conv4_2", "conv4_4"])
    assert_same_maps(maps["conv4_2"], torchvision_maps[21])
    assert_same_maps(maps["conv4_4"], torchvision_maps[25])


@pytest.mark.parametrize(
    ("stop", "layer"),
    [(3, "conv1_2"), (8, "conv2_2"), (17, "conv3_4"), (26, "conv4_4"), (35, "conv5_4")],
)
def test_slices_that_stop_at_these_indices_end_before_the_relu(
    vgg19: Encoder, torchvision_maps: dict[int, Tensor], image: Tensor, stop: int, layer: str
) -> None:
    sliced = torchvision_maps[stop - 1]  # the last module of features[:stop]
    relu = layer.replace("conv", "relu")
    maps = vgg19(image, [layer, relu])
    assert_same_maps(maps[layer], sliced)
    assert (maps[layer] < 0).any()
    assert (maps[relu] >= 0).all()


def test_torchvisions_in_place_relu_alters_a_saved_map_and_ours_does_not(
    vgg19: Encoder, features: nn.Sequential, image: Tensor
) -> None:
    saved = features[0](normalised(image))
    before = saved.clone()
    features[1](saved)
    assert not torch.equal(saved, before), "torchvision's ReLUs are in place no longer"
    ours = vgg19(image, ["conv1_1", "relu5_4"])["conv1_1"]
    assert_same_maps(ours, before)


def test_the_normalisation_is_inside(
    vgg19: Encoder, features: nn.Sequential, image: Tensor
) -> None:
    forgotten = features[0](image)
    ours = vgg19(image, ["conv1_1"])["conv1_1"]
    assert_same_maps(ours, features[0](normalised(image)))
    assert (ours - forgotten).abs().max() > 0.1 * ours.abs().max()


# ------------------------------------------------------------------------------------ tap by tap


class CountCalls(TorchFunctionMode):
    """Counts the network's operations by name, however they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if any(part in name for part in ("conv2d", "relu", "max_pool2d")):
            self.calls[name.strip("_")] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("tap", "convolutions", "relus", "pools"),
    [
        ("conv1_1", 1, 0, 0),
        ("relu1_1", 1, 1, 0),
        ("relu1_2", 2, 2, 0),
        ("conv2_1", 3, 2, 1),
        ("relu3_4", 8, 8, 2),
        ("conv5_1", 13, 12, 4),
    ],
)
def test_nothing_is_computed_beyond_the_deepest_tap(
    vgg19: Encoder, tap: str, convolutions: int, relus: int, pools: int
) -> None:
    ran: list[str] = []
    hooks = [
        conv.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, conv in vgg19.convs.items()
    ]
    with CountCalls() as counted:
        vgg19(torch.rand(1, 3, 16, 16), ["relu1_1", tap] if tap != "conv1_1" else [tap])
    for hook in hooks:
        hook.remove()
    assert ran == list(vgg19.convs)[:convolutions]
    assert counted.calls["conv2d"] == convolutions
    assert counted.calls["relu"] == relus
    assert counted.calls["max_pool2d"] == pools


def test_a_map_is_the_same_whatever_else_is_asked_for(image: Tensor) -> None:
    encoder = random_encoder()
    together = encoder(image, encoder.taps)
    for tap in encoder.taps:
        assert torch.equal(encoder(image, [tap])[tap], together[tap])


def test_maps_come_in_the_order_asked_for_and_once_each(image: Tensor) -> None:
    maps = random_encoder()(image, ["relu3_1", "conv1_1", "relu3_1"])
    assert list(maps) == ["relu3_1", "conv1_1"]


def test_only_the_maps_asked_for_are_kept(image: Tensor) -> None:
    """Encoding a large style under no_grad must not hold sixteen layers in memory at once."""
    encoder = random_encoder()
    alive: list[int] = []
    references: list[Any] = []

    def watch(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        references.append(weakref.ref(output))
        alive.append(sum(reference() is not None for reference in references))

    for conv in encoder.convs.values():
        conv.register_forward_hook(watch)
    with torch.no_grad():
        encoder(image, ["relu3_4"])
    assert max(alive) <= 2


def test_names_channels_and_strides(vgg19: Encoder, image: Tensor) -> None:
    assert vgg19.taps == ALL_TAPS
    maps = vgg19(image, vgg19.taps)
    for tap, features in maps.items():
        stride = vgg19.strides[tap]
        height, width = image.shape[2] // stride, image.shape[3] // stride
        assert features.shape == (1, vgg19.channels[tap], height, width)
    assert [vgg19.channels[f"conv{block}_1"] for block in range(1, 6)] == [64, 128, 256, 512, 512]
    assert [vgg19.strides[f"relu{block}_1"] for block in range(1, 6)] == [1, 2, 4, 8, 16]


def test_images_of_a_batch_do_not_mix(image: Tensor) -> None:
    encoder = random_encoder()
    batch = torch.cat([image.flip(3), image])
    together = encoder(batch, ["relu3_4"])["relu3_4"]
    alone = encoder(image, ["relu3_4"])["relu3_4"]
    assert_same_maps(together[1:], alone)


def test_it_is_frozen_and_stays_in_eval_mode() -> None:
    encoder = random_encoder()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.train() is encoder
    assert not any(module.training for module in encoder.modules())
    assert not any(module.training for module in nn.Sequential(encoder).train()[0].modules())


def test_the_gradient_reaches_the_image_and_no_weight(image: Tensor) -> None:
    encoder = random_encoder()
    pixels = image.clone().requires_grad_()
    torch.autograd.backward(encoder(pixels, ["relu3_4"])["relu3_4"].square().mean())
    assert pixels.grad is not None
    assert (pixels.grad != 0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in encoder.parameters())


# ------------------------------------------------------------------------- pooling, padding, dtype


def test_average_pooling_halves_by_means(image: Tensor) -> None:
    highest, mean = random_encoder(seed=3), random_encoder(seed=3, pooling="avg")
    assert torch.equal(highest(image, ["relu1_2"])["relu1_2"], mean(image, ["relu1_2"])["relu1_2"])
    maps = mean(image, ["relu1_2", "conv2_1"])
    conv = mean.convs["conv2_1"]
    height, width = image.shape[2] // 2 * 2, image.shape[3] // 2 * 2
    cropped = maps["relu1_2"][:, :, :height, :width]
    cells = cropped.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))  # (N, C, H/2, 2, W/2, 2)
    assert_same_maps(maps["conv2_1"], conv(cells.mean(dim=(3, 5))))
    assert_same_maps(highest(image, ["conv2_1"])["conv2_1"], conv(cells.amax(dim=(3, 5))))


@pytest.mark.parametrize("inner_padding", ["reflect", "replicate"])
def test_the_inner_padding_is_that_of_all_other_convolutions(
    image: Tensor, inner_padding: encoders.Padding
) -> None:
    encoder = Encoder((4, 5, 6, 7), padding="zeros", inner_padding=inner_padding)
    maps = encoder(image, encoder.taps)
    first = encoder.convs["conv1_1"]
    assert isinstance(first, nn.Conv2d)
    wanted = F.conv2d(normalised(image), first.weight, first.bias, padding=1)
    assert_same_maps(maps["conv1_1"], wanted)
    before = {
        "conv1_2": maps["relu1_1"],
        "conv2_1": F.max_pool2d(maps["relu1_2"], 2),
        "conv2_2": maps["relu2_1"],
    }
    for layer, features in before.items():
        conv = encoder.convs[layer]
        assert isinstance(conv, nn.Conv2d)
        padded = F.pad(features, (1, 1, 1, 1), mode=inner_padding)
        assert_same_maps(maps[layer], F.conv2d(padded, conv.weight, conv.bias))


def test_maps_of_mirrored_pictures_lie_together_in_memory(image: Tensor) -> None:
    """Sums over a view of larger maps would take many times as long."""
    maps = mirrored_maps(random_encoder("slim"), image, ["relu1_1", "relu2_1"])
    for features in maps.values():
        assert features.is_contiguous(memory_format=torch.channels_last)


def test_an_encoder_that_mirrors_by_itself_needs_no_border(image: Tensor) -> None:
    torch.manual_seed(0)
    mirroring = Encoder((4, 4, 6, 6, 8), padding="reflect", inner_padding="reflect")
    assert mirroring.mirrors
    framed = Encoder((4, 4, 6, 6, 8), padding="reflect")
    assert not framed.mirrors
    framed.load_state_dict(mirroring.state_dict())
    flat, even = torch.full((1, 3, 32, 32), 0.4), image[:, :, :32, :44]
    taps = ["relu1_2", "conv3_1"]
    assert mirroring(flat, taps)["conv3_1"].std(dim=(2, 3)).max() < 1e-6
    assert framed(flat, taps)["conv3_1"].std(dim=(2, 3)).max() > 1e-3
    for tap, features in mirrored_maps(mirroring, even, taps).items():
        assert torch.equal(features, mirroring(even, taps)[tap])
        # The other knows a border of 8 px: farther inside than any frame shows, they see the same.
        other = mirrored_maps(framed, even, taps)[tap]
        margin = 12 // mirroring.strides[tap]
        inside = (..., slice(margin, -margin), slice(margin, -margin))
        assert_same_maps(features[inside], other[inside])


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_the_padding_is_that_of_the_first_convolution_alone(
    image: Tensor, padding: encoders.Padding
) -> None:
    zeros, other = random_encoder(), random_encoder(padding=padding)
    conv = zeros.convs["conv1_1"]
    assert isinstance(conv, nn.Conv2d)
    padded = F.pad(normalised(image), (1, 1, 1, 1), mode=padding)
    found = other(image, ["conv1_1", "conv1_2"])
    assert_same_maps(found["conv1_1"], F.conv2d(padded, conv.weight, conv.bias))
    second = zeros.convs["conv1_2"]
    assert_same_maps(found["conv1_2"], second(F.relu(found["conv1_1"])))
    inside = (..., slice(1, -1), slice(1, -1))
    assert_same_maps(found["conv1_1"][inside], zeros(image, ["conv1_1"])["conv1_1"][inside])


def test_replicate_padding_sees_no_frame_on_a_flat_picture() -> None:
    flat = torch.full((1, 3, 12, 12), 0.9)

    def spread(padding: encoders.Padding) -> float:
        features = random_encoder(padding=padding)(flat, ["conv1_1"])["conv1_1"]
        return (features - features[..., 6:7, 6:7]).abs().max().item()

    assert spread("replicate") < 1e-5
    assert spread("zeros") > 0.1


@pytest.mark.parametrize("name", ["slim", "vgg19"])
@pytest.mark.parametrize("option", ["pooling", "padding"])
def test_an_unknown_choice_is_the_callers_mistake_not_the_files(
    name: str, option: str, full_file: Path
) -> None:
    choice: Any = {option: "median"}
    for make in (
        lambda: load_encoder(name, weights=full_file if name == "vgg19" else None, **choice),
        lambda: random_encoder(name, **choice),
    ):
        with pytest.raises(ValueError, match=f"{option} is 'median'; it takes"):
            make()


def test_in_dtype_is_a_copy_that_normalises_as_finely_as_before(image: Tensor) -> None:
    encoder = random_encoder()
    assert encoder.in_dtype(torch.float32) is encoder
    coarse = encoder.in_dtype(torch.bfloat16)
    assert (coarse.dtype, encoder.dtype) == (torch.bfloat16, torch.float32)
    # 0.485 has no short binary form: rounded to bfloat16 it would shift every picture.
    assert torch.equal(coarse.mean, encoder.mean)
    assert torch.equal(coarse.std, encoder.std)
    found, exact = (e(image, ["relu3_4"])["relu3_4"] for e in (coarse, encoder))
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).norm() < 0.02 * exact.norm()
    assert all(not parameter.requires_grad for parameter in coarse.parameters())


def test_random_encoders_are_seeded_and_keep_the_scale_of_the_maps(image: Tensor) -> None:
    one, same, other = random_encoder(seed=1), random_encoder(seed=1), random_encoder(seed=2)
    weights = [encoder.convs["conv2_1"].weight for encoder in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    energies = [features.square().mean().item() for features in one(image, one.taps).values()]
    assert max(energies) < 100 * min(energies)


# ------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (torch.zeros(3, 8, 8), ValueError, r"image has shape \(3, 8, 8\); it must be \(N, 3, H, W"),
        (torch.zeros(1, 4, 8, 8), ValueError, r"image has shape \(1, 4, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "image is torch.uint8"),
        ("photo.jpg", TypeError, "image is str"),
        (torch.zeros(1, 3, 40, 3), ValueError, "image is 40×3 px; relu3_1 needs at least 4 px"),
    ],
)
def test_a_wrong_image_is_named(picture: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        random_encoder()(picture, ["conv1_1", "relu3_1"])


def test_reflection_needs_two_pixels() -> None:
    with pytest.raises(ValueError, match=r"image is 1×9 px; .* needs at least 2 px"):
        random_encoder(padding="reflect")(torch.zeros(1, 3, 1, 9), ["conv1_1"])
    inside = Encoder((4, 4, 6), padding="reflect", inner_padding="reflect")
    with pytest.raises(ValueError, match=r"image is 3×9 px; relu2_1 needs at least 4 px"):
        inside(torch.zeros(1, 3, 3, 9), ["relu2_1"])
    assert inside(torch.zeros(1, 3, 4, 5), ["relu2_1"])["relu2_1"].shape == (1, 6, 2, 2)


def test_the_smallest_image_still_has_its_deepest_map(vgg19: Encoder) -> None:
    maps = vgg19(torch.rand(1, 3, 16, 16), ["relu5_4"])
    assert maps["relu5_4"].shape == (1, 512, 1, 1)


def test_a_missing_tap_is_an_error_that_names_those_it_has() -> None:
    encoder = random_encoder()
    with pytest.raises(ValueError, match=r"asks for conv5_1, which encoder 'slim'.*relu3_4"):
        encoder(torch.zeros(1, 3, 8, 8), ["relu1_1", "conv5_1"])
    with pytest.raises(ValueError, match="asks for 25"):
        encoder(torch.zeros(1, 3, 8, 8), [25])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="taps is the string 'relu1_1'"):
        encoder(torch.zeros(1, 3, 8, 8), "relu1_1")


@pytest.mark.parametrize("make", [load_encoder, random_encoder])
def test_an_unknown_name_is_an_error(make: Callable[[str], Encoder]) -> None:
    with pytest.raises(ValueError, match="name is 'vgg16'; it takes 'slim' or 'vgg19'"):
        make("vgg16")


# ----------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("last_index", "widths"),
    [(0, (64,)), (2, (64, 64)), (12, (64, 64, 128, 128, 256, 256)), (16, VGG19_WIDTHS[:8])],
)
def test_a_file_of_the_first_blocks_is_an_encoder_with_fewer_taps(
    features: nn.Sequential,
    vgg19: Encoder,
    image: Tensor,
    tmp_path: Path,
    last_index: int,
    widths: tuple[int, ...],
) -> None:
    path = tmp_path / "vgg19-part.safetensors"
    save_file(first_blocks(as_file(features), last_index), path)
    encoder = load_encoder("vgg19", weights=path)
    assert encoder.widths == widths
    assert encoder.taps == ALL_TAPS[: 2 * len(widths)]
    deepest = encoder.taps[-1]
    assert torch.equal(encoder(image, [deepest])[deepest], vgg19(image, [deepest])[deepest])
    with pytest.raises(ValueError, match=f"asks for relu5_4.* lacks; it has conv1_1 … {deepest}"):
        encoder(image, ["relu5_4"])


def test_half_precision_and_parameters_load_as_float32(two_convs: State, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in two_convs.items()}, half)
    assert load_encoder("vgg19", weights=half).dtype == torch.float32
    trained = tmp_path / "parameters.pth"
    torch.save({key: nn.Parameter(value.clone()) for key, value in two_convs.items()}, trained)
    encoder = load_encoder("vgg19", weights=str(trained))
    assert torch.equal(encoder.convs["conv1_1"].weight, two_convs["features.0.weight"])
    assert not encoder.convs["conv1_1"].weight.requires_grad


class Mischief:
    """A pickle that runs code when it is opened without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def corrupt(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def saved(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def pth_bytes(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def without(state: State, key: str) -> State:
    return {name: value for name, value in state.items() if name != key}


BAD_FILES: dict[str, Callable[[Path, State], Path]] = {
    "missing": lambda d, s: d / "vgg19-nowhere.pth",
    "a folder": lambda d, s: d,
    "empty pth": lambda d, s: corrupt(d / "vgg19.pth", b""),
    "empty safetensors": lambda d, s: corrupt(d / "vgg19.safetensors", b""),
    "text": lambda d, s: corrupt(d / "vgg19.pth", b"<html>404: not found</html>"),
    "text as safetensors": lambda d, s: corrupt(d / "vgg19.safetensors", b"<html>404</html>" * 9),
    "truncated pth": lambda d, s: corrupt(d / "vgg19.pth", pth_bytes(s)[:-5000]),
    "truncated safetensors": lambda d, s: corrupt(
        d / "v.safetensors", saved(s, d / "whole.safetensors").read_bytes()[:-5000]
    ),
    "pickle": lambda d, s: corrupt(d / "vgg19.pth", pickle.dumps({"features.0.weight": [1.0]})),
    "a list": lambda d, s: corrupt(d / "vgg19.pth", pth_bytes(list(s.values()))),
    "nested": lambda d, s: corrupt(d / "vgg19.pth", pth_bytes({"state_dict": s})),
    "no tensors": lambda d, s: saved({}, d / "vgg19.pth"),
    "another model": lambda d, s: saved({"conv1.weight": torch.zeros(3)}, d / "vgg19.safetensors"),
    "batch norm": lambda d, s: saved(
        {k: s[k] for k in ("features.0.weight", "features.0.bias")}
        | {"features.3.weight": s["features.2.weight"], "features.3.bias": s["features.2.bias"]}
        | {"features.7.weight": torch.zeros(128, 64, 3, 3), "features.7.bias": torch.zeros(128)},
        d / "vgg19_bn.pth",
    ),
    "a gap": lambda d, s: saved(
        without(without(s, "features.2.weight"), "features.2.bias")
        | {"features.5.weight": torch.zeros(128, 64, 3, 3), "features.5.bias": torch.zeros(128)},
        d / "vgg19.safetensors",
    ),
    "no first layer": lambda d, s: saved(without(s, "features.0.weight"), d / "vgg19.safetensors"),
    "missing bias": lambda d, s: saved(without(s, "features.2.bias"), d / "vgg19.safetensors"),
    "wrong shape": lambda d, s: saved(
        s | {"features.2.weight": torch.zeros(64, 3, 3, 3)}, d / "vgg19.safetensors"
    ),
    "half width": lambda d, s: saved(
        {"features.0.weight": torch.zeros(32, 3, 3, 3), "features.0.bias": torch.zeros(32)},
        d / "vgg19.safetensors",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named(kind: str, tmp_path: Path, two_convs: State) -> None:
    path = BAD_FILES[kind](tmp_path, two_convs)
    with pytest.raises(WeightsError) as caught:
        load_encoder("vgg19", weights=path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "vgg19.pth", tmp_path / "mischief"
    torch.save({"features.0.weight": Mischief(target)}, path)
    with pytest.raises(WeightsError, match=r"vgg19\.pth: is no plain file of tensors"):
        load_encoder("vgg19", weights=path)
    assert not target.exists()


# ------------------------------------------------------- AdaIN's port to PyTorch: vgg_normalised

PORT_WIDTHS = (4, 4, 6, 6, 8, 8, 8, 8, *[10] * 8)  # a narrow VGG-19


def padded_conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]


def port_encoder() -> nn.Sequential:
    """The VGG-19 of the port, for RGB in [0, 1]: a 1×1 convolution, then blocks and pools."""
    parts: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    channels = 3
    for (layer, block), width in zip(encoders.conv_names(), PORT_WIDTHS, strict=True):
        if layer == f"conv{block}_1" and block > 1:
            parts.append(nn.MaxPool2d(2, ceil_mode=True))
        parts += padded_conv(channels, width)
        channels = width
    generator = torch.Generator().manual_seed(5)
    for conv in parts:
        if isinstance(conv, nn.Conv2d):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            assert conv.bias is not None
            nn.init.normal_(conv.bias, std=0.3, generator=generator)
    return nn.Sequential(*parts).requires_grad_(False)


@pytest.fixture
def port_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its file, of a VGG-19 that is narrow here."""
    monkeypatch.setattr(encoders, "VGG19_WIDTHS", PORT_WIDTHS)
    return saved(port_encoder().state_dict(), tmp_path / "vgg_normalised.pth")


def test_every_map_of_the_port_s_file_is_that_of_its_own_module(port_file: Path) -> None:
    encoder = load_encoder("vgg19", weights=port_file)
    assert encoder.taps == ALL_TAPS
    assert encoder.mirrors
    assert encoder.weights == "unknown (vgg_normalised.pth)"
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    maps, values, taps = encoder(image, ALL_TAPS), image.double(), iter(ALL_TAPS)
    for index, module in enumerate(port_encoder().double()):
        values = module(values)
        if index and isinstance(module, (nn.Conv2d, nn.ReLU)):
            assert_same_maps(maps[next(taps)].double(), values)
    assert next(taps, None) is None


def test_the_port_s_file_may_end_at_relu4_1_and_be_saved_wrapped(port_file: Path) -> None:
    whole = load_encoder("vgg19", weights=port_file)
    state = port_encoder()[:31].state_dict()
    part = saved({f"module.{key}": v for key, v in state.items()}, port_file.parent / "part.pth")
    encoder = load_encoder("vgg19", weights=part)
    assert encoder.taps[-1] == "relu4_1"
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(encoder(image, ["relu4_1"])["relu4_1"], whole(image, ["relu4_1"])["relu4_1"])


def test_the_first_padding_can_still_be_chosen(port_file: Path) -> None:
    encoder = load_encoder("vgg19", weights=port_file, padding="replicate")
    assert (encoder.padding, encoder.inner_padding, encoder.mirrors) == (
        "replicate",
        "reflect",
        False,
    )


PORT_DAMAGE: dict[str, Callable[[State], State]] = {
    "no bias of the colours": lambda s: without(s, "0.bias"),
    "no colours": lambda s: without(s, "0.weight"),
    "no conv1_1": lambda s: without(s, "2.weight"),
    "no bias of conv1_1": lambda s: without(s, "2.bias"),
    "a gap": lambda s: without(without(s, "16.weight"), "16.bias"),
    "no bias": lambda s: without(s, "29.bias"),
    "five colours": lambda s: s | {"2.weight": torch.zeros(4, 5, 3, 3)},
    "a vector": lambda s: s | {"2.weight": torch.zeros(4)},
    "wide": lambda s: s | {"12.weight": torch.zeros(6, 7, 3, 3)},
}


@pytest.mark.parametrize("kind", PORT_DAMAGE)
def test_a_damaged_file_of_the_port_is_named(kind: str, port_file: Path) -> None:
    saved(PORT_DAMAGE[kind](port_encoder().state_dict()), port_file)
    with pytest.raises(WeightsError, match=r"vgg_normalised\.pth: "):
        load_encoder("vgg19", weights=port_file)


def test_our_own_files_load_when_they_were_saved_wrapped(
    two_convs: State, slim_path: Path, tmp_path: Path
) -> None:
    wrapped = {f"module.{key}": value for key, value in two_convs.items()}
    encoder = load_encoder("vgg19", weights=saved(wrapped, tmp_path / "vgg19.pth"))
    assert torch.equal(next(encoder.parameters()), two_convs["features.0.weight"])
    path = tmp_path / "slim.safetensors"
    with safe_open(slim_path, framework="pt") as file:
        metadata = file.metadata()
    wrapped = {f"module.{key}": value for key, value in load_file(slim_path).items()}
    save_file(wrapped, path, metadata=metadata)
    slim = load_encoder("slim", weights=path)
    for name, value in load_encoder().state_dict().items():
        assert torch.equal(slim.state_dict()[name], value)


# -------------------------------------------------------------------------- where VGG-19 is found


def test_a_folder_or_a_file_or_several_are_searched_in_their_order(
    no_weights: None, two_convs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_vgg19_weights() is None
    empty, first, second = tmp_path / "empty", tmp_path / "first", tmp_path / "second"
    for folder in (empty, first, second):
        folder.mkdir()
    (first / "readme.txt").write_text("vgg19")
    (first / "vgg19-notes.txt").write_text("not weights")
    one = saved(two_convs, first / "vgg19-part.safetensors")
    two = saved(two_convs, second / "vgg19.pth")

    def found_in(*places: Path) -> Path | None:
        monkeypatch.setenv("NSTLIB_WEIGHTS", os.pathsep.join(map(str, places)))
        return find_vgg19_weights()

    assert found_in(empty) is None
    assert found_in(first) == one
    assert found_in(two) == two
    assert found_in(empty, second, first) == two
    assert found_in(first, second) == one
    assert load_encoder("vgg19").taps == ALL_TAPS[:4]


def test_the_most_complete_file_of_a_folder_is_taken_and_none_of_another_network(
    no_weights: None,
    features: nn.Sequential,
    two_convs: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path))
    saved({"of": torch.zeros(500_000)}, tmp_path / "vgg19_bn-c79401a0.pth")
    assert find_vgg19_weights() is None
    saved(two_convs, tmp_path / "vgg19-conv1_2.safetensors")
    more = saved(first_blocks(as_file(features), 7), tmp_path / "vgg19-dcbb9e9d.pth")
    assert find_vgg19_weights() == more


def test_a_place_that_does_not_exist_is_named_and_not_passed_over(
    no_weights: None, two_convs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, gone = saved(two_convs, tmp_path / "vgg19.pth"), tmp_path / "gone"
    monkeypatch.setenv("NSTLIB_WEIGHTS", os.pathsep.join([str(gone), str(here)]))
    with pytest.raises(WeightsError, match=rf"NSTLIB_WEIGHTS names {re.escape(str(gone))}, "):
        load_encoder("vgg19")


def test_a_file_named_outright_is_taken_whatever_it_is_called(
    no_weights: None, two_convs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = saved(two_convs, tmp_path / "mine.pth")
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(mine))
    assert load_encoder("vgg19").weights == "unknown (mine.pth)"
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path))  # of a folder's files, names do tell
    assert find_vgg19_weights() is None


def test_torchvisions_weights_are_known_by_the_hash_that_their_name_promises(
    two_convs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = saved(two_convs, tmp_path / "vgg19-dcbb9e9d.pth")
    assert load_encoder("vgg19", weights=claimed).weights == "unknown (vgg19-dcbb9e9d.pth)"
    digest = hashlib.sha256(claimed.read_bytes()).hexdigest()
    true = claimed.rename(tmp_path / f"vgg19-{digest[:8]}.pth")
    monkeypatch.setattr(encoders, "_TORCHVISION_FILE", true.name)
    assert load_encoder("vgg19", weights=true).weights == "torchvision"


def test_the_hub_cache_comes_last(
    no_weights: None, two_convs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    cached = saved(two_convs, cache / "vgg19-dcbb9e9d.pth")
    assert find_vgg19_weights() == cached
    own = saved(two_convs, tmp_path / "vgg19-own.pth")
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(own))
    assert find_vgg19_weights() == own
    assert load_encoder("vgg19").weights == "unknown (vgg19-own.pth)"


@pytest.mark.parametrize(
    "failure",
    [URLError("no route to host"), OSError("disk full"), RuntimeError("invalid hash value")],
)
def test_without_file_and_network_the_error_names_both_ways_out(
    no_weights: None, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def offline(url: str, *args: Any, **kwargs: Any) -> State:
        raise failure

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"NSTLIB_WEIGHTS.*'slim'") as caught:
        load_encoder("vgg19")
    reason = failure.reason if isinstance(failure, URLError) else failure
    assert str(reason) in str(caught.value)


def test_the_download_is_checked_and_shown_and_kept_in_hubs_cache(
    no_weights: None, two_convs: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def download(url: str, *args: Any, **kwargs: Any) -> State:
        asked.append({"url": url, **kwargs})
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        folder.mkdir(parents=True)
        saved(two_convs, folder / url.rpartition("/")[2])
        return two_convs

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    for _ in range(2):  # once only
        assert load_encoder("vgg19").taps == ALL_TAPS[:4]
    (call,) = asked
    assert call["check_hash"]
    assert call["progress"]
    assert call["weights_only"]


@pytest.mark.vgg19_weights
def test_trained_weights_are_known_by_their_numbers_not_by_their_file(tmp_path: Path) -> None:
    path = find_vgg19_weights()
    assert path is not None
    encoder = load_encoder("vgg19")
    assert encoder.weights in ("caffe", "torchvision")
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    renamed = saved(first_blocks(state, 2), tmp_path / "anything.pth")
    again = load_encoder("vgg19", weights=renamed).weights
    assert again == ("caffe" if encoder.weights == "caffe" else "unknown (anything.pth)")
    altered = state["features.0.weight"].clone()
    altered[0, 0, 0, 0] += 1e-3
    changed = saved(
        first_blocks(state, 2) | {"features.0.weight": altered}, tmp_path / "changed.pth"
    )
    assert load_encoder("vgg19", weights=changed).weights == "unknown (changed.pth)"
    # The two sets in use differ in scale; this is why a loss weight suits one of them only.
    energy = encoder(sample("astronaut", size=128), ["relu3_1"])["relu3_1"].square().mean().item()
    assert (energy > 1000) == (encoder.weights == "caffe")


# ------------------------------------------------------------------------------- what ships: slim


@pytest.fixture
def slim_path() -> Path:
    return config.data_dir() / "weights" / "slim.safetensors"


def test_slim_ships_small_with_its_recipe_in_the_file(slim_path: Path) -> None:
    assert slim_path.stat().st_size <= 3_000_000
    with safe_open(slim_path, framework="pt") as file:
        shape = json.loads(file.metadata()["config"])
    assert shape["widths"] == list(SLIM_WIDTHS)
    assert {"steps_done", "seed", "crop", "batch", "learning_rate"} <= shape.keys()
    assert shape["steps_done"] == shape["steps"], "the run was ended"
    assert all(value.isfinite().all() for value in load_file(slim_path).values())
    assert load_encoder().dtype == torch.float32, "whatever the file stores"


def test_the_card_of_slim_is_of_this_file(slim_path: Path) -> None:
    card = slim_path.with_suffix(".md").read_text(encoding="utf-8")
    count = sum(value.numel() for value in load_file(slim_path).values())
    assert f"{slim_path.stat().st_size / 1e6:.1f} MB" in card
    assert f"{count / 1e6:.2f} M parameters" in card
    assert f"with {', '.join(map(str, SLIM_WIDTHS[:-1]))} and {SLIM_WIDTHS[-1]} channels" in card
    with safe_open(slim_path, framework="pt") as file:
        steps = json.loads(file.metadata()["config"])["steps"]
    assert f"| {steps:,} |" in card, "the curve ends where the run did"


def test_slim_is_the_default_and_has_the_taps_of_three_blocks() -> None:
    slim = load_encoder()
    assert (slim.name, slim.weights) == ("slim", "distilled from VGG-19")
    assert slim.taps == ALL_TAPS[:16]
    assert (slim.channels["relu2_2"], slim.channels["relu3_4"]) == (64, 256)


def test_pooling_padding_and_weights_hold_for_slim_too(slim_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(slim_path.read_bytes())
    encoder = load_encoder("slim", weights=str(copy), pooling="avg", padding="replicate")
    assert encoder.pooling == "avg"
    assert encoder.convs["conv1_1"].padding_mode == "replicate"
    assert torch.equal(encoder.convs["conv3_4"].weight, load_encoder().convs["conv3_4"].weight)


BAD_CONFIGS: dict[str, dict[str, str] | None] = {
    "no metadata": None,
    "no config": {"format": "pt"},
    "not json": {"config": "{"},
    "a list": {"config": "[]"},
    "no widths": {"config": '{"weights": "mine"}'},
    "widths are text": {"config": '{"widths": "abc", "weights": "mine"}'},
    "negative width": {"config": '{"widths": [-3], "weights": "mine"}'},
    "fractional width": {"config": '{"widths": [3.5], "weights": "mine"}'},
    "no layer": {"config": '{"widths": [], "weights": "mine"}'},
    "seventeen layers": {"config": json.dumps({"widths": [8] * 17, "weights": "mine"})},
    "other widths": {"config": json.dumps({"widths": [16, *SLIM_WIDTHS[1:]], "weights": "mine"})},
    "fewer layers": {"config": json.dumps({"widths": SLIM_WIDTHS[:4], "weights": "mine"})},
    "more layers": {"config": json.dumps({"widths": [*SLIM_WIDTHS, 256], "weights": "mine"})},
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_file_that_is_no_encoder_of_ours_is_named(
    kind: str, slim_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "slim.safetensors"
    save_file(load_file(slim_path), path, metadata=BAD_CONFIGS[kind])
    with pytest.raises(WeightsError) as caught:
        load_encoder("slim", weights=path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_damaged_slim_file_is_named(slim_path: Path, tmp_path: Path) -> None:
    path = corrupt(tmp_path / "slim.safetensors", slim_path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"slim\.safetensors: cannot be read as weights"):
        load_encoder("slim", weights=path)


def test_a_picture_too_small_to_be_mirrored_is_refused() -> None:
    with pytest.raises(ValueError, match="image is 8 × 30 px; .* more than 8 px a side"):
        mirrored_maps(random_encoder("slim"), torch.rand(1, 3, 8, 30), ["relu1_1"])
