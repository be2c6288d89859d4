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
