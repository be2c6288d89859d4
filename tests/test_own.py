"What people bring, as it comes: every shape is read or refused with what was found and what is needed, and every row is counted."
import csv, gzip, io, json, re, zipfile
from collections import Counter
from pathlib import Path

import pytest

from lmnb.collect import DATASETS, load_dataset
from lmnb.cli import topic_texts
from lmnb.core import InputError, UsageError
from lmnb.own import COLUMNS, cut, divide, part_of, said

CASES = Path(__file__).parent / "cases"
WORDS = "sun rain wind snow hail fog mist storm cloud dew frost ice".split()


def counts(data):
    "used, rows of the line that is said."
    used, rows = re.search(r"used ([\d,]+) of ([\d,]+) rows", data.notes[0]).groups()
    return int(used.replace(",", "")), int(rows.replace(",", ""))


def size(data): return sum(map(len, data.parts.values()))


def every(data): return [row for rows in data.parts.values() for row in rows]


def write(path, rows, form=None):
    "Rows as a file of the form that its name says."
    path.parent.mkdir(parents=True, exist_ok=True)
    form = form or path.suffix[1:]
    if form == "jsonl": path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif form == "json": path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif form == "parquet":
        import pyarrow, pyarrow.parquet
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if form == "tsv" else ",")
            table.writeheader(); table.writerows(rows)
    return path


def reviews(n=60, text="text", label="label", labels=("good", "bad")):
    return [{text: f"{WORDS[i % 12]} came on day {i}", label: labels[i % len(labels)]} for i in range(n)]


# -- zero is a value; columns ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "csv", "tsv"])
@pytest.mark.parametrize("labels,said_as", [((0, 1, 2), {"0", "1", "2"}), ((0.0, 1.0), {"0.0", "1.0"}), ((False, True), {"false", "true"})])
def test_zero_and_false_are_labels(tmp_path, form, labels, said_as):
    if form in ("csv", "tsv"): labels = [said(label) for label in labels]
    data = load_dataset(write(tmp_path / f"mine.{form}", reviews(labels=labels)))
    assert data.task == "classify" and counts(data) == (60, 60) == (size(data), 60)
    assert {row["label"] for row in every(data)} == said_as


def test_zero_is_an_answer_and_a_text(tmp_path):
    rows = [dict(passage=f"On day {i} there were 0 storms.", question=f"How many storms on day {i}?", answer=0, start=f"On day {i} there were 0".index("0", len(f"On day {i} there"))) for i in range(30)]
    data = load_dataset(write(tmp_path / "qa.jsonl", rows))
    assert counts(data) == (30, 30) and all(row["passage"].startswith("0", row["start"]) for row in every(data))
    data = load_dataset(write(tmp_path / "chat.jsonl", [dict(user=i, answer=i % 2) for i in range(30)]))
    assert counts(data) == (30, 30) and {row["answer"] for row in every(data)} == {"0", "1"}


@pytest.mark.parametrize("case,used,rows,labels", [("05-csv-header-space/space.csv", 60, 60, 2), ("05-csv-header-space/case.csv", 60, 60, 2), ("05-csv-header-space/array.json", 60, 60, 2),
                                                  ("06-jsonl-label-zero/three.jsonl", 120, 120, 3), ("06-jsonl-label-zero/ints.jsonl", 120, 120, 2)])
def test_headers_and_labels_of_the_cases(case, used, rows, labels):
    data = load_dataset(CASES / case)
    assert data.task == "classify" and counts(data) == (used, rows) and len({row["label"] for row in every(data)}) == labels


def test_what_is_left_out_is_counted_with_reasons(tmp_path):
    rows = reviews() + [dict(text="", label="good"), dict(text="no label", label=None), dict(text="nan", label=float("nan")), dict(text="two", label=["good", "bad"]), dict(text="half \ud83d", label="bad")]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n[1]\n")
    data = load_dataset(path)
    assert counts(data) == (60, 67) and size(data) == 60
    for reason in ("no text (2)", "no label (2)", "several labels (1)", "half a character (1)", "not JSON"): assert reason in data.notes[0]
    assert data.facts["rows"] in data.notes[0] and data.about()["rows"] == data.facts["rows"] and "7 unusable" in data.card


@pytest.mark.parametrize("columns,task", [(("Review", "Sentiment"), "classify"), (("评论", "标签"), "classify"), (("sentence", "CATEGORY"), "classify"), (("src", "tgt"), "translate"), (("en", "zh"), "translate"),
                                         (("English", "Chinese"), "translate"), (("原文", "译文"), "translate"), (("context", "question", "answers"), "answer"), (("article", "highlights"), "summarize"),
                                         (("正文", "摘要"), "summarize"), (("prompt", "completion"), "chat"), (("instruction", "output"), "chat"), (("问", "答"), "chat"), (("content",), "lm")])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_columns_by_other_names(tmp_path, columns, task, form):
    label = columns[-1] if task == "classify" else None
    rows = [{name: "ab"[i % 2] if name == label else f"words {i} of {task}" for name in columns} for i in range(40)]
    data = load_dataset(write(tmp_path / f"mine.{form}", rows))
    assert data.task == task and counts(data) == (40, 40)


def test_columns_that_the_reader_names(tmp_path):
    rows = [dict(n=i, remark=f"{WORDS[i % 12]} {i}", grade="ab"[i % 2], other="x") for i in range(40)]
    path = write(tmp_path / "mine.csv", rows)
    with pytest.raises(InputError, match=r"n,remark,grade,other.*text,label \(classify\).*--columns"): load_dataset(path)
    data = load_dataset(path, columns="text=remark,label=grade")
    assert data.task == "classify" and every(data)[0].keys() == {"text", "label", "language"} and counts(data) == (40, 40)
    assert load_dataset(path, columns="source=remark,target=other").task == "translate" and load_dataset(path, columns="text=remark").task == "lm"
    with pytest.raises(InputError, match="no column 'remarks'"): load_dataset(path, columns="text=remarks,label=grade")
    for wrong in ("text", "words=remark", "text="):
        with pytest.raises(UsageError, match="--columns"): load_dataset(path, columns=wrong)
    with pytest.raises(InputError, match="fit no task"): load_dataset(path, columns="label=grade")


@pytest.mark.parametrize("names", [("Nummer", "Rezension", "Sterne"), ("编号", "评论内容", "星级"), ("id", "review", "stars")])
def test_columns_by_number_under_any_header(tmp_path, names):
    rows = [dict(zip(names, (i, f"It was {WORDS[i % 12]} on day {i}.", i % 5 + 1))) for i in range(25)]
    data = load_dataset(write(tmp_path / "mine.csv", rows), columns="text=2,label=3")
    assert counts(data) == (25, 25) and {row["label"] for row in every(data)} == set("12345")


def test_an_address_is_no_file():
    with pytest.raises(InputError, match="http://127.0.0.1:1/x is an address.*lmnb collect"): load_dataset("http://127.0.0.1:1/x")


@pytest.mark.parametrize("order,task", [(("label", "text"), "classify"), (("text", "label"), "classify"), (("source", "target", "licence"), "translate")])
@pytest.mark.parametrize("form", ["tsv", "csv", "txt"])
def test_tables_without_a_header(tmp_path, order, task, form):
    value = lambda name, i: {"label": "ab"[i % 2], "licence": f"CC-BY #{i} & #{i + 1}", "text": f"It was {WORDS[i % 12]} on day {i}.", "source": f"Day {i}.", "target": f"第{i}天。"}[name]
    mark = "," if form == "csv" else "\t"
    (tmp_path / f"mine.{form}").write_text("".join(mark.join(value(name, i) for name in order) + "\n" for i in range(40)), encoding="utf-8")
    data = load_dataset(tmp_path / f"mine.{form}")
    assert data.task == task and counts(data) == (40, 40)
    assert task != "classify" or {row["label"] for row in every(data)} == {"a", "b"}
    at = ",".join(f"{name}={number}" for number, name in enumerate(order, 1) if name != "licence")
    assert load_dataset(tmp_path / f"mine.{form}", columns=at).parts == data.parts


# -- answers ---------------------------------------------------------------------------------------------------------

def test_a_given_start_is_kept():
    path = CASES / "09-answer-start/qa.jsonl"
    given = {(row["passage"], row["question"]): row["start"] for row in map(json.loads, path.read_text().splitlines())}
    data = load_dataset(path)
    assert counts(data) == (120, 120) and all(row["start"] == given[row["passage"], row["question"]] for row in every(data))
    data = load_dataset(CASES / "09-answer-start/notin.jsonl")
    assert counts(data) == (60, 120) and "the answer is not in the passage (60)" in data.notes[0]


@pytest.mark.parametrize("start,found", [(26, 26), (25, 26), (None, 3), ("26", 26), (26.0, 26), (99, 26), (-1, 3), ("x", 3)])
def test_where_an_answer_stands(start, found):
    from lmnb.own import answered
    row = dict(passage="In 1860 a flood. Built in 1860.", question="When?", answer="1860", start=start)
    assert answered(row, {name: name for name in COLUMNS["answer"]})[0]["start"] == found


def squad(n=30, wrap=True, **more):
    paragraphs = [{"context": f"  Day {i}: {WORDS[i % 12]} over hill {i}.", "id": f"p{i}", "qas": [
        {"id": f"q{i}", "question": f"What came on day {i}?", "answers": [{"id": "1", "text": WORDS[i % 12], "answer_start": 9 + len(str(i))}, {"text": f"{WORDS[i % 12]} over hill {i}", "answer_start": 9 + len(str(i))}]},
        {"id": f"n{i}", "question": f"Who came on day {i}?", "answers": [], "is_impossible": True, "plausible_answers": [{"text": "x", "answer_start": 0}]}]} for i in range(n)]
    return {"version": "v2.0", "data": [{"title": "days", "paragraphs": paragraphs[:n//2]}, {"title": "more", "paragraphs": paragraphs[n//2:]}], **more}


@pytest.mark.parametrize("form", ["squad", "drcd", "articles", "cmrc", "flat", "hub", "mrqa"])
def test_questions_below_their_passages(tmp_path, form):
    whole, path = squad(), tmp_path / "qa.json"
    paragraphs = [p for article in whole["data"] for p in article["paragraphs"]]
    asked = [{"context": p["context"], **q} for p in paragraphs for q in p["qas"]]
    if form == "articles": whole = whole["data"]
    if form == "cmrc": whole = [{"context_id": p["id"], "context_text": p["context"], "title": "t", "qas": [{"query_id": q["id"], "query_text": q["question"], "answers": [a["text"] for a in q["answers"]]} for q in p["qas"]]} for p in paragraphs]
    if form == "flat": whole = asked
    if form == "hub": whole = [q | {"answers": {"text": [a["text"] for a in q["answers"]], "answer_start": [a["answer_start"] for a in q["answers"]]}} for q in asked]
    if form == "drcd": whole["encoding"] = "UTF-8"
    if form == "mrqa": write(path := tmp_path / "qa.jsonl", [{"context": p["context"], "qas": p["qas"]} for p in paragraphs])
    else: path.write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")
    data = load_dataset(path)
    assert data.task == "answer" and counts(data) == (30, 60) and "no answer (30)" in data.notes[0]
    assert all(row["passage"].startswith(row["answer"], row["start"]) and row["start"] > 6 and len(row["answers"]) == 2 for row in every(data))
    passages = [{row["passage"] for row in rows} for rows in data.parts.values()]
    assert all(passages) and not passages[0] & passages[1] and not passages[0] & passages[2] and not passages[1] & passages[2]


def test_many_questions_on_one_passage_are_divided(tmp_path):
    passage = " ".join(f"Man {i} is {20 + i} years old." for i in range(100))
    rows = [dict(passage=passage, question=f"How old is man {i}?", answer=f"{20 + i} years") for i in range(100)]
    data = load_dataset(write(tmp_path / "one.jsonl", rows))
    assert {part: len(rows) for part, rows in data.parts.items()} == {"train": 80, "dev": 10, "test": 10} and "too few" in data.notes[1]
    rows += [dict(passage=f"{i}: " + passage, question=f"How old is man {j}?", answer=f"{20 + j} years") for i in range(9) for j in range(100)]
    data = load_dataset(write(tmp_path / "ten.jsonl", rows))
    assert len({row["passage"] for row in data.parts["train"]}) == 8 and len({row["passage"] for row in data.parts["test"]}) == 1


# -- parts -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [3, 4, 5, 7, 10, 20, 50, 101, 1000])
@pytest.mark.parametrize("labels", [("a",), ("a", "b"), ("a", "b", "c", "d", "e")])
def test_no_part_is_empty(n, labels):
    for salt in map(str, range(20)):
        found = divide([f"text {i}" for i in range(n)], labels=[labels[i % len(labels)] for i in range(n)], salt=salt)
        if n >= len(labels) + 2: assert set(found) == {"train", "dev", "test"}
        assert {labels[i % len(labels)] for i in range(n) if found[i] == "train"} == set(labels[:n])
        assert n < 50 or abs(found.count("test") - n/10) <= len(labels) and abs(found.count("dev") - n/10) <= len(labels)


def test_a_text_stays_in_one_part_and_order_does_not_matter(tmp_path):
    rows = reviews(100)
    twice = rows + [row | {"text": f"  {row['text'].upper()} "} for row in rows]
    data = load_dataset(write(tmp_path / "mine.jsonl", twice))
    texts = [{" ".join(row["text"].split()).casefold() for row in part} for part in data.parts.values()]
    assert sum(map(len, texts)) == 100 and size(data) == 200
    again = load_dataset(write(tmp_path / "mine.jsonl", twice[::-1]))
    key = lambda rows: sorted(row["text"] for row in rows)
    assert all(key(data.parts[part]) == key(again.parts[part]) for part in data.parts)


@pytest.mark.parametrize("case", ["08-label-only-in-dev/dev_rare.csv", "08-label-only-in-dev/test_rare.csv"])
def test_every_label_stands_in_train(case):
    data = load_dataset(CASES / case)
    assert {row["label"] for row in every(data)} == {row["label"] for row in data.parts["train"]} and all(data.parts.values())
    assert "1 of 3 labels" in data.notes[1] and size(data) == 81


@pytest.mark.parametrize("rows,said", [(reviews(60, labels=("good",)), "one class only, 'good'"), (reviews(2), "too few for"), ([dict(text=f"t{i}", label=f"id {i}") for i in range(100)], "100 different labels"),
                                      ([dict(source="a", target="b")]*5, "1 different usable"), ([dict(text="short")]*3, "language model needs 200")])
def test_what_cannot_be_divided_is_said_before_training(tmp_path, rows, said):
    with pytest.raises(InputError, match=said) as error: load_dataset(write(tmp_path / "mine.csv", rows))
    assert "\n" not in str(error.value)


def test_a_book_is_cut_by_position():
    data, text = load_dataset(CASES / "19-lm-single-file/book.txt"), (CASES / "19-lm-single-file/book.txt").read_text()
    whole = "".join(row["text"] for part in ("train", "dev", "test") for row in data.parts[part])
    assert whole == text and text.endswith(data.parts["test"][-1]["text"]) and abs(len(data.parts["test"][0]["text"])/len(text) - .1) < .02
    assert "cut by position" in data.notes[1] and counts(data) == (1, 1)
    data = load_dataset(CASES / "19-lm-single-file/two")
    assert [len(rows) for rows in data.parts.values()] == [2, 2, 2]
    assert all(load_dataset(CASES / "19-lm-single-file/ten.csv").parts.values())
    with pytest.raises(InputError, match="tiny.txt holds 12 characters"): load_dataset(CASES / "19-lm-single-file/tiny.txt")


@pytest.mark.parametrize("texts", [["甲乙丙丁"*100], ["word "*200], ["x"*1000], ["a\n"*50, "b\n"*50], ["。".join("雨雪风霜"*50)]])
def test_what_is_cut_is_the_text(texts):
    found = cut(texts, (.8, .9))
    assert len(found) == 3 and "".join(text for some in found for text in some) == "".join(texts) and all(found)
    assert abs(sum(map(len, found[2]))/sum(map(len, texts)) - .1) < .03


def test_parts_as_they_come(tmp_path):
    train, dev, test = write(tmp_path / "a.csv", reviews(40)), write(tmp_path / "b.tsv", reviews(7)), write(tmp_path / "c.jsonl", reviews(9, text="review"))
    data = load_dataset(train, dev=dev, test=test)
    assert [len(data.parts[part]) for part in ("train", "dev", "test")] == [40, 7, 9] and counts(data) == (56, 56)
    assert "9 of 9 texts of test stand in train too" in data.notes
    data = load_dataset(train, test=test)
    assert len(data.parts["test"]) == 9 and len(data.parts["dev"]) + len(data.parts["train"]) == 40 and data.parts["dev"]
    with pytest.raises(InputError, match="test part has the label 'ugly'.*bad, good"): load_dataset(train, test=write(tmp_path / "d.csv", reviews(9, labels=("ugly", "good"))))
    with pytest.raises(UsageError, match="columns and parts of its own"): load_dataset("topics", test=test)


@pytest.mark.parametrize("names", [("train.csv", "dev.csv", "test.csv"), ("train.jsonl", "valid.jsonl", "test.jsonl"), ("reviews_train.tsv", "reviews_val.tsv", "reviews_test.tsv"), ("train/x.csv", "validation/x.csv", "test/x.csv"),
                                   ("data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet")])
def test_a_folder_with_parts(tmp_path, names):
    for name, n in zip(names, (40, 6, 8)): write(tmp_path / name, reviews(n))
    (tmp_path / "README.md").write_text("what this is\n")
    data = load_dataset(tmp_path)
    assert {part: len(rows) for part, rows in data.parts.items()} == {"train": 40, "dev": 6, "test": 8} and counts(data) == (54, 54)


def test_a_file_with_parts(tmp_path):
    pairs = lambda n: [[row["text"], row["label"]] for row in reviews(n)]
    data = load_dataset(write(tmp_path / "clinc.json", {"train": pairs(40), "val": pairs(6), "test": pairs(8)}))
    assert {part: len(rows) for part, rows in data.parts.items()} == {"train": 40, "dev": 6, "test": 8}


def test_names_of_parts():
    assert [part_of(n) for n in ("train", "TRAIN.csv", "x.train.en", "wiki.valid.tokens", "测试集.csv", "contest.csv", "trainer.txt", "a test of time.txt")] == ["train", "train", "train", "dev", "test", None, None, None]


# -- shapes of files and folders -------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["list", "comma", "folder", "folder of parts", "codes"])
def test_two_parallel_files(tmp_path, how):
    lines = {"en": [f"Day {i} was {WORDS[i % 12]}\u2028ny." for i in range(40)], "ja": [f"{i}日目です。" for i in range(40)]}
    lines["ja"][3] = ""
    names = {"codes": "{}.txt"}.get(how, "train.{}")
    for code, some in lines.items(): (tmp_path / names.format(code)).write_text("\n".join(some) + "\n", encoding="utf-8", newline="")
    en, ja = (tmp_path / names.format(code) for code in lines)
    if how == "folder of parts":
        for code in lines: (tmp_path / f"val.{code}").write_text(f"{code} a\n{code} b\n")
    data = load_dataset([en, ja] if how == "list" else f"{en},{ja}" if how == "comma" else tmp_path)
    more = 2*(how == "folder of parts")
    assert data.task == "translate" and counts(data) == (39 + more, 40 + more) and "no target (1)" in data.notes[0] and data.parts["train"][0]["source"].startswith("Day")
    assert how != "folder of parts" or len(data.parts["dev"]) == 2


def test_parallel_files_of_different_length_are_refused(tmp_path):
    (tmp_path / "a.en").write_text("one\ntwo\nthree\n"); (tmp_path / "a.de").write_text("eins\nzwei\n")
    with pytest.raises(InputError, match="3 lines and .* 2"): load_dataset([tmp_path / "a.en", tmp_path / "a.de"])


DIALOGUES = {
    "turns of text": lambda a, b, c, d: {"turns": [a, b, c, d]},
    "dialog": lambda a, b, c, d: {"dialog": [a, b, c, d], "act": [1, 2, 1, 2]},
    "messages": lambda a, b, c, d: {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": a}, {"role": "assistant", "content": b}, {"role": "user", "content": c}, {"role": "assistant", "content": d}]},
    "conversations": lambda a, b, c, d: {"id": "x", "conversations": [{"from": "human", "value": a}, {"from": "gpt", "value": b}, {"from": "human", "value": c}, {"from": "gpt", "value": d}]},
    "utterances": lambda a, b, c, d: {"utterances": [{"speaker": "USER", "text": a}, {"speaker": "SYSTEM", "text": b}, {"speaker": "USER", "text": c}, {"speaker": "SYSTEM", "text": d}]},
    "bare list": lambda a, b, c, d: [{"role": "user", "content": a}, {"role": "assistant", "content": b}, {"role": "user", "content": c}, {"role": "assistant", "content": d}],
}


@pytest.mark.parametrize("shape", DIALOGUES)
@pytest.mark.parametrize("form", ["json", "jsonl", "wrapped"])
def test_dialogues_with_turns(tmp_path, shape, form):
    rows = [DIALOGUES[shape](f"Hello {i}", f"Good day {i}", f"And now {i}?", f"Tea {i}.") for i in range(20)]
    path = write(tmp_path / f"talk.{form if form != 'wrapped' else 'json'}", rows if form != "wrapped" else {"version": 1, "data": rows})
    data = load_dataset(path)
    each = 3 if shape in ("turns of text", "dialog") else 2
    assert data.task == "chat" and counts(data) == (20*each, 20*each) and dict(user="Hello 7", answer="Good day 7", language="en") in every(data)
    number = lambda rows: {re.search(r"\d+", row["user"])[0] for row in rows}
    assert not number(data.parts["train"]) & number(data.parts["test"])


def test_dialogues_on_lines(tmp_path):
    (tmp_path / "talk.txt").write_text("".join(f"Hi {i} . __eou__ Hello {i} ! __eou__ Bye {i} . __eou__\n" for i in range(20)))
    data = load_dataset(tmp_path / "talk.txt")
    assert data.task == "chat" and counts(data) == (40, 40)


@pytest.mark.parametrize("head", ["__label__{} ", "{} ", "{}\t"])
def test_labels_at_the_start_of_lines(tmp_path, head):
    (tmp_path / "mine.txt").write_text("".join(head.format(i % 3) + f"It was {WORDS[i % 12]} on day {i}\n" for i in range(60)))
    data = load_dataset(tmp_path / "mine.txt")
    assert data.task == "classify" and counts(data) == (60, 60) and {row["label"] for row in every(data)} == {"0", "1", "2"}


def test_folders_that_are_labels(tmp_path):
    for label in ("pos", "neg"):
        for i in range(12): (tmp_path / "a" / label).mkdir(parents=True, exist_ok=True); (tmp_path / "a" / label / f"{i}.txt").write_text(f"{label} text {i} of {WORDS[i]} " * 5)
    (tmp_path / "a" / "README").write_text("about")
    data = load_dataset(tmp_path / "a")
    assert data.task == "classify" and counts(data) == (24, 24) and {row["label"] for row in every(data)} == {"pos", "neg"}
    assert load_dataset(tmp_path / "a", task="lm").task == "lm"
    (tmp_path / "a").rename(tmp_path / "train"); (tmp_path / "b").mkdir(); (tmp_path / "train").rename(tmp_path / "b" / "train")
    for label in ("pos", "neg"): (tmp_path / "b" / "test" / label).mkdir(parents=True); (tmp_path / "b" / "test" / label / "1.txt").write_text(f"{label} test")
    data = load_dataset(tmp_path / "b")
    assert data.task == "classify" and len(data.parts["test"]) == 2 and counts(data) == (26, 26)


def test_a_folder_of_json_with_a_text(tmp_path):
    for i in range(20): write(tmp_path / f"{i}.json", {"id": i, "title": f"t{i}", "text": f"It was {WORDS[i % 12]} on day {i} of the year."})
    data = load_dataset(tmp_path)
    assert data.task == "lm" and counts(data) == (20, 20)
    for i in range(20): write(tmp_path / f"{i}.json", {"text": f"It was {WORDS[i % 12]} on day {i}.", "label": "ab"[i % 2]})
    assert load_dataset(tmp_path).task == "classify"


@pytest.mark.parametrize("shape", [lambda rows: {"data": rows}, lambda rows: {"rows": rows, "n": 3}, lambda rows: {f"id{i}": row for i, row in enumerate(rows)},
                                   lambda rows: {name: [row[name] for row in rows] for name in rows[0]}, lambda rows: {name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]}, lambda rows: [[row["text"], row["label"]] for row in rows]])
def test_json_that_wraps_rows(tmp_path, shape):
    data = load_dataset(write(tmp_path / "mine.json", shape(reviews())))
    assert data.task == "classify" and counts(data) == (60, 60)


def test_packed_tables(tmp_path):
    plain = write(tmp_path / "mine.csv", reviews()).read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive: archive.writestr("folder/mine.csv", plain); archive.writestr("__MACOSX/._mine.csv", b"x")
    (tmp_path / "c.csv").write_bytes(plain.decode().encode("utf-16"))
    (tmp_path / "d.csv").write_bytes(plain.replace(b",", b"\t"))
    for name in ("a.csv.gz", "b.zip", "c.csv", "d.csv"):
        data = load_dataset(tmp_path / name)
        assert data.task == "classify" and counts(data) == (60, 60), name


def test_ids_are_not_read_as_text(tmp_path):
    (tmp_path / "ids-00000.bin").write_bytes(b"\1\0"*500); (tmp_path / "docs-00000.txt").write_text("a\nb\n"); (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="ids of tokens"): load_dataset(tmp_path)


@pytest.mark.parametrize("content,said", [('{"a": 1}\n{"a": 2}\n', "columns a"), ('[{"a": 1}, {"a"', "line 1, column"), ("[]", "no rows"), ('{"qas": [], "context": "x"}', "columns context")])
def test_json_that_cannot_be_used_says_what_it_found(tmp_path, content, said):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InputError, match=said) as error: load_dataset(tmp_path / "bad.json")
    assert "bad.json" in str(error.value) and "\n" not in str(error.value)


def test_a_text_for_a_task_with_columns_is_refused_in_a_line(tmp_path):
    (tmp_path / "notes.txt").write_text("Just text.\n"*50)
    with pytest.raises(InputError, match=r"classify needs text,label \(classify\)"): load_dataset(tmp_path / "notes.txt", task="classify")
    with pytest.raises(UsageError, match="for classify, with text,label.*answer needs passage,question,answer"): load_dataset(write(tmp_path / "a.csv", reviews())).need("answer")


# -- names -----------------------------------------------------------------------------------------------------------

def test_names_collide_with_nothing(tmp_path, monkeypatch):
    places = [tmp_path / "chat.csv", tmp_path / "chat.jsonl", tmp_path / "other" / "chat.csv", tmp_path / "chat" / "a.csv"]
    names = [load_dataset(write(path, reviews())).name for path in places] + [load_dataset(tmp_path / "chat").name]
    assert len(set(names)) == 5 and not set(names) & set(DATASETS) and names[0].startswith("chat-") and re.fullmatch(r"chat-[0-9a-f]{8}", names[0])
    monkeypatch.chdir(tmp_path)
    assert load_dataset("chat.csv").name == names[0] and load_dataset("./chat").name == names[4]
    taken = load_dataset("chat")
    assert taken.name == "chat" and "./chat" in taken.notes[0]
    assert re.fullmatch(r"[\w.-]+", load_dataset(write(tmp_path / "我 的 [数据]\nx.csv", reviews())).name)


# -- by the command, and beside quickstart ---------------------------------------------------------------------------

def run(capfd, *arguments):
    "The command in this process -> (exit code, standard output, standard error)."
    import sys
    from lmnb.cli import main
    from unittest.mock import patch
    with patch.object(sys, "argv", ["lmnb", *map(str, arguments)]), pytest.raises(SystemExit) as end: main()
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return end.value.code, out, err


TINY = ("--model", "bag-tiny", "--steps", 3)


def test_a_run_is_called_as_the_file_that_it_learns_from(tmp_path):
    for name, n in (("rev80.csv", 80), ("held.csv", 12), ("seen.csv", 12)): write(tmp_path / name, reviews(n))
    data = load_dataset(tmp_path / "rev80.csv", dev=tmp_path / "seen.csv", test=tmp_path / "held.csv")
    alone = load_dataset(tmp_path / "rev80.csv")
    assert data.name.startswith("rev80-") and alone.name.startswith("rev80-") and data.name != alone.name and data.card.startswith(f"# {data.name}\n")
    for name in ("train", "test", "dev"):
        for code, word in (("en", "day"), ("de", "Tag")): (tmp_path / f"{name}.{code}").write_text("".join(f"{word} {name} {i}\n" for i in range(30)))
    pair = lambda name: [tmp_path / f"{name}.en", tmp_path / f"{name}.de"]
    assert re.fullmatch(r"train-[0-9a-f]{8}", load_dataset(pair("train")).name)
    assert re.fullmatch(r"train-[0-9a-f]{8}", load_dataset(pair("train"), test=pair("test"), dev=pair("dev")).name)
    assert load_dataset([tmp_path / "held.csv", tmp_path / "rev80.csv"]).name.startswith("held-")


def test_labels_that_miss_in_a_part_are_said_before_training(tmp_path):
    rows = reviews(60) + [dict(text="an odd thing", label="rare"), dict(text="an odder thing", label="rare")]
    data = load_dataset(write(tmp_path / "rare.csv", rows))
    has = {part: {row["label"] for row in some} for part, some in data.parts.items()}
    gone = [part for part in ("dev", "test") if "rare" not in has[part]]
    assert gone and data.notes[1:] == ("; ".join(f"{part} has no row of rare (2 in all)" for part in gone) + ": nothing is measured of them there",)
    assert len(load_dataset(write(tmp_path / "even.csv", reviews(60))).notes) == 1
    write(tmp_path / "held.csv", [row for row in reviews(12) if row["label"] == rows[0]["label"]])
    assert any(note.startswith("test has no row of ") for note in load_dataset(tmp_path / "even.csv", test=tmp_path / "held.csv").notes)


def test_train_says_how_many_rows_it_used_and_keeps_it(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    path = write(tmp_path / "mine.jsonl", [dict(remark=row["text"], grade=i % 3) for i, row in enumerate(reviews())] + [dict(remark="none", grade=None)])
    code, out, err = run(capfd, "train", "--data", path, "--columns", "text=remark,label=grade", *TINY)
    assert code == 0 and "used 60 of 61 rows: no label (1)" in err, err
    folder = Path(out.strip())
    config = json.loads((folder / "config.json").read_text())["checkpoint"]
    assert config["data"]["rows"] == "used 60 of 61 rows: no label (1)" and config["task"]["labels"] == ["0", "1", "2"]
    assert "used 60 of 61 rows" in next(folder.glob("checkpoints/*/README.md")).read_text()


def test_train_takes_parts_and_refuses_in_a_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    train, test = write(tmp_path / "a.csv", reviews(40)), write(tmp_path / "b.csv", reviews(12))
    code, out, err = run(capfd, "train", "--data", train, "--test", test, "--dev", test, *TINY)
    assert code == 0 and "used 64 of 64 rows" in err
    assert json.loads((Path(out.strip()) / "scores.json").read_text())["parts"]["test"]["scores"][0]["n"] == 12
    for data, said in ((CASES / "07-single-class/one.csv", "one class only"), (CASES / "19-lm-single-file/tiny.txt", "12 characters")):
        code, out, err = run(capfd, "train", "--data", data, *TINY)
        assert code == 3 and said in err and len(err.strip().splitlines()) == 1
    code, _, err = run(capfd, "train", "--data", train, "--task", "answer", *TINY)
    assert code == 3 and "text,label" in err and "passage,question,answer" in err and len(err.strip().splitlines()) == 1
    code, _, err = run(capfd, "train", "--data", "topics", "--task", "answer", *TINY)
    assert code == 2 and "text,label" in err and "passage,question,answer" in err


def test_two_parallel_files_by_the_command(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    for code, word in (("en", "day"), ("ja", "日")): (tmp_path / f"t.{code}").write_text("".join(f"{word} {i}\n" for i in range(30)))
    code, out, err = run(capfd, "train", "--data", tmp_path / "t.en", "--data", tmp_path / "t.ja", "--model", "lstm-tiny", "--steps", 1)
    assert code == 0 and "read for translate" in err and "used 30 of 30 rows" in err, err


def test_a_run_of_the_reader_is_never_removed(tmp_path, monkeypatch, capfd):
    from lmnb import cli
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    code, out, err = run(capfd, "train", "--data", write(tmp_path / "chat.csv", reviews()), *TINY)
    mine = Path(out.strip())
    assert code == 0 and mine.parent.name.startswith("chat-")
    old = tmp_path / "home/runs/topics/bag-tiny"            # as an earlier version called it: it stands where quickstart's would
    old.parent.mkdir(parents=True)
    mine.rename(old)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    data = load_dataset("topics")
    assert cli.stale(old, data, 2) and cli.place_of(data, "bag-tiny") == old.with_name("bag-tiny-quickstart")
    for steps in (1, 2): cli.do_job(data, "bag-tiny", cli.Progress(), "", steps=steps)     # the second makes its own run anew
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert cli.finished(old.with_name("bag-tiny-quickstart"), data, 2) and len(list(old.parent.iterdir())) == 2


def test_topics_of_titles(tmp_path, capfd):
    (tmp_path / "titles.txt").write_text("".join(f"{WORDS[i % 6]} and {WORDS[6 + i % 6]} over the hills\n" for i in range(60)))
    code, out, err = run(capfd, "topics", tmp_path / "titles.txt", "--number", 3)
    assert code == 0 and len(out.splitlines()) == 3 and "60 short lines" in err


def test_a_few_titles_are_as_many_documents(tmp_path):
    (tmp_path / "titles.txt").write_text("".join(f"{word} in the old town\n" for word in WORDS[:12]), encoding="utf-8")
    texts, note = topic_texts(str(tmp_path / "titles.txt"))
    assert len(texts) == 12 and "each line is taken as a document" in note
