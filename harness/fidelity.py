"""What of each method is the paper's and what is ours: writes docs/methods.md from conf/method and the classes.

    python -m harness.fidelity                    # write docs/methods.md
    python -m harness.fidelity check=true         # only say whether it is up to date
    python -m harness.fidelity out=/tmp/page.md

Everything on the page is read from the comments in conf/method (their grammar: harness/sources.py) and from what the
parts declare (`needs`, `scope`, `live`), nothing is kept here by a method's name.

Exit code: 0 if the page was written or is up to date, 1 if it is not, 2 if a file or argument is refused.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.config import CONF
from harness.errors import ConfigError, nearest
from harness.load import load_method
from harness.markdown import code, paper, sentence, table, text
from harness.sources import GRADES, GROUPS, Option, Part, Preset, read_part, read_preset

if TYPE_CHECKING:
    from methods import Method

FOLDER = CONF / "method"
ALL = (*GROUPS, "control")
PAGE = "docs/methods.md"
COST = {  # what a part asks for: what that takes beside sampling and the loss
    "logps": "N·T numbers kept",
    "entropies": "N·T numbers kept",
    "sum_sq_probs": "N·T numbers kept",
    "hidden": "N·T·d numbers kept",
    "probs": "N·T·V numbers kept",
    "ref_logps": "one forward of the reference policy",
    "decisive": "the suite's own marks",
    "prompts": "texts",
    "completions": "texts",
    "references": "the suite's solutions",
    "token_texts": "texts",
    "score": "extra forward passes",
    "continuations": "extra rollouts",
    "input_gradients": "one forward and backward",
    "auxiliary": "a second model, forward and backward",
}
SCOPES = {"batch": "rollout batch", "live": "micro-batch"}
WORK = ("score", "continuations", "input_gradients", "auxiliary")
SECTIONS = {  # in reading order; what stands behind a colon is left out of the overview
    "baselines": "Baselines",
    "pairwise": "Pairwise, and other advantages that read the policy",
    "frozen": "Token weights, frozen: computed once per rollout batch",
    "live": "Token weights, live: recomputed at every optimisation step",
    "work": "With extra work: rollouts, passes or models of their own",
    "rewards": "Rewards",
    "surrogates": "Surrogates",
    "second-hand": "Second-hand: the formula is not the authors' own text or code",
    "controls": "Controls",
}

INTRO = """\
# Methods: what is the papers' and what is ours

Written by `python -m harness.fidelity` from the files of `conf/method`; a test keeps it up to date.

**Source** says how a formula was settled: `code`, read in the authors' code; `paper`, in the paper's text;
`second-hand`, in notes or other frameworks; `ours`, no paper has it (controls).
**Values** counts options of the parts in which a preset differs from `{default}`: *as published*, *deviates* (another
value than the paper of that part has), *open* (that paper does not say). The reasons are in the preset's own table.
**Not reproduced** counts what was left out on purpose, and deviations beyond values.
**Cost** is what a method asks for beside sampling and the loss, for N completions of T tokens; numbers that are "kept"
come from the rollout engine without another forward. **Scope** is what its statistics run over: the group of one
prompt, the rollout batch, or a micro-batch of an optimisation step.

## Overview"""

COLUMNS = ("preset", "paper", "equation", "source", "values", "not reproduced", "parts", "cost", "scope")


@dataclass(frozen=True)
class Entry:
    """A preset with its files and the method they make."""

    preset: Preset
    parts: dict[str, Part]
    method: Method
    default: dict[str, str]  # the parts of the default preset, by group

    @property
    def differing(self) -> dict[str, Part]:
        """The parts that are not the default preset's; of that one itself, all."""
        return {
            group: part for group, part in self.parts.items() if part.name != self.default.get(group)
        } or self.parts

    @property
    def own(self) -> dict[str, Part]:
        """The parts of the preset's own paper, and its control; where there are none, those that differ."""
        cited = set(self.preset.papers)
        own = {g: p for g, p in self.parts.items() if cited & set(p.papers) or g == "control"}
        return own or self.differing

    @property
    def grades(self) -> list[str]:
        return sorted({part.grade for part in self.own.values()}, key=GRADES.index)

    @property
    def options(self) -> list[tuple[str, Option]]:
        named = [
            (f"{group}.{option.name}", option)
            for group, part in self.differing.items()
            for option in part.options
        ]
        return [*named, *((option.name, option) for option in self.preset.options)]

    def built(self, group: str) -> Any:
        """The object of a part, or the function it is made from."""
        part = getattr(self.method, group)
        return part.func if isinstance(part, partial) else part

    @property
    def section(self) -> str:
        """Its key in SECTIONS, from the kind of the preset's own parts, what they ask for and their grade."""
        needs = {group: set(getattr(self.built(group), "needs", ())) for group in self.own}
        credit = {group for group in ("advantage", "weighting") if group in self.own}
        work = any(needs[group] & set(WORK) or hasattr(self.built(group), "state_dict") for group in credit)
        if not self.preset.papers or "ours" in self.grades:
            return "controls"
        if "advantage" in credit and needs["advantage"] and not work:
            return "pairwise"
        if "second-hand" in self.grades:
            return "second-hand"
        if not credit:
            return "surrogates" if "surrogate" in self.own else "rewards"
        if work:
            return "work"
        if credit == {"advantage"}:
            return "baselines"
        return "live" if self.method.is_live else "frozen"

    @property
    def cost(self) -> str:
        asked: dict[str, list[str]] = {}
        for need in sorted(self.method.needs, key=list(COST).index):
            asked.setdefault(COST[need], []).append(need)
        costs = [f"{cost} ({', '.join(names)})" for cost, names in asked.items()]
        if self.method.dynamic_sampling:
            costs.append(f"fresh prompts, up to {self.method.dynamic_sampling} rounds of them")
        if any(hasattr(self.built(group), "state_dict") for group in self.parts):
            costs.append("a part that learns")
        return "; ".join(costs) or ("nothing beyond current log-probs" if self.method.is_live else "nothing")

    @property
    def scope(self) -> str:
        scopes = {getattr(self.built(group), "scope", "group") for group in self.parts}
        wider = [SCOPES["batch"]] * ("batch" in scopes) + [SCOPES["live"]] * self.method.is_live
        return ", ".join(wider) or "group"


def page(folder: Path = FOLDER) -> str:
    """The whole page. Raises ConfigError naming file and line for what does not say where it comes from."""
    defaults = yaml.safe_load((folder.parent / "config.yaml").read_text())["defaults"]
    default = next(entry["method"] for entry in defaults if "method" in entry)
    usual = read_preset(folder, default).parts
    files: dict[str, dict[str, Part]] = {group: {} for group in ALL}
    for path in sorted(folder.glob("*/*.yaml")):  # also those that no preset chooses
        files[path.parent.name][path.stem] = read_part(folder, path.parent.name, path.stem)
    entries = []
    for preset in [read_preset(folder, path.stem) for path in folder.glob("*.yaml")]:
        method = load_method(preset.name)
        parts = {group: files[group][preset.parts[group]] for group in ALL if group in preset.parts}
        entries.append(Entry(preset, parts, method, usual))
    entries.sort(key=lambda entry: (entry.preset.name != default, entry.preset.name))
    rows, details = [], []
    for section, title in SECTIONS.items():
        if members := [entry for entry in entries if entry.section == section]:
            rows.append((f"**{title.partition(':')[0]}**", *[""] * (len(COLUMNS) - 1)))
            rows += map(_overview, members)
            details += [f"## {title}", *(block for entry in members for block in _details(entry, default))]
    controls = _controls(list(files["control"].values()))
    blocks = [INTRO.format(default=default), table(COLUMNS, rows), *details, *controls]
    return "\n\n".join(blocks) + "\n"


def _overview(entry: Entry) -> tuple[str, ...]:
    preset, own = entry.preset, entry.own.values()
    counts = Counter(option.status for _, option in entry.options)
    values = [
        f"{counts[status]} {status}" for status in ("as published", "deviates", "open") if counts[status]
    ]
    files = (preset, *entry.differing.values())
    left_out, deviations = (
        sum(len(getattr(file, lines)) for file in files) for lines in ("left_out", "deviations")
    )
    beside = [f"{left_out} left out"] * bool(left_out)
    beside += [f"{deviations} deviation{'s' * (deviations > 1)}"] * bool(deviations)
    return (
        f"[{preset.name}](#{preset.name})",
        " ".join((text(preset.title), *map(paper, preset.papers))),
        "; ".join(dict.fromkeys(_equation(part)[0] for part in own)),
        ", ".join(entry.grades),
        ", ".join(values) or "no options",
        ", ".join(beside) or "nothing",
        ", ".join(part.name for part in entry.differing.values()),
        text(entry.cost),
        entry.scope,
    )


def _details(entry: Entry, default: str) -> list[str]:
    """Blocks of Markdown: what the preset is, its parts and what is missing, its options."""
    preset = entry.preset
    lines = []
    for group, part in entry.differing.items():
        equation, where = _equation(part)
        said = [f"[{group}/{part.name}](../conf/method/{group}/{part.name}.yaml): {sentence(part.what)}"]
        said.append(f"{equation}, {sentence(where)}" if where else f"{equation}.")
        said.append(sentence(f"Source: {part.grade}, {part.read}"))
        said += [sentence(f"Left out: {line}") for line in part.left_out]
        said += [sentence(f"Deviation: {line}") for line in part.deviations]
        for name, meaning in (("degenerate", "Equal rewards"), ("absolute", "Level of rewards")):
            if declared := getattr(entry.built(group), name, None):
                said.append(sentence(f"{meaning}: {declared}"))
        lines.append("- " + "\n  ".join(said))
    if same := [
        f"{group} {part.name}" for group, part in entry.parts.items() if group not in entry.differing
    ]:
        lines.append(f"- As in [{default}](#{default}): {', '.join(same)}.")
    lines += [f"- **Left out**: {sentence(line)}" for line in preset.left_out]
    lines += [f"- **Deviation**: {sentence(line)}" for line in preset.deviations]
    what = f"[{text(preset.title)}](../conf/method/{preset.name}.yaml): {sentence(preset.what)}"
    what += "".join(f" {sentence(note)}" for note in preset.notes)
    blocks = [f"### {preset.name}", what, "\n".join(lines)]
    if entry.options:
        rows = [_option(name, option) for name, option in entry.options]
        blocks.append(table(("option", "ours", "paper's", "status", "reason for ours"), rows))
    return blocks


def _option(name: str, option: Option) -> tuple[str, ...]:
    published = "open" if option.paper == "open" else code(option.paper)
    published += f" ({text(option.where)})" if option.where else ""
    status = {"deviates": "**deviates**", "open": "*open*"}.get(option.status, option.status)
    return code(name), code(option.ours), published, status, text(option.reason)


def _controls(controls: Sequence[Part]) -> list[str]:
    rows = [
        (code(part.name), text(part.what), ", ".join(filter(None, map(text, _equation(part)))))
        for part in controls
    ]
    intro = "Laid on top of any preset's token weights with `method/control=<name>`."
    return ["## Controls of token weights", intro, table(("control", "what it is", "equation"), rows)]


def _equation(part: Part) -> tuple[str, str]:
    """The formula as code, and where it stands: what follows the last semicolon, unless that is formula too."""
    formula, _, where = part.equation.rpartition("; ")
    if not formula or "=" in where:
        formula, where = part.equation, ""
    return code(formula), where


def main(arguments: Sequence[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    given = dict(argument.partition("=")[::2] for argument in arguments)
    try:
        if unknown := set(given) - {"out", "check"}:
            raise ConfigError(f"There is no option {min(unknown)}. {nearest(min(unknown), ('out', 'check'))}")
        if given.get("check", "false") not in ("true", "false"):
            raise ConfigError(f"check={given['check']} must be true or false.")
        out, fresh = Path(given.get("out") or PAGE), page()
    except ConfigError as error:
        print(f"harness.fidelity: {error}", file=sys.stderr)
        return 2
    if given.get("check") == "true":
        same = out.exists() and out.read_text() == fresh
        print(f"{out} is {'up to date' if same else 'stale: run python -m harness.fidelity'}")
        return 0 if same else 1
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(fresh)
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
