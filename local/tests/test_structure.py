"""Crates and modules point one way, and ARCHITECTURE.md shows them as they are."""

import structure


def test_nothing_uses_each_other_in_a_circle():
    assert structure.all_circles() == []


def test_a_circle_is_found_where_there_is_one():
    modules = {
        (): "pub mod a; pub mod b;",
        ("a",): "use crate::b::{self, Thing};",
        ("b", "inner"): "use super::super::a::f;",
        ("b",): "mod inner; use inner::x;",
    }
    graphs = structure.sibling_graphs(modules)
    assert structure.circles(graphs[()]) == [["a", "b"]]
    assert structure.circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_crates_are_at_most_five_levels_deep():
    assert len(structure.levels(structure.crate_graph())) <= 5


def test_the_modules_of_core_point_one_way():
    """Each may use those before it."""
    order = ["model", "logfile", "uploads", "ledger", "ports", "logbook"]
    core = structure.sibling_graphs(structure.rust_modules(structure.ROOT / "shared" / "core" / "src"))[()]
    wrong = [(name, other) for name in core for other in core[name] if order.index(other) >= order.index(name)]
    assert wrong == []


def test_the_drawing_in_the_architecture_page_is_of_today():
    page = (structure.ROOT / "ARCHITECTURE.md").read_text()
    assert structure.drawn_in(page) == page, "run `python local/structure.py --write`"
