"""Everything that the comparison found -> comparison.html, one file with its style, script, figures and data inside.

The page asks for nothing: its own content security policy forbids every request, and every script but the one that
is in page.js. Completions are untrusted text: they are embedded as escaped JSON and shown as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from harness.compare.html.drill import CHARACTERS, METHODS, PROBLEMS, Drill
from harness.compare.plots import CAPTIONS
from harness.compare.read import Run

HERE = Path(__file__).parent
AXES = {"steps": "Training steps", "tokens": "Generated tokens", "seconds": "Training time"}
MACHINE = ("autocast", "processor", "cores", "threads", "gpus")  # fields of env.json
LONG = 32  # characters of a cell beyond which it is broken into lines
LOUD = re.compile(r"\**[A-Z][A-Z ]{3,}:")  # the convention of notes that are warnings


class TableLike(Protocol):
    """What is used of a tables.Table: cells are text as it is to be shown. Without rows it is not shown."""

    stem: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of the page. note: Markdown; figures: SVG files. Of figures whose stems differ only in a last _steps,
    _tokens or _seconds one is shown at a time, with a switch.
    """

    title: str
    note: str = ""
    tables: Sequence[TableLike] = ()
    figures: Sequence[Path] = ()


@dataclass(frozen=True)
class Picture:
    """A figure inside the page. source: a data address; axis: a key of AXES if it is one of several between which the
    reader switches.
    """

    stem: str
    source: str
    label: str
    caption: str
    axis: str | None = None


@dataclass(frozen=True)
class Content:
    """What the page says. Texts are Markdown.

    lead: the verdicts. notes: a sentence each; those that begin with capitals and a colon are warnings. holes: table
    of runs that are missing, or None. commands: lines as typed. versions: (name, values).
    """

    title: str
    question: str
    lead: str
    notes: Sequence[str]
    holes: TableLike | None
    sections: Sequence[Section]
    drill: Drill
    words: str
    commands: Sequence[str]
    versions: Sequence[tuple[str, str]] = field(default_factory=list)


def page(content: Content) -> str:
    """The whole page as HTML; the same content gives the same text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.filters |= {
        "markdown": markdown,
        "anchor": anchor,
        "numeric": numeric,
        "cell_class": cell_class,
    }
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    notes = list(dict.fromkeys([*content.notes, *filter(LOUD.match, content.drill.notes)]))
    drill = asdict(content.drill)
    del drill["notes"]
    return environment.get_template("page.html").render(
        content=content,
        warnings=[note for note in notes if LOUD.match(note)],
        remarks=[note for note in notes if not LOUD.match(note) and note not in content.drill.notes],
        sections=[(section, pictures(section.figures)) for section in content.sections],
        drill=drill,
        limits={"methods": METHODS, "problems": PROBLEMS, "characters": f"{CHARACTERS:,}"},
        axes=AXES,
        style=Markup(style),
        script=Markup(script),
        hashes={"style": _hash(style), "script": _hash(script)},
    )


def pictures(figures: Iterable[Path]) -> list[list[Picture]]:
    """Figures to be shown, each alone or in a group of which one is shown at a time; in the order they came."""
    groups: dict[str, list[Picture]] = {}
    for path in figures:
        source = "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
        family, _, axis = path.stem.rpartition("_")
        switched = axis in AXES and family != ""
        words = (family if switched else path.stem).replace("_", " ").capitalize()
        label = f"{words}, against {AXES[axis].lower()}" if switched else words
        picture = Picture(path.stem, source, label, CAPTIONS[path.stem], axis if switched else None)
        groups.setdefault(family if switched else path.stem, []).append(picture)
    order = list(AXES)
    return [
        sorted(group, key=lambda one: order.index(one.axis) if one.axis else 0) for group in groups.values()
    ]


def versions(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """What the runs were made with, from env.json: (name, its distinct values), and how many runs have each value where
    there are several. Modules whose source differs between runs are listed one by one, equal ones not at all.
    """
    seen: dict[str, dict[str, int]] = {}
    for run in runs:
        env = run.env
        facts = {name: env[name] for name in ("python", "commit", "policy_hash") if name in env}
        facts |= env.get("versions", {})
        facts |= {name: env[name] for name in MACHINE if name in env}
        facts |= {f"source of {name}": value for name, value in env.get("code", {}).items()}
        for name, value in facts.items():
            text = "none" if value in (None, []) else value if isinstance(value, str) else json.dumps(value)
            counts = seen.setdefault(name, {})
            counts[text] = counts.get(text, 0) + 1
    rows = []
    for name, counts in seen.items():
        if len(counts) > 1:
            shares = (f"{text} ({n} run{'s' * (n > 1)})" for text, n in sorted(counts.items()))
            rows.append((name, "; ".join(shares)))
        elif not name.startswith("source of "):
            rows.append((name, next(iter(counts))))
    return rows


def markdown(text: str) -> Markup:
    """Markdown without HTML, images or links: what it names is text, whoever wrote it."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["image", "link", "autolink", "reference"])
    return Markup(parser.render(text))


def anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def numeric(table: TableLike) -> list[bool]:
    """Per column whether all its cells begin with a number, or are missing: it is then set to the right."""
    return [
        i > 0 and all(re.match(r"[+\-−]?\d|–", row[i]) for row in table.rows)
        for i in range(len(table.header))
    ]


def cell_class(cell: str) -> str:
    """better, worse or unresolved for the words of a verdict, and long for what may be broken into lines."""
    words = [cell] if cell in ("better", "worse") else []
    words += ["unresolved"] if cell.startswith(("not resolved", "not compared")) else []
    return " ".join(words + (["long"] if len(cell) > LONG else []))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
