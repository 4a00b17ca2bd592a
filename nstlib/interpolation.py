"""Between styles: every interpolation is a table of weights, with a row for each picture.

A row says how much of each of K styles a picture takes. Whether a table is a square between four
styles or a walk past many, it is used alike: by AdaIN as ``model.stylize(photo, mix(styles, table))``,
by a fast net as ``net.stylize(photo, names, weights=table)``; a few rows at a time, or all in one
batched pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nstlib.styles import Style, check_alike

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a gallery that shows what there is to choose from


def corner_weights(x: float | Tensor, y: float | Tensor) -> Tensor:
    r"""Return the weights of four styles in the corners of a square, (..., 4), at a point in it.

    .. math:: \bigl((1-x)(1-y),\; x(1-y),\; (1-x)\,y,\; x\,y\bigr)

    Args:
        x, y: from 0, the left and the top, to 1, the right and the bottom; numbers or tensors.

    Raises:
        ValueError: a point outside the square.

    Example:
        >>> corner_weights(0.5, 0.0)
        tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """
    across, down = (torch.as_tensor(value, dtype=torch.float32) for value in (x, y))
    for name, value in (("x", across), ("y", down)):
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise ValueError(f"{name} is {value.tolist()}; the square goes from 0 to 1")
    return torch.stack(
        [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down], dim=-1
    )


def square_weights(steps: int = 5) -> Tensor:
    """Return the table of a square between four styles, (steps², 4), row by row from the top left.

    Raises:
        ValueError: fewer than two steps, which have no corners.

    Example:
        >>> square_weights(2).tolist() == torch.eye(4).tolist()
        True
    """
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps is {steps!r}; it takes a whole number, 2 or more")
    places = torch.linspace(0, 1, steps)
    down, across = torch.meshgrid(places, places, indexing="ij")
    return corner_weights(across.flatten(), down.flatten())


def path_weights(styles: int, frames: int, closed: bool = True) -> Tensor:
    r"""Return the table of a walk past some styles, (frames, styles): at each it slows down.

    Between two neighbours the second's share is :math:`\tfrac12 - \tfrac12\cos(\pi t)`.

    Args:
        styles: how many, each a stop; 2 or more.
        frames: how many pictures; one falls on each stop where the legs divide them.
        closed: walk back to the first; a clip that is then shown again and again has no jump.

    Raises:
        ValueError: too few styles, or frames.

    Example:
        >>> path_weights(2, 5, closed=False)[:, 1]
        tensor([0.0000, 0.1464, 0.5000, 0.8536, 1.0000])
        >>> path_weights(2, 4)[:, 1]
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    if styles < 2:
        raise ValueError(f"styles is {styles}; a path leads past 2 or more")
    if frames < styles:
        raise ValueError(
            f"frames is {frames}; it takes one for each of the {styles} styles, or more"
        )
    # A closed walk ends one frame before it begins again.
    legs, steps = (styles, frames) if closed else (styles - 1, frames - 1)
    place = torch.arange(frames, dtype=torch.float64) * legs / steps
    leg = place.floor().clamp(max=legs - 1)
    share = (1 - torch.cos(torch.pi * (place - leg))) / 2
    rows, here = torch.arange(frames), leg.long()
    table = torch.zeros(frames, styles, dtype=torch.float64)
    table[rows, here] = 1 - share
    table[rows, (here + 1) % styles] += share
    return table.float()


def near_weights(places: Tensor, point: Tensor) -> Tensor:
    r"""Return the weights of styles (K,) at a point of a map: the nearer, the more.

    .. math:: w_k \propto 1 / \lVert p - p_k \rVert^4

    Args:
        places: (K, 2), where the styles are.
        point: (2,); at a style's own place, that style alone.

    Example:
        >>> near_weights(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([1.0, 0.0]))
        tensor([0.9412, 0.0588])
    """
    squares = (places - point).square().sum(dim=1)
    if bool((squares == 0).any()):
        here = (squares == 0).to(places.dtype)
        return here / here.sum()
    inverse = (squares.min() / squares).square()  # no overflow beside a style
    return inverse / inverse.sum()


def spaced(places: Tensor, least: float, rounds: int = 500) -> Tensor:
    """Return places (K, 2) in [0, 1]² that were moved apart to ``least``, where they were nearer.

    So that on a map no picture hides another. Two of a pair move alike; places far from all others
    stay.

    Raises:
        ValueError: there is no room for so many places so far apart.

    Example:
        >>> spaced(torch.tensor([[0.5, 0.4], [0.5, 0.6], [1.0, 1.0]]), least=0.4)
        tensor([[0.5000, 0.3000],
                [0.5000, 0.7000],
                [1.0000, 1.0000]])
    """
    moved, count = places.double().clone(), len(places)
    for _ in range(rounds):
        apart = moved[:, None] - moved  # (K, K, 2): from each to each
        distance = apart.norm(dim=2) + torch.eye(count)
        if bool((distance + least * torch.eye(count) > 0.999 * least).all()):
            return moved.float()
        # Places that coincide part along the diagonal, in their order.
        order = torch.sign(torch.arange(count)[:, None] - torch.arange(count)).double()
        where = torch.where(distance[..., None] > 1e-6, apart, order[..., None])
        push = where / where.norm(dim=2, keepdim=True).clamp_min(1e-12)
        moved += (push * (least - distance).clamp_min(0)[..., None] / 2).sum(dim=1)
        moved.clamp_(0, 1)
    raise ValueError(f"least is {least:g}; there is no room for {count} places so far apart")


def style_map(styles: Sequence[Style]) -> Tensor:
    r"""Return a place for each style, (K, 2): the more alike two are, the nearer.

    How unlike two are is how far optimal transport moves a channel's Gaussian to the other's, over
    all channels of all taps, each tap with the same say:

    .. math:: d^2 = \sum_l \frac{\lVert\mu_l-\mu'_l\rVert^2 + \lVert\sigma_l-\sigma'_l\rVert^2}
              {e_l}

    with :math:`e_l` their mean over all pairs. The plane that keeps these distances best is found by
    classical scaling; the map is brought into [0, 1]², its longer side from 0 to 1, and the first style
    lies in the left half and the upper one.

    Args:
        styles: 2 or more, of one model.

    Raises:
        ValueError: fewer than 2, or of different models.

    Reference:
        Torgerson, Multidimensional Scaling: I. Theory and Method, 1952.

    Example:
        >>> line = [Style({"relu1_1": torch.tensor([[level]])}, {"relu1_1": torch.ones(1, 1)})
        ...         for level in (0.0, 1.0, 4.0)]
        >>> style_map(line)[:, 0]
        tensor([0.0000, 0.2500, 1.0000])
    """
    if len(styles) < 2:
        raise ValueError(f"styles has {len(styles)}; a map takes 2 or more")
    check_alike(styles)
    vectors = torch.cat([_said_alike(styles, tap) for tap in styles[0].means], dim=1)
    centred = vectors - vectors.mean(dim=0)
    # The principal axes of the vectors are the axes of classical scaling of their distances.
    directions, lengths, _ = torch.linalg.svd(centred, full_matrices=False)
    plane = (directions * lengths)[:, :2]
    if plane.shape[1] < 2:
        plane = torch.nn.functional.pad(plane, (0, 2 - plane.shape[1]))
    low, high = plane.amin(dim=0), plane.amax(dim=0)
    plane = plane - (low + high) / 2
    plane = plane * torch.where(plane[0] > 0, -1.0, 1.0)  # signs of axes mean nothing
    places: Tensor = plane / (high - low).max().clamp_min(1e-12) + 0.5
    return places.float()


def _said_alike(styles: Sequence[Style], tap: str) -> Tensor:
    """Return means and deviations at a tap, (K, 2·C), of unit mean square distance over all pairs."""
    rows = torch.cat([torch.cat([style.means[tap], style.stds[tap]], dim=1) for style in styles])
    rows = rows.cpu().double()  # not every device has float64
    spread = (rows - rows.mean(dim=0)).square().sum(dim=1).mean()  # half the mean square distance
    return rows / spread.sqrt().clamp_min(1e-12)
