"""Every notebook from a fresh kernel with the network off.

The network is taken away by a network namespace of its own (`unshare`), where Linux permits that: nothing but the loopback, over which Jupyter talks
to its kernel, exists in there. Elsewhere (macOS, Windows, a container that forbids it) a guard in the kernel's process refuses every address but the loopback.
`python tests/test_notebooks.py nbs/00_core.ipynb [times]` is what runs in there; it works by hand too.
"""
import json, os, shutil, subprocess, sys, time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300          # seconds for a notebook; a chapter is meant to take well under 30

GUARD = '''
"Refuse every address but the loopback (Python reads a sitecustomize.py before anything else)."
import socket
def check(address):
    host = address[0] if isinstance(address, tuple) else "localhost"
    if host not in ("localhost", "::1") and not str(host).startswith("127."): raise OSError(101, f"the network is off: {host}")
class Guarded(socket.socket):
    def connect(self, address): check(address); return super().connect(address)
    def connect_ex(self, address): check(address); return super().connect_ex(address)
socket.socket = Guarded
'''


def loopback_up():
    "Switch on the loopback of a fresh network namespace: what `ip link set lo up` does."
    import fcntl, socket, struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 1))      # SIOCSIFFLAGS, IFF_UP


def execute(path, times=1):
    "Run a notebook in this process's network, `times` over in one kernel; the file itself is not touched."
    import nbclient, nbformat
    notebook = nbformat.read(path, 4)
    notebook.cells = [nbformat.from_dict(cell) for _ in range(times) for cell in notebook.cells]
    notebook.nbformat_minor = 4                                        # repeated cells have no ids of their own
    for cell in notebook.cells: cell.pop("id", None)
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}})
    client.execute()


if __name__ == "__main__":
    if os.environ.get("LMNB_TEST_NETWORK") == "namespace": loopback_up()
    try: execute(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:]))
    except Exception as error: sys.exit(f"{type(error).__name__}: {error}"[-6000:])
    sys.exit()

import pytest

from workbook import NOTEBOOKS


@cache
def namespace():
    "The command that gives a process a network of its own, or None where that is not permitted."
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0: return command


def run_offline(path, folder, times=1):
    "(seconds, error or None) of one notebook in a process of its own."
    environment = {**os.environ, "LMNB_TEST_NETWORK": "namespace" if namespace() else "guard"}
    environment["IPYTHONDIR"] = str(folder)
    environment.pop("LMNB_DATA", None)                 # a chapter needs nothing that its reader may not have
    if not namespace():
        (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), environment.get("PYTHONPATH")]))
    start = time.monotonic()
    done = subprocess.run([*(namespace() or []), sys.executable, __file__, path, str(times)], env=environment, cwd=folder, capture_output=True, text=True, encoding="utf-8")
    return time.monotonic() - start, (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else None


@pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda nb: nb.name)
def test_notebook_runs(nb, tmp_path):
    seconds, error = run_offline(nb.path, tmp_path)
    assert error is None, f"{nb.name} after {seconds:.0f} s: {error}"
    left = [path.name for path in (ROOT / "nbs").iterdir() if path.suffix != ".ipynb" and path.name != ".ipynb_checkpoints"]
    assert not left, "a chapter writes to LMNB_HOME and to temporary folders, never beside itself"


@pytest.mark.slow
@pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda nb: nb.name)
def test_notebook_runs_twice_in_one_kernel(nb, tmp_path):
    seconds, error = run_offline(nb.path, tmp_path, times=2)
    assert error is None, f"{nb.name} after {seconds:.0f} s: {error}"


NETWORK = """
import socket
for address in [("192.0.2.1", 80), ("2001:db8::1", 80)]:
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.settimeout(5)
        try: probe.connect(address)
        except TimeoutError: raise AssertionError("a packet left this machine")
        except OSError: continue
        raise AssertionError("connected")
with socket.socket() as server:
    server.bind(("127.0.0.1", 0)); server.listen()
    socket.create_connection(server.getsockname(), timeout=5).close()
"""


@pytest.mark.parametrize("way", ["namespace", "guard"])
def test_the_network_is_off(way, tmp_path, monkeypatch):
    "Neither way lets a notebook reach anything but the loopback."
    if way == "namespace" and not namespace(): pytest.skip("no network namespaces here: the guard is used")
    if way == "guard": monkeypatch.setattr(sys.modules[__name__], "namespace", lambda: None)
    cell = dict(cell_type="code", execution_count=None, metadata={}, outputs=[], source=NETWORK)
    (tmp_path / "probe.ipynb").write_text(json.dumps(dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=4)))
    assert run_offline(tmp_path / "probe.ipynb", tmp_path)[1] is None
