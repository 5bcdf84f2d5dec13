"""Make the README's pictures of the studio, with a real mouse in a real JupyterLab.

    python -m tests.browser.pictures             # studio_paint.png and studio_listen.png

The light theme, 1.5 pixels of the picture for one of the page, and few colours: sharp, and small.
"""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from .conftest import ROOT, SWITCHES
from .gallery import run, server
from .pointer import Pointer, until

OUT = ROOT / "assets" / "pictures"
NAME = "pictures_of_the_studio.ipynb"
COLOURS = 256
CELL = """import pomkit
song = pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"])
studio = pomkit.Studio("tiny", song)
studio.session.dice = False
studio.set(seed=4)
studio.session.say("")
studio"""


class Hand(Pointer):
    """A mouse over a page with a studio."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, name: str) -> None:
        """Press a button by its name."""
        self.page.locator(f"button[aria-label='{name}']:visible").first.click()

    def compose(self) -> None:
        """Compose what is marked, and wait until it sounds."""
        self.press("Compose")
        until(lambda: self.of_page("desk.offers() && desk.player.playing"), "it is heard")

    def of_page(self, expression: str) -> object:
        """The value of an expression of the studio's `desk`."""
        find = "const {desk} = document.querySelector('.pomkit-studio')"
        return self.page.evaluate(f"(() => {{ {find}; return {expression}; }})()")

    def shoot(self, path: Path) -> None:
        """Write a picture of the studio, with the pointer elsewhere."""
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(500)
        png = self.page.locator(".pomkit-studio").screenshot()
        image = Image.open(io.BytesIO(png)).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path, image.size, path.stat().st_size)


def bring_notebook(page: Page, url: str) -> str:
    """Put a notebook with a studio on the server; its address."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    content = json.loads(nbformat.writes(notebook))
    body = {"type": "notebook", "content": content}
    answer = page.request.put(f"{url}api/contents/{NAME}", data=body)
    assert answer.ok, answer.text()
    return f"{url}lab/tree/{NAME}?reset"


def paint(hand: Hand, out: Path) -> None:
    """Bars 5 to 8 of the melody are composed, and the second candidate plays."""
    hand.press("melody")
    hand.drag((70, None), (120, None))
    hand.compose()
    hand.press("Next candidate")
    until(lambda: hand.of_page("desk.player.position() > 84"), "it plays in the region")
    hand.press("Pause")
    hand.shoot(out / "studio_paint.png")


def listen(hand: Hand, out: Path) -> None:
    """Some takes later, with one part alone, and what the model finds odd."""
    hand.press("Keep")
    for first, last in ((70, 88), (98, 120)):
        hand.drag((first, None), (last, None))
        hand.compose()
        hand.press("Pause")
        hand.press("Keep")
    hand.press("solo MELODY")
    hand.press("Show what the model finds odd")
    until(lambda: hand.of_page("desk.odd.length"), "the doubt is there")
    hand.press("Mark the oddest bar")
    until(lambda: hand.of_page("desk.extent && !desk.waiting.size"), "it is marked")
    hand.shoot(out / "studio_listen.png")


def main() -> int:
    """Make both pictures."""
    chromium = os.environ.get("POMKIT_CHROMIUM") or shutil.which("chromium")
    with server("1") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        screen = {"width": 1280, "height": 800}
        page = browser.new_context(viewport=screen, device_scale_factor=1.5).new_page()
        run(page, bring_notebook(page, url))
        hand = Hand(page)
        hand.box(".pomkit-studio .ink")
        paint(hand, OUT)
        listen(hand, OUT)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
