"""Fills docs/performance.md with the tables, and draws its plots, from the figures of `make bench`.

`make bench OPTIONS="--json docs/performance.json"` measures; `python local/performance.py` writes the page's tables
between their marks and docs/images/performance-*.svg. Needs only Python's standard library."""

import dataclasses
import html
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
# A table of the page, by the id of its figures.
MARKED = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Plot:
    """Bars of one column; the column at which a goal is drawn, as a multiple of the first row, if there is one."""

    table: str
    column: str
    title: str
    goal: float | None = None


PLOTS = [
    Plot("ingest", "MB/cpu-s", "MB of raw logs per CPU second"),
    Plot("kinds", "MB/cpu-s", "MB of raw logs per CPU second, by content"),
    Plot("node", "CPU beside Logferry", "CPU for the same file, as multiples of Logferry's"),
    Plot("bodies", "MB/cpu-s", "MB of messages per CPU second"),
    Plot("queries", "of zstd", "Speed of a query, as a share of decompression alone"),
    Plot("cold-start", "ms", "Milliseconds from exec to the first request", goal=1.5),
]


def tables(figures: dict) -> dict[str, dict]:
    return {table["id"]: table for table in figures["tables"]}


def number(figure: float | None) -> str:
    """Three significant digits, with thousands separated."""
    if figure is None:
        return "not measured"
    if float(figure).is_integer() or abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}" if abs(figure) >= 0.1 else f"{figure:.3g}"


def markdown(table: dict) -> str:
    lines = [
        f"*{table['title']}*",
        "",
        f"| | {' | '.join(table['columns'])} |",
        "|---" * (len(table["columns"]) + 1) + "|",
    ]
    for row in table["rows"]:
        lines.append(f"| {row['name']} | {' | '.join(number(figure) for figure in row['figures'])} |")
    return "\n".join(lines) + "\n"


def about(figures: dict) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in figures["about"].items())


def filled(page: str, figures: dict) -> str:
    """The page with the figures between its marks."""
    known = tables(figures)

    def fill(match: re.Match) -> str:
        begin, name, end = match.groups()
        return begin + (about(figures) if name == "about" else markdown(known[name])) + end

    return MARKED.sub(fill, page)


def drawn(plot: Plot, table: dict) -> str:
    """Horizontal bars as an SVG that is readable on light and on dark pages."""
    column = table["columns"].index(plot.column)
    bars = [(row["name"], row["figures"][column]) for row in table["rows"] if row["figures"][column] is not None]
    left, width, line, top = 290, 360, 26, 40
    goal = plot.goal * bars[0][1] if plot.goal else None
    most = max([figure for _, figure in bars] + ([goal] if goal else [])) or 1.0
    height = top + line * len(bars) + (24 if goal else 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" role="img">',
        f"<title>{html.escape(plot.title)}</title>",
        "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600}rect{fill:#2f6f9f}"
        "line{stroke:#b35900;stroke-dasharray:4 3}"
        "@media(prefers-color-scheme:dark){text{fill:#d0d7de}rect{fill:#6cb0e0}line{stroke:#e8a05c}}</style>",
        f'<text class="t" x="0" y="18">{html.escape(plot.title)}</text>',
    ]
    for index, (name, figure) in enumerate(bars):
        y = top + line * index
        long = max(1.0, figure / most * width)
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{long:.1f}" height="18"/>')
        parts.append(f'<text x="{left + long + 6:.1f}" y="{y + 14}">{number(figure)}</text>')
    if goal:
        x, bottom = left + goal / most * width, top + line * len(bars)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">goal: {number(goal)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def images(figures: dict) -> dict[pathlib.Path, str]:
    known = tables(figures)
    return {IMAGES / f"performance-{plot.table}.svg": drawn(plot, known[plot.table]) for plot in PLOTS}


def main() -> int:
    figures = json.loads(FIGURES.read_text())
    PAGE.write_text(filled(PAGE.read_text(), figures))
    for path, image in images(figures).items():
        path.write_text(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
