"""Every kernel in every circumstance: value, gradient, equal bits, operator, derivatives.

What is a kernel's own, and what its inputs and its oracle are, stands in the file of its name.
"""

from __future__ import annotations

import dataclasses

import pytest
import test_adain
import test_gram
import test_instance_norm
import test_moments
import test_total_variation
import test_warp
from proof import (
    Case,
    Subject,
    check_derivatives,
    check_gradient,
    check_operator,
    check_twice,
    check_value,
    plainly,
)

from nstlib import kernels
from nstlib.kernels.backend import KERNELS, is_interpreted

TESTS = (test_adain, test_gram, test_instance_norm, test_moments, test_total_variation, test_warp)
SUBJECTS: dict[str, Subject] = {module.SUBJECT.name: module.SUBJECT for module in TESTS}

VALUES = [(name, case) for name, subject in SUBJECTS.items() for case in subject.cases()]
GRADIENTS = [
    (name, case)
    for name, subject in SUBJECTS.items()
    for case in subject.gradient_cases()
    if subject.own_gradient or not is_interpreted()  # else it is PyTorch's, here as there
]


def test_no_kernel_is_left_out() -> None:
    assert set(SUBJECTS) == set(KERNELS)


@pytest.mark.parametrize(("name", "case"), VALUES, ids=str)
def test_value(name: str, case: Case) -> None:
    check_value(kernels, SUBJECTS[name], case)


@pytest.mark.parametrize(("name", "case"), GRADIENTS, ids=str)
def test_gradient(name: str, case: Case) -> None:
    check_gradient(kernels, SUBJECTS[name], case)


@pytest.mark.parametrize("name", SUBJECTS)
def test_two_runs_give_the_same_bits(name: str) -> None:
    case = next(case for case in SUBJECTS[name].cases() if case.shape == "primes")
    check_twice(kernels, SUBJECTS[name], dataclasses.replace(case, layout="crop", values="normal"))


@plainly
@pytest.mark.parametrize("name", SUBJECTS)
def test_operator_is_well_formed(name: str) -> None:
    check_operator(kernels, SUBJECTS[name])


@plainly
@pytest.mark.parametrize("name", SUBJECTS)
def test_derivatives(name: str) -> None:
    check_derivatives(kernels, SUBJECTS[name])
