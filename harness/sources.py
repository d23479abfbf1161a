"""Where every value of a method comes from: reads the comments of conf/method, and refuses what they leave open.

A part, `conf/method/<group>/<name>.yaml`; a variant (`defaults: [base, _self_]`) says what differs from its base:

    # <what it is>, arXiv:<id>
    # equation: <formula>; <where it stands>
    # source: <code | paper | second-hand | ours>, <what was read>
    _target_: methods.…
    option: value  # <allowed>; paper: <value or open> (<where>); ours: <reason, where the two differ>

A preset, `conf/method/<name>.yaml`, opens with `# <Name>, arXiv:<id>: <what it is>`. In both, `# left out: ` and
`# deviation: ` tell what is not reproduced. A comment line without a key continues the one above it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.errors import ConfigError

GRADES = ("code", "paper", "second-hand", "ours")  # of a source, the surest first
GROUPS = ("shaping", "advantage", "weighting", "surrogate")  # a preset chooses one of each, and may a control
KEYS = ("equation", "source", "left out", "deviation")
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class GrammarError(ConfigError):
    """A line of a configuration file that does not say where its value comes from."""


@dataclass(frozen=True)
class Option:
    """One option of a part: our value and the paper's, as text in YAML, and what is said about them."""

    name: str
    ours: str
    paper: str  # or "open"
    allowed: str = ""
    where: str = ""
    reason: str = ""  # for another value than the paper's, or where that is open

    @property
    def status(self) -> str:
        if not self.reason:
            return "as published"
        return "open" if self.paper == "open" else "deviates"


@dataclass(frozen=True)
class Head:
    """What the comments at the top of a file say."""

    what: str
    notes: tuple[str, ...]  # further lines that have no key
    said: dict[str, tuple[str, ...]]  # by key

    @property
    def papers(self) -> tuple[str, ...]:
        return tuple(PAPER.findall(self.what))


@dataclass(frozen=True)
class Part:
    """A file of one of the groups, with what it has from the file it builds on."""

    group: str
    name: str
    what: str
    papers: tuple[str, ...]
    equation: str
    grade: str
    read: str
    left_out: tuple[str, ...]
    deviations: tuple[str, ...]
    target: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Preset:
    """A method: its parts by group, and options of its own such as rounds of dynamic sampling."""

    name: str
    title: str
    what: str
    papers: tuple[str, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    deviations: tuple[str, ...]
    parts: dict[str, str]
    options: tuple[Option, ...]


def read_part(folder: Path, group: str, name: str) -> Part:
    """The part `folder/<group>/<name>.yaml`. Raises GrammarError naming file and line."""
    path = folder / group / f"{name}.yaml"
    head, content, own = _read(path)
    bases = [entry for entry in content.get("defaults", []) if entry != "_self_"]
    base = read_part(folder, group, bases[0]) if bases else None
    target = content.get("_target_") or (base.target if base else None)
    if not target:
        raise GrammarError(f"{path}: no _target_.")
    options = {option.name: option for option in (*(base.options if base else ()), *own)}
    equation, source = (head.said.get(key, ()) for key in ("equation", "source"))
    if not base and not (equation and source):
        raise GrammarError(f"{path}:1: `# equation: …` and `# source: …` follow the first line.")
    grade, _, read = source[0].partition(", ") if source else (base.grade, "", base.read)
    if grade not in GRADES or not read:
        expected = f"<{' | '.join(GRADES)}>, <what was read>"
        raise GrammarError(f"{path}: `# source: {grade}`: expected `{expected}`.")
    papers = head.papers or (base.papers if base else ())
    if grade != "ours" and not papers:
        raise GrammarError(f"{path}:1: names no arXiv:<id>, though its source is {grade}.")
    return Part(
        group, name, head.what, papers, equation[0] if equation else base.equation, grade, read,
        (base.left_out if base else ()) + head.said.get("left out", ()),
        (base.deviations if base else ()) + head.said.get("deviation", ()),
        target, tuple(options.values()),
    )  # fmt: skip


def read_preset(folder: Path, name: str) -> Preset:
    """The preset `folder/<name>.yaml`. Raises GrammarError naming file and line."""
    path = folder / f"{name}.yaml"
    head, content, options = _read(path)
    title, colon, what = head.what.partition(": ")
    if not colon:
        raise GrammarError(f"{path}:1: expected `# <Name>, arXiv:<id>: <what it is>`.")
    if keyed := [key for key in ("equation", "source") if key in head.said]:
        raise GrammarError(f"{path}: `# {keyed[0]}:` belongs to the file of a part.")
    chosen = [entry for entry in content.get("defaults", []) if entry != "_self_"]
    parts = {
        re.sub(r"^override (/method/)?", "", group): part for entry in chosen for group, part in entry.items()
    }
    if not set(GROUPS) <= set(parts):
        raise GrammarError(f"{path}: its defaults choose {', '.join(parts)}; expected {', '.join(GROUPS)}.")
    title = re.sub(r",? \(?arXiv:\d{4}\.\d{4,5}\)?", "", title)
    left_out, deviations = (head.said.get(key, ()) for key in ("left out", "deviation"))
    return Preset(name, title, what, head.papers, head.notes, left_out, deviations, parts, options)


def _read(path: Path) -> tuple[Head, dict[str, Any], tuple[Option, ...]]:
    lines = path.read_text().splitlines()
    try:
        content = yaml.safe_load("\n".join(lines)) or {}
    except yaml.YAMLError as error:
        raise GrammarError(f"{path}: {str(error).splitlines()[0]}") from error
    top = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    plain = [key for key in content if key.startswith("_") or key in ("defaults", "name")]
    body: dict[int, str] = {}  # by number of the line; a comment that goes on below joined to it
    for number, line in enumerate(lines[top:], start=top + 1):
        if body and re.match(r"\s+# ", line):
            body[max(body)] += " " + line.strip().removeprefix("# ")
        elif line.startswith("#"):
            raise GrammarError(
                f"{path}:{number}: comments stand at the top, or behind the option they are about."
            )
        else:
            body[number] = line
    options = {
        key: _option(line, f"{path}:{number}")
        for number, line in body.items()
        if (key := line.partition(":")[0]) in content and key not in plain
    }
    if unread := [key for key in content if key not in plain and key not in options]:
        raise GrammarError(f"{path}: {unread[0]} is not written as `option: value  # …` on one line.")
    return _head(lines[:top], path), content, tuple(options.values())


def _head(lines: list[str], path: Path) -> Head:
    if not lines or not lines[0].startswith("# ") or not lines[0][2:].strip():
        raise GrammarError(f"{path}:1: a file opens with `# ` and what it is.")
    what, notes, said = lines[0][2:].strip(), [], {}
    last: str | None = None
    for number, line in enumerate(lines[1:], start=2):
        text = line[1:].strip()
        key, colon, rest = text.partition(": ")
        if colon and key in KEYS:
            if key in said and key in ("equation", "source"):
                raise GrammarError(f"{path}:{number}: a second `# {key}:`.")
            said.setdefault(key, []).append(rest.strip())
            last = key
        elif text.endswith(":") and text[:-1] in KEYS:
            raise GrammarError(f"{path}:{number}: `# {text}` says nothing.")
        elif (colon and (close := get_close_matches(key.lower(), KEYS, 1, 0.75))) and len(key) <= 12:
            raise GrammarError(f"{path}:{number}: `# {key}:`: did you mean `# {close[0]}:`?")
        elif last:
            said[last][-1] += f" {text}"
        elif notes and text[:1].islower():
            notes[-1] += f" {text}"
        elif text[:1].islower():
            what += f" {text}"
        else:
            notes.append(text)
    return Head(what, tuple(notes), {key: tuple(texts) for key, texts in said.items()})


def _option(line: str, where: str) -> Option:
    """One line `option: value  # <allowed>; paper: <value or open> (<detail>); ours: <reason>`."""
    parsed = re.fullmatch(r"(\w+): (.+?)  +# (.*)", line)
    if not parsed:
        raise GrammarError(f"{where}: expected `option: value  # <allowed>; paper: <value or open>`.")
    name, ours, comment = parsed.groups()
    said = re.fullmatch(r"(?:(.*?); )?paper: (.+?)(?:; ours: (.+))?", comment)
    if not said or "ours:" in said[2]:
        raise GrammarError(f"{where}: expected `<allowed>; paper: <value or open>; ours: <reason>`.")
    allowed, published, reason = said.groups()
    paper, detail = re.fullmatch(r"(.+?)(?: \((.*)\))?", published).groups()
    same = paper != "open" and _value(paper, where) == _value(ours, where)
    number = type(_value(ours, where)[1]) in (int, float)
    if number and paper != "open" and isinstance(_value(paper, where)[1], str):
        raise GrammarError(f"{where}: `paper: {paper}` is no number; details stand in parentheses after it.")
    if same and reason:
        raise GrammarError(f"{where}: {name} has the paper's value, so `ours:` has nothing to explain.")
    if not same and not reason:
        differs = "the paper leaves it open" if paper == "open" else f"the paper has {paper}"
        raise GrammarError(f"{where}: {name} is {ours}, {differs}: say why after `; ours: `.")
    return Option(name, ours, paper, allowed or "", detail or "", reason or "")


def _value(text: str, where: str) -> tuple[type, Any]:
    """A value in YAML as OmegaConf reads it (1e-4 is a number), with its kind: true is not 1."""
    try:
        value = OmegaConf.to_container(OmegaConf.create(f"x: {text}"))["x"]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise GrammarError(f"{where}: {text!r} is no value in YAML.") from error
    return type(value) if isinstance(value, bool | str) else object, value
