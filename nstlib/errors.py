"""What can go wrong with a user's files. A wrong *value* raises ValueError or TypeError instead."""

from __future__ import annotations


class NstError(Exception):
    """The base of the package's own errors: ``except nstlib.NstError`` catches any bad file."""


class ImageError(NstError):
    """A picture cannot be read or written; the message names the file and the reason."""


class TooManyPixelsError(ImageError):
    """A picture has more pixels than it may have; the message says how many, and the limit."""


class VideoError(NstError):
    """A clip cannot be read or written; the message names the file and the reason."""


class VideoWarning(UserWarning):
    """Some frames of a clip could not be read; the message says how many, and why."""


class TilesWarning(UserWarning):
    """A picture did not fit into memory in one piece and is made in tiles; the message says which."""


class WeightsError(NstError):
    """Weights are missing, damaged or of another model; the message names both ways out."""


class DivergenceError(ArithmeticError):
    """A run left the numbers: its loss, or what it makes, is infinite or none; it says what helps."""
