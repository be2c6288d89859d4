"""The laws of the project, checked on the notebooks as they stand: what may import what, what is generated, what is never called, and style."""
import ast, filecmp, importlib, importlib.util, io, os, re, shutil, statistics, subprocess, sys, tokenize, tomllib
from configparser import ConfigParser
from importlib.metadata import packages_distributions

import pytest

from workbook import APP, DIRECTIVE, NOTEBOOKS, ROOT, aliases, commands, dotted, full_name, imports, read_script

NUMBERS = {nb.module: nb.number for nb in NOTEBOOKS}
each_notebook = pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda nb: nb.name)
CODE = NOTEBOOKS + ([read_script(APP)] if APP.exists() else [])
each_code = pytest.mark.parametrize("nb", CODE, ids=lambda nb: nb.path.name)


def own_imports(cells):
    "(cell, lmnb module) for each import from lmnb in the cells."
    for cell in cells:
        for module, name, level in imports(cell.tree):
            if f"{module}.{name}" in NUMBERS: module = f"{module}.{name}"
            if module.startswith("lmnb."): yield cell, module        # the bare package holds only the version


# -- law 1 to 3: the order of the chapters ---------------------------------------------------------------------------

@each_notebook
def test_a_module_imports_only_smaller_numbers(nb):
    for cell, module in own_imports(nb.exported):
        assert module in NUMBERS, f"{cell} imports {module}, which no notebook makes"
        assert NUMBERS[module] < nb.number, f"{cell} imports {module} ({NUMBERS[module]}): only smaller numbers than {nb.number}"


@pytest.mark.parametrize("nb", [nb for nb in NOTEBOOKS if nb.number // 10 == 2], ids=lambda nb: nb.name)
def test_models_know_only_tensors(nb):
    for cell, module in own_imports(nb.exported):
        assert NUMBERS[module] == 0 or NUMBERS[module] // 10 == 2, f"{cell} imports {module}"
    for cell in nb.exported:
        used = {module.split(".")[0] for module, _, _ in imports(cell.tree)}
        assert not used & {"os", "io", "pathlib", "shutil", "tempfile", "subprocess", "urllib", "requests"}, f"{cell} touches files or the net"
        for node in ast.walk(cell.tree):
            name = dotted(node)
            assert not re.match(r"torch\.(cuda|backends|mps|device)\b|open$", name), f"{cell}: {name}"
            assert not (isinstance(node, ast.Attribute) and node.attr == "cuda"), f"{cell} chooses a device"
            assert not (isinstance(node, ast.Constant) and node.value in ("cuda", "mps", "cpu")), f"{cell} names a device"


@pytest.mark.parametrize("nb", [nb for nb in NOTEBOOKS if nb.number // 10 == 4], ids=lambda nb: nb.name)
def test_applications_do_not_import_each_other(nb):
    for cell, module in own_imports(nb.exported):
        assert NUMBERS[module] // 10 != 4, f"{cell} imports {module}"


@pytest.mark.skipif(not APP.exists(), reason="app.py is not there")
def test_the_dashboard_imports_only_surfaces():
    for _, module in own_imports(read_script(APP).cells):
        assert module == "lmnb.core" or NUMBERS.get(module, 0) // 10 == 5, f"app.py imports {module}"


@each_notebook
def test_one_notebook_is_one_module(nb):
    assert re.fullmatch(r"\d\d_[a-z]\w*(\.[a-z]\w*)?", nb.name)
    names = [cell.directives["default_exp"] for cell in nb.cells if cell.kind == "code" and "default_exp" in cell.directives]
    assert names == [nb.name[3:]], f"default_exp is {names}"


def test_numbers_are_unique_and_no_module_is_left_behind():
    assert len({nb.number for nb in NOTEBOOKS}) == len(NOTEBOOKS)
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "lmnb").rglob("*.py")}
    assert {name for name in files if not name.endswith(("__init__", "_modidx"))} == set(NUMBERS)


# -- law 4: what is generated ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def regenerated(tmp_path_factory):
    "A copy of the repository in which nbdev has cleaned and exported."
    copy = tmp_path_factory.mktemp("copy") / "lmnb"
    copy.mkdir()
    for name in ("settings.ini", "pyproject.toml", "README.md", "LICENSE"): shutil.copy(ROOT / name, copy)
    skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.py")       # lmnb/*.py is made anew
    for name in ("nbs", "lmnb"): shutil.copytree(ROOT / name, copy / name, ignore=skip)
    for command in ("nbdev_clean", "nbdev_export"):
        subprocess.run([sys.executable, "-c", f"from nbdev.clean import nbdev_clean\nfrom nbdev.doclinks import nbdev_export\n{command}()"],
                       cwd=copy, check=True, env={**os.environ, "PYTHONPATH": ""})
    return copy


@pytest.mark.parametrize("folder", ["nbs", "lmnb"])
def test_clean_and_export_change_nothing(regenerated, folder):
    def files(base):
        return {str(path.relative_to(base)) for path in (base / folder).rglob("*") if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)}
    assert files(regenerated) == files(ROOT), "run nbdev_export"
    _, changed, broken = filecmp.cmpfiles(ROOT, regenerated, sorted(files(ROOT)), shallow=False)
    assert not changed + broken, f"run nbdev_clean and nbdev_export: {changed + broken}"


def test_version_has_one_source():
    settings = ConfigParser()
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    assert (ROOT / "lmnb/__init__.py").read_text(encoding="utf-8").strip() == f'__version__ = "{settings["DEFAULT"]["version"]}"'
    assert "requirements" not in settings["DEFAULT"] and "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]


@each_code
def test_third_party_imports_are_requirements(nb):
    "Every package that the exported cells import is named in pyproject.toml, and none of them is a developer's tool."
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plain = lambda requirement: re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
    extras = project["optional-dependencies"]
    declared = {plain(r) for r in project["dependencies"]} | {plain(r) for name in extras if name != "dev" for r in extras[name]}
    for cell in nb.exported:
        for module in {module.split(".")[0] for module, _, level in imports(cell.tree) if not level} - sys.stdlib_module_names - {"lmnb"}:
            names = {plain(name) for name in packages_distributions().get(module, [module])}
            assert names & declared, f"{cell} imports {module}, which pyproject.toml does not name"


# -- law 5: what is never called -------------------------------------------------------------------------------------

FORBIDDEN = {"eval", "exec", "builtins.eval", "builtins.exec", "torch.load", "joblib.load", "os.system", "os.popen",
             "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle", "shelve.open"}
FORBIDDEN_OPTIONS = {"trust_remote_code", "unsafe_allow_html", "shell", "allow_pickle"}


def offences(tree, known):
    "What law 5 forbids, found in a syntax tree; `known` is aliases() of the whole module."
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if full_name(node.func, known) in FORBIDDEN: yield full_name(node.func, known)
            for option in node.keywords:
                off = isinstance(option.value, ast.Constant) and not option.value.value
                if option.arg in FORBIDDEN_OPTIONS and not off: yield f"{option.arg}="
                if option.arg == "weights_only" and off: yield "weights_only=False"
    for module, name, _ in imports(tree):
        if module.split(".")[0] in ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"): yield f"import {module}"
        if f"{module}.{name}" in FORBIDDEN: yield f"import {module}.{name}"


@each_code
def test_nothing_forbidden_is_called(nb):
    known = aliases(ast.Module([node for cell in nb.exported for node in cell.tree.body], []))
    for cell in nb.exported:
        assert not list(offences(cell.tree, known)), str(cell)


@pytest.mark.parametrize("bad", ["eval('1')", "import torch as t\nt.load('x')", "from torch import load", "import pickle", "from joblib import load\nload(f)",
                                 "run(x, shell=True)", "st.markdown(x, unsafe_allow_html=flag)", "import yaml\nyaml.load(f)", "np.load(f, allow_pickle=True)",
                                 "import importlib\nimportlib.import_module('pickle')"])
def test_the_law_sees_what_is_forbidden(bad):
    assert list(offences(ast.parse(bad), aliases(ast.parse(bad))))


def test_the_law_lets_the_harmless_pass():
    good = "model.eval()\nsafe_load(f)\nrun(x, shell=False)\njson.load(f)\nre.compile('eval(')"
    assert not list(offences(ast.parse(good), {}))


# -- law 6: what comes from files is shown as text ---------------------------------------------------------------------

READ_AS_MARKDOWN = {"markdown", "caption", "title", "header", "subheader", "info", "warning", "error", "success", "toast", "badge", "button", "link_button", "download_button",
                    "page_link", "expander", "popover", "status", "spinner", "tabs", "segmented_control", "pills", "radio", "selectbox", "multiselect", "select_slider", "slider",
                    "number_input", "text_input", "text_area", "chat_input", "file_uploader", "metric", "checkbox", "toggle", "date_input", "feedback"}
OPTIONS_TOO = {"segmented_control", "pills", "radio"}                    # their options are Markdown as well
ESCAPING = {"t", "escaped", "as_code"}                                    # the functions of app.py that make any text harmless


def harmless(node, known):
    "Is an expression made of constants, numbers in a form, and what the escaping functions give? `known` is name -> the expressions it stands for."
    if isinstance(node, ast.Constant): return True
    if isinstance(node, ast.Call): return dotted(node.func) in ESCAPING or dotted(node.func).endswith(".get") and isinstance(node.func, ast.Attribute) and harmless(node.func.value, known)
    if isinstance(node, ast.JoinedStr): return all(harmless(part, known) for part in node.values)
    if isinstance(node, ast.FormattedValue): return node.format_spec is not None or harmless(node.value, known)
    if isinstance(node, ast.IfExp): return harmless(node.body, known) and harmless(node.orelse, known)
    if isinstance(node, ast.BoolOp): return all(harmless(value, known) for value in node.values)
    if isinstance(node, ast.BinOp): return harmless(node.left, known) and harmless(node.right, known)
    if isinstance(node, (ast.Dict, ast.DictComp)): return all(harmless(value, known) for value in (node.values if isinstance(node, ast.Dict) else [node.value]))
    if isinstance(node, ast.Attribute): return node.attr == "get" and harmless(node.value, known)
    if isinstance(node, ast.Lambda): return harmless(node.body, known)
    if isinstance(node, ast.Name): return bool(known.get(node.id)) and all(harmless(value, {name: values for name, values in known.items() if name != node.id}) for value in known[node.id])
    return False


def said_as_markdown(tree):
    "What is given to Streamlit as Markdown without passing an escaping function."
    for scope in [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Module))]:
        others = {id(node) for f in scope.body if isinstance(scope, ast.Module) and isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
        inside = [node for node in ast.walk(scope) if id(node) not in others]
        known = {}
        for source in (tree, scope):
            for node in ast.walk(source) if source is scope else source.body:
                if isinstance(node, ast.Assign) and len(node.targets) == 1:
                    target, value = node.targets[0], node.value
                    pairs = zip(target.elts, value.elts) if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [(target, value)]
                    for name, given in pairs:
                        if isinstance(name, ast.Name): known.setdefault(name.id, []).append(given)
        for node in inside:
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute): continue
            if node.func.attr in ("write", "write_stream"): yield f"line {node.lineno}: {node.func.attr} guesses what it is given"
            if node.func.attr not in READ_AS_MARKDOWN: continue
            said = node.args[:node.func.attr != "page_link"] + [option.value for option in node.keywords if option.arg in ("label", "body", "help") or option.arg == "format_func" and node.func.attr in OPTIONS_TOO]
            for one in said:
                if not harmless(one, known): yield f"line {one.lineno}: {node.func.attr}({ast.unparse(one)[:80]})"


@pytest.mark.skipif(not APP.exists(), reason="app.py is not there")
def test_all_markdown_of_the_dashboard_is_escaped():
    assert not list(said_as_markdown(ast.parse(APP.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("bad", ["st.markdown(run.name)", "st.caption(f'**{label}**')", "st.error(str(error))", "column.button(clip(text), key='x')", "st.write(text)", "place.write_stream(pieces)",
                                 "st.subheader('a' + name)", "def f():\n    title = doc.text\n    st.warning(title)", "st.segmented_control(t('x'), parts, format_func=lambda part: name_of('part', part))",
                                 "st.button(t('x'), help=name)", "st.metric(label=name, value='1')", "st.info(t('x') or name)", "st.expander(t('x') if y else name)"])
def test_the_law_sees_what_is_not_escaped(bad):
    assert list(said_as_markdown(ast.parse(bad)))


def test_the_law_lets_escaped_text_pass():
    good = "st.markdown(f'**{escaped(name)}** {n:,}')\nst.caption(t('x', name=name))\nst.button(escaped(clip(text)))\nst.text(anything)\ndef f():\n    names = {v: t(v) for v in views}\n    st.pills(t('x'), views, format_func=names.get)"
    assert not list(said_as_markdown(ast.parse(good)))


# -- style -----------------------------------------------------------------------------------------------------------

@each_notebook
def test_imports_are_named(nb):
    for cell in nb.cells:
        if cell.kind != "code": continue
        for module, name, level in imports(cell.tree):
            assert name != "*" and not level, f"{cell}: from {'.' * level}{module} import {name}"


@each_code
def test_exported_code_prints_nothing(nb):
    for cell in nb.exported:
        assert not [n for n in ast.walk(cell.tree) if isinstance(n, ast.Call) and dotted(n.func) in ("print", "pprint", "pprint.pprint")], str(cell)


@each_notebook
def test_no_comment_hides_an_export(nb):
    "nbdev reads directives only at the top of a cell: below any other line they are silently ignored."
    for cell in nb.cells:
        if cell.kind != "code": continue
        found = [match[1] for match in map(DIRECTIVE.match, cell.source.splitlines()) if match]
        assert len(found) == len(cell.directives), f"{cell}: a directive below another line"


@each_notebook
def test_a_chapter_opens_and_is_small(nb):
    first = nb.cells[0].source.splitlines()
    assert nb.cells[0].kind == "markdown" and first[0].startswith("# ") and any(line.startswith("> ") for line in first), "H1, then > one sentence"
    assert any("一" <= letter <= "鿿" for cell in nb.cells[:4] for letter in cell.source), "a Chinese line near the top"
    assert nb.path.stat().st_size < 200_000
    assert any(isinstance(node, ast.Assert) or "assert" in dotted(node) for cell in nb.shown for node in ast.walk(cell.tree)), "a shown cell that asserts"


def body_lines(cell):
    "How many lines of a cell are code: not blank, not the directive, not a parameter with its comment, not a docstring."
    lines = {number for number, line in enumerate(cell.source.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    for node in ast.walk(cell.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)): lines -= set(range(node.lineno + 1, node.body[0].lineno))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant): lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@each_notebook
def test_cells_are_short(nb):
    lines = sorted(map(body_lines, nb.exported))
    assert statistics.median(lines) <= 15 and lines[-1] <= 60, f"lines of exported cells: {lines}"


def public_functions(cell):
    "Top-level functions of a cell whose name is public."
    return [node for node in cell.tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")]


@each_notebook
def test_public_functions_are_documented(nb):
    "A docstring of one line; and for each parameter a comment on its line (`x_BTD` carries its own: the shape; a command's are told by its --help)."
    for cell in nb.exported:
        comments = {token.start[0] for token in tokenize.generate_tokens(io.StringIO(cell.source).readline) if token.type == tokenize.COMMENT}
        for function in public_functions(cell):
            doc = ast.get_docstring(function, clean=False)
            assert doc and "\n" not in doc.strip(), f"{cell}: {function.name} has no docstring of one line"
            if any("app." in ast.unparse(decorator) for decorator in function.decorator_list): continue
            for argument in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]:
                told = argument.lineno in comments or argument.arg in ("self", "cls") or re.search(r"_[A-Z]+$", argument.arg)
                assert told, f"{cell}: {function.name}({argument.arg}) has no comment"


@each_notebook
def test_outputs_are_light_and_local(nb):
    "No rasters, nothing fetched from elsewhere when shown, no traceback that was not meant, no path of a machine."
    for cell in nb.cells:
        for output in cell.outputs:
            assert output["output_type"] != "error" or "raises-exception" in cell.tags, f"{cell} holds a traceback"
            kinds = set(output.get("data", {}))
            assert not {kind for kind in kinds if kind.startswith("image/") and kind != "image/svg+xml"}, f"{cell} holds a raster"
            assert not re.search(r"(src|href)=\\?[\"']https?://|https://cdn", str(output)), f"{cell} fetches from elsewhere"
    assert not machine_paths(nb.path.read_text(encoding="utf-8"))


def machine_paths(text):
    "Absolute paths that name somebody's machine."
    return re.findall(r"(?<![\w.~}])(?:/home/|/Users/|/root/|/tmp/|[A-Z]:\\\\?Users\\)[\w.-]+", text)


def test_no_path_of_a_machine_anywhere():
    skip = {".git", ".venv", ".pytest_cache", "__pycache__", ".ipynb_checkpoints", "build", "dist"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in skip]
        for name in files:
            path = ROOT / folder / name
            if path.samefile(__file__): continue
            try: text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError: continue
            assert not machine_paths(text), path.relative_to(ROOT)
            assert "shared/data" not in text or path == ROOT / ".ci/run", path.relative_to(ROOT)


# -- the two READMEs -------------------------------------------------------------------------------------------------

READMES = [ROOT / name for name in ("README.md", "README.zh.md")]


def test_readmes_give_the_same_commands():
    assert commands(READMES[0]) == commands(READMES[1]) and "python start.py" in commands(READMES[0])


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_readme_names_every_notebook_and_no_other_file(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert not [link for link in links if not (ROOT / link).exists()], "a link into nothing"
    assert not [nb.name for nb in NOTEBOOKS if f"nbs/{nb.path.name}" not in links], "a chapter that the map leaves out"


def test_results_in_the_readmes_are_those_measured():
    tables = ROOT / "tests/bench/tables.py"
    subprocess.run([sys.executable, tables, "--check"], check=True, cwd=ROOT)


@pytest.mark.parametrize("path", sorted((ROOT / "tests/bench").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_imports_what_is_there(path):
    "A figure that nobody can measure again is worth little: the names that a benchmark takes from lmnb exist."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    taken = [(node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lmnb" for name in node.names]
    assert not [f"{module}.{name}" for module, name in taken if not hasattr(importlib.import_module(module), name) and not importlib.util.find_spec(f"{module}.{name}")]
