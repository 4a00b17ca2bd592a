"""``python -m nstlib.painting [FOLDER]`` paints the styles that ship, into data/styles by default."""

import sys

from nstlib.config import data_dir
from nstlib.painting import write_styles

if __name__ == "__main__":
    for written in write_styles(sys.argv[1] if len(sys.argv) > 1 else data_dir() / "styles"):
        print(written)
