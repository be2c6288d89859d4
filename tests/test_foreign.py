"""Tokenizers that were made elsewhere: read as they are, with the roles that they have; and files that would hang, fill the memory or end in a panic: one line."""
import copy, json, random, re, resource, shutil, subprocess, sys, time
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer as Engine, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from lmnb.checkpoint import Config, TaskConfig
from lmnb.core import CorruptError, InputError, UsageError
from lmnb.generate import generate, generate_ids, stream_ids, Sampling
from lmnb.models.heads import build_model
from lmnb.models.zoo import preset
from lmnb.task import TASKS, task_of
from lmnb.tokenize import KINDS, KNOWN_PATTERNS, SPECIALS, Tokenizer, blocks, encode_corpus, harmless, load_gpt2, load_tokenizer, read_shards

TEXTS = ["The cat sat on the mat, isn't it? 3.14 and U.S. army.\nNew line: 猫坐在垫子上。它很高兴!  two  spaces, a zebra"]*20
BYTES_OF = [f"<0x{i:02X}>" for i in range(256)]
FALLBACK = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def trained(model, trainer, **parts):
    engine = Engine(model)
    for name, part in parts.items(): setattr(engine, name, part)
    engine.train_from_iterator(TEXTS, trainer)
    return engine


def bpe(names, size=500, **more): return trainers.BpeTrainer(vocab_size=size, special_tokens=names, show_progress=False, **more)
ALPHABET = dict(initial_alphabet=pre_tokenizers.ByteLevel.alphabet())

MADE = {   # name -> (engine, does it give every text back)
    "byte level": lambda: (trained(models.BPE(), bpe(["<|endoftext|>"], **ALPHABET), pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False), decoder=decoders.ByteLevel()), True),
    "byte level, prefix": lambda: (trained(models.BPE(), bpe(["<s>", "</s>"], **ALPHABET), pre_tokenizer=pre_tokenizers.ByteLevel(), decoder=decoders.ByteLevel()), True),
    "llama 3": lambda: (trained(models.BPE(), bpe(["<|begin_of_text|>", "<|end_of_text|>"], **ALPHABET), decoder=decoders.ByteLevel(),
                                pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(KNOWN_PATTERNS[0]), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])), True),
    "metaspace": lambda: (trained(models.BPE(unk_token="<unk>", byte_fallback=True), bpe(["<unk>", "<s>", "</s>", *BYTES_OF]), pre_tokenizer=pre_tokenizers.Metaspace(), decoder=FALLBACK), True),
    "llama": lambda: (trained(models.BPE(unk_token="<unk>", byte_fallback=True), bpe(["<unk>", "<s>", "</s>", *BYTES_OF]),
                              normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), decoder=FALLBACK), True),
    "unigram": lambda: (trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=100, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False),
                                normalizer=normalizers.NFKC(), pre_tokenizer=pre_tokenizers.Metaspace(), decoder=decoders.Metaspace()), False),
    "wordpiece": lambda: (trained(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False),
                                  normalizer=normalizers.BertNormalizer(), pre_tokenizer=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece(),
                                  post_processor=TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])), False),
    "words": lambda: (trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=200, special_tokens=["[UNK]", "[EOS]"], show_progress=False), pre_tokenizer=pre_tokenizers.Whitespace()), False),
}


@pytest.mark.parametrize("name", MADE)
def test_a_tokenizer_of_another_program_is_read(name, tmp_path):
    engine, whole = MADE[name]()
    plain = Engine.from_str(engine.to_str())
    engine.enable_truncation(4); engine.enable_padding(length=9)                   # settings of batches: they cut no text here
    engine.save(str(tmp_path/"tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    for text in [TEXTS[0], "The cat's 3.14 猫坐 zebra", "on  the\n\nmat", "", "it's"]:
        ids, spans = tokenizer.encode_spans(text)
        assert ids == plain.encode(text, add_special_tokens=False).ids == tokenizer.encode_batch([text])[0] and len(spans) == len(ids)
        assert len(tokenizer.pieces(text)) == len(ids)
        if whole: assert tokenizer.decode(ids) == text, name
    assert tokenizer.lossy != whole and tokenizer.vocab_size == plain.get_vocab_size() and "<eos>" in tokenizer.roles or name == "words"
    (tmp_path/"b").mkdir(); tokenizer.save(tmp_path/"b")
    again = load_tokenizer(tmp_path/"b")
    assert again.to_dict() == tokenizer.to_dict() and again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0]) and again.roles == tokenizer.roles
    written = "<s> </s>x</s></s>[SEP] [CLS] <|endoftext|> <|end_of_text|> [EOS]"
    assert tokenizer.closed.isdisjoint(tokenizer.encode(written)) and tokenizer.encode_batch([written]) == [tokenizer.encode(written)]
    encode_corpus([*TEXTS, TEXTS[0]*500], tokenizer, tmp_path/"shards")
    shards = read_shards(tmp_path/"shards")
    assert shards[len(TEXTS)].tolist() == tokenizer.encode(TEXTS[0]*500) and int(shards.ids[0][-1]) == tokenizer.eos


@pytest.mark.parametrize("name", [*MADE, *KINDS, "spaced"])
def test_blocks_give_equal_results(name, tmp_path):
    if name in MADE:
        MADE[name]()[0].save(str(tmp_path/"tokenizer.json"))
        tokenizer = load_tokenizer(tmp_path)
    else: tokenizer = Tokenizer.train("word" if name == "spaced" else name, TEXTS, vocab_size=500, spaced=name == "spaced")
    dice, letters = random.Random(1), "abc XYZ 12.,;:!?'\n\t\u00a0猫坐。，é"
    words = "The U.S. it's 3.14 a\u00a0b x. dogs' 猫坐 , .. U.S.A end.".split(" ")
    for _ in range(60):
        text = "".join(dice.choice(letters) for _ in range(dice.randrange(300))) + " " + " ".join(dice.choices(words, k=80))
        parts = [block for block, _ in blocks(text, 40, tokenizer.cuts())]
        assert "".join(parts) == text and [i for part in parts for i in tokenizer.encode(part)] == tokenizer.encode(text)


def test_a_run_without_a_place_to_cut_stays_whole_as_long_as_it_can():
    text = "猫"*5000
    assert [len(block) for block, _ in blocks(text, 1000)] == [5000] and len(list(blocks(text + " ", 100))) > 1


# -- hostile -------------------------------------------------------------------------------------------------------------

PART = lambda **settings: {"behavior": "Isolated", "invert": False} | settings
ADDED = {"id": 500, "content": "x", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}

def changed(content, path, value):
    "A copy in which one place has another value."
    content = copy.deepcopy(content)
    *above, last = path.split(".")
    place = content
    for name in above: place = place[name]
    place[last] = value
    return content


HOSTILE = {   # what: (place, value)
    "a pattern that never ends": ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, **PART()}),
    "a pattern of alternatives": ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a|a)*b"}, **PART()}),
    "a pattern with a look back": ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"(?<=a*)b"}, **PART()}),
    "a pattern in a sequence": ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "([a-z]+)*$"}, **PART()}]}),
    "a pattern in a normalizer": ("normalizer", {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": "z"}),
    "a pattern in a decoder": ("decoder", {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": "z"}),
    "a stride of 30 million": ("truncation", {"direction": "Right", "max_length": 30_000_001, "strategy": "LongestFirst", "stride": 30_000_000}),
    "a stride above the length": ("truncation", {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5}),
    "truncation to nothing": ("truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0}),
    "a padding of 30 million": ("padding", {"strategy": {"Fixed": 30_000_000}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}),
    "padding to a multiple": ("padding", {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": 30_000_000, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}),
    "a template": ("post_processor", {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {}}),
    "a huge added token": ("added_tokens", [ADDED | {"content": "y"*10**6}]),
    "an empty added token": ("added_tokens", [ADDED | {"content": ""}]),
    "too many added tokens": ("added_tokens", [ADDED | {"id": 500 + i, "content": f"t{i}"} for i in range(60_000)]),
    "an added token in another's place": ("added_tokens", [ADDED | {"id": 3}]),
    "an added token far away": ("added_tokens", [ADDED | {"id": 4_000_000_000}]),
    "an added token with a name for an id": ("added_tokens", [ADDED | {"id": "5"}]),
    "a vocabulary of lists": ("model.vocab", {"a": [1]}), "a vocabulary of texts": ("model.vocab", {"a": "1"}), "a vocabulary that is a number": ("model.vocab", 7),
    "a negative id": ("model.vocab", {"a": -1}), "an id that is too large": ("model.vocab", {"a": 2**40}), "an id out of range": ("model.vocab", {"<pad>": 0, "a": 900_000}),
    "one id twice": ("model.vocab", {"a": 0, "b": 0}), "an empty vocabulary": ("model.vocab", {}), "a share for an id": ("model.vocab", {"a": 0.5}), "yes for an id": ("model.vocab", {"a": True}),
    "no merges of strings": ("model.merges", [[1, 2]]), "merges of what is not there": ("model.merges", [["q\u0000", "q"]]),
    "chance": ("model.dropout", 0.5), "a prefix that panics": ("model.continuing_subword_prefix", "猫"), "an unknown token that is not there": ("model.unk_token", "<nope>"),
    "another kind of model": ("model.type", "Oracle"), "a model of another form": ("model", {"type": "Unigram", "vocab": {"a": 0}, "unk_id": 0}),
    "a normalizer that grows": ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a"*10**6}),
    "a long prefix": ("normalizer", {"type": "Prepend", "prepend": "z"*10**6}),
    "a compiled table": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="}),
    "a length of nothing": ("pre_tokenizer", {"type": "FixedLength", "length": 0}),
    "a part that nobody knows": ("pre_tokenizer", {"type": "Shell", "command": "true"}),
    "a sequence within a sequence": ("normalizer", None), "a key that nobody knows": ("extra", 1),
    "a role out of range": ("lmnb.roles", {"<eos>": 10**9}), "a role without a token": ("lmnb.roles", {"<eos>": 499_999}), "roles of text": ("lmnb.roles", {"<eos>": "3"}), "no end": ("lmnb.roles", {"<pad>": 0}),
    "a kind that nobody knows": ("lmnb.kind", "poem"), "a section of text": ("lmnb", "bpe"), "a long dictionary": ("lmnb.dictionary", "x"*10**6),
    "too many letters of a word": ("model.max_input_chars_per_word", 10**12),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    Tokenizer.train("bpe", TEXTS, vocab_size=300).save(folder)
    return json.loads((folder/"tokenizer.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_line(what, good, tmp_path, capfd):
    place, value = HOSTILE[what]
    if what == "a sequence within a sequence":
        value = {"type": "NFC"}
        for _ in range(400): value = {"type": "Sequence", "normalizers": [value]}
    (tmp_path/"tokenizer.json").write_text(json.dumps(changed(good, place, value)), encoding="utf-8")
    began = time.process_time()
    with pytest.raises(CorruptError) as said: load_tokenizer(tmp_path)
    assert time.process_time() - began < 10 and len(str(said.value).splitlines()) == 1 and len(str(said.value)) < 500
    assert capfd.readouterr().err == "", "a panic writes to the screen"


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", "{}", '{"model": ' + "9"*5000 + "}", "["*100_000, '{"model": {"type": "BPE", "vocab": {"\\ud800": 0}, "merges": []}}', '{"version": NaN}'], ids=lambda text: text[:12] or "empty")
def test_what_is_no_tokenizer_is_one_line(text, tmp_path):
    (tmp_path/"tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(CorruptError) as said: load_tokenizer(tmp_path)
    assert len(str(said.value).splitlines()) == 1


def test_a_file_without_end_is_not_read(tmp_path):
    with open(tmp_path/"tokenizer.json", "wb") as file: file.truncate(10**10)
    with pytest.raises(CorruptError, match="more than"): load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_one_flipped_byte_is_no_panic(kind, tmp_path, capfd):
    "Any byte of a small file, one at a time: it is refused in one line, or it still encodes."
    Tokenizer.train(kind, TEXTS[:1], vocab_size=280 if kind in ("bpe", "unigram") else 40).save(tmp_path)
    data, dice = (tmp_path/"tokenizer.json").read_bytes(), random.Random(0)
    for place in dice.sample(range(len(data)), 150):
        (tmp_path/"tokenizer.json").write_bytes(data[:place] + bytes([data[place] ^ 1 << dice.randrange(7)]) + data[place + 1:])
        try: assert isinstance(load_tokenizer(tmp_path).encode("The cat's 3.14 猫坐 <eos>"), list)
        except CorruptError as error: assert "\n" not in str(error)
    assert capfd.readouterr().err == ""


def test_patterns_in_use_are_known():
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    for pattern in (gpt2, *KNOWN_PATTERNS, r"[\s\S]", r"\d{1,3}", r"\p{N}", " {2,}", r"\s+", r"[^\s]+", r"\w+|[^\w\s]+", "▁"): assert harmless(pattern) == pattern
    for pattern in ("(a+)+$", "(a*)*", "a+b", ".*.*x", r"(a)\1", "(?=a+)b", "a{1,99}{1,99}", "[a-z", "x"*10**6):
        with pytest.raises(ValueError): harmless(pattern)


# -- roles ---------------------------------------------------------------------------------------------------------------

def others_vocabulary():
    "A vocabulary of GPT-2's form: bytes from 0 on, the one control token at the end."
    from lmnb.tokenize import BYTES, byte_engine, with_specials
    table = {letter: i for i, letter in enumerate(BYTES)} | {"<|endoftext|>": 256}
    return Tokenizer("bpe", with_specials(byte_engine(models.BPE(table, [])), ["<|endoftext|>"]), roles={"<bos>": 256, "<eos>": 256})


def config_of(name, tokenizer, **more): return Config(task=TaskConfig(name=name, length=16, **more), model=preset("gru-tiny", task=name, vocab_size=tokenizer.vocab_size, dropout=0.0))


def test_tasks_join_documents_with_the_end_that_the_vocabulary_has():
    tokenizer = others_vocabulary()
    stream = task_of(TaskConfig(name="lm"), tokenizer).examples([{"text": "ab"}, {"text": "c$"}]).tolist()
    assert stream == tokenizer.encode("ab") + [256] + tokenizer.encode("c$") + [256]
    row = task_of(TaskConfig(name="translate"), tokenizer)
    batch = row.collate(row.examples([{"source": "a", "target": "b"}]), [0])
    assert batch.inputs["source_BS"].tolist() == [tokenizer.encode("a") + [256]] and batch.inputs["ids_BT"].tolist() == [[256, *tokenizer.encode("b")]] and batch.target.tolist() == [tokenizer.encode("b") + [256]]
    label = task_of(TaskConfig(name="classify", labels=["x", "y"]), tokenizer)
    assert label.examples([{"text": "", "label": "x"}])[0]["ids"] == [256]


@pytest.mark.parametrize("name", ["answer", "chat"])
def test_a_task_whose_roles_are_missing_is_refused(name):
    with pytest.raises(UsageError, match="<sep>|<user>") as said: task_of(TaskConfig(name=name), others_vocabulary())
    assert "\n" not in str(said.value)
    tokenizer = others_vocabulary()
    tokenizer.roles = {}
    for task in TASKS:
        with pytest.raises(UsageError): task_of(TaskConfig(name=task, labels=["a"]), tokenizer)
    with pytest.raises(UsageError, match="<eos>"): tokenizer.eos


def checkpoint_of(tokenizer, bias):   # a language model whose next token is the id with the largest bias
    from types import SimpleNamespace
    config = config_of("lm", tokenizer)
    model = build_model(config.model, seed=1).eval()
    with torch.no_grad():
        for i, value in bias.items(): model.bias[i] += value
    return SimpleNamespace(config=config, model=model, tokenizer=tokenizer)


@pytest.mark.parametrize("architecture", ["gru-tiny", "transformer-tiny"])
def test_generation_forbids_and_ends_by_the_roles(architecture):
    tokenizer = others_vocabulary()
    greedy = Sampling(temperature=0)
    signs = tokenizer.encode("!\"#$%&'(")
    assert set(signs) <= set(range(10)), "where lmnb's own control ids are"
    for sign in signs: assert generate(checkpoint_of(tokenizer, {sign: 1000.0}), "a", sampling=greedy, most=3) == tokenizer.decode([sign])*3
    assert generate(checkpoint_of(tokenizer, {256: 1000.0}), "a", sampling=greedy, most=3) == ""
    both = checkpoint_of(tokenizer, {256: 1000.0, signs[0]: 900.0})
    assert generate_ids(both.model, torch.tensor([[65]]), sampling=greedy, most=3, **tokenizer.ending(False)) == [[signs[0]]*3]
    own = Tokenizer.train("char", ["abc"])
    for control in range(8):
        written = generate(checkpoint_of(own, {control: 1000.0}), "a", sampling=greedy, most=3)
        assert (written == "") if control == own.eos else len(written) == 3


def test_guessing_and_chatting_follow_the_roles():
    from lmnb.generate import draft_ids
    tokenizer = others_vocabulary()
    config = preset("transformer-tiny", task="lm", vocab_size=tokenizer.vocab_size, dropout=0.0)
    model = build_model(config, seed=1).eval()
    with torch.no_grad(): model.bias[tokenizer.encode("$")[0]] += 1000.0
    assert tokenizer.decode(draft_ids(model, torch.tensor([[65]]), most=4, **tokenizer.ending())[0]) == "$$$$"


def test_overlapping_control_names_the_longest_first():
    names = ["<|e|>", "<|e|><|e|>", "<|e|>x"]
    engine = others_vocabulary().engine
    engine.add_special_tokens(names)
    tokenizer = Tokenizer("bpe", engine, roles={"<eos>": 257, "<sep>": 258, "<user>": 259})
    for order in (names, names[::-1], True):
        assert tokenizer.encode("<|e|><|e|>a<|e|>x<|e|>", allow_special=order) == [258, *tokenizer.encode("a"), 259, 257]


def test_gpt2s_vocabulary_from_its_files(public_data, tmp_path):
    gpt2 = load_gpt2(public_data/"tok_gpt2_bpe"/"gpt2_vocab.json.gz", public_data/"tok_gpt2_bpe"/"gpt2_merges.txt.gz")
    assert gpt2.ending() == {"end": 50256, "never": (50256, 50256)} and gpt2.cuts() and not gpt2.lossy
    stream = task_of(TaskConfig(name="lm"), gpt2).examples([{"text": "Hello"}, {"text": "world"}]).tolist()
    assert stream == [*gpt2.encode("Hello"), 50256, *gpt2.encode("world"), 50256]


def test_no_other_chapter_takes_the_control_ids_from_the_module():
    from workbook import NOTEBOOKS, imports
    constants = {"PAD", "UNK", "BOS", "SEP", "SYSTEM", "USER", "ASSISTANT"}
    for nb in NOTEBOOKS:
        for cell in nb.exported:
            assert not [name for module, name, _ in imports(cell.tree) if module == "lmnb.tokenize" and name in constants], str(cell)


# -- a run's own files ---------------------------------------------------------------------------------------------------

DIGITS = "9"*5000
DAMAGED = {   # which file, what stands in it, a word of the reason
    "scores, cut off": ("scores.json", lambda text: text[:len(text)//2], "JSON"), "scores, empty": ("scores.json", lambda text: b"", "JSON"),
    "scores, not a number": ("scores.json", lambda text: re.sub(rb'"value": [-0-9.e]+', b'"value": NaN', text, count=1), "NaN"),
    "scores, not text": ("scores.json", lambda text: b"\xff\xfe\x80" + text, "JSON"), "scores, an endless number": ("scores.json", lambda text: re.sub(rb'"n": [0-9]+', b'"n": ' + DIGITS.encode(), text, count=1), "digits"),
    "scores, a list": ("scores.json", lambda text: b"[]", "damaged"), "scores, a list of parts": ("scores.json", lambda text: b'{"format": 1, "parts": []}', "damaged"),
    "scores, other names": ("scores.json", lambda text: text.replace(b'"value"', b'"worth"'), "not a score"), "scores, deep": ("scores.json", lambda text: b"["*100_000, "JSON"),
    "scores, 1,001 parts": ("scores.json", lambda text: json.dumps({"format": 1, "parts": {f"p{i}": json.loads(text)["parts"]["test"] for i in range(1001)}}).encode(), "more than 1,000 parts"),
    "scores, 10,001 in a part": ("scores.json", lambda text: json.dumps({"format": 1, "parts": {"test": {"scores": json.loads(text)["parts"]["test"]["scores"][:1]*10_001}}}).encode(), "10,000 scores"),
    "metrics, in the middle": ("metrics.jsonl", lambda text: b'{"step": 1, "lo\n' + text, "not JSON"), "metrics, a list": ("metrics.jsonl", lambda text: b"[1, 2]\n" + text, "measurement"),
    "metrics, not text": ("metrics.jsonl", lambda text: b"\x80\x81\n" + text, "UTF-8"), "metrics, an endless number": ("metrics.jsonl", lambda text: b'{"step": ' + DIGITS.encode() + b"}\n" + text, "digits"),
    "metrics, a step that is none": ("metrics.jsonl", lambda text: b'{"step": NaN}\n' + text, "step"), "metrics, a share that is a word": ("metrics.jsonl", lambda text: text + b'{"step": 12, "progress": "most"}\n', "progress"),
    "metrics, a share that is no number": ("metrics.jsonl", lambda text: text + b'{"step": 12, "progress": NaN}\n', "progress"), "metrics, time without end": ("metrics.jsonl", lambda text: text + b'{"step": 12, "seconds": Infinity}\n', "seconds"),
    "metrics, words": ("metrics.jsonl", lambda text: b'{"step": 1, "dev_loss": "low"}\n' + text, "dev_loss"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    "A small run that was trained and scored."
    from tiny import dataset
    from lmnb.serve import evaluate_run
    from lmnb.train import fit
    run = fit(tmp_path_factory.mktemp("sound")/"topics"/"sound", task="classify", model="lstm-tiny", data=dataset("topics"), steps=12, batch=8, scores=3)
    evaluate_run(run, dataset("topics"))
    return run


@pytest.fixture
def damaged_home(sound, tmp_path, monkeypatch):
    "A home with a sound run, and a copy of it for each kind of damage."
    home = tmp_path/"home"
    for name in ["sound", *(f"{number}-broken" for number in range(len(DAMAGED)))]: shutil.copytree(sound, home/"runs"/"topics"/name)
    for number, (file, change, _) in enumerate(DAMAGED.values()):
        path = home/"runs"/"topics"/f"{number}-broken"/file
        path.write_bytes(change(path.read_bytes()))
    monkeypatch.setenv("LMNB_HOME", str(home))
    return home


def test_damaged_scores_and_measurements_are_a_broken_run_with_its_reason(damaged_home):
    from typer.testing import CliRunner
    from lmnb.cli import app
    from lmnb.serve import best_known, differences, find_runs, rankings, verdicts
    found = {run.path.name: run for run in find_runs()}
    assert found["sound"].ok and found["sound"].state == "finished" and found["sound"].scores and len(found) == len(DAMAGED) + 1
    for number, (what, (file, _, reason)) in enumerate(DAMAGED.items()):
        run = found[f"{number}-broken"]
        assert (run.state, run.ok) == ("broken", False) and reason in run.status and file in run.status and "\n" not in run.status and str(damaged_home) not in run.status, (what, run.status)
        assert run.mend == f"lmnb evaluate topics/{number}-broken --data topics" if file == "scores.json" else run.mend.startswith(f"lmnb runs remove topics/{number}-broken --yes && lmnb train "), (what, run.mend)
        best_known(run)
    ranked = rankings([*found.values()])
    assert {row["name"] for ranking in ranked for row in ranking["rows"] if row["architecture"] != "baseline"} == {"topics/sound"}
    for ranking in ranked: verdicts(ranking)
    differences([*found.values()])
    for form in ([], ["--json"]):
        done = CliRunner().invoke(app, ["runs", *form])
        assert done.exit_code == 0 and done.output.count("broken") >= len(DAMAGED) and "topics/sound" in done.output, done.output
        if form: assert len([json.loads(line, parse_constant=pytest.fail) for line in done.output.splitlines()]) == len(found)


@pytest.mark.parametrize("page", ["home", "compare", "classify"])
def test_pages_show_what_is_sound_and_say_what_is_not(damaged_home, page):
    from streamlit.testing.v1 import AppTest
    shown = AppTest.from_string(f"import app\napp.{page}()", default_timeout=120)
    shown.query_params["lang"] = "en"
    shown.run()
    said = [element.value for element in shown.warning]
    assert not shown.exception and not shown.error and len(said) == len(DAMAGED)
    for number in range(len(DAMAGED)): assert any(f"topics/{number}-broken" in line for line in said)
    if page == "home":
        states = dict(zip(shown.dataframe[0].value["model"], shown.dataframe[0].value["state"]))
        assert states.pop("sound") == "ready" and set(states.values()) == {"broken, see below"}
    else: assert shown.multiselect[0].value == ["topics/sound"]


def test_the_command_that_is_named_mends_the_scores(damaged_home):
    from tiny import dataset
    from lmnb.serve import evaluate_run, read_run
    for number, (file, _, _) in enumerate(DAMAGED.values()):
        if file != "scores.json": continue
        run = damaged_home/"runs"/"topics"/f"{number}-broken"
        evaluate_run(run, dataset("topics"))
        assert read_run(run).ok and read_run(run).scores


def test_measurements_without_end_take_no_memory(sound, tmp_path, monkeypatch):
    "A list of runs needs the last row and the least loss; a curve needs some rows, evenly spread; nothing needs them all at once."
    import tracemalloc
    from lmnb.serve import progress_of
    from lmnb.train import measurements, read_metrics
    rows = [{"step": i, "tokens": i, "loss": 1.0, "dev_loss": 2.0 + abs(i - 60_001)} for i in range(100_000)]
    (tmp_path/"metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 100000, "dev_lo')
    tracemalloc.start()
    found = progress_of(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**20 and (found["step"], found["loss"], found["damage"]) == (99_999, 2.0, "")
    tracemalloc.stop()
    few = read_metrics(tmp_path, most=1000)
    steps = [row["step"] for row in few]
    assert 500 <= len(few) <= 1001 and steps[0] == 0 and steps[-1] == 99_999 and len({b - a for a, b in zip(steps, steps[1:-1])}) == 1
    assert read_metrics(tmp_path) == rows and read_metrics(tmp_path, most=10**6) == rows and read_metrics(sound, most=20_000) == read_metrics(sound)
    monkeypatch.setattr("lmnb.train.LINES", 50_000)
    with pytest.raises(CorruptError, match="more than 50,000 lines"): read_metrics(tmp_path)
    assert "more than 50,000 lines" in progress_of(tmp_path)["damage"]
    (tmp_path/"metrics.jsonl").write_text('{"step": 1, "sample": "' + "y"*2**24 + '"}\n')
    with pytest.raises(CorruptError, match="a line of more than"): next(measurements(tmp_path))


# -- resealed: the hashes are right, and what they seal is not -----------------------------------------------------------

def rewritten(path, change):
    "A JSON file whose content has been changed in place."
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def as_type(name):   # a change of a safetensors file: every tensor of another type of the same width
    def change(data):
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        for entry in header.values():
            if "dtype" in entry: entry["dtype"] = name
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length:]
    return change


def with_labels(labels): return lambda data: json.dumps(changed(json.loads(data), "task.labels", labels)).encode()

MISFITS = {   # which file of a classifier of three labels, what becomes of it, a word of the reason
    "no labels": ("config.json", with_labels([]), "0 distinct labels"), "a label twice": ("config.json", with_labels(["Files", "Numbers", "Files"]), "2 distinct labels"),
    "a label too many": ("config.json", with_labels(["Files", "Internet", "Numbers", "more"]), "4 distinct labels"), "two labels for three outputs": ("config.json", with_labels(["Files", "Numbers"]), "2 distinct labels"),
    "whole numbers for weights": ("model.safetensors", as_type("I32"), "holds int32, not float32"), "another kind of weights": ("model.safetensors", as_type("U32"), "holds uint32, not float32"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_a_resealed_checkpoint_that_does_not_fit_is_one_line(what, sound, tmp_path, monkeypatch):
    from lmnb.checkpoint import open_checkpoint, pointed, seal
    from lmnb.serve import find_runs
    file, change, reason = MISFITS[what]
    monkeypatch.setenv("LMNB_HOME", str(tmp_path))
    for name in ("sound", "broken"): shutil.copytree(sound, tmp_path/"runs"/"topics"/name)
    folder = pointed(tmp_path/"runs"/"topics"/"broken")
    (folder/file).write_bytes(change((folder/file).read_bytes()))
    seal(folder)
    if file == "config.json": rewritten(tmp_path/"runs"/"topics"/"broken"/file, lambda content: content.update(checkpoint=json.loads((folder/file).read_text(encoding="utf-8"))))
    with pytest.raises(CorruptError, match=reason) as said: open_checkpoint(tmp_path/"runs"/"topics"/"broken")
    assert "\n" not in str(said.value) and "Value error" not in str(said.value) and ": :" not in str(said.value)
    found = {run.path.name: run for run in find_runs()}
    assert found["sound"].ok and found["broken"].ok == (file != "config.json")
    assert open_checkpoint(tmp_path/"runs"/"topics"/"sound").config.task.labels


def test_a_classifier_of_two_has_two_labels(tmp_path):
    two = dict(model=preset("gru-tiny", task="classify", vocab_size=300))
    assert Config(task=TaskConfig(name="classify", labels=["a", "b"]), **two).model.outputs == 1
    for labels in ([], ["a"], ["a", "a"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="distinct labels"): Config(task=TaskConfig(name="classify", labels=labels), **two)
    from lmnb.collect import DataSet
    from lmnb.train import fit
    rows = [{"text": "a b", "label": "only", "language": "en"}]*20
    with pytest.raises(InputError, match="one label only"): fit(tmp_path/"run", task="classify", model="gru-tiny", data=DataSet("mine", "classify", ("en",), "own", {"train": rows, "dev": rows}), steps=2)
    assert not list(tmp_path.glob("run/checkpoints/*"))


def numbers(*values, width=8): return b"".join(value.to_bytes(width, "little", signed=value < 0) for value in values)
def in_place(data, at, new): return data[:at] + new + data[at + len(new):]

IDS = {   # which file, what becomes of it, a word of the reason
    "an id beyond the vocabulary": ("ids-00001.bin", lambda data: in_place(data, 20, numbers(300, width=2)), "the id 300"), "ids beyond the vocabulary": ("ids-00000.bin", lambda data: b"\xff"*len(data), "the id 65,535"),
    "three bytes": ("ids-00000.bin", lambda data: data[:3], "do not fit together"), "no ids": ("ids-00000.bin", lambda data: b"", "do not fit together"), "an id less": ("ids-00001.bin", lambda data: data[:-2], "do not fit together"),
    "an end before the beginning": ("ends-00000.bin", lambda data: in_place(data, 0, numbers(-5)), "do not end one after"), "an end beyond the ids": ("ends-00000.bin", lambda data: data[:-8] + numbers(10**12), "do not end one after"),
    "an end too early": ("ends-00001.bin", lambda data: data[:-8] + numbers(int.from_bytes(data[-8:], "little") - 1), "do not end one after"),
    "ends in another order": ("ends-00000.bin", lambda data: data[8:16] + data[:8] + data[16:], "do not end one after"), "an end twice": ("ends-00000.bin", lambda data: data[:8]*2 + data[16:], "do not end one after"),
    "five bytes of ends": ("ends-00000.bin", lambda data: data[:5], "do not fit together"), "more names than documents": ("docs-00000.txt", lambda data: data + b"../../etc/passwd\n", "names"),
}
LISTED = {   # what becomes of the manifest
    "no shards": lambda m: m.update(shards=[]), "shards that are a number": lambda m: m.update(shards=7), "a shard that is a text": lambda m: m["shards"].__setitem__(0, "x"), "no files": lambda m: m.update(files={}), "files in a list": lambda m: m.update(files=[]),
    "fewer documents than none": lambda m: m["shards"][0].update(documents=-1), "more ids than there are": lambda m: m.update(tokens=10**15), "a share of an id": lambda m: m["shards"][0].update(tokens=1.5),
    "a vocabulary of ten": lambda m: m.update(vocab_size=10), "a vocabulary without end": lambda m: m.update(vocab_size=2**40), "a vocabulary that is true": lambda m: m.update(vocab_size=True), "an end that is no id": lambda m: m.update(eos=999_999), "an end that is a text": lambda m: m.update(eos="</s>"),
    "another end": lambda m: m.update(eos=m["eos"] + 1), "a file outside": lambda m: m["files"].update({"../../secret": m["files"].pop("ids-00001.bin")}), "bytes of no file": lambda m: m["files"]["ids-00000.bin"].update(bytes=None), "no hash": lambda m: m["files"]["ids-00000.bin"].update(sha256=None),
    "no tokenizer": lambda m: m["files"].pop("tokenizer.json"), "one name more": lambda m: m["files"].update({"ids-00009.bin": m["files"]["ids-00000.bin"]}),
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoded")/"ids"
    encode_corpus([*TEXTS, *TEXTS], Tokenizer.train("bpe", TEXTS, vocab_size=300), folder, shard_tokens=1500)
    assert len(read_shards(folder).ids) > 1
    return folder


@pytest.mark.parametrize("what", [*IDS, *LISTED])
def test_resealed_ids_that_do_not_fit_are_one_line(what, encoded, tmp_path):
    import hashlib
    from lmnb.large import opened
    folder = shutil.copytree(encoded, tmp_path/"ids")
    assert opened(folder).parts["train"]
    reason = "manifest|vocabulary"
    if what in IDS:
        file, change, reason = IDS[what]
        data = change((folder/file).read_bytes())
        (folder/file).write_bytes(data)
        rewritten(folder/"manifest.json", lambda m: m["files"][file].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    else: rewritten(folder/"manifest.json", LISTED[what])
    with pytest.raises(CorruptError, match=reason) as said: opened(folder)
    assert "\n" not in str(said.value)


# -- files that are large for what they hold -----------------------------------------------------------------------------

def test_json_of_more_values_than_are_read_is_one_line(tmp_path):
    from lmnb.core import MOST, read_json
    path = tmp_path/"a.json"
    for text in ("[" + "[],"*2**20 + "[]]", "[" + "{},"*2**20 + "{}]", "[" + "1,"*2**22 + "1,1]"):
        path.write_text(text)
        with pytest.raises(CorruptError, match="more values") as said: read_json(path)
        assert "\n" not in str(said.value)
    path.write_text("[" + "1,"*(2**22 - 1) + "1]")
    assert len(read_json(path)) == 2**22
    with open(path, "wb") as file: file.truncate(MOST + 1)
    with pytest.raises(CorruptError, match="more than the 67,108,864"): read_json(path)


def test_manifests_of_a_terabyte_are_read_and_larger_ones_are_not(encoded, tmp_path, monkeypatch):
    from lmnb.collect import read_manifest
    from lmnb.core import MOST, read_json
    from lmnb.pipeline import run_pipeline
    (tmp_path/"a.txt").write_text("It rained all day in the old town. "*20)
    run_pipeline(tmp_path/"a.txt", [], tmp_path/"a"); run_pipeline(tmp_path/"a", [], tmp_path/"b")
    for folder, read in ((encoded, read_json), (tmp_path/"b", lambda path: read_manifest(path.parent))):
        manifest, count = json.loads((folder/"manifest.json").read_text()), 10**12//2**26 + 1
        row, files = manifest["shards"][0], {name: entry for name, entry in manifest["files"].items() if "-00000" in name}
        manifest["shards"] = [row]*count
        manifest["files"] = {name.replace("-00000", f"-{i:05}"): entry | {"bytes": 2**26} for i in range(count) for name, entry in files.items()}
        (tmp_path/"c").mkdir(exist_ok=True)
        (tmp_path/"c"/"manifest.json").write_text(json.dumps(manifest, indent=1))
        assert (tmp_path/"c"/"manifest.json").stat().st_size < MOST//4 and len(read(tmp_path/"c"/"manifest.json")["shards"]) == count
    manifest["shards"] *= 1 + 10**6//count
    (tmp_path/"c"/"manifest.json").write_text(json.dumps(manifest))
    began = time.process_time()
    with pytest.raises(CorruptError, match="more than the") as said: read_manifest(tmp_path/"c")
    assert "\n" not in str(said.value) and time.process_time() - began < 2
    monkeypatch.setattr("lmnb.pipeline.MOST", 100)          # what could not be read again is not begun
    with pytest.raises(InputError, match="several parts"): run_pipeline(tmp_path/"a.txt", [], tmp_path/"d")


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_many_added_tokens_take_little_memory(good, tmp_path):
    (tmp_path/"tokenizer.json").write_text(json.dumps(changed(good, "added_tokens", [ADDED | {"id": 500 + i, "content": f"t{i}"} for i in range(300_000)])))
    code = """import resource, sys
from lmnb.core import CorruptError
from lmnb.tokenize import load_tokenizer
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)
before = most()
try: load_tokenizer(sys.argv[1])
except CorruptError as error: print(most() - before, error)"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "more than 50,000" in done.stdout and int(done.stdout.split()[0]) < 300, done
