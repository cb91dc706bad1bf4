import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parity.ladder.exhibits import Audio, Curves, KeptExhibit, Spectrograms, Timeline
from parity.report.html.figures import figure_of
from parity.report.html.markup import Markup, element, escaped
from parity.report.html.media import SHADES, palette, png_of_spectrogram, shades
from parity.report.html.page import POLICY, html_from_results
from parity.report.html.plots import round_ticks
from tests.browser import Browser
from tests.parity.report import sample_report
from tests.parity.report.sample_report import HOSTILE, RATE, mel, sample_result, sound

LOOK = Path(__file__).with_name("look.js")
VOID = {"br", "hr", "img", "link", "meta"}


class Page(HTMLParser):
    """Reads a document and refuses one whose elements are not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.declarations = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_decl(self, decl):
        self.declarations.append(decl)

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in ("style", "title"))


def content(uri, kind):
    head, data = uri.split(",", 1)
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)


def report():
    return html_from_results([sample_result(), replace(sample_result(fail=False), model="second")])


@pytest.fixture(scope="module")
def page():
    return Page(report())


def test_document_is_whole_and_needs_nothing_beside_it(page):
    assert page.declarations == ["doctype html"]
    assert page.elements[0] == ("html", {"lang": "en"})
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    links = [value for _, a in page.elements for name, value in a.items() if name in ("src", "href")]
    assert all(link.startswith(("data:image/png;", "data:audio/wav;", "#")) for link in links)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    (style,) = (text for tag, text in page.texts if tag == "style")
    assert not re.search(r"url\(|@import|@font-face", style)


def test_anchors_lead_somewhere_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    targets = {a["href"][1:] for a in page.all("a")}
    assert targets
    assert targets <= set(ids)


def test_summary_and_blame_stand_first():
    text = Page(report()).text
    assert text.index("the first stage to blame is 'wrappers'") < text.index("Is the host's front end right?")
    assert "Parity report" in text[:20]
    assert "<title>Parity report: FAILED</title>" in report()
    assert "<title>Parity report: passed</title>" in html_from_results([sample_result(fail=False)])


def test_each_failed_model_has_its_line_of_blame_and_no_other_has():
    failing = replace(sample_result(), model="third")
    text = html_from_results([sample_result(), replace(sample_result(fail=False), model="second"), failing])
    page = Page(text)
    assert [a["class"] for a in page.all("p") if "blame" in a.get("class", "")] == ["blame failed"] * 2
    head = page.text[: page.text.index("Models and stages")]
    assert "toy: FAILED, the first" in head
    assert "third: FAILED, the first" in head
    assert "second" not in head


def test_nothing_compared_is_no_pass():
    text = Page(html_from_results([])).text
    assert "Nothing was compared" in text
    assert "FAILED" in text


def test_text_of_others_stays_text(page):
    assert "<script" not in report()
    assert "onerror=alert(1)>" not in report()
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert page.text.count(shown) > 8
    assert report().encode("utf-8")  # no lone surrogate


def test_every_stage_has_its_table_gates_notes_and_headlines(page):
    for part in (
        "features, output by output",
        "gate A: max_abs <= 0.5. Reason: the reason of the gate. Measured when it was set: 0.1.",
        "not here",
        "WER ",
        "errors by layer",
        "torch",
    ):
        assert part in page.text


def test_tables_have_captions_scopes_and_can_be_scrolled_by_keyboard(page):
    tables = len(page.all("table"))
    assert tables == len(page.all("caption")) > 4
    assert all(a["scope"] in ("row", "col") for a in page.all("th"))
    scrolled = [a for a in page.all("div") if "scrolled" in a.get("class", "")]
    assert len(scrolled) >= tables
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in scrolled)


def test_pictures_players_and_drawings_are_named(page):
    assert all(a["alt"] for a in page.all("img"))
    assert all(a["aria-label"] and "controls" in a for a in page.all("audio"))
    assert len(page.all("title")) > len(page.all("svg")) > 0
    assert all(a["role"] == "img" for a in page.all("svg"))


def decoded_image(uri):
    image = Image.open(io.BytesIO(content(uri, "image/png")))
    image.load()
    assert image.mode == "P"
    np.testing.assert_array_equal(np.array(image.getpalette()).reshape(-1, 3), palette())
    return np.array(image)


def test_images_decode_back_to_the_arrays():
    ours = mel() + 0.5
    ours[10, 20] = np.nan
    shown = Spectrograms.of(mel(), ours).reduced()
    page = Page(figure_of(KeptExhibit("features", "mel", shown, "clip")))
    images = [decoded_image(a["src"])[::-1] for a in page.all("img")]  # the lowest bin is the last line
    low, high = (float(f(np.concatenate([shown.reference, shown.ours], 1))) for f in (np.nanmin, np.nanmax))
    for places, values in zip(images[:2], (shown.reference, shown.ours), strict=True):
        finite = np.isfinite(values)
        np.testing.assert_array_equal(places == SHADES, ~finite)
        back = low + places[finite] / (SHADES - 1) * (high - low)
        np.testing.assert_allclose(back, values[finite], atol=0.51 * (high - low) / (SHADES - 1))
    assert (images[2] == SHADES).sum() == 1
    assert [(a["width"], a["height"]) for a in page.all("img")] == [("300", "80")] * 3


def test_shades_of_a_constant_and_of_nothing_finite():
    np.testing.assert_array_equal(shades(np.full((2, 2), 3.0), 3.0, 3.0), 0)
    np.testing.assert_array_equal(shades(np.array([np.nan, np.inf, -np.inf]), 0.0, 0.0), SHADES)
    assert np.array(Image.open(io.BytesIO(png_of_spectrogram(np.zeros((3, 5)), 0, 1)))).shape == (3, 5)


def test_sound_decodes_back_to_the_samples():
    ours = sound() * 0.5
    ours[5], ours[6] = np.nan, 2.0
    page = Page(figure_of(KeptExhibit("task", "speech", Audio.of(sound(), ours, RATE))))
    decoded = [soundfile.read(io.BytesIO(content(a["src"], "audio/wav")), dtype="float32") for a in page.all("audio")]
    assert [rate for _, rate in decoded] == [RATE, RATE]
    np.testing.assert_allclose(decoded[0][0], sound(), atol=1 / 32768)
    assert decoded[1][0][5] == 0
    assert decoded[1][0][6] == pytest.approx(1, abs=1e-4)
    assert "1 samples not finite, silent here; 1 samples beyond full scale" in page.text


def test_curves_break_where_a_value_is_not_finite():
    (curves,) = (s.exhibit for s in sample_result().exhibits if s.title == "encoder error")
    page = Page(figure_of(KeptExhibit("wrappers", "error", curves)))
    paths = {a["class"]: a["d"] for a in page.all("path") if "series" in a["class"]}
    assert paths["series series-0"].count("M") == 2
    assert paths["series series-2"].count("M") == 1
    assert "not finite at 1 of 60 places" in page.text


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan, np.nan], [5.0], [1e-300, 1e300], [-1.0, -2.0], [np.inf, 1.0]])
@pytest.mark.parametrize("log", [False, True])
def test_curves_of_odd_values_are_drawn(values, log):
    series = (sample_report.Series("s", np.array(values)),)
    curves = Curves(sample_report.Axis("x"), sample_report.Axis("y"), series, log=log)
    page = Page(figure_of(KeptExhibit("wrappers", "odd", curves)))
    places = [float(n) for a in page.all("path") for n in re.findall(r"-?[\d.]+", a["d"])]
    assert all(0 <= place <= 640 for place in places)


def test_timeline_marks_what_moved_and_what_one_side_alone_has():
    timeline = Timeline.of(sample_report.REFERENCE_WORDS, sample_report.OUR_WORDS)
    page = Page(figure_of(KeptExhibit("task", "words", timeline)))
    classes = [a["class"].split()[1] for a in page.all("rect")]
    # A lane after the other; meters and metres go on in the second line.
    assert classes == [*["same", "moved", "same", "alone"] * 2, "alone", "alone"]
    assert "<b>ten</b>" in page.text
    cells = [text for tag, text in page.texts if tag == "td"]
    assert cells[4:8] == ["0.600 to 1.100", "0.680 to 1.100", "80", "0"]


def test_empty_exhibits_say_so():
    for exhibit in (Timeline.of([], []), Spectrograms.of(np.zeros((0, 3)), np.zeros((0, 3)))):
        assert re.search("no words|empty", Page(figure_of(KeptExhibit("task", "none", exhibit))).text)


def test_markup_escapes_by_itself():
    assert element("p", "<&>", Markup("<br>"), title='"', hidden=True, lang=None) == (
        '<p title="&quot;" hidden>&lt;&amp;&gt;<br></p>'
    )
    assert element("img", alt="a", http_equiv="x", class_="y", width=2.50) == (
        '<img alt="a" http-equiv="x" class="y" width="2.5">'
    )
    assert escaped("a\x00\x1b\x85\ud800\ufffe\U0001f600\u00e9\n") == "a" + "\ufffd" * 5 + "\U0001f600\u00e9\n"


def test_ticks_are_round():
    assert round_ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    np.testing.assert_allclose(round_ticks(0.13, 0.87, 5), [0.2, 0.4, 0.6, 0.8])
    assert all(-3 <= tick <= 5e-3 for tick in round_ticks(-3, 5e-3, 5))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    return Browser(tmp_path_factory.mktemp("chromium"))


def framed(page, width, height):
    """A page that holds the report in a frame of this width, for Chromium's windows are 500 wide at least."""
    look = LOOK.read_text(encoding="utf-8")
    text = json.dumps(page).replace("<", "\\u003c")
    frame = element("iframe", width=width, height=height, style="border: 0")
    return f"<!doctype html><meta charset='utf-8'>{frame}<script>{look}\nframe.srcdoc = {text};</script>"


def looked_at(browser, folder, width):
    """What a browser finds in the report at this width."""
    page = folder / f"framed-{width}.html"
    page.write_text(framed(report(), width, 900), encoding="utf-8")
    dom, console = browser.dom(page, max(width, 500))
    (found,) = (
        a["data-found"] for tag, a in Page(re.sub("(?s)<script>.*</script>", "", dom)).elements if tag == "html"
    )
    return json.loads(found), console


@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_shows_all_of_it(browser, tmp_path, width):
    found, console = looked_at(browser, tmp_path, width)
    assert found["problems"] == []
    assert found["width"] == width
    assert (found["overflow"], found["wide"]) == (0, [])
    assert found["title"] == "Parity report: FAILED"  # no script of a clip's name ran
    assert len(found["images"]) == 12
    assert all(min(size) > 0 for size in found["images"])
    assert len(found["sounds"]) == 4
    assert all(duration == pytest.approx(1, abs=0.01) for duration in found["sounds"])
    assert found["drawings"] == 8
    assert (found["unreachable"], found["clipped"], found["captions"]) == (0, 0, 0)
    assert (found["sticky"] > 0) is (width > 700)  # else the result would hide the columns beside it
    assert console == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_file_itself_has_its_colours_and_no_errors(browser, tmp_path, scheme):
    page, picture = tmp_path / "report.html", tmp_path / f"{scheme}.png"
    page.write_text(report(), encoding="utf-8")
    console = browser.screenshot(page, picture, 1400, 1600, *(["--force-dark-mode"] if scheme == "dark" else []))
    assert console == []
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (1600, 1400, 3)
    paper = pixels[5, 5].mean()
    assert paper > 240 if scheme == "light" else paper < 40
    shown = {tuple(colour) for colour in pixels[::3, ::3].reshape(-1, 3)}
    assert len(shown & {tuple(colour) for colour in palette().tolist()}) > 100  # the spectrograms are painted
