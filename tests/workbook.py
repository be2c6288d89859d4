"""Reads the notebooks as the tests need them: their cells, and the syntax tree of what they export."""
import ast, json, re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTIVE = re.compile(r"\s*#\s*\|\s*(\w+)\s*(.*)")


@dataclass(frozen=True)
class Cell:
    "One cell and where it stands."
    notebook: str
    position: int
    kind: str
    source: str
    outputs: tuple
    tags: tuple

    @cached_property
    def directives(self):
        "`#| name value` lines at the top of a code cell, as a dict: nbdev stops reading them at the first other line."
        found = {}
        for line in self.source.splitlines():
            match = DIRECTIVE.match(line)
            if match: found[match[1]] = match[2].strip()
            elif line.strip(): break
        return found

    @property
    def exported(self): return self.kind == "code" and bool({"export", "exports", "exporti"} & set(self.directives))

    @cached_property
    def tree(self): return ast.parse("\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in self.source.splitlines()))

    def __str__(self): return f"{self.notebook} cell {self.position}"


@dataclass(frozen=True)
class Notebook:
    "One file of nbs/ (or, for app.py, one Python file seen as a notebook with one exported cell)."
    path: Path
    cells: tuple

    @property
    def name(self): return self.path.stem

    @property
    def number(self): return int(self.name[:2])

    @property
    def module(self): return f"lmnb.{self.name[3:]}"

    @property
    def exported(self): return [cell for cell in self.cells if cell.exported]

    @property
    def shown(self): return [cell for cell in self.cells if cell.kind == "code" and not cell.exported]


def read_notebook(path):
    "A notebook file, parsed."
    raw = json.loads(path.read_text(encoding="utf-8"))
    cells = [Cell(path.stem, i, c["cell_type"], "".join(c["source"]), tuple(c.get("outputs", ())), tuple(c["metadata"].get("tags", ())))
             for i, c in enumerate(raw["cells"])]
    return Notebook(path, tuple(cells))


def read_script(path):
    "A Python file as a notebook of one exported cell."
    return Notebook(path, (Cell(path.name, 0, "code", "#| export\n" + path.read_text(encoding="utf-8"), (), ()),))


NOTEBOOKS = [read_notebook(path) for path in sorted((ROOT / "nbs").glob("*.ipynb"))]
APP = ROOT / "app.py"


def imports(tree):
    "(module, name or None, level) for each import in a syntax tree, wherever it stands."
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): yield from ((alias.name, None, 0) for alias in node.names)
        if isinstance(node, ast.ImportFrom): yield from ((node.module or "", alias.name, node.level) for alias in node.names)
        if isinstance(node, ast.Call) and dotted(node.func) in ("importlib.import_module", "import_module", "__import__"):
            if node.args and isinstance(node.args[0], ast.Constant): yield str(node.args[0].value), None, 0


def dotted(node):
    "`a.b.c` of a Name or Attribute chain, else an empty string."
    if isinstance(node, ast.Name): return node.id
    if isinstance(node, ast.Attribute): return f"{dotted(node.value)}.{node.attr}" if dotted(node.value) else ""
    return ""


def aliases(tree):
    "Local name -> what it stands for, from the imports: {'np': 'numpy', 'load': 'torch.load'}."
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        if isinstance(node, ast.ImportFrom): found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def full_name(node, known):
    "The dotted name of a node with the first part replaced by what it was imported as."
    first, _, rest = dotted(node).partition(".")
    return ".".join(filter(None, (known.get(first, first), rest)))


def commands(path):
    "The lines of a README's shell blocks, without their comments."
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]
