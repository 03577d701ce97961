"""Reads how crates and modules use each other: circles, levels, and the drawing in ARCHITECTURE.md.

`python local/structure.py` prints the drawing; `--write` puts it into ARCHITECTURE.md."""

import ast
import pathlib
import re
import sys
import tomllib
from collections import defaultdict

ROOT = pathlib.Path(__file__).resolve().parents[1]
Graph = dict[str, set[str]]
# Of the packages.
FOLDERS = ("functions/*", "shared/*", "cli", "bench", "bench/corpus", "bench/counts", "tests")
# Parts of a `use` tree.
TOKENS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|::|[{},*]")


def crates() -> dict[str, pathlib.Path]:
    """All packages of the workspace by name, with their folders."""
    manifests = [path for pattern in FOLDERS for path in ROOT.glob(pattern)]
    named = ((tomllib.loads((path / "Cargo.toml").read_text()), path) for path in manifests if path.is_dir())
    return {manifest["package"]["name"]: path for manifest, path in named}


def crate_graph() -> Graph:
    """Which package depends on which other package of the workspace; development dependencies are left out."""
    folders = crates()
    graph = {}
    for name, folder in folders.items():
        manifest = tomllib.loads((folder / "Cargo.toml").read_text())
        graph[name] = set(manifest.get("dependencies", {})) & set(folders)
    return graph


def rust_modules(source: pathlib.Path) -> dict[tuple[str, ...], str]:
    """The modules below a crate's `src`, by path, with their code; tests and comments are left out."""
    modules = {}
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] in ("main", "tests"):
            continue
        parts = parts[:-1] if parts[-1] in ("mod", "lib") else parts
        code = re.split(r"#\[cfg\(test\)\]\n(?:pub(?:\([a-z]+\))? )?mod [a-z_]+ \{", path.read_text())[0]
        modules[parts] = re.sub(r"(?m)//.*$", "", code)
    return modules


def use_leaves(tree: str) -> list[list[str]]:
    """The paths that a `use` tree names."""
    tokens, position = TOKENS.findall(tree), 0

    def read(prefix: list[str]) -> list[list[str]]:
        nonlocal position
        path = list(prefix)
        while True:
            if tokens[position] == "{":
                position += 1
                leaves = []
                while tokens[position] != "}":
                    leaves += read(path)
                    position += tokens[position] == ","
                position += 1
                return leaves
            path.append(tokens[position])
            position += 1
            if position < len(tokens) and tokens[position] == "::":
                position += 1
                continue
            if position < len(tokens) and tokens[position] == "as":
                position += 2
            return [path]

    return read([])


def used_modules(module: tuple[str, ...], code: str, modules) -> set[tuple[str, ...]]:
    """The modules of the same crate that a module's code names."""
    trees = re.findall(r"\buse ([^;]+);", code)
    paths = [leaf for tree in trees for leaf in use_leaves(tree)]
    paths += [path.split("::") for path in re.findall(r"\b(?:crate|super)(?:::[A-Za-z_][A-Za-z0-9_]*)+", code)]
    found = set()
    for path in paths:
        base = module
        if path[0] == "crate":
            full = tuple(path[1:])
        elif path[0] == "super":
            while path and path[0] == "super":
                base, path = base[:-1], path[1:]
            full = base + tuple(path)
        else:
            full = base + tuple(path[1:] if path[0] == "self" else path)
        while full not in modules and full:
            full = full[:-1]
        if full and full != module:
            found.add(full)
    return found


def sibling_graphs(modules) -> dict[tuple[str, ...], Graph]:
    """For each folder of modules, which of its members uses which. What a module and its own submodules
    have with each other stays within one member."""
    graphs = defaultdict(lambda: defaultdict(set))
    for module, code in modules.items():
        for other in used_modules(module, code, modules):
            shared = 0
            while shared < min(len(module), len(other)) and module[shared] == other[shared]:
                shared += 1
            if shared < len(module) and shared < len(other):
                graphs[module[:shared]][module[shared]].add(other[shared])
    return graphs


def python_graph(package: pathlib.Path) -> Graph:
    """Which module of a Python package imports which other one, at the top of the file."""
    graph = {}
    for path in package.glob("*.py"):
        imported = [
            node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom) and node.level == 1
        ]
        names = {alias.name for node in imported if not node.module for alias in node.names}
        graph[path.stem] = (names | {node.module for node in imported if node.module}) - {path.stem}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """The members of a graph that use each other in a circle, each circle once."""

    def reached(start: str) -> set[str]:
        seen, open_ = set(), [start]
        while open_:
            for other in graph.get(open_.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    open_.append(other)
        return seen

    from_each = {name: reached(name) for name in graph}
    found = {tuple(sorted(x for x in graph if x in from_each[name] and name in from_each[x])) for name in graph}
    return sorted(list(circle) for circle in found if circle)


def all_circles() -> list[str]:
    """Every circle of crates, of Rust modules and of the local tools' modules, as text."""
    found = [f"crates: {' '.join(circle)}" for circle in circles(crate_graph())]
    for name, folder in crates().items():
        for where, graph in sibling_graphs(rust_modules(folder / "src")).items():
            found += [f"{'::'.join((name, *where))}: {' '.join(circle)}" for circle in circles(graph)]
    for package in ("stack", "abuse", "emulator"):
        graph = python_graph(ROOT / "local" / package)
        found += [f"local/{package}: {' '.join(circle)}" for circle in circles(graph)]
    return found


def levels(graph: Graph) -> list[list[str]]:
    """Members by level: those that use nothing first, then each above all that it uses."""

    def level(name: str) -> int:
        return 1 + max((level(other) for other in graph.get(name, ()) if other != name), default=-1)

    members = set(graph) | {other for others in graph.values() for other in others}
    by_level = defaultdict(list)
    for name in sorted(members):
        by_level[level(name)].append(name)
    return [by_level[number] for number in sorted(by_level)]


def drawing() -> str:
    """The levels of crates, and of the modules of `core`; each line may use the lines below it."""
    shown = {name: str(folder.relative_to(ROOT)) for name, folder in crates().items()}
    lines = ["crates, top to bottom:"]
    lines += [f"  {'  '.join(sorted(shown[name] for name in row))}" for row in reversed(levels(crate_graph()))]
    core = sibling_graphs(rust_modules(ROOT / "shared" / "core" / "src"))
    lines += ["", "modules of shared/core, top to bottom:"]
    lines += [f"  {'  '.join(row)}" for row in reversed(levels(core[()]))]
    return "\n".join(lines)


BEGIN, END = "<!-- drawn by local/structure.py -->\n```text\n", "\n```\n<!-- end -->"


def drawn_in(page: str) -> str:
    """The page with today's drawing between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + drawing() + END + rest.split(END)[1]


if __name__ == "__main__":
    if "--write" in sys.argv:
        page = ROOT / "ARCHITECTURE.md"
        page.write_text(drawn_in(page.read_text()))
    else:
        print(drawing())
        print("\n".join(all_circles()))
