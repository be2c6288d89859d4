"""Choices of the recipe: each one does what it says, and none is ignored without a word."""
import subprocess
import sys

import pytest
import torch

from lmnb.checkpoint import Config, TaskConfig, open_checkpoint
from lmnb.collect import DataSet
from lmnb.core import UsageError
from lmnb.models.bag import buckets_for
from lmnb.models.heads import build_model
from lmnb.models.zoo import preset
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run, fit, optimizers, plan, rate_at, read_metrics, train

ROWS = [{"text": f"the film number {i} was {'good' if i % 2 else 'bad'}. 第{i}部电影。", "label": str(i % 2), "language": "en"} for i in range(40)]
DATA = DataSet("films", "classify", ("en",), "own", {"train": ROWS, "dev": ROWS[:10], "test": ROWS[10:20]})
TEXT = [{"text": "the cat sat on the mat. 猫坐在垫子上。 "*60}]


def lm(name="transformer-tiny"):
    tokenizer = Tokenizer.train("char", [TEXT[0]["text"]])
    return Config(task=TaskConfig(name="lm", length=16), model=preset(name, task="lm", vocab_size=tokenizer.vocab_size)), tokenizer


def test_the_floor_is_a_choice():
    assert rate_at(1.0, Recipe()) == 0.02 and rate_at(1.0, Recipe(floor=0.0)) == 0 and rate_at(1.0, Recipe(floor=0.3, schedule="cosine")) == 0.3
    assert rate_at(0.0, Recipe(floor=0.0, warmup=0.0)) == 1


@pytest.mark.parametrize("fields, adam, muon", [
    ({}, ((0.8, 0.95), 0.0), 0.0), ({"weight_decay": 0.1}, ((0.8, 0.95), 0.1), 0.1), ({"beta1": 0.5, "beta2": 0.6, "weight_decay": 0.0}, ((0.5, 0.6), 0.0), 0.0)])
def test_betas_and_decay_beside_muon(fields, adam, muon):
    found = optimizers(build_model(lm()[0].model), Recipe(optimizer="muon", **fields))
    assert (found[0].defaults["betas"], found[0].defaults["weight_decay"]) == adam and found[1].defaults["weight_decay"] == muon


def test_defaults_of_adam_are_what_they_were():
    found, = optimizers(build_model(lm("lstm-tiny")[0].model), Recipe())
    assert found.defaults["betas"] == (0.9, 0.99) and found.defaults["weight_decay"] == 0.01


def test_muon_shrinks_its_matrices_apart_from_the_gradient():
    model = build_model(lm()[0].model)
    weights = [p for name, p in model.named_parameters() if ".blocks." in name and p.dim() == 2]
    before, (_, muon) = [w.detach().clone() for w in weights], optimizers(model, Recipe(optimizer="muon", weight_decay=0.5, muon_rate=0.1))
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    muon.step()
    assert all(torch.allclose(w, b*0.95, atol=1e-6) for w, b in zip(weights, before))


@pytest.mark.parametrize("model, changes, said", [
    ("lstm", dict(muon_rate=0.1), "muon_rate"), ("bag", dict(optimizer="muon"), "optimizer"), ("lstm", dict(optimizer="sgd", beta1=0.5), "beta1"),
    ("lstm", dict(recompute=True), "recompute"), ("gru", dict(compile=True), "compile"), ("lstm", dict(decay=0.0, schedule="cosine"), "schedule"),
    ("lstm", dict(decay=0.0, floor=0.1), "floor")])
def test_a_choice_that_would_do_nothing_is_refused(model, changes, said):
    with pytest.raises(UsageError, match=f"{said} would do nothing"):
        plan("classify", model, DATA, **changes)


def test_the_other_choices_are_taken():
    plan("classify", "lstm", DATA, optimizer="muon", muon_rate=0.1, weight_decay=0.1, beta1=0.8, floor=0.0, patience=0, seed=3)
    plan("classify", "transformer", DATA, recompute=True, compile=False)


def test_seeds_out_of_range_are_one_line(tmp_path):
    code = "from lmnb.cli import main; main()"
    for arguments in (["train", "--data", "chat", "--seed", 2**64], ["train", "--data", "chat", "--seed", -1]):
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "seed" in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_bag_has_as_many_rows_as_its_data_needs(tmp_path):
    run = fit(tmp_path/"a", task="classify", model="bag", data=DATA, steps=3, scores=1)
    small = open_checkpoint(run).config.model.buckets
    assert small < 65_536
    fixed = fit(tmp_path/"b", task="classify", model="bag", data=DATA, steps=3, scores=1, model_changes={"buckets": 5000})
    assert open_checkpoint(fixed).config.model.buckets == 5000
    fit(tmp_path/"b", task="classify", model="bag", data=DATA, steps=6, scores=1, resume=True)      # goes on with its own table
    assert open_checkpoint(fixed).config.model.buckets == 5000


@pytest.mark.parametrize("rows, found", [([], 1024), ([[1]], 1024), ([range(2000)], 4096), ([range(10**6)], 65_536), ([[1, 2]*100_000], 1024)])
def test_buckets(rows, found):
    assert buckets_for(rows) == found


def state(patience, stale, rise):
    run = Run.__new__(Run)
    run.recipe, run.stale, run.rise = Recipe(patience=patience), stale, rise
    return run.enough


@pytest.mark.parametrize("patience, stale, rise, ends", [
    (None, 2, 9.0, False), (None, 3, 1.4, False), (None, 3, 1.5, True), (None, 50, 1.0, False), (0, 99, 9.0, False), (2, 1, 1.0, False), (2, 2, 1.0, True)])
def test_when_a_run_has_had_enough(patience, stale, rise, ends):
    assert state(patience, stale, rise) is ends


def test_learning_by_heart_ends_a_run(tmp_path):
    "Labels that mean nothing: the loss on other texts rises at once, and no score is better."
    config, tokenizer = lm("lstm-tiny")
    noise = [{"text": "abc 猫 mat the "*8}]
    notes = []
    run = train(tmp_path/"a", config, tokenizer, noise, TEXT, Recipe(steps=400, batch=8, rate=0.05, scores=40), on_note=notes.append)
    rows = read_metrics(run)
    assert rows[-1]["step"] < 400 and "patience" in notes[-1]
    assert rows[-1]["dev_loss"] >= 1.5*min(row["dev_loss"] for row in rows)


def test_short_documents_that_stand_alone_make_no_logits_for_padding():
    "Scoring reads a row for each document; only what is asked for reaches the output matrix."
    from lmnb.task import LanguageModel
    config, tokenizer = lm("lstm-tiny")
    task = LanguageModel(config.task.model_copy(update={"isolate": True}), tokenizer)
    model, stream = build_model(config.model), torch.randint(8, config.model.vocab_size, (16*40 + 1,), generator=torch.Generator().manual_seed(0))
    stream[3::4] = tokenizer.eos
    stream[100:160] = 9
    asked, logits = [], model.logits
    model.logits = lambda h, *rest: asked.append(h.shape[:-1].numel()) or logits(h, *rest)
    task.score(model, stream)
    assert sum(asked) == len(stream) - 1
