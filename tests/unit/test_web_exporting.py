"""Downloads of the page: a file's name never becomes a header, a path or a page."""

from __future__ import annotations

import pytest

from adapters.web.exporting import disposition, download


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ('a"; x="b.html', "attachment; filename=\"a__ x__b.html\"; filename*=UTF-8''a%22%3B%20x%3D%22b.html"),
        ("a\r\nSet-Cookie: x=1", "attachment; filename=\"aSet-Cookie_ x_1\"; filename*=UTF-8''aSet-Cookie%3A%20x%3D1"),
        ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("..\\..\\run.exe", "attachment; filename=\"run.exe\"; filename*=UTF-8''run.exe"),
        ("größe.md", "attachment; filename=\"gr__e.md\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.md"),
        ("invoice\u202efdp.exe", "attachment; filename=\"invoicefdp.exe\"; filename*=UTF-8''invoicefdp.exe"),
        ("<script>", "attachment; filename=\"_script_\"; filename*=UTF-8''%3Cscript%3E"),
        ("...", "attachment; filename=\"file\"; filename*=UTF-8''file"),
        ("", "attachment; filename=\"file\"; filename*=UTF-8''file"),
        ("a/", "attachment; filename=\"file\"; filename*=UTF-8''file"),
    ],
)
def test_a_name_is_only_a_name(name: str, header: str) -> None:
    assert disposition(name) == header


@pytest.mark.parametrize(
    ("media_type", "told"),
    [
        ("application/json", "application/json; charset=utf-8"),
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/plain\r\nX-Injected: 1", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_no_download_is_shown_as_a_page(media_type: str, told: str) -> None:
    response = download(b"<script>alert(1)</script>", "a", media_type)
    assert response.headers["Content-Type"] == told
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
