r"""How AdaIN's decoder is trained: on any photo with any painting, to mean what it was told.

The encoder is frozen, and so is AdaIN, which has no weights: only the decoder g learns. With the
restyled maps t of a photo c and a painting s,

.. math:: \min_g\; \mathbb E_{c,s}\; w_c\,\lVert f(g(t)) - t \rVert^2
          + w_s \sum_l \lVert \mu_l(g(t)) - \mu_l(s) \rVert^2 + \lVert \sigma_l(g(t)) - \sigma_l(s) \rVert^2
          + \dots

The content loss does not compare with the photo, but with t: the photo's forms in the style's
statistics, so that the two losses hardly pull against each other. A share of the pictures is its own
style: for these t is what the encoder saw, and the decoder has to give the photo back.

Reference:
    Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
    2017; Park & Lee, Arbitrary Style Transfer with Style-Attentional Networks, 2019 (the identity
    loss).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
from torch import Tensor, nn
from torchvision.utils import make_grid

from nstlib import kernels, losses
from nstlib.adain import AdaIN, Decoder, Maps
from nstlib.config import Range, ranges_of
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, check_taps, mirrored_maps
from nstlib.training import Batch, Task
from nstlib.weights import save_weights


@dataclass(frozen=True)
class Recipe:
    """The loss that a decoder is trained for: what each term looks at, and its weight."""

    content_weight: Annotated[float, Range(0, 1e6, "pull towards the restyled maps", log=True)] = (
        1.0
    )
    style_weight: Annotated[float, Range(0, 1e6, "pull of the style's statistics", log=True)] = 10.0
    gram_weight: Annotated[float, Range(0, 1e6, "pull of its Gram matrices", log=True)] = 0.0
    perceptual_weight: Annotated[float, Range(0, 1e6, "pull towards the photo", log=True)] = 0.0
    identity_weight: Annotated[
        float, Range(0, 1e6, "pixels of photos that are their own style", log=True)
    ] = 10.0
    identity_share: Annotated[float, Range(0, 1, "share of photos that are their own style")] = 0.1
    tv_weight: Annotated[float, Range(0, 1e6, "smoothness between neighbours", log=True)] = 0.0
    grid_weight: Annotated[
        float, Range(0, 1e6, "against strokes on the strides' grid", log=True)
    ] = 100.0
    content_tap: str = "relu3_1"
    style_taps: losses.Taps = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
    normalize: losses.Normalize = "energy"

    def __post_init__(self) -> None:
        for name, value_range in ranges_of(Recipe).items():
            value_range.check(name, getattr(self, name))
        losses.tap_weights("style_taps", self.style_taps)
        if self.normalize not in get_args(losses.Normalize):
            known = ", ".join(map(repr, get_args(losses.Normalize)))
            raise ValueError(f"normalize is {self.normalize!r}; it takes {known}")
        if not (self.content_weight or self.style_weight or self.gram_weight):
            raise ValueError(
                "content_weight, style_weight and gram_weight are 0; one must be above"
            )


# What the literature trains with: VGG-19, and differences that are not divided by anything's energy.
_LITERATURE = Recipe(
    identity_weight=0,
    identity_share=0,
    grid_weight=0,
    content_tap="relu4_1",
    style_taps=dict.fromkeys(("relu1_1", "relu2_1", "relu3_1", "relu4_1"), 1.0),
    normalize="chw",
)
RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    # As most code weighs them: the style, ten to one.
    "style10": _LITERATURE,
    # As others do: L = L_s + λ·L_c with λ = 2.5.
    "lambda2.5": replace(_LITERATURE, content_weight=2.5, style_weight=1.0),
    # Ten times the Gram loss beside the statistics.
    "gram": Recipe(gram_weight=10.0),
    # Closer to the photo, over three layers.
    "perceptual": Recipe(perceptual_weight=1.0),
}
PERCEPTUAL_TAPS = ("relu1_2", "relu2_2")  # beside the content tap, where the photo itself pulls


class AdaINTask(Task[Decoder]):
    """Train a :class:`Decoder` to paint photos in the style of any painting.

    Args:
        model: the decoder.
        encoder: whose maps it decodes.
        photos, paintings: what it learns from, in crops of one size.
        eyes: the encoder that the losses look with; without, the decoder's own.
        recipe: the losses.
        shown: photos and styles (N, 3, H, W), as many of each, for the sheets of samples.

    Raises:
        ValueError: an encoder that lacks a tap, crops of different sizes, or unequal numbers shown.
    """

    def __init__(
        self,
        model: Decoder,
        encoder: Encoder,
        photos: Crops,
        paintings: Crops,
        eyes: Encoder | None = None,
        recipe: Recipe | None = None,
        shown: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.model, self.encoder, self.recipe = model, encoder, recipe or Recipe()
        self.photos, self.paintings, self.shown = photos, paintings, shown
        self.eyes = eyes or encoder
        self.style_taps = losses.tap_weights("style_taps", self.recipe.style_taps)
        check_taps(encoder, model.shape.taps, "the decoder")
        check_taps(self.eyes, [self.recipe.content_tap, *self.style_taps], "recipe")
        if photos.crop != paintings.crop:
            raise ValueError(
                f"photos come in crops of {photos.crop} px and paintings of {paintings.crop} px; "
                "both must be of one size"
            )
        if photos.crop % model.shape.stride:
            raise ValueError(
                f"crops are of {photos.crop} px; the decoder takes a multiple of {model.shape.stride}"
            )
        if shown is not None and len(shown[0]) != len(shown[1]):
            raise ValueError(f"shown has {len(shown[0])} photos and {len(shown[1])} styles")

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move decoder and encoders to ``device``."""
        super().to(device, dtype)
        same = self.eyes is self.encoder
        self.encoder = copy.deepcopy(self.encoder).to(device).in_dtype(dtype)
        self.eyes = self.encoder if same else copy.deepcopy(self.eyes).to(device).in_dtype(dtype)

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        """Return crops of photos, a style for each, and which of them are their own style."""
        other = generator_of(seed, 0).initial_seed()  # another order for the paintings
        photos = self.photos.batch(step, count, seed, share)
        paintings = self.paintings.batch(step, count, other, share)
        own = torch.rand(count, generator=generator_of(seed, step)) < self.recipe.identity_share
        own = own[share]
        paintings = torch.where(own[:, None, None, None], photos, paintings)
        return {"content": photos, "style": paintings, "own": own}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the recipe, and their weighted sum."""
        recipe, photo, own = self.recipe, batch["content"], batch["own"].float()
        with torch.no_grad():
            seen, style, restyled = self._seen(photo, batch["style"])
            wanted = _restyled(seen, style, [recipe.content_tap])[recipe.content_tap]
        painted = model(restyled)
        taps = [recipe.content_tap, *self.style_taps, *self._perceptual_taps]
        maps = mirrored_maps(self.eyes, painted, _once(taps))
        apart = partial(losses.content_distance, normalize=recipe.normalize)
        terms = {
            "content": apart(maps[recipe.content_tap].float(), wanted.float()),
            "style": self._over_taps(self._statistics_distance, maps, style),
            "identity": own * (painted - photo).square().mean(dim=(1, 2, 3)),
            "grid": losses.grid_variance(painted, self.model.shape.stride),
        }
        # What few recipes ask for, and takes time.
        if recipe.gram_weight:
            terms["gram"] = self._over_taps(self._gram_distance, maps, style)
        if recipe.perceptual_weight:
            each = [apart(maps[tap].float(), seen[tap].float()) for tap in self._perceptual_taps]
            terms["perceptual"] = torch.stack(each).mean(dim=0)
        if recipe.tv_weight:
            terms["tv"] = torch.stack([kernels.total_variation(p) for p in painted.split(1)])
        means = {name: term.mean() for name, term in terms.items()}
        total = [getattr(recipe, f"{name}_weight") * mean for name, mean in means.items()]
        return {"total": torch.stack(total).sum(), **means}

    @property
    def _perceptual_taps(self) -> tuple[str, ...]:
        return PERCEPTUAL_TAPS if self.recipe.perceptual_weight else ()

    def _seen(self, photo: Tensor, painting: Tensor) -> tuple[Maps, Maps, Maps]:
        """Return what the losses see of photos and paintings, and the restyled maps to decode."""
        own = list(self.model.shape.taps)
        of_photo = [self.recipe.content_tap, *self._perceptual_taps]
        of_painting = [self.recipe.content_tap, *self.style_taps]
        if self.eyes is self.encoder:  # then a look at each is enough
            seen = mirrored_maps(self.eyes, photo, _once(of_photo + own))
            style = mirrored_maps(self.eyes, painting, _once(of_painting + own))
            return seen, style, _restyled(seen, style, own)
        restyled = _restyled(
            mirrored_maps(self.encoder, photo, own), mirrored_maps(self.encoder, painting, own), own
        )
        seen = mirrored_maps(self.eyes, photo, _once(of_photo))
        return seen, mirrored_maps(self.eyes, painting, _once(of_painting)), restyled

    def _over_taps(
        self, distance: Callable[[Tensor, Tensor], Tensor], maps: Maps, style: Maps
    ) -> Tensor:
        """Return the weighted sum of a distance over the style taps, (N,)."""
        each = [share * distance(maps[t], style[t]) for t, share in self.style_taps.items()]
        return torch.stack(each).sum(dim=0)

    def _statistics_distance(self, maps: Tensor, style: Tensor) -> Tensor:
        found, wanted = (torch.stack(kernels.moments(part), dim=1) for part in (maps, style))
        return losses.statistics_distance(found, wanted, self.recipe.normalize)

    def _gram_distance(self, maps: Tensor, style: Tensor) -> Tensor:
        scale = losses.gram_scale(self.recipe.normalize)
        found, wanted = (kernels.gram(part, scale) for part in (maps, style))
        return losses.gram_distance(found, wanted, self.recipe.normalize)

    @torch.no_grad()
    def samples(self, model: Decoder) -> Tensor:
        """Return a sheet of three rows: photos, styles, and each photo in the style above it."""
        if self.shown is None:
            batch = self.draw(1, 4, seed=0)
            photos, styles = batch["content"], batch["style"]
        else:
            photos, styles = self.shown
        painter = AdaIN(self.encoder, model).in_dtype(self.encoder.dtype)
        pairs = zip(photos.split(1), styles.split(1), strict=True)
        painted = [painter.stylize(photo, style) for photo, style in pairs]
        sheet: Tensor = make_grid(torch.cat([photos, styles, *painted]), len(photos), padding=4)
        return sheet[None]

    def export(self, model: Decoder, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the decoder's weights in float16, with its shape and recipe in the file's metadata."""
        own = {
            "shape": asdict(model.shape),
            "recipe": asdict(self.recipe),
            "encoder": self.encoder.name,
        }
        save_weights(model.state_dict(), path, own | dict(facts))

    @property
    def config(self) -> dict[str, Any]:
        """Shape, recipe and encoders, in plain values."""
        made_of = {**asdict(self.model.shape), **asdict(self.recipe)}
        return {
            **{
                n: list(value) if isinstance(value, tuple) else value
                for n, value in made_of.items()
            },
            "encoder": f"{self.encoder.name} ({self.encoder.weights})",
            "eyes": f"{self.eyes.name} ({self.eyes.weights})",
            "photos": len(self.photos),
            "paintings": len(self.paintings),
            "crop": self.photos.crop,
        }


def _restyled(photo: Maps, painting: Maps, taps: Sequence[str]) -> Maps:
    return {tap: kernels.adain(photo[tap], *kernels.moments(painting[tap])) for tap in taps}


def _once(taps: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(taps))
