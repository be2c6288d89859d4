"Scores of the reader's own data: the metric's language, whole files, classical rows, intervals, and damaged runs."
import math
from pathlib import Path

import pytest

from lmnb.apps import summarize, translate
from lmnb.collect import load_dataset
from lmnb.evaluate import (answer_scores, bleu_score, classification_scores, exact_match, lm_scores, paired_difference,
                           rouge_scores, script_of, tie, units, wilson)

CASES = Path(__file__).parent / "cases"


def all_rows(name):
    "A case's data set and its rows, whatever part they fell into."
    data = load_dataset(str(CASES / name))
    return data, [row for rows in data.parts.values() for row in rows]


# ---- the language of a metric

@pytest.mark.parametrize("name", ["13-bleu-chinese/en_zh.csv", "13-bleu-chinese/zh_en.csv"])
def test_perfect_translations_score_a_hundred(name):
    data, rows = all_rows(name)
    (chrf, bleu), items = translate.scored([row["target"] for row in rows], rows, data.target)
    assert math.isclose(bleu.value, 100) and math.isclose(chrf.value, 100) and min(items) > 99.9
    assert f"tok:{'zh' if 'en_zh' in name else '13a'}|" in bleu.detail["signature"]


@pytest.mark.parametrize("name", ["14-rouge-chinese/zh.csv", "14-rouge-chinese/zh_one_english.csv"])
def test_perfect_summaries_score_a_hundred(name):
    data, rows = all_rows(name)
    scores, items = summarize.scored([row["summary"] for row in rows], rows, data.target)
    assert all(math.isclose(score.value, 100) for score in scores) and min(items) == 100


SENTENCES = {
    "": ["The cat sat on the mat.", "Кошка сидела на коврике у двери.", "جلست القطة على السجادة قرب الباب", "בחתול ישב על המחצלת ליד הדלת",
         "Η γάτα κάθισε στο χαλί δίπλα.", "बिल्ली दरवाज़े के पास चटाई पर बैठी थी", "Con mèo ngồi trên tấm thảm.", "pi is 3.14 or so"],
    "zh": ["猫坐在门边的垫子上。", "貓坐在門邊的墊子上。", "我用 Python 写了一个程序。", "张の店很有名,大家都喜欢去那里吃饭。", "𠮷野家里有一只猫和狗。"],
    "ja": ["猫がマットの上に座った。", "コンピュータを再起動してください。", "すべてのタブを閉じる"],
    "ko": ["고양이가 매트 위에 앉았다.", "모든 탭을 닫으십시오"],
    "th": ["แมวนั่งอยู่บนเสื่อ", "ແມວນັ່ງຢູ່ເທິງເສື່ອ", "ឆ្មាអង្គុយលើកម្រាល", "ကြောင်ကဖျာပေါ်ထိုင်နေတယ်"],
}


@pytest.mark.parametrize("code, text", [(code, text) for code, texts in SENTENCES.items() for text in texts])
def test_every_script_can_be_scored(code, text):
    assert script_of(text) == code
    assert math.isclose(bleu_score([text], [text]).value, 100)
    assert all(score.value == 100 for score in rouge_scores([text], [text]))
    assert all(score.value == 100 for score in answer_scores([text], [text]))
    half = text[:len(text) * 2 // 3]
    assert 0 < rouge_scores([half], [text])[0].value < 100


def test_a_mixed_set_is_cut_row_by_row():
    texts = [text for some in SENTENCES.values() for text in some]
    found = bleu_score(texts, texts)
    assert math.isclose(found.value, 100) and "tok:13a+char+zh|" in found.detail["signature"]
    assert found.detail["cut"] == {"13a": 8, "zh": 5, "char": 9}
    assert bleu_score(texts, texts[::-1]).value < 20


def test_the_reader_may_know_better():
    said, wanted = ["打开所有的文件夹"], ["打开所有的文件"]
    assert bleu_score(said, wanted, "en").value == 0 < bleu_score(said, wanted).value == bleu_score(said, wanted, "zh-CN").value
    assert "tok:char|" in bleu_score(said, wanted, "ja").detail["signature"]


def test_units_keep_letters_marks_and_signs():
    assert units("Über-Café's 3") == ["über", "café", "s", "3"] and units("हिन्दी") == ["हिन्दी"]
    assert units("🙂🙂") == ["🙂", "🙂"] and units(" … ") == ["…"] and units("") == []
    assert rouge_scores(["👍"], ["👍"])[0].value == 100 and rouge_scores([""], ["👍"])[0].value == 0
    assert units("Straße", "en") == ["stra", "e"]                                     # the package's own rule, where it is asked for
    assert exact_match(["«Война и мир»"], ["Война и мир"]).value == 100


def test_a_language_that_the_reader_names():
    from lmnb.collect import spoken_as
    from lmnb.core import UsageError
    data, rows = all_rows("13-bleu-chinese/en_zh.csv")
    for said, code, rule in (("Chinese", "zh", "zh"), ("ja-JP", "ja", "char"), ("ENG", "en", "13a")):
        named = spoken_as(data, "en", said)
        assert (named.target, named.languages[-1], named.facts["to"]) == (code,)*3 and named.parts == data.parts
        assert f"tok:{rule}|" in translate.scored([row["target"] for row in rows], rows, named.target)[0][1].detail["signature"]
    assert spoken_as(data) is data and spoken_as(data, "de").target == "" and spoken_as(data, "de").languages[0] == "de"
    for other, source, target in ((data, "en", "kitchen"), (data, "e", None), (data, None, "../x"), (load_dataset(str(CASES / "14-rouge-chinese/zh.csv")), "en", None), (load_dataset("translate_en_zh"), None, "ja")):
        with pytest.raises(UsageError) as said: spoken_as(other, source, target)
        assert "\n" not in str(said.value)


# ---- intervals that can be right

def test_a_sample_without_spread_gets_wilsons_interval():
    accuracy, *_, f1, _ = classification_scores(["a", "b"] * 12, ["a", "b"] * 12)
    for score in (accuracy, f1):
        assert score.high == 100 and math.isclose(score.low, 100 * wilson(1, 24)[0]) and score.detail["interval"] == "wilson"
    none = classification_scores(["a", "b"] * 12, ["b", "a"] * 12)[0]
    assert none.low == 0 and 13 < none.high < 15
    assert bleu_score(["a b c d"] * 30, ["a b c d"] * 30).low < 90
    spread = classification_scores(["a", "b"] * 12, ["a", "b"] * 11 + ["a", "a"])[0]
    assert "interval" not in spread.detail and spread.low < 95.8 < spread.high


def test_wilson_by_hand():
    assert [round(x, 3) for x in wilson(0.5, 10)] == [0.237, 0.763] and wilson(0, 1)[0] == 0 and 0.79 < wilson(0, 1)[1] < 0.8


def test_a_loss_without_spread_has_no_interval():
    loss, perplexity, bits = lm_scores([2.0] * 5, [1] * 5, [1] * 5)
    assert loss.value == 2 and loss.low is None and loss.format() == "2.000 (n = 5)" and tie(loss, loss)


def test_two_items_prove_nothing():
    assert tie([1, 1], [0, 0]) and tie([1] * 5, [0] * 5) and not tie([1] * 6, [0] * 6)
    assert paired_difference([1, 1], [0, 0]) == (1, 0, 1)


# ---- scoring a language model

def lm_checkpoint(model, **changes):
    "An untrained language model with a tokenizer of its own."
    from lmnb.checkpoint import Checkpoint, Config, TaskConfig
    from lmnb.models.heads import build_model
    from lmnb.models.zoo import preset
    from lmnb.tokenize import Tokenizer
    tokenizer = Tokenizer.train("bpe", TEXTS, vocab_size=300)
    config = Config(task=TaskConfig(name="lm", length=16, **changes), model=preset(model, task="lm", vocab_size=tokenizer.vocab_size))
    return Checkpoint(Path("."), config, build_model(config.model).eval(), tokenizer)


TEXTS = [f"The {n}th text of {n * n} 个文本, with an end. " * (1 + n % 7) for n in range(60)]


def plain_losses(checkpoint, stream):
    "Every loss at once, with all logits kept: what scoring has to give."
    import torch
    from torch.nn.functional import cross_entropy
    from lmnb.task import NOTHING, alone, task_of
    task, found, state = task_of(checkpoint.config.task, checkpoint.tokenizer), [], None
    with torch.no_grad():
        for batch in task.score_batches(stream):
            ids, target, context = batch.inputs["ids_BT"], batch.target, {"state": None if batch.fresh else state}
            if task.config.isolate: ids, target, context = alone(ids, target, checkpoint.tokenizer.eos)
            logits, state = checkpoint.model(ids, **context)
            loss = cross_entropy(logits.mT.float(), target, ignore_index=NOTHING, reduction="none")
            found.append((loss, target))
    if task.config.carry: found = [tuple(torch.cat(parts, 1) for parts in zip(*found))]
    return torch.cat([loss[target != NOTHING] for loss, target in found]).double().numpy()


@pytest.mark.parametrize("model, changes", [("transformer-tiny", {}), ("transformer-tiny", {"isolate": True}), ("rnn-tiny", {"carry": True}), ("lstm-tiny", {})])
@pytest.mark.parametrize("texts", [TEXTS, [" ".join(TEXTS) * 12]], ids=["documents", "book"])
def test_scores_of_a_language_model_are_those_of_the_plain_way(model, changes, texts):
    import numpy as np
    from lmnb.serve import evaluate_lm, text_stream, token_losses
    checkpoint = lm_checkpoint(model, **changes)
    rows = [{"text": text} for text in texts]
    with text_stream(checkpoint.tokenizer, rows) as (stream, end_P, bytes_P):
        ids = stream[:]
    encoded = checkpoint.tokenizer.encode_batch(texts)
    assert ids.tolist() == [i for one in encoded for i in one + [checkpoint.tokenizer.eos] * (len(texts) > 1)]
    assert bytes_P.sum() == sum(len(text.encode()) for text in texts) and end_P[-1] == len(ids) and len(end_P) == len(bytes_P)
    assert len(end_P) == (len(texts) if len(texts) > 1 else math.ceil(len(ids) / 256))
    wanted = plain_losses(checkpoint, ids)
    assert np.allclose(token_losses(checkpoint, ids), wanted, atol=1e-5)
    scores, items = evaluate_lm(checkpoint, rows)
    assert math.isclose(scores[0].value, wanted.mean(), rel_tol=1e-6) and math.isclose(items[:, 0].sum(), wanted.sum(), rel_tol=1e-6)


def test_no_window_keeps_its_logits(monkeypatch):
    "However long the text is, one table of logits is alive at a time."
    import gc, weakref
    import lmnb.serve as serve
    checkpoint, alive, most = lm_checkpoint("transformer-tiny"), [], 0
    monkeypatch.setattr(serve, "LOGITS", 2**15)
    forward = checkpoint.model.forward
    def counted(*args, **options):
        logits, state = forward(*args, **options)
        assert logits.numel() <= 2**15
        alive.append(weakref.ref(logits))
        return logits, state
    monkeypatch.setattr(checkpoint.model, "forward", counted)
    with serve.text_stream(checkpoint.tokenizer, [{"text": text} for text in TEXTS]) as (stream, end_P, _):
        for _ in serve.losses_in(checkpoint, stream):
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 1 and len(alive) > 10


def test_the_ngram_model_is_scored_piece_by_piece_alike():
    import numpy as np
    from lmnb.baseline import NGram
    from lmnb.batch import IdStream
    from lmnb.serve import ngram_losses
    ids = np.random.default_rng(0).integers(0, 9, 700)
    model = NGram(5, "modified", vocab_size=9).fit([ids[:300]])
    for length in (1, 7, 699, 5000):
        places, nats = zip(*ngram_losses(model, IdStream([ids]), length))
        assert np.concatenate(places).tolist() == list(range(1, 700))
        assert np.allclose(np.concatenate(nats), -model.log_probs(ids)[1:])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer-tiny", "rnn-tiny"])
def test_memory_of_scoring_does_not_grow_with_the_text(model, tmp_path):
    "Peak memory of a process of its own, for 1 and for 4 MB of text: beyond the text itself, the same."
    import subprocess, sys
    code = ("import sys, resource; sys.path[:0] = sys.argv[1:3]\n"
            "import torch; torch.set_num_threads(1)\n"
            "from test_scores import lm_checkpoint, TEXTS\nfrom lmnb.serve import evaluate_lm\n"
            "c = lm_checkpoint(sys.argv[3], carry=sys.argv[3][:3] == 'rnn')\n"
            "text = ' '.join(TEXTS)\nrows = [{'text': text*(int(sys.argv[4])*10**6//len(text)//10)} for _ in range(10)]\n"
            "evaluate_lm(c, rows)\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    root = str(Path(__file__).parent.parent)
    peaks = [int(subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), root, model, size], capture_output=True, text=True, check=True).stdout)
             for size in ("1", "4")]
    assert peaks[1] - peaks[0] < 60_000, peaks                    # kilobytes


# ---- whole files, rankings, classical rows

def reviews(path, n, seed, words=("lovely", "awful")):
    "A table in which one word says the label."
    import random
    dice = random.Random(seed)
    rows = [f"the {dice.choice(['room', 'film', 'soup', 'trip'])} {seed}-{i} was {words[i % 2]},{'good' if i % 2 == 0 else 'bad'}" for i in range(n)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def trained(fresh_home, tmp_path):
    "A run on a reader's own table, scored, with its classical rows; and a second table."
    from lmnb.serve import evaluate_baselines, evaluate_run, runs_dir
    from lmnb.train import fit
    data = load_dataset(str(reviews(tmp_path / "a.csv", 80, 1)))
    run = fit(runs_dir() / data.name / "bag", task="classify", model="bag-tiny", data=data, steps=4)
    evaluate_run(run, data)
    evaluate_baselines(data)
    return run, data, reviews(tmp_path / "b.csv", 37, 2)


def test_a_file_is_scored_whole_under_its_own_name(trained):
    from lmnb.serve import evaluate_run, read_scores
    run, data, other = trained
    before = read_scores(run)[0]["test"]
    found = evaluate_run(run, str(other))
    assert list(found) == ["b.csv"] and found["b.csv"][0].n == 37
    assert read_scores(run)[0]["test"] == before                                   # the run's own score is what it was
    assert evaluate_run(run, str(other.with_name("a.csv")))["a.csv"][0].n == 80
    assert evaluate_run(run, str(other.with_name("a.csv")), "test")["test"] == before


def command(capfd, *arguments):
    "The command in this process -> (exit code, standard output, standard error)."
    import sys
    from unittest.mock import patch
    from lmnb.cli import main
    with patch.object(sys, "argv", ["lmnb", *map(str, arguments)]), pytest.raises(SystemExit) as end: main()
    return (end.value.code, *capfd.readouterr())


def test_two_files_of_one_name_are_both_kept(trained, tmp_path, capfd):
    import shutil
    from lmnb.serve import evaluate_run, read_baselines, read_scores, runs_dir
    run, data, other = trained
    for number, n in (("one", 19), ("two", 11), ("three/one", 7)):
        (tmp_path / number).mkdir(parents=True)
        reviews(tmp_path / number / "b.csv", n, n)
    sizes = lambda run: {part: scores[0].n for part, scores in read_scores(run)[0].items() if part.endswith(".csv") or " " in part}
    evaluate = lambda *path: command(capfd, "evaluate", run, "--data", tmp_path.joinpath(*path))
    assert evaluate("b.csv")[0] == 0 and sizes(run) == {"b.csv": 37}
    code, out, err = evaluate("one", "b.csv")
    assert code == 0 and sizes(run) == {"b.csv": 37, "one/b.csv": 19}
    assert "another file called b.csv has been scored: the scores of this one are kept as one/b.csv" in err and "one/b.csv: n = 19" in out and "one/b.csv, linear: accuracy" in out
    assert evaluate("two", "b.csv")[0] == 0 and evaluate("three", "one", "b.csv")[0] == 0
    assert sorted(sizes(run).values()) == [7, 11, 19, 37]                                  # a folder of the same name: a hash
    before = sizes(run)
    code, _, err = evaluate("one", "b.csv")                                                # the same again: its own entry
    assert code == 0 and sizes(run) == before and "has changed" not in err
    reviews(tmp_path / "one" / "b.csv", 23, 5)
    code, _, err = evaluate("one", "b.csv")
    assert code == 0 and sizes(run) == before | {"one/b.csv": 23}
    assert "one/b.csv has changed since it was scored, or is read in another way: the new scores take the place of those on 19 items" in err
    assert {part: scores[0].n for part, scores in read_baselines(data.name)["linear"]["scores"].items() if part in before} == sizes(run)
    second = run.with_name("second")                                                       # another run calls the file as the first one does: one ranking
    shutil.copytree(run, second)
    (second / "scores.json").unlink()
    assert list(evaluate_run(second, str(tmp_path / "two" / "b.csv"))) == ["two/b.csv"]
    code, out, _ = command(capfd, "compare")
    assert code == 0 and out.count("two/b.csv") == 1 and "no classical row" not in out


def test_labels_that_the_model_never_learned_are_told(trained, tmp_path, capfd):
    run = trained[0]
    reviews(tmp_path / "c.csv", 10, 3)
    with open(tmp_path / "c.csv", "a") as file: file.write("".join(f"the thing {i} was elsewhere,other\n" for i in range(10)))
    for more in ((), ("--json",)):
        code, out, err = command(capfd, "evaluate", run, "--data", tmp_path / "c.csv", *more)
        assert code == 0 and "10 of 20 rows have labels that the model does not know: other (10); they count as wrong" in err.splitlines()
    assert "does not know" not in command(capfd, "evaluate", run, "--data", trained[2])[2]


def test_json_does_the_same_work(trained, capfd):
    import json
    from lmnb.serve import read_baselines
    run, data, other = trained
    code, out, err = command(capfd, "evaluate", run, "--data", other, "--json")
    assert code == 0 and [json.loads(line)["part"] for line in out.splitlines()] == ["b.csv"]
    assert {"linear", "majority"} <= {name for name, entry in read_baselines(data.name).items() if "b.csv" in entry["scores"]}
    assert "b.csv, linear: accuracy" in err
    assert "no classical row" not in command(capfd, "compare")[1]


def test_another_data_set_never_takes_the_place_of_the_own_test_part(trained):
    from dataclasses import replace
    from lmnb.serve import evaluate_run, read_scores
    run, data, _ = trained
    before = read_scores(run)[0]["test"]
    evaluate_run(run, replace(data, name="elsewhere", parts={"test": data.parts["train"]}))
    scores, facts = read_scores(run)
    assert scores["test"] == before and scores["elsewhere-test"][0].n == len(data.parts["train"]) and facts["data"]["elsewhere-test"] == "elsewhere"


def test_rows_of_different_texts_never_stand_in_one_ranking(trained):
    from lmnb.evaluate import Score
    from lmnb.serve import compare_table, find_runs, rankings, read_run, runs_dir, write_scores
    import shutil
    run, data, _ = trained
    easy = runs_dir() / data.name / "easy"
    shutil.copytree(run, easy)
    write_scores(easy, "test", [Score("accuracy", 99.9, 99.0, 100.0, 3, "%")], data=data.name, hash="0" * 64)
    found = rankings(find_runs())
    assert len(found) == 2 and all(len({row["name"] for row in ranking["rows"] if row["architecture"] != "baseline"}) == 1 for ranking in found)
    assert all(len({row["n"] for row in ranking["rows"]}) == 1 for ranking in found)
    assert len({row["n"] for row in compare_table(find_runs())}) == 1
    own = next(ranking for ranking in found if ranking["hash"] != "0" * 64)
    assert {"linear", "majority"} <= {row["name"] for row in own["rows"]}
    write_scores(easy, "test", [Score("accuracy", 99.9, 99.0, 100.0, 3, "%")], data=data.name)      # a score without a hash stands alone
    assert len(rankings([read_run(run), read_run(easy)])) == 2


def test_a_network_that_loses_is_told_so():
    from lmnb.evaluate import Score
    from lmnb.serve import marked, verdicts
    row = lambda name, value, kind: {"name": name, "architecture": kind, "score": Score("accuracy", value, value - 3, value + 3, 500, "%")}
    said = lambda network: verdicts({"part": "test", "rows": marked([row("x/lstm", network, "lstm"), row("linear", 80, "baseline"), row("majority", 50, "baseline")], "test")})
    assert [said(value)[0]["mark"] for value in (70, 79, 81, 90)] == ["loses", "tie", "tie", "wins"]
    assert said(70)[0]["text"].startswith("lstm loses to the classical row linear, outside the interval")
    lower = lambda name, value, kind: {"name": name, "architecture": kind, "score": Score("bits_per_byte", value, value - .1, value + .1, 500, "bits/byte")}
    rows = marked([lower("x/lstm", 3.0, "lstm"), lower("5-gram", 2.0, "baseline")], "test")
    assert verdicts({"part": "test", "rows": rows})[0]["mark"] == "loses"


def advice_of(task, networks, classical, unit="%", seeds=2):
    "An advice with one measured network, of given main scores; items so that they can be told apart, or not."
    from pathlib import Path
    from lmnb.advise import Advice, Trial
    from lmnb.collect import DataSet
    from lmnb.evaluate import Score
    metric = {"classify": "accuracy", "translate": "chrf", "lm": "bits_per_byte"}[task]
    score = lambda value: Score(metric, value, value - 1, value + 1, 200, unit)
    if task == "lm": items = lambda value: [[value * 0.7 * (1 + 0.01 * (i % 3)), 1.0] for i in range(200)]
    else: items = lambda value: [100 * (i < 2 * value) for i in range(200)]
    trials = [Trial("lstm", seed, 1, 1.0, "", Path(f"r{seed}"), {"loss": 1.0, "accuracy": networks / 100}, ("x",) * (task == "classify"), 9, 60.0, 1000, 1.0, 2.0) for seed in range(seeds)]
    rows = [{"text": str(i), "label": "x"} for i in range(200)]
    return Advice(DataSet("own", task, ("en",), "your own", {"train": rows, "dev": rows}), trials, {}, {"forward": 1.0},
                  {name: (score(value), items(value)) for name, value in classical.items()}, {trial.run: (score(networks), items(networks)) for trial in trials})


@pytest.mark.parametrize("task, unit, network, classical, mark, first", [
    ("classify", "%", 90, {"linear": 80, "majority": 50}, "wins", "Take lstm:"), ("classify", "%", 80, {"linear": 90, "majority": 50}, "loses", "Take linear:"),
    ("classify", "%", 80, {"linear": 80.5, "majority": 50}, "tie", "Take linear:"), ("classify", "%", 50.5, {"linear": 40, "majority": 50}, "tie", "Take none of them yet:"),
    ("translate", "points", 40, {"memory": 20, "copy": 5}, "wins", "Take lstm:"), ("translate", "points", 12, {"memory": 35, "copy": 5}, "loses", "Take memory:"),
    ("lm", "bits/byte", 2.0, {"5-gram": 2.5}, "wins", "Take lstm:"), ("lm", "bits/byte", 3.0, {"5-gram": 2.5}, "loses", "Take 5-gram:"), ("lm", "bits/byte", 2.5, {"5-gram": 2.5}, "tie", "Take 5-gram:")])
def test_advice_counts_the_classical_rows_among_the_candidates(task, unit, network, classical, mark, first):
    found = advice_of(task, network, classical, unit)
    said, best = found.choice(), next(iter(classical))
    if first.startswith("Take none"): best = "majority"
    assert found.beside()["mark"] == mark and said.startswith(first) and best in said and "\n" not in said
    assert ("What a network has to offer" in said) == (not first.startswith(("Take lstm", "Take none")))
    assert ("outside the interval" in said) == (mark != "tie")
    assert [row["model"] for row in found.classical_table()] == list(sorted(classical, key=lambda name: classical[name] * (1 if task == "lm" else -1)))
    assert all(name in line for name, line in zip([row["model"] for row in found.classical_table()], repr_table(found)[-len(classical):]))


def repr_table(found):
    "The lines of the table of an advice, without the sentences, which read the runs."
    from lmnb.advise import Advice
    class Quiet(Advice):
        def sentences(self): return []
    return repr(Quiet(found.data, found.trials, found.failed, found.parts, found.classical, found.measured)).rstrip().splitlines()


def test_without_classical_rows_an_advice_is_as_before_and_one_seed_proves_nothing():
    from dataclasses import replace
    found = advice_of("lm", 2.0, {}, "bits/byte")
    assert found.beside() is None and found.choice().startswith("Take lstm: loss") and "classical" not in found.choice() and found.classical_table() == []
    both = advice_of("lm", 2.0, {}, "bits/byte", seeds=1)
    both.trials.append(replace(both.trials[0], model="gru", score={"loss": 2.0, "accuracy": 0.1}))
    assert both.lead()[:3] == ("lstm", "gru", True)


def test_names_of_files_as_parts(tmp_path):
    from lmnb.collect import part_name
    from lmnb.serve import items_path
    (tmp_path / "letters").mkdir()
    assert part_name([tmp_path / "a.csv"]) == "a.csv" and part_name([tmp_path / "test"]) == "./test"
    assert part_name([tmp_path / "letters"]) == "letters/" and part_name([tmp_path / "a.en", tmp_path / "a.zh"]) == "a.en +1"
    for part in ("../../x", "a/b", "./test", "x" * 500, "语言.csv", "a b", ""):
        assert items_path(tmp_path, part).parent == tmp_path and len(items_path(tmp_path, part).name) < 100


def test_classical_methods_learn_from_a_bounded_number_of_rows(monkeypatch):
    import lmnb.baseline as baseline
    rows = [{"text": "x" * 1000, "label": "a"}] * 5000
    some, said = baseline.learnable(rows)
    assert len(some) == 1998 and "1,998 of 5,000" in said
    assert len(baseline.learnable([{"text": "a"}] * 9000, 100_000)[0]) == 500 and baseline.learnable(rows[:10]) == (rows[:10], "")
    monkeypatch.setattr(baseline, "COEFFICIENTS", 20)
    texts, labels = [f"word{i % 7} other{i} thing" for i in range(60)], [str(i % 4) for i in range(60)]
    model = LinearTextOf(baseline, texts, labels)
    assert model.machine.coef_.size <= 24


def LinearTextOf(module, texts, labels): return module.LinearText().fit(texts, labels)


@pytest.mark.parametrize("kind, labels", [("one label", ["a"] * 6), ("too many", [str(i) for i in range(1200)])])
def test_a_classifier_without_a_linear_row_still_has_a_floor(kind, labels):
    from lmnb.apps import classify
    from lmnb.collect import DataSet
    rows = [{"text": f"text {i}", "label": label, "language": "en"} for i, label in enumerate(labels)]
    assert list(classify.baseline(DataSet("own-1", "classify", ("en",), "your own", {"train": rows, "test": rows[:5]}))) == ["majority"]


# ---- several right answers, and passages longer than the model

def span_model(length=24, texts=None):
    "An untrained reader with a tokenizer of its own."
    from lmnb.checkpoint import Checkpoint, Config, TaskConfig
    from lmnb.models.heads import build_model
    from lmnb.models.zoo import preset
    from lmnb.tokenize import Tokenizer
    tokenizer = Tokenizer.train("bpe", texts or TEXTS, vocab_size=300)
    config = Config(task=TaskConfig(name="answer", length=length), model=preset("transformer-tiny", task="answer", vocab_size=tokenizer.vocab_size))
    return Checkpoint(Path("."), config, build_model(config.model).eval(), tokenizer)


def test_the_nearest_of_several_right_answers_counts():
    from lmnb.apps import answer
    from lmnb.collect import DataSet
    rows = [dict(passage="It rose in May 1990, in the spring.", question="When?", answer="May 1990", start=11, answers=["May 1990", "the spring", "1990"], language="en"),
            dict(passage="Ann and Bob came.", question="Who?", answer="Ann", start=0, language="en")]
    data = DataSet("own", "answer", ("en",), "your own", {"test": rows})
    for said, exact, f1 in ((["1990", "Ann"], 100, [100, 100]), (["the spring", "Bob"], 50, [100, 0]), (["spring of 1990", "Ann and"], 0, [50, 200 / 3]), (["in May 1990", "Ann"], 50, [80, 100])):
        scores, items = answer.scored(said, rows, data)           # by hand, with the rule of SQuAD's script: articles go, the largest over the answers
        assert [score.metric for score in scores] == ["f1", "exact_match"]
        assert items == pytest.approx(f1) and scores[0].value == pytest.approx(sum(f1) / 2) and scores[1].value == exact


def test_real_questions_with_several_answers(public_data, tmp_path):
    import gzip, json
    from lmnb.apps import answer
    whole = json.loads(gzip.decompress((public_data / "qa_cmrc2018" / "dev.json.gz").read_bytes()))
    path = tmp_path / "cmrc.json"
    path.write_text(json.dumps(whole | {"data": whole["data"][:30]}, ensure_ascii=False), encoding="utf-8")
    data, rows = all_rows(path)
    several = [row for row in rows if len(row.get("answers", [])) > 1]
    assert len(rows) > 60 and len(several) > 10
    for take in (0, -1):                                    # any of the right answers is right
        scores, f1 = answer.scored([(row.get("answers") or [row["answer"]])[take] for row in rows], rows, data)
        assert scores[0].value == scores[1].value == 100 and min(f1) == 100
    one = [{k: v for k, v in row.items() if k != "answers"} for row in rows]
    assert answer.scored([(row.get("answers") or [row["answer"]])[-1] for row in rows], one, data)[0][1].value < 100


PASSAGES = {"English": " ".join(f"The {i}th room of the house is {['red', 'blue', 'green'][i % 3]}, and its key is K{i * 37}." for i in range(60)),
            "Chinese": "".join(f"第{i}间屋子的钥匙是{i * 37}号，门是{'红蓝绿'[i % 3]}色的。" for i in range(60)),
            "mixed, with marks and breaks": "\r\n".join(f" 房间 {i}: naïve café №{i}\u3000🙂 end\u2028" for i in range(60))}


@pytest.mark.parametrize("kind", PASSAGES)
def test_windows_cover_a_passage_and_keep_its_places(kind):
    from lmnb.task import fine_spans, task_of
    passage, checkpoint = PASSAGES[kind], span_model(texts=list(PASSAGES.values()))
    task = task_of(checkpoint.config.task, checkpoint.tokenizer)
    ids, offsets = fine_spans(checkpoint.tokenizer, passage)
    pieces, count = task.pieces("Which key?", passage, overlap=8)
    assert count == len(pieces) > 20
    for n, piece in enumerate(pieces):                       # 24 tokens each, of which 8 stand in the next one too
        assert piece["offsets"] == offsets[16 * n:16 * n + 24] and piece["ids"][piece["base"]:] == ids[16 * n:16 * n + 24]
        assert len(piece["ids"]) == len(piece["segment"])
    assert task.pieces("Which key?", passage[:10])[1] == 1


@pytest.mark.parametrize("kind", PASSAGES)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.97])
def test_an_answer_beyond_the_models_length_is_found_where_it_stands(kind, place, monkeypatch):
    "A model that points to one sign, wherever that stands: the place has to be that of the whole passage."
    import torch
    from lmnb.apps import answer
    checkpoint, text = span_model(texts=["§ " + " ".join(PASSAGES.values())]), PASSAGES[kind]
    at = text.index(" " if " " in text else "。", int(place * (len(text) - 40))) + 1
    passage = f"{text[:at]}§ {text[at:]}"
    sign = checkpoint.tokenizer.encode("§")[-1]
    pointing = lambda ids_BT, **rest: torch.stack([(ids_BT == sign).float() * 20] * 2, -1)
    monkeypatch.setattr(checkpoint.model, "forward", pointing)
    found = answer.answer(checkpoint, "Where is it?", passage)
    assert passage[found["start"]:found["end"]] == found["text"] and found["start"] <= at < found["end"] <= at + 2
    assert found["windows"] == found["read"] > 20 and 0 < found["probability"] <= 1
    short = answer.answer(checkpoint, "Where is it?", passage[at - 3:at + 3])
    assert "windows" not in short and short["start"] <= 3 < short["end"]


def test_windows_are_compared_by_their_scores_and_not_by_their_shares():
    import torch
    from lmnb.apps.answer import best_span, best_window
    weak, strong = torch.tensor([[1., 1.]] + [[-9., -9.]] * 5), torch.tensor([[8., 8.], [7., 7.], [7., 7.]])     # the first is surer in itself, of less
    spans = [(n, n + 1, best_span(logits)[2], logits.logsumexp(0)) for n, logits in enumerate((weak, strong))]
    assert spans[0][2] > spans[1][2]
    start, end, probability = best_window(spans)
    whole = best_span(torch.cat([weak, strong]))
    assert (start, end) == (1, 2) and probability == pytest.approx(whole[2], rel=1e-5)
    assert best_window(spans[:1]) == spans[0][:3]


@pytest.mark.parametrize("unit", ["第{}间屋子里的人写了一封信。", "x"])
def test_a_megabyte_is_read_in_bounded_time(unit):
    import time
    from lmnb.apps import answer
    passage = "".join(unit.format(i) for i in range(10**6 // len(unit)))[:10**6]
    passage += " The hidden password is swordfish, 暗号是剑鱼。"
    checkpoint, began = span_model(length=300), time.process_time()
    found = answer.answer(checkpoint, "What is the hidden password? 暗号是什么？", passage)
    assert time.process_time() - began < 60
    assert found["read"] <= answer.WINDOWS < found["windows"] and passage[found["start"]:found["end"]] == found["text"]


# ---- damaged runs: one of them never takes the others down

PAYLOADS = ['9' * 5000, 'NaN', '-Infinity', '1e999', '"\\ud800"', 'null', 'true', '[]', '{}', '"x"', '-1', '1e300', '[[[[]]]]', '{"a": 1, "a": 2}', '9' * 30, '"../../.."', '"a\\u0000b"']


def spoiled(path, dice):
    "A JSON file (or one with JSON lines) with one value replaced, or bytes that are none."
    text = path.read_bytes()
    kind = dice.randrange(8)
    if kind == 0: return text[:dice.randrange(len(text) + 1)]
    if kind == 1: return b"\xff\xfe" + text
    if kind == 2: return b"[" * 100_000
    if kind == 3: return dice.choice(PAYLOADS).encode()
    import re
    values = list(re.finditer(rb'(?<=: )("[^"]*"|[-\d.e+]+|null|true|false|\[[^\[\]]*\]|\{[^{}]*\})', text)) or list(re.finditer(rb"\d+", text))
    if not values: return b"{}"
    found = dice.choice(values)
    return text[:found.start()] + dice.choice(PAYLOADS).encode() + text[found.end():]


def looked_at(home):
    "Everything that the pages ask of runs; only expected errors may come."
    from lmnb.core import LmnbError
    from lmnb.serve import best_known, corpora, find_runs, open_run, rankings, read_metrics, run_tokenizers, verdicts, write_card
    runs = find_runs()
    for ranking in rankings(runs): verdicts(ranking)
    for run in runs:
        best_known(run)
        for function in (read_metrics, open_run, write_card):
            try: function(run.path)
            except LmnbError as error: assert "\n" not in str(error)
    corpora(), run_tokenizers()
    return runs


def test_a_hundred_spoiled_runs_take_nobody_down(trained, fresh_home):
    import random, shutil
    from lmnb.checkpoint import pointed
    run, data, _ = trained
    (run.parent / "report.json").write_text('{"steps": [{"step": "a", "entered": 2, "kept": 1, "dropped": 1, "reasons": {"x": 1}}], "documents": 1}')
    (run / "command.json").write_text('{"command": ["lmnb", "train", "--data", "a.csv"]}')
    whole = fresh_home.parent / "whole"
    shutil.copytree(fresh_home, whole)
    dice = random.Random(0)
    inside = run.relative_to(fresh_home)
    places = [inside / name for name in ("config.json", "metrics.jsonl", "scores.json", "command.json", "checkpoints/best", "checkpoints/last")]
    places += [pointed(run).relative_to(fresh_home) / name for name in ("config.json", "manifest.json", "tokenizer.json", "scores.json")]
    places += [inside.parent / "baselines.json", inside.parent / "report.json", next(run.glob("items-*")).relative_to(fresh_home)]
    shutil.copytree(run, run.with_name("sound"))
    for number in range(130):
        place = places[number % len(places)]
        (fresh_home / place).write_bytes(spoiled(whole / place, dice))
        runs = looked_at(fresh_home)
        sound = next(found for found in runs if found.path.name == "sound")
        assert sound.ok and sound.scores, (number, place)
        if place.name in ("manifest.json", "best") and not runs[0].ok: assert runs[0].status and "\n" not in runs[0].status
        shutil.copyfile(whole / place, fresh_home / place)


def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_no_trap(trained):
    import os
    from lmnb.serve import find_runs
    run, _, _ = trained
    for name in ("scores.json", "metrics.jsonl", "config.json"):
        (run / name).rename(run / "aside")
        os.mkfifo(run / name)
        find_runs()
        (run / name).unlink(); (run / name).mkdir()
        find_runs()
        (run / name).rmdir(); (run / "aside").rename(run / name)
    assert find_runs()[0].ok


# ---- weights that do not fit

def test_weights_are_asked_before_anything_is_allocated(trained):
    import json, resource
    from lmnb.checkpoint import load_checkpoint, pointed, seal
    from lmnb.core import CorruptError
    place = pointed(trained[0])
    sound = (place / "config.json").read_text()
    for changes in ({"width": 16384}, {"vocab_size": 1_000_000}, {"buckets": 10_000_000}, {"architecture": "lstm", "width": 16384, "layers": 128, "embedding_width": None},
                    {"architecture": "transformer", "width": 1024, "heads": 4, "embedding_width": None}, {"architecture": "transformer", "experts": 256, "layers": 128}):
        config = json.loads(sound)
        config["model"] |= changes
        (place / "config.json").write_text(json.dumps(config)); seal(place)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CorruptError): load_checkpoint(place)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, changes


def test_headers_of_weights(tmp_path):
    import json, struct
    import numpy as np
    from safetensors.numpy import save_file
    from lmnb.checkpoint import tensor_shapes
    from lmnb.core import CorruptError
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros(0, np.float32), "c": np.zeros(4, np.int64)}, path, metadata={"format": "pt"})
    assert sorted(tensor_shapes(path)) == [("a", (2, 3)), ("b", (0,)), ("c", (4,))]
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    bad = {"many": {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_001)}, "shape": {"a": entry | {"shape": [3]}}, "beyond": {"a": entry | {"data_offsets": [0, 80]}},
           "gap": {"a": entry, "b": entry | {"data_offsets": [16, 24]}}, "kind": {"a": entry | {"dtype": "F99"}}, "negative": {"a": entry | {"shape": [-2]}}, "list": [], "text": {"a": "b"}, "huge": {"a": entry | {"shape": [10**30]}}, "true": {"a": entry | {"shape": [True, 2]}}}
    for name, header in bad.items():
        raw = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(24))
        with pytest.raises(CorruptError): tensor_shapes(path)
    for raw in (b"", b"1234", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2) + b"{x", struct.pack("<Q", 40) + b'{"a":1,"a":2}' + bytes(40), struct.pack("<Q", 5000) + b"9" * 5000):
        path.write_bytes(raw)
        with pytest.raises(CorruptError): tensor_shapes(path)


def test_weights_that_are_no_numbers_are_refused(trained):
    import torch
    from safetensors.torch import load_file, save_file
    from lmnb.checkpoint import load_checkpoint, pointed, seal
    from lmnb.core import CorruptError
    place = pointed(trained[0])
    tensors = load_file(place / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"}); seal(place)
    with pytest.raises(CorruptError, match="not finite"): load_checkpoint(place)
