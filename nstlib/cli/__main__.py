"""``python -m nstlib.cli`` is ``nst``."""

import sys

from nstlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
