"""The pictures of the README: `HEARTH_TEST_PICTURES=docs/images pytest tests/e2e/test_page_pictures.py` makes them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.browser import Served, browser, install, serving, visiting
from tests.e2e.page_server import CONFIG

PICTURES = os.environ.get("HEARTH_TEST_PICTURES", "")
"""The folder in which they are made; left out, they are only tried."""
FONTS = Path("/usr/share/fonts/opentype/inter/Inter-Regular.otf")
FONT_PACKAGES = ("fonts-inter", "fonts-jetbrains-mono")
FONT_CHOICE = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}</cachedir>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>ui-monospace</family><prefer><family>JetBrains Mono</family></prefer></alias>
</fontconfig>
"""
"""What a desktop of today has for `system-ui`: a bare server has no such font."""


def test_the_pictures_of_the_readme(tmp_path: Path) -> None:
    """A desktop and a phone, of a conversation whose model says that it is scripted."""
    environment = {}
    if PICTURES:
        install(FONTS, *FONT_PACKAGES)
        choice = tmp_path / "fonts.conf"
        choice.write_text(FONT_CHOICE.format(folder=tmp_path / "cache"), "utf-8")
        environment["FONTCONFIG_FILE"] = str(choice)
    folder = Path(PICTURES) if PICTURES else tmp_path
    folder.mkdir(exist_ok=True)
    with serving(Served(tmp_path / "served", "scripted", CONFIG)) as served, browser(**environment) as chromium:
        with visiting(chromium, served, device_scale_factor=2, viewport={"width": 1240, "height": 860}) as desk:
            desk.open()
            for words in ("Which herbs grow in a shady yard?", "A name for our allotment club", "Sourdough, day three"):
                desk.ask(words)
                desk.page.locator("#new").click()
            desk.ask("Can I keep a wood fire going overnight?")
            desk.ask("And a little Python to log how much wood I use?")
            desk.page.mouse.move(700, 10)
            desk.page.locator("#title").click()
            desk.page.wait_for_timeout(300)
            desk.page.screenshot(path=folder / "page-desktop.png")
            where = desk.page.url.removeprefix(served.origin)
        with visiting(chromium, served, phone=True, color_scheme="dark") as phone:
            phone.open(where)
            phone.settled()
            phone.page.locator(".answer").first.scroll_into_view_if_needed()
            phone.page.screenshot(path=folder / "page-phone.png")
    for name in ("page-desktop.png", "page-phone.png"):
        assert (folder / name).stat().st_size > 20_000
