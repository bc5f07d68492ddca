"""An answer of the server that breaks off in the middle, as when its process is killed, is none."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Route, expect

from tests.e2e.browser import Served, browser, serving, visiting
from tests.e2e.page_server import CONFIG


def test_what_breaks_off_is_asked_again(tmp_path: Path) -> None:
    """The page does not take half an acknowledgement for a refusal: it sends the message again, and it is there once."""
    broken: list[str] = []

    def break_off(route: Route) -> None:
        if route.request.method == "POST" and route.request.url not in broken:
            broken.append(route.request.url)
            route.fulfill(status=201, content_type="application/json", body='{"i')
        else:
            route.continue_()

    served = Served(tmp_path, "scripted", CONFIG)
    with serving(served), browser() as chromium, visiting(chromium, served) as somebody:
        somebody.open()
        somebody.page.route("**/api/conversations", break_off)
        somebody.page.route("**/messages", break_off)
        somebody.ask("Are you there?")
        expect(somebody.questions).to_have_count(1)
        assert len(broken) == 2
