"Metrics against their libraries, hand-computed cases and degenerate ones; baselines against their definitions."
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support

from lmnb.baseline import (LinearText, Majority, NearestNeighbour, NGram, clauses, discounts, first_words, lead,
                           most_similar_clause, random_span, sentences)
from lmnb.core import CorruptError, InputError, NonFiniteError, UsageError
from lmnb.evaluate import (Score, answer_f1, answer_scores, bleu, bleu_counts, bleu_score, bootstrap, chrf_score,
                           classification_scores, confusion_matrix, exact_match, lm_scores, mean, normalise,
                           paired_difference, per_class, resample, rouge_scores, tie, units)

ENGLISH = (["the cat sat on the mat", "it is raining", "", "He reads many books in the evening.", "yes", "the the the the"],
           ["A cat sat on the mat.", "Today it rains again.", "Nothing was said.", "In the evening, he reads 3,000 books.", "yes", "the cat"])
CHINESE = (["今天天气很好。", "我喜欢读书。", "", "他在图书馆学习Python 3。", "好", "书书书书"],
           ["今天天气真好。", "我很喜欢读书。", "没有人说话。", "他在图书馆里学习Python 3.", "好", "书"])


def by_name(scores): return {score.metric: score for score in scores}


def random_pairs(seed, alphabet, joiner, count=60):
    "Pairs of random texts over a small alphabet: many partial matches."
    rng = np.random.default_rng(seed)
    text = lambda: joiner.join(rng.choice(alphabet, rng.integers(0, 12)).tolist())
    return [text() for _ in range(count)], [text() or alphabet[0] for _ in range(count)]


# ---- Score and bootstrap

def test_score_round_trip_and_format():
    score = Score("accuracy", 81.27, 79.46, 83.03, 1821, "%", {"majority": 50.0})
    assert Score.from_dict(score.to_dict()) == score
    assert score.format() == "81.3 [79.5, 83.0]" and score.format(0) == "81 [79, 83]"
    assert Score("loss", 1.5384, 1.519, 1.5601, 9, "nats/token").format() == "1.538 [1.519, 1.560]"
    assert Score("bits_per_byte", None, None, None, 9).format() == "–"
    assert Score("accuracy", 100.0, 100.0, 100.0, 1, "%").format() == "100.0 (n = 1)"


@pytest.mark.parametrize("data", [{}, [], None, {"metric": "a", "value": "x", "low": 0, "high": 0, "n": 1},
                                  {"metric": "a", "value": 1, "low": 0, "high": 0, "n": 1, "code": "x"},
                                  {"metric": 3, "value": 1, "low": 0, "high": 0, "n": 1}])
def test_score_refuses_nonsense(data):
    with pytest.raises(CorruptError): Score.from_dict(data)


def test_bootstrap_equals_the_plain_loop():
    values = np.random.default_rng(0).random(150)
    drawn = np.random.default_rng(7).integers(0, 150, (1000, 150))
    assert np.allclose(np.percentile([values[d].mean() for d in drawn], [2.5, 97.5]), bootstrap(values, seed=7))
    assert bootstrap(values, seed=7) == bootstrap(values, seed=7) != bootstrap(values, seed=8)


def test_bootstrap_in_pieces_draws_n_items_each_time():
    sums = resample(np.ones((30_000, 1)), samples=150)          # more than one piece
    assert sums.shape == (150, 1) and (sums == 30_000).all()


def test_bootstrap_agrees_with_theory():
    right = np.random.default_rng(1).random(2000) < 0.8
    low, high = bootstrap(right)
    assert abs((high - low) - 2 * 1.96 * math.sqrt(0.16 / 2000)) < 0.003


def test_bootstrap_of_one_item_and_of_none():
    assert bootstrap([0.5]) == (0.5, 0.5)
    with pytest.raises(InputError): bootstrap([])


def test_ratio_statistic_is_weighted():
    assert mean(np.array([[1, 2], [3, 8]]).sum(0)) == 0.4


def test_paired_difference_and_tie():
    a = np.array([1] * 80 + [0] * 20); b = a.copy(); b[:10] = 0
    difference, low, high = paired_difference(a, b)
    assert math.isclose(difference, 0.1) and 0.03 < low < 0.1 < high < 0.17
    assert not tie(a, b) and tie(a, a) and tie(a[:3], [1, 1, 0])
    assert paired_difference(b, a) == (-difference, -high, -low)
    with pytest.raises(InputError): paired_difference([1, 2], [1])
    assert not tie(Score("x", 90, 89, 91, 99), Score("x", 85, 84, 86, 99))
    assert tie(Score("x", 90, 88, 92, 99), Score("x", 88, 86, 90, 99))
    assert tie(Score("x", None, None, None, 99), Score("x", 88, 86, 90, 99))


# ---- language models

def test_lm_scores_by_hand():
    scores = by_name(lm_scores([2 * math.log(4), 6 * math.log(2)], [2, 6], [4, 6], False, characters_per_document=[2, 3]))
    nats = 10 * math.log(2)
    assert math.isclose(scores["loss"].value, nats / 8) and math.isclose(scores["perplexity"].value, math.exp(nats / 8))
    assert math.isclose(scores["bits_per_byte"].value, 1.0) and math.isclose(scores["nats_per_character"].value, nats / 5)
    assert scores["loss"].low <= scores["loss"].value <= scores["loss"].high and scores["loss"].n == 2


def test_lm_scores_lossy_and_broken():
    scores = by_name(lm_scores([1, 2], [1, 1], [3, 3], True, characters_per_document=[3, 3]))
    assert scores["bits_per_byte"].value is None and scores["nats_per_character"].format() == "–" and scores["loss"].value == 1.5
    with pytest.raises(NonFiniteError, match="document 1"): lm_scores([1, float("nan")], [1, 1], [1, 1])
    with pytest.raises(InputError): lm_scores([], [], [])
    assert by_name(lm_scores([9000.0], [1], [1]))["perplexity"].value is None      # e**9000 has no finite name
    assert lm_scores([2.0], [1], [1])[0].format() == "2.000 (n = 1)"


# ---- classification

@pytest.mark.parametrize("classes, n, seed", [(2, 50, 0), (5, 200, 1), (17, 300, 2), (3, 4, 3)])
def test_classification_equals_sklearn(classes, n, seed):
    rng = np.random.default_rng(seed)
    gold = [f"c{i:02d}" for i in rng.integers(0, classes, n)]
    said = [g if keep else f"c{i:02d}" for g, keep, i in zip(gold, rng.random(n) < 0.6, rng.integers(0, classes, n))]
    scores = by_name(classification_scores(gold, said, samples=50))
    p, r, f, _ = precision_recall_fscore_support(gold, said, average="macro", zero_division=0)
    for name, wanted in (("accuracy", 100 * accuracy_score(gold, said)), ("macro_precision", 100 * p), ("macro_recall", 100 * r),
                         ("macro_f1", 100 * f), ("mcc", matthews_corrcoef(gold, said))):
        assert math.isclose(scores[name].value, wanted, abs_tol=1e-9), name
        assert scores[name].low <= scores[name].high
    each = precision_recall_fscore_support(gold, said, zero_division=0)
    assert np.allclose([[row["precision"], row["recall"], row["f1"]] for row in per_class(gold, said)], 100 * np.array(each[:3]).T)


def test_classification_degenerate():
    only = by_name(classification_scores([1, 1, 1], [1, 1, 1]))
    assert only["accuracy"].value == only["macro_f1"].value == 100 and only["mcc"].value == 0
    one = by_name(classification_scores(["a"], ["b"]))
    assert one["accuracy"].value == one["macro_f1"].value == 0 and one["accuracy"].n == 1
    unused = by_name(classification_scores(["a", "b"], ["a", "b"], labels=["a", "b", "never"]))
    assert unused["macro_f1"].value == 100 and unused["accuracy"].detail["classes"] == 3
    lazy = by_name(classification_scores(["ham"] * 9 + ["spam"], ["ham"] * 10))
    assert lazy["accuracy"].value == lazy["accuracy"].detail["majority"] == 90 and lazy["mcc"].value == 0


def test_confusion_matrix():
    labels, matrix = confusion_matrix(["a", "b", "b"], ["b", "b", "a"])
    assert labels == ["a", "b"] and matrix.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(InputError, match="'c'"): confusion_matrix(["a", "c"], ["a", "a"], labels=["a", "b"])
    with pytest.raises(InputError): confusion_matrix(["a"], [])


# ---- translation

@pytest.mark.parametrize("language, pair", [("en", ENGLISH), ("zh", CHINESE), ("en", random_pairs(0, ["a", "b", "c"], " ")),
                                            ("zh", random_pairs(1, ["书", "本", "x", "。"], ""))])
def test_bleu_and_chrf_equal_sacrebleu(language, pair):
    said, wanted = pair
    library = sacrebleu.BLEU(tokenize="zh" if language == "zh" else "13a", force=True)
    ours = bleu_score(said, wanted, language, samples=50)
    assert math.isclose(ours.value, library.corpus_score(said, [wanted]).score, abs_tol=1e-9)
    assert ours.detail["signature"] == str(library.get_signature())
    theirs = sacrebleu.CHRF()
    assert math.isclose(chrf_score(said, wanted, samples=50).value, theirs.corpus_score(said, [wanted]).score, abs_tol=1e-9)
    assert chrf_score(said, wanted, samples=50).detail["signature"] == str(theirs.get_signature())


@pytest.mark.parametrize("said, wanted", [([""], ["a b c d e"]), (["a b c"], ["a b c"]), (["x y z w v"], ["a b c d e"]),
                                          (["a"], ["a"]), (["a b c d"], ["a b c d"]), (["a b c d e", ""], ["a x c d e", "b"]), ([""], [""])])
def test_bleu_degenerate(said, wanted):
    assert math.isclose(bleu_score(said, wanted).value, sacrebleu.BLEU().corpus_score(said, [wanted]).score, abs_tol=1e-9)
    assert math.isclose(chrf_score(said, wanted).value, sacrebleu.CHRF().corpus_score(said, [wanted]).score, abs_tol=1e-9)


def test_bleu_with_alternatives():
    said, first, second = ["a b c d e f", "the cat sat here now"], ["a b c x e f", "a cat sat here now"], ["a b c d y f g", "the cat sat there"]
    both = [list(pair) for pair in zip(first, second)]
    assert math.isclose(bleu_score(said, both).value, sacrebleu.BLEU().corpus_score(said, [first, second]).score)
    assert math.isclose(chrf_score(said, both).value, sacrebleu.CHRF().corpus_score(said, [first, second]).score)


def test_bleu_interval_equals_scoring_every_draw():
    said, wanted = random_pairs(2, list("abcd"), " ", 40)
    drawn = np.random.default_rng(0).integers(0, 40, (60, 40))
    slow = [sacrebleu.BLEU(force=True).corpus_score([said[i] for i in d], [[wanted[i] for i in d]]).score for d in drawn]
    score = bleu_score(said, wanted, samples=60)
    assert np.allclose(np.percentile(slow, [2.5, 97.5]), (score.low, score.high))


def test_bleu_by_hand():
    counts = bleu_counts("the the the cat".split(), ["the cat sat on the mat".split()])
    assert counts == [4, 6, 3, 1, 0, 0, 4, 3, 2, 1]
    assert math.isclose(bleu(counts), 100 * math.exp(1 - 6 / 4) * (3/4 * 1/3 * 1/4 * 1/4) ** 0.25)


def test_chinese_needs_its_own_splitting():
    assert bleu_score(*CHINESE, "en").value < 1 < 20 < bleu_score(*CHINESE, "zh").value


# ---- summaries

@pytest.mark.parametrize("pair", [ENGLISH, random_pairs(3, ["ab", "c", "d1"], " ")])
def test_rouge_equals_the_package(pair):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    theirs = [scorer.score(w, s) for s, w in zip(*pair)]
    for score in rouge_scores(*pair, samples=50):
        assert math.isclose(score.value, 100 * np.mean([t[score.metric].fmeasure for t in theirs]), abs_tol=1e-9)


def test_rouge_chinese_is_rouge_of_spaced_characters():
    names = {c: f"c{ord(c)}" for text in sum(CHINESE, []) for c in text}
    spaced = [[" ".join(names[u] if u in names and not u.isascii() else u for u in units(text, "zh")) for text in side] for side in CHINESE]
    for zh, en in zip(rouge_scores(*CHINESE, "zh", samples=50), rouge_scores(*spaced, "en", samples=50)):
        assert math.isclose(zh.value, en.value)
    assert rouge_scores(["本文介绍方法"], ["本文介绍方法"], "zh")[0].value == 100


def test_rouge_by_hand_and_alternatives():
    found = by_name(rouge_scores(["the cat sat"], [["the dog sat down", "cat the sat"]]))
    assert math.isclose(found["rouge1"].value, 100) and math.isclose(found["rougeL"].value, 100 * 2 / 3)
    assert all(score.value == 0 for score in rouge_scores([""], ["something"]))
    mixed = rouge_scores(["今天", "today"], ["今天", "today"], ["zh", "en"])
    assert mixed[0].value == 100


def test_nothing_loads_nltk_data():
    code = ("import nltk.data\n"
            "def refuse(*a, **k): raise SystemExit('nltk data asked for')\n"
            "nltk.data.find = nltk.data.load = refuse\n"
            "from lmnb.evaluate import rouge_scores, answer_scores, bleu_score\n"
            "rouge_scores(['a b'], ['a c']); rouge_scores(['书'], ['书'], 'zh'); answer_scores(['a 书'], ['a'], 'zh'); bleu_score(['书'], ['书'], 'zh')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- answers

@pytest.mark.parametrize("said, wanted, language, f1", [
    ("the Eiffel Tower", "Eiffel tower.", "en", 1), ("in the Eiffel Tower", "Eiffel tower", "en", 0.8), ("", "Paris", "en", 0),
    ("", "", "en", 1), ("the", "a", "en", 1), ("Paris Paris", "Paris", "en", 2 / 3), ("北京大学", "北京", "zh", 2 / 3),
    ("三月八日", "八月三日", "zh", 0.25), ("《红楼梦》", "红楼梦", "zh", 1), ("", "北京", "zh", 0), ("Python 3", "python 3", "zh", 1),
    ("在1949年", "1949年", "zh", 0.8)])
def test_answer_f1_by_hand(said, wanted, language, f1):
    assert math.isclose(answer_f1(said, wanted, language), f1)


def test_answer_scores():
    em, f1 = answer_scores(["The Louvre", "北京。", "no"], [["Louvre", "Musee du Louvre"], "北京", "yes"], ["en", "zh", "en"])
    assert math.isclose(em.value, 200 / 3) and math.isclose(f1.value, 200 / 3) and em.metric == "exact_match" and em.n == 3
    assert exact_match(["b"], [["a", "b"]]).value == 100 and normalise("An  apple, a day") == "apple day"
    with pytest.raises(InputError): exact_match(["a"], ["a", "b"])
    with pytest.raises(InputError): answer_scores([], [])


# ---- n-gram model

def reference_probability(word, context, training, order, discount, vocab_size):
    "Interpolated Kneser-Ney from its definition, one probability at a time."
    p = 1 / vocab_size
    for n in range(1, order + 1):
        history = tuple(context[len(context) - n + 1:]) if n > 1 else ()
        windows = [[tuple(t[i - k + 1:i + 1]) for t in training for i in range(order - 1, len(t))] for k in (n, n + 1)]
        grams = Counter(windows[0]) if n == order else Counter(g[1:] for g in set(windows[1]))
        d = discounts(np.array(list(grams.values())), discount)
        followers = {g[-1]: c for g, c in grams.items() if g[:-1] == history}
        total = sum(followers.values())
        if total:
            c = followers.get(word, 0)
            p = (c - d[min(c, 3)]) / total + sum(d[min(c, 3)] for c in followers.values()) / total * p
    return p


@pytest.mark.parametrize("order, discount", [(1, 0.75), (2, 0.75), (3, "modified"), (4, "single"), (5, 0.5)])
def test_ngram_equals_the_definition(order, discount):
    rng = np.random.default_rng(order)
    texts = [rng.integers(0, 5, n).tolist() for n in (60, 1, 90, 0, 25)]
    model = NGram(order, discount, vocab_size=6).fit(texts)                  # id 5 is never seen
    start, new = [6] * (order - 1), rng.integers(0, 6, 25).tolist()
    slow = [reference_probability(w, start + new[:i], [start + t for t in texts], order, discount, 6) for i, w in enumerate(new)]
    assert np.allclose(np.log(slow), model.log_probs(new), rtol=0, atol=1e-12)
    step = [model.next_probs(new[:i]) for i in range(len(new))]
    assert np.allclose([p.sum() for p in step], 1) and all((p > 0).all() for p in step)
    assert np.allclose([np.log(p[w]) for p, w in zip(step, new)], model.log_probs(new))


def test_ngram_context_crosses_the_cut():
    ids = np.random.default_rng(0).integers(0, 4, 300)
    model = NGram(4).fit([ids[:200]])
    whole = model.log_probs(ids[200:])
    assert np.allclose(np.concatenate([model.log_probs(ids[200:250]), model.log_probs(ids[250:], context=ids[240:250])]), whole)


def test_ngram_generation_repeats_and_follows():
    model = NGram(3, vocab_size=5).fit([[0, 1, 2, 3] * 50])
    assert model.generate([0, 1], 12, seed=3) == model.generate([0, 1], 12, seed=3)
    assert Counter(zip(*[iter(model.generate([0, 1, 2, 3], 40, 0))] * 4)).most_common(1)[0][1] > 3
    assert model.generate([], 0) == [] and len(NGram(1).fit([[0, 1]]).generate([], 5)) == 5


def test_ngram_refuses():
    for wrong in (dict(order=0), dict(discount=1.5), dict(discount="best")):
        with pytest.raises(UsageError): NGram(**wrong)
    with pytest.raises(UsageError): NGram().log_probs([1])
    with pytest.raises(InputError): NGram().fit([[], []])
    with pytest.raises(InputError): NGram().fit([[0, -1]])
    with pytest.raises(InputError): NGram().fit([[0, 1]]).log_probs([2])
    assert len(NGram(2).fit([[0, 1]]).log_probs([])) == 0
    assert NGram(2).fit([[0]]).log_probs([0])[0] == 0                         # one known token: certain


# ---- other baselines

def test_linear_text_and_majority():
    texts, labels = ["good film", "very good", "bad film", "so bad"] * 5, ["pos", "pos", "neg", "neg"] * 5
    for pieces in (False, True):
        assert LinearText(pieces=pieces).fit(texts, labels).predict(["good good", "bad", ""])[:2] == ["pos", "neg"]
    zh = LinearText().fit(["很好看", "不好看", "真好看", "不太好看"] * 3, [1, 0, 1, 0] * 3, "zh")
    assert zh.predict(["不好"]) == [0] and zh.predict([]) == []
    assert Majority().fit(texts, labels).predict(["x"]) == ["neg"]           # equal counts: the first in order
    with pytest.raises(InputError, match="1 distinct"): LinearText().fit(["a b", "c d"], ["x", "x"])
    with pytest.raises(InputError): LinearText().fit(["!", "?"], ["x", "y"])
    with pytest.raises(UsageError): LinearText("translate")
    with pytest.raises(InputError): Majority().fit([], [])


def test_nearest_neighbour():
    memory = NearestNeighbour().fit(["open the file", "close the window", "打开文件"], ["A", "B", "C"])
    assert memory.predict(["please open this file", "CLOSE window", "文件"]) == ["A", "B", "C"]
    assert memory.predict(["€"]) == ["A"] and memory.predict([]) == []       # nothing in common: the earliest
    assert NearestNeighbour().fit(["same", "same"], [1, 2]).predict(["same"] * 300) == [1] * 300
    with pytest.raises(InputError): NearestNeighbour().fit(["a"], [])
    with pytest.raises(InputError): NearestNeighbour().fit(["", " "], [1, 2])


def test_rules():
    text = "Use e.g. a list.\nIt is 3.5 times faster! \"Really?\" Yes\n\nNew part"
    assert sentences(text) == ["Use e.g. a list.", "It is 3.5 times faster!", '"Really?"', "Yes", "New part"]
    assert lead(text, 2) == "Use e.g. a list. It is 3.5 times faster!" and lead("") == "" and first_words("a b  c", 2) == "a b"
    assert lead("他说：“走吧。”我们走了。好！", 2, "zh") == "他说：“走吧。”我们走了。" and first_words("今天 下雨", 3, "zh") == "今天下"
    assert clauses("A, b; c. 3.5") == ["A", "b", "c", "3.5"] and clauses("") == [""]


def test_answer_rules():
    passage = "Error 404 means Not Found, and error 500 means Internal Server Error."
    assert most_similar_clause(passage, "What does error 404 mean?") == "Error 404 means Not Found"
    assert most_similar_clause(passage, "Which error means Internal Server Error?", only_new=True) == "and"
    assert most_similar_clause("法国的首都是巴黎，德国的首都是柏林。", "德国的首都是哪里？", "zh", only_new=True) == "柏林"
    assert random_span(passage) in passage and random_span(passage, seed=0) == random_span(passage, seed=0)
    assert len({random_span(passage, seed=i) for i in range(20)}) > 3
    assert random_span("。") == "。" and random_span("one", 3) == "one" and most_similar_clause("", "x") == ""
