r"""How a fast style net is trained: by the losses of Gatys' method, on pictures it has to make itself.

Notebook 01 moves the pixels of one picture down the slope of content loss + w · style loss. Here the
weights of a net move down the same slope, averaged over photos, so that afterwards one pass of the
net lands near where the pixels would have gone:

.. math:: \min_\theta\; \mathbb E_{c, k, w}\;
          \frac{w_c L_c(f_\theta(c, k, w), c) + w\,L_k(f_\theta(c, k, w)) + w_{tv} TV}{w_c + w}
          + w_g\,G(f_\theta(c, k, w)) + w_t\,L_t

Each picture of a batch has a style k and a style weight w of its own, drawn by the seed. Divided by
w_c + w, the losses of all places of the dial are about equally large, and none drowns the others;
what minimises them is the same. G, the :func:`nstlib.losses.grid_variance`, is what no optimised
picture needs and a net does: it keeps strokes off the grid of the net's own strides. Nets that are
to paint clips need :math:`L_t` besides, which :mod:`nstlib.steadiness` tells of.

Reference:
    Johnson, Alahi & Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016; Babaeizadeh &
    Ghiasi, Adjustable Real-time Style Transfer, 2018.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from nstlib import kernels, losses, steadiness
from nstlib.config import Range, check_fields
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, check_taps, mirrored_border, mirrored_maps
from nstlib.images import check_image, to_uint8
from nstlib.training import Batch, Task
from nstlib.transform_net import ConditionalNorm, TransformNet, dial_position
from nstlib.weights import save_weights


@dataclass(frozen=True)
class Recipe:
    """The loss that a fast net is trained for: what each term looks at, and its weight."""

    content_weight: Annotated[float, Range(0, 1e6, "pull towards the photo", log=True)] = 1.0
    style_weight: Annotated[float, Range(0, 1e12, "pull towards the style", log=True)] = 100.0
    tv_weight: Annotated[float, Range(0, 1e6, "smoothness between neighbours", log=True)] = 0.1
    grid_weight: Annotated[
        float, Range(0, 1e6, "against strokes on the strides' grid", log=True)
    ] = 300.0
    temporal_weight: Annotated[
        float, Range(0, 1e6, "steadiness between frames of a clip", log=True)
    ] = 0.0
    content_taps: losses.Taps = (
        "relu3_3",
    )  # names share a weight of 1; a mapping gives each its own
    style_taps: losses.Taps = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
    normalize: losses.Normalize = "energy"
    full_dial: Annotated[float, Range(0, 1, "share of pictures at the dial's upper end")] = 0.3
    mixtures: Annotated[float, Range(0, 1, "share of pictures with two styles at once")] = 0.1
    # Few pictures of a batch teach one row of γ and β; with ten styles on a dial of four places,
    # rows ten times as fast as the rest reached in 200 steps what took 400 at equal rates.
    row_rate: Annotated[float, Range(1, 100, "how much faster the styles' rows learn")] = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("content_taps", "style_taps"):
            losses.tap_weights(name, getattr(self, name))
        if not (self.content_weight or self.style_weight):
            raise ValueError("content_weight and style_weight are 0; one must be above")


RECIPES: dict[str, Recipe] = {
    # The loss of notebook 01.
    "default": Recipe(),
    # The multi-layer perceptual loss with 1e5 times the Gram loss, as many courses have it.
    "perceptual": Recipe(
        style_weight=1e5,
        tv_weight=0.0,
        grid_weight=0.0,
        content_taps=dict.fromkeys(("relu1_2", "relu2_2", "relu3_3"), 1.0),
        style_taps=dict.fromkeys(("relu1_2", "relu2_2", "relu3_3"), 1.0),
        normalize="chw",
    ),
}


def check_crop(crop: int, encoder: Encoder, recipe: Recipe) -> None:
    """Raise ValueError unless the losses find their taps, and can mirror crops of ``crop`` px."""
    taps = [
        *losses.tap_weights("content_taps", recipe.content_taps),
        *losses.tap_weights("style_taps", recipe.style_taps),
    ]
    check_taps(encoder, taps, "recipe")
    border = mirrored_border(encoder, taps)
    if crop <= border:
        raise ValueError(
            f"photos come in crops of {crop} px; the losses take more than {border} px"
        )


class FastNetTask(Task[TransformNet]):
    """Train a :class:`TransformNet` to paint photos in its styles.

    Args:
        model: the net.
        styles: a picture (1, 3, H, W) for each style of the net, in its order.
        crops: the photos.
        encoder: whose eyes the losses look with.
        recipe: the losses.
        shown: pictures (N, 3, H, W) for the sheets of samples.
    """

    def __init__(
        self,
        model: TransformNet,
        styles: Sequence[Tensor],
        crops: Crops,
        encoder: Encoder,
        recipe: Recipe | None = None,
        shown: Tensor | None = None,
    ) -> None:
        self.model, self.crops, self.recipe = model, crops, recipe or Recipe()
        self.encoder, self.shown = encoder, shown
        self.eyes = encoder  # on the device, and in the dtype, of the training
        self.content_taps = losses.tap_weights("content_taps", self.recipe.content_taps)
        self.style_taps = losses.tap_weights("style_taps", self.recipe.style_taps)
        check_crop(crops.crop, encoder, self.recipe)
        if len(styles) != max(1, len(model.shape.styles)):
            raise ValueError(
                f"styles has {len(styles)} pictures; the net has {len(model.shape.styles) or 1}"
            )
        for i, style in enumerate(styles):
            check_image(f"styles[{i}]", style)
        self.styles = list(styles)
        self.grams: dict[str, Tensor] = {}  # (K, C, C) of each tap

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move net and encoder to ``device``, and see the styles there."""
        super().to(device, dtype)
        self.eyes = copy.deepcopy(self.encoder).to(device).in_dtype(dtype)
        scale = losses.gram_scale(self.recipe.normalize)
        with torch.no_grad():
            seen = [
                mirrored_maps(self.eyes, style.to(device), list(self.style_taps))
                for style in self.styles
            ]
        self.grams = {
            tap: torch.cat([kernels.gram(maps[tap], scale) for maps in seen])
            for tap in self.style_taps
        }

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return the convolutions, and the table rows of γ and β, which learn faster."""
        norms = [part for part in self.model.modules() if isinstance(part, ConditionalNorm)]
        rows = [parameter for norm in norms for parameter in norm.parameters()]
        known = {id(row) for row in rows}
        others = [p for p in self.model.parameters() if id(p) not in known]
        return [{"params": others}, {"params": rows, "lr": self.recipe.row_rate * learning_rate}]

    def draw(self, step: int, count: int, seed: int, share: slice = slice(None)) -> Batch:
        """Return crops of photos, and for each a mixture of styles and a style weight."""
        generator = generator_of(seed, step)
        mixture, weight = self._mixtures(count, generator), self._weights(count, generator)
        photos = self.crops.batch(step, count, seed, share)
        batch = {"content": photos, "mixture": mixture[share], "weight": weight[share]}
        if self.recipe.temporal_weight:
            batch |= steadiness.seen_again(photos, step, count, seed, share)
        return batch

    def _mixtures(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, K): one style each, or for some of them two, in any proportion."""
        styles = len(self.styles)
        one, other = torch.randint(styles, (2, count), generator=generator)
        share, chosen = torch.rand(2, count, generator=generator)
        share = torch.where(chosen < self.recipe.mixtures, share, 1.0)[:, None]
        return share * torch.eye(styles)[one] + (1 - share) * torch.eye(styles)[other]

    def _weights(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count,) style weights: even over the dial's decades, some at its upper end."""
        dial = self.model.shape.dial
        if not dial:
            return torch.full((count,), float(self.recipe.style_weight))
        low, high = torch.tensor([dial[0], dial[-1]]).log()
        place, chosen = torch.rand(2, count, generator=generator)
        place = torch.where(chosen < self.recipe.full_dial, 1.0, place)
        return torch.lerp(low, high, place).exp()

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the recipe, and their sum weighted by each picture's dial."""
        recipe, photo, weight = self.recipe, batch["content"], batch["weight"]
        place = dial_position(weight.cpu(), self.model.shape.dial or (1.0,)).to(weight.device)
        condition = torch.einsum("nk,nj->nkj", batch["mixture"], place).flatten(1)
        painted = model(photo, condition)
        content_taps, style_taps = list(self.content_taps), list(self.style_taps)
        with torch.no_grad():
            wanted = mirrored_maps(self.eyes, photo, content_taps)
        maps = mirrored_maps(self.eyes, painted, list(dict.fromkeys(content_taps + style_taps)))
        content = torch.stack(
            [
                share
                * losses.content_distance(maps[tap].float(), wanted[tap].float(), recipe.normalize)
                for tap, share in self.content_taps.items()
            ]
        ).sum(dim=0)  # (N,), as is the style loss
        style = torch.stack(
            [
                share * self._style_distance(tap, maps[tap], batch["mixture"])
                for tap, share in self.style_taps.items()
            ]
        ).sum(dim=0)
        tv = torch.stack([kernels.total_variation(picture) for picture in painted.split(1)])
        grid = losses.grid_variance(painted, self.model.shape.stride)
        balance = recipe.content_weight + weight
        pull = recipe.content_weight * content + weight * style + recipe.tv_weight * tv
        total = pull / balance + recipe.grid_weight * grid
        terms = {"content": content, "style": style, "tv": tv, "grid": grid}
        if recipe.temporal_weight:  # which few recipes ask for, and takes time
            again = model(batch["again"], condition)
            terms["temporal"] = steadiness.unsteadiness(painted, again, batch["flow"])
            total = total + recipe.temporal_weight * terms["temporal"]
        return {name: term.mean() for name, term in {"total": total, **terms}.items()}

    def _style_distance(self, tap: str, maps: Tensor, mixture: Tensor) -> Tensor:
        normalize = self.recipe.normalize
        found = kernels.gram(maps, losses.gram_scale(normalize))
        # Sums of products, not a matrix product, which autocast would round to bfloat16.
        grams = zip(mixture.T, self.grams[tap], strict=True)
        wanted = torch.stack([share[:, None, None] * gram for share, gram in grams]).sum(dim=0)
        return losses.gram_distance(found, wanted, normalize)

    @torch.no_grad()
    def samples(self, model: TransformNet) -> Tensor:
        """Return a sheet: a row for each style, a column for each picture, at the full dial."""
        shape = model.shape
        shown = self.crops.batch(1, 4, seed=0) if self.shown is None else self.shown
        shown = shown.to(model.head.weight.device)
        rows = [model(shown, model.condition(name)) for name in shape.styles or [None]]
        from torchvision.utils import make_grid  # takes two seconds to load

        sheet: Tensor = make_grid(torch.cat([shown, *rows]).cpu(), nrow=len(shown), padding=4)
        return sheet[None]

    def export(self, model: TransformNet, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the net's weights in float16, with its shape and recipe in the file's metadata."""
        own = {"shape": asdict(model.shape), "recipe": asdict(self.recipe)}
        save_weights(model.state_dict(), path, own | dict(facts))

    @property
    def config(self) -> dict[str, Any]:
        """Shape, recipe and encoder, in plain values."""
        shape = {name: _plain(value) for name, value in asdict(self.model.shape).items()}
        recipe = {name: _plain(value) for name, value in asdict(self.recipe).items()}
        pictures = [hashlib.sha256(to_uint8(style).tobytes()).hexdigest() for style in self.styles]
        return {
            **shape,
            **recipe,
            "encoder": f"{self.encoder.name} ({self.encoder.weights})",
            "style pictures": pictures,
            "photos": len(self.crops),
            "crop": self.crops.crop,
            "shorter_side": self.crops.shorter_side,
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
