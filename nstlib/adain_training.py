r"""How AdaIN's decoder is trained: on any photo with any painting, to mean what it was told.

The encoder is frozen, and so is AdaIN, which has no weights: only the decoder g learns. With the
restyled maps t of a photo c and a painting s,

.. math:: \min_g\; \mathbb E_{c,s}\; w_c\,\lVert f(g(t)) - t \rVert^2
          + w_s \sum_l \bigl(\lVert \mu_l(g(t)) - \mu_l(s) \rVert^2
          + \lVert \sigma_l(g(t)) - \sigma_l(s) \rVert^2\bigr)
          + \dots

The content loss does not compare with the photo, but with t: the photo's forms in the style's
statistics, so that the two losses hardly pull against each other. A share of the pictures is its own
style: for these t is what the encoder saw, and the decoder has to give the photo back, pixel by
pixel. In the first steps all of them may be, so that it can paint before it learns to restyle.
For clips, :mod:`nstlib.steadiness` adds a term: a second look at a photo is to be painted alike.

Every term is a mean over the whole batch. So is the identity loss, in which pictures of another
style count as 0: how many of a batch are their own style is left to chance, and the share of a
process may hold none.

Reference:
    Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
    2017; Park & Lee, Arbitrary Style Transfer with Style-Attentional Networks, 2019 (the identity
    loss).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from nstlib import kernels, losses, steadiness
from nstlib.adain import AdaIN, Decoder, Maps, Shape, steering_of, style_of
from nstlib.config import Range, check_fields
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, check_taps, mirrored_border, mirrored_maps
from nstlib.images import check_image
from nstlib.training import Batch, Task
from nstlib.weights import save_weights

PERCEPTUAL_TAPS = ("relu1_2", "relu2_2")  # where the photo itself pulls, if it is to


@dataclass(frozen=True)
class Recipe:
    """The loss that a decoder is trained for: what each term looks at, and its weight.

    Raises:
        ValueError, TypeError: a value outside its range, no such convention, or nothing to learn.
    """

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
    autoencoder_steps: Annotated[int, Range(0, 1_000_000, "first steps, in which all are")] = 0
    tv_weight: Annotated[float, Range(0, 1e6, "smoothness between neighbours", log=True)] = 0.0
    grid_weight: Annotated[
        float, Range(0, 1e6, "against strokes on the strides' grid", log=True)
    ] = 100.0
    temporal_weight: Annotated[
        float, Range(0, 1e6, "steadiness between frames of a clip", log=True)
    ] = 0.0
    content_tap: str = "relu3_1"
    style_taps: losses.Taps = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
    normalize: losses.Normalize = "energy"

    def __post_init__(self) -> None:
        check_fields(self)
        losses.tap_weights("style_taps", self.style_taps)
        if not (self.content_weight or self.style_weight or self.gram_weight):
            raise ValueError(
                "content_weight, style_weight and gram_weight are 0; one must be above"
            )

    @property
    def photo_taps(self) -> tuple[str, ...]:
        """Where the photo itself pulls."""
        return PERCEPTUAL_TAPS if self.perceptual_weight else ()

    @property
    def taps(self) -> list[str]:
        """Whatever the losses look at, each tap once."""
        return _once([self.content_tap, *self.style_taps, *self.photo_taps])


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
    # As some do: L = L_s + λ·L_c with λ = 2.5.
    "lambda2.5": replace(_LITERATURE, content_weight=2.5, style_weight=1.0),
    # Ten times the Gram loss beside the statistics.
    "gram": Recipe(gram_weight=10.0),
    # Closer to the photo, whose own maps pull at two shallow layers.
    "perceptual": Recipe(perceptual_weight=1.0),
}


class AdaINTask(Task[Decoder]):
    """Train a :class:`Decoder` to paint photos in the style of any painting.

    Args:
        model: the decoder.
        encoder: whose maps it decodes.
        photos, paintings: what it learns from, in crops of one size.
        eyes: the encoder that the losses look with; without, the decoder's own.
        recipe: the losses.
        shown: photos and styles, two images (N, 3, H, W) of one shape, for the sheets of samples;
            without, crops that are drawn once.

    Raises:
        ValueError: a decoder of another encoder, eyes that lack a tap, crops that do not fit, or
            pictures to show that are not in pairs.
        TypeError: pictures to show that are none.
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
        AdaIN(encoder, model)  # which says what is wrong where they do not belong together
        check_taps(self.eyes, self.recipe.taps, "recipe")
        self._check_crops()
        if shown is not None:
            _check_pairs(*shown)
        # On the device, and in the dtype, of the training.
        self._encoder, self._eyes = self.encoder, self.eyes

    def _check_crops(self) -> None:
        crop = self.photos.crop
        if crop != self.paintings.crop:
            raise ValueError(
                f"photos come in crops of {crop} px and paintings of {self.paintings.crop} px; "
                "both must be of one size"
            )
        check_crop(crop, self.model.shape, self.eyes, self.recipe)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the decoder, and copies of the encoders, to ``device``."""
        super().to(device, dtype)
        self._encoder = copy.deepcopy(self.encoder).to(device).in_dtype(dtype)
        self._eyes = (
            self._encoder
            if self.eyes is self.encoder
            else copy.deepcopy(self.eyes).to(device).in_dtype(dtype)
        )

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        """Return crops of photos, a style for each, and which of them are their own style."""
        photos, paintings = self._drawn(step, count, seed, share)
        own = torch.rand(count, generator=generator_of(seed, step)) < self.recipe.identity_share
        own = own[share] | (step <= self.recipe.autoencoder_steps)
        batch = {
            "content": photos,
            "style": torch.where(own[:, None, None, None], photos, paintings),
            "own": own,
        }
        if self.recipe.temporal_weight:
            batch |= steadiness.seen_again(photos, step, count, seed, share)
        return batch

    def _drawn(
        self, step: int, count: int, seed: int, share: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Return crops of photos, and of paintings, which come in an order of their own."""
        other = generator_of(seed, 0).initial_seed()
        return (
            self.photos.batch(step, count, seed, share),
            self.paintings.batch(step, count, other, share),
        )

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the recipe, and their weighted sum."""
        recipe, photo = self.recipe, batch["content"]
        with torch.no_grad():
            seen, style, restyled, target = self._seen(photo, batch["style"])
            wanted = _restyled(seen, style, [recipe.content_tap])[recipe.content_tap]
        painted = model(restyled, target)
        maps = mirrored_maps(self._eyes, painted, recipe.taps)
        apart = partial(losses.content_distance, normalize=recipe.normalize)
        terms = {  # of each picture, (N,)
            "content": apart(maps[recipe.content_tap].float(), wanted.float()),
            "style": self._over_taps(self._statistics_distance, maps, style),
            "identity": batch["own"] * (painted - photo).square().mean(dim=(1, 2, 3)),
            "grid": losses.grid_variance(painted, self.model.shape.stride),
        }
        # What few recipes ask for, and takes time.
        if recipe.gram_weight:
            terms["gram"] = self._over_taps(self._gram_distance, maps, style)
        if recipe.perceptual_weight:
            each = [apart(maps[tap].float(), seen[tap].float()) for tap in recipe.photo_taps]
            terms["perceptual"] = torch.stack(each).mean(dim=0)
        if recipe.tv_weight:
            terms["tv"] = torch.stack([kernels.total_variation(p) for p in painted.split(1)])
        if recipe.temporal_weight:
            again = model(self._restyled_again(batch), target)
            terms["temporal"] = steadiness.unsteadiness(painted, again, batch["flow"])
        means = {name: term.mean() for name, term in terms.items()}
        total = [getattr(recipe, f"{name}_weight") * mean for name, mean in means.items()]
        return {"total": torch.stack(total).sum(), **means}

    def _seen(self, photo: Tensor, painting: Tensor) -> tuple[Maps, Maps, Maps, Tensor | None]:
        """Return what the losses see of photos and paintings, and what the decoder is given."""
        shape, recipe = self.model.shape, self.recipe
        decoded, looked_at = list(shape.taps), list(shape.looked_at)
        of_photo = [recipe.content_tap, *recipe.photo_taps]
        of_painting = [recipe.content_tap, *recipe.style_taps]
        if self._eyes is self._encoder:  # then a look at each is enough
            seen = mirrored_maps(self._eyes, photo, _once([*of_photo, *decoded]))
            style = mirrored_maps(self._eyes, painting, _once([*of_painting, *looked_at]))
            return seen, style, _restyled(seen, style, decoded), self._target(style)
        photo_maps = mirrored_maps(self._encoder, photo, decoded)
        style_maps = mirrored_maps(self._encoder, painting, looked_at)
        return (
            mirrored_maps(self._eyes, photo, _once(of_photo)),
            mirrored_maps(self._eyes, painting, _once(of_painting)),
            _restyled(photo_maps, style_maps, decoded),
            self._target(style_maps),
        )

    @torch.no_grad()
    def _restyled_again(self, batch: Batch) -> Maps:
        """Return what the decoder is given of the second look: its own statistics are taken from it."""
        taps = list(self.model.shape.taps)
        again, style = (
            mirrored_maps(self._encoder, batch[name], taps) for name in ("again", "style")
        )
        return _restyled(again, style, taps)

    def _target(self, style: Maps) -> Tensor | None:
        """Return what steers the decoder: all of the style, as where alpha is 1."""
        wanted = style_of({tap: style[tap] for tap in self.model.shape.steered_by})
        return steering_of(wanted, wanted, 1.0, self.model.shape)

    def _over_taps(
        self, distance: Callable[[Tensor, Tensor], Tensor], maps: Maps, style: Maps
    ) -> Tensor:
        """Return the weighted sum of a distance over the style taps, (N,)."""
        weights = losses.tap_weights("style_taps", self.recipe.style_taps)
        each = [weight * distance(maps[tap], style[tap]) for tap, weight in weights.items()]
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
        photos, styles = self.shown or self._drawn(1, 4, seed=0)
        painter = AdaIN(self._encoder, model).in_dtype(self._encoder.dtype)
        pairs = zip(photos[:, None], styles[:, None], strict=True)
        painted = [painter.stylize(photo, style) for photo, style in pairs]
        from torchvision.utils import make_grid  # takes two seconds to load

        sheet: Tensor = make_grid(torch.cat([photos, styles, *painted]), len(photos), padding=4)
        return sheet[None]

    def export(self, model: Decoder, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the decoder's weights in float16, with its shape and recipe in the file's metadata."""
        own = {
            "shape": asdict(model.shape),
            "recipe": asdict(self.recipe),
            "encoder": self.encoder.identity,
            "eyes": self.eyes.identity,
        }
        save_weights(model.state_dict(), path, own | dict(facts))

    @property
    def config(self) -> dict[str, Any]:
        """Shape, recipe, encoders and pictures, in plain values."""
        made_of = {**asdict(self.model.shape), **asdict(self.recipe)}
        return {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in made_of.items()},
            "encoder": f"{self.encoder.name} ({self.encoder.weights})",
            "eyes": f"{self.eyes.name} ({self.eyes.weights})",
            "photos": len(self.photos),
            "paintings": len(self.paintings),
            "crop": self.photos.crop,
            "shorter_sides": [self.photos.shorter_side, self.paintings.shorter_side],
        }


def check_crop(crop: int, shape: Shape, eyes: Encoder, recipe: Recipe) -> None:
    """Raise ValueError unless a decoder of ``shape``, and the losses, can take crops of ``crop`` px.

    Their strides must divide it, and mirroring at its edges needs more than a stride.
    """
    stride = max(shape.stride, *(eyes.strides[tap] for tap in recipe.taps))
    border = max(stride, mirrored_border(eyes, recipe.taps))
    if crop % stride or crop <= border:
        raise ValueError(
            f"photos and paintings come in crops of {crop} px; this decoder and its losses "
            f"take a multiple of {stride} px above {border} px"
        )


def _check_pairs(photos: Tensor, styles: Tensor) -> None:
    for pictures in (photos, styles):
        check_image("shown", pictures, batch=True)
    if photos.shape != styles.shape:
        raise ValueError(
            f"shown has photos of shape {tuple(photos.shape)} and styles of {tuple(styles.shape)}; "
            "both must be of one shape"
        )


def _restyled(photo: Maps, painting: Maps, taps: Sequence[str]) -> Maps:
    return {tap: kernels.adain(photo[tap], *kernels.moments(painting[tap])) for tap in taps}


def _once(taps: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(taps))
