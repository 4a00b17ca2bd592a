r"""Colours: keep those of the photo, or give a picture those of another.

A style transfer brings forms and colours of a painting together. Two ways part them. Afterwards,
:func:`keep_color` takes no more than the lightness of the result, and gives each pixel back the
colour that it had in the photo. Before, :func:`match_color` gives the *painting* the photo's
colours, so that there are no others to be transferred.

Reference:
    Gatys, Bethge, Hertzmann & Shechtman, Preserving Color in Neural Artistic Style Transfer, 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nstlib.gaussians import covariance_of, root_of, transport
from nstlib.images import check_image

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: how light they look (ITU-R BT.601)


def luminance(image: Tensor) -> Tensor:
    """Return how light each pixel looks, (N, 1, H, W): 0.299 R + 0.587 G + 0.114 B.

    Args:
        image: (N, 3, H, W) in [0, 1].

    Example:
        >>> luminance(torch.ones(1, 3, 1, 1)).item()
        1.0
    """
    check_image("image", image, batch=True)
    weights = image.new_tensor(LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


def keep_color(painted: Tensor, photo: Tensor) -> Tensor:
    r"""Return the photo's colours in the lightness of ``painted``.

    .. math:: x = y + s\,(c - y_c), \qquad y = Y(\text{painted}),\; y_c = Y(c)

    A colour is what a pixel has beyond a grey of its own lightness. Where the new lightness leaves
    no room for all of it (a white has no colour), s < 1 is the largest share for which the pixel
    stays in [0, 1]: it grows paler, but neither its hue nor its lightness changes.

    Args:
        painted, photo: (N, 3, H, W) in [0, 1], of one shape; a photo of one may serve all.

    Raises:
        TypeError, ValueError: no such pictures, or not of one size.

    Example:
        >>> orange = torch.tensor([0.8, 0.5, 0.2]).view(1, 3, 1, 1)
        >>> lighter = keep_color(torch.full((1, 3, 1, 1), 0.6), orange)
        >>> [round(value, 3) for value in lighter.flatten().tolist()]
        [0.845, 0.544, 0.244]
    """
    check_image("painted", painted, batch=True)
    check_image("photo", photo, batch=True)
    if photo.shape[2:] != painted.shape[2:] or len(photo) not in (1, len(painted)):
        raise ValueError(
            f"photo has shape {tuple(photo.shape)} and painted {tuple(painted.shape)}; both must be "
            "of one shape, or the photo one for all"
        )
    light = luminance(painted)
    color = photo.to(painted) - luminance(photo).to(painted)
    # How often the colour fits between the grey and the wall of the cube that it points to.
    room = torch.where(color > 0, 1 - light, light) / color.abs().clamp_min(1e-12)
    share = room.amin(dim=1, keepdim=True).clamp_max(1)
    return (light + share * color).clamp(0, 1)  # which takes away what rounding leaves


@dataclass(frozen=True, eq=False)
class Colors:
    """What :func:`recolored` has to know of a picture: mean (N, 3) and covariance (N, 3, 3)."""

    mean: Tensor
    covariance: Tensor


def colors_of(image: Tensor) -> Colors:
    """Return the colours of an image (N, 3, H, W).

    Example:
        >>> colors_of(torch.full((1, 3, 2, 2), 0.5)).mean.tolist()
        [[0.5, 0.5, 0.5]]
    """
    # Exactly, and so on the CPU: not every device has float64.
    return Colors(*covariance_of(image.detach().cpu().double().flatten(2)))


def match_color(image: Tensor, target: Tensor) -> Tensor:
    r"""Return ``image`` with its colours moved so that mean and covariance are those of ``target``.

    .. math:: x = A\,(p - \mu_p) + \mu_t, \qquad A\,\Sigma_p\,A = \Sigma_t

    with the A of :func:`~nstlib.gaussians.transport`, which moves the colours least. A grey picture gets
    for each lightness the colour that goes with it in the target; a picture of one colour gets the
    target's mean. What falls outside [0, 1] is brought to its border.

    Args:
        image: (N, 3, H, W) in [0, 1].
        target: (1, 3, H', W') in [0, 1], whose colours are wanted; or as many as there are images.

    Raises:
        TypeError, ValueError: no such pictures.

    Example:
        >>> image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> target = 0.4 + 0.2 * image.flip(3)
        >>> matched = match_color(image, target)
        >>> bool((matched.mean() - target.mean()).abs() < 1e-5)
        True
    """
    check_image("target", target, batch=True)
    return recolored(image, colors_of(target))


def recolored(image: Tensor, target: Colors) -> Tensor:
    """Return what :func:`match_color` does, of which the target's colours are known.

    Example:
        >>> image, target = torch.rand(2, 1, 3, 16, 16)
        >>> torch.equal(recolored(image, colors_of(target)), match_color(image, target))
        True
    """
    check_image("image", image, batch=True)
    if len(target.mean) not in (1, len(image)):
        raise ValueError(f"target is {len(target.mean)} pictures; it must be 1, or {len(image)}")
    own = colors_of(image)
    linear = transport(own.covariance, root_of(target.covariance))  # (N, 3, 3)
    pixels = image.detach().cpu().double().flatten(2)  # (N, 3, H·W)
    moved = linear @ (pixels - own.mean[..., None]) + target.mean[..., None]
    return moved.to(image.dtype).to(image.device).view(image.shape).clamp(0, 1)
