"""A page of Markdown as one HTML file that needs no network: style and figures inside, completions as text only."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

from markdown_it import MarkdownIt

from harness.compare.html.page import HERE

MORE = "img { max-width: 100%; } table { font-size: .8rem; white-space: nowrap; } main { overflow-x: auto; }"


def page(text: str, folder: Path) -> str:
    """text: Markdown in which PNG files of the folder are shown; raw HTML in it is shown as it stands."""
    title = text.partition("\n")[0].lstrip("# ")
    style = (HERE / "page.css").read_text(encoding="utf-8") + MORE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"

    def inside(match: re.Match[str]) -> str:
        return f"](data:image/png;base64,{base64.b64encode((folder / match[1]).read_bytes()).decode()})"

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(re.sub(r"\]\((\w+\.png)\)", inside, text))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n"
        "</html>\n"
    )
