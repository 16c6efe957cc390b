"""Take pictures of a running console, for the documentation and for looking at it.

    ./run demo --customers 2400                                     in one terminal; it prints a name and a password once
    .venv/bin/python tools/screenshot.py docs/console.png --password PASSWORD        the incident page, light, 1360 x 900
    .venv/bin/python tools/screenshot.py FOLDER --all --password PASSWORD            every page, light and dark, wide and narrow

Needs Chromium (apt install chromium). Options: --url, --name, --path (which page), --dark, --width, --height, --full.
"""

from __future__ import annotations

import argparse
import shutil
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PAGES = {
    "incident": "/", "duties": "/incidents/1/duties", "cutover": "/cutover", "mailing": "/incidents/1/mailing",
    "letters": "/incidents/1/letters", "notices": "/incidents/1/notices", "notice": "/notices/1", "desk": "/desk",
    "approvals": "/approvals", "log": "/log", "receipt": "/receipt", "lost": "/nowhere",
}  # fmt: skip
SIZES = {"wide": (1360, 900), "narrow": (390, 800)}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture, or with --all the folder")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--name", default="commander")
    parser.add_argument("--password", required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--width", type=int, default=1360)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--full", action="store_true", help="the whole page, not only what a screen shows")
    parser.add_argument("--all", action="store_true")
    return parser.parse_args()


def signed_in(browser: Browser, wanted: argparse.Namespace) -> Page:
    """Return a page of a signed-in session."""
    page = browser.new_page(color_scheme="dark" if wanted.dark else "light", viewport={"width": wanted.width, "height": wanted.height})
    page.goto(f"{wanted.url}/sign-in")
    page.fill("[name=username]", wanted.name)
    page.fill("[name=password]", wanted.password)
    page.click("main button")
    page.wait_for_url(lambda url: "/sign-in" not in url)
    return page


def take_all(page: Page, wanted: argparse.Namespace) -> None:
    """Take every page in both schemes and both sizes, whole."""
    wanted.out.mkdir(parents=True, exist_ok=True)
    for (name, path), (size, (width, height)), scheme in product(PAGES.items(), SIZES.items(), ("light", "dark")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": height})
        page.goto(wanted.url + path)
        page.screenshot(path=wanted.out / f"{name}-{size}-{scheme}.png", full_page=True)


def main() -> None:
    """Take what the command line asks for."""
    wanted = options()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = signed_in(browser, wanted)
        if wanted.all:
            take_all(page, wanted)
        else:
            page.goto(wanted.url + wanted.path)
            page.screenshot(path=wanted.out, full_page=wanted.full)
        browser.close()


if __name__ == "__main__":
    main()
