"""Styles: mixed by tables, taken in regions, gathered from parts, against float64 and by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import styles
from nstlib.gaussians import root_of
from nstlib.losses import mixing_table
from nstlib.styles import Style, at_size_of, gathered, mix, stacked, style_of

CHANNELS = {"relu1_1": 4, "relu2_1": 6}
WHOLE = "relu2_1"  # the tap whose covariance is wanted


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_style(rows: int = 1, seed: int = 0, has_root: bool = True) -> Style:
    parts = {tap: random(rows, 3 * count, count, seed=seed) for tap, count in CHANNELS.items()}
    means = {tap: part.mean(dim=1) for tap, part in parts.items()}
    stds = {tap: part.std(dim=1) for tap, part in parts.items()}
    whole = root(parts[WHOLE].mT)
    return Style(means, stds, {WHOLE: whole @ whole} if has_root else {})


def root(vectors: Tensor) -> Tensor:
    """Return the root of the population covariance of vectors (N, C, P), from their SVD."""
    apart = (vectors - vectors.mean(dim=2, keepdim=True)) / math.sqrt(vectors.shape[2])
    axes, lengths, _ = torch.linalg.svd(apart, full_matrices=False)
    symmetric: Tensor = axes @ torch.diag_embed(lengths) @ axes.mT
    return symmetric


def parts_of(style: Style) -> dict[str, Tensor]:
    """Return all statistics by one name each."""
    kinds: dict[str, Mapping[str, Tensor]] = {
        "means": style.means, "stds": style.stds, "roots": style.roots
    }  # fmt: skip
    return {f"{kind} at {tap}": part for kind, has in kinds.items() for tap, part in has.items()}


def assert_alike(one: Style, other: Style, atol: float = 1e-9) -> None:
    found, wanted = parts_of(one), parts_of(other)
    assert found.keys() == wanted.keys()
    for name, part in found.items():
        assert part.shape == wanted[name].shape, name
        assert torch.allclose(part.double(), wanted[name].double(), rtol=0, atol=atol), name


# ----------------------------------------------------------------------------- tables of weights


def test_one_mixture_is_a_table_of_one_row() -> None:
    for weights in ([1, 3], (0.25, 0.75), torch.tensor([1.0, 3.0]), torch.tensor([[2, 6]])):
        assert mixing_table(weights, 2).tolist() == [[0.25, 0.75]]
    assert torch.equal(mixing_table(None, 4), torch.full((1, 4), 0.25))
    assert torch.equal(mixing_table(None, 4, normalize=False), torch.full((1, 4), 0.25))


def test_each_row_of_a_table_is_divided_by_its_own_sum() -> None:
    table = random(6, 5).abs() * torch.logspace(-3, 3, 6, dtype=torch.float64)[:, None]
    found = mixing_table(table, 5)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), table / table.sum(dim=1, keepdim=True), atol=1e-6)


def test_a_table_may_be_any_view_of_any_numbers() -> None:
    table = random(5, 3).abs()
    for view in (table.mT.contiguous().mT, torch.cat([table, table], dim=1)[:, :3]):
        assert not view.is_contiguous()
        assert torch.equal(mixing_table(view, 3), mixing_table(table, 3))
    assert mixing_table(torch.tensor([[1, 3], [2, 0]]), 2).tolist() == [[0.25, 0.75], [1, 0]]
    assert torch.allclose(mixing_table(torch.arange(8.0)[1::4], 2), torch.tensor([[1 / 6, 5 / 6]]))


def test_weights_that_are_to_sum_to_one_do() -> None:
    good = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    assert torch.allclose(mixing_table(good, 2, normalize=False), good)
    for bad, said in (
        ([1, 3], r"weights is \[1, 3\], of sum 4; with normalize=False it is 1"),
        (torch.tensor([[0.5, 0.5], [0.5, 0.25]]), r"\[0.5, 0.25\], of sum 0.75; with normalize"),
    ):
        assert mixing_table(bad, 2).sum(dim=1).allclose(torch.ones(1))
        with pytest.raises(ValueError, match=said):
            mixing_table(bad, 2, normalize=False)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (torch.ones(3), r"weights has shape \(3,\); it takes \(2,\) or \(N, 2\)"),
        (torch.ones(2, 3), r"weights has shape \(2, 3\); it takes \(2,\) or \(N, 2\)"),
        (torch.ones(1, 2, 2), r"weights has shape \(1, 2, 2\)"),
        (torch.ones(()), r"weights has shape \(\)"),
        (torch.ones(0, 2), r"weights has shape \(0, 2\)"),
        ([0.5, 0.25, 0.25], "weights has 3 values; there are 2 styles"),
        ([2.0, -1.0], "none may be negative"),
        (
            torch.tensor([[0.5, 0.5], [2.0, -1.0]]),
            r"weights is \[2.0, -1.0\]; none may be negative",
        ),
        ([math.nan, 1.0], "none may be negative, one must be above 0"),
        (torch.tensor([[math.nan, 0.5]]), "none may be negative, one must be above 0"),
    ],
)
def test_what_are_no_shares_is_told(weights: Any, said: str, normalize: bool) -> None:
    with pytest.raises(ValueError, match=said):
        mixing_table(weights, 2, normalize)


def test_a_row_of_zeros_and_what_is_no_number_are_told() -> None:
    with pytest.raises(ValueError, match=r"weights is \[0.0, 0.0\]; .* one must be above 0"):
        mixing_table(torch.tensor([[0.5, 0.5], [0.0, 0.0]]), 2)
    for wrong in ("ab", 0.5, [[0.5, 0.5]], {0.5: 1, 0.4: 1}):
        with pytest.raises(TypeError, match="weights is .*; it takes a sequence of numbers"):
            mixing_table(wrong, 2)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------- mixtures


def test_a_row_of_a_mixture_is_the_mixture_of_that_row() -> None:
    several = [random_style(seed=seed) for seed in range(3)]
    table = random(5, 3).abs()
    mixed = mix(several, table)
    assert len(mixed) == 5
    for i, row in enumerate(table):
        assert_alike(mixed.rows([i]), mix(several, row.tolist()), atol=1e-7)  # shares are float32


def test_a_mixture_is_the_weighted_mean_of_every_statistic_also_of_roots() -> None:
    several = [random_style(seed=seed) for seed in range(3)]
    table = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.125, 0.875], [0.0, 1.0, 0.0]])
    found = parts_of(mix(several, table))
    for name, part in found.items():
        rows = torch.cat([parts_of(style)[name] for style in several])
        wanted = torch.einsum("nk,k...->n...", table.double(), rows)
        assert torch.allclose(part, wanted, atol=1e-12), name
    # Not the root of mixed covariances, which is another matrix.
    roots = torch.cat([style.roots[WHOLE] for style in several])
    covariance = torch.einsum("nk,kij->nij", table.double(), roots @ roots)
    mixed = found[f"roots at {WHOLE}"]
    assert (mixed @ mixed - covariance)[:2].abs().max() > 0.01
    assert torch.allclose((mixed @ mixed)[2], covariance[2])


def test_styles_of_several_rows_mix_as_so_many_styles() -> None:
    one, two = random_style(rows=2), random_style(seed=1)
    weights = [1.0, 2.0, 5.0]
    wanted = mix([one.rows([0]), one.rows([1]), two], weights)
    assert_alike(mix([one, two], weights), wanted)
    with pytest.raises(ValueError, match="weights has 2 values; there are 3 styles"):
        mix([one, two], [1, 2])


def test_weights_need_not_be_shares_unless_they_are_said_to_be() -> None:
    several = [random_style(), random_style(seed=1)]
    assert_alike(mix(several, [1, 3]), mix(several, [0.25, 0.75], normalize=False))
    with pytest.raises(ValueError, match=r"weights is \[1, 3\], of sum 4; with normalize=False"):
        mix(several, [1, 3], normalize=False)
    with pytest.raises(ValueError, match=r"weights is \[0.5, 0.0\], of sum 0.5"):
        mix(several, torch.tensor([[0.5, 0.5], [0.5, 0.0]]), normalize=False)
    with pytest.raises(ValueError, match=r"weights has shape \(2, 3\); it takes \(2,\) or"):
        mix(several, torch.ones(2, 3))


def test_a_mixture_keeps_the_type_and_its_styles() -> None:
    several = [random_style(), random_style(seed=1)]
    before = [{k: v.clone() for k, v in parts_of(style).items()} for style in several]
    halves = [
        Style(*({t: p.float() for t, p in has.items()} for has in (s.means, s.stds, s.covariances)))
        for s in several
    ]
    assert all(part.dtype == torch.float32 for part in parts_of(mix(halves)).values())
    assert all(part.dtype == torch.float64 for part in parts_of(mix(several)).values())
    for style, parts in zip(several, before, strict=True):
        assert all(torch.equal(part, parts[name]) for name, part in parts_of(style).items())


def test_several_styles_become_one_with_a_row_for_each_and_back() -> None:
    several = [random_style(seed=0), random_style(rows=2, seed=1), random_style(seed=2)]
    whole = stacked(several)
    assert len(whole) == 4
    assert_alike(whole.rows([0]), several[0])
    assert_alike(whole.rows([1, 2]), several[1])
    assert_alike(whole.rows([3]), several[2])
    assert_alike(whole.rows([3, 0, 0]), stacked([several[2], several[0], several[0]]))
    assert_alike(stacked([whole]), whole)


def test_styles_that_do_not_go_together_are_refused() -> None:
    style, wider = random_style(), random_style()
    wider = Style({t: torch.ones(1, 9) for t in CHANNELS}, {t: torch.ones(1, 9) for t in CHANNELS})
    shorter = Style({WHOLE: style.means[WHOLE]}, {WHOLE: style.stds[WHOLE]}, style.covariances)
    for merge in (mix, stacked):
        with pytest.raises(ValueError, match="styles is empty; it takes one at least"):
            merge([])
        for other in (wider, shorter):
            with pytest.raises(ValueError, match="styles come from different models: their taps"):
                merge([style, other])
        for pair in ([0, 1], [1, 0]):
            has = [random_style(), random_style(has_root=False)]
            with pytest.raises(ValueError, match="styles have a covariance in part only"):
                merge([has[i] for i in pair])


def test_styles_without_a_covariance_go_together() -> None:
    several = [random_style(has_root=False), random_style(seed=1, has_root=False)]
    assert mix(several).roots == {}
    assert stacked(several).rows([1]).roots == {}


# --------------------------------------------------------------------------- statistics of regions


def random_maps(height: int = 16, width: int = 24, count: int = 1) -> dict[str, Tensor]:
    """Return maps of strides 1 and 2, with channels that rise and fall together."""
    maps = {}
    for i, (tap, channels) in enumerate(CHANNELS.items()):
        shape = (count, channels, height >> i, width >> i)
        own, shared = random(*shape, seed=i), random(shape[0], 1, *shape[2:], seed=9)
        levels = torch.arange(channels, dtype=torch.float64).view(1, -1, 1, 1)
        maps[tap] = (own + shared) * (1 + 0.2 * levels) + levels
    return maps


def plain_style(crops: Mapping[str, Tensor], eps: float) -> Style:
    """Return the statistics of maps, written out."""
    flat = {tap: part.flatten(2) for tap, part in crops.items()}
    means = {tap: part.mean(dim=2) for tap, part in flat.items()}
    stds = {tap: (part.var(dim=2, correction=0) + eps).sqrt() for tap, part in flat.items()}
    whole = root(flat[WHOLE])
    return Style(means, stds, {WHOLE: whole @ whole})


BOXES = [(0, 16, 0, 10), (4, 12, 10, 24), (0, 2, 22, 24), (0, 16, 0, 24)]  # on whole strides


def boxes_as_shares() -> Tensor:
    shares = torch.zeros(len(BOXES), 1, 16, 24)
    for share, (top, bottom, left, right) in zip(shares, BOXES, strict=True):
        share[:, top:bottom, left:right] = 1
    return shares


def test_a_region_cut_straight_has_the_statistics_of_the_crop() -> None:
    maps = random_maps()
    found = style_of(maps, 1e-5, boxes_as_shares(), [WHOLE])
    assert len(found) == len(BOXES)
    for i, (top, bottom, left, right) in enumerate(BOXES):
        crops = {
            tap: part[:, :, top >> s : bottom >> s, left >> s : right >> s]
            for s, (tap, part) in enumerate(maps.items())
        }
        assert_alike(found.rows([i]), plain_style(crops, 1e-5), atol=1e-6)  # shares are float32


def test_with_float64_shares_it_is_exact() -> None:
    maps = random_maps()
    found = style_of(maps, 1e-5, torch.ones(1, 1, 16, 24, dtype=torch.float64), [WHOLE])
    assert_alike(found, plain_style(maps, 1e-5))
    assert_alike(style_of(maps, 1e-5, whole=[WHOLE]), plain_style(maps, 1e-5), atol=1e-6)


def test_a_soft_share_counts_a_position_as_if_it_were_there_so_often() -> None:
    maps = random_maps()
    counts = torch.randint(0, 4, (3, 1, 8, 12), generator=torch.Generator().manual_seed(0))
    shares = F.interpolate(counts.double(), scale_factor=2) / 3  # whole squares of stride 2
    found = style_of(maps, 1e-5, shares, [WHOLE])
    for i in range(3):
        repeated = {}
        for tap, part in maps.items():
            times = counts[i : i + 1].double()
            times = times if tap == WHOLE else F.interpolate(times, scale_factor=2)
            repeated[tap] = part.flatten(2).repeat_interleave(times.flatten().long(), dim=2)[
                ..., None
            ]
        assert_alike(found.rows([i]), plain_style(repeated, 1e-5))


def test_any_share_weighs_squares_of_the_stride_by_what_they_have_of_it() -> None:
    maps = random_maps()
    shares = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0)).double()
    found = style_of(maps, 1e-5, shares, [WHOLE])
    squares = shares.view(2, 1, 8, 2, 12, 2).mean(dim=(3, 5))
    assert torch.allclose(at_size_of(shares, maps[WHOLE]), squares)
    for i in range(2):
        weights = (squares[i] / squares[i].sum()).flatten()
        vectors = maps[WHOLE][0].flatten(1)
        mean = vectors @ weights
        apart = vectors - mean[:, None]
        covariance = (apart * weights) @ apart.mT
        assert torch.allclose(found.means[WHOLE][i], mean)
        assert torch.allclose(found.stds[WHOLE][i], (covariance.diagonal() + 1e-5).sqrt())
        symmetric = found.roots[WHOLE][i]
        assert torch.allclose(symmetric, symmetric.mT)
        assert torch.allclose(symmetric @ symmetric, covariance)
        assert torch.linalg.eigvalsh(symmetric).min() > 0


def test_only_how_a_region_is_shared_out_matters_not_how_much_of_it_there_is() -> None:
    maps, shares = random_maps(), random(2, 1, 16, 24).abs().clamp(0, 1)
    assert_alike(
        style_of(maps, 1e-5, shares, [WHOLE]), style_of(maps, 1e-5, 0.01 * shares, [WHOLE])
    )


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_flat_region_far_from_0_has_the_deviation_that_it_has(level: float) -> None:
    maps = {tap: (level + 0.02 * part).float() for tap, part in random_maps().items()}
    oracle = {tap: part.double() for tap, part in maps.items()}
    shares = boxes_as_shares()
    found, wanted = (style_of(m, 1e-8, shares, [WHOLE]) for m in (maps, oracle))
    for tap in CHANNELS:
        assert torch.allclose(found.stds[tap].double(), wanted.stds[tap], rtol=1e-2)
    assert torch.allclose(found.roots[WHOLE].double(), wanted.roots[WHOLE], atol=1e-3)
    # E[x²] − E[x]² would cancel.
    vectors = maps[WHOLE][0].flatten(1)
    naive = (vectors.square().mean(dim=1) - vectors.mean(dim=1).square()).clamp_min(0).sqrt()
    is_near = torch.allclose(naive.double(), wanted.stds[WHOLE][-1], rtol=1e-2)
    assert is_near == (level == 0)


def test_a_region_s_deviation_is_from_its_own_mean() -> None:
    # Two regions of one level each: flat, however far they are apart.
    left = (torch.arange(24) < 12).double().expand(1, 1, 16, 24)
    maps = {WHOLE: (5 * left)[..., ::2, ::2].expand(1, 6, 8, 12)}
    found = style_of(maps, 0, torch.cat([left, 1 - left]), [WHOLE])
    assert torch.allclose(found.means[WHOLE][:, 0], torch.tensor([5.0, 0.0], dtype=torch.float64))
    assert found.stds[WHOLE].abs().max() < 1e-9
    assert found.roots[WHOLE].abs().max() < 1e-7
    whole = style_of(maps, 0, torch.ones(1, 1, 16, 24), [WHOLE])
    assert torch.allclose(whole.stds[WHOLE], torch.full((1, 6), 2.5, dtype=torch.float64))


def test_a_batch_has_a_row_for_each_picture() -> None:
    maps = random_maps(count=3)
    found = style_of(maps, 1e-5, whole=[WHOLE])
    assert_alike(found, plain_style(maps, 1e-5), atol=1e-6)
    assert style_of(maps).roots == {}
    alone = style_of({tap: part[1:2] for tap, part in maps.items()}, 1e-5, whole=[WHOLE])
    assert_alike(found.rows([1]), alone, atol=1e-6)


def test_a_map_of_one_position_has_no_deviation_and_no_nan() -> None:
    found = style_of({WHOLE: random(1, 6, 1, 1)}, 1e-8, whole=[WHOLE])
    assert torch.allclose(found.stds[WHOLE], torch.full((1, 6), 1e-4, dtype=torch.float64))
    assert found.roots[WHOLE].abs().max() < 1e-7


# -------------------------------------------------------------------------------------- gathered

CUTS = [0, 2, 12, 24]  # columns at which maps are cut, on whole strides


def in_parts(shares: Tensor | None, count: int = 1) -> tuple[list[Style], Tensor]:
    """Return the statistics of parts of different sizes, and how much there is of each."""
    maps, parts, counts = random_maps(count=count), [], []
    for left, right in itertools.pairwise(CUTS):
        here = {tap: p[..., left >> s : right >> s] for s, (tap, p) in enumerate(maps.items())}
        share = None if shares is None else shares[..., left:right]
        parts.append(style_of(here, 0, share, [WHOLE]))
        area = torch.tensor([16.0 * (right - left)])
        counts.append(area if share is None else share.sum(dim=(1, 2, 3)))
    return parts, torch.stack(counts).double()


@pytest.mark.parametrize("has_regions", [False, True])
def test_the_whole_has_the_statistics_that_its_parts_say(has_regions: bool) -> None:
    shares = random(3, 1, 16, 24, seed=7).abs().clamp(0.01, 1) if has_regions else None
    count = 1 if has_regions else 2
    parts, counts = in_parts(shares, count)
    whole = style_of(random_maps(count=count), 1e-5, shares, [WHOLE])
    assert_alike(gathered(parts, counts, 1e-5), whole, atol=1e-6)
    # In another order, and in pairs, it is the same.
    backwards = gathered(parts[::-1], counts.flip(0), 1e-5)
    assert_alike(backwards, whole, atol=1e-6)
    pair = gathered(parts[:2], counts[:2], 0)
    assert_alike(
        gathered([pair, parts[2]], torch.stack([counts[:2].sum(dim=0), counts[2]]), 1e-5),
        whole,
        atol=1e-6,
    )


@pytest.mark.parametrize("mistake", ["between", "counts", "roots"])
def test_typical_mistakes_in_gathering_would_be_seen(mistake: str) -> None:
    parts, counts = in_parts(None)
    whole = style_of(random_maps(), 0, whole=[WHOLE])
    assert_alike(gathered(parts, counts, 0), whole, atol=1e-6)
    if mistake == "counts":  # every part alike, whatever its size
        wrong = gathered(parts, torch.ones_like(counts), 0)
    else:  # no means that differ; or roots meant instead of covariances
        share = counts / counts.sum(dim=0)
        stacks = {tap: torch.stack([part.stds[tap] for part in parts]) for tap in CHANNELS}
        stds = {t: (share[..., None] * s.square()).sum(dim=0).sqrt() for t, s in stacks.items()}
        roots = torch.stack([s * p.roots[WHOLE] for s, p in zip(share, parts, strict=True)]).sum(
            dim=0
        )
        right = gathered(parts, counts, 0)
        wrong = Style(
            right.means,
            stds if mistake == "between" else right.stds,
            {WHOLE: roots @ roots} if mistake == "roots" else right.covariances,
        )
    with pytest.raises(AssertionError):
        assert_alike(wrong, whole, atol=1e-3)


def test_one_part_is_the_whole_and_styles_without_roots_stay_without() -> None:
    maps = random_maps()
    part = style_of(maps, 0, whole=[WHOLE])
    whole = style_of(maps, 1e-5, whole=[WHOLE])
    assert_alike(gathered([part], torch.ones(1, 1), 1e-5), whole, atol=1e-6)
    assert gathered([style_of(maps, 0)] * 2, torch.ones(2, 1), 0).roots == {}


def test_a_root_is_found_once_whatever_is_made_of_its_style(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Tensor] = []
    monkeypatch.setattr(styles, "root_of", lambda given: found.append(given) or root_of(given))
    several = [random_style(seed=seed) for seed in range(3)]
    for made in (mix(several, [1, 2, 3]), stacked(several), stacked(several).rows([2, 0])):
        wanted = Style(made.means, made.stds, made.covariances).roots
        assert torch.allclose(made.roots[WHOLE], wanted[WHOLE], atol=1e-9)
    assert len(found) == 3 + 3, "of each style, and of what was compared with"
