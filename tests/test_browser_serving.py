"""The server's page in a real browser, as a person meets it: with a mouse, by keyboard, on a phone.

One server serves all tests of this file; each has a page of its own, which ends without a complaint
of the browser's and without a request to anyone but the server.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from jupyter_pages import watch
from torch import Tensor

from nstlib import images
from nstlib.adain import AdaIN, load_adain
from nstlib.serving import Settings, create_app, running
from nstlib.serving.answers import ENCODERS
from nstlib.stylist import Stylist

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

STYLES = ("impasto", "mosaic", "stained_glass", "vortex-dawn")
SETTINGS = Settings(
    max_bytes=400_000, max_pixels=2_000_000, max_painted=300_000, max_styles=2, style_size=128
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SIZE = 256  # px: the shorter side that most tests paint at
CLOSE = 0.004  # of 1, in the mean: a step of 8 bits, as two decoders of one JPEG differ

# A picture as it is painted on the page, without the page's own fetch, which its policy forbids.
PICTURE = """image => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
}"""
# A file that the clipboard or the mouse brings.
BRING = """([kind, target, name, data]) => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type: "image/png" }));
    const options = { bubbles: true, cancelable: true };
    document.querySelector(target).dispatchEvent(kind === "paste"
        ? new ClipboardEvent("paste", { ...options, clipboardData: carried })
        : new DragEvent("drop", { ...options, dataTransfer: carried }));
}"""
# Texts whose contrast with what lies behind them is less than WCAG AA asks for: 4.5 to 1.
# (Disabled controls are exempt, and the picture's two tags lie on a picture.)
PALE = """() => {
    const channels = color => color.match(/[\\d.]+/g).map(Number);
    const light = color => {
        const [r, g, b] = channels(color).map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = part => {
        for (; part; part = part.parentElement) {
            const color = getComputedStyle(part).backgroundColor;
            if ((channels(color)[3] ?? 1) === 1) return color;
        }
        return "rgb(255, 255, 255)";
    };
    return [...document.body.querySelectorAll("*")]
        .filter(part => [...part.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
        .filter(part => part.checkVisibility() && !part.matches(":disabled, .tag, option, script"))
        .filter(part => !part.closest(".view.new .file"))
        .map(part => {
            const [low, high] = [getComputedStyle(part).color, behind(part)].map(light).sort((a, b) => a - b);
            return [part.textContent.trim(), (high + 0.05) / (low + 0.05)];
        })
        .filter(([text, contrast]) => contrast < 4.5);
}"""
# Controls that are less than 44 px high or wide, where a finger has to meet them. What a label
# holds is pressed by the label.
SMALL = """() => [...document.querySelectorAll("button, select, input, a")]
    .filter(part => part.checkVisibility())
    .map(part => [part, (part.type === "checkbox" && part.closest(".switch")) || part])
    .map(([part, pressed]) => [part.outerHTML, pressed.getBoundingClientRect()])
    .filter(([, box]) => box.height < 44 || box.width < 44)
    .map(([html, box]) => `${html}: ${box.width} × ${box.height}`)"""


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return load_adain()


@pytest.fixture(scope="module")
def address(model: AdaIN, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("styles")
    for name in STYLES:
        shutil.copy(root / "data" / "styles" / f"{name}.jpg", folder)
    with running(create_app(SETTINGS, folder, model)) as address:
        yield address


@contextlib.contextmanager
def visit(browser: Browser, address: str, refused: str = "", **device: Any) -> Iterator[Page]:
    """Open the page; at the end, hold it to no complaint but of answers that are ``refused``."""
    complaints: list[str] = []
    context = browser.new_context(**device)
    page = context.new_page()
    page.set_default_timeout(20_000)
    watch(page, address, complaints, everything=True)
    page.on("filechooser", lambda chooser: None)  # from now on: a first key would be too quick
    page.goto(address)
    page.get_by_label("Mosaic").wait_for()
    page.get_by_label("256", exact=True).click()
    yield page
    context.close()
    assert [one for one in complaints if not (refused and refused in one)] == []


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with visit(browser, address) as page:
        yield page


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 250 × 200 pixels."""
    picture = images.sample("coffee", 200)[..., :250]
    return images.save_image(picture, tmp_path_factory.mktemp("photo") / "coffee.png")


def paint(page: Page, act: Callable[[], object]) -> None:
    """Do what makes the page ask for a picture, and wait until it is shown."""
    with page.expect_response("**/stylize"):
        act()
    page.locator("#stage[aria-busy=false]").wait_for()


def painted_photo(page: Page, photo: Path, style: str = "Mosaic") -> Page:
    """Choose a photo and a style, and wait for the picture."""
    page.locator("#photo").set_input_files(photo)
    paint(page, page.get_by_label(style, exact=True).click)
    return page


def shown(page: Page, picture: str = "#painted") -> Tensor:
    """Return a picture of the page."""
    return images.load_image(base64.b64decode(page.locator(picture).evaluate(PICTURE)))


class Package:
    """The package itself, which paints without a server.

    Args:
        model: which paints.
        photo: the file that is painted.
    """

    def __init__(self, model: AdaIN, photo: Path) -> None:
        self.photo = images.load_image(photo)
        self._stylist, self._content = Stylist(model), images.resize(self.photo, SIZE)
        self._styles = {name: images.style(name, SETTINGS.style_size) for name in STYLES}

    def __call__(self, *styles: str | Tensor, kind: str = "image/jpeg", **settings: Any) -> Tensor:
        """Return the painted photo, after what a file loses: the page shows a quick JPEG."""
        pictures = [self._styles[one] if isinstance(one, str) else one for one in styles]
        painted = self._stylist.stylize(self._content, pictures, **settings)
        return images.load_image(ENCODERS[kind](painted.detach()))


@pytest.fixture(scope="module")
def expected(model: AdaIN, photo: Path) -> Package:
    return Package(model, photo)


def difference(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference of two pictures of one size."""
    assert a.shape == b.shape
    return (a - b).abs().mean().item()


# ----------------------------------------------------------------------------------------- painting


def test_a_photo_is_painted_in_a_style(page: Page, expected: Package, photo: Path) -> None:
    page.locator("#photo").set_input_files(photo)
    page.get_by_text("Now choose a style.").wait_for()
    assert page.get_by_role("button", name="Download").is_disabled()
    paint(page, page.get_by_label("Mosaic").click)
    picture, content = shown(page), images.resize(expected.photo, SIZE)
    assert difference(picture, expected("mosaic")) < CLOSE
    assert difference(picture, content) > 0.1
    told = page.locator("#status").inner_text()
    assert re.fullmatch(r"320 × 256 in [\d.]+ s \(painting [\d.]+ s\)", told.replace("\xa0", " "))
    assert page.locator("#painted").get_attribute("alt") == "coffee.png in the style of Mosaic"


def test_none_of_the_style_is_nearly_the_photo(page: Page, expected: Package, photo: Path) -> None:
    painted_photo(page, photo)
    content, strong = images.resize(expected.photo, SIZE), shown(page)
    page.get_by_label("How much of the style").focus()
    paint(page, lambda: page.keyboard.press("Home"))
    assert page.locator("#alpha-value").inner_text() == "0 %"
    assert difference(shown(page), expected("mosaic", alpha=0.0)) < CLOSE
    assert difference(shown(page), content) < difference(strong, content) / 2


def test_two_styles_have_their_shares(page: Page, expected: Package, photo: Path) -> None:
    painted_photo(page, photo)
    page.get_by_label("Mix several").click()
    paint(page, page.get_by_label("Impasto").click)
    shares = page.locator("#weights output")
    assert shares.all_inner_texts() == ["50 %", "50 %"]
    assert difference(shown(page), expected("impasto", "mosaic")) < CLOSE

    page.locator("#weights input").nth(1).focus()
    paint(page, lambda: page.keyboard.press("End"))  # 100 beside 50
    assert shares.all_inner_texts() == ["33 %", "67 %"]
    mixed = expected("impasto", "mosaic", weights=[1, 2])
    assert difference(shown(page), mixed) < CLOSE

    page.get_by_label("Stained glass").click()  # one more than the server mixes
    assert "2 styles at most" in page.locator("#style-note").inner_text()
    assert not page.get_by_label("Stained glass").is_checked()
    for i in range(2):
        page.locator("#weights input").nth(i).fill("0")
    page.get_by_text("Give one style at least a share").wait_for()
    page.get_by_label("Mix several").click()  # back to one: the heaviest, or the first of equals
    assert page.get_by_label("Impasto").is_checked()
    assert not page.get_by_label("Mosaic").is_checked()


def test_a_style_picture_of_ones_own(
    page: Page, expected: Package, photo: Path, tmp_path: Path
) -> None:
    picture = images.sample("rocket", 240)
    own = images.save_image(picture, tmp_path / "launch.png")
    painted_photo(page, photo)

    def choose() -> None:
        with page.expect_file_chooser() as chooser:
            page.get_by_label("Your own picture").click()
        chooser.value.set_files(own)

    paint(page, choose)
    assert not page.get_by_label("Mosaic").is_checked()
    assert page.locator("#style-note").inner_text() == "launch.png"
    own_style = expected(images.resize(images.load_image(own), SETTINGS.style_size))
    assert difference(shown(page), own_style) < CLOSE
    paint(page, page.get_by_label("Mosaic").click)  # and back
    paint(page, page.get_by_label("Your own picture").click)  # which is kept
    assert difference(shown(page), own_style) < CLOSE


@pytest.mark.parametrize(
    ("label", "keep_color"), [("The photo’s", "luminance"), ("Matched", "match")]
)
def test_colours(page: Page, expected: Package, photo: Path, label: str, keep_color: str) -> None:
    painted_photo(page, photo)
    paint(page, page.get_by_label(label).click)
    wanted = expected("mosaic", keep_color=keep_color)
    assert difference(shown(page), wanted) < CLOSE


def test_a_download_is_a_file_of_its_kind(
    page: Page, expected: Package, photo: Path, tmp_path: Path
) -> None:
    from PIL import Image

    painted_photo(page, photo)
    for kind, suffix in [("PNG", "png"), ("JPEG", "jpg"), ("WebP", "webp")]:
        page.get_by_label("File format").select_option(kind)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == f"coffee-mosaic.{suffix}"
        saved = Path(download.value.path())
        with Image.open(saved) as file:
            assert (file.format, file.size) == (kind.upper(), (320, 256))
        wanted = expected("mosaic", kind=f"image/{kind.lower()}")
        assert difference(images.load_image(saved), wanted) < CLOSE


def test_the_original_is_uncovered_by_keyboard_and_by_hand(page: Page, photo: Path) -> None:
    painted_photo(page, photo)
    compare, stage = page.get_by_label("Compare"), page.locator("#picture")

    def seen() -> Tensor:
        whole = images.load_image(io.BytesIO(stage.screenshot()))
        return images.resize(whole, (200, 250))

    painted, original = seen(), images.load_image(photo)
    compare.focus()
    page.keyboard.press("End")
    assert difference(seen(), original) < 0.02 < difference(painted, original)
    page.keyboard.press("Home")
    assert difference(seen(), painted) < 0.001
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50, steps=3)
    page.mouse.up()
    assert compare.input_value() == "50"
    half = seen()
    # But for the line between them, and the words in the upper corners.
    left, right = (slice(40, None), slice(0, 120)), (slice(40, None), slice(130, None))
    assert difference(half[..., *left], original[..., *left]) < 0.02
    assert difference(half[..., *right], painted[..., *right]) < 0.001


def test_photos_come_by_clipboard_and_by_mouse(page: Page, photo: Path) -> None:
    data = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(BRING, ["paste", "body", "pasted.png", data])
    page.get_by_text("Now choose a style.").wait_for()
    assert page.locator("#original").get_attribute("alt") == "pasted.png, as it was"
    paint(page, lambda: page.evaluate(BRING, ["drop", "#tiles", "style.png", data]))
    assert page.get_by_label("Your own picture").is_checked()
    paint(page, lambda: page.evaluate(BRING, ["drop", "#stage", "dropped.png", data]))
    assert page.locator("#painted").get_attribute("alt") == "dropped.png in the style of Style"


# ------------------------------------------------------------------------------- what can go wrong


def test_what_is_no_picture_is_told_and_the_page_goes_on(
    browser: Browser, address: str, photo: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    with visit(browser, address, refused="415") as page:
        painted_photo(page, photo)
        last, alert = shown(page), page.get_by_role("alert")
        paint(page, lambda: page.locator("#photo").set_input_files(text))
        assert re.fullmatch(r"Photo: .* is not a picture, .*\.", alert.inner_text())
        assert torch.equal(shown(page), last)
        paint(page, lambda: page.locator("#photo").set_input_files(photo))
        assert alert.is_hidden()
        assert torch.equal(shown(page), last)


@pytest.mark.parametrize("moved", ["a style", "a slider"])
def test_a_stale_answer_never_replaces_a_newer_one(page: Page, photo: Path, moved: str) -> None:
    """The first answer comes after the second was asked for, and is of a red picture."""
    held: list[Route] = []
    page.route("**/stylize", lambda route: route.continue_() if held else held.append(route))
    page.locator("#photo").set_input_files(photo)
    with page.expect_request("**/stylize"):
        page.get_by_label("Mosaic").click()
    act = page.get_by_label("Impasto").click
    if moved == "a slider":
        page.get_by_label("How much of the style").focus()

        def act() -> None:
            page.keyboard.press("PageDown")

    with page.expect_event("requestfailed"):  # given up, or its answer could still come
        paint(page, act)
    second = shown(page)
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 256, 320)
    with contextlib.suppress(Exception):  # there may be nobody left to take it
        held[0].fulfill(body=images.to_png_bytes(red), content_type="image/png")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert torch.equal(shown(page), second)
    assert difference(second, red) > 0.1


def test_a_busy_server_is_asked_once_more(browser: Browser, address: str, photo: Path) -> None:
    refusals = 1

    def refuse(route: Route) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals < 0:
            return route.continue_()
        detail = '{"detail": "all places are taken; try again in 1 s"}'
        return route.fulfill(status=503, body=detail, headers={"Retry-After": "0.3"})

    with visit(browser, address, refused="503") as page:
        page.route("**/stylize", refuse)
        page.locator("#photo").set_input_files(photo)
        page.get_by_label("Mosaic").click()
        page.get_by_text("The server is busy: asked again in 0.3 s").wait_for()
        page.locator("#painted:not([hidden])").wait_for()

        refusals = 2
        page.get_by_label("Impasto").click()
        page.get_by_role("alert").get_by_text("All places are taken; try again in 1 s.").wait_for()
        paint(page, page.get_by_role("button", name="Try again").click)
        assert page.get_by_role("alert").is_hidden()


def test_a_server_that_is_gone_is_told_of(browser: Browser, address: str, photo: Path) -> None:
    with visit(browser, address, refused="ERR_") as page:
        painted_photo(page, photo)
        last = shown(page)
        page.route("**/stylize", lambda route: route.abort("connectionrefused"))
        page.get_by_label("Impasto").click()
        page.get_by_role("alert").get_by_text("The server does not answer.").wait_for()
        assert torch.equal(shown(page), last)
        page.unroute("**/stylize")
        paint(page, page.get_by_role("button", name="Try again").click)
        assert page.get_by_role("alert").is_hidden()
        assert not torch.equal(shown(page), last)

        page.route("**/styles", lambda route: route.abort("connectionrefused"))
        page.reload()
        page.get_by_text("The styles cannot be had").wait_for()


def test_what_is_over_a_limit_is_told_before_it_is_sent(
    page: Page, photo: Path, tmp_path: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    alert = page.get_by_role("alert")
    page.get_by_label("Mosaic").click()
    page.get_by_label("1024", exact=True).click()
    page.locator("#photo").set_input_files(photo)
    alert.get_by_text("1.3 megapixels to paint, and this server takes 0.3 megapixels").wait_for()

    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(photo.read_bytes() + bytes(SETTINGS.max_bytes))
    page.locator("#photo").set_input_files(heavy)
    alert.get_by_text("0.5 MB to send, and this server takes 0.4 MB.").wait_for()

    large = images.save_image(torch.full((1, 3, 1500, 1600), 0.5), tmp_path / "large.png")
    page.get_by_label("256", exact=True).click()
    page.locator("#photo").set_input_files(large)
    alert.get_by_text("has 2.4 megapixels, and this server takes 2.0 megapixels.").wait_for()
    assert not [url for url in asked if url.endswith("/stylize")]
    paint(page, alert.get_by_role("button", name="Send a smaller copy").click)  # 1092 × 1024
    assert page.get_by_label("Send a smaller copy").is_checked()
    assert alert.is_hidden()
    assert shown(page).shape[2:] == (256, 273)

    page.get_by_label("Send a smaller copy").click()
    page.locator("#photo").set_input_files(photo)
    page.locator("#style-picture").set_input_files(large)
    alert.get_by_text("The style picture has 2.4 megapixels").wait_for()
    paint(page, page.get_by_label("Send a smaller copy").click)
    assert alert.is_hidden()


# ----------------------------------------------------------------------------------- every visitor


def test_all_of_it_works_by_keyboard(page: Page, expected: Package, photo: Path) -> None:
    press = page.keyboard.press

    def tab_to(name: str) -> None:
        """Go on to the next control, which shows that it has the focus."""
        press("Tab")
        label, rings = page.evaluate("""() => {
            const part = document.activeElement, ring = one => getComputedStyle(one).outlineStyle;
            const around = [part, part.parentElement, document.querySelector("#stage")];
            return [part.getAttribute("aria-label") ?? part.labels?.[0]?.textContent ?? part.textContent,
                around.map(ring)];
        }""")
        assert name in " ".join(label.split())
        assert "solid" in rings

    page.locator("h1").click()  # where a page begins
    tab_to("Choose a photo")
    with page.expect_file_chooser() as chooser:
        press("Enter")
    chooser.value.set_files(photo)
    page.get_by_text("Now choose a style.").wait_for()
    tab_to("Mix several")
    tab_to("Your own picture")
    paint(page, lambda: press("ArrowRight"))
    assert page.get_by_label("Impasto").is_checked()
    paint(page, lambda: press("End"))
    assert page.get_by_label("Vortex, dawn").is_checked()
    paint(page, lambda: press("Home") or press("ArrowRight") or press("ArrowRight"))
    assert page.get_by_label("Mosaic").is_checked()
    tab_to("How much of the style")
    tab_to("The style’s")
    paint(page, lambda: press("ArrowRight"))
    tab_to("256")
    tab_to("Compare")
    press("End")
    tab_to("File format")
    tab_to("Download")
    with page.expect_download() as download:
        press("Enter")
    wanted = expected("mosaic", keep_color="luminance", kind="image/png")
    assert difference(images.load_image(download.value.path()), wanted) < CLOSE


def test_it_fits_a_phone_and_works_by_tap(
    browser: Browser, address: str, expected: Package, photo: Path
) -> None:
    with visit(browser, address, **PHONE) as page:
        page.locator("#photo").set_input_files(photo)
        paint(page, page.get_by_label("Mosaic").tap)
        page.get_by_label("Mix several").tap()
        paint(page, page.get_by_label("Stained glass").tap)
        paint(page, page.get_by_label("The photo’s").tap)
        wanted = expected("mosaic", "stained_glass", keep_color="luminance")
        assert difference(shown(page), wanted) < CLOSE
        assert (
            page.locator("#painted").bounding_box()["y"] >= 0
        )  # in sight, though one has scrolled
        for width in (360, 390, 414):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("() => document.documentElement.scrollWidth") == width
            assert page.evaluate(SMALL) == []
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").tap()
        assert download.value.suggested_filename == "coffee-mosaic-stained_glass.png"


def test_every_text_stands_out_in_light_and_in_dark(page: Page, photo: Path) -> None:
    def assert_none_is_pale() -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(PALE) == []

    assert_none_is_pale()
    page.get_by_label("Mix several").click()
    page.get_by_label("Impasto").click()
    painted_photo(page, photo)
    assert_none_is_pale()


def test_nothing_moves_for_those_who_ask_for_that(page: Page) -> None:
    moving = "() => getComputedStyle(document.querySelector('.progress'), '::before').animationName"
    for motion, name in [("reduce", "none"), ("no-preference", "across")]:
        page.emulate_media(reduced_motion=motion)
        assert page.evaluate(moving) == name
