"Text larger than memory: ids on the disk, made once, and never read as text."
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from lmnb.batch import IdStream
from lmnb.collect import Document
from lmnb.core import CorruptError, InputError, sha256_file
from lmnb.large import Rest, held_out, is_text, large_data, large_files, sampled, spans
from lmnb.task import LanguageModel, ids_of
from lmnb.tokenize import encode_corpus, read_shards, train_tokenizer

POEM = "床前明月光,疑是地上霜。"


def lmnb(*arguments, cwd):
    "The command as a user gives it -> exit code, output, messages."
    code = "from lmnb.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def text(lines=3000):
    "English and Chinese, no line twice."
    return [f"Line {i} of the story: the cat number {i} sat down. 第{i}行:{POEM}\n" for i in range(lines)]


@pytest.fixture(scope="module")
def ids(tmp_path_factory):
    "A folder of ids."
    folder = tmp_path_factory.mktemp("large")/"ids"
    encode_corpus(text(), train_tokenizer("bpe", text(), vocab_size=400), folder)
    return folder


def test_nothing_is_lost_and_nothing_is_in_two_parts(ids):
    data = large_data(ids)
    parts = {part: [row["text"] for row in rows] for part, rows in data.parts.items()}
    assert sorted(sum(parts.values(), [])) == sorted(text())
    assert sum(map(len, parts.values())) == len({*sum(parts.values(), [])})
    assert parts["dev"] and parts["test"] and isinstance(data.parts["train"], Rest)


@pytest.mark.parametrize("lengths", [[5000], [300]*40, [1]*300, [4000, 1, 1, 3000], [2, 50_000, 7]])
def test_held_out_places_do_not_overlap(lengths):
    end_N = np.cumsum(lengths)
    most = int(end_N[-1])//20
    found = sorted(spans(end_N, most, .25) + spans(end_N, most, .75))
    assert all(0 <= a < b <= end_N[-1] for a, b in found)
    assert all(before[1] <= after[0] for before, after in zip(found, found[1:]))


def test_a_character_at_a_border_is_not_broken(tmp_path):
    long = [POEM*2000]          # one document, no border near, three bytes a character
    encode_corpus(long, train_tokenizer("bpe", ["abc"], vocab_size=264), tmp_path/"ids")
    data = large_data(tmp_path/"ids")
    for part in ("dev", "test", "train"):
        assert all(set(row["text"]) <= set(POEM) for row in data.parts[part])


def test_words_that_were_lost_stay_ids(tmp_path):
    tokenizer = train_tokenizer("word", text()[:20], vocab_size=300)
    encode_corpus(text(600), tokenizer, tmp_path/"ids")
    rows = large_data(tmp_path/"ids").parts["test"]
    assert any(tokenizer.roles["<unk>"] in row["ids"] for row in rows)
    assert ids_of(tokenizer, rows) == [row["ids"] for row in rows]


def test_the_second_start_reads_no_text(tmp_path, fresh_home):
    (tmp_path/"a.txt").write_text("".join(text()), encoding="utf-8")
    steps = []
    first = large_data(tmp_path/"a.txt", vocab_size=300, least=1000, on_step=lambda s: steps.append(s["stage"]))
    again = []
    second = large_data(tmp_path/"a.txt", vocab_size=300, least=1000, on_step=lambda s: again.append(s["stage"]))
    assert {*steps} == {"check", "learn", "encode"} and {*again} == {"check"} and first.hash == second.hash
    (tmp_path/"b.txt").write_text("".join(text(3001)), encoding="utf-8")
    assert large_data(tmp_path/"b.txt", vocab_size=300, least=1000).hash != first.hash
    folder = next(p for p in (fresh_home/"ids").iterdir())
    damaged = folder/"ids-00000.bin"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    assert large_data(tmp_path/"a.txt", vocab_size=300, least=1000).hash == first.hash      # made again
    assert not list((fresh_home/"ids").glob("*.making"))


def test_what_is_large_and_what_is_something_else(tmp_path):
    def made(name, content):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_text(content, encoding="utf-8")
        return tmp_path/name
    assert large_files(made("t.csv", "text,label\n" + "a,b\n"*500), 100) == []
    assert large_files(tmp_path/"t.csv", 100, sure=True)
    assert large_files(made("r.jsonl", '{"review": "good", "stars": 5}\n'*500), 100) == []
    assert large_files(made("q.json", json.dumps([{"passage": "a", "question": "b", "answer": "c"}]*50)), 100) == []
    assert large_files(made("t.jsonl", '{"text": "a b c", "url": "u"}\n'*500), 100) and large_files(tmp_path/"t.jsonl") == []
    assert large_files(tmp_path/"missing.txt", 0) == [] and large_data("chat") is None
    for name in ("pos/1.txt", "pos/2.txt", "neg/1.txt", "neg/2.txt"):
        made(name, text(50)[0]*50)
    (tmp_path/"labels").mkdir()
    for name in ("pos", "neg"):
        (tmp_path/name).rename(tmp_path/"labels"/name)
    assert large_files(tmp_path/"labels", 100) == []
    made("pair/a.en", "a\n"*500)
    made("pair/a.zh", "啊\n"*500)
    assert large_files(tmp_path/"pair", 100) == []
    made("parts/train.txt", "a\n"*500)
    made("parts/test.txt", "b\n"*500)
    assert large_files(tmp_path/"parts", 100) == []
    made("books/one.txt", "a\n"*500)
    made("books/two.md", "b\n"*500)
    assert len(large_files(tmp_path/"books", 100)) == 2


def test_a_sample_is_spread_over_all_documents():
    docs = [Document.of(letter*40_000, source="s", position=i, kind="text") for i, letter in enumerate("abcdefgh")]
    assert {piece[0] for piece in sampled(docs, .4)} == set("abcdefgh")
    assert sum(map(len, sampled(docs, 1.0))) == sum(map(len, sampled(docs, 7.0))) == 320_000
    assert list(sampled([Document.of("x", source="s", position=0, kind="text", fate="dropped")], 1.0)) == []


def test_pages_are_given_back_and_the_ids_stay_right(ids):
    shards = read_shards(ids)
    stream, whole = IdStream(shards.ids), np.concatenate(shards.ids).astype(np.int64)
    dice = random.Random(0)
    for _ in range(200):
        at = dice.randrange(len(stream) - 9)
        assert stream[at:at + 9].tolist() == whole[at:at + 9].tolist()


def test_a_large_development_part_is_sampled(ids):
    task = LanguageModel.__new__(LanguageModel)
    stream = torch.arange(100_000)
    few, all_ = task.sample(stream, 1600)
    assert len(few) == 1600 and all_ == 100_000 and few.diff().eq(1).sum() == 1600 - 16
    assert task.sample(stream, 10**6)[0] is stream


def test_too_few_ids_are_refused(tmp_path):
    encode_corpus(["a b c"], train_tokenizer("bpe", ["a b c"], vocab_size=300), tmp_path/"ids")
    with pytest.raises(InputError, match="too few"):
        held_out(read_shards(tmp_path/"ids"))


def test_train_takes_the_folder_that_tokenize_wrote(tmp_path, fresh_home):
    (tmp_path/"a.txt").write_text("".join(text()), encoding="utf-8")
    assert lmnb("tokenize", "a.txt", "--vocab-size", 400, "--out", "tokens", cwd=tmp_path)[0] == 0
    code, out, err = lmnb("train", "--data", "tokens", "--model", "lstm-tiny", "--steps", 4, "--name", "mine", cwd=tmp_path)
    assert code == 0 and "Held out" in err and "bits_per_byte" in err, err
    run = next((fresh_home/"runs").glob("tokens-*/mine"))
    assert out.strip() == str(run) and json.loads((run/"scores.json").read_text())["parts"].keys() == {"test"}
    assert lmnb("train", "--data", "tokens", "--vocab-size", 500, cwd=tmp_path)[0] == 2
    path = tmp_path/"tokens"/"ids-00000.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\1\0")
    code, _, err = lmnb("train", "--data", "tokens", "--model", "lstm-tiny", "--steps", 4, "--name", "b", cwd=tmp_path)
    assert code == 4 and "ids-00000.bin" in err and len(err.splitlines()) == 1
    whole = np.fromfile(path, "<u2")
    whole[len(whole)//2] = 60_000                     # and the manifest says that this is right
    whole.tofile(path)
    manifest = json.loads((tmp_path/"tokens"/"manifest.json").read_text())
    manifest["files"][path.name]["sha256"] = sha256_file(path)
    (tmp_path/"tokens"/"manifest.json").write_text(json.dumps(manifest))
    code, _, err = lmnb("train", "--data", "tokens", "--model", "lstm-tiny", "--steps", 4, "--name", "c", cwd=tmp_path)
    assert code == 4 and "60,000" in err and len(err.splitlines()) == 1
    (tmp_path/"tokens"/"manifest.json").unlink()
    code, _, err = lmnb("train", "--data", "tokens", cwd=tmp_path)
    assert code == 4 and "lmnb tokenize" in err and [p.name for p in (fresh_home/"runs").glob("*/*") if p.is_dir()] == ["mine"]


def test_a_look_at_a_large_text_keeps_little_of_it(monkeypatch):
    "What a gigabyte is, its first pieces tell; they are not gathered in memory."
    drawn = []
    def read(_):
        for number in range(200):
            drawn.append(number)
            yield Document.of("It rained all day in the old town. "*120_000)          # 4 MB, as `read` cuts a large file
    monkeypatch.setattr("lmnb.large.read", read)
    assert is_text("large.txt") and len(drawn) <= 5
