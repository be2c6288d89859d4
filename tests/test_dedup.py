"Deduplication: the fixtures, the rules of what stays, the same decisions in any split of the work, and rows that stay small."
import json, random, subprocess, sys, time, unicodedata
from pathlib import Path

import numpy as np
import pytest

from lmnb.clean import run_steps
from lmnb.collect import Document
from lmnb.core import InputError, UsageError
from lmnb.dedup import (ALWAYS, DEDUP, SHORT, STOPS, Exact, Lines, Near, catch_probability, changed_text, choose_bands, exact, families, fingerprint, fold, hash_of, jaccard, lines, lower, minhash,
                        near, odd_sketch, odd_sketches, pairs_near, read_rows, scurve, shingle_hashes, shingles, signatures, similarity, write_clusters)

WORDS = [f"{a}{b}" for a in "bcdfgklmnprstvw" for b in ("ad", "en", "il", "or", "um", "ay")]
HAN = [chr(0x4e00 + i) for i in range(600)]


def corpus(seed=0, families_=60):
    "Texts in two languages, short and long, with relatives at every similarity, in an order that mixes them."
    dice = random.Random(seed)
    texts = []
    for i in range(families_):
        zh, n = i % 3 == 0, dice.choice([12, 60, 250, 700])
        units = HAN if zh else WORDS
        base = ("" if zh else " ").join(dice.choices(units, k=n))
        texts += [base, *(changed_text(base, dice.randint(0, n//10), words=units, dice=dice) for _ in range(3))]
    texts += ["", "?!", "...", "one", "One!", "two words", "\ud800 half"]
    dice.shuffle(texts)
    return [Document.of(text, position=i, quality=dice.randrange(5)) for i, text in enumerate(texts)]


STEPS = [Exact(), Exact(keep="longest"), Lines(), Lines(keep="none", least=3), Lines(unit="paragraph"), Near(), Near(threshold=.6, keep="quality"), Near(keep="longest", size=2)]
each_step = pytest.mark.parametrize("step", STEPS, ids=repr)


# -- the contract of a corpus-wide step --------------------------------------------------------------------------------

@each_step
def test_any_split_of_the_work_gives_the_same(step):
    docs = corpus()
    whole = list(step(iter(docs)))
    rows = [json.loads(json.dumps(row)) for start in range(0, len(docs), 37) for row in step.map(iter(docs[start:start + 37]))]
    assert [row[0] for row in rows] == [doc.id for doc in docs]
    decisions = json.loads(json.dumps(step.reduce(iter(rows))))
    assert [doc for start in range(0, len(docs), 11) for doc in step.apply(iter(docs[start:start + 11]), decisions)] == whole
    assert [doc.id for doc in whole] == [doc.id for doc in docs]
    assert set(decisions) == {new.id for old, new in zip(docs, whole) if old != new}


@each_step
def test_no_documents_and_one_document(step):
    assert list(step([])) == [] and step.reduce([]) == {}
    for text in ("", "\n\n", "?", "a", "\0", "x" * 200_000):
        doc = Document.of(text, quality=1)
        assert list(step([doc])) == [doc]


@each_step
def test_settings_make_the_step_again(step):
    again = type(step)(**json.loads(json.dumps(vars(step))))
    assert again == step and again.__name__ == type(step).__name__.lower()


def test_another_process_gives_the_same_rows():
    docs = corpus(families_=6)
    code = ("import json, sys\nfrom lmnb.collect import Document\nfrom lmnb.dedup import exact, lines, near\n"
            "docs = [Document(**row) for row in json.load(sys.stdin)]\nprint(json.dumps([list(step.map(docs)) for step in (exact, lines, near)]))")
    out = subprocess.run([sys.executable, "-c", code], input=json.dumps([vars(doc) for doc in docs]), capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [list(step.map(docs)) for step in (exact, lines, near)]


def test_rows_do_not_grow_with_the_text():
    dice = random.Random(1)
    text = " ".join(dice.choices(WORDS, k=2000))
    rows = [len(next(near.map([Document.of(text[:n])]))[3]) for n in (200, 3_000, len(text))]
    assert rows[0] < rows[1] == rows[2] < 450
    assert len(json.dumps(next(exact.map([Document.of(text)])))) < 80


@each_step
def test_a_document_that_comes_twice_is_told(step):
    docs = [Document.of(text, position=i, quality=1) for i, text in enumerate(["a text that came twice", "another one"])]
    with pytest.raises(InputError, match=f"the same id {docs[0].id}: was a file collected twice") as error: list(step([*docs, docs[0]]))
    assert "\n" not in str(error.value)


def test_families_end():
    docs = [Document.of(text, position=i) for i, text in enumerate("abcd")]
    a, b, c, d = (doc.id for doc in docs)
    twins = lambda *ids: [doc.but(fate="dropped", twin=twin) if twin else doc for doc, twin in zip(docs, ids)]
    assert families(twins(a, a, b, None)) == {a: [(b, 1.), (c, 1.)]}                # its own twin is nobody's
    assert sum(map(len, families(twins(b, c, a, c)).values())) == 4                 # a circle ends


# -- the fixtures ------------------------------------------------------------------------------------------------------

def read_folder(folder):
    return [Document.of(path.read_text(encoding="utf-8"), source=path.name) for path in sorted(folder.glob("*.txt"))]


def test_line_fixture(public_data):
    folder = public_data / "web_dedup_fixtures"
    found = {doc.source: "" if "fate" in doc.meta else doc.text for doc in lines(read_folder(folder / "documents_with_line_duplicates"), keep="none")}
    assert found == {path.name: path.read_text(encoding="utf-8") for path in (folder / "documents_line_deduplicated").glob("*.txt")} and len(found) == 5


@pytest.mark.parametrize("size", [3, 5])
def test_fuzzy_fixture(public_data, size):
    "Two MIT licences under different names are one, PyTorch's licence is another (exact Jaccard 0.92 and 0.04)."
    docs = read_folder(public_data / "web_dedup_fixtures/documents_with_fuzzy_duplicates")
    found = {doc.source: doc.meta.get("twin") for doc in near(docs, size=size)}
    ids = {doc.source: doc.id for doc in docs}
    assert found == {"pytorch_license.txt": None, "rails_mit_license.txt": None, "react_mit_license.txt": ids["rails_mit_license.txt"]}


# -- what stays --------------------------------------------------------------------------------------------------------

def test_the_rule_decides_who_stays():
    texts = ["a fat cat sat", "a fat\xa0cat sat ", "a  fat  cat  sat", "something else here"]
    docs = [Document.of(text, position=i, quality=q) for i, (text, q) in enumerate(zip(texts, (1, 3, 2, 0)))]
    stays = lambda step: [i for i, doc in enumerate(step(docs)) if "fate" not in doc.meta]
    for step in (Exact, Near):
        assert stays(step()) == [0, 3] and stays(step(keep="longest")) == [2, 3] and stays(step(keep="quality")) == [1, 3]
        with pytest.raises(InputError, match="stars"): list(step(keep="stars")(docs))


DIFFERENT = [("3.14", "31.4"), ("12:30", "1:230"), ("C", "C++"), ("C", "C#"), ("C++", "C#"), ("1", "-1"), ("1 - 1", "1 + 1"), ("😀 ok", "😡 ok"), ("5 €", "5 $"), ("1-2", "12"),
             ("कि", "की"), ("ม้า", "มา"), ("a < b", "a > b"), ("第3.1节", "第31节"), ("now here", "nowhere"), ("1 2 300", "12 300"), ("1;23;00", "12 300"), ("5%", "5"), ("5‰", "5%"), ("１２％", "12"),
             ("−5", "5"), ("m²", "m2"), ("m³", "m²"), ("10㎡", "10m2"), ("½", "12"), ("①", "1"), ("H₂O", "H2O"), ("a != b", "a = b"), ("x == y", "x = y"), ("x=y", "x y"), ("￥5", "$5"),
             ("5°C", "5C"), ("v1.2", "v12"), ("1.2.3", "1.23"), ("1,000", "1.000"), ("3:30", "3.30"), ("👍🏻", "👍🏿"), ("f(x)", "f x"), ("a[i]", "a(i)"), ("x^2", "x2"), ("km/h", "km h"), ("1/2", "12"),
             ("!x", "x"), ("-x", "x"), (".NET", "NET"), ("@ada", "ada"), ("#1", "1"), ("~5", "5"), ("±5", "5"), ("A → B", "A ← B"), ("B+", "B-"), ("B-", "B"), ("we're", "were"), ("re-sign", "resign"),
             ("(5)", "5"), ("p<.05", "p<05"), ("2 - 3", "2 3"), ("5′", "5″"), ("真的？", "真的。"), ("他不好", "他好"), ("R&D", "R D"), ("1e-5", "1e5"), ("☑ done", "☐ done"), ("¬p", "p"), ("𝑥²", "𝑥2")]


@pytest.mark.parametrize("a,b", DIFFERENT)
def test_signs_that_mean_something_are_not_folded(a, b):
    for frame in ("{}", "x {} y", "At night there are {} of them in the valley below the town."):
        first, second = frame.format(a), frame.format(b)
        assert fingerprint(first) != fingerprint(second)
        assert jaccard(shingles(Document.of(first)), shingles(Document.of(second))) < 1


@pytest.mark.parametrize("a,b", [("Hello, world", "Hello,  world "), ("你好，世界", "你好,世界"), ("ＡＢ１２", "AB12"), ("one\r\ntwo", "one\ntwo\n"), ("one\u2028two", "one \ntwo"), ("a\n\n\n\nb", "a\n\nb"),
                                 ("x\u00ady", "xy"), ("\ufeffa\n", "a"), ("☺\ufe0f", "☺"), ("cafe\u0301", "café"), ("“好”", '"好"'), ("it’s", "it's"), ("a\xa0b\u3000c", "a b c"), ("ｶﾞ", "ガ"), ("天气\u200b好", "天气好")])
def test_what_carries_no_meaning_is_folded(a, b): assert fingerprint(a) == fingerprint(b)


@pytest.mark.parametrize("a,b", [("Polish it", "polish it"), ("5 mW", "5 MW"), ("You did it?", "You did it."), ("Let's eat, grandma", "Let's eat grandma"), ("snake_case", "snake case"), ("if x:\n  a\nb", "if x:\n  a\n  b"),
                                 ("a\tb c", "a b\tc"), ("a\nb", "a b"), ("👨\u200d👩", "👨👩"), ("می\u200cروم", "میروم")])
def test_case_punctuation_and_indentation_are_not_folded(a, b): assert fingerprint(a) != fingerprint(b)


@pytest.mark.parametrize("a,b", [("Hello, world", "hello world!"), ("你好，世界", "你好世界"), ("ＡＢ１２", "ab12"), ("# Title", "Title"), ("- item one", "item one"), ("covid-19", "covid 19"), ("In 2020, 5 came.", "in 2020 5 came"),
                                 ("a\nb", "a b"), ("ﬁne", "fine"), ("Really??", "really?"), ("A*", "A"), ("i--", "i"), ("不，行", "不行")])
def test_near_duplicates_see_neither_case_nor_punctuation(a, b):
    a, b = (f"{text}\nand then ten more words stand here in a row" for text in (a, b))
    assert jaccard(shingles(Document.of(a)), shingles(Document.of(b))) == 1
    kept, report = run_steps(DEDUP, [Document.of(text, position=i) for i, text in enumerate((a, b))])
    assert len(kept) == 1 and report.removed[0].meta["similarity"] == 1


SAME = [("ＡＢ１２", "ab12"), ("a\nb", "a b"), ("ﬁne", "fine"), ("Really??", "really?"), ("One stop.", "one stop"), ("好的。", "好的"), ("“Yes”", '"yes"'), ("two  words", "Two words"), ("x\u00ady", "xy")]


@pytest.mark.parametrize("a,b", SAME)
def test_what_does_not_count_in_short_texts_either(a, b): assert jaccard(shingles(Document.of(a)), shingles(Document.of(b))) == 1


SHORT_PAIRS = [("A*", "A"), ("i--", "i"), ("Press **", "Press"), ("a * b", "a / b"), ("Same as a ** b.", "Same as a // b."), ("n!", "n"), ("a\\", "a"), ("— so", "so"), ("`ls`", "ls"), ("不行", "不，行"), ("好，不行。", "好不行。"),
               ("Let's eat, grandma", "Let's eat grandma"), ("Wait...", "Wait."), ("my final exam grade was an A*", "my final exam grade was an A"), ("今天他的成绩是甲！", "今天他的成绩是甲"), ("price in the list is five", "price in the list is five €"),
               ("👨\u200d👩\u200d👧", "👨👩👧"), ("👍🏻", "👍"), ("🏴\U000e0067\U000e007f", "🏴\U000e0073\U000e007f"), ("می\u200cروم", "میروم"), ("می\u200cروم", "می روم"), ("क्\u200dष", "क्ष"), ("葛\U000e0100", "葛\U000e0101"),
               ("if x:\n  a\nb", "if x:\n  a\n  b"), ("for i in r:\n    a(i)\nb()", "for i in r:\n    a(i)\n    b()"), ("for i in r:\n\ta(i)\nb()", "for i in r:\n\ta(i)\n\tb()"), ("def f(x):\n    for i in range(x):\n        print(i)\n    return x, i, 0", "def f(x):\n    for i in range(x):\n        print(i)\n        return x, i, 0")]


@pytest.mark.parametrize("a,b", SHORT_PAIRS)
def test_in_short_texts_each_mark_counts(a, b):
    kept, _ = run_steps(DEDUP, [Document.of(text, position=i) for i, text in enumerate((a, b))])
    assert len(kept) == 2


def test_joiners_count_in_longer_texts_too():
    for a, b in SHORT_PAIRS:
        if not {"\u200c", "\u200d", "\U000e0100", "\U000e007f"} & {*a}: continue
        first, second = (Document.of(f"At night there are {text} in the valley below the old town.") for text in (a, b))
        assert fingerprint(first.text) != fingerprint(second.text) and jaccard(shingles(first), shingles(second)) < 1


MARKS = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i))[0] in "PS"]
IGNORED_SHORT = set(STOPS) | set("․︒﹒．｡")                                  # those, and the same in other widths


def test_every_mark_of_unicode_counts_or_is_named():
    "Behind a short word nothing is ignored but a full stop, before it nothing; in a longer text what the sentence says."
    same = lambda a, b: jaccard(shingles(Document.of(a)), shingles(Document.of(b))) == 1
    behind = {mark for mark in MARKS if same(f"word{mark}", "word")}
    assert behind == IGNORED_SHORT and not [mark for mark in MARKS if same(f"{mark}word", "word") or same(f"a{mark}b", "ab") or same(f"a {mark} b", "a b")]
    longer = "At night there are lights {}of them in the valley below the town."
    found = {mark for mark in MARKS if same(longer.format(f"{mark} "), longer.format(""))}
    line = lambda mark: any(word in unicodedata.name(mark) for word in ("LOW LINE", "OVERLINE"))
    assert found == {mark for mark in MARKS if lower(mark) == "`" or unicodedata.category(mark)[0] == "P" and not line(mark) and not set(lower(mark)) & set(ALWAYS)}
    assert all(f" {mark}" in near.ignores for mark in ALWAYS) and "one full stop at its end" in near.ignores and "backticks" in near.ignores and f"fewer than {SHORT} words" in near.ignores


def test_short_texts_of_nothing_but_marks_take_linear_time():
    for text in ("*"*300_000, "* "*150_000, "x" + "*"*300_000, "x" + " *"*150_000, "x\n" + " "*300_000 + "y", "\n x*"*9, "😀"*100_000):
        start = time.process_time()
        near.reduce(near.map([Document.of(text)]))
        assert time.process_time() - start < 5


def test_the_case_of_short_texts():
    rows = [json.loads(line)["text"] for line in (Path(__file__).parent/"cases"/"18-dedup-short"/"numbers.jsonl").read_text(encoding="utf-8").split("\n") if line]
    kept, report = run_steps(DEDUP, [Document.of(text, position=i) for i, text in enumerate(rows)])
    assert {text for text in rows if text not in {doc.text for doc in kept}} == set() and report.steps[1].dropped == report.steps[2].dropped == 0


@pytest.mark.parametrize("make", [lambda: Near(threshold=0), lambda: Near(threshold=80), lambda: Near(size=0), lambda: Lines(unit="word"), lambda: Lines(keep="last")])
def test_bad_settings_are_one_line(make):
    with pytest.raises(UsageError) as error: make()
    assert "\n" not in str(error.value)


def test_lines_are_cut_and_nothing_else():
    docs = [Document.of(text, position=i) for i, text in enumerate(["menu\n\none\nx\n", "menu\r\ntwo\nx", "menu", "three\nthree\n\n\nthree"])]
    first, none, safe = (list(lines(docs, **how)) for how in ({}, {"keep": "none"}, {"keep": "none", "least": 4}))
    assert [doc.text for doc in first] == ["menu\n\none\nx\n", "two\n", "menu", "three\n\n\n"] and first[2].meta == {"fate": "dropped", "reason": "every line repeated"}
    assert [doc.text for doc in none[:2]] == ["\none\n", "two\n"] and none[3].meta["fate"] == "dropped" and none[3].text == docs[3].text
    assert [doc.text for doc in safe[:2]] == ["\none\nx\n", "two\nx"] and first[0] is docs[0]
    pages = [Document.of(text, position=i) for i, text in enumerate(["a b\nc\n\nown\n\n", "a b\nc\n \nmine"])]
    assert [doc.text for doc in lines(pages, unit="paragraph")] == [pages[0].text, "mine"]


def test_documents_without_letters_are_not_alike():
    docs = [Document.of(text, position=i) for i, text in enumerate(["", "!", "?!", "。", "***"])]
    assert not near.reduce(near.map(docs))


def test_families_and_what_is_written(tmp_path):
    docs = corpus()
    kept, report = run_steps(DEDUP, docs)
    out = list(near(kept_ for kept_ in exact(docs) if "fate" not in kept_.meta)) + [doc for doc in exact(docs) if "fate" in doc.meta]
    found, stays = families(out), {doc.id for doc in kept}
    assert set(found) <= stays and sum(map(len, found.values())) == len(docs) - len(kept)
    assert write_clusters(tmp_path / "clusters.jsonl", iter(out)) == len(found)
    rows = [json.loads(line) for line in (tmp_path / "clusters.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = {doc.id: doc.text for doc in docs}
    assert {row["kept"]["id"]: [(other["id"], other["similarity"]) for other in row["others"]] for row in rows} == found
    assert all(texts[one["id"]].startswith(one["text"]) for row in rows for one in [row["kept"], *row["others"]])
    for doc in near(docs):
        if "fate" in doc.meta: assert doc.meta["similarity"] >= .8 and abs(doc.meta["similarity"] - jaccard(*(shingles(Document.of(texts[i])) for i in (doc.id, doc.meta["twin"])))) < .04


# -- the fast way is the readable way -----------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_arrays_equal_the_readable_functions(size):
    docs = corpus(families_=12) + [Document.of(t) for t in ("Ｗｉｄｅ Ａ1 x_y", "Straße ﬁne", "ไทย ภาษา", "日本語のテスト", "𠀀𠀁 astral 𝒳", "naïve café", "हिन्दी", " ".join(map(str, range(5000))))]
    pieces = [shingles(doc, size=size) for doc in docs]
    hashes, doc, count = shingle_hashes([fold(doc.text) for doc in docs], size)
    expected = [{hash_of(piece) for piece in some} for some in pieces]
    assert [set(hashes[doc == i].tolist()) for i in range(len(docs))] == expected and count.tolist() == [len(some) for some in expected]
    full = np.flatnonzero(count)
    fast = signatures(hashes, (np.cumsum(count) - count)[full], count=8)
    assert fast.tolist() == [minhash(pieces[i], count=8) for i in full]
    assert odd_sketches(hashes, doc, count) == [odd_sketch(some) for some in expected]


@pytest.mark.parametrize("n", [40, 64, 65, 300, 2048, 3000, 20_000])
@pytest.mark.parametrize("s", [.5, .8, .95])
def test_the_sketch_estimates_jaccard(n, s):
    dice = random.Random(n)
    shared, own = round(2*n*s/(1 + s)), n - round(2*n*s/(1 + s))
    numbers = dice.sample(range(2**32), shared + 2*own)
    a, b = set(numbers[:shared + own]), set(numbers[:shared] + numbers[shared + own:])
    estimate = similarity(odd_sketch(a), len(a), odd_sketch(b), len(b))
    assert abs(estimate - jaccard(a, b)) < (1e-9 if n <= 64 else .04) and similarity(odd_sketch(a), n, odd_sketch(a), n) == 1
    few = set(numbers[:max(1, shared//3)])   # sketches of different sizes are folded
    assert abs(similarity(odd_sketch(a), len(a), odd_sketch(few), len(few)) - jaccard(a, few)) < .08


def test_similarity_of_many_is_that_of_each():
    step = Near()
    docs = corpus(families_=40) + [Document.of(" ".join(random.Random(i).choices(WORDS, k=k)), source="long", position=i) for i, k in enumerate((64, 66, 67, 2050, 2051, 9000))]
    _, _, _, sketches = read_rows(step.map(docs), step.bands[0])
    full = np.flatnonzero(sketches.count)
    for i in full[::9].tolist():
        each = [similarity(sketches[i], int(sketches.count[i]), sketches[j], int(sketches.count[j])) for j in full.tolist()]
        assert np.abs(sketches.similar(i, full) - each).max() < 1e-12


@pytest.mark.parametrize("frame,extra", [(80, 20), (45, 12)])
def test_a_template_on_many_pages_is_not_slow(frame, extra):
    "Pages that share most of their text meet in every bucket: the worst case of the loop (one by one it took 18 microseconds a pair)."
    dice = random.Random(0)
    docs = [Document.of(" ".join([f"t{i}" for i in range(frame)] + [f"w{dice.randrange(9999)}" for _ in range(extra)]), position=i) for i in range(1500)]
    start = time.process_time()
    assert near.reduce(near.map(docs)) == {} and time.process_time() - start < 10


def test_the_loop_over_readable_signatures_decides_the_same():
    "Bands from `minhash`, exact Jaccard as the check: the loop of the chapter, in plain Python."
    docs, step = corpus(families_=40), Near(threshold=.75)
    bands, rows = step.bands
    kept, dropped = {}, {}
    for doc in docs:
        pieces = shingles(doc)
        if not pieces: continue
        signature = minhash(pieces, count=bands*rows)
        keys = {(b, tuple(signature[b*rows:(b + 1)*rows])) for b in range(bands)}
        alike = [(jaccard(pieces, other), name) for name, (other, others_keys) in kept.items() if keys & others_keys]
        if max(alike, default=(0,))[0] >= .75: dropped[doc.id] = max(alike)[0]
        else: kept[doc.id] = pieces, keys
    decisions = step.reduce(step.map(docs))
    border = {name for name, s in dropped.items() if abs(s - .75) < .02}   # the sketch may see these on the other side
    assert len(dropped) > 40 and set(decisions) - border == set(dropped) - border


def test_datasketch_decides_the_same():
    datasketch = pytest.importorskip("datasketch")
    docs = [doc for doc in corpus(families_=60) if len(shingles(doc)) > 30]
    bands, rows = near.bands
    index, dropped, true = datasketch.MinHashLSH(params=(bands, rows), num_perm=bands*rows), set(), {doc.id: shingles(doc) for doc in docs}
    for doc in docs:
        sketch = datasketch.MinHash(num_perm=bands*rows, hashfunc=lambda piece: hash_of(piece))
        sketch.update_batch(true[doc.id])
        if any(jaccard(true[doc.id], true[other]) >= .8 for other in index.query(sketch)): dropped.add(doc.id)
        else: index.insert(doc.id, sketch)
    ours = {doc.id for doc in near(docs) if "fate" in doc.meta}
    assert len(dropped) > 40 and len(ours ^ dropped) <= .03*len(docs)


# -- threshold, bands, precision and recall ------------------------------------------------------------------------------

def test_bands_follow_the_threshold():
    scipy = pytest.importorskip("datasketch.lsh")
    for threshold in (.5, .7, .8, .9): assert choose_bands(threshold, miss=.5) == scipy._optimal_param(threshold, 128, .5, .5)
    for threshold in (.5, .6, .7, .8, .9):
        bands, rows = choose_bands(threshold)
        assert bands*rows <= 128 and catch_probability(min(threshold + .1, 1), bands=bands, rows=rows) > .99
    curve = scurve(.8, points=11)
    assert curve["p"][0] == 0 and curve["p"][-1] == 1 and curve["p"] == sorted(curve["p"]) and 0 < curve["missed"] < curve["compared"] < .5


@pytest.mark.parametrize("threshold", [.6, .8])
def test_recall_and_precision_on_planted_pairs(threshold):
    dice = random.Random(5)
    docs, true = [], {}
    for i in range(600):
        units, glue = (HAN, "") if i % 3 == 0 else (WORDS, " ")
        base = Document.of(glue.join(dice.choices(units, k=150)), position=i)
        twin = Document.of(changed_text(base.text, dice.randint(0, 25), words=units, dice=dice), source="twin", position=i)
        docs += [base, twin]
        true[twin.id] = jaccard(shingles(base), shingles(twin)), base.id
    dropped = {doc.id: doc.meta["twin"] for doc in near(docs, threshold=threshold) if "fate" in doc.meta}
    sure = [name for name, (s, _) in true.items() if s >= threshold + .1]
    assert len(sure) > 60 and sum(name in dropped for name in sure) >= .97*len(sure)
    assert sum(true[name][0] >= threshold and true[name][1] == twin for name, twin in dropped.items()) >= .97*len(dropped)


def test_pairs_near_the_threshold_are_real():
    for threshold in (.5, .8):
        rows = pairs_near(threshold, width=.1, most=6)
        assert len(rows) == 6
        for row in rows:
            assert jaccard(*(shingles(Document.of(row[side])) for side in "ab")) == row["jaccard"] and abs(row["jaccard"] - threshold) <= .1
            assert abs(row["estimate"] - row["jaccard"]) < .04 and 0 < row["chance"] <= 1
    assert pairs_near(.8, docs=[Document.of("nothing like it")]) == []
