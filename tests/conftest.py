"""What every test stands on: a home folder of its own, no network by mistake, and the few things of the machine that some tests need."""
import os, shutil, tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SESSION_HOME = tempfile.mkdtemp(prefix="lmnb-tests-")
AT_ONCE = min(4, os.cpu_count() or 1)                    # processes that share the tests
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)          # the tests start hundreds of processes: each would compile lmnb anew
os.environ.update(                       # before anything imports lmnb, and inherited by every process that a test starts
    OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))),   # a core for each process, not a crowd on all of them
    LMNB_HOME=SESSION_HOME,
    HF_HUB_OFFLINE="1",
    STREAMLIT_BROWSER_GATHER_USAGE_STATS="false",
    PYTHONIOENCODING="utf-8",
    JUPYTER_PLATFORM_DIRS="1",
)


def pytest_xdist_auto_num_workers(config): return AT_ONCE      # `-n auto` in pyproject.toml


def pytest_sessionfinish(session):
    shutil.rmtree(SESSION_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def root():
    "The repository."
    return ROOT


@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    "An empty LMNB_HOME for one test; the others share one, so that what is expensive is made once."
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def public_data():
    "The folder of public data sets, or a skip."
    folder = os.environ.get("LMNB_DATA")
    if not folder or not Path(folder).is_dir(): pytest.skip("LMNB_DATA does not point to the public data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def chromium():
    "The browser's program, or a skip; with CI set, its absence is a failure."
    names = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
    found = next(filter(None, map(shutil.which, names)), None)
    if found: return found
    message = f"no browser here (looked for {', '.join(names)})"
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
