"""One writer for one folder: who comes second is told so, and nobody waits for the dead."""
import json
import os
import subprocess
import sys

import pytest
from lmnb import core
from lmnb.core import UsageError, locked, naming, write_atomic

HOLD = "import sys\nfrom lmnb.core import locked\nwith locked(sys.argv[1]): print('held', flush=True); sys.stdin.read()"


def holder(folder):
    "A process that holds the folder until its input ends."
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_writer_is_told_whom_to_wait_for(tmp_path):
    child = holder(tmp_path/"out")
    with pytest.raises(UsageError, match=f"out is being written by process {child.pid} on .*, since 20") as told:
        with locked(tmp_path/"out"): pass
    assert "\n" not in str(told.value)
    child.communicate("")
    with locked(tmp_path/"out"): pass


def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path):
    child = holder(tmp_path/"out")
    child.kill()
    child.wait()
    assert json.loads((tmp_path/"out"/".lock").read_text())["pid"] == child.pid
    with locked(tmp_path/"out"):
        assert json.loads((tmp_path/"out"/".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path/"out").joinpath(".lock").exists()


@pytest.mark.parametrize("left", ["", "{", "[]", '{"pid": "x"}', "\0"*5000])
def test_a_foreign_lock_file_holds_nobody_up(tmp_path, left):
    (tmp_path/".lock").write_text(left)
    with locked(tmp_path): pass


def test_where_the_file_system_has_no_locks_the_owner_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(core, "_take", lambda file: None)
    with locked(tmp_path):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            with locked(tmp_path): pass
    dead = {"pid": os.getpid(), "host": core.platform.node(), "since": "long ago", "started": 1.0}      # the number was given again
    (tmp_path/".lock").write_text(json.dumps(dead))
    with locked(tmp_path): pass


def test_a_folder_made_for_nothing_goes(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with locked(tmp_path/"a"/"b"): 1/0
    assert not (tmp_path/"a"/"b").exists()
    with locked(tmp_path/"c"): (tmp_path/"c"/"file").write_text("x")
    assert [p.name for p in (tmp_path/"c").iterdir()] == ["file"]


def test_many_in_a_row_never_two_at_once(tmp_path):
    code = ("import sys, pathlib\nfrom lmnb.core import UsageError, locked\nfolder, done = pathlib.Path(sys.argv[1]), 0\n"
            "while done < 40:\n"
            "    try:\n"
            "        with locked(folder):\n"
            "            n = int((folder/'n').read_text()); (folder/'n').write_text(str(n + 1)); done += 1\n"
            "    except UsageError: pass\n")
    (tmp_path/"n").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    assert (tmp_path/"n").read_text() == "120"


def test_an_error_of_writing_names_the_file(tmp_path):
    with pytest.raises(OSError) as told:
        with naming(tmp_path/"x"): raise OSError(28, "No space left on device")
    assert told.value.filename == str(tmp_path/"x")
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError) as told, naming("y"), open("/dev/full", "w") as file: file.write("x")
        assert told.value.filename == "y"
    write_atomic(tmp_path/"whole", "text")
    assert (tmp_path/"whole").read_text() == "text"
