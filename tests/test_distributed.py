"""Several processes take the step of one; what two have saved, one or four go on with; a rank that dies ends the others. Run by torchrun, this file is the ranks' program."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

import lmnb.train
from lmnb.checkpoint import Config, TaskConfig
from lmnb.core import Interrupted, UsageError, pick_device
from lmnb.many import Ranks, whole
from lmnb.models.zoo import preset
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run, read_metrics, train

TEXT = [{"text": "the cat sat on the mat, and the dog sat on the log; 猫坐在垫子上,狗坐在木头上。 "*60}]
LABELLED = [{"text": f"{word} {'fine' if good else 'bad'} day"*(1 + number % 3), "label": "good" if good else "bad"} for number, word in enumerate("abcdefghijklmnopqr") for good in (0, 1)]
PAIRS = [{"source": f"one {word} two"*(1 + number % 3), "target": f"{word}二"*(1 + number % 2)} for number, word in enumerate("abcdefghijklmnopqrstuvwxyzabcdefghijkl")]
TOKENIZER = Tokenizer.train("char", [TEXT[0]["text"], *(row["text"] for row in LABELLED), *(row["source"] + row["target"] for row in PAIRS)])
CASES = {   # name -> task, preset, rows, recipe: a carried state, Muon, and numbers of targets and of rows that are not alike
    "lstm": (dict(name="lm", carry=True, length=16), "lstm-tiny", TEXT, {}),
    "transformer": (dict(name="lm", length=16), "transformer-tiny", TEXT, {}),
    "muon": (dict(name="lm", length=16), "transformer-tiny", TEXT, dict(optimizer="muon")),
    "translate": (dict(name="translate"), "gru-tiny", PAIRS, dict(accumulate=2)),
    "classify": (dict(name="classify", labels=["bad", "good"]), "rnn-tiny", LABELLED, {}),
}
LAYOUTS = {"DDP": False, "FSDP": True}
CPU = torch.device("cpu")      # where the ranks of these tests compute, also beside a graphics card


def run_of(name, folder, *, batch=32, **options):
    task, model, rows, recipe = CASES[name]
    config = Config(task=TaskConfig(**task), model=preset(model, task=task["name"], vocab_size=TOKENIZER.vocab_size, dropout=0.0))
    return config, rows, Recipe(batch=batch, rate=3e-3, precision="fp32", **recipe | options)


@mock.patch.object(lmnb.train, "fast_bf16", return_value=False)      # Muon's iteration in bfloat16 would make much of a last digit
def steps_of(name, folder, steps, _, device=None, **options):
    "The first gradient (before clipping has any say), and the loss of each step."
    config, rows, recipe = run_of(name, folder, steps=steps, **options)
    run = Run(folder, config, TOKENIZER, rows, rows, recipe, device=device)
    state = None
    batch = run.fetch().to(run.device)
    total, count = run.fitting(batch, state)
    gradient = {n: whole(p.grad).cpu().clone() for n, p in run.model.named_parameters() if p.grad is not None}
    for optimizer in run.optimizers: optimizer.zero_grad(set_to_none=True)
    run.state = None
    return gradient, [run.advance() for _ in range(steps)]


def stopped(name, folder, *, at, last, rank=1, **options):
    "Train with all ranks until one of them is asked to stop at a step."
    config, rows, recipe = run_of(name, folder, steps=last, scores=2, **options)
    advance = Run.advance
    def asked(self):
        loss = advance(self)
        if self.step == at and self.ranks.rank == rank: os.kill(os.getpid(), signal.SIGTERM)
        return loss
    Run.advance = asked
    try: train(folder, config, TOKENIZER, rows, rows[:8], recipe)
    except Interrupted: return True
    finally: Run.advance = advance


def go_on(name, folder, last, **options):
    config, rows, recipe = run_of(name, folder, steps=last, scores=2, **options)
    return train(folder, config, TOKENIZER, rows, rows[:8], recipe, resume=True, device=CPU)


def program(out, job):
    "What each rank does."
    torch.set_num_threads(1)
    first = os.environ["RANK"] == "0"
    if job["do"] == "steps":
        for name in CASES:
            for layout, shard in LAYOUTS.items():
                gradient, losses = steps_of(name, out/"none", job["steps"], shard=shard)
                if first: save_file(gradient, out/f"{name}.{layout}.safetensors"); (out/f"{name}.{layout}.json").write_text(json.dumps(losses))
    if job["do"] == "stop":
        for name, layout in (("lstm", "DDP"), ("transformer", "FSDP")): assert stopped(name, out/f"{name}.{layout}", at=5, last=10, shard=LAYOUTS[layout])
    if job["do"] == "go on":
        for name, layout in (("lstm", "DDP"), ("transformer", "FSDP")): go_on(name, out/f"{name}.{layout}", 10, shard=LAYOUTS[layout])


def torchrun(ranks, *command, **options):
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *map(str, command)],
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}, timeout=240, **options)


def ranks(number, out, **job):
    done = torchrun(number, __file__, out, json.dumps(job))
    assert done.returncode == 0, done.stderr[-3000:]


# -- the same step ---------------------------------------------------------------------------------------------------

def same_steps(out, steps):
    ranks(2, out, do="steps", steps=steps)
    for name in CASES:
        gradient, losses = steps_of(name, out/"none", steps, device=CPU)
        for layout in LAYOUTS:
            found, told = load_file(out/f"{name}.{layout}.safetensors"), json.loads((out/f"{name}.{layout}.json").read_text())
            assert found.keys() == gradient.keys()
            error = sum((found[n] - gradient[n]).square().sum() for n in gradient).sqrt()/sum(g.square().sum() for g in gradient.values()).sqrt()
            assert error <= 1e-6, (name, layout, error)
            worst = max(abs(a - b) for a, b in zip(told, losses))
            assert worst <= 1e-5 and len(told) == len(losses) == steps, (name, layout, worst)


def test_two_ranks_take_the_steps_of_one(tmp_path): same_steps(tmp_path, 10)


@pytest.mark.slow
def test_two_ranks_take_a_hundred_steps_of_one(tmp_path): same_steps(tmp_path, 100)


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("B", [1, 4, 7])
def test_every_row_has_one_rank(world, B, tmp_path):
    "Also where there are fewer rows than ranks: then a rank has none, and computes one with weight 0. A row's loss is a power of two that names it."
    config, rows, recipe = run_of("classify", tmp_path, steps=2, batch=B)
    run = Run(tmp_path, config, TOKENIZER, rows, rows, recipe, device=CPU)
    batch, anchor, total = run.fetch(), torch.zeros(1, requires_grad=True), 0.0
    run.loss = lambda piece, state: (0*anchor.sum(), torch.tensor(sum(2.0**row for row in piece.rows), dtype=torch.float64), 0, None)
    for rank in range(world):
        run.ranks = Ranks(rank, world, None, CPU)
        total += run.gradients(batch, None)[0]
    assert len(batch.rows) == B and total == sum(2.0**row for row in batch.rows)


# -- saved by two, taken up by one or four ---------------------------------------------------------------------------

@pytest.fixture(scope="module")
def saved_by_two(tmp_path_factory):
    "Two ranks; the second is sent a signal at step 5, and both stop."
    out = tmp_path_factory.mktemp("two")
    ranks(2, out, do="stop")
    return out


def as_if_alone(out, name, layout, tmp_path):
    config, rows, recipe = run_of(name, tmp_path, steps=10, scores=2)
    train(tmp_path/"alone", config, TOKENIZER, rows, rows[:8], recipe, device=CPU)
    ours, alone = (read_metrics(folder) for folder in (out/f"{name}.{layout}", tmp_path/"alone"))
    assert [row["step"] for row in ours] == [row["step"] for row in alone] == [5, 10]
    for a, b in zip(ours, alone): assert abs(a["dev_loss"] - b["dev_loss"]) < 1e-4 and abs(a["loss"] - b["loss"]) < 1e-4


@pytest.mark.parametrize("name, layout", [("lstm", "DDP"), ("transformer", "FSDP")])
def test_one_goes_on_with_what_two_have_saved(saved_by_two, tmp_path, name, layout):
    shutil.copytree(saved_by_two/f"{name}.{layout}", tmp_path/f"{name}.{layout}")
    assert json.loads((tmp_path/f"{name}.{layout}"/"checkpoints"/"last").read_text())["step"] == 5
    go_on(name, tmp_path/f"{name}.{layout}", 10)
    as_if_alone(tmp_path, name, layout, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_two_or_four_go_on_with_what_two_have_saved(saved_by_two, tmp_path, number):
    shutil.copytree(saved_by_two, tmp_path/"out")
    ranks(number, tmp_path/"out", do="go on")
    for name, layout in (("lstm", "DDP"), ("transformer", "FSDP")): as_if_alone(tmp_path/"out", name, layout, tmp_path/name)


# -- the command, and a rank that dies -------------------------------------------------------------------------------

COMMAND = """
import os, signal, sys
from lmnb import cli, train
advance, what = train.Run.advance, os.environ.get("WHAT")
def advanced(self):
    if what and self.step == 5 and self.ranks.rank == 1: os.kill(os.getpid(), getattr(signal, what))
    return advance(self)
train.Run.advance = advanced
cli.main()
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path/"command.py"
    script.write_text(COMMAND)
    return [script, "train", "--data", "sentiment_en", "--model", "lstm-tiny", "--batch", "8", "--out", tmp_path/"run"]


def test_the_same_command_under_torchrun(command, tmp_path):
    "One rank speaks, the run is there, and is scored."
    done = torchrun(2, *command, "--steps", "6")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(str(tmp_path/"run")) == 1 and (tmp_path/"run"/"scores.json").is_file()


def dies(command, monkeypatch, what):
    monkeypatch.setenv("WHAT", what)
    began = time.monotonic()
    done = torchrun(2, *command, "--steps", "100000")
    return done, time.monotonic() - began


def test_a_rank_that_is_killed_ends_the_other(command, monkeypatch):
    "Within a minute of its death (the start is counted in here), with an exit code."
    done, seconds = dies(command, monkeypatch, "SIGKILL")
    assert done.returncode and "Signal 9" in done.stderr and seconds < 60 + 60


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_other(command, monkeypatch):
    done, seconds = dies(command, monkeypatch, "SIGSTOP")
    assert done.returncode and "another rank has died or does not answer" in done.stderr and seconds < 120


def test_two_ranks_do_not_share_a_card(monkeypatch):
    for name, value in (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "9")): monkeypatch.setenv(name, value)
    for name, found in (("is_available", True), ("device_count", 1)): monkeypatch.setattr(torch.cuda, name, lambda found=found: found)
    with pytest.raises(UsageError, match="9 processes cannot share 1 graphics"): pick_device()


# -- a graphics card -------------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@gpu
def test_a_card_is_used_without_being_asked(tmp_path, monkeypatch):
    assert pick_device().type == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert pick_device() == torch.device("cuda:0")
    config, rows, recipe = run_of("lstm", tmp_path, steps=4)
    run = Run(tmp_path, config, TOKENIZER, rows, rows, recipe)
    run.advance()
    assert next(run.model.parameters()).is_cuda


@gpu
def test_a_card_computes_what_the_processor_does(tmp_path):
    for name in CASES:
        on_card, on_processor = (steps_of(name, tmp_path, 5, device=torch.device(device)) for device in ("cuda", "cpu"))
        assert max(abs(a - b) for a, b in zip(on_card[1], on_processor[1])) < 1e-3


@gpu
def test_resumed_on_a_card_is_uninterrupted(tmp_path):
    "Dropout's dice on the card are a function of the step too."
    config, rows, recipe = run_of("lstm", tmp_path, steps=6, scores=3)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dropout": 0.3})})
    train(tmp_path/"whole", config, TOKENIZER, rows, rows, recipe)
    def stop(facts):
        if facts["step"] == 4: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): train(tmp_path/"parts", config, TOKENIZER, rows, rows, recipe, on_step=stop)
    train(tmp_path/"parts", config, TOKENIZER, rows, rows, recipe, resume=True)
    a, b = (load_file(tmp_path/name/"checkpoints"/"step-6"/"model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)


if __name__ == "__main__": program(Path(sys.argv[1]), json.loads(sys.argv[2]))
