"""The command as a user types it: a process, its lines, its exit code. Nothing half-written, never a traceback."""
import json
import os
import subprocess
import sys

import pytest

ENVIRONMENT = {**os.environ, "COLUMNS": "200"}


def lmnb(*arguments, cwd, stdin=None):
    "Run the command; returns (exit code, standard output, standard error)."
    done = subprocess.run([sys.executable, "-c", "from lmnb.cli import main; main()", *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          input=stdin, env=ENVIRONMENT, timeout=300, encoding="utf-8")
    assert "Traceback" not in done.stderr + done.stdout
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "A folder with a table of reviews, and a small classifier trained on it by the command."
    folder = tmp_path_factory.mktemp("work")
    words = ("film", "book", "meal", "trip", "song", "phone", "room", "talk")
    rows = [f"{a} {b} {w},{label}" for w in words for a, b, label in (("a", "fine", "good"), ("such a", "lovely", "good"), ("a", "dull", "bad"), ("what a", "poor", "bad"), ("one", "great", "good"), ("the", "awful", "bad"))]
    (folder/"reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    code, out, err = lmnb("train", "--data", "reviews.csv", "--model", "bag-tiny", "--epochs", 20, "--out", "run", cwd=folder)
    assert code == 0, err
    return folder


def test_own_data_to_a_label(work):
    code, out, err = lmnb("classify", "run", "a lovely book", "--json", cwd=work)
    assert code == 0, err
    assert json.loads(out)["result"]["good"] > 0.5 and json.loads(out)["label"] == "good"
    code, out, _ = lmnb("classify", "run", cwd=work, stdin="an awful song\na great room\n")
    assert code == 0 and len(out.splitlines()) == 2
    code, out, _ = lmnb("evaluate", "run", "--data", "reviews.csv", "--json", cwd=work)
    assert code == 0 and json.loads(out.splitlines()[0])["scores"][0]["n"] > 0
    assert json.loads((work/"run"/"scores.json").read_text())["parts"]["test"]["scores"]


def test_a_threshold_decides_what_is_said(work):
    import shutil
    from lmnb.checkpoint import pointed, seal
    shutil.copytree(pointed(work/"run"), work/"cautious")
    config = json.loads((work/"cautious"/"config.json").read_text())
    config["task"]["threshold"] = {"bad": 1e-6}
    (work/"cautious"/"config.json").write_text(json.dumps(config)); seal(work/"cautious")
    code, out, err = lmnb("classify", "cautious", "a lovely book", cwd=work)
    assert code == 0 and out.startswith("bad "), err
    code, out, err = lmnb("classify", "cautious", "a lovely book", "--json", cwd=work)
    assert json.loads(out)["label"] == "bad" and json.loads(out)["result"]["good"] > 0.5


def test_the_data_stages_one_after_another(work):
    (work/"notes").mkdir(exist_ok=True)
    for number, text in enumerate(["The first note says that the cat sat on the mat.", "The first note says that the cat sat on the mat.", "猫坐在垫子上,狗坐在木头上,它们都很高兴。", "12 | 34 | 56 | 78 | 90"]):
        (work/"notes"/f"{number}.txt").write_text(text, encoding="utf-8")
    assert lmnb("collect", "notes", "--out", "docs.jsonl", cwd=work)[0] == 0
    code, out, _ = lmnb("clean", "docs.jsonl", "--out", "clean.jsonl", cwd=work)
    assert code == 0 and "3 documents" in out
    code, out, _ = lmnb("dedup", "clean.jsonl", "--out", "unique.jsonl", cwd=work)
    assert code == 0 and "2 documents" in out
    report = json.loads((work/"unique.report.json").read_text(encoding="utf-8"))
    assert all(s["entered"] == s["kept"] + s["dropped"] + s["quarantined"] for s in report["steps"])
    code, out, _ = lmnb("tokenize", "unique.jsonl", "--vocab-size", 300, "--out", "tokens", cwd=work)
    assert code == 0 and (work/"tokens"/"tokenizer.json").is_file()


def signature(out, part=None):
    "BLEU's way of cutting, of `lmnb evaluate --json`."
    rows = [json.loads(line) for line in out.splitlines()]
    return next(score["detail"]["signature"] for row in rows for score in row["scores"] if score["metric"] == "bleu" and part in (None, row["part"]))


def test_the_reader_names_the_languages_and_the_columns(work):
    "A reference's own script is the default; --to goes before it, is kept in the run, and holds for its later scores."
    rows = [f"Room {i} is {word}.,房间{i}是{sign}的。" for i in range(12) for word, sign in (("open", "开"), ("shut", "关"), ("warm", "暖"))]
    (work/"pairs.csv").write_text("question,reply\n" + "\n".join(rows) + "\n", encoding="utf-8")
    train = ("train", "--data", "pairs.csv", "--columns", "source=question,target=reply", "--model", "lstm-tiny", "--steps", 2)
    for name, more in (("plain", ()), ("named", ("--from", "English", "--to", "ja"))):
        code, out, err = lmnb(*train, *more, "--out", name, cwd=work)
        assert code == 0 and "memory" in err and "copy" in err, err
        kept = json.loads((work/name/"scores.json").read_text(encoding="utf-8"))["parts"]["test"]["scores"]
        assert f"tok:{'zh' if name == 'plain' else 'char'}|" in kept[1]["detail"]["signature"]
    config = json.loads((work/"named"/"config.json").read_text(encoding="utf-8"))["checkpoint"]
    assert config["task"]["languages"] == ["en", "ja"] and config["data"]["to"] == "ja" and config["data"]["named"] == "source=question,target=reply"
    ask = ("evaluate", "named", "--data", "pairs.csv", "--columns", "source=question,target=reply", "--json")
    assert "tok:char|" in signature(lmnb(*ask, cwd=work)[1], "pairs.csv")
    assert "tok:13a|" in signature(lmnb(*ask, "--to", "en", cwd=work)[1], "pairs.csv")
    assert "tok:zh|" in signature(lmnb("evaluate", "plain", *ask[2:], cwd=work)[1], "pairs.csv")
    code, out, err = lmnb("evaluate", "named", "--data", "pairs.csv", "--columns", "source=question,target=reply", "--part", "test", cwd=work)
    assert code == 0 and "memory" in out and "cannot be read again" not in out, out + err      # the classical rows read the same columns
    for arguments, said in ((("evaluate", "named", "--data", "pairs.csv", "--columns", "source=nothing,target=reply"), "nothing"),
                            (("train", "--data", "reviews.csv", "--to", "zh", "--out", "never"), "translate")):
        code, out, err = lmnb(*arguments, cwd=work)
        assert code in (2, 3) and said in err and len(err.strip().splitlines()) == 1, err
    assert not (work/"never").exists()


def test_an_answer_of_a_long_passage(work):
    "The command reads beyond what the model takes at once, and places count the whole passage; of a very long one it says that not all was read."
    rows = [{"passage": f"The key of room {i} hangs at hook {i * 7}.", "question": f"Where hangs the key of room {i}?", "answer": f"hook {i * 7}"} for i in range(40)]
    (work/"asked.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, err = lmnb("train", "--data", "asked.jsonl", "--model", "lstm-tiny", "--steps", 2, "--set", "length=16", "--out", "reader", cwd=work)
    assert code == 0, err
    for count, cut in ((40, False), (700, True)):
        passage = " ".join(rows[i % 40]["passage"] for i in range(count))
        code, out, err = lmnb("answer", "reader", "Where hangs the key?", "--passage-text", passage, "--json", cwd=work)
        found = json.loads(out)
        assert code == 0 and passage[found["start"]:found["end"]] == found["text"] and (found["read"] < found["windows"]) == cut == ("the passage is long" in err), err


def test_advice(work):
    ask = ("advise", "--data", "reviews.csv", "--models", "bag-tiny,rnn-tiny,lstm-tiny", "--minutes", 0.1, "--seeds", 1, "--out", "trials")
    code, out, err = lmnb(*ask, "--json", cwd=work)
    assert code == 0, err
    found = json.loads(out)
    assert [row["rung"] for row in found["trials"]] == [1, 1, 1, 2, 2] and {row["model"] for row in found["trials"][:3]} == {"bag-tiny", "rnn-tiny", "lstm-tiny"}
    climbed = {row["model"] for row in found["trials"][3:]}
    accuracy = {row["model"]: row["accuracy"] for row in found["trials"][:3]}
    assert len(climbed) == 2
    assert all(accuracy[model] <= min(accuracy[name] for name in climbed) for model in accuracy.keys() - climbed)   # the better half climbed
    assert [row["model"] for row in found["classical"]][-1] == "majority" and "linear" in {row["model"] for row in found["classical"]} and all(row["n"] > 0 for row in found["classical"])
    finals = {row["model"]: row["accuracy"] for row in found["trials"][3:]}
    taken = next(name for name in [*finals, *(row["model"] for row in found["classical"])] if found["answers"][0].startswith(f"Take {name}:"))
    best = found["classical"][0]
    assert best["model"] in found["answers"][0]
    if taken in finals: assert finals[taken] > best["accuracy"]                 # the sentence does not contradict the table
    else: assert taken == best["model"] and any(f"The best network, {name}, " in found["answers"][0] for name in finals)
    code, out, err = lmnb(*ask, cwd=work)
    assert code == 2 and len(err.strip().splitlines()) == 1 and "trials already holds trials" in err


BAD = {
    "an empty file": (["train", "--data", "empty.txt"], 3),
    "a folder without text": (["collect", "empty-folder", "--out", "never.jsonl"], 3),
    "a folder of pictures": (["train", "--data", "pictures"], 3),
    "a data set that is not there": (["train", "--data", "no-such-file.csv"], 3),
    "an unknown model": (["train", "--data", "reviews.csv", "--model", "ltsm", "--out", "never"], 2),
    "an unknown task": (["train", "--data", "reviews.csv", "--task", "sing", "--out", "never"], 2),
    "the wrong task": (["train", "--data", "reviews.csv", "--task", "lm", "--out", "never"], 2),
    "an unknown tokenizer": (["train", "--data", "reviews.csv", "--tokenizer", "letters", "--out", "never"], 2),
    "a number that is none": (["train", "--data", "reviews.csv", "--epochs", "many", "--out", "never"], 2),
    "a rate that is too high": (["train", "--data", "reviews.csv", "--rate", "-1", "--out", "never"], 2),
    "a cure that is none": (["train", "--data", "reviews.csv", "--balance", "wieghts", "--out", "never"], 2),
    "an unknown command": (["tarin"], 2),
    "a missing argument": (["classify"], 2),
    "an unknown model to advise on": (["advise", "--data", "reviews.csv", "--models", "bag,ltsm", "--out", "never"], 2),
    "an unknown choice": (["train", "--data", "reviews.csv", "--set", "widht=64", "--out", "never"], 2),
    "a choice of the wrong kind": (["train", "--data", "reviews.csv", "--set", "width=wide", "--out", "never"], 2),
    "a choice that the model cannot have": (["train", "--data", "reviews.csv", "--model", "transformer", "--set", "heads=3", "--out", "never"], 2),
    "a writer that would read ahead": (["train", "--data", "pydocs", "--model", "transformer", "--set", "bidirectional=true", "--out", "never"], 2),
    "a choice made twice": (["train", "--data", "reviews.csv", "--rate", "0.1", "--set", "rate=0.2", "--out", "never"], 2),
    "an unknown part": (["quickstart", "--only", "lmm"], 2),
    "a checkpoint that is not there": (["classify", "nothing", "text"], 3),
    "a truncated checkpoint": (["classify", "truncated", "text"], 4),
    "a vocabulary that does not match": (["classify", "mismatched", "text"], 4),
    "a task that the model was not trained for": (["generate", "run", "text"], 2),
    "guesses at a text by chance": (["generate", "writer", "text", "--guess"], 2),
    "a state that is not compiled": (["generate", "writer", "text", "--compile"], 2),
    "a run that is there already": (["train", "--data", "reviews.csv", "--out", "run"], 2),
    "a public set that is not at hand": (["train", "--data", "sst2", "--out", "never"], 3),
    "nothing on standard input": (["classify", "run"], 3),
}


@pytest.fixture(scope="module")
def bad(work):
    "Damaged neighbours of the good run, and a writer."
    import shutil
    from lmnb.checkpoint import pointed, seal
    from lmnb.tokenize import Tokenizer
    (work/"empty.txt").write_bytes(b""); (work/"empty-folder").mkdir()
    (work/"pictures").mkdir(); (work/"pictures"/"a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    for name in ("truncated", "mismatched"): shutil.copytree(pointed(work/"run"), work/name)
    code, out, err = lmnb("train", "--data", "pydocs", "--model", "lstm-tiny", "--steps", 2, "--out", "writer", cwd=work)
    assert code == 0, err
    weights = work/"truncated"/"model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    Tokenizer.train("word", ["one two three"]).save(work/"mismatched"); seal(work/"mismatched")
    return work


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_a_code(case, bad, monkeypatch):
    monkeypatch.delitem(ENVIRONMENT, "LMNB_DATA", raising=False)
    arguments, expected = BAD[case]
    before = sorted(str(p) for p in bad.rglob("*"))
    code, out, err = lmnb(*arguments, cwd=bad, stdin="")
    assert (code, out, len(err.strip().splitlines())) == (expected, "", 1), (code, out, err)
    assert sorted(str(p) for p in bad.rglob("*")) == before, "something was written"


def test_help_names_every_command(work):
    code, out, _ = lmnb("--help", cwd=work)
    assert code == 0
    for name in ("quickstart", "collect", "clean", "dedup", "tokenize", "train", "advise", "bench", "evaluate", "compare", "generate", "translate", "classify", "topics", "answer", "summarize", "chat", "app", "lab", "doctor"):
        assert f"  {name} " in out, name


def test_doctor(work):
    code, out, err = lmnb("doctor", cwd=work)
    assert code == 0, err
    assert "LMNB_HOME" in out and "torch " in out and "app.py" in out


def test_bench_prints_how_close_to_the_floor_a_preset_is(work):
    code, out, _ = lmnb("bench", "--model", "lstm-tiny", "--model", "transformer-tiny", "--batch", 2, "--length", 8, "--vocab-size", 200, "--json", cwd=work)
    first, *rows = map(json.loads, out.splitlines())
    assert code == 0 and first["machine"]["fp32"] > 0 and [row["model"] for row in rows] == ["lstm-tiny", "transformer-tiny"]
    for row in rows: assert all(row[name] > 0 and 0 < row[f"{name}_share"] < 1 for name in ("train", "fp32", "bf16", "int8"))
    code, _, error = lmnb("bench", "--model", "lstmm", cwd=work)
    assert code == 2 and "lstmm" in error and len(error.strip().splitlines()) == 1
