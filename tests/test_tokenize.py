"""Tokenizers against their references, text that must not become control ids, samples and shards of a corpus that does not fit into memory."""
import gzip, hashlib, json, os, subprocess, sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from lmnb import tokenize
from lmnb.batch import IdStream, score_windows, windows
from lmnb.collect import Document, load_dataset
from lmnb.core import CorruptError, InputError, UsageError
from lmnb.tokenize import (EOS, KINDS, UNK, Tokenizer, blocks, bpe_merges, bpe_tokenizer, bpe_tokens, cut, encode_corpus, encode_shard, fertility, letters,
                           load_gpt2, load_tokenizer, read_shards, sample_texts, seal_shards, tokenize_corpus)

TEXTS = [f"The {a} cat sat on mat {i}; it's {a}!\n猫{b}在垫子上,它很{b}。研究生命起源 <eos>" for i, (a, b) in enumerate(zip("red old new big wet"*40, "坐躺站笑叫"*40))]
TRICKY = ["", " ", "  two  spaces \n\n\n", "it's we'll I'VE 3½²", "语言模型,猫🙂é e\u0301", "a\r\nb\tc\u3000d\u00a0e", "\x00\x85\u2028", "<|endoftext|><eos>", "don’t_stop__", "1,234.5"]


def digest(value): return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def bilingual():
    rows = load_dataset("translate_en_zh").parts["train"]
    return [text for row in rows for text in (row["source"], row["target"])]


@pytest.fixture(scope="module")
def trained(): return {kind: Tokenizer.train(kind, iter(TEXTS), vocab_size=500) for kind in KINDS}


@pytest.fixture(scope="module")
def gpt2(public_data):
    folder = public_data/"tok_gpt2_bpe"
    return load_gpt2(folder/"gpt2_vocab.json.gz", folder/"gpt2_merges.txt.gz")


# -- the kinds ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, size, expected", [("char", 60, "2d5591d7a39df32d"), ("word", 40, "70a9bd8d2dc3822a"), ("bpe", 400, "eb69158caeb7b879")])
def test_ids_of_a_released_tokenizer_never_change(kind, size, expected):
    tokenizer = Tokenizer.train(kind, iter(TEXTS), vocab_size=size)
    assert digest([tokenizer.encode(text) for text in TEXTS]) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_kept_whole(kind, trained, tmp_path):
    tokenizer = trained[kind]
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    texts = TEXTS[:20] + TRICKY + ["a lone \ud800 surrogate"]
    assert again.kind == kind and again.encode_batch(texts) == tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    for text in texts:
        ids, spans = tokenizer.encode_spans(text)
        assert len(ids) == len(spans) and all(0 <= a <= b <= len(text) for a, b in spans)
        assert [(a, b) for _, a, b in tokenizer.pieces(text)] == list(spans)
        if tokenizer.in_bytes: assert tokenizer.decode(ids) == text.replace("\ud800", "\ufffd")


@pytest.mark.parametrize("kind", KINDS)
def test_text_does_not_become_a_control_id(kind, trained):
    tokenizer = trained[kind]
    for text in ("<eos>", "<eos><pad> <user>", "a<assistant>b", " <bos>", "<eos", "##<eos>", "<eos>。"):
        assert all(i >= 8 or i == UNK for i in tokenizer.encode(text)), text
    assert tokenizer.encode("<eos>", allow_special=True) == [EOS]
    ids, spans = tokenizer.encode_spans("cat<eos>cat <pad>", allow_special=["<eos>"])
    assert ids.count(EOS) == 1 and 0 not in ids and spans[ids.index(EOS)] == (3, 8)
    with pytest.raises(UsageError, match="no special token"): tokenizer.encode("x", allow_special=["<|endoftext|>"])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_training_is_repeatable_in_another_process(kind, tmp_path):
    code = (f"import hashlib, json, sys\nfrom lmnb.collect import load_dataset\nfrom lmnb.tokenize import Tokenizer\n"
            f"rows = load_dataset('translate_en_zh').parts['train']\nt = Tokenizer.train({kind!r}, (r[k] for r in rows for k in ('source', 'target')), vocab_size=1500)\n"
            "print(hashlib.sha256(json.dumps(t.to_dict()).encode()).hexdigest())")
    run = lambda threads: subprocess.run([sys.executable, "-c", code], env={**os.environ, "RAYON_NUM_THREADS": threads}, capture_output=True, text=True, check=True).stdout
    assert run("1") == run("2")


def test_a_vocabulary_has_the_size_asked_for(bilingual):
    for kind in ("bpe", "wordpiece", "unigram"):
        tokenizer = Tokenizer.train(kind, bilingual, vocab_size=1200)
        assert tokenizer.vocab_size == 1200, kind
        table = tokenizer.engine.get_vocab()
        assert sorted(table.values()) == list(range(1200)) and [table[name] for name in tokenize.SPECIALS] == list(range(8))


def test_what_cannot_be_learned_from_says_so():
    for kind in KINDS:
        for texts in ([], [" ", "\n"]):
            with pytest.raises(InputError, match="no text"): Tokenizer.train(kind, iter(texts))
        assert Tokenizer.train(kind, ["x"]).encode("x")
    with pytest.raises(UsageError, match="choose char, word, bpe"): Tokenizer.train("letters", ["a"])
    with pytest.raises(UsageError, match="lowest, first, greatest"): Tokenizer.train("bpe", ["a"], ties="last")


# -- BPE from scratch ----------------------------------------------------------------------------------------------------

def recounted(texts, n, best):
    "The plain algorithm: count all pairs anew after every merge; `best` chooses from the Counter, whose order is that of counting."
    words, merges = [(Counter(), [])], []
    pieces = Counter(piece for text in texts for piece in cut(text))
    words = [([bytes([b]) for b in piece], times) for piece, times in pieces.items()]
    for _ in range(n):
        pairs = Counter()
        for word, times in words:
            for pair in zip(word, word[1:]): pairs[pair] += times
        if not pairs: break
        pair = best(pairs)
        merges.append((pair, pairs[pair]))
        for word, _ in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == pair: word[at:at + 2] = [word[at] + word[at + 1]]
                at += 1
    return merges


RULES = {"first": lambda pairs: max(pairs, key=pairs.get), "greatest": lambda pairs: max(pairs, key=lambda pair: (pairs[pair], pair))}

@pytest.mark.parametrize("ties", RULES)
@pytest.mark.parametrize("name", ["planted", "bilingual"])
def test_incremental_merges_are_those_of_counting_anew(ties, name, bilingual):
    texts = ["aaaa aaab abab baaaa", "ab ac ad ba ca", "香蕉香蕉 banana bandana", "..... ,,,,"] if name == "planted" else bilingual[:400]
    expected = recounted(texts, 150, RULES[ties])
    assert bpe_merges(texts, len(expected), ties=ties) == expected


@pytest.mark.parametrize("size", [300, 2500])
def test_the_slow_trainer_equals_the_fast_one(size, bilingual):
    fast = Tokenizer.train("bpe", iter(bilingual), vocab_size=size)
    merges = [pair for pair, _ in bpe_merges(bilingual, size - 264)]
    slow = bpe_tokenizer(merges)
    assert slow.engine.get_vocab() == fast.engine.get_vocab()
    assert [[letters(left), letters(right)] for left, right in merges] == json.loads(fast.engine.to_str())["model"]["merges"]
    for text in bilingual[::25] + TRICKY:
        assert fast.encode(text) == slow.encode(text) == [slow.engine.token_to_id(letters(token)) for token in bpe_tokens(text, merges)]


def test_the_rules_for_ties_are_a_choice_of_training(bilingual):
    sizes = {ties: Tokenizer.train("bpe", bilingual[:600], vocab_size=500, ties=ties) for ties in tokenize.TIES}
    assert len({json.dumps(t.to_dict()) for t in sizes.values()}) == 3 and {t.vocab_size for t in sizes.values()} == {500}
    for tokenizer in sizes.values(): assert tokenizer.decode(tokenizer.encode("The 猫 <eos>")) == "The 猫 <eos>"


def test_reference_merges_of_cs336(public_data):
    folder = public_data/"tok_gpt2_bpe"
    reference = [tuple(line.split(" ")) for line in (folder/"train-bpe-reference-merges.txt").read_text(encoding="utf-8").split("\n") if line]
    text = (folder/"corpus.en").read_bytes().decode()
    ours = [(letters(left), letters(right)) for (left, right), _ in bpe_merges([text], len(reference), ties="greatest")]
    assert len(reference) == 243 and ours == reference
    other = [(letters(left), letters(right)) for (left, right), _ in bpe_merges([text], len(reference))]
    assert other != reference                                                        # the rule does matter here


# -- GPT-2 ---------------------------------------------------------------------------------------------------------------

GPT2 = {   # digest of the ids, by tiktoken 0.14.0 with the same vocabulary: text as it is; <|endoftext|> allowed
    "address.txt": (320, "2bc91cb5f70aa111", "2bc91cb5f70aa111"), "german.txt": (190, "172f27924989fc3a", "172f27924989fc3a"),
    "corpus.en": (30854, "9284acb723f34309", "9284acb723f34309"), "tinystories_sample.txt": (953, "c3ff26a658d5561f", "033b8f73aeae004f"),
}

@pytest.mark.parametrize("name", GPT2)
def test_ids_are_gpt2s(name, gpt2, public_data):
    text, (count, plain, allowed) = (public_data/"tok_gpt2_bpe"/name).read_bytes().decode(), GPT2[name]
    ids = gpt2.encode(text)
    assert (len(ids), digest(ids)) == (count, plain) and gpt2.encode_batch([text]) == [ids] and gpt2.decode(ids) == text
    assert digest(gpt2.encode(text, allow_special=["<|endoftext|>"])) == allowed
    merges = [tuple(line.split(" ")) for line in gzip.decompress((public_data/"tok_gpt2_bpe"/"gpt2_merges.txt.gz").read_bytes()).decode().split("\n") if line]
    back = {letter: bytes([b]) for b, letter in tokenize.LETTERS.items()}
    whole = lambda token: b"".join(back[letter] for letter in token)
    slow = bpe_tokens(text[:2000], [(whole(a), whole(b)) for a, b in merges])
    assert [gpt2.engine.token_to_id(letters(token)) for token in slow] == gpt2.encode(text[:2000])


def test_gpt2_on_hard_text_and_its_control_token(gpt2, tmp_path):
    assert gpt2.vocab_size == 50257 and gpt2.eos == 50256 and gpt2.encode("Hello world") == [15496, 995]
    hard = [163, 234, 104, 161, 251, 238, 28839, 101, 161, 252, 104, 36310, 41468, 16764, 270, 338, 220, 220, 628, 513, 23141, 32485, 27, 91, 437, 1659, 5239, 91, 29]
    assert gpt2.encode("猫坐在垫子上。it's  \n\n 3½ 🙂<|endoftext|>") == hard
    assert gpt2.encode("a<|endoftext|>b", allow_special=True) == [64, 50256, 65] and gpt2.decode([64, 50256, 65, 0, 1]) == 'ab!"'
    gpt2.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.encode("<eos> Hello <|endoftext|>") == gpt2.encode("<eos> Hello <|endoftext|>") and again.eos == 50256


def test_a_broken_vocabulary_is_refused(tmp_path):
    (tmp_path/"merges.txt").write_text("#version: 0.2\na b\n"); (tmp_path/"vocab.json").write_text('{"a": 0, "b": 1, "<|endoftext|>": 2}')
    with pytest.raises(CorruptError, match="not a vocabulary"): load_gpt2(tmp_path/"vocab.json", tmp_path/"merges.txt")      # ab has no id
    (tmp_path/"vocab.json.gz").write_bytes(gzip.compress(b"{}")[:-4])
    with pytest.raises(CorruptError): load_gpt2(tmp_path/"vocab.json.gz", tmp_path/"merges.txt")
    with pytest.raises(InputError, match="is missing"): load_gpt2(tmp_path/"none.json", tmp_path/"merges.txt")


# -- a corpus larger than memory -------------------------------------------------------------------------------------------

def test_a_sample_is_a_function_of_seed_and_texts():
    texts = [f"text {i}" for i in range(5000)]
    share = list(sample_texts(iter(texts), 0.2))
    assert 900 < len(share) < 1100 and share == [t for t in texts if t in set(share)]
    for sample in (0.2, 300):
        chosen = set(sample_texts(iter(texts), sample))
        assert chosen == set(sample_texts(reversed(texts), sample)) and chosen != set(sample_texts(texts, sample, seed=1))
    assert len(list(sample_texts(texts, 300))) == 300 and list(sample_texts(texts, 10_000)) and list(sample_texts(texts, None)) == texts
    for bad in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="sample="): sample_texts(texts, bad)


MEMORY = r"""
import re, sys, tempfile
from lmnb.tokenize import Tokenizer, encode_corpus
words = open(sys.argv[2], encoding="utf-8").read().split()[:4000]
def texts(n):
    for i in range(n): yield f"document {i}: " + " ".join(words[i*7 % 3000:i*7 % 3000 + 400])
kind, n = sys.argv[1], int(sys.argv[3])
tokenizer = Tokenizer.train("bpe", texts(n if kind == "train" else 200), vocab_size=1000, sample=200)
if kind == "encode": encode_corpus(texts(n), tokenizer, tempfile.mkdtemp() + "/shards")
print(int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])//1024)     # getrusage would hand down the parent's peak
"""

@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind, few, many", [("train", 3_000, 30_000), ("encode", 2_000, 6_000)])       # about 2.4 kB each; encoded at once, 216 and 571 MB
def test_memory_does_not_grow_with_the_corpus(kind, few, many, tmp_path):
    (tmp_path/"words.txt").write_text(" ".join(row["text"] for row in load_dataset("pydocs").parts["dev"]), encoding="utf-8")
    run = lambda n: int(subprocess.run([sys.executable, "-c", MEMORY, kind, str(tmp_path/"words.txt"), str(n)], capture_output=True, text=True, check=True).stdout)
    small, large = run(few), run(many)
    assert large - small < 40, f"{small} MB, then {large} MB"


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_do_not_change_ids(kind, trained):
    text = "".join(TEXTS[:40]) + "".join(TRICKY)*3
    for size in (64, 1000):
        parts = list(blocks(text, size))
        assert "".join(block for block, _ in parts) == text and [last for _, last in parts] == [False]*(len(parts) - 1) + [True]
        assert max(len(block) for block, _ in parts) <= size
    assert [i for block, _ in blocks(text, 1000) for i in trained[kind].encode(block)] == trained[kind].encode(text)


def documents(): return [Document.of(text, position=i) for i, text in enumerate([*TEXTS, "", *TRICKY, "long "*40_000, "lone \ud800"])]


@pytest.mark.parametrize("kind", KINDS)
def test_shards_hold_every_document(kind, trained, tmp_path):
    docs, tokenizer = documents(), trained[kind]
    docs[3].meta["fate"] = "dropped"
    manifest = encode_corpus(iter(docs), tokenizer, tmp_path/"a", shard_tokens=2000)
    kept = [doc for doc in docs if not doc.meta.get("fate")]
    shards = read_shards(tmp_path/"a")
    assert len(shards) == len(kept) == manifest["documents"] and list(shards.names()) == [doc.id for doc in kept] and len(shards.ids) > 3
    assert [shards[i].tolist() for i in range(len(kept))] == tokenizer.encode_batch([doc.text for doc in kept])
    assert all(ids[-1] == EOS for ids in shards.ids) and shards.tokens == sum(map(len, shards.ids)) and shards[-1].tolist() == shards[len(kept) - 1].tolist()
    assert manifest["characters"] == sum(len(doc.text) for doc in kept) and manifest["dtype"] == "<u2" and isinstance(shards.ids[0], np.memmap)
    assert shards.tokenizer().to_dict() == tokenizer.to_dict()
    assert sum(row["tokens"] for row in manifest["shards"]) == shards.tokens and sum(row["documents"] for row in manifest["shards"]) == len(kept)


def test_shards_are_the_same_bytes_however_they_are_made(trained, tmp_path, monkeypatch):
    docs, bpe = documents(), trained["bpe"]
    files = lambda folder: {path.name: path.read_bytes() for path in folder.iterdir()}
    encode_corpus(iter(docs), bpe, tmp_path/"a", shard_tokens=1500)
    monkeypatch.setattr(tokenize, "BATCH", 777)
    encode_corpus(iter(docs), bpe, tmp_path/"b", shard_tokens=1500)
    assert files(tmp_path/"a") == files(tmp_path/"b")
    monkeypatch.undo()
    (tmp_path/"c").mkdir()
    rows = [encode_shard(docs[:100], bpe, tmp_path/"c", 0), encode_shard([], bpe, tmp_path/"c", 1), encode_shard(docs[100:], bpe, tmp_path/"c", 2)]
    seal_shards(tmp_path/"c", bpe, rows)
    one, other = read_shards(tmp_path/"a"), read_shards(tmp_path/"c")
    assert [one[i].tolist() for i in range(len(one))] == [other[i].tolist() for i in range(len(other))] and list(one.names()) == list(other.names())
    assert np.array_equal(np.concatenate(one.ids), np.concatenate(other.ids))


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    tokenizer = Tokenizer.train("char", ["".join(map(chr, range(0x3400, 0x3400 + 70_000))).replace("\ud800", "")], vocab_size=80_000)
    manifest = encode_corpus(["㐀㐁", "\U00010000"], tokenizer, tmp_path/"a")
    assert manifest["dtype"] == "<u4" and [read_shards(tmp_path/"a")[i].tolist() for i in range(2)] == tokenizer.encode_batch(["㐀㐁", "\U00010000"])
    assert max(map(int, read_shards(tmp_path/"a").ids[0])) > 1 << 16 or tokenizer.vocab_size > 1 << 16


def test_nothing_half_stands_under_its_name(trained, tmp_path):
    def broken():
        yield from documents()[:50]
        raise KeyError("the source broke off")
    with pytest.raises(KeyError): encode_corpus(broken(), trained["bpe"], tmp_path/"a", shard_tokens=500)
    with pytest.raises(InputError, match="no documents"): encode_corpus(iter([]), trained["bpe"], tmp_path/"a")
    with pytest.raises(InputError, match="line break"): encode_corpus([Document("a\nb", "text", "s")], trained["bpe"], tmp_path/"a")
    assert not list(tmp_path.iterdir())
    encode_corpus(TEXTS, trained["bpe"], tmp_path/"a")
    with pytest.raises(UsageError, match="exists"): encode_corpus(TEXTS, trained["bpe"], tmp_path/"a")


@pytest.mark.parametrize("name", ["ids-00001.bin", "ends-00000.bin", "docs-00000.txt", "tokenizer.json"])
def test_damage_is_found(name, trained, tmp_path):
    encode_corpus(TEXTS, trained["bpe"], tmp_path/"a", shard_tokens=2000)
    path = tmp_path/"a"/name
    data = path.read_bytes()
    path.write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:])
    with pytest.raises(CorruptError, match="damaged"): read_shards(tmp_path/"a")
    assert len(read_shards(tmp_path/"a", verify=False)) == len(TEXTS)
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptError, match="bytes, not"): read_shards(tmp_path/"a", verify=False)
    path.unlink()
    with pytest.raises(CorruptError, match="missing"): read_shards(tmp_path/"a")
    (tmp_path/"a"/"manifest.json").write_text('{"format": 1}')
    with pytest.raises(CorruptError): read_shards(tmp_path/"a")
    with pytest.raises(InputError): read_shards(tmp_path)


def test_one_call_from_documents_to_shards(tmp_path):
    opened = []
    def open_docs(): opened.append(1); return iter(documents())
    tokenizer, manifest = tokenize_corpus(open_docs, tmp_path/"a", kind="unigram", vocab_size=400, sample=0.5)
    assert len(opened) == 2 and tokenizer.kind == "unigram" and manifest["documents"] == len(documents()) == len(read_shards(tmp_path/"a"))
    again, _ = tokenize_corpus(open_docs, tmp_path/"b", tokenizer=tokenizer)
    assert len(opened) == 3 and again is tokenizer


# -- training reads shards -------------------------------------------------------------------------------------------------

def test_batches_from_disk_are_those_from_memory(trained, tmp_path):
    encode_corpus(TEXTS, trained["bpe"], tmp_path/"a", shard_tokens=700)
    shards = read_shards(tmp_path/"a")
    disk, memory = IdStream(shards.ids), torch.from_numpy(np.concatenate(shards.ids).astype(np.int64))
    assert len(disk) == len(memory) and len(shards.ids) > 2
    for step in range(3):
        for a, b in zip(windows(disk, batch=8, length=50, seed=1, step=step), windows(memory, batch=8, length=50, seed=1, step=step)): assert torch.equal(a, b)
    for one, other in zip(score_windows(disk, length=64), score_windows(memory, length=64), strict=True): assert all(map(torch.equal, one, other))


def test_a_model_learns_from_shards_as_from_rows(trained, tmp_path):
    from lmnb.checkpoint import Config, TaskConfig
    from lmnb.models.zoo import preset
    from lmnb.train import Recipe, read_metrics, train
    bpe, rows = trained["bpe"], [{"text": text} for text in TEXTS]
    encode_corpus(TEXTS, bpe, tmp_path/"ids", shard_tokens=900)
    shards = read_shards(tmp_path/"ids")
    config = Config(task=TaskConfig(name="lm", length=16), model=preset("gru-tiny", task="lm", vocab_size=bpe.vocab_size, dropout=0.0))
    recipe = Recipe(steps=6, batch=4, scores=1, precision="fp32")
    runs = [train(tmp_path/name, config, bpe, part, part, recipe) for name, part in (("disk", shards), ("rows", rows))]
    first, second = ([row["dev_loss"] for row in read_metrics(run) if "dev_loss" in row] for run in runs)
    assert first == second and first
    with pytest.raises(UsageError, match="another tokenizer"): train(tmp_path/"other", config, trained["char"], shards, shards, recipe)


# -- what it costs ---------------------------------------------------------------------------------------------------------

def test_fertility_counts_what_a_person_counts():
    char = Tokenizer.train("char", ["the cat 猫坐着"])
    cost = fertility(char, ["the cat", "猫"])
    assert (cost["tokens"], cost["words"], cost["characters"], cost["bytes"]) == (8, 3, 8, 10)
    assert cost["tokens_per_word"] == 8/3 and cost["tokens_per_character"] == 1 and cost["bytes_per_token"] == 10/8 and cost["words_split"] == 2/3 and cost["unknown"] == 0
    assert fertility(char, ["xyz"])["unknown"] == 1 and fertility(char, [])["tokens_per_word"] is None
    word = Tokenizer.train("word", ["the cat 猫坐着"])
    assert fertility(word, ["the cat dog"]) | {"words_split": 0.0, "unknown": 1/3} == fertility(word, ["the cat dog"])
    bpe = Tokenizer.train("bpe", ["the cat"]*9, vocab_size=264)
    assert fertility(bpe, ["猫"])["tokens"] == 3 and fertility(bpe, ["猫"])["words_split"] == 1


def test_pieces_show_bytes_of_characters(trained):
    shown = Tokenizer.train("bpe", ["the cat"]*9, vocab_size=270).pieces("the 猫<eos>", allow_special=True)
    assert ("<E7>", 4, 5) in shown and shown[-1] == ("<eos>", 5, 10)
    assert "".join(token for token, *_ in trained["bpe"].pieces("The red cat")) == "The red cat"
    assert [token for token, *_ in trained["wordpiece"].pieces("cats")] [0].startswith("c")


def test_words_that_are_cut_by_spaces(tmp_path):
    tokenizer = Tokenizer.train("word", [" = The U.S. = \n \n It 's <unk> @-@ <eos> , in Rome . \n"], spaced=True)
    ids = tokenizer.encode(" = The U.S. = \n It 's <unk>")
    assert tokenizer.decode(ids).split() == ["=", "The", "U.S.", "=", "It", "'s", "<unk>"] and ids[-1] == UNK
    assert tokenizer.encode("the <eos> it") == [UNK]*3                       # case counts, and text makes no control id
    assert tokenizer.encode("It's, in Rome.") == tokenizer.encode("It 's , in Rome .")
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.spaced and again.to_dict() == tokenizer.to_dict() and again.encode("The U.S.\n") == tokenizer.encode("The U.S.\n")


def test_wikitext_has_the_tokens_that_others_count(public_data):
    data = load_dataset("wikitext2")
    text = lambda part: "".join(row["text"] for row in data.parts[part])
    tokenizer = Tokenizer.train("word", [text("train")], vocab_size=40_000, spaced=True)
    assert tokenizer.vocab_size == 33_278 + 7                                # <unk> is one of the eight specials; its <eos> is our end of a line
    assert len(tokenizer.encode(text("test"))) == 245_569


# -- files of before, and words that are written as they were -----------------------------------------------------------------

OLD = Path(__file__).parent/"cases"/"old-tokenizers"

@pytest.mark.parametrize("kind", [*KINDS, "spaced"])
def test_files_of_earlier_versions_open_and_give_the_same_ids(kind):
    tokenizer = load_tokenizer(OLD/kind)
    for row in json.loads((OLD/"ids.json").read_text(encoding="utf-8"))[kind]:
        assert tokenizer.encode(row["text"]) == row["ids"] and tokenizer.decode(row["ids"]) == row["decoded"]
    same = load_tokenizer(OLD/kind).to_dict()
    assert same == tokenizer.to_dict() and "joins" not in same["lmnb"]


WRITTEN = {
    "English": "Tom's dog (a big one) said \"hello\" to James' cat at 3.14 pm; it cost $5.00, or 20%! He met Mr. Smith in the 1990's.",
    "Chinese": "塔上的老钟停了九年，村里没有人记得原因。“后来”，退休教师林秀兰爬上去（用了一周）。价格是5元！",
    "mixed": "使用 Python 3.11 编程, 很简单。GPU 的价格是 $5.00。",
    "dialogue": "#Person1#: Hi, Mr. Smith. I'm Doctor Hawkins. Why are you here today?\n#Person2#: I found it would be a good idea to get a check-up.\n#Person1#: It's #Person2#'s turn, isn't it?",
    "dialogue in Chinese": "#Person1#：你好，今天怎么样？\n#Person2#：很好，谢谢你。",
    "addresses": "Write to a.b@example.org, or see https://example.org/a_b?c=1#d.",
}

@pytest.mark.parametrize("name", WRITTEN)
def test_words_are_written_as_they_were(name, tmp_path):
    tokenizer = Tokenizer.train("word", [WRITTEN[name]])
    ids = tokenizer.encode(WRITTEN[name])
    assert tokenizer.decode(ids) == WRITTEN[name]
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.decode(ids) == WRITTEN[name] and again.to_dict() == tokenizer.to_dict()
    for n in range(len(ids)): assert tokenizer.decode(ids).startswith(tokenizer.decode(ids[:n])), "what was shown stays"


def test_learned_joins_serve_texts_that_were_not_seen():
    rows = load_dataset("answer").parts["train"]
    texts = [row["passage"] for row in rows[:1500]]
    tokenizer = Tokenizer.train("word", texts[150:])
    plain = Tokenizer("word", tokenizer.engine, lowercase=True)
    whole = [text for text in texts[:150] if UNK not in tokenizer.encode(text)]
    right = lambda one: sum(one.decode(one.encode(text)).lower() == text.lower() for text in whole)/len(whole)
    assert len(whole) > 80 and right(tokenizer) > 0.85 > right(plain)
    assert [tokenizer.encode(text) for text in whole] == [plain.encode(text) for text in whole], "decoding alone is changed"
