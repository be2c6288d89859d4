"""The built wheel in a clean environment, away from the repository.

In the fast tier the environment holds lmnb's wheel and sees the requirements of the one that runs the tests (one line in a .pth file), so that nothing is
downloaded; the slow tier installs the requirements too, as a user's `pip install` does.
"""
import ast, os, re, subprocess, sys, sysconfig, venv, zipfile
from pathlib import Path

import pytest

from workbook import APP, NOTEBOOKS, ROOT, commands

pytestmark = pytest.mark.skipif(not APP.exists(), reason="app.py is not there")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUFFIX = ".exe" if os.name == "nt" else ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "The wheel, built with what is installed here."
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def pip_install(python, *what):
    "pip of the environment that runs the tests, for another one."
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check", *what], check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    "run(program, *arguments) in a clean environment, in an empty folder, with an LMNB_HOME of its own."
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "env", with_pip=False)
    scripts = folder / "env" / SCRIPTS
    pip_install(scripts / f"python{SUFFIX}", "--no-deps", "--no-index", wheel)
    ours = sysconfig.get_path("purelib", vars={"base": str(folder / "env"), "platbase": str(folder / "env")})
    (Path(ours) / "requirements-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (folder / "empty").mkdir()
    return runner(scripts, folder / "empty", folder / "home")


def runner(scripts, cwd, home):
    "A function that runs a program of an environment and returns the finished process."
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LMNB_DATA", "VIRTUAL_ENV")}
    environment |= {"LMNB_HOME": str(home), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    def run(program, *arguments):
        return subprocess.run([scripts / (program + SUFFIX), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300)
    run.home = home
    return run


def test_the_wheel_holds_everything_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"lmnb/app.py"} | {f"lmnb/nbs/{nb.path.name}" for nb in NOTEBOOKS}
    for path in (ROOT / "lmnb").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts: expected.add(path.relative_to(ROOT).as_posix())
    ours = {name for name in names if ".dist-info/" not in name}
    assert ours == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_is_imported_from_the_wheel(installed):
    done = installed("python", "-c", "import lmnb, lmnb.core; print(lmnb.__file__); print(lmnb.core.asset('x').parent.is_dir())")
    assert done.returncode == 0, done.stderr
    place, assets = done.stdout.split("\n")[:2]
    assert not Path(place).is_relative_to(ROOT) and assets == "True"


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"]], ids=" ".join)
def test_the_command_answers(installed, arguments):
    done = installed("lmnb", *arguments)
    assert done.returncode == 0 and done.stdout.strip() and "Traceback" not in done.stderr, done.stdout + done.stderr


def test_every_command_of_the_readme_exists(installed):
    "In its shell blocks and between backticks, `lmnb something` is a command."
    known = installed("lmnb", "--help").stdout
    for path in (ROOT / "README.md", ROOT / "README.zh.md"):
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"^lmnb ([a-z]+)", "\n".join(commands(path)), re.M)) | set(re.findall(r"`lmnb ([a-z]+)", text))
        assert named and not {name for name in named if not re.search(rf"\b{name}\b", known)}, path.name


def test_an_unknown_command_is_one_line_and_exit_code_2(installed):
    done = installed("lmnb", "no-such-command")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "no-such-command" in done.stderr, done.stderr


def test_importing_the_dashboard_does_nothing(installed):
    done = installed("python", "-c", "import lmnb.app")
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr
    for node in ast.parse(APP.read_text(encoding="utf-8")).body:
        harmless = isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign))
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        main = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        assert harmless or docstring or main, f"app.py line {node.lineno} acts on import"


@pytest.mark.slow
def test_a_full_install_from_nothing(wheel, tmp_path):
    "pip takes the requirements from the wheel, at the tested versions."
    venv.create(tmp_path / "env", with_pip=False)
    scripts = tmp_path / "env" / SCRIPTS
    pip_install(scripts / f"python{SUFFIX}", "-c", ROOT / "constraints.txt", wheel)
    done = runner(scripts, tmp_path, tmp_path / "home")("lmnb", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
