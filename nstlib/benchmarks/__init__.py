"""How fast it is, and how much memory it takes: each method beside its plain form.

What is timed is timed in turns, by :func:`~nstlib.benchmarks.timing.compare`, and told as medians and
ratios within one run. From the stopwatch to the whole table, in the order of reading:

* ``timing``, ``profiling`` and ``memory`` measure any piece of work; ``records`` keeps what they find.
* ``plain`` has each method as a book would have it, and ``methods`` times ours beside it; ``control``
  and ``video`` time what a lab and a clip wait for.
* ``contenders``, ``kernels`` and ``whole`` measure everything in one run, for ``rows``, which
  ``units``, ``table``, ``field``, ``plot`` and ``report`` tell of.

What most callers need is here by itself; the rest is in its module.
"""

from __future__ import annotations

from nstlib.benchmarks.memory import PeakMemory
from nstlib.benchmarks.profiling import profile
from nstlib.benchmarks.records import machine, write_json
from nstlib.benchmarks.timing import Row, as_table, compare

__all__ = ["PeakMemory", "Row", "as_table", "compare", "machine", "profile", "write_json"]
