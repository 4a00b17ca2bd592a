"""Numbers as a table or a plot says them: to three figures, in the unit that suits."""

from __future__ import annotations

import math


def figures(value: float) -> str:
    """Return a number to three figures, never as a power of ten.

    Example:
        >>> [figures(value) for value in (0.12345, 9.996, 69.16, 1234.5)]
        ['0.123', '10.0', '69.2', '1234']
    """
    if value <= 0:
        return "0"
    rounded = float(f"{value:.2e}")
    return f"{rounded if value < 100 else value:.{max(0, 2 - math.floor(math.log10(rounded)))}f}"


def duration(seconds: float | None) -> str:
    """Return a time in the unit that suits it.

    Example:
        >>> [duration(seconds) for seconds in (0.00692, 2.7467, 300, None)]
        ['6.92 ms', '2.75 s', '5.00 min', '–']
    """
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{figures(1000 * seconds)} ms"
    return f"{figures(seconds)} s" if seconds < 120 else f"{figures(seconds / 60)} min"


def span(low: float, high: float) -> str:
    """Return two times in seconds, with the unit said once where it is the same.

    Example:
        >>> span(0.0119, 0.0131), span(0.99, 1.2)
        ('11.9–13.1 ms', '990 ms–1.20 s')
    """
    first, last = duration(low), duration(high)
    unit = last.partition(" ")[2]
    return f"{first.removesuffix(f' {unit}')}–{last}"


def share(value: float | None, missing: str) -> str:
    """Return a share in percent, or what is to be said where there is none.

    Example:
        >>> share(0.0458, "random weights"), share(None, "random weights")
        ('4.6 %', 'random weights')
    """
    return missing if value is None else f"{100 * value:.1f} %"


def memory(count: int | None) -> str:
    """Return bytes as MB or GB.

    Example:
        >>> memory(87_654_321), memory(1_165_105_152), memory(None)
        ('88 MB', '1.17 GB', '–')
    """
    if count is None:
        return "–"
    return f"{count / 1e6:.0f} MB" if count < 0.9995e9 else f"{figures(count / 1e9)} GB"
