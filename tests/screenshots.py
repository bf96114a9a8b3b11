"""Pictures of pages for the README and the guides: 1400 px wide, light, still, and small."""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect

WIDTH, TALLEST = 1400, 1900
HEIGHT = 900
"""Of the window between two pictures."""
MARGIN = 28
LARGEST = 150_000
IMAGES_LOADED = "images => Promise.all(images.map(image => image.decode().catch(() => null)))"


class Screenshots:
    """Takes pictures of one page into a folder, each under a name that stays the same."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder
        folder.mkdir(parents=True, exist_ok=True)
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def take(self, name: str, *, until: Locator | None = None) -> None:
        """Keep the page as it is now as `name`.png, from its top to the end of `until`, of a dialog or of all."""
        page = self.page
        page.mouse.move(WIDTH - 2, 2)
        page.evaluate("document.activeElement.blur()")  # help opens where the focus is
        for unfinished in ("stStatusWidget", "stSkeleton", "stTooltipContent"):
            expect(page.get_by_test_id(unfinished)).to_have_count(0)
        page.set_viewport_size({"width": WIDTH, "height": TALLEST})  # charts and thumbnails fill what is seen
        page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
        dialog = page.get_by_role("dialog")
        whole = dialog if dialog.count() else page.get_by_test_id("stMainBlockContainer").locator("> div").first
        shot = self._still(self._end(until or whole))
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        self._keep(name, shot)

    def _end(self, last: Locator) -> int:
        """Where the picture ends, once nothing moves any more."""
        before = 0
        while True:
            box = last.bounding_box()
            end = min(TALLEST, int(box["y"] + box["height"]) + MARGIN) if box else 0
            if end and end == before:
                return end
            before = end
            self.page.wait_for_timeout(1000)

    def _still(self, height: int) -> bytes:
        self.page.locator("img").evaluate_all(IMAGES_LOADED)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
        return self.page.screenshot(clip=clip, animations="disabled", caret="hide")

    def _keep(self, name: str, shot: bytes) -> None:
        whole = Image.open(io.BytesIO(shot)).convert("RGB")
        small = whole.quantize(256, kmeans=1, dither=Image.Dither.NONE)
        path = self.folder / f"{name}.png"
        small.save(path, optimize=True)
        assert path.stat().st_size < LARGEST, f"{path.name} has {path.stat().st_size:,} bytes"
