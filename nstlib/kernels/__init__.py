"""The kernels: six small operators that style transfer lives on, each in PyTorch and in Triton.

Each file reads in one order: what it computes and which bytes it must move, the reference in
PyTorch, the kernel in Triton, the operator with its gradient, the public function. On a CPU the
reference runs; on an NVIDIA GPU the kernel, where Triton is installed. ``NSTLIB_KERNELS`` chooses
otherwise, and :func:`report` says what runs where, and why.

>>> import torch
>>> features = torch.rand(1, 3, 8, 8)
>>> mean, std = moments(features)
>>> torch.allclose(adain(features, mean, std, eps=1e-8), features, atol=1e-6)
True
"""

from __future__ import annotations

from nstlib.kernels.adain import adain
from nstlib.kernels.backend import KernelError, report
from nstlib.kernels.gram import gram
from nstlib.kernels.instance_norm import instance_norm
from nstlib.kernels.moments import moments
from nstlib.kernels.total_variation import total_variation
from nstlib.kernels.warp import warp

__all__ = [
    "KernelError",
    "adain",
    "gram",
    "instance_norm",
    "moments",
    "report",
    "total_variation",
    "warp",
]
