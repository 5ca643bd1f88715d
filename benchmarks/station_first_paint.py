"""First paint of a station's pages in the system's Chromium: without anything in its cache, and with it.

Start a station, have it judge some parts, then

    python benchmarks/station_first_paint.py http://127.0.0.1:8420 station/first-token.txt

prints the median first contentful paint in milliseconds after navigation began; the server's time is in it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = ("live", "history", "review", "limits", "trends", "models")
_PAINT = """new Promise(done => {
  const found = () => performance.getEntriesByName('first-contentful-paint')[0];
  const look = () => found() ? done(found().startTime) : setTimeout(look, 5);
  look();
})"""


def painted_ms(page: Page, path: str) -> float:
    """First contentful paint of one load."""
    page.goto(path, wait_until="commit")
    return float(page.evaluate(_PAINT))


def measure(browser: Browser, address: str, token: str, path: str, loads: int) -> tuple[float, float]:
    """Median of loads with an empty cache, and of loads after them."""
    empty, kept = [], []
    for _ in range(loads):
        context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.request.post("/login", form={"token": token})
        empty.append(painted_ms(page, f"/{path}"))
        page.wait_for_load_state("load")
        kept.append(painted_ms(page, f"/{path}"))
        context.close()
    return statistics.median(empty), statistics.median(kept)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("token_file", type=Path)
    parser.add_argument("--loads", type=int, default=7)
    given = parser.parse_args()
    place = shutil.which("chromium") or shutil.which("google-chrome")
    if place is None:
        parser.error("needs a Chromium of the system")
    token = given.token_file.read_text(encoding="utf-8").split()[-1]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        print("| page | empty cache, ms | again, ms |\n|---|---|---|")
        for path in PATHS:
            empty, kept = measure(browser, given.address, token, path, given.loads)
            print(f"| {path} | {empty:.0f} | {kept:.0f} |")
        browser.close()


if __name__ == "__main__":
    main()
