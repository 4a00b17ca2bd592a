"""Paint the picture at the top of the README: ``python tools/opening.py`` (or ``make gallery``).

A photo and a painting, the photo by three methods; then another photo, and what can be turned.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

import nstlib
from nstlib import gatys, masks
from nstlib.adain import load_adain
from nstlib.config import data_dir
from nstlib.stylist import Stylist
from nstlib.transform_net import load_net

SIZE = 400  # px, the side of the squares that are painted
SHOWN = 196  # px, their side on the sheet
STEPS = 300  # of Gatys' method
PAINTING = "cubism-fauve"
PERSON = (0.05, 0.02, 0.8, 1.0)  # the rectangle around the astronaut


def tiles(size: int = SIZE, steps: int = STEPS) -> dict[str, Tensor]:
    """Return the ten pictures, (1, 3, size, size) each, by their titles; five make a row."""
    stylist, net = Stylist(load_adain()), load_net("fast")
    cat, astronaut = (nstlib.sample(name, size, crop=True) for name in ("chelsea", "astronaut"))
    painting = nstlib.style(PAINTING, size)
    woodblock, vortex, gilded = map(nstlib.style, ("woodblock", "vortex", "gilded"))
    her = masks.foreground(astronaut, PERSON)
    settings = gatys.preset("picture", steps=steps)
    return {
        "a photo": cat,
        "a painting": painting,
        "its pixels, optimised": gatys.stylize(cat, painting, settings=settings),
        "a net, in one pass": net.stylize(cat, PAINTING, style_weight=10),
        "AdaIN: any painting": stylist.stylize(cat, painting),
        "another photo": astronaut,
        "two styles, mixed": stylist.stylize(astronaut, [vortex, gilded], weights=[0.5, 0.5]),
        "her own colours": stylist.stylize(astronaut, woodblock, keep_color="luminance"),
        "a style around her": stylist.stylize(astronaut, vortex, mask=1 - her),
        "and another on her": stylist.stylize(
            astronaut, [woodblock, vortex], mask=torch.cat([her, 1 - her])
        ),
    }


def main() -> None:
    """Paint, and write the sheet."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else data_dir() / "opening.jpg"
    painted = tiles()
    sheet = nstlib.compare(list(painted.values()), list(painted), columns=5, height=SHOWN)
    print(sheet.save(path))


if __name__ == "__main__":
    main()
