"""Gaussians: mean and covariance of vectors, and linear maps that give one the covariance of another.

Colours are vectors of three numbers, the maps of an encoder vectors of some hundreds. Both can be
brought from one distribution to another by a matrix A with A·Σ·Aᵀ = Σ'. There are many such matrices:
:func:`whitening` goes by way of vectors without any covariance, :func:`transport` takes the shortest
way.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A direction has no deviation of its own where it has less than this: of colours in [0, 1], a tenth of
# the step between two values of an 8-bit picture; or less than that share of the largest. Where two
# deviations are multiplied, the share of their products is as much smaller.
LEAST, LEAST_SHARE, LEAST_OF_PRODUCTS = 3e-4, 1e-3, 1e-4


def covariance_of(vectors: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Return mean (N, C) and population covariance (N, C, C) of vectors (N, C, P).

    .. math:: \mu = \sum_p w_p\,v_p, \qquad \Sigma = \sum_p w_p\,(v_p - \mu)(v_p - \mu)^\top

    Args:
        vectors: P of them, in the columns.
        weights: (N, P) of sum 1, or all alike without; the vectors may be one image's for all.

    Example:
        >>> mean, covariance = covariance_of(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]))
        >>> mean.tolist(), covariance.tolist()
        ([[2.0, 0.0]], [[[1.0, 0.0], [0.0, 0.0]]])
    """
    if weights is None:
        mean = vectors.mean(dim=2)
        apart = vectors - mean[..., None]
        return mean, apart @ apart.mT / vectors.shape[2]
    mean = (vectors @ weights[..., None])[..., 0]  # (N, C)
    apart = vectors - mean[..., None]
    return mean, (apart * weights[:, None]) @ apart.mT


def root_of(covariance: Tensor) -> Tensor:
    """Return the symmetric square root R of a covariance Σ (..., C, C): R·R = Σ.

    Example:
        >>> root_of(torch.diag(torch.tensor([4.0, 9.0])))
        tensor([[2., 0.],
                [0., 3.]])
    """
    values, vectors = torch.linalg.eigh(covariance)
    return _with(vectors, values.clamp_min(0).sqrt())  # rounded below 0, no NaN


def whitening(covariance: Tensor, wanted: Tensor) -> Tensor:
    r"""Return :math:`A = \Sigma'^{1/2}\,\Sigma^{-1/2}`: whitened, then coloured.

    It is linear in the wanted root, so that mixtures of roots are mixtures of what comes of them.

    Args:
        covariance: Σ, (..., C, C); directions without any variance have none afterwards.
        wanted: the symmetric root of Σ', (..., C, C), from :func:`root_of`.

    Reference:
        Li et al., Universal Style Transfer via Feature Transforms, 2017.

    Example:
        >>> whitening(4 * torch.eye(2), 3 * torch.eye(2))
        tensor([[1.5000, 0.0000],
                [0.0000, 1.5000]])
    """
    return wanted @ _inverse_root(covariance, LEAST, LEAST_SHARE)


def transport(covariance: Tensor, wanted: Tensor) -> Tensor:
    r"""Return the symmetric A of optimal transport: no other moves Σ to Σ' by moving vectors less.

    .. math:: A = \Sigma'^{1/2}\,\bigl(\Sigma'^{1/2}\,\Sigma\,\Sigma'^{1/2}\bigr)^{-1/2}\,
              \Sigma'^{1/2}

    Args:
        covariance: Σ, (..., C, C). Vectors on a line, the greys say, are moved to another line: each
            to what goes with it in Σ'.
        wanted: the symmetric root of Σ', (..., C, C), from :func:`root_of`.

    Reference:
        Olkin & Pukelsheim, The Distance Between Two Random Vectors with Given Dispersion Matrices,
        1982.

    Example:
        >>> transport(4 * torch.eye(2), 3 * torch.eye(2))
        tensor([[1.5000, 0.0000],
                [0.0000, 1.5000]])
    """
    typical = wanted.diagonal(dim1=-2, dim2=-1).mean(dim=-1, keepdim=True)  # of its deviations
    inverse = _inverse_root(wanted @ covariance @ wanted, LEAST * typical, LEAST_OF_PRODUCTS)
    return wanted @ inverse @ wanted


def _inverse_root(covariance: Tensor, least: float | Tensor, share: float) -> Tensor:
    """Return Σ to the power of −½; 0 where a deviation is ``least`` or less, or so of the largest."""
    values, vectors = torch.linalg.eigh(covariance)
    deviations = values.clamp_min(0).sqrt()  # rounded below 0, no NaN
    held = (deviations > least) & (deviations > share * deviations[..., -1:])
    return _with(vectors, torch.where(held, 1 / torch.where(held, deviations, 1), 0))


def _with(vectors: Tensor, values: Tensor) -> Tensor:
    """Return the symmetric matrix with these eigenvectors and eigenvalues."""
    return (vectors * values[..., None, :]) @ vectors.mT
