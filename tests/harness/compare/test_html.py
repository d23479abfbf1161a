import base64
import hashlib
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from harness.compare.html.drill import Drill, gather
from harness.compare.html.page import (
    Content,
    Section,
    cell_class,
    markdown,
    numeric,
    page,
    pictures,
    versions,
)
from harness.compare.load import load
from harness.compare.plots import CAPTIONS
from tests.harness.compare.test_drill import demo, found

ATTACK = "</script><img src=x onerror=\"document.title='broken'\"><!--"


@dataclass
class Table:
    stem: str
    title: str
    header: list[str]
    rows: list[list[str]]


END = Table(
    "end_point",
    "End point",
    ["method", "end point %", "difference", "tokens", "verdict"],
    [
        ["grpo", "54.0 [51.0, 57.1]", "–", "340.0 k", "baseline"],
        ["delta", "9.5 [8.1, 56.5]", "-1.7 [-4.9, +1.5]", "1.25 M", "not resolved"],
        ["lampo", "56.7 [55.6, 57.8]", "+2.7 [-0.3, +5.6]", "not reached (0 of 5 reached)", "better"],
        ["oracle", "56.7 [54.0, 57.7]", "-10.2 [-12.3, -8.9]", "900", "worse"],
    ],
)


def content(**changes):
    plain = {
        "title": "demo", "question": "Is `it` better?", "lead": "- **lampo vs grpo**: **better**",
        "notes": ["HOLES: 1 run missing.", "All seeds share it."], "holes": None,
        "sections": [Section("End points", "Note.", [END])],
        "drill": Drill(["grpo"], None), "words": "- **n**: seeds", "commands": ["python -m harness"],
    }  # fmt: skip
    return Content(**(plain | changes))


def embedded(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])


def test_runs_without_these_records_give_a_page(tree):
    folder = tree.run()
    for name in ("samples", "problems", "credit"):
        (folder / f"{name}.jsonl").unlink(missing_ok=True)
    page_data = gather(found(tree))
    assert len(page_data.notes) == 3 and not page_data.test
    html = page(content(drill=page_data))
    assert 'id="data"' not in html and "recorded no token credit" in html


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")
        ]


def test_what_a_model_wrote_stays_text(tree):
    html = page(content(drill=gather(demo(tree, text=ATTACK))))
    tags = Tags(html).tags
    assert tags.count("script") == 2 and "img" not in tags
    assert "onerror" in html and ATTACK not in html
    assert embedded(html)["test"][0]["methods"][0]["completions"][0]["text"] == f"{ATTACK} grpo 0 0"


@pytest.mark.parametrize("field", ["title", "question", "lead", "words"])
def test_no_text_becomes_markup(field):
    tags = Tags(page(content(**{field: ATTACK}))).tags
    assert "img" not in tags and tags.count("script") == 1
    table = Table("t", ATTACK, ["a", ATTACK], [[ATTACK, ATTACK]])
    html = page(content(sections=[Section(ATTACK, ATTACK, [table])], notes=[ATTACK], commands=[ATTACK]))
    assert "img" not in Tags(html).tags


def test_nothing_is_asked_for(tmp_path):
    figure = tmp_path / "endpoint.svg"
    figure.write_text("<svg/>")
    html = page(content(sections=[Section("End points", "[a](http://a.b) ![c](http://d.e)", [], [figure])]))
    assert all(address.startswith(("data:", "#")) for address in Tags(html).addresses)
    style, script = (re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL) for tag in ("style", "script"))
    for kind, (text,) in {"style": style, "script": script}.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in html  # only these two may act
    assert "default-src 'none'" in html


def test_order_of_the_page():
    html = page(content(holes=Table("holes", "Holes", ["label"], [["lampo"]])))
    order = [
        "Is <code>it</code> better?", "<strong>lampo vs grpo</strong>", 'class="warning"', "HOLES: 1 run missing.",
        ">lampo</th>", "All seeds share it.", 'id="end-points"', 'id="problem-by-problem"', "<strong>n</strong>: seeds",
        "python -m harness",
    ]  # fmt: skip
    places = [html.index(text) for text in order]
    assert places == sorted(places)
    assert 'class="warning"' not in page(content(notes=["All seeds share it."]))


def test_the_same_content_gives_the_same_bytes(tree):
    first = page(content(drill=gather(demo(tree))))
    assert first == page(content(drill=gather(found(tree))))


def test_figures_that_differ_in_the_axis_stand_together(tmp_path):
    names = ["learning_curves_tokens", "learning_curves_steps", "endpoint", "learning_curves_seconds"]
    for name in names:
        (tmp_path / f"{name}.svg").write_text(f"<svg>{name}</svg>")
    groups = pictures([tmp_path / f"{name}.svg" for name in names])
    assert [[picture.axis for picture in group] for group in groups] == [
        ["steps", "tokens", "seconds"],
        [None],
    ]
    assert groups[0][1].label == "Learning curves, against generated tokens"
    assert base64.b64decode(groups[1][0].source.partition("base64,")[2]) == b"<svg>endpoint</svg>"
    html = page(content(sections=[Section("Figures", "", [], [tmp_path / "endpoint.svg"])]))
    assert 'alt="Endpoint"' in html and CAPTIONS["endpoint"] in html and "figures/endpoint.csv" in html


def test_a_table_without_rows_is_not_shown():
    assert "<table" not in page(content(sections=[Section("Power", "None.", [Table("a", "b", ["c"], [])])]))


def test_a_run_left_out_is_among_the_warnings():
    html = page(
        content(notes=["Said already."], drill=Drill([], None, notes=["LEFT OUT HERE: x.", "Said already."]))
    )
    warned, said = html.index('class="warning"'), html.index("LEFT OUT HERE: x.")
    assert warned < said < html.index("</aside>") and html.count("Said already.") == 1


def test_versions_list_what_differs(tree):
    same = {"versions": {"numpy": "2.4"}, "commit": "c0", "gpus": []}
    tree.run("grpo", 0, env=same | {"code": {"methods.a": "11", "methods.b": "22"}})
    tree.run("grpo", 1, env=same | {"code": {"methods.a": "11", "methods.b": "33"}})
    tree.run("grpo", 2, env=same | {"commit": "c1", "code": {"methods.a": "11", "methods.b": "33"}})
    facts = dict(versions(load(tree.root).runs.values()))
    assert facts["numpy"] == "2.4" and facts["gpus"] == "none" and "cores" not in facts
    assert facts["commit"] == "c0 (2 runs); c1 (1 run)"
    assert facts["source of methods.b"] == "22 (1 run); 33 (2 runs)" and "source of methods.a" not in facts


def test_small_parts():
    assert numeric(END) == [False, True, True, False, False]
    classes = [cell_class(cell) for cell in ("better", "worse", "not resolved (n<5)", "baseline", "x" * 40)]
    assert classes == ["better", "worse", "unresolved", "", "long"]
    assert str(markdown("- **a**: `b`\n  c\n\n<b>")) == (
        "<ul>\n<li><strong>a</strong>: <code>b</code>\nc</li>\n</ul>\n<p>&lt;b&gt;</p>\n"
    )
