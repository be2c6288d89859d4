"""JupyterLab as a person meets it: `lmnb lab` in a real browser, and every slider, menu and field of every chapter moved once."""
import ast, builtins, importlib, json, os, socket, subprocess, sys
from urllib.parse import urlsplit

import pytest

from test_browser import browser, wait_for        # noqa: F401  the first is a fixture
from workbook import NOTEBOOKS

MAKES = ("playground", "Explorer", "clean_explorer", "threshold_explorer", "pieces_explorer")
TOKEN = "read-me-in-the-test"


def calls(cell):
    "The names of the functions that a cell calls."
    return {node.func.id for node in ast.walk(cell.tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def shows_widgets(cell):
    "Does a cell end in controls, which JupyterLab then shows?"
    if cell.kind != "code" or cell.exported or not cell.tree.body or not isinstance(cell.tree.body[-1], ast.Expr): return False
    last = cell.tree.body[-1].value
    if isinstance(last, ast.Call): return getattr(last.func, "id", "") in MAKES
    made = {target.id for node in cell.tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") in MAKES for target in node.targets if isinstance(target, ast.Name)}
    return isinstance(last, ast.Name) and last.id in made


SHOWN = [(nb, cell) for nb in NOTEBOOKS for cell in nb.cells if shows_widgets(cell)]


def test_every_cell_with_widgets_is_opened():
    "No chapter makes controls in a way that this file overlooks."
    used = {str(cell) for nb in NOTEBOOKS for cell in nb.shown if calls(cell) & set(MAKES)}
    quiet = used - {str(cell) for _, cell in SHOWN}
    assert {nb.name for nb, _ in SHOWN} == {"11_clean", "12_dedup", "13_tokenize", "51_widgets"} and len(SHOWN) == 8
    assert all("playground(line)" in cell.source for nb in NOTEBOOKS for cell in nb.shown if str(cell) in quiet)        # that one only counts


def bound(tree):
    "The names that a cell gives a value."
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return found | {(alias.asname or alias.name).split(".")[0] for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}


def needed(nb, cells):
    "These cells, and of the earlier ones those whose names they use; what the chapter exports is imported from its module."
    chosen, wanted, module = {cell.position: cell for cell in cells}, set(), importlib.import_module(nb.module)
    work = list(cells)
    while work:
        cell = work.pop()
        free = {node.id for node in ast.walk(cell.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} - bound(cell.tree) - set(vars(builtins))
        for name in free:
            makers = [one for one in nb.shown if one.position < cell.position and name in bound(one.tree)]
            if makers and makers[-1].position not in chosen:
                chosen[makers[-1].position] = makers[-1]
                work.append(makers[-1])
            elif not makers and hasattr(module, name): wanted.add(name)
    head = [f"from {nb.module} import {', '.join(sorted(wanted))}"] if wanted else []
    return head + [chosen[position].source for position in sorted(chosen)]


def write_notebook(path, sources):
    "A notebook of code cells."
    cells = [dict(cell_type="code", execution_count=None, id=f"n{i}", metadata={}, outputs=[], source=source) for i, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps(dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5)), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(tmp_path_factory, root):
    "`lmnb lab` in a process of its own, as whoever runs the tests (perhaps root), with nothing of the reader's; its address and folder."
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = tmp_path_factory.mktemp("lab")
    folder, log = place / "notebooks", place / "log.txt"
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "HOME")
    env = {**os.environ, **{name: str(place / name.lower()) for name in names}, "JUPYTER_TOKEN": TOKEN, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
    (place / "home").mkdir()
    command = [sys.executable, "-c", "from lmnb.cli import main; main()", "lab", str(folder), "--port", str(port), "--no-open"]
    with open(log, "w") as out: process = subprocess.Popen(command, env=env, cwd=place, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://localhost:{port}/api/status?token={TOKEN}", process, log)
        yield f"http://localhost:{port}", folder
    finally:
        process.terminate()
        process.wait(20)
    said = log.read_text()
    assert "notebooks are in" in said and "--allow-root" not in said and "Traceback" not in said, said


@pytest.fixture
def desk(browser, lab, tmp_path):        # noqa: F811
    "A browser tab that keeps an eye on where requests go, and leaves a screenshot."
    context = browser.new_context(viewport={"width": 1280, "height": 1600}, locale="en-US")
    page = context.new_page()
    page.elsewhere, page.errors = [], []
    page.on("request", lambda r: page.elsewhere.append(r.url) if urlsplit(r.url).hostname not in ("localhost", None, "") else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.screenshot(path=str(tmp_path / "lab.png"))
    asked = page.get_by_text("Jupyter news").count() + page.locator(".Toastify__toast, .jp-Dialog").count()
    context.close()
    assert not asked and not page.elsewhere and not page.errors


DRAWN = """cell => [...cell.querySelectorAll('.jp-OutputArea-output')].filter(one => !one.querySelector('.jupyter-widgets')).map(one => one.querySelector('.main-svg')
    ? [...one.querySelectorAll('.main-svg .trace path, .main-svg .trace text, .main-svg .shapelayer path, .main-svg .xtick text, .main-svg .ytick text')].map(e => (e.getAttribute('d') || e.textContent) + (e.getAttribute('transform') || '')).join(' ')
    : one.innerText + [...one.querySelectorAll('[style]')].map(e => e.getAttribute('style')).join(' '))"""
CHANGED = f"([cell, before]) => {{ const now = ({DRAWN})(cell); return now.length == before.length && now.every((text, i) => text && text != before[i]) }}"
CONTROLS = ".widget-slider [role=slider], .widget-dropdown select, .widget-text input, .widget-checkbox input"


def moves(control):
    "What a hand would do with a control, one after the other: a slider goes to one end, then to the other."
    kind = control.evaluate("node => node.getAttribute('role') || node.type")
    if kind == "slider":
        low, value = (float(control.get_attribute(name)) for name in ("aria-valuemin", "aria-valuenow"))
        for key in ("Home", "End") if value > low else ("End", "Home"):
            control.focus()
            yield control.press(key)
    elif kind == "select-one": yield control.select_option(index=(control.evaluate("node => node.selectedIndex") + 1) % control.locator("option").count())
    elif kind == "checkbox": yield control.click()
    else:
        control.fill(control.input_value() + " 更多 more")
        yield control.press("Enter")


PROMPTS = "[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(e => e.innerText)"


def open_notebook(desk, address, name, cells):
    "Open a notebook, run it, and wait until its last cell has run."
    from playwright.sync_api import TimeoutError as Timeout
    desk.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
    desk.locator(".jp-Notebook .jp-CodeCell").nth(cells - 1).wait_for(timeout=60_000)
    desk.locator("[data-status=idle], .jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(timeout=60_000)
    desk.locator(".jp-Notebook .jp-CodeCell").first.click()
    desk.locator("[data-command='notebook:restart-run-all'], [data-command='runmenu:restart-and-run-all']").first.wait_for(timeout=60_000)
    for _ in range(3):                                                  # a page that shows a kernel as idle may not be connected to it yet
        desk.get_by_text("Run", exact=True).first.click()
        desk.get_by_text("Run All Cells", exact=True).click()
        try: desk.wait_for_function(f"() => {PROMPTS}.some(text => /\\[[\\d*]+\\]/.test(text))", timeout=15_000)
        except Timeout: continue
        break
    desk.wait_for_function(f"() => {PROMPTS}.every(text => /\\[\\d+\\]/.test(text))", timeout=120_000)
    assert desk.locator(".jp-Notebook [data-mime-type='application/vnd.jupyter.stderr']").count() == 0, desk.locator(".jp-Notebook").inner_text()


@pytest.mark.parametrize("name", dict.fromkeys(nb.name for nb, _ in SHOWN))
def test_every_widget_changes_what_is_drawn(lab, desk, name):
    address, folder = lab
    nb = next(nb for nb in NOTEBOOKS if nb.name == name)
    sources = needed(nb, [cell for one, cell in SHOWN if one is nb])
    write_notebook(folder / f"moved-{name}.ipynb", sources)
    open_notebook(desk, address, f"moved-{name}.ipynb", len(sources))
    cells = [cell for cell in desk.locator(".jp-Notebook .jp-CodeCell").all() if cell.locator(".jupyter-widgets").count()]
    assert len(cells) == sum(one is nb for one, _ in SHOWN)
    for cell in cells:
        controls = cell.locator(CONTROLS)
        controls.first.wait_for(timeout=30_000)
        for control in controls.all():
            before = cell.evaluate(DRAWN)
            assert before and all(before), f"{name}: nothing is drawn"
            for _ in moves(control):
                desk.wait_for_function(CHANGED, arg=[cell.element_handle(), before], timeout=30_000)
                before = cell.evaluate(DRAWN)
