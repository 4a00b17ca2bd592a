"""What the tests of the command line share: a command is run as a shell would run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from nstlib import cli
from nstlib.adain import AdaIN, Maps


def run(*arguments: str | Path) -> int:
    """Run a command in this process; return its exit code."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:  # argparse's way out
        return int(ended.code or 0)


def encoded_pictures(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return a list to which AdaIN's encoder adds each picture that it is shown from now on."""
    encoded: list[Tensor] = []
    encode = AdaIN._encoded

    def noted(model: AdaIN, image: Tensor) -> Maps:
        encoded.append(image)
        return encode(model, image)

    monkeypatch.setattr(AdaIN, "_encoded", noted)
    return encoded
