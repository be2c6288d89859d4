"""Runs: every task learns, gradients are exact, and a damaged checkpoint is refused in one line."""
import json

import pytest
import torch

from lmnb.checkpoint import Config, TaskConfig, load_checkpoint, open_checkpoint, save_checkpoint
from lmnb.core import CorruptError, InputError, NonFiniteError, UsageError
from lmnb.models.heads import build_model
from lmnb.models.zoo import preset
from lmnb.task import task_of
from lmnb.tokenize import Tokenizer, load_tokenizer
from lmnb.train import Recipe, Run, read_metrics, train

TEXT = [{"text": "the cat sat on the mat, and the dog sat on the log; 猫坐在垫子上,狗坐在木头上。 "*60}]
TOKENIZER = Tokenizer.train("char", [TEXT[0]["text"]])
ROWS = {
    "classify": [{"text": text, "label": label} for text, label in (("a fine day", "good"), ("a bad day", "bad"), ("fine, fine", "good"), ("bad, so bad", "bad"))]*8,
    "translate": [{"source": "one two", "target": "一二"}, {"source": "two one", "target": "二一"}]*8,
    "summarize": [{"text": "one two three", "summary": "three"}, {"text": "two one four", "summary": "four"}]*8,
    "answer": [{"passage": "the cat is red", "question": "what is red?", "answer": "cat", "start": 4}, {"passage": "the dog is blue", "question": "what is blue?", "answer": "dog", "start": 4}]*8,
    "chat": [{"user": "hello", "answer": "hi!"}, {"user": "bye", "answer": "see you"}]*8,
}


def lm_config(architecture, *, carry=False, **model):
    return Config(task=TaskConfig(name="lm", length=24, carry=carry), model=preset(f"{architecture}-tiny", task="lm", vocab_size=TOKENIZER.vocab_size, **model))


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.parametrize("architecture", ["lstm", "transformer"])
def test_every_task_learns_its_examples(task, architecture, tmp_path):
    texts = [value for row in ROWS[task] for value in row.values() if isinstance(value, str)]
    tokenizer = Tokenizer.train("word" if task == "answer" else "char", texts)
    labels = ["bad", "good"] if task == "classify" else []
    config = Config(task=TaskConfig(name=task, labels=labels), model=preset(f"{architecture}-tiny", task=task, vocab_size=tokenizer.vocab_size, dropout=0.0))
    recipe = Recipe(steps=80, batch=8, rate=0.01, optimizer="muon" if architecture == "transformer" else "adamw", scores=2)
    run = train(tmp_path/"run", config, tokenizer, ROWS[task], ROWS[task], recipe)
    assert read_metrics(run)[-1]["dev_accuracy"] > 0.95


def test_a_run_is_not_overwritten(tmp_path):
    train(tmp_path/"run", lm_config("bag"), TOKENIZER, TEXT, TEXT, Recipe(steps=2, batch=4))
    with pytest.raises(UsageError, match="already holds a run"): train(tmp_path/"run", lm_config("bag"), TOKENIZER, TEXT, TEXT, Recipe(steps=2))


def test_a_loss_that_is_no_number_stops_before_the_update(tmp_path):
    run = Run(tmp_path, lm_config("transformer"), TOKENIZER, TEXT, TEXT, Recipe(steps=5, batch=4))
    with torch.no_grad(): run.model.output.weight[0, 0] = float("nan")
    before = [p.clone() for p in run.model.backbone.parameters()]
    with pytest.raises(NonFiniteError, match="step 0"): run.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.backbone.parameters()))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")/"c"
    config = lm_config("gru")
    save_checkpoint(folder, build_model(config.model), TOKENIZER, config)
    return folder


def copy_of(checkpoint, tmp_path):
    import shutil
    return shutil.copytree(checkpoint, tmp_path/"c")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("how", ["cut", "flip", "gone", "empty"])
def test_a_damaged_checkpoint_is_refused_in_one_line(checkpoint, tmp_path, name, how):
    folder = copy_of(checkpoint, tmp_path)
    content = bytearray((folder/name).read_bytes())
    if how == "gone": (folder/name).unlink()
    elif how == "flip": content[len(content)//2] ^= 4; (folder/name).write_bytes(content)
    else: (folder/name).write_bytes(content[:len(content)//2] if how == "cut" else b"")
    with pytest.raises(CorruptError) as error: load_checkpoint(folder)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', '{"files": {"model.safetensors": 1}}', "\xff"])
def test_a_manifest_that_is_none_is_refused(checkpoint, tmp_path, content):
    folder = copy_of(checkpoint, tmp_path)
    (folder/"manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(CorruptError): load_checkpoint(folder)


def reseal(folder):
    from lmnb.checkpoint import seal
    seal(folder)


@pytest.mark.parametrize("change", [{"format": 2}, {"extra": 1}, {"model": {"architecture": "os.system", "vocab_size": 3}},
                                    {"model": {"architecture": "gru", "vocab_size": 10**12}}, {"task": {"name": "lm", "length": "3"}}])
def test_a_config_that_asks_for_something_else_is_refused(checkpoint, tmp_path, change):
    folder = copy_of(checkpoint, tmp_path)
    (folder/"config.json").write_text(json.dumps(json.loads((folder/"config.json").read_text()) | change))
    reseal(folder)
    with pytest.raises(CorruptError, match="config.json"): load_checkpoint(folder)


def test_weights_of_another_size_and_a_foreign_vocabulary_are_refused(checkpoint, tmp_path):
    folder = copy_of(checkpoint, tmp_path)
    config = json.loads((folder/"config.json").read_text())
    config["model"]["width"] = 48
    (folder/"config.json").write_text(json.dumps(config)); reseal(folder)
    with pytest.raises(CorruptError, match="does not fit"): load_checkpoint(folder)
    other = copy_of(checkpoint, tmp_path/"other")
    Tokenizer.train("char", ["abc"]).save(other); reseal(other)
    with pytest.raises(CorruptError, match="do not belong together"): load_checkpoint(other)


def test_what_is_no_checkpoint_is_said_so(tmp_path):
    with pytest.raises(InputError, match="not a folder"): open_checkpoint(tmp_path/"nothing")
    with pytest.raises(InputError): open_checkpoint(tmp_path)
    with pytest.raises(InputError): load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_control_ids_never_come_from_text(kind):
    tokenizer = Tokenizer.train(kind, ["<eos> <pad> <user> hello 你好"]*3, vocab_size=400)
    assert min(tokenizer.encode("<eos><pad> <user>")) >= 8


def test_an_epoch_shows_every_example_once():
    task = task_of(TaskConfig(name="chat"), TOKENIZER)
    examples = task.examples([{"user": "a"*n, "answer": "b"} for n in range(1, 24)])
    for epoch in (0, 3):
        seen = [row for at in range(task.per_epoch(examples, 5)) for row in task.batch(examples, step=epoch*task.per_epoch(examples, 5) + at, size=5, seed=1).rows]
        assert sorted(seen) == list(range(23))


@pytest.mark.parametrize("task", ["lm", *ROWS])
@pytest.mark.parametrize("architecture", ["gru", "lstm", "transformer"])
def test_accumulated_gradients_are_those_of_the_whole_batch(task, architecture, tmp_path):
    "However unequal the parts' numbers of targets, and with a carried state."
    if task == "lm": config, tokenizer, rows = lm_config(architecture, carry=architecture != "transformer"), TOKENIZER, TEXT
    else:
        texts = [value for row in ROWS[task] for value in row.values() if isinstance(value, str)]
        tokenizer, rows = Tokenizer.train("word" if task == "answer" else "char", texts), ROWS[task]
        config = Config(task=TaskConfig(name=task, labels=["bad", "good"] if task == "classify" else []),
                        model=preset(f"{architecture}-tiny", task=task, vocab_size=tokenizer.vocab_size, dropout=0.0))
    found = []
    for parts in (1, 3):
        run = Run(tmp_path, config, tokenizer, rows, rows, Recipe(steps=3, batch=7, precision="fp32", accumulate=parts))
        run.model.double()
        run.advance(); run.advance()
        found.append([p.detach().clone() for p in run.model.parameters()] + list(run.state.tensors if run.state else ()))
    assert len(found[0]) == len(found[1])
    for whole, parts in zip(*found): torch.testing.assert_close(parts, whole, rtol=0, atol=1e-9)


def test_a_full_memory_halves_the_parts(tmp_path):
    "And gives the step that a larger memory would have given."
    weights = []
    for most in (8, 2):
        run = Run(tmp_path, lm_config("lstm", carry=True, dropout=0.0), TOKENIZER, TEXT, TEXT, Recipe(steps=3, batch=8, precision="fp32"))
        whole = run.task.loss
        def loss(model, batch, state=None):
            if len(batch.target) > most: raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
            return whole(model, batch, state)
        run.task.loss = loss
        run.advance(); run.advance()
        weights.append([p.detach().clone() for p in run.model.parameters()])
    assert run.parts == 4
    for a, b in zip(*weights): torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    run.task.loss = lambda *_: (_ for _ in ()).throw(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"): run.advance()
