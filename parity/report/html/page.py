"""The report as one HTML file that needs nothing beside it: no network, no script, images and sound inside."""

from collections.abc import Sequence
from importlib.resources import files

from parity.ladder.ladder import QUESTIONS, WHOLE_STAGE, LadderResult, Row, StageResult, Status, passed
from parity.ladder.stage_tables import gate_lines, noted_rows, side_lines, tables_of_stage
from parity.ladder.tables import TitledTable
from parity.report.html.figures import figure_of
from parity.report.html.markup import Markup, element
from parity.report.html.tables import html_of_table, status_html

# Whatever text stands in the file, a browser fetches nothing and runs nothing.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def html_from_results(results: Sequence[LadderResult]) -> str:
    """The whole document, for a file in UTF-8."""
    title = f"Parity report: {_word(passed(results))}"
    sections = [_model(result, place) for place, result in enumerate(results)]
    body = element("body", _summary(results), element("main", *sections))
    return "<!doctype html>\n" + element("html", _head(title), body, lang="en") + "\n"


def html_from_tables(title: str, tables: Sequence[TitledTable]) -> str:
    """A page of tables alone, in the look of the report, for a file in UTF-8."""
    body = element("body", element("header", element("h1", title)), element("main", *map(html_of_table, tables)))
    return "<!doctype html>\n" + element("html", _head(title), body, lang="en") + "\n"


def _head(title: str) -> Markup:
    style = files("parity.report.html").joinpath("report.css").read_text(encoding="utf-8")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )


def _summary(results: Sequence[LadderResult]) -> Markup:
    """The verdict, the blame, and every stage of every model at one glance."""
    word = _word(passed(results))
    return element(
        "header",
        element("h1", "Parity report ", status_html(word)),
        *_blame(results),
        _overview(results),
    )


def _blame(results: Sequence[LadderResult]) -> list[Markup]:
    """What failed, a model each, so that it is read first; else what passed."""
    failed = [
        element("p", result.verdict, ".", class_="blame failed") for result in results if result.status is Status.FAILED
    ]
    said = ". ".join(result.verdict for result in results) or "Nothing was compared"
    return failed or [element("p", said, ".", class_="blame")]


def _overview(results: Sequence[LadderResult]) -> Markup:
    heads = [element("th", name, scope="col") for name in ("model", *QUESTIONS, "verdict")]
    rows = [_overview_row(result, place) for place, result in enumerate(results)]
    caption = element("caption", "Models and stages; the first failed stage is the one to blame")
    table = element("table", caption, element("thead", element("tr", *heads)), element("tbody", *rows))
    return element("div", table, class_="scrolled", role="region", tabindex=0, aria_label="overview")


def _overview_row(result: LadderResult, place: int) -> Markup:
    stages = {stage.name: stage for stage in result.stages}
    cells = [
        element("td", element("a", status_html(stages[name].status), href=f"#{_stage_id(place, name)}"))
        if name in stages
        else element("td")
        for name in QUESTIONS
    ]
    model = element("th", element("a", result.model, href=f"#{_model_id(place)}"), scope="row")
    return element("tr", model, *cells, element("td", status_html(result.status)))


def _model(result: LadderResult, place: int) -> Markup:
    names = {stage.name for stage in result.stages}
    general = [html_of_table(table) for table in result.tables if table.stage not in names]
    return element(
        "section",
        element("h2", result.model, " ", status_html(result.status)),
        element("p", result.verdict, ".", class_="verdict"),
        _list(result.headlines, "headlines"),
        _about(result),
        *general,
        *(_stage(result, stage, place) for stage in result.stages),
        id=_model_id(place),
        class_="model",
    )


def _about(result: LadderResult) -> Markup:
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in result.about.items()]
    facts = [html_of_table(table) for table in result.facts]
    more = element("details", element("summary", "Bundle and versions"), *facts) if facts else ""
    return element("div", element("dl", *pairs) if pairs else "", more, class_="about")


def _stage(result: LadderResult, stage: StageResult, place: int) -> Markup:
    figures = [figure_of(shown) for shown in result.exhibits if shown.stage == stage.name]
    return element(
        "section",
        element("h3", stage.name, " ", status_html(stage.status)),
        element("p", QUESTIONS[stage.name].capitalize(), class_="question"),
        *map(html_of_table, tables_of_stage(stage)),
        _list([*(f"gate {line}" for line in gate_lines(stage)), *side_lines(stage)], "gates"),
        element("ul", *map(_note, rows), class_="notes") if (rows := noted_rows(stage)) else "",
        *(html_of_table(table) for table in result.tables if table.stage == stage.name),
        element("div", *figures, class_="exhibits") if figures else "",
        id=_stage_id(place, stage.name),
        class_=f"stage {stage.status.lower()}",
    )


def _note(row: Row) -> Markup:
    if row.output == WHOLE_STAGE:
        return element("li", status_html(row.status), f" {row.note}")
    return element("li", status_html(row.status), " ", element("strong", row.output), f": {row.note}")


def _list(lines: Sequence[str], kind: str) -> Markup:
    return element("ul", *(element("li", line) for line in lines), class_=kind) if lines else Markup("")


def _word(good: bool) -> Status:
    return Status.PASSED if good else Status.FAILED


def _model_id(place: int) -> str:
    return f"model-{place}"


def _stage_id(place: int, stage: str) -> str:
    return f"model-{place}-{stage}"
