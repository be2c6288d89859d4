"""Tokenizing a corpus: from texts to shards on disk beside the tokenizers library's own encode_batch, training, and memory.

    LMNB_DATA=... python tests/bench/tokenizers_bench.py               all rows
    LMNB_DATA=... python tests/bench/tokenizers_bench.py --rounds 3 --dry-run

Encoding: documents of WikiText-2 (English) and of two novels (Chinese), about 1,000 characters each. Ours is everything from the texts to the synced,
hashed shards; the peer is one call of encode_batch with all texts in memory, of the same engine (ours calls
encode_batch_fast, which does not keep where each token stands). The two take turns; the value is the median of the rounds, the ratio that of the
medians. Training: seconds of one pass over every fourth document of both, Hugging Face's own trainer beside it. Memory: peak of a process of its
own that encodes the English documents once, and eight times over.
"""
import argparse, gzip, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
from common import append_row
from lmnb.tokenize import SPECIALS, Tokenizer, encode_corpus, load_gpt2

FILES = {"en": ["lm_wikitext2/train.txt.gz"], "zh": ["lm_zh_novels/hongloumeng.txt.gz", "lm_zh_novels/sanguoyanyi.txt.gz"]}


def documents(language):
    "The lines of the files, joined to documents of about 1,000 characters."
    docs, lines, size = [], [], 0
    for name in FILES[language]:
        for line in gzip.decompress((Path(os.environ["LMNB_DATA"]) / name).read_bytes()).decode().split("\n"):
            lines.append(line); size += len(line) + 1
            if size >= 1000: docs.append("\n".join(lines)); lines, size = [], 0
    return docs + (["\n".join(lines)] if lines else [])


def timed(function):
    "Seconds of one call."
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def to_shards(docs, tokenizer):
    "Texts to shards on disk, in a folder that is then removed."
    with tempfile.TemporaryDirectory() as folder: encode_corpus(iter(docs), tokenizer, Path(folder) / "shards")


def encoding(tokenizer, docs, rounds):
    "Median MB/s of ours and of encode_batch."
    size, found = sum(len(doc.encode()) for doc in docs) / 1e6, ([], [])
    work = lambda: to_shards(docs, tokenizer), lambda: tokenizer.engine.encode_batch(docs, add_special_tokens=False)
    for job in work: job()                                            # warm: caches, threads
    for number in range(rounds):
        for i in (0, 1) if number % 2 else (1, 0): found[i].append(size / timed(work[i]))
    return *map(statistics.median, found), min(found[0]), max(found[0])


def their_trainer(kind, docs, size):
    "Hugging Face's trainer of the same kind, with the same cuts."
    from tokenizers import Tokenizer as Engine, models, normalizers, pre_tokenizers, trainers
    letters = pre_tokenizers.ByteLevel.alphabet()
    if kind == "wordpiece":
        engine, trainer = Engine(models.WordPiece(unk_token="<unk>")), trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIALS), limit_alphabet=size // 2, show_progress=False)
        engine.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        engine = Engine(models.BPE() if kind == "bpe" else models.Unigram())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer if kind == "bpe" else trainers.UnigramTrainer
        trainer = trainer(vocab_size=size, special_tokens=list(SPECIALS), initial_alphabet=letters, show_progress=False, **({} if kind == "bpe" else {"unk_token": "<unk>"}))
    engine.train_from_iterator(iter(docs), trainer)


MEMORY = r"""
import re, sys, tempfile
sys.path[:0] = sys.argv[2:4]
from tokenizers_bench import documents
from lmnb.tokenize import Tokenizer, encode_corpus
docs = documents("en")
tokenizer = Tokenizer.train("bpe", docs, vocab_size=8000, sample=1000)
with tempfile.TemporaryDirectory() as folder: encode_corpus((doc for _ in range(int(sys.argv[1])) for doc in docs), tokenizer, folder + "/shards")
print(int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])/1024)     # getrusage would hand down the parent's peak
"""


def peak(times):
    "Peak memory in MB of a process that encodes the English documents so many times over."
    return float(subprocess.run([sys.executable, "-c", MEMORY, str(times), str(HERE), str(HERE.parent.parent)], capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()

    def row(name, metric, value, **more):
        record = append_row("tokenizing a corpus", name, metric, value, write=not options.dry_run, **more)
        print(name, "|", metric, "|", f"{value:.4g}", {key: more[key] for key in ("peer_value", "ratio") if key in more}, flush=True)
        return record

    docs, folder = {language: documents(language) for language in FILES}, Path(os.environ["LMNB_DATA"]) / "tok_gpt2_bpe"
    both, part = docs["en"] + docs["zh"], (docs["en"] + docs["zh"])[::4]
    gpt2 = load_gpt2(folder / "gpt2_vocab.json.gz", folder / "gpt2_merges.txt.gz")
    learned = {kind: Tokenizer.train(kind, both, vocab_size=8000, sample=0.25) for kind in ("bpe", "wordpiece", "unigram")}
    for name, tokenizer, language in [("GPT-2, English", gpt2, "en"), ("BPE 8,000, English", learned["bpe"], "en"), ("BPE 8,000, Chinese", learned["bpe"], "zh"),
                                      ("WordPiece 8,000, English", learned["wordpiece"], "en"), ("Unigram 8,000, English", learned["unigram"], "en")]:
        ours, theirs, _, _ = encoding(tokenizer, docs[language], options.rounds)
        row(name, "texts to shards on disk", ours, unit="MB/s", n=len(docs[language]), peer="tokenizers' encode_batch, in memory", peer_value=theirs, ratio=ours / theirs)
    for kind in learned:
        ours, theirs = timed(lambda: Tokenizer.train(kind, iter(part), vocab_size=8000)), timed(lambda: their_trainer(kind, part, 8000))
        row(f"{kind}, 8,000 tokens, English and Chinese", "training", ours, unit="s", n=len(part), peer="tokenizers' trainer", peer_value=theirs, ratio=ours / theirs)
    for times in (1, 8):
        row(f"BPE 8,000, English documents {times} times over", "peak memory", peak(times), unit="MB", n=times * len(docs["en"]))


if __name__ == "__main__": main()
