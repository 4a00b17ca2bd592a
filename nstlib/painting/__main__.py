"""``python -m nstlib.painting [DATA]`` paints what ships: the styles, and the page of painters."""

import sys
from pathlib import Path

from nstlib.config import data_dir
from nstlib.painting import write_painters_page, write_styles

if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else data_dir()
    for folder, write in (("styles", write_styles), ("painters", write_painters_page)):
        (data / folder).mkdir(parents=True, exist_ok=True)
        for written in write(data / folder):
            print(written)
