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
            if task.config.isolate: ids, target, context = alone(ids, target)
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
