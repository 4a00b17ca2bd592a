"""Fast style nets: against plain modules in float64, at any size, with every style and dial place."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import WeightsError, images, transform_net
from nstlib.benchmarks.plain import plain_net
from nstlib.layers import TransposedConv, UpsampledConv
from nstlib.transform_net import (
    TEXTBOOK,
    ConditionalNorm,
    Shape,
    TransformNet,
    dial_position,
    load_net,
)
from nstlib.weights import save_weights

STYLES, DIAL = ("sea", "fire", "moss"), (1.0, 10.0, 100.0)


def photo(height: int, width: int, count: int = 1, seed: int = 0) -> Tensor:
    """Smooth random pictures, away from black and white."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return 0.2 + 0.6 * F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


def random_net(seed: int = 0, **fields: Any) -> TransformNet:
    """A small net whose norms differ from style to style, as after a training."""
    torch.manual_seed(seed)
    net = TransformNet(**{"width": 0.25, "blocks": 2, **fields})
    for part in net.modules():
        if isinstance(part, ConditionalNorm):
            nn.init.normal_(part.weight, 1, 0.3)
            nn.init.normal_(part.bias, 0, 0.3)
    return net.requires_grad_(False).eval()


@pytest.fixture
def styled() -> TransformNet:
    return random_net(styles=STYLES, dial=DIAL)


# ------------------------------------------------------------------------------------ the network


def test_it_is_the_paper_s_net_written_with_plain_modules() -> None:
    """The yardstick of the benchmark, layer by layer PyTorch's own, with the same weights."""
    net = random_net(width=1.0, blocks=5).double()
    plain = plain_net().double().eval()
    convs = [part for part in plain.modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in plain.modules() if isinstance(part, nn.InstanceNorm2d)]
    inner = [(b.conv1, b.norm1, b.conv2, b.norm2) for b in net.residuals]
    ours = [net.stem, *net.down, *(c for b in inner for c in (b[0], b[2])), *net.up, net.head]
    tables = [*net.norms[:3], *(n for b in inner for n in (b[1], b[3])), *net.norms[3:]]
    for theirs, conv in zip(convs, ours, strict=True):
        theirs.weight.data.copy_(conv.weight)
        # A norm takes a bias away at once; only the last convolution has none after it.
        theirs.bias.data.copy_(conv.bias if conv.bias is not None else torch.rand(len(theirs.bias)))
    for norm, table in zip(norms, tables, strict=True):
        norm.weight.data.copy_(table.weight[0])
        norm.bias.data.copy_(table.bias[0])
    image = photo(40, 52).double()
    wanted = plain(image)
    assert wanted.std() > 0.01
    assert torch.allclose(net(image).double(), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 9), (5, 5), (37, 50), (8, 131), (64, 64), (101, 67)]
)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"upsample": "transposed"},
        {"downsamplings": 0},
        {"downsamplings": 3},
        {"kernels": (17, 5)},
        {"margin": 12},
        vars(TEXTBOOK),
    ],
    ids=["nearest", "transposed", "no stride", "three strides", "wide stem", "margin", "textbook"],
)
def test_the_picture_has_exactly_the_photo_s_size(
    fields: dict[str, Any], height: int, width: int
) -> None:
    net = random_net(**{**fields, "width": 0.25})
    painted = net(photo(height, width, count=2))
    assert painted.shape == (2, 3, height, width)
    assert painted.dtype == torch.float32
    assert painted.isfinite().all()


def test_a_margin_is_the_picture_s_mirror_image_painted_and_cut_off() -> None:
    bare, framed = random_net(), random_net(margin=8)
    framed.load_state_dict(bare.state_dict())
    image = photo(32, 44)
    wanted = bare(F.pad(image, (8,) * 4, mode="reflect"))[:, :, 8:-8, 8:-8]
    assert torch.allclose(framed(image), wanted, atol=1e-5)


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "clamp"])
def test_every_output_lies_between_0_and_1_as_its_formula_says(output: str) -> None:
    net, bare = random_net(output=output), random_net(output="clamp")
    net.head.weight.mul_(5)
    bare.load_state_dict(net.state_dict())
    image = photo(24, 24)
    captured: list[Tensor] = []
    bare.head.register_forward_hook(lambda _module, _inputs, out: captured.append(out))
    bare(image)
    raw = captured[0]
    wanted = {
        "sigmoid": 1 / (1 + torch.exp(-raw)),
        "tanh": (torch.tanh(raw) + 1) / 2,
        "clamp": raw.clamp(0, 1),
    }[output]
    assert raw.min() < 0 < 1 < raw.max()
    assert torch.allclose(net(image), wanted, atol=1e-6)


def test_the_textbook_s_form_is_a_configuration() -> None:
    net = TransformNet(**vars(TEXTBOOK))
    assert (net.stem.out_channels, net.down[0].out_channels, len(net.up)) == (32, 64, 1)
    assert TEXTBOOK.output == "tanh"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 4), (16, 9)])
def test_upsampling_and_convolution_in_one_is_the_two_one_after_the_other(
    height: int, width: int
) -> None:
    conv = UpsampledConv(3, 4).double()
    small = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    large = F.pad(F.interpolate(small, scale_factor=2), (1,) * 4, mode="reflect")
    wanted = F.conv2d(large, conv.weight)
    found = conv(small)
    assert torch.allclose(found, wanted, atol=1e-12)
    # … and so are both gradients.
    direction = torch.randn_like(wanted)
    ours = torch.autograd.grad(found, (small, conv.weight), direction)
    theirs = torch.autograd.grad(wanted, (small, conv.weight), direction)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(ours, theirs, strict=True))


def test_a_flat_map_stays_flat_under_nearest_upsampling_and_not_under_the_transposed() -> None:
    flat = torch.ones(1, 4, 8, 8)
    nearest, transposed = UpsampledConv(4, 2)(flat), TransposedConv(4, 2)(flat)
    assert nearest.shape == transposed.shape == (1, 2, 16, 16)
    assert nearest.std(dim=(2, 3)).max() < 1e-6
    inside = transposed[:, :, 2:-2, 2:-2]
    assert inside.std(dim=(2, 3)).min() > 1e-3  # its checkerboard, before any training
    assert torch.allclose(inside[..., 2:], inside[..., :-2], atol=1e-6)  # with a period of two


def test_instance_norm_takes_the_photo_s_contrast_away_and_batch_norm_keeps_it() -> None:
    image = photo(48, 48)
    pale = 0.5 + (image - 0.5) / 3
    for norm, low, high in (("instance", 0, 1e-3), ("batch", 3e-3, 1)):
        net = random_net(norm=norm)
        net.stem.weight.mul_(30)  # far above the eps of the norm
        net.train()(photo(48, 48, count=4, seed=3))  # running statistics of something
        net.eval()
        assert low <= (net(image) - net(pale)).abs().mean() < high


def test_each_picture_of_a_batch_is_painted_as_if_it_were_alone(styled: TransformNet) -> None:
    batch = photo(24, 32, count=3)
    conditions = torch.cat([styled.condition(s, w) for s, w in zip(STYLES, DIAL, strict=True)])
    together = styled(batch, conditions)
    alone = [styled(batch[i : i + 1], conditions[i : i + 1]) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_in_training_batch_norm_mixes_the_pictures_of_a_batch() -> None:
    net, batch = random_net(norm="batch").train(), photo(24, 24, count=2)
    assert (net(batch)[:1] - net(batch[:1])).abs().max() > 1e-3


def test_bfloat16_is_near_and_leaves_the_net_and_its_rows_alone(styled: TransformNet) -> None:
    twin = styled.in_dtype(torch.bfloat16)
    assert (twin.dtype, styled.dtype) == (torch.bfloat16, torch.float32)
    assert twin.norms[0].weight.dtype == torch.float32
    assert styled.in_dtype(torch.float32) is styled
    image = photo(32, 32)
    assert (twin(image) - styled(image)).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"norm": "group"}, "norm is 'group'; it takes 'instance', 'batch'"),
        ({"upsample": "bilinear"}, "upsample is 'bilinear'"),
        ({"output": "linear"}, "output is 'linear'"),
        ({"width": 0.001}, "width is 0.001"),
        ({"width": math.inf}, "width is inf"),
        ({"dial": (1, math.inf)}, "dial is"),
        ({"dial": (math.nan,)}, "dial is"),
        ({"blocks": -1}, "blocks is -1"),
        ({"kernels": (9, 4)}, r"kernels is \(9, 4\); it takes two odd sizes"),
        ({"margin": 6}, "margin is 6; it takes a multiple of the strides' 4 px"),
        ({"margin": -4}, "margin is -4"),
        ({"styles": ("a", "a")}, "each name may stand there once"),
        ({"dial": (10, 1)}, "rising"),
        ({"dial": (0, 1)}, "above 0"),
        ({"norm": "batch", "styles": ("a",)}, "need norm 'instance'"),
    ],
)
def test_a_shape_that_no_net_can_have_is_named(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Shape(**fields)


# --------------------------------------------------------------------------- styles and the dial


@pytest.mark.parametrize(
    ("weight", "row"),
    [
        (1, [1, 0, 0]),
        (10, [0, 1, 0]),
        (100, [0, 0, 1]),
        (math.sqrt(10), [0.5, 0.5, 0]),
        (10**1.25, [0, 0.75, 0.25]),
    ],
)
def test_the_dial_lies_on_straight_lines_over_the_logarithm(
    weight: float, row: list[float]
) -> None:
    found = dial_position(torch.tensor([float(weight)]), DIAL)
    assert torch.allclose(found, torch.tensor([row]).float(), atol=1e-6)


def test_a_dial_of_one_place_is_always_there() -> None:
    assert dial_position(torch.tensor([1.0, 5.0]), (5.0,)).tolist() == [[1], [1]]


def test_a_style_at_a_place_of_the_dial_is_one_row(styled: TransformNet) -> None:
    for (k, style), (j, weight) in itertools.product(enumerate(STYLES), enumerate(DIAL)):
        condition = styled.condition(style, weight)
        wanted = torch.zeros(len(STYLES), len(DIAL))
        wanted[k, j] = 1
        assert torch.equal(condition, wanted.view(1, -1))


def test_a_row_alone_is_a_net_of_that_style_alone(styled: TransformNet) -> None:
    single = random_net()
    state = {
        name: value[4:5] if "norm" in name else value for name, value in styled.state_dict().items()
    }
    single.load_state_dict(state)  # fire at 10: row 1 · 3 + 1
    image = photo(32, 40)
    assert torch.allclose(styled(image, styled.condition("fire", 10)), single(image), atol=1e-6)


def test_mixtures_are_weighted_means_of_rows(styled: TransformNet) -> None:
    mixed = styled.condition({"sea": 1, "moss": 3}, style_weight=10)
    sea, moss = styled.condition("sea", 10), styled.condition("moss", 10)
    assert torch.allclose(mixed, 0.25 * sea + 0.75 * moss)
    assert torch.equal(mixed, styled.condition(["sea", "moss"], 10, weights=[0.25, 0.75]))
    assert torch.allclose(styled.condition(["sea", "moss"], 10), 0.5 * sea + 0.5 * moss)
    assert torch.equal(styled.condition(["sea", "sea"], 10), sea)
    assert styled.condition(["sea", "fire", "moss"], 37).sum().item() == pytest.approx(1)


def test_without_a_word_it_is_the_first_style_at_the_full_dial(styled: TransformNet) -> None:
    assert torch.equal(styled.condition(), styled.condition("sea", 100))
    assert torch.equal(TransformNet(width=0.25).condition(), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"style": "ice"}, "style is 'ice'; the net has: sea, fire, moss"),
        ({"style": ["sea", "ice"]}, "style is 'ice'"),
        ({"style_weight": 0.5}, "style_weight is 0.5; the net's dial goes from 1 to 100"),
        ({"style_weight": 101}, "style_weight is 101"),
        ({"style_weight": math.nan}, "style_weight is nan"),
        ({"style": ["sea", "fire"], "weights": [1]}, "weights has 1 values; there are 2 styles"),
        ({"style": {"sea": 0, "fire": 0}}, "one must be above 0"),
        ({"style": {"sea": -1, "fire": 2}}, "none may be negative"),
    ],
)
def test_a_style_or_weight_that_the_net_lacks_is_named(
    styled: TransformNet, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        styled.stylize(photo(16, 16), **arguments)


def test_a_net_without_dial_or_names_says_so() -> None:
    net = random_net()
    with pytest.raises(ValueError, match="style_weight is 5; the net has no dial"):
        net.condition(style_weight=5)
    with pytest.raises(ValueError, match="the net has: none by name"):
        net.condition("sea")


def test_stylize_reads_a_net_in_training_and_leaves_it_so() -> None:
    net = random_net(norm="batch").train()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    net.stylize(photo(16, 16))
    assert net.training
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())


def test_styles_as_a_string_are_refused() -> None:
    with pytest.raises(TypeError, match="styles is the string 'sea'"):
        Shape(styles="sea")  # type: ignore[arg-type]


def test_stylize_is_one_pass_and_keeps_no_gradient(styled: TransformNet) -> None:
    image = photo(20, 28, count=2)
    styled.requires_grad_(True)
    painted = styled.stylize(image, "moss", style_weight=10)
    assert not painted.requires_grad
    assert torch.equal(painted, styled(image, styled.condition("moss", 10)))


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), 2 * torch.ones(1, 3, 8, 8)]
)
def test_what_is_no_picture_is_refused(styled: TransformNet, image: Tensor) -> None:
    with pytest.raises(ValueError, match="content has"):
        styled.stylize(image)


# ---------------------------------------------------------------------------------------- memory


def test_a_photo_too_large_is_told_what_fits(
    styled: TransformNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SimpleNamespace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: here)
    with pytest.raises(MemoryError, match=r"content is 200×100 px, which .* px would fit"):
        styled.stylize(photo(200, 100))


# ----------------------------------------------------------------------------------------- files


def save(net: TransformNet, path: Path, **facts: Any) -> Path:
    save_weights(net.state_dict(), path, {"shape": vars(net.shape), **facts})
    return path


def test_the_net_that_ships_paints_every_style_of_its_own() -> None:
    net = load_net("fast", precision="float32")
    assert len(net.shape.styles) >= 8
    assert set(net.shape.styles) <= set(images.style_names())
    assert net.shape.dial
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net.training
    image = images.sample("coffee", size=96)
    painted = [net.stylize(image, style) for style in net.shape.styles]
    for one, other in itertools.combinations(painted, 2):
        assert (one - other).abs().mean() > 0.03


def test_the_shipped_files_are_small() -> None:
    folder = Path(transform_net.config.data_dir()) / "weights"
    assert (folder / "fast.safetensors").stat().st_size < 4_000_000


def test_a_file_gives_the_net_back(styled: TransformNet, tmp_path: Path) -> None:
    net = load_net(save(styled, tmp_path / "net.safetensors"), precision="float32")
    assert net.shape == styled.shape
    image = photo(24, 24)
    difference = net.stylize(image, "fire", style_weight=3) - styled.stylize(
        image, "fire", style_weight=3
    )
    assert difference.abs().max() < 0.01  # weights are stored in float16


@pytest.mark.parametrize(
    "shape", [None, "no table", {"width": "wide"}, {"depth": 3}, {"width": 2.0}, {"norm": "x"}]
)
def test_a_file_of_another_model_is_told_apart(
    shape: object, styled: TransformNet, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    facts: dict[str, Any] = {} if shape is None else {"shape": shape}
    save_weights(styled.state_dict(), path, facts)
    with pytest.raises(WeightsError, match=r"net\.safetensors: is no fast style net"):
        load_net(path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors: there is no such file"):
        load_net(tmp_path / "gone.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0{")
    with pytest.raises(WeightsError, match=r"cut\.safetensors: cannot be read"):
        load_net(tmp_path / "cut.safetensors")


# ------------------------------------------------------- the layout of PyTorch's own example


class Wrapped(nn.Module):
    """A mirrored convolution under the name that the example gives it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(inputs, outputs, size, stride)

    def forward(self, maps: Tensor) -> Tensor:
        border = self.conv2d.kernel_size[0] // 2
        out: Tensor = self.conv2d(F.pad(maps, (border,) * 4, mode="reflect"))
        return out


class ExampleResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = Wrapped(128, 128, 3), Wrapped(128, 128, 3)
        self.in1, self.in2 = (nn.InstanceNorm2d(128, affine=True) for _ in range(2))


class Example(nn.Module):
    """The example's net, for pictures from 0 to 255: names and order are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.in1 = Wrapped(3, 32, 9), nn.InstanceNorm2d(32, affine=True)
        self.conv2, self.in2 = Wrapped(32, 64, 3, 2), nn.InstanceNorm2d(64, affine=True)
        self.conv3, self.in3 = Wrapped(64, 128, 3, 2), nn.InstanceNorm2d(128, affine=True)
        for i in range(1, 6):
            setattr(self, f"res{i}", ExampleResidual())
        self.deconv1, self.in4 = Wrapped(128, 64, 3), nn.InstanceNorm2d(64, affine=True)
        self.deconv2, self.in5 = Wrapped(64, 32, 3), nn.InstanceNorm2d(32, affine=True)
        self.deconv3 = Wrapped(32, 3, 9)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.in1(self.conv1(image)).relu()
        maps = self.in2(self.conv2(maps)).relu()
        maps = self.in3(self.conv3(maps)).relu()
        for i in range(1, 6):
            res = getattr(self, f"res{i}")
            maps = maps + res.in2(res.conv2(res.in1(res.conv1(maps)).relu()))
        for conv, norm in ((self.deconv1, self.in4), (self.deconv2, self.in5)):
            maps = norm(conv(F.interpolate(maps, scale_factor=2))).relu()
        out: Tensor = self.deconv3(maps)
        return out


@pytest.fixture(scope="module")
def example() -> Example:
    torch.manual_seed(5)
    net = Example().eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.InstanceNorm2d):
            nn.init.normal_(part.weight, 1, 0.2)
            nn.init.normal_(part.bias, 0, 0.2)
    net.deconv3.conv2d.weight.mul_(60)
    net.deconv3.conv2d.bias.add_(120)
    return net


def of_the_age(state: dict[str, Tensor], old: bool) -> dict[str, Tensor]:
    """Files from before PyTorch 0.4 hold running statistics, which instance norm never uses."""
    if not old:
        return state
    norms = [
        name.removesuffix(".weight") for name in state if re.search(r"(^|\.)in\d\.weight$", name)
    ]
    more = {
        f"{name}.{kind}": torch.rand(len(state[f"{name}.weight"]))
        for name in norms
        for kind in ("running_mean", "running_var")
    }
    assert len(more) == 2 * 15
    return {**state, **more}


@pytest.mark.parametrize("old", [False, True], ids=["new", "with running_mean"])
@pytest.mark.parametrize("suffix", [".pth", ".model", ".pt"])
def test_a_checkpoint_of_pytorch_s_example_paints_as_it_did(
    example: Example, old: bool, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"candy{suffix}"
    torch.save(of_the_age(example.state_dict(), old), path)
    net = load_net(path, precision="float32")
    image = photo(48, 64)
    wanted = (example.double()(255 * image.double()) / 255).clamp(0, 1).float()
    example.float()
    assert wanted.std() > 0.05
    assert torch.allclose(net.stylize(image), wanted, atol=1e-4)
    assert net.stylize(photo(47, 63)).shape == (1, 3, 47, 63)  # the example itself would give 48


def test_a_checkpoint_that_lacks_a_part_of_the_example_is_refused(
    example: Example, tmp_path: Path
) -> None:
    state = example.state_dict()
    del state["res3.in2.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth: is no fast style net: .*res3\.in2\.weight"):
        load_net(tmp_path / "part.pth")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trapped"),))


def test_a_pickle_that_would_run_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.conv2d.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match=r"trap\.pth: is no plain file of tensors"):
        load_net(tmp_path / "trap.pth")
    assert not (tmp_path / "trapped").exists()


def test_the_metadata_of_a_file_is_plain_json(styled: TransformNet, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(save(styled, tmp_path / "net.safetensors", seed=3), framework="pt") as file:
        facts = json.loads(file.metadata()["config"])
    assert facts["seed"] == 3
    assert facts["shape"]["styles"] == list(STYLES)


@pytest.mark.parametrize("style_weight", [[0.3, 0.7], "10", torch.tensor([10.0, 20.0])])
def test_a_style_weight_that_is_no_number_is_named(styled: TransformNet, style_weight: Any) -> None:
    with pytest.raises(TypeError, match=r"style_weight is .*; it must be a number"):
        styled.stylize(photo(16, 16), "sea", style_weight=style_weight)
