"""The drawn page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from partita.graph import Link
from partita.plan import Question, draw, search


def page(line, profiled, sizes, **keywords):
    chain = replace(line(sizes, **keywords), name="<script>alert(1)</script>")
    profiles = {
        "edge & co": profiled(chain, [0.02] * (len(sizes) - 1)),
        "cloud": profiled(chain, [0.002] * (len(sizes) - 1)),
    }
    return draw(search(chain, profiles, Link(1e5, 1e5), Question(codecs=("raw",))), what_if=False)


def test_the_page_is_whole_and_fetches_nothing(line, profiled):
    """One picture that parses as XML, no script, no address outside."""
    text = page(line, profiled, [500, 400, 40, 60, 5], blocked={3: "a <b> is open"})
    picture = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert len(picture.findall("circle[@class='blocked']")) == 2
    assert "<script" not in text
    assert "http" not in text
    assert "&lt;script&gt;" in text


def test_every_cut_and_stage_is_in_the_picture(line, profiled):
    """A dot for each position, a bar for each stage at each place, the reason of a blocked cut."""
    text = page(line, profiled, [500, 400, 40, 60, 5], blocked={3: "a <b> is open"})
    assert text.count('<rect class="bar') == 2 * 4 + 2
    assert text.count('<circle class="dot"') == 4 + 1
    assert "a &lt;b&gt; is open" in text


def test_hundreds_of_stages_thin_their_labels(line, profiled):
    """Positions at round numbers take the place of names."""
    text = page(line, profiled, [50 + i % 7 for i in range(121)])
    assert 'class="stage"' not in text
    assert ">120</text>" in text


def test_nothing_to_measure_still_draws(line, profiled):
    """Zero seconds and one size everywhere have a scale too."""
    chain = line([3, 3])
    free = profiled(chain, [0.0])
    ranking = search(
        chain, {"edge": free, "cloud": free}, Link(1e6, 1e6), Question(codecs=("raw",), mode="train")
    )
    assert "<svg" in draw(ranking)
