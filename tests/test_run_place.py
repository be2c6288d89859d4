"""Where a run stands, who may write it, and what a signal leaves of it."""
import json
import os
import signal
import sys

import pytest
from safetensors.torch import load_file

from lmnb.checkpoint import Config, TaskConfig
from lmnb.cli import outside, run_folder
from lmnb.core import Interrupted, UsageError, locked
from lmnb.models.zoo import preset
from lmnb.task import LanguageModel
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run, ending, read_metrics, train

TEXT = [{"text": "the cat sat on the mat. 猫坐在垫子上。 "*60}]


def case(folder, **fields):
    tokenizer = Tokenizer.train("char", [TEXT[0]["text"]])
    config = Config(task=TaskConfig(name="lm", length=16, carry=True), model=preset("gru-tiny", task="lm", vocab_size=tokenizer.vocab_size))
    return folder, config, tokenizer, TEXT, TEXT, Recipe(steps=12, batch=4, scores=3, threads=1, **fields)


def test_a_name_stands_where_the_dashboard_looks(fresh_home):
    assert run_folder("poems-1", "lstm", None, None) == fresh_home/"runs"/"poems-1"/"lstm"
    named = run_folder("poems-1", "lstm", "我的 2", None)
    assert named == fresh_home/"runs"/"poems-1"/"我的 2" and not outside(named)
    assert not outside(run_folder("poems-1", "lstm", None, fresh_home/"runs"/"mine"/"a"))


def test_out_says_that_the_dashboard_does_not_look_there(fresh_home, tmp_path):
    folder = run_folder("poems-1", "lstm", None, tmp_path/"here")
    assert folder == tmp_path/"here"
    assert "--name" in outside(folder) and str(folder) in outside(folder)


@pytest.mark.parametrize("name", ["", " ", "a/b", "../a", ".hidden", "a\\b", "a\nb", "a:b", "..", "\0"])
def test_a_name_is_no_path(fresh_home, name):
    with pytest.raises(UsageError, match="--name"): run_folder("poems-1", "lstm", name, None)


def test_name_and_out_exclude_each_other(fresh_home, tmp_path):
    with pytest.raises(UsageError, match="give one"): run_folder("poems-1", "lstm", "a", tmp_path)


def test_a_run_that_exists_says_name(tmp_path):
    train(*case(tmp_path/"a"))
    with pytest.raises(UsageError, match="--name"): train(*case(tmp_path/"a"))
    assert not (tmp_path/"a"/".lock").exists()


def test_a_second_writer_is_one_line_and_changes_nothing(tmp_path):
    run = train(*case(tmp_path/"a"))
    before = {path.name: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with locked(run):
        for resume in (True, False):
            with pytest.raises(UsageError, match="is being written by process"): train(*case(tmp_path/"a"), resume=resume)
    assert {path.name: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_the_lock_stands_while_a_run_trains_and_goes_with_it(tmp_path):
    seen = []
    train(*case(tmp_path/"a"), on_score=lambda run, row: seen.append((run.folder/".lock").is_file()))
    assert seen == [True]*3 and not (tmp_path/"a"/".lock").exists()


def test_a_signal_before_the_loop_is_one_line():
    with pytest.raises(Interrupted, match="nothing yet") as error:
        with ending("nothing yet"): os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_signal_while_scoring_loses_nothing(look, tmp_path, monkeypatch):
    whole = train(*case(tmp_path/"whole"))
    looks, batches = [], LanguageModel.score_batches
    def score_batches(self, *rest):
        looks.append(1)
        for batch in batches(self, *rest):
            if len(looks) == look: os.kill(os.getpid(), signal.SIGTERM)
            yield batch
    monkeypatch.setattr(LanguageModel, "score_batches", score_batches)
    with pytest.raises(Interrupted, match=f"step {4*look}"): train(*case(tmp_path/"a"))
    monkeypatch.undo()
    run = train(*case(tmp_path/"a"), resume=True)
    assert [row["step"] for row in read_metrics(run)] == [4, 8, 12]
    weights = [load_file(folder/"checkpoints"/"step-12"/"model.safetensors") for folder in (whole, run)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def command(capfd, *arguments):
    "The command in this process -> (exit code, standard output, standard error)."
    from unittest.mock import patch
    from lmnb.cli import main
    with patch.object(sys, "argv", ["lmnb", *map(str, arguments)]), pytest.raises(SystemExit) as end: main()
    return (end.value.code, *capfd.readouterr())


def test_a_run_stopped_before_its_first_score_is_listed_opened_and_gone_on_with(fresh_home, tmp_path, monkeypatch, capfd):
    import shlex
    (tmp_path/"say.csv").write_text("text,label\n" + "".join(f"the {i} was {'fine' if i % 2 else 'dull'},{'good' if i % 2 else 'bad'}\n" for i in range(40)))
    advance = Run.advance
    def stopping(self):
        if self.step == 4: os.kill(os.getpid(), signal.SIGTERM)
        return advance(self)
    monkeypatch.setattr(Run, "advance", stopping)
    code, _, err = command(capfd, "train", "--data", tmp_path/"say.csv", "--model", "bag-tiny", "--steps", 20, "--set", "scores=1")
    monkeypatch.undo()
    monkeypatch.setenv("LMNB_HOME", str(fresh_home))
    assert code == 75 and "stopped at step 5, everything is saved" in err
    [run] = [path for path in (fresh_home/"runs").glob("*/*") if path.is_dir()]
    name = f"{run.parent.name}/{run.name}"
    assert not (run/"checkpoints"/"best").exists()
    code, out, _ = command(capfd, "runs")
    assert code == 0 and "stopped 25%" in out and "stopped at step 5; resume it with: lmnb train" in out and "no checkpoint" not in out
    code, out, err = command(capfd, "classify", name, "the 3 was fine")
    assert code == 0 and out.split()[0] in ("good", "bad"), err
    code, out, err = command(capfd, "evaluate", name, "--data", tmp_path/"say.csv")
    assert code == 0 and "n = 40" in out, err
    _, out, _ = command(capfd, "runs", "--json")
    told = json.loads(out)
    assert told["state"] == "stopped" and told["status"] == "ok" and told["step"] == 5
    code, _, err = command(capfd, *shlex.split(told["mend"])[1:])
    assert code == 0 and (run/"checkpoints"/"best").exists() and read_metrics(run)[-1]["step"] == 20, err
    _, out, _ = command(capfd, "runs", "--json")
    assert json.loads(out)["state"] == "finished"


def test_no_best_is_named_before_there_is_a_score(tmp_path, monkeypatch):
    "A run that is gone on with saves more steps and removes older ones: what is opened is always there."
    from lmnb.checkpoint import open_checkpoint, pointed
    advance = Run.advance
    def stopping(at):
        def one(self):
            if self.step == at: os.kill(os.getpid(), signal.SIGTERM)
            return advance(self)
        return one
    folder, *rest = case(tmp_path/"a")
    rest[-1] = rest[-1].model_copy(update={"scores": 1, "save_minutes": 0.0})
    for at, resume in ((2, False), (9, True)):
        monkeypatch.setattr(Run, "advance", stopping(at))
        with pytest.raises(Interrupted): train(folder, *rest, resume=resume)
        assert not (folder/"checkpoints"/"best").exists() and open_checkpoint(folder).path == pointed(folder, "last") == folder/"checkpoints"/f"step-{at + 1}"
    monkeypatch.undo()
    assert pointed(train(folder, *rest, resume=True)).name == "step-12"
