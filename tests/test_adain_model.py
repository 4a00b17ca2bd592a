"""AdaIN: against plain modules in float64, at any size, mixed, in tiles, and from files of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from test_encoders import PORT_WIDTHS, padded_conv, port_encoder
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import WeightsError, adain, encoders, kernels
from nstlib.adain import (
    AdaIN,
    Decoder,
    Shape,
    Style,
    load_adain,
    mix,
    steering_of,
    style_of,
    together,
)
from nstlib.adain_training import AdaINTask
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, load_encoder, mirrored_maps
from nstlib.layers import UpsampledConv
from nstlib.weights import save_weights

WIDTHS = (6, 6, 8, 8, 10, 10, 10, 10, 12, 12, 12, 12, 12)  # to conv5_1
SIZES = [(1, 1), (2, 9), (37, 50), (8, 131), (64, 64)]
KINDS: dict[str, dict[str, Any]] = {
    "relu3_1": {},
    "skips": {"skips": ("relu1_1", "relu2_1")},
    "coarse": {"coarse": 1, "coarse_channels": 8},
    "all": {"skips": ("relu1_2", "relu2_1"), "coarse": 2, "coarse_channels": 8, "output": "clamp"},
    "narrow": {"last_channels": 4, "skips": ("relu1_1",), "coarse": 1, "coarse_channels": 8},
    "relu1_2, narrow": {"tap": "relu1_2", "last_channels": 4, "coarse": 1, "coarse_channels": 8},
    "relu1_1": {"tap": "relu1_1"},
    "steered": {"steered_by": ("relu1_2", "relu2_1", "relu3_1"), "last_channels": 4},
    "relu4_1, coarse": {"tap": "relu4_1", "coarse": 1, "coarse_channels": 8},
    "relu5_1": {"tap": "relu5_1"},
}


def picture(height: int, width: int, count: int = 1, seed: int = 0) -> Tensor:
    """Return blobs of colour with some noise on them."""
    generator = generator_of(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return 0.9 * smooth + 0.1 * torch.rand(count, 3, height, width, generator=generator)


Net = TypeVar("Net", bound=nn.Module)


def filled(net: Net, seed: int) -> Net:
    """Return the net with random weights that keep the scale of the maps, and biases that matter."""
    for i, parameter in enumerate(net.parameters()):
        noise = torch.randn(parameter.shape, generator=generator_of(seed, i))
        size = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim == 4 else 0.1
        parameter.data.copy_(size * noise)
    return net.requires_grad_(False).eval()


def tiny_encoder(**options: Any) -> Encoder:
    return filled(Encoder(WIDTHS, name="tiny", **options), seed=1)


def tiny_model(kind: str = "relu3_1", **options: Any) -> AdaIN:
    encoder = tiny_encoder(**options)
    decoder = filled(Decoder.of(encoder, **KINDS[kind]), seed=2)
    if decoder.shape.output == "clamp":
        into_range(decoder.convs["conv1_1"])
    return AdaIN(encoder, decoder)


def into_range(conv: nn.Module) -> None:
    """Let a last convolution give pictures that a clamp leaves as they are, but for a few pixels."""
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data.mul_(0.1)
    assert conv.bias is not None
    conv.bias.data.add_(0.5)


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return picture(45, 31)


@pytest.fixture(scope="module")
def painting() -> Tensor:
    return picture(40, 56, seed=1)


# ------------------------------------------------------------------------- against plain modules


def restyled_by_hand(content: Tensor, style: Tensor, alpha: float, eps: float = 1e-5) -> Tensor:
    """Return (1 − α)·c + α·(σ_s·(c − μ_c)/σ_c + μ_s), with population variances."""
    means = [maps.mean(dim=(2, 3), keepdim=True) for maps in (content, style)]
    variances = [
        (maps - mean).square().mean(dim=(2, 3), keepdim=True)
        for maps, mean in zip((content, style), means, strict=True)
    ]
    scale = (variances[1] + 1e-8).sqrt() / (variances[0] + eps).sqrt()
    return (1 - alpha) * content + alpha * (scale * (content - means[0]) + means[1])


def mirrored(maps: Tensor, conv: Any, stride: int = 1) -> Tensor:
    bordered = F.pad(maps, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(bordered, conv.weight, conv.bias, stride)


def target_by_hand(
    encoder: Encoder, taps: Sequence[str], content: Tensor, style: Tensor, alpha: float
) -> Tensor:
    """Return all means of the taps, then all deviations, between the content's and the style's."""
    sides = []
    for image, eps in ((content, 1e-5), (style, 1e-8)):
        maps = [mirrored_maps(encoder, image, [tap])[tap] for tap in taps]
        parts = [m.mean(dim=(2, 3)) for m in maps]
        parts += [(m.var(dim=(2, 3), correction=0) + eps).sqrt() for m in maps]
        sides.append(torch.cat(parts, dim=1))
    return (1 - alpha) * sides[0] + alpha * sides[1]


def steering_by_hand(decoder: Decoder, target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what each layer is multiplied by, and what is added, (N, C, 1, 1) each."""
    look, tell = decoder.steering.look, decoder.steering.tell  # type: ignore[union-attr]
    hidden = (torch.log(1 + target) @ look.weight.T + look.bias).clamp(min=0)
    told, place = hidden @ tell.weight.T + tell.bias, 0
    half, found = told.shape[1] // 2, {}
    for layer, conv in decoder.convs.items():
        here = slice(place, place := place + int(conv.get_parameter("weight").shape[0]))
        scale, shift = 1 + told[:, :half][:, here], told[:, half:][:, here]
        found[layer] = (scale[..., None, None], shift[..., None, None])
    assert place == half
    return found


def decoded_by_hand(
    decoder: Decoder, maps: Mapping[str, Tensor], target: Tensor | None = None
) -> Tensor:
    """Return the picture with one plain operation after the other: pad, grow, convolve, clip."""
    shape, features = decoder.shape, maps[decoder.shape.tap]
    steered = {} if target is None else steering_by_hand(decoder, target)
    blocks = [int(layer[4]) for layer in decoder.convs]
    before = [blocks[0], *blocks]
    for i, (layer, conv) in enumerate(decoder.convs.items()):
        grown = features if before[i] == blocks[i] else F.interpolate(features, scale_factor=2)
        out = mirrored(grown, conv)
        if i == 0 and decoder.coarse is not None:
            rough = mirrored(features, decoder.coarse.down, stride=2).relu()
            for block in decoder.coarse.blocks:
                first, second = block.children()
                rough = rough + mirrored(mirrored(rough, first).relu(), second)
            out = out + mirrored(F.interpolate(rough, scale_factor=2), decoder.coarse.up)
        tap = layer.replace("conv", "relu")
        if tap in shape.skips:
            out = out + mirrored(maps[tap], decoder.sides[layer])
        if layer in steered:
            scale, shift = steered[layer]
            out = out * scale + shift
        features = out.relu() if layer != "conv1_1" else out
    return 1 / (1 + torch.exp(-features)) if shape.output == "sigmoid" else features.clamp(0, 1)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_formula_written_with_plain_modules(kind: str, alpha: float) -> None:
    model = tiny_model(kind).in_dtype(torch.float64)
    content, style = picture(64, 96).double(), picture(96, 64, seed=1).double()
    seen, wanted = (mirrored_maps(model.encoder, image, model.taps) for image in (content, style))
    restyled = {tap: restyled_by_hand(seen[tap], wanted[tap], alpha) for tap in model.taps}
    found = model.stylize(content, style, alpha=alpha)
    taps = model.decoder.shape.steered_by
    target = target_by_hand(model.encoder, taps, content, style, alpha) if taps else None
    oracle = decoded_by_hand(model.decoder, restyled, target)
    assert oracle.std() > 0.05
    assert torch.allclose(found, oracle, rtol=0, atol=1e-9)


def test_new_steering_is_silent_and_a_missing_or_needless_target_is_told() -> None:
    decoder = Decoder(widths=WIDTHS[:5], steered_by=("relu1_1", "relu2_1"))
    maps = {"relu3_1": torch.rand(2, WIDTHS[4], 6, 8)}
    steered = decoder(maps, torch.rand(2, 2 * (WIDTHS[0] + WIDTHS[2])))
    plain = Decoder(widths=WIDTHS[:5])
    plain.load_state_dict(decoder.state_dict(), strict=False)
    assert torch.equal(plain(maps), steered)
    with pytest.raises(ValueError, match="target is missing; .* steered by relu1_1, relu2_1"):
        decoder(maps)
    with pytest.raises(ValueError, match="target is given; .* steered by nothing"):
        plain(maps, torch.rand(2, 4))


def test_a_new_decoder_s_coarse_branch_is_silent() -> None:
    decoder = Decoder(widths=WIDTHS[:5], coarse=2, coarse_channels=4)
    maps = {"relu3_1": torch.rand(1, 10, 8, 8)}
    with_branch = decoder(maps)
    decoder.coarse = None
    assert torch.equal(decoder(maps), with_branch)


def test_a_decoder_mirrors_the_encoder_and_has_no_norms() -> None:
    decoder = Decoder.of(tiny_encoder(), "relu4_1")
    assert list(decoder.convs) == [
        "conv4_1", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv2_1", "conv1_2",
        "conv1_1",
    ]  # fmt: skip
    grown = [layer for layer, conv in decoder.convs.items() if isinstance(conv, UpsampledConv)]
    assert grown == ["conv3_4", "conv2_2", "conv1_2"]
    kinds = {type(part).__name__ for part in decoder.modules()}
    assert not any("Norm" in kind for kind in kinds)


# --------------------------------------------------------------------------- alpha, and identities


@pytest.mark.parametrize("kind", KINDS)
def test_with_alpha_0_it_decodes_the_photo_s_own_maps(kind: str) -> None:
    model, photo = tiny_model(kind), picture(45, 31)
    content = model.content(photo)
    found = model.stylize(photo, picture(40, 56, seed=1), alpha=0)
    target = steering_of(content.own, content.own, 0, model.decoder.shape)
    assert torch.equal(found, model.decoder(content.maps, target)[:, :, :45, :31])


def test_a_photo_in_its_own_style_is_the_decoding_of_its_own_maps(
    model: AdaIN, photo: Tensor, painting: Tensor
) -> None:
    own = model.decoder(model.content(photo).maps)[:, :, :45, :31]
    # The content's variance has an ε of 1e-5, the style's 1e-8: a flat channel's few waves shrink.
    assert (model.stylize(photo, photo) - own).abs().max() < 2e-3
    assert (model.stylize(photo, painting) - own).abs().max() > 0.05


def test_alpha_mixes_the_maps_of_the_photo_with_the_restyled(
    model: AdaIN, photo: Tensor, painting: Tensor
) -> None:
    content, style = model.content(photo), model.style(painting)
    whole = {
        tap: kernels.adain(maps, style.means[tap], style.stds[tap])
        for tap, maps in content.maps.items()
    }
    between = {tap: 0.75 * content.maps[tap] + 0.25 * maps for tap, maps in whole.items()}
    wanted = model.decoder(between)[:, :, :45, :31]
    assert torch.allclose(model.stylize(photo, painting, alpha=0.25), wanted, atol=1e-5)


# ------------------------------------------------------------------------------------- mixtures


def styles_of(model: AdaIN, count: int = 3) -> list[Style]:
    return [model.style(picture(24 + 8 * seed, 40, seed=10 + seed)) for seed in range(count)]


def test_mixing_statistics_is_mixing_the_restyled_maps(photo: Tensor) -> None:
    model = tiny_model("skips").in_dtype(torch.float64)
    styles = [model.style(picture(40, 40, seed=seed).double()) for seed in (10, 11, 12)]
    weights = [1.0, 5.0, 2.0]
    mixed, content = mix(styles, weights), model.content(photo.double())
    for tap, maps in content.maps.items():
        one = kernels.adain(maps, mixed.means[tap], mixed.stds[tap])
        each = [kernels.adain(maps, style.means[tap], style.stds[tap]) for style in styles]
        wanted = torch.stack([w / 8 * part for w, part in zip(weights, each, strict=True)]).sum(0)
        assert torch.allclose(one, wanted, atol=1e-6)  # shares are float32
        assert (one - each[0]).abs().max() > 0.1


def test_all_the_weight_on_one_style_is_that_style(model: AdaIN, photo: Tensor) -> None:
    styles = styles_of(model)
    for i, style in enumerate(styles):
        weights = [0.0] * len(styles)
        weights[i] = 7.0
        found = model.stylize(photo, mix(styles, weights))
        assert torch.allclose(found, model.stylize(photo, style), atol=1e-6)


def test_without_weights_all_count_alike_and_only_shares_matter(model: AdaIN) -> None:
    styles = styles_of(model)
    equal, tens = mix(styles), mix(styles, [10, 10, 10])
    for tap in model.taps:
        mean = torch.stack([style.means[tap] for style in styles]).mean(dim=0)
        assert torch.allclose(equal.means[tap], mean, atol=1e-6)
        assert torch.allclose(equal.means[tap], tens.means[tap], atol=1e-6)
        assert torch.allclose(equal.stds[tap], tens.stds[tap], atol=1e-6)


@pytest.mark.parametrize(
    ("count", "weights", "sentence"),
    [
        (0, None, "styles is empty"),
        (2, [1.0], "weights has 1 values; there are 2 styles"),
        (2, [1.0, -1.0], "negative"),
        (2, [0.0, 0.0], "above 0"),
        (2, [1.0, float("nan")], "weights"),
    ],
)
def test_what_cannot_be_mixed_is_named(
    model: AdaIN, count: int, weights: Sequence[float] | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        mix(styles_of(model, count), weights)


def test_styles_of_two_models_do_not_mix(model: AdaIN, painting: Tensor) -> None:
    for other in (tiny_model("relu3_1"), tiny_model("relu1_1")):
        with pytest.raises(ValueError, match="styles come from different models"):
            mix([model.style(painting), other.style(painting)])


# ---------------------------------------------------------------------------------- sizes, batches


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", [None, 32])
def test_the_picture_has_exactly_the_photo_s_size(
    kind: str, size: tuple[int, int], tile: int | None
) -> None:
    painted = tiny_model(kind).stylize(picture(*size), picture(24, 17, seed=1), tile=tile)
    assert painted.shape == (1, 3, *size)
    assert painted.dtype == torch.float32
    assert painted.isfinite().all()
    assert painted.min() >= 0
    assert painted.max() <= 1


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("size", [(1, 1), (20, 33)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_pictures_and_styles_give_numbers(
    level: float, size: tuple[int, int], tile: int | None
) -> None:
    model = tiny_model("all")
    flat, other = torch.full((1, 3, *size), level), picture(30, 20)
    for photo, painting in ((flat, other), (other, flat), (flat, flat)):
        assert model.stylize(photo, painting, tile=tile).isfinite().all()


def test_a_map_of_one_position_becomes_the_style_s_mean() -> None:
    """Bessel's correction would divide 0 by 0 here."""
    model = tiny_model("relu1_1")
    style = model.style(picture(20, 20))
    dot = torch.rand(1, WIDTHS[0], 1, 1)
    restyled = kernels.adain(dot, style.means["relu1_1"], style.stds["relu1_1"])
    assert torch.allclose(restyled[:, :, 0, 0], style.means["relu1_1"], atol=1e-5)


@pytest.mark.parametrize("tile", [None, 16])
def test_each_picture_of_a_batch_is_painted_as_if_it_were_alone(
    model: AdaIN, painting: Tensor, tile: int | None
) -> None:
    batch = picture(37, 50, count=3, seed=4)
    together = model.stylize(batch, painting, alpha=0.8, tile=tile)
    alone = [
        model.stylize(photo, painting, alpha=0.8, tile=tile) for photo in torch.split(batch, 1)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 0.05


# --------------------------------------------------------------------- encoded once, used often


def test_a_content_and_a_style_are_encoded_once_for_all_alphas(
    model: AdaIN, photo: Tensor, painting: Tensor
) -> None:
    wanted = {alpha: model.stylize(photo, painting, alpha=alpha) for alpha in (0.0, 0.4, 1.0)}
    calls: Counter[str] = Counter()
    hooks = [
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, part in (("encoder", model.encoder), ("decoder", model.decoder))
    ]
    content, style = model.content(photo), model.style(painting)
    found = {alpha: model.stylize(content, style, alpha=alpha) for alpha in wanted}
    for hook in hooks:
        hook.remove()
    assert calls == {"encoder": 2, "decoder": 3}
    assert all(torch.equal(found[alpha], wanted[alpha]) for alpha in wanted)


def test_stylize_keeps_no_gradient_and_no_trace(photo: Tensor, painting: Tensor) -> None:
    model = tiny_model()
    model.decoder.requires_grad_(True).train()
    before = photo.clone()
    assert not model.stylize(photo, painting).requires_grad
    assert not model.stylize(photo, painting, tile=16).requires_grad
    assert model.decoder.training
    assert torch.equal(photo, before)


def test_in_bfloat16_it_is_near_and_its_styles_are_as_fine_as_before(
    model: AdaIN, photo: Tensor, painting: Tensor
) -> None:
    coarse = model.in_dtype(torch.bfloat16)
    assert next(model.decoder.parameters()).dtype == torch.float32
    style = coarse.style(painting)
    assert {part.dtype for part in (*style.means.values(), *style.stds.values())} == {torch.float32}
    difference = coarse.stylize(photo, style) - model.stylize(photo, painting)
    assert difference.dtype == torch.float32
    assert 0 < difference.abs().mean() < 0.01


# ---------------------------------------------------------------------------------------- tiles

TILED = ["relu3_1", "skips", "coarse", "all", "relu4_1, coarse", "steered", "narrow"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", TILED)
def test_a_picture_in_tiles_is_the_whole_picture(kind: str, dtype: torch.dtype) -> None:
    model = tiny_model(kind).in_dtype(dtype)
    photo, style = picture(150, 205), model.style(picture(40, 56, seed=1))
    for alpha, tile in ((1.0, 48), (0.5, 80)):
        difference = model.stylize(photo, style, alpha=alpha, tile=tile) - model.stylize(
            photo, style, alpha=alpha
        )
        assert difference.abs().max() <= 1 / 255
    other = model.stylize(photo, picture(40, 56, seed=2), tile=48)
    assert (other - model.stylize(photo, style)).abs().max() > 10 / 255


@pytest.mark.parametrize("kind", [*TILED, "relu1_1"])
def test_in_float64_tiles_show_nothing_at_all(kind: str) -> None:
    model = tiny_model(kind).in_dtype(torch.float64)
    photo, style = picture(90, 133).double(), picture(40, 56, seed=1).double()
    tile = 3 if kind == "relu1_1" else 32
    assert torch.allclose(
        model.stylize(photo, style, tile=tile), model.stylize(photo, style), rtol=0, atol=1e-10
    )


def seen_from(model: AdaIN, side: int, first: int) -> tuple[int, int]:
    """Return how far to the left and right of one stride of columns a photo changes these.

    The statistics are held, as they are in tiles: what is left goes through the maps.
    """
    stride = model.decoder.shape.stride
    image = picture(2 * stride, side).double().requires_grad_()
    style = model.style(picture(40, 40, seed=1).double())
    maps = model._encoded(image)
    with torch.no_grad():
        own = style_of(maps)
    wanted = adain._Wanted(style, torch.ones(1), "deviation")
    restyled = {tap: adain._restyled(maps[tap], own, wanted, tap, False) for tap in model.taps}
    target = steering_of(own, style, 1.0, model.decoder.shape)
    painted = model.decoder(restyled, target)[..., first : first + stride]
    torch.autograd.backward(painted, torch.rand_like(painted))
    assert image.grad is not None
    columns = image.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    return first - int(columns.min()), int(columns.max()) - (first + stride - 1)


@pytest.mark.parametrize("kind", [*TILED, "relu1_1", "relu5_1"])
def test_nothing_beyond_the_reach_matters_and_most_within_it_does(kind: str) -> None:
    model = tiny_model(kind).in_dtype(torch.float64)
    stride, reach = model.decoder.shape.stride, model.reach
    assert reach % stride == 0
    first = reach + 4 * stride
    left, right = seen_from(model, side=2 * first + stride, first=first)
    assert max(left, right) <= reach
    if kind != "relu1_1":  # whose reach is that of the mirrored border
        assert max(left, right) >= reach / 2


def test_too_small_a_reach_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    model, photo, style = tiny_model("all"), picture(150, 205), picture(40, 56, seed=1)
    whole = model.stylize(photo, style)
    monkeypatch.setattr(AdaIN, "reach", model.decoder.shape.stride)
    assert (model.stylize(photo, style, tile=48) - whole).abs().max() > 1 / 255


@pytest.mark.parametrize("tile", [16, 40, 512])
def test_the_statistics_of_tiles_are_those_of_the_whole(tile: int) -> None:
    model = tiny_model("all").in_dtype(torch.float64)
    padded = torch.cat([picture(72, 136), picture(72, 136, seed=1)]).double()
    found = model._style_of_tiles(padded, tile, 1e-5)
    for tap, maps in model._encoded(padded).items():
        mean, std = kernels.moments(maps, eps=1e-5)
        assert torch.allclose(found.means[tap], mean, rtol=0, atol=1e-13)
        assert torch.allclose(found.stds[tap], std, rtol=0, atol=1e-13)


def test_large_pictures_are_made_in_tiles_unasked(
    painting: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, photo = tiny_model("skips"), picture(150, 205)
    whole = model.stylize(photo, painting)
    pixels, largest = photo[0, 0].numel(), 0

    def watch(_module: nn.Module, given: tuple[Any, ...], _output: Any) -> None:
        nonlocal largest
        largest = max(largest, given[0].shape[2] * given[0].shape[3])

    hook = model.encoder.register_forward_hook(watch)
    monkeypatch.setattr(adain, "LARGEST_WHOLE", pixels - 1)
    monkeypatch.setattr(adain, "TILE", 32)
    style = model.style(painting)
    largest = 0
    tiled = model.stylize(photo, style)
    hook.remove()
    assert 0 < largest < pixels / 2
    assert torch.allclose(tiled, whole, atol=1 / 255)
    content = model.content(photo)  # whoever encodes it as a whole wants it whole
    assert torch.equal(model.stylize(content, style), whole)


# ----------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"widths": ()}, "widths has 0 values; it takes 1 to 16"),
        ({"widths": (4,) * 17}, "widths has 17 values"),
        ({"widths": (4, 4), "tap": "relu2_1"}, "with 2 widths it must be 'relu1_2'"),
        (
            {"skips": ("relu3_1",)},
            r"skips is \('relu3_1',\); it takes taps in order out of: relu1_1",
        ),
        ({"skips": ("relu2_1", "relu1_1")}, "in order"),
        ({"skips": ("relu1_1", "relu1_1")}, "in order"),
        ({"skips": "relu1_1"}, "skips is relu1_1"),
        ({"coarse": -1}, "coarse is -1"),
        ({"coarse_channels": 0}, "coarse_channels 0"),
        ({"output": "tanh"}, "output is 'tanh'; it takes 'sigmoid', 'clamp'"),
    ],
)
def test_a_shape_that_no_decoder_can_have_is_named(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Shape(**{"widths": WIDTHS[:5], **fields})


def test_a_decoder_of_another_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"widths \(4, 4\); encoder 'tiny' has \(6, 6\)"):
        AdaIN(tiny_encoder(), Decoder(widths=(4, 4), tap="relu1_2"))
    shallow = Encoder(WIDTHS[:2], name="shallow")
    with pytest.raises(ValueError, match=r"encoder 'shallow' has \(6, 6\)"):
        AdaIN(shallow, Decoder.of(tiny_encoder()))
    with pytest.raises(ValueError, match=r"tap asks for relu3_1, which encoder 'shallow'"):
        Decoder.of(shallow)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"alpha": 1.5}, ValueError, r"alpha is 1.5; it must lie in \[0, 1\]"),
        ({"alpha": -0.1}, ValueError, "alpha is -0.1"),
        ({"alpha": float("nan")}, ValueError, "alpha is nan"),
        ({"alpha": "much"}, TypeError, "alpha is 'much'"),
        ({"tile": 0}, ValueError, "tile is 0; it takes a multiple of 4 px"),
        ({"tile": 30}, ValueError, "tile is 30"),
        ({"tile": -4}, ValueError, "tile is -4"),
        ({"content": torch.rand(3, 8, 8)}, ValueError, r"content has shape \(3, 8, 8\)"),
        ({"content": 2 * torch.ones(1, 3, 8, 8)}, ValueError, "content has values from 2 to 2"),
        ({"content": "photo.jpg"}, TypeError, "content is str"),
        ({"style": torch.rand(2, 3, 8, 8)}, ValueError, r"style has shape \(2, 3, 8, 8\)"),
        ({"style": torch.full((1, 3, 8, 8), torch.nan)}, ValueError, "style has values from nan"),
        ({"style": "painting.jpg"}, TypeError, "style is str"),
    ],
)
def test_a_wrong_argument_is_named(
    model: AdaIN,
    photo: Tensor,
    painting: Tensor,
    arguments: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        model.stylize(**{"content": photo, "style": painting, **arguments})


@pytest.mark.parametrize("kind", ["relu3_1", "all", "relu1_1"])
@pytest.mark.parametrize("tile", [None, 16])
def test_what_another_model_saw_is_refused(
    model: AdaIN, photo: Tensor, painting: Tensor, kind: str, tile: int | None
) -> None:
    other = tiny_model(kind)
    sentence = (
        "is of another model: its taps and their channels are .*; this model's are .*'relu2_1': 8"
    )
    with pytest.raises(ValueError, match=f"style {sentence}"):
        model.stylize(photo, other.style(painting), tile=tile)
    with pytest.raises(ValueError, match=f"content {sentence}"):
        model.stylize(other.content(photo), painting)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("steered", "its taps and their channels are {'relu3_1': 10}"), ("coarse", "stride is 4")],
)
def test_what_a_plain_model_saw_is_refused_by_one_that_needs_more(kind: str, words: str) -> None:
    plain, more = tiny_model(), tiny_model(kind)
    content = plain.content(picture(36, 36))
    with pytest.raises(ValueError, match=f"content is of another model: .*{words}"):
        more.stylize(content, picture(40, 56, seed=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_picture_in_tiles_has_the_type_of_the_whole(dtype: torch.dtype) -> None:
    model, photo, style = tiny_model(), picture(60, 90).to(dtype), picture(40, 56, seed=1)
    whole, tiled = model.stylize(photo, style), model.stylize(photo, style, tile=48)
    assert whole.dtype == tiled.dtype == torch.float32
    assert (whole - tiled).abs().max() < 1e-4


def test_a_large_style_is_looked_at_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    model, style = tiny_model("steered"), picture(90, 130)
    whole = model.style(style)
    monkeypatch.setattr(adain, "LARGEST_WHOLE", 90 * 130 - 1)
    monkeypatch.setattr(adain, "TILE", 64)
    tiled = model.style(style)
    for tap in whole.means:
        assert torch.allclose(tiled.means[tap], whole.means[tap], atol=1e-5)
        assert torch.allclose(tiled.stds[tap], whole.stds[tap], atol=1e-5)


def test_a_content_too_large_for_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nstlib.memory.free_memory", lambda device: 1e6)
    with pytest.raises(MemoryError, match="content is 500×600 px, which needs about"):
        tiny_model().content(picture(500, 600))


def test_steering_is_as_exact_in_training_as_where_it_is_used() -> None:
    decoder = filled(Decoder(widths=WIDTHS[:5], steered_by=("relu2_1",)), seed=3)
    target = torch.rand(2, 2 * WIDTHS[2])
    assert decoder.steering is not None
    exact = decoder.steering(target)
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder.steering(target)
    for one, other in zip(exact, found, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_style_of_a_wider_model_is_refused(model: AdaIN, photo: Tensor, painting: Tensor) -> None:
    style = model.style(painting)
    wider = Style(
        {tap: mean.repeat(1, 2) for tap, mean in style.means.items()},
        {tap: std.repeat(1, 2) for tap, std in style.stds.items()},
    )
    with pytest.raises(ValueError, match="style is of another model.*'relu3_1': 20"):
        model.stylize(photo, wider)


def test_what_was_encoded_as_a_whole_cannot_be_made_in_tiles(
    model: AdaIN, photo: Tensor, painting: Tensor
) -> None:
    with pytest.raises(ValueError, match="tile is 16; a Content was encoded as a whole"):
        model.stylize(model.content(photo), painting, tile=16)


# ----------------------------------------------------------------------------------------- files


def exported(decoder: Decoder, encoder: Encoder, path: Path) -> Path:
    crops = Crops([picture(48, 48)], crop=32)
    AdaINTask(decoder, encoder, crops, crops).export(decoder, path, {"steps_done": 5})
    return path


def in_half(decoder: Decoder) -> Decoder:
    """Return the decoder with weights that a file, in float16, holds exactly."""
    return decoder.half().float()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_training_gives_the_model_back(
    kind: str, photo: Tensor, painting: Tensor, tmp_path: Path
) -> None:
    model = tiny_model(kind)
    in_half(model.decoder)
    path = exported(model.decoder, model.encoder, tmp_path / "mine.safetensors")
    loaded = load_adain(path, model.encoder, precision="float32")
    assert loaded.decoder.shape == model.decoder.shape
    assert torch.equal(loaded.stylize(photo, painting), model.stylize(photo, painting))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.decoder.training


def test_a_file_knows_the_encoder_that_ships(
    photo: Tensor, painting: Tensor, tmp_path: Path
) -> None:
    slim = load_encoder("slim")
    decoder = in_half(filled(Decoder.of(slim, "relu2_1"), seed=3))
    path = exported(decoder, slim, tmp_path / "mine.safetensors")
    loaded = load_adain(str(path), precision="float32")
    assert loaded.encoder.weights == "distilled from VGG-19"
    wanted = AdaIN(slim, decoder).stylize(photo, painting)
    assert torch.equal(loaded.stylize(photo, painting), wanted)


def test_a_file_of_another_encoder_s_decoder_is_refused(tmp_path: Path) -> None:
    slim = load_encoder("slim", pooling="avg")
    path = exported(Decoder.of(slim), slim, tmp_path / "mine.safetensors")
    assert load_adain(path).encoder.identity == slim.identity
    with pytest.raises(WeightsError, match=r"mine.safetensors: was trained with .*'avg'.*'max'"):
        load_adain(path, load_encoder("slim"))
    random = encoders.random_encoder("slim")
    path = exported(Decoder.of(random), random, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="'random'.*; the one here is .*'distilled from VGG-19'"):
        load_adain(path)


def test_a_file_of_an_encoder_that_does_not_ship_asks_for_it(tmp_path: Path) -> None:
    model = tiny_model()
    path = exported(model.decoder, model.encoder, tmp_path / "mine.safetensors")
    with pytest.raises(
        ValueError, match=r"encoder is None; .*mine.safetensors .*'tiny'.* not ship"
    ):
        load_adain(path)
    with pytest.raises(WeightsError, match="trained with .*'tiny'.*; the one here is .*'slim'"):
        load_adain(path, load_encoder("slim"))


def test_loading_leaves_the_given_encoder_alone(tmp_path: Path) -> None:
    model = tiny_model()
    path = exported(model.decoder, model.encoder, tmp_path / "mine.safetensors")
    loaded = load_adain(path, model.encoder, precision="float32")
    for parameter in loaded.encoder.parameters():  # it may be moved to another device
        parameter.zero_()
    assert all(parameter.any() for parameter in model.encoder.parameters())


def wrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as nn.DataParallel and DistributedDataParallel name them."""
    return {f"module.{name}": value for name, value in state.items()}


def test_a_decoder_that_was_saved_wrapped_loads(
    model: AdaIN, photo: Tensor, painting: Tensor, tmp_path: Path
) -> None:
    path, facts = tmp_path / "wrapped.safetensors", {"shape": asdict(model.decoder.shape)}
    save_weights(wrapped(in_half(model.decoder).state_dict()), path, facts)
    loaded = load_adain(path, model.encoder, precision="float32")
    assert torch.equal(loaded.stylize(photo, painting), model.stylize(photo, painting))


@pytest.mark.parametrize(
    "shape",
    [
        None,
        "no table",
        {},
        {"widths": "wide"},
        {"widths": [6.5, 6]},
        {"widths": [6, 6, 8, 8, 11]},
        {"widths": list(WIDTHS[:4]), "tap": "relu2_2"},
        {"widths": list(WIDTHS[:5]), "depth": 3},
        {"widths": list(WIDTHS[:5]), "coarse": "two"},
        {"widths": list(WIDTHS[:5]), "coarse": 1},
        {"widths": list(WIDTHS[:5]), "skips": ["relu1_1"]},
    ],
)
def test_a_file_of_another_model_is_told_apart(shape: object, tmp_path: Path) -> None:
    model, path = tiny_model(), tmp_path / "mine.safetensors"
    facts: dict[str, Any] = {} if shape is None else {"shape": shape}
    save_weights(model.decoder.state_dict(), path, facts)
    with pytest.raises(WeightsError, match=r"mine\.safetensors: is no decoder of ours"):
        load_adain(path, model.encoder)


def test_a_missing_or_damaged_file_is_named(model: AdaIN, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors: there is no such file"):
        load_adain(tmp_path / "gone.safetensors")
    whole = exported(model.decoder, model.encoder, tmp_path / "mine.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"cut\.safetensors: cannot be read"):
        load_adain(tmp_path / "cut.safetensors", model.encoder)


# ------------------------------------------------------------- the pair of files that people have


def grown() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def port_decoder() -> nn.Sequential:
    """Its decoder, from relu4_1: a mirror with nearest upsampling, and no ReLU at the end."""
    a, b, c, d = (PORT_WIDTHS[i] for i in (0, 2, 4, 8))
    parts = [
        *padded_conv(d, c), grown(), *padded_conv(c, c), *padded_conv(c, c), *padded_conv(c, c),
        *padded_conv(c, b), grown(), *padded_conv(b, b), *padded_conv(b, a), grown(), *padded_conv(a, a),
        *padded_conv(a, 3)[:-1],
    ]  # fmt: skip
    decoder = filled(nn.Sequential(*parts), seed=6)
    into_range(decoder[-1])
    return decoder


def port_stylize(content: Tensor, style: Tensor, alpha: float) -> Tensor:
    """Paint as the port does, in float64. (It divides variances by P − 1, where P is dozens here.)"""
    encoder, decoder = port_encoder().double()[:31], port_decoder().double()
    seen, wanted = encoder(content.double()), encoder(style.double())
    painted: Tensor = decoder(restyled_by_hand(seen, wanted, alpha))
    return painted.clamp(0, 1).float()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with both files; a VGG-19 is narrow here."""
    monkeypatch.setattr(encoders, "VGG19_WIDTHS", PORT_WIDTHS)
    torch.save(port_encoder().state_dict(), tmp_path / "vgg_normalised.pth")
    torch.save(port_decoder().state_dict(), tmp_path / "decoder.pth")
    return tmp_path


def load_port(folder: Path, **options: Any) -> AdaIN:
    encoder = load_encoder("vgg19", weights=folder / "vgg_normalised.pth")
    return load_adain(folder / "decoder.pth", encoder, **{"precision": "float32", **options})


def test_the_port_s_layout_is_that_of_its_files() -> None:
    def places(net: nn.Sequential) -> list[int]:
        return [i for i, part in enumerate(net) if isinstance(part, nn.Conv2d)]

    encoder = [0, 2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51]
    assert places(port_encoder()) == encoder
    assert places(port_decoder()) == [1, 5, 8, 11, 14, 18, 21, 25, 28]
    assert isinstance(port_encoder()[30], nn.ReLU)  # relu4_1


@pytest.mark.parametrize("alpha", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("size", [(48, 64), (80, 40), (16, 16)])
def test_the_port_s_files_paint_as_they_did(
    port: Path, size: tuple[int, int], alpha: float
) -> None:
    photo, painting = picture(*size), picture(64, 56, seed=1)
    wanted = port_stylize(photo, painting, alpha)
    assert wanted.std() > 0.05
    assert ((wanted > 0) & (wanted < 1)).float().mean() > 0.5
    assert torch.allclose(load_port(port).stylize(photo, painting, alpha=alpha), wanted, atol=2e-5)


@pytest.mark.parametrize("size", [(45, 61), (47, 32), (50, 33)])
def test_at_other_sizes_they_paint_the_photo_that_is_repeated_to_whole_strides(
    port: Path, size: tuple[int, int]
) -> None:
    # The port's pools round up (ceil_mode): a last odd row of a map is pooled alone, and the picture
    # comes out larger than the photo. Ours repeats the photo's last row and column until nothing
    # needs to be rounded, and cuts them off again: another picture near those two borders only.
    height, width = size
    photo, painting = picture(*size), picture(64, 56, seed=1)
    model = load_port(port)
    repeated = F.pad(photo, (0, -width % 8, 0, -height % 8), mode="replicate")
    found = model.stylize(photo, painting)
    wanted = port_stylize(repeated, painting, 1.0)
    assert torch.allclose(found, wanted[:, :, :height, :width], atol=2e-5)
    assert port_stylize(photo, painting, 1.0).shape == wanted.shape != found.shape


def test_the_port_s_files_paint_in_tiles_too(port: Path) -> None:
    model, photo, painting = load_port(port), picture(150, 205), picture(64, 56, seed=1)
    tiled = model.stylize(photo, painting, tile=64)
    assert (tiled - model.stylize(photo, painting)).abs().max() < 1e-4
    assert model.stylize(picture(1, 1), painting, tile=8).shape == (1, 3, 1, 1)


def test_the_port_s_decoder_was_trained_for_an_encoder_that_mirrors(port: Path) -> None:
    decoder = port / "decoder.pth"
    line = r'decoder.pth takes .*: load_encoder\("vgg19", weights="vgg_normalised.pth"\)'
    with pytest.raises(ValueError, match=f"encoder is None; {line}"):
        load_adain(decoder)
    with pytest.raises(ValueError, match=f"encoder is 'vgg'; {line}"):
        load_adain(decoder, Encoder(PORT_WIDTHS))
    with pytest.raises(ValueError, match="decoder mirrors an encoder of widths"):
        load_adain(decoder, Encoder(WIDTHS, padding="reflect", inner_padding="reflect"))


def test_the_port_s_files_load_when_they_were_saved_wrapped(
    port: Path, photo: Tensor, painting: Tensor
) -> None:
    wanted = load_port(port).stylize(photo, painting)
    for name in ("vgg_normalised.pth", "decoder.pth"):
        torch.save(wrapped(torch.load(port / name, weights_only=True)), port / name)
    assert torch.equal(load_port(port).stylize(photo, painting), wanted)


State = dict[str, Tensor]
PORT_DAMAGE: dict[str, tuple[Callable[[State], Any], str]] = {
    "no first": (lambda s: {k: v for k, v in s.items() if k != "1.bias"}, "conv4_1.bias"),
    "no last": (lambda s: {k: v for k, v in s.items() if k[:2] != "28"}, "lacks '28.weight'"),
    "more": (lambda s: s | {"31.weight": torch.zeros(3, 3, 3, 3)}, "31.weight"),
    "a vector": (lambda s: s | {"14.weight": torch.zeros(8)}, "is no decoder of ours"),
    "narrow": (lambda s: s | {"14.weight": torch.zeros(6, 7, 3, 3)}, "size mismatch"),
    "an encoder": (lambda s: port_encoder().state_dict(), "lacks '1.weight'|is no decoder"),
    "nested": (lambda s: {"state_dict": s}, "holds no table of tensors"),
    "a list": (lambda s: list(s.values()), "holds no table of tensors"),
}


@pytest.mark.parametrize("kind", PORT_DAMAGE)
def test_a_damaged_decoder_of_the_port_is_named(port: Path, kind: str) -> None:
    damage, sentence = PORT_DAMAGE[kind]
    torch.save(damage(port_decoder().state_dict()), port / "decoder.pth")
    with pytest.raises(WeightsError, match=rf"(?s)decoder\.pth: .*({sentence})"):
        load_port(port)


class Trap:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_decoder_that_would_run_something_is_refused(port: Path) -> None:
    trapped = port / "trapped"
    torch.save({"1.weight": Trap(trapped)}, port / "decoder.pth")
    with pytest.raises(WeightsError, match=r"decoder\.pth: is no plain file of tensors"):
        load_port(port)
    assert not trapped.exists()


# --------------------------------------------------------------- photos that were encoded one by one


@pytest.mark.parametrize("kind", KINDS)
def test_contents_together_paint_as_each_alone(kind: str, painting: Tensor) -> None:
    model = tiny_model(kind)
    photos = [picture(37, 50, seed=seed) for seed in (3, 4, 5)]
    contents = [model.content(photo) for photo in photos]
    for match in ("deviation", "transport"):
        several = model.stylize(together(contents), painting, alpha=[0.2, 0.7, 1.0], match=match)
        assert several.shape == (3, 3, 37, 50)
        for content, alpha, one in zip(contents, (0.2, 0.7, 1.0), several, strict=True):
            alone = model.stylize(content, painting, alpha=alpha, match=match)
            assert (one - alone[0]).abs().max() < 1e-4


def test_contents_together_are_as_if_encoded_together(model: AdaIN) -> None:
    photos = picture(45, 31, count=3, seed=3)
    pair = together([model.content(photo[None]) for photo in photos])
    whole = model.content(photos)
    assert pair.size == whole.size
    assert list(pair.maps) == list(whole.maps)
    for tap, maps in whole.maps.items():
        assert (pair.maps[tap] - maps).abs().max() < 1e-5


def test_one_content_together_is_itself(model: AdaIN, photo: Tensor, painting: Tensor) -> None:
    content = model.content(photo)
    alone = together([content])
    assert torch.equal(model.stylize(alone, painting), model.stylize(content, painting))


def test_contents_of_no_photo_several_sizes_or_models_are_refused(model: AdaIN) -> None:
    small, large = model.content(picture(32, 40)), model.content(picture(40, 32))
    other = tiny_model("relu1_1").content(picture(32, 40))
    for contents, count in (([], 0), ([small, large], 2), ([small, other], 2)):
        with pytest.raises(ValueError, match=f"contents are of {count} sizes or models"):
            together(contents)
    # Of 37 and 38 rows the maps are of one size, and the pictures are not.
    odd, even = model.content(picture(37, 40)), model.content(picture(38, 40))
    with pytest.raises(ValueError, match="contents are of 2 sizes"):
        together([odd, even])


@pytest.mark.parametrize("kind", ["all", "steered"])
def test_a_model_in_its_own_dtype_is_no_copy_and_in_another_leaves_the_first_as_it_was(
    kind: str,
) -> None:
    model = tiny_model(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    same = model.in_dtype(torch.float32)
    assert same.decoder is model.decoder
    assert same.encoder is model.encoder
    coarse = model.in_dtype(torch.bfloat16).decoder
    assert coarse.dtype == torch.bfloat16
    steering = [] if coarse.steering is None else list(coarse.steering.parameters())
    assert all(weight.dtype == torch.float32 for weight in steering)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
