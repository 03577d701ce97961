"""docs/performance.md and its plots show the figures of docs/performance.json."""

import json

import performance


def figures() -> dict:
    return json.loads(performance.FIGURES.read_text())


def test_the_page_and_its_plots_are_made_from_the_committed_figures():
    page = performance.PAGE.read_text()
    assert performance.filled(page, figures()) == page, "run `python local/performance.py`"
    for path, image in performance.images(figures()).items():
        assert path.read_text() == image, "run `python local/performance.py`"
        assert f"images/{path.name}" in page


def test_the_page_shows_every_table():
    shown = {name for _, name, _ in performance.MARKED.findall(performance.PAGE.read_text())}
    assert shown == {"about", *performance.tables(figures())}


def test_a_figure_that_was_not_measured_is_no_number_and_no_bar():
    rows = [{"name": "a <b>", "figures": [2.0]}, {"name": "c", "figures": [None]}]
    table = {"id": "t", "title": "T", "columns": ["ms"], "rows": rows}
    assert performance.markdown(table).splitlines()[-2:] == ["| a <b> | 2 |", "| c | not measured |"]
    image = performance.drawn(performance.Plot("t", "ms", "T", goal=1.5), table)
    assert "a &lt;b&gt;" in image and image.count("<rect x=") == 1 and "goal: 3" in image
