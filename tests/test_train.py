"""Runs: resumed is the same as uninterrupted, damage is refused, and every task learns."""
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from lmnb.checkpoint import Config, TaskConfig, load_checkpoint, open_checkpoint, save_checkpoint
from lmnb.collect import DataSet
from lmnb.core import CorruptError, InputError, NonFiniteError, UsageError
from lmnb.generate import sample_of
from lmnb.models.heads import build_model
from lmnb.models.zoo import preset
from lmnb.serve import token_losses
from lmnb.stability import find_rate
from lmnb.task import NOTHING, Batch, alone, apart, best_threshold, carried_pieces, class_weights, draw_words, label_probabilities, predict_labels, task_of, uneven_loss
from lmnb.tokenize import EOS, Tokenizer, load_tokenizer
from lmnb.train import Muon, Recipe, Run, fit, orthogonalize, plan, read_metrics, tensorboard, train

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


class Stopped(Exception): pass


def resumed_is_whole(tmp_path, config, tokenizer, rows, recipe):
    "Stop a run of 12 steps and 3 scores after the second, go on, and compare weights and scores with one that was never stopped."
    def stop(facts):
        if facts["step"] == 8: raise Stopped
    train(tmp_path/"whole", config, tokenizer, rows, rows, recipe)
    with pytest.raises(Stopped): train(tmp_path/"parts", config, tokenizer, rows, rows, recipe, on_step=stop)
    train(tmp_path/"parts", config, tokenizer, rows, rows, recipe, resume=True)
    whole, parts = (load_file(tmp_path/name/"checkpoints"/"step-12"/"model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    losses = [[row["dev_loss"] for row in read_metrics(tmp_path/name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 3


def task_case(task, architecture):
    "Configuration, tokenizer and rows of a task."
    texts = [value for row in ROWS[task] for value in row.values() if isinstance(value, str)]
    tokenizer = Tokenizer.train("word" if task == "answer" else "char", texts)
    labels = ["bad", "good"] if task == "classify" else []
    return Config(task=TaskConfig(name=task, labels=labels), model=preset(f"{architecture}-tiny", task=task, vocab_size=tokenizer.vocab_size, dropout=0.0)), tokenizer, ROWS[task]


SPAM = [{"text": f"win cash number {i}", "label": "spam"} for i in range(4)] + [{"text": f"see you at {i} tonight", "label": "ham"} for i in range(28)]


def spam_config(**model):
    tokenizer = Tokenizer.train("word", [row["text"] for row in SPAM])
    return Config(task=TaskConfig(name="classify", labels=["ham", "spam"]), model=preset("gru-tiny", task="classify", vocab_size=tokenizer.vocab_size, **model)), tokenizer


@pytest.mark.parametrize("cure", [dict(balance="weights"), dict(balance="sampling"), dict(focal=2.0), dict(balance="weights", focal=0.5, accumulate=3)])
def test_resumed_is_uninterrupted_with_rare_labels(cure, tmp_path):
    config, tokenizer = spam_config()
    resumed_is_whole(tmp_path, config, tokenizer, SPAM, Recipe(steps=12, batch=5, rate=0.01, scores=3, **cure))


def test_cures_change_training_and_not_the_score(tmp_path):
    config, tokenizer = spam_config(dropout=0.0)
    runs = {name: Run(tmp_path, config, tokenizer, SPAM, SPAM, Recipe(steps=9, batch=8, **cure)) for name, cure in
            {"none": {}, "weights": dict(balance="weights"), "sampling": dict(balance="sampling"), "focal": dict(focal=2.0)}.items()}
    assert len({run.task.score(run.model, run.dev)["loss"] for run in runs.values()}) == 1           # the same first weights, the plain loss
    losses = {name: [run.advance() for _ in range(6)] for name, run in runs.items()}
    assert len({tuple(found) for found in losses.values()}) == 4
    def spam_share(run): return sum(SPAM[row]["label"] == "spam" for step in range(40) for row in run.task.batch(run.examples, step=step, size=8, seed=0).rows)/320
    assert spam_share(runs["none"]) == 4/32 and 0.4 < spam_share(runs["sampling"]) < 0.6


def test_weighted_and_focal_loss_are_their_formulas():
    logits, target, weight = torch.randn(50, 3, dtype=torch.float64), torch.randint(3, (50,)), torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    p = logits.softmax(1)[torch.arange(50), target]
    for gamma in (0.0, 0.5, 2.0):
        torch.testing.assert_close(uneven_loss(logits, target, weight_C=weight, focal=gamma), -(weight[target]*(1 - p)**gamma*p.log()).sum())
    assert class_weights(torch.tensor([0, 0, 0, 1]).numpy(), 3).tolist() == [4/6, 2.0, 0.0]            # the third never occurs
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    uneven_loss(sure, torch.tensor([0]), focal=0.5).backward()
    assert sure.grad.isfinite().all()                                                                  # p = 1: (1 - p)^0.5 has no slope there


def test_a_threshold_is_chosen_kept_and_used(tmp_path):
    config, tokenizer = spam_config()
    run = train(tmp_path/"run", config, tokenizer, SPAM, SPAM, Recipe(steps=30, batch=8, rate=0.01, scores=2, threshold=True))
    checkpoint = open_checkpoint(run)                                                                  # its seal is whole again
    assert set(checkpoint.config.task.threshold) == {"spam"}
    said = predict_labels(checkpoint, [row["text"] for row in SPAM])
    p_N, gold = label_probabilities(checkpoint, [row["text"] for row in SPAM])[:, 1], [row["label"] for row in SPAM]
    assert said == ["spam" if p >= checkpoint.config.task.threshold["spam"] else "ham" for p in p_N]
    def f1(said): return 2*sum(s == g == "spam" for s, g in zip(said, gold))/(said.count("spam") + gold.count("spam"))
    assert f1(said) >= max(f1(["spam" if p >= t else "ham" for p in p_N]) for t in p_N)
    with pytest.raises(InputError, match="no example"): best_threshold(p_N, p_N < 0)


@pytest.mark.parametrize("task", ["lm", "translate"])
def test_cures_for_labels_are_refused_elsewhere(task, tmp_path):
    with pytest.raises(UsageError, match="for labels"):
        task_of(TaskConfig(name=task), TOKENIZER).prepare([], Recipe(balance="weights"))


@pytest.mark.parametrize("wrong", [dict(balanse="weights"), dict(balance="wieghts"), dict(focal=-1.0), dict(learning_rate=0.1), dict(width=64)])
def test_an_unknown_option_is_refused_before_anything_is_written(wrong, tmp_path):
    with pytest.raises(UsageError) as error: fit(tmp_path/"run", task="classify", model="bag", data="sentiment_en", **wrong)
    assert next(iter(wrong)) in str(error.value) and "\n" not in str(error.value) and not (tmp_path/"run").exists()


DOCUMENTS = [{"text": f"{i} cats and {i*i} dogs sat on the mat. 猫和狗。"} for i in range(40)]


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm", "transformer", "bag"])
def test_isolated_documents_do_not_see_each_other(architecture, tmp_path):
    "Changing one document changes no loss of another; with the documents as rows of their own the loss is the same."
    tokenizer = Tokenizer.train("char", [row["text"] for row in DOCUMENTS])
    config = Config(task=TaskConfig(name="lm", length=30, isolate=True), model=preset(f"{architecture}-tiny", task="lm", vocab_size=tokenizer.vocab_size, dropout=0.0))
    run = Run(tmp_path, config, tokenizer, DOCUMENTS, DOCUMENTS, Recipe(steps=3, batch=8, precision="fp32"))
    run.model.double().eval()
    batch = run.task.batch(run.examples, step=0, size=8, seed=0)
    ids, target = (x.to(run.device) for x in (batch.inputs["ids_BT"], batch.target))
    document = (ids == EOS).cumsum(1)
    assert (document[:, -1] > 0).any()
    def losses(ids):
        index, mask = apart(ids, tokenizer.eos)
        rows, asked, context = alone(ids, target, tokenizer.eos)
        logits = run.model(rows, **context)[0]
        found = torch.full(ids.shape, float("nan"), dtype=torch.float64, device=ids.device)
        found.view(-1)[index[mask]] = torch.nn.functional.cross_entropy(logits[mask], asked[mask], reduction="none")
        return found
    changed = torch.where((document == 0) & (ids != EOS), (ids + 1).clamp(max=tokenizer.vocab_size - 1), ids)      # the first document of each row
    before, after = losses(ids), losses(changed)
    assert before.isfinite().all()
    torch.testing.assert_close(after[document > 0], before[document > 0], rtol=0, atol=1e-10)
    assert not torch.allclose(after[document == 0], before[document == 0])
    scored = SimpleNamespace(model=run.model.cpu(), tokenizer=tokenizer, config=config)
    assert token_losses(scored, run.dev).mean() == pytest.approx(run.task.score(run.model, run.dev)["loss"], abs=1e-6)       # the test part is read as the development part


@pytest.mark.parametrize("changes", [dict(precision="fp16"), dict(recompute=True)])
def test_resumed_is_uninterrupted_with_other_arithmetic(changes, tmp_path):
    resumed_is_whole(tmp_path, lm_config("transformer", dropout=0.2), TOKENIZER, TEXT, Recipe(steps=12, batch=4, rate=0.01, scores=3, **changes))


def test_resumed_is_uninterrupted_with_isolated_documents(tmp_path):
    tokenizer = Tokenizer.train("char", [row["text"] for row in DOCUMENTS])
    config = Config(task=TaskConfig(name="lm", length=30, isolate=True), model=preset("lstm-tiny", task="lm", vocab_size=tokenizer.vocab_size, dropout=0.2))
    resumed_is_whole(tmp_path, config, tokenizer, DOCUMENTS, Recipe(steps=12, batch=4, rate=0.01, scores=3))


def test_recomputed_blocks_keep_less_and_give_the_same_weights(tmp_path):
    weights, kept = [], []
    for again in (False, True):
        run = Run(tmp_path, lm_config("transformer", dropout=0.2), TOKENIZER, TEXT, TEXT, Recipe(steps=5, batch=4, precision="fp32", recompute=again))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t): run.advance()
        run.advance()
        weights.append([p.detach().clone() for p in run.model.parameters()]); kept.append(sum(sizes))
    assert all(torch.equal(a, b) for a, b in zip(*weights)) and kept[1] < kept[0]/2, kept


def test_a_scale_that_is_too_large_is_halved_and_the_step_left_out(tmp_path):
    run = Run(tmp_path, lm_config("transformer", dropout=0.0), TOKENIZER, TEXT, TEXT, Recipe(steps=40, batch=4, rate=0.01, precision="fp16"))
    run.scale, before = 2.0**120, [p.detach().clone() for p in run.model.parameters()]
    run.advance()
    assert run.scale == 2.0**119 and run.step == 1 and all(torch.equal(a, b) for a, b in zip(before, run.model.parameters()))
    run.scale = 2.0**10
    losses = [run.advance() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.5
    run.calm = 999; run.advance()
    assert run.scale == 2.0**11
    with torch.no_grad(): next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteError): run.advance()


@pytest.mark.parametrize("architecture, changes", [("gru", dict(ema=0.9)), ("transformer", dict(ema=0.99, optimizer="muon")), ("lstm", dict(ema=0.9, accumulate=2, patience=3))])
def test_resumed_is_uninterrupted_with_averaged_weights(architecture, changes, tmp_path):
    config = lm_config(architecture, carry=architecture != "transformer", dropout=0.2)
    resumed_is_whole(tmp_path, config, TOKENIZER, TEXT, Recipe(steps=12, batch=4, rate=0.01, scores=3, **changes))


def test_the_averaged_weights_are_the_model(tmp_path):
    "The mean is the formula's; it is what is scored and saved; and training goes on from the other ones."
    recipe = dict(steps=6, batch=4, rate=0.01, precision="fp32")
    plain, run = (Run(tmp_path/name, lm_config("gru", dropout=0.0), TOKENIZER, TEXT, TEXT, Recipe(**recipe, ema=ema)) for name, ema in (("a", 0.0), ("b", 0.8)))
    mean = [p.detach().clone() for p in plain.model.parameters()]
    for step in range(1, 7):
        plain.advance(); run.advance()
        keep = min(0.8, (1 + step)/(10 + step))
        mean = [keep*m + (1 - keep)*p.detach() for m, p in zip(mean, plain.model.parameters())]
    trained = [p.detach().clone() for p in run.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(trained, plain.model.parameters()))
    for a, b in zip(run.average, mean): torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    score = run.evaluate()
    saved = load_checkpoint(tmp_path/"b"/"checkpoints"/"step-6").model
    for a, b in zip(saved.parameters(), mean): torch.testing.assert_close(a, b.cpu(), rtol=0, atol=1e-6)
    assert run.task.score(saved.to(run.device), run.dev)["loss"] == pytest.approx(score["loss"], abs=1e-6) != plain.task.score(plain.model, plain.dev)["loss"]
    assert all(torch.equal(a, b) for a, b in zip(trained, run.model.parameters()))


def test_patience_ends_a_run_and_a_resumed_one(tmp_path):
    noise = [{"text": "".join(TOKENIZER.decode([i]) for i in torch.randint(8, TOKENIZER.vocab_size, (400,), generator=torch.Generator().manual_seed(1)).tolist())}]
    recipe = Recipe(steps=400, batch=4, rate=0.05, decay=0, scores=40, patience=2)
    def outcome(name): return [row["dev_loss"] for row in read_metrics(tmp_path/name)]
    train(tmp_path/"whole", lm_config("gru"), TOKENIZER, noise, TEXT, recipe)
    losses = outcome("whole")
    assert len(losses) < 40 and losses[-3] == min(losses)                          # two in a row that were no better
    assert json.loads((tmp_path/"whole"/"checkpoints"/"best").read_text())["loss"] == min(losses)
    def stop(facts):
        if facts["step"] == 10: raise Stopped
    with pytest.raises(Stopped): train(tmp_path/"parts", lm_config("gru"), TOKENIZER, noise, TEXT, recipe, on_step=stop)
    for _ in range(2): train(tmp_path/"parts", lm_config("gru"), TOKENIZER, noise, TEXT, recipe, resume=True)      # the second finds it finished
    assert outcome("parts") == losses


@pytest.mark.parametrize("task", ["lm", *ROWS])
@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_samples_stand_in_the_log_and_change_nothing(task, architecture, tmp_path):
    config, tokenizer, rows = (lm_config(architecture, carry=architecture == "gru"), TOKENIZER, TEXT) if task == "lm" else task_case(task, architecture)
    losses = []
    for hook in (None, sample_of):
        run = train(tmp_path/str(bool(hook)), config, tokenizer, rows, rows, Recipe(steps=6, batch=4, scores=2, ema=0.5), on_score=hook)
        losses.append([row["dev_loss"] for row in read_metrics(run)])
    assert losses[0] == (losses[1] if not torch.cuda.is_available() else pytest.approx(losses[1], rel=1e-5))      # a card adds up in any order
    samples = [row.get("sample") for row in read_metrics(run)]
    assert samples == [None, None] if task in ("classify", "answer") else all(isinstance(text, str) for text in samples)
    assert task != "lm" or all(text.startswith(TEXT[0]["text"][:16]) and len(text) > 16 for text in samples)


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="lmnb[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run = train(tmp_path/"run", lm_config("gru"), TOKENIZER, TEXT, TEXT, Recipe(steps=6, batch=4, scores=3), on_score=tensorboard(tmp_path/"run"))
    found = EventAccumulator(str(run)); found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("dev_loss")] == [(row["step"], pytest.approx(row["dev_loss"], rel=1e-6)) for row in read_metrics(run)]     # written in float32


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r"lmnb\[tensorboard\]"): tensorboard(tmp_path)


def test_the_rate_finder_finds_a_rate_that_learns(tmp_path):
    "And a rate that explodes ends the search."
    config = lm_config("gru", dropout=0.0)
    found = find_rate(config, TOKENIZER, TEXT, Recipe(batch=8), steps=60)
    assert list(found.rates) == sorted(found.rates) and len(found.rates) == len(found.losses) == len(found.smooth) and 1e-5 < found.suggested < 1
    runs = {rate: Run(tmp_path, config, TOKENIZER, TEXT, TEXT, Recipe(steps=40, batch=8, rate=rate)) for rate in (found.suggested, found.suggested/100)}
    losses = {rate: [run.advance() for _ in range(40)][-1] for rate, run in runs.items()}
    assert losses[found.suggested] < losses[found.suggested/100] - 0.5
    both = find_rate(lm_config("transformer"), TOKENIZER, TEXT, Recipe(batch=8, optimizer="muon"), steps=20)           # both rates grow
    assert both.suggested > 0
    wild = find_rate(config, TOKENIZER, TEXT, Recipe(batch=8, optimizer="sgd"), low=1e20, high=1e35, steps=60)
    assert 0 < len(wild.rates) < 60


def test_compiling_needs_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", ""); monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match="C\\+\\+ compiler"): Run(tmp_path, lm_config("transformer"), TOKENIZER, TEXT, TEXT, Recipe(steps=5, batch=4, compile=True), device=torch.device("cpu"))


@pytest.mark.slow        # a compiler takes its time
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_compiled_blocks_compute_the_same_and_resume(tmp_path):
    losses = []
    for how in (False, True):
        run = Run(tmp_path, lm_config("transformer", dropout=0.0, layers=1), TOKENIZER, TEXT, TEXT, Recipe(steps=5, batch=4, precision="fp32", compile=how))
        losses.append([run.advance() for _ in range(3)])
        assert [block._compiled_call_impl is not None for block in run.model.backbone.blocks] == [how]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert not any("_orig_mod" in name for name in run.model.state_dict())
    resumed_is_whole(tmp_path, lm_config("transformer", dropout=0.2, layers=1), TOKENIZER, TEXT, Recipe(steps=12, batch=4, rate=0.01, scores=3, compile=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card here")
@pytest.mark.parametrize("changes", [dict(precision="fp16"), dict(precision="bf16"), dict(compile=True), dict(recompute=True)])
def test_a_graphics_card_learns_with_every_arithmetic(changes, tmp_path):
    run = Run(tmp_path, lm_config("transformer", dropout=0.0), TOKENIZER, TEXT, TEXT, Recipe(steps=60, batch=8, rate=0.01, **changes))
    losses = [run.advance() for _ in range(40)]
    assert run.device.type == "cuda" and losses[-1] < losses[0] - 1


def test_carry_and_isolate_exclude_each_other():
    data = DataSet("few", "lm", ("en",), "none", {"train": TEXT, "dev": TEXT})
    with pytest.raises(UsageError, match="exclude"): plan("lm", "lstm", data, carry=True, isolate=True)
    assert not plan("lm", "lstm", data, isolate=True)[1]["carry"]


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.parametrize("architecture", ["lstm", "transformer"])
def test_every_task_learns_its_examples(task, architecture, tmp_path):
    config, tokenizer, _ = task_case(task, architecture)
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
    else: config, tokenizer, rows = task_case(task, architecture)
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


@pytest.mark.parametrize("N", [1, 2, 50, 8192, 8193, 20_000])
def test_every_token_but_the_first_is_scored_once(N):
    pieces = list(carried_pieces(torch.arange(N + 1), rows=3))
    targets = torch.cat([piece.target for piece in pieces], 1)
    assert targets[targets != NOTHING].equal(torch.arange(1, N + 1))
    assert all((piece.target[piece.target != NOTHING] == piece.inputs["ids_BT"][piece.target != NOTHING] + 1).all() for piece in pieces)
    assert [piece.fresh for piece in pieces] == [True] + [False]*(len(pieces) - 1)


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_several_readers_score_as_one(architecture):
    torch.manual_seed(0)
    model, losses = build_model(lm_config(architecture, carry=True).model).eval(), []
    task, stream = task_of(TaskConfig(name="lm", carry=True), TOKENIZER), torch.randint(8, TOKENIZER.vocab_size, (16_500,))
    for rows in (1, 4):
        state, nats = None, 0.0
        for batch in carried_pieces(stream, rows=rows):
            with torch.no_grad(): loss, _, _, state = task.loss(model, batch, None if batch.fresh else state)
            nats += loss.item()
        losses.append(nats/(len(stream) - 1))
    assert abs(losses[0] - losses[1]) < 1e-5


def test_a_sample_of_the_words_points_the_same_way():
    "The gradient against a sample, averaged over many samples, is that against all words."
    config = TaskConfig(name="lm", carry=False)
    model = build_model(preset("lstm-tiny", task="lm", vocab_size=2000)).double().train()
    ids = torch.randint(2000, (4, 33))
    batch = Batch({"ids_BT": ids[:, :-1]}, ids[:, 1:])
    def gradient(candidates):
        model.zero_grad()
        task_of(config.model_copy(update={"candidates": candidates}), TOKENIZER).loss(model, batch)[0].backward()
        return torch.cat([p.grad.flatten() for p in model.backbone.parameters()])
    torch.manual_seed(0)
    whole, some = gradient(0), torch.stack([gradient(600) for _ in range(40)]).mean(0)
    assert torch.cosine_similarity(whole, some, dim=0) > 0.99 and 0.9 < some.norm()/whole.norm() < 1.1


def test_frequent_words_are_always_there():
    word, log_times = draw_words(100, 5000, "cpu")
    assert word[:50].equal(torch.arange(50)) and len(word) == 100 and word[50:].min() >= 50 and (log_times[:50] == 0).all()


def test_muon_takes_each_gate_by_itself(tmp_path):
    run = Run(tmp_path, lm_config("lstm", carry=True), TOKENIZER, TEXT, TEXT, Recipe(steps=4, optimizer="muon"))
    muon = next(optimizer for optimizer in run.optimizers if isinstance(optimizer, Muon))
    assert {id(p) for group in muon.param_groups for p in group["params"]} == {id(p) for name, p in run.model.named_parameters() if "weight_" in name and "layers" in name}
    torch.manual_seed(0)
    stacked = torch.nn.Parameter(torch.zeros(64, 16))
    stacked.grad = torch.randn(64, 16)*torch.tensor([1.0, 10, 0.1, 3]).repeat_interleave(16)[:, None]
    Muon([{"params": [stacked], "gates": 4}], lr=1.0).step()
    for gate, grad in zip(stacked.detach().chunk(4), stacked.grad.chunk(4)):            # bfloat16: not to the last digit
        assert torch.cosine_similarity(-gate.flatten(), orthogonalize(grad[None]).flatten(), dim=0) > 0.999 and abs(gate.norm() - 16**0.5) < 1
    before = run.model.backbone.layers[0][0].weight_hh_l0.detach().clone()
    run.advance()
    assert not torch.equal(before, run.model.backbone.layers[0][0].weight_hh_l0)


def test_minimal_pairs_of_a_trained_model(tmp_path):
    "A model of a very regular text prefers its order; the scores are kept under the name of the set."
    from lmnb.collect import DataSet
    from lmnb.serve import evaluate_run, read_scores
    data = DataSet("animals", "lm", ("en",), "none", {"train": [{"text": "the cat sat on the mat\n"*200}], "dev": [{"text": "the cat sat on the mat\n"*5}]})
    run = fit(tmp_path/"animals"/"gru", task="lm", model="gru-tiny", data=data, tokenizer_kind="char", steps=60, batch=8, length=23, rate=0.02)
    pairs = DataSet("pairs", "pairs", ("en",), "none", {"test": [{"good": "the cat sat on the mat", "bad": "the mat sat no the cat", "phenomenon": "order"}]*3})
    scores = evaluate_run(run, pairs)["pairs-test"]
    assert [(score.metric, score.value, score.n) for score in scores] == [("pairs", 100, 3), ("pairs: order", 100, 3)]
    assert read_scores(run)[0]["pairs-test"] == scores
    with pytest.raises(UsageError, match="a data set for translate"): evaluate_run(run, DataSet("other", "translate", ("en",), "none", {"test": []}))
