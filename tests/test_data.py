"The data stage: what is read, split, cleaned and deduplicated, and that nothing leaks, vanishes or changes from one machine to the next."
import csv, gzip, json, os, random, re, subprocess, sys
from pathlib import Path

import pytest

from lmnb.clean import CLEANING, change, keep, long_enough, repair, run_steps, script_of, strip_controls, tidy_space
from lmnb.collect import (COLUMNS, DATASETS, DataSet, Document, chapter_of, decode, distinct, folds, hold_out, letters_of, load_dataset, machine_facts,
                          names, read, read_documents, rows_of, split, write_documents)
from lmnb.core import CorruptError, InputError, LmnbError, UsageError, asset, read_json
from lmnb.dedup import DEDUP, catch_probability, clusters, exact, jaccard, minhash, near, shingles

EMBEDDED = [name for name, entry in DATASETS.items() if not entry.folder]
PUBLIC = [name for name, entry in DATASETS.items() if entry.folder]
TASKS = {"lm", "classify", "translate", "answer", "summarize", "chat", "pairs"}


# -- the embedded sets -----------------------------------------------------------------------------------------------

def texts(name, part):
    "What must not stand in two parts of a set: the text that a model is asked about."
    key = {"translate": lambda r: r["source"].casefold(), "chat": lambda r: letters_of(r["user"]),
           "answer": lambda r: r["passage"] + r["question"]}.get(DATASETS[name].task, lambda r: r["text"])
    return [key(row) for row in load_dataset(name).parts[part]]


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_text_stands_in_two_parts(name):
    parts = {part: texts(name, part) for part in load_dataset(name).parts if part != "all"}
    for part, found in parts.items():
        assert len(set(found)) == len(found), f"{name}: a row stands twice in {part}"
        for other in parts:
            if other > part: assert not set(found) & set(parts[other]), f"{name}: {part} and {other} share rows"


@pytest.mark.parametrize("name", EMBEDDED)
def test_rows_are_what_the_task_needs(name):
    data = load_dataset(name)
    assert data.task in TASKS and data.name == name and data.licence and data.languages
    for part, rows in data.parts.items():
        assert len(rows) >= 100, part
        for row in rows:
            assert all(isinstance(row[c], str) and row[c].strip() for c in COLUMNS[data.task]), row
            assert row.get("language", data.languages[0]) in data.languages
    assert data.hash[:16] in data.card and data.licence in data.card and "Python" in data.card


@pytest.mark.parametrize("name", EMBEDDED)
def test_building_again_gives_the_same_rows(name):
    assert DATASETS[name].build() == load_dataset(name).parts


def test_another_process_gives_the_same_hash(tmp_path):
    "Python salts its own hashes: nothing may depend on the order of a set."
    code = "from lmnb.collect import load_dataset\nprint(*[load_dataset(n).hash for n in ('translate_en_zh', 'answer', 'chat')])"
    run = lambda seed: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                                      env={**os.environ, "PYTHONHASHSEED": seed, "LMNB_HOME": str(tmp_path / seed)}).stdout
    assert run("1") == run("2") == " ".join(load_dataset(n).hash for n in ("translate_en_zh", "answer", "chat")) + "\n"


def test_sizes_are_large_enough_to_tell_models_apart():
    size = lambda name, part: len(load_dataset(name).parts[part])
    assert size("topics", "test") >= 1000
    assert sum(len(rows) for rows in load_dataset("summarize_docs").parts.values()) >= (3000 if sys.version_info < (3, 12) else 2500)
    assert min(size("sentiment_en", "all"), size("sentiment_zh", "all")) >= 1000
    assert size("answer", "test_facts") >= 1000 and size("answer", "test_patterns") >= 1000 and size("answer", "train") == 12000
    kinds = [row["kind"] for rows in load_dataset("translate_en_zh").parts.values() for row in rows]
    assert kinds.count("interface") > 2500 and kinds.count("cldr") > 3000


def test_pydocs_and_summaries_are_split_by_module():
    for name in ("pydocs", "summarize_docs"):
        modules = [{row["module"] for row in rows} for rows in load_dataset(name).parts.values()]
        assert not modules[0] & modules[1] and not modules[0] & modules[2] and not modules[1] & modules[2]


def test_topics_have_no_near_twins_and_known_labels():
    rows = [row for part in load_dataset("topics").parts.values() for row in part]
    assert len(distinct(rows)) == len(rows)
    assert len({row["label"] for row in rows}) == 16
    assert chapter_of("email.message") == "Internet Data" and chapter_of("nothing.at.all") is None


def test_distinct_keeps_the_first_and_knows_the_measure():
    rows = [{"text": t} for t in ("a b c d e f", "A b c d e f!", "a b c d e g", "x y z w", "a b q r s t")]
    assert distinct(rows) == [rows[0], rows[3], rows[4]]   # 4 of 6 pairs of words are shared by the first and the third


@pytest.mark.parametrize("name", ["sentiment_en", "sentiment_zh"])
def test_folds_test_each_row_once_and_keep_the_balance(name):
    data = load_dataset(name)
    rows = data.parts["all"]
    pairs = folds(data)
    tested = [row["text"] for _, test in pairs for row in test]
    assert len(pairs) == 5 and sorted(tested) == sorted(row["text"] for row in rows)
    for train, test in pairs:
        assert not {row["text"] for row in train} & {row["text"] for row in test}
        assert abs(sum(row["label"] == "positive" for row in test)/len(test) - .5) < .05
    assert sorted(r["text"] for p in ("train", "dev", "test") for r in data.parts[p]) == sorted(tested)


def test_chat_parts_have_one_wording_of_each_answer():
    parts = load_dataset("chat").parts
    known = {row["answer"] for row in parts["train"]}
    for part in ("dev", "test"): assert sorted(row["answer"] for row in parts[part]) == sorted(known)
    assert sum(row["language"] == "zh" for row in parts["test"]) >= 150 and sum(row["language"] == "en" for row in parts["test"]) >= 150


def test_answers_stand_where_the_row_says():
    for part, rows in load_dataset("answer").parts.items():
        for row in rows: assert row["passage"].startswith(row["answer"], row["start"]), (part, row)


def test_answer_patterns_and_facts_are_held_out():
    parts = load_dataset("answer").parts
    patterns = {part: {row["pattern"] for row in rows} for part, rows in parts.items()}
    assert patterns["test_facts"] <= patterns["train"] and not patterns["test_patterns"] & patterns["train"]
    assert len(patterns["train"] | patterns["test_patterns"]) >= 60   # 30 in each language
    for part in ("dev", "test_facts", "test_patterns"):
        asked = lambda part: {(row["question"], row["answer"]) for row in parts[part]}
        assert not asked(part) & asked("train"), "a fact that training has told (which zone is at UTC+01:00 has many answers)"
    for language, some in read_json(asset("answer_patterns.json")).items():
        seen, unseen = hold_out(some)
        assert {p["kind"] for p in seen} == {p["kind"] for p in unseen} and len(seen) + len(unseen) == len(some)


def test_facts_are_true_and_the_same_in_both_languages():
    en, zh = machine_facts("en"), machine_facts("zh")
    assert {"code": "404", "name": "Not Found"} in en["http"]
    assert {"zone": "Asia/Shanghai", "offset": "UTC+08:00"} in zh["timezone"] and {"zone": "America/St_Johns", "offset": "UTC-03:30"} in en["timezone"]
    assert {"zone": "Europe/Dublin", "offset": "UTC+00:00"} in en["timezone"] and {"zone": "Australia/Sydney", "offset": "UTC+10:00"} in en["timezone"]
    assert any(f["char"] == "é" and f["name"] == "LATIN SMALL LETTER E WITH ACUTE" for f in en["unicode"])
    assert any(f["code"] == "JP" and f["name"] == "日本" for f in zh["territory"])
    for kind in en: assert [f.get("code", f.get("zone")) for f in en[kind]] == [f.get("code", f.get("zone")) for f in zh[kind]]


# -- registry, cache, public sets ------------------------------------------------------------------------------------

def test_the_registry_is_complete():
    assert {"pydocs", "topics", "summarize_docs", "translate_en_zh", "sentiment_en", "sentiment_zh", "answer", "chat",
            "tinyshakespeare", "sst2", "chnsenticorp", "wikitext2", "zh_novels", "sms_spam", "clinc150", "blimp"} <= set(names())
    for entry in DATASETS.values():
        assert entry.task in TASKS and entry.source and entry.limits and entry.licence
        if entry.folder: assert entry.urls and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in entry.files.values())
    assert names("translate") == ["translate_en_zh"]


def test_a_damaged_cache_is_built_again(fresh_home):
    good = load_dataset("translate_en_zh")
    cached, = (fresh_home / "data").iterdir()
    for damage in (lambda text: text[:1000], lambda text: text.replace("年", "月", 1), lambda text: "[]", lambda text: ""):
        whole = cached.read_text(encoding="utf-8")
        cached.write_text(damage(whole), encoding="utf-8")
        assert load_dataset("translate_en_zh").hash == good.hash and cached.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("name", PUBLIC)
def test_a_missing_public_set_says_where_to_put_it(name, fresh_home, monkeypatch):
    monkeypatch.delenv("LMNB_DATA", raising=False)
    with pytest.raises(InputError) as error: load_dataset(name)
    assert "\n" not in str(error.value) and "https://" in str(error.value) and DATASETS[name].folder in str(error.value) and "LMNB_DATA" in str(error.value)


def test_another_file_under_the_name_of_a_public_set_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "lm_tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text("To be, or not to be")
    monkeypatch.setenv("LMNB_DATA", str(tmp_path))
    with pytest.raises(CorruptError, match="SHA-256"): load_dataset("tinyshakespeare")
    (folder / "input.txt.gz").write_bytes(gzip.compress(b"To be")[:-6])
    with pytest.raises(CorruptError, match="gzip"): load_dataset("tinyshakespeare")


def test_public_sets_have_their_published_sizes(public_data):
    sizes = lambda name: [len(rows) for rows in load_dataset(name).parts.values()]
    assert sizes("sst2") == [6920, 872, 1821] and sizes("chnsenticorp") == [9600, 1200, 1200] and sizes("wikitext2") == [600, 60, 60]
    assert sizes("sms_spam") == [1362, 310, 3902] and sizes("clinc150") == [10525, 3000, 4500]
    train, dev = (load_dataset("tinyshakespeare").parts[part][0]["text"] for part in ("train", "dev"))
    assert (len(train), len(dev)) == (1003854, 111540)
    text = gzip.open(public_data / "lm_wikitext2/test.txt.gz").read().decode()
    assert "".join(row["text"] for row in load_dataset("wikitext2").parts["test"]) == text
    assert all(len(rows) == 2 for rows in load_dataset("zh_novels").parts.values())


def test_an_unknown_name_suggests_a_known_one():
    with pytest.raises(InputError, match="did you mean sst2"): load_dataset("ssst2")


def test_split_depends_on_the_key_alone():
    rows = [{"text": f"{i % 500}", "n": i} for i in range(1000)]
    parts = split(rows, lambda row: row["text"])
    more = split(rows[::-1] + [{"text": "new", "n": 0}], lambda row: row["text"])
    for part in parts: assert {r["text"] for r in parts[part]} <= {r["text"] for r in more[part]}
    assert split(rows, lambda row: row["text"], salt="other") != parts
    assert 350 < len({r["text"] for r in parts["train"]}) < 450


# -- reading ---------------------------------------------------------------------------------------------------------

def test_the_id_is_of_the_place_not_of_the_text():
    doc = Document.of("one", source="a.txt", position=3)
    assert doc.id == Document.of("two", source="a.txt", position=3).id == doc.but(text="three").id
    assert len({Document.of("x", source=s, position=p).id for s in ("a", "b") for p in range(3)}) == 6


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_encodings_are_found(encoding):
    text = "Language models are fun. 一言为定, 语言模型很有意思。"
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize("data", [b"\x89PNG\0\0\0\rIHDR", "好".encode() + b"\xff\xfe\xfd", bytes(range(256))])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(ValueError): decode(data)


def test_damaged_input_is_counted_to_the_last_line(tmp_path):
    (tmp_path / "good.txt").write_text("A whole file of good text.", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 cr\xe8me br\xfbl\xe9e")
    (tmp_path / "nul.txt").write_bytes(b"text\0with\0zeros")
    (tmp_path / "empty.md").touch()
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "one good row of text"}\n{"text": "tw\n\n[1, 2]\n{"title": "no text"}\n{"text": 7}\n'
                                          b'{"text": "\xff\xfe bytes"}\n{"text": "\\ud800 half"}\n{"text": "another good row here"}\n' + b"[" * 3000)
    (tmp_path / "table.csv").write_text('text,label\nsome good text here,a\none field\n"unclosed,b\n', encoding="utf-8")
    (tmp_path / "picture.bin").write_bytes(b"\x7fELF\2\1\1\0\0\0\0\0\0\0\0\0")
    docs = list(read(tmp_path))
    kept, report = run_steps(CLEANING + DEDUP, docs)
    assert len(docs) == 17 and report.steps[0].quarantined == 12 and [doc.text for doc in kept] == [
        "A whole file of good text.", "one good row of text", "another good row here", "some good text here"]
    for step in report.steps: assert step.entered == step.kept + step.dropped + step.quarantined and step.changed <= step.kept
    assert len(docs) == len(kept) + len(report.removed) and sum(s.dropped + s.quarantined for s in report.steps) == len(report.removed)
    assert len({doc.id for doc in docs}) == len(docs) and all(doc.meta["reason"] for doc in report.removed)
    assert write_documents(tmp_path / "out.jsonl", docs) == 17 and list(read_documents(tmp_path / "out.jsonl")) == docs


@pytest.mark.parametrize("make", [lambda p: (p / "x.txt").touch() or p / "x.txt", lambda p: p, lambda p: p / "missing.txt", lambda p: p / "*.md",
                                  lambda p: (p / "x.csv").write_text("text,label\n") and p / "x.csv", lambda p: (p / "x.txt").write_bytes(b"\xff\0\xff") and p / "x.txt"])
def test_a_source_without_text_is_one_line(tmp_path, make):
    with pytest.raises(InputError) as error: list(read(make(tmp_path)))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_noise_never_raises_anything_else(tmp_path):
    dice = random.Random(0)
    pieces = [b'{"text": "', b'"}', b"\n", b"\xff", b"\0", b",", b'"', b"text,label", "语言".encode(), "语言".encode("gb18030"), b"\xef\xbb\xbf", b"\xff\xfe", b"[" * 50, b"\r", b"\t"]
    for i in range(300):
        path = tmp_path / f"{i}{dice.choice(['.txt', '.jsonl', '.csv', '.tsv', '.md', '.txt.gz'])}"
        path.write_bytes(b"".join(dice.choices(pieces, k=dice.randrange(1, 12))))
        try: docs = list(read(path))
        except LmnbError: continue
        kept, report = run_steps(CLEANING, docs)
        assert len(docs) == len(kept) + len(report.removed)


def test_globs_folders_hidden_files_and_gzip(tmp_path):
    (tmp_path / "b").mkdir(); (tmp_path / ".hidden").mkdir()
    (tmp_path / "b/two.md").write_text("# Two"); (tmp_path / "a.txt.gz").write_bytes(gzip.compress("一".encode()))
    (tmp_path / ".hidden/no.txt").write_text("no"); (tmp_path / ".no.txt").write_text("no")
    assert [(doc.text, doc.kind) for doc in read(tmp_path)] == [("一", "text"), ("# Two", "markdown")]
    assert [doc.text for doc in read(f"{tmp_path}/*/*.md")] == ["# Two"]


def test_documents_survive_writing_and_a_second_reading(tmp_path):
    docs = [Document.of("text\n语言 \u2028 😀", source="a", position=i, page=i) for i in range(3)]
    write_documents(tmp_path / "d.jsonl", docs)
    assert list(read_documents(tmp_path / "d.jsonl")) == list(read(tmp_path / "d.jsonl")) == docs
    (tmp_path / "e.jsonl").write_text('{"text": "not ours"}\n')
    with pytest.raises(CorruptError, match="line 1"): list(read_documents(tmp_path / "e.jsonl"))


def test_tables_with_quotes_lines_and_tabs():
    assert list(rows_of('text,label\n"a ""b"", c\nd",x\n'.encode(), "csv"))[0][1] == {"text": 'a "b", c\nd', "label": "x"}
    assert list(rows_of("text\tlabel\na \"b\tx\n".encode("utf-16"), "tsv"))[0][1] == {"text": 'a "b', "label": "x"}


# -- a reader's own data ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("task,columns", COLUMNS.items())
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_own_tables_by_their_columns(tmp_path, task, columns, form):
    path = tmp_path / f"mine.{form}"
    rows = [{c: f"word {i} 甲乙" if c != "label" else "ab"[i % 2] for c in columns} for i in range(100)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        if form == "jsonl": file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            table = csv.DictWriter(file, columns, delimiter="\t" if form == "tsv" else ",")
            table.writeheader(); table.writerows(rows)
    data = load_dataset(path)
    assert data.task == task and sum(map(len, data.parts.values())) == 100 and all(data.parts.values()) and data.hash == load_dataset(str(path)).hash
    if task == "answer": assert data.parts["train"][0]["start"] == 0


def test_own_folder_is_a_language_model_corpus(tmp_path):
    for i in range(30): (tmp_path / f"{i:02}.txt").write_text(f"chapter {i} of a book")
    (tmp_path / "bad.txt").write_bytes(b"\x89PNG\0\0\0\rIHDR")
    data = load_dataset(tmp_path)
    assert data.task == "lm" and sum(map(len, data.parts.values())) == 30 and "1 unusable" in data.card


@pytest.mark.parametrize("content,said", [("a,b\n1,2\n", "a,b"), ("", "no rows"), ("text,label\n", "no rows"), ("text,label\n,\n", "too few")])
def test_own_tables_that_cannot_be_used_say_why(tmp_path, content, said):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(InputError, match=said) as error: load_dataset(tmp_path / "bad.csv")
    assert "bad.csv" in str(error.value) and "\n" not in str(error.value)


# -- cleaning --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text,reason", [("one two", "too short: 2 of 4 units"), ("", "empty"), ("1 2 3 4 5 word", "letters in 17% of units"), ("价格��元一二三四", "2 lost characters"),
                                         ("Home page\nAbout\n" * 4, "75% of lines repeat"), ("Это русский текст из слов", "script of ru"), ("これは日本語の文です", "script of ja")])
def test_each_filter_gives_its_reason(text, reason):
    kept, report = run_steps(CLEANING, [Document.of(text)])
    assert not kept and [r for step in report.steps for r in step.reasons] == [reason]
    assert report.removed[0].meta["fate"] == ("quarantined" if "lost" in reason else "dropped")


@pytest.mark.parametrize("text", ["The cat sat on the mat.", "他说：“走吧，走吧！”好的。", "Größe und Maß sind gleich", "def f(x):\n    return the value of x\n\n    and more"])
def test_good_text_passes_unchanged(text):
    kept, report = run_steps(CLEANING, [Document.of(text)])
    assert kept[0].text == text and not any(step.changed for step in report.steps)


def test_repairs():
    assert repair("schÃ¶n") == "schön" and repair("（全角）ＡＢＣ，“引号”") == "（全角）ＡＢＣ，“引号”" and repair("e\u0301") == "é"
    assert strip_controls("a\0\x1bb\u200bc\td\n") == "ab c\td\n" and tidy_space("a \r\nb\r\r\r\rc\u00a0d\n\n") == "a\nb\n\nc d"
    assert script_of("Τα ελληνικά") == "el" and script_of("한국어") == "ko" and script_of("!?") is None


def test_steps_may_neither_swallow_nor_invent_nor_reorder():
    docs = [Document.of(str(i), position=i) for i in range(3)]
    for bad in (lambda d: list(d)[:2], lambda d: [*d, Document.of("new", position=9)], lambda d: list(d)[::-1]):
        with pytest.raises(UsageError): run_steps([bad], docs)


def test_a_report_can_be_written_as_json():
    docs = [Document.of(text, position=i) for i, text in enumerate(["Four words stand here", "two words", "Ａ  \r\n four more words"])]
    kept, report = run_steps([change(tidy_space), keep(long_enough)], docs)
    assert json.loads(json.dumps(report.to_dict()))["removed"] == 1 == len(report.removed)
    assert report.table()[1] == {"step": "tidy_space", "in": 3, "kept": 3, "changed": 1, "dropped": 0, "quarantined": 0, "reasons": ""}
    assert report.table()[2]["reasons"] == "too short: 2 of 4 units (1)" and [doc.id for doc in kept] == [docs[0].id, docs[2].id]


# -- duplicates ------------------------------------------------------------------------------------------------------

def variations(seed=0, count=120):
    "Texts in two languages, each with relatives that differ in some words."
    dice = random.Random(seed)
    words, chars = [f"w{i}" for i in range(500)], [chr(0x4e00 + i) for i in range(500)]
    for i in range(count):
        base = dice.choices(words if i % 2 else chars, k=60)
        for changes in (0, 1, 3, 10):
            text = list(base)
            for _ in range(changes): text[dice.randrange(60)] = dice.choice(words if i % 2 else chars)
            yield (" " if i % 2 else "").join(text)


@pytest.mark.parametrize("threshold", [.7, .8, .9])
def test_near_agrees_with_comparing_all_pairs(threshold):
    docs = [Document.of(text, position=i) for i, text in enumerate(variations())]
    kept, slow = {}, []
    for doc in docs:
        pieces = shingles(doc)
        if any(jaccard(pieces, other) >= threshold for other in kept.values()): slow.append(doc.id)
        else: kept[doc.id] = pieces
    fast = {doc.id for doc in near(docs, threshold=threshold) if "fate" in doc.meta}
    assert len(slow) > 100 and not fast - set(slow)           # nothing is dropped that should stay: candidates are checked
    assert len(set(slow) - fast) <= .02*len(slow)             # and hardly anything is missed


def test_minhash_estimates_jaccard():
    for low in (0, 100, 200):
        a, b = {str(i) for i in range(300)}, {str(i) for i in range(low, low + 300)}
        same = sum(x == y for x, y in zip(minhash(a, count=400), minhash(b, count=400)))/400
        assert abs(same - jaccard(a, b)) < .1


def test_the_s_curve():
    assert catch_probability(0) == 0 and catch_probability(1) == 1
    values = [catch_probability(s/10) for s in range(11)]
    assert values == sorted(values) and catch_probability(.5, bands=1, rows=1) == .5


def test_first_stays_and_the_twin_is_named():
    texts = ["今天天气很好，我们去公园散步吧", "今天天气很好,我们去公园散步吧", "今天天气很好，我们去公园散散步吧", "明天要下雨"]
    docs = [Document.of(text, position=i) for i, text in enumerate(texts)]
    assert [doc.meta.get("twin") for doc in exact(docs)] == [None, docs[0].id, None, None]
    assert clusters(docs, threshold=.7) == [[doc.id for doc in docs[:3]]]
    assert [doc.id for doc in near(docs)] == [doc.id for doc in docs]
    with pytest.raises(UsageError, match="threshold"): list(near(docs, threshold=80))


def test_the_road_over_pydocs_adds_up():
    docs = list(load_dataset("pydocs").documents())
    kept, report = run_steps(CLEANING + DEDUP, docs)
    assert len(docs) == len(kept) + len(report.removed) == len({doc.id for doc in docs}) and .85 < len(kept)/len(docs) < 1
    by_id = {doc.id for doc in kept}
    assert all(doc.meta["twin"] in by_id for doc in report.removed if "twin" in doc.meta and doc.meta["reason"].startswith("near"))
