"""Pictures for the page: where they stand in it, that they are whole, and their words."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from nstlib import ImageError, showing
from nstlib.images import load_image, sample
from nstlib.showing import Picture, compare, show

Array = npt.NDArray[Any]


def pixels(image: torch.Tensor) -> Array:
    """Return an image (1, 3, H, W) as an array (H, W, 3)."""
    return image[0].permute(1, 2, 0).numpy()


def flat(colour: tuple[float, float, float], height: int, width: int) -> torch.Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, height, width).contiguous()


RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.9)


def boxes(picture: Picture, colours: list[tuple[float, float, float]]) -> list[tuple[int, ...]]:
    """Return (left, top, right, bottom) of each flat colour in a drawn picture."""
    drawn = pixels(load_image(picture.data))
    found = []
    for colour in colours:
        rows, columns = np.nonzero(np.abs(drawn - colour).max(axis=-1) < 0.15)
        found.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return found


def test_compare_lays_pictures_out_at_one_height() -> None:
    picture = compare([flat(RED, 40, 60), flat(GREEN, 20, 20), flat(BLUE, 80, 40)], height=40)
    assert (picture.width, picture.height) == (60 + 40 + 20 + 4 * 12, 40 + 2 * 12)
    assert boxes(picture, [RED, GREEN, BLUE]) == [
        (12, 12, 72, 52), (84, 12, 124, 52), (136, 12, 156, 52)]  # fmt: skip


def test_compare_in_columns() -> None:
    picture = compare([flat(RED, 40, 60), flat(GREEN, 40, 40), flat(BLUE, 40, 40)], columns=2)
    assert boxes(picture, [RED, GREEN, BLUE]) == [
        (12, 12, 72, 52), (84, 12, 124, 52), (22, 64, 62, 104)]  # fmt: skip


@pytest.mark.parametrize("width", [1, 333, 378, 1023])
def test_show_keeps_every_pixel(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    image = torch.rand(1, 1, 5, width, generator=generator).expand(1, 3, 5, width)
    picture = show(image)
    assert (picture.width, picture.height) == (width + 24, 5 + 24)
    drawn = load_image(picture.data)
    assert drawn.shape[-2:] == (29, width + 24)
    assert (drawn[..., 12:17, 12:-12] - image).abs().mean() < 0.03  # JPEG's noise, and no blur


def test_a_shown_picture_is_saved_as_it_is(tmp_path: Path) -> None:
    picture = show(flat(RED, 8, 8))
    assert picture.save(tmp_path / "a.jpg").read_bytes() == picture.data
    with pytest.raises(ValueError, match=r"path is '.*a\.png'; .* is saved as \.jpg"):
        picture.save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"nowhere.*cannot be written: there is no such"):
        picture.save(tmp_path / "nowhere" / "a.jpg")


def test_titles_are_written_whole() -> None:
    narrow = [flat(RED, 40, 40)]
    bare = compare(narrow)
    titled = compare(narrow, ["a word"])
    wrapped = compare(narrow, ["a word and some more words"])
    long = compare(narrow, ["Donaudampfschifffahrtsgesellschaft"])
    assert bare.width == titled.width == wrapped.width < long.width
    assert bare.height < titled.height < wrapped.height
    for picture in (titled, wrapped, long):
        drawn = pixels(load_image(picture.data))
        margin = np.concatenate([drawn[:, :3].ravel(), drawn[:, -3:].ravel(), drawn[:3].ravel()])
        assert margin.min() > 0.9  # nothing runs over the edge
        assert drawn[: boxes(picture, [RED])[0][1]].min() < 0.3  # there is writing above


def test_a_formula_is_not_broken() -> None:
    assert showing._words("$w_s = 10^3$, then more") == ["$w_s = 10^3$,", "then", "more"]
    compare([flat(RED, 40, 40)], ["weight $w_s = 10^{3}$ here"])


def test_the_look_is_the_same_under_any_matplotlib_style() -> None:
    import matplotlib.style

    arguments = ([flat(RED, 40, 60)], ["A title"])
    light = compare(*arguments)
    with matplotlib.style.context(["dark_background", {"savefig.bbox": "tight", "figure.dpi": 50}]):
        assert compare(*arguments).data == light.data
    assert pixels(load_image(light.data))[:5].min() > 0.97  # white: readable on a dark page, too


def test_no_figure_stays_open() -> None:
    import gc

    from matplotlib import pyplot
    from matplotlib.figure import Figure

    before = pyplot.get_fignums()
    for _ in range(3):
        compare([flat(RED, 8, 8)], ["x"])
    gc.collect()
    assert pyplot.get_fignums() == before
    assert not [thing for thing in gc.get_objects() if type(thing) is Figure]


def test_alternative_text_reaches_the_page() -> None:
    from IPython.core.formatters import DisplayFormatter

    picture = show(flat(RED, 8, 8), "Red", alt='A red "square"\nof 8 pixels')
    data, metadata = DisplayFormatter().format(picture)
    assert base64.b64decode(data["image/jpeg"]) == picture.data
    assert metadata["image/jpeg"]["alt"] == 'A red "square" of 8 pixels'
    assert 'A red "square" of 8 pixels' in data["text/plain"]
    assert compare([flat(RED, 8, 8)] * 2, ["Photo", "Style"]).alt == "Photo; Style"


def test_nbconvert_writes_the_alternative_text() -> None:
    from nbconvert import HTMLExporter
    from nbformat import v4

    data, metadata = show(flat(RED, 8, 8), alt="A red square")._repr_mimebundle_()
    cell = v4.new_code_cell(outputs=[v4.new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(
        v4.new_notebook(cells=[cell])
    )
    assert 'alt="A red square"' in page


def test_photos_stay_small_in_a_notebook() -> None:
    picture = compare([sample("astronaut", 256), sample("coffee", 256)], ["Content", "Style"])
    assert len(picture.data) < 100_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "images is empty"),
        ((torch.rand(2, 3, 8, 8),), TypeError, "images and titles take lists"),
        (([torch.rand(1, 3, 8, 8)], "title"), TypeError, "images and titles take lists"),
        (([torch.rand(1, 3, 8, 8)], ["a", "b"]), ValueError, "titles has 2 entries for 1 images"),
        (([torch.rand(1, 3, 8, 8)], None, 0), ValueError, "columns is 0"),
        (([torch.rand(1, 3, 8, 8)], None, None, None, 0), ValueError, "height is 0"),
    ],
)
def test_bad_compare(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compare(*arguments)
