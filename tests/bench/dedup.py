"""Near duplicates planted in real text: what is found, what is dropped by mistake, how fast, and in how much memory.

    LMNB_DATA=... python tests/bench/dedup.py                      100,000 documents, and the plain datasketch loop on the first 10,000 of them
    LMNB_DATA=... python tests/bench/dedup.py --scale 10000 100000 1000000    time and memory of map, reduce and apply, each in a process of its own

The documents are pieces of about 100 words (150 characters in Chinese) of the public sets in English and Chinese; where more are asked for than the
sets give, the pieces come again with half of their words replaced. A fifth are near duplicates of another piece, by replaced words, their similarity
spread evenly from 0.5 to 1; the exact Jaccard index of each pair is computed from its shingles.

Recall: of the planted pairs at least as similar as the threshold + 0.1, those of which one was dropped. Precision: of all dropped documents, those
whose exact similarity to the twin that was named reaches the threshold. The peer is the loop that its manual shows: shingles, MinHash, query, insert.
"""
import argparse, bz2, csv, gzip, io, json, os, random, re, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
from common import append_row
from lmnb.collect import Document
from lmnb.dedup import Near, changed_text, jaccard, shingles, unit

BLOCK = 10_000   # a document and its planted twins are in the same block: the first block is a small corpus of the same kind


def texts_of(folder):
    "Running text of the public sets: (English, Chinese)."
    read = lambda name: gzip.decompress((folder / name).read_bytes()).decode("utf-8")
    rows = lambda name: map(json.loads, read(name).splitlines())
    wiki = bz2.decompress((folder / "web_enwiki_dump/enwiki-pages-articles-shortened.xml.bz2").read_bytes()).decode("utf-8")
    english = [*(read(f"lm_wikitext2/{part}.txt.gz") for part in ("train", "valid", "test")),
               *(row["text"] for row in rows("topic_bbc/bbc.jsonl.gz")),
               *(row["body"] for part in ("train", "dev", "test") for row in rows(f"sum_aeslc/{part}.jsonl.gz")),
               *(row[2] for row in csv.reader(io.StringIO(read("topic_agnews/test.csv.gz")))),
               *(" ".join(row["source"]) for part in ("train", "dev", "test") for row in rows(f"sum_scitldr/{part}.jsonl.gz")),
               read("lm_tinystories_sample/tiny_stories.txt.gz"), re.sub(r"<[^>]*>|[\[\]{}|='*]+", " ", wiki)]
    chinese = [*(read(f"lm_zh_novels/{name}.txt.gz") for name in ("hongloumeng", "sanguoyanyi")),
               *("".join(row["paragraphs"]) for row in rows("lm_zh_tang_poems/train.jsonl.gz")), read("sent_chnsenticorp/train.tsv.gz")]
    return " ".join(english), "".join("".join(text.split()) for text in chinese)


def pieces_of(folder):
    "(pieces of real text in a fixed mixed order, words to put in, characters to put in)."
    english, chinese = texts_of(folder)
    words = english.split()
    pieces = [" ".join(words[i:i + 100]) for i in range(0, len(words) - 99, 100)] + [chinese[i:i + 150] for i in range(0, len(chinese) - 149, 150)]
    random.Random(0).shuffle(pieces)
    plain = lambda found: sorted({unit for unit in found if unit.isalnum()})
    return pieces, plain(words[::37]), plain(chinese[::37])


def corpus(folder, count, seed=0):
    "Documents in blocks: (text, None), or (text, (original, exact similarity)) for a planted one."
    pieces, words, characters = pieces_of(folder)
    dice, used = random.Random(seed), 0
    changed = lambda text, n: changed_text(text, n, words=words if " " in text[:60] else characters, dice=dice)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        bases = []
        for i in range(used, used + size*4//5):
            text = pieces[i % len(pieces)]
            bases.append(text if i < len(pieces) else changed(text, len(unit().findall(text))//2))
        used += len(bases)
        block = [(text, None) for text in bases]
        for base in dice.choices(range(len(bases)), k=size - len(bases)):
            target, n = dice.uniform(.5, 1), len(unit().findall(bases[base]))
            twin = changed(bases[base], round(n*(1 - (2*target/(1 + target))**(1/3))))
            block.append((twin, (bases[base], jaccard(*(shingles(Document.of(text)) for text in (twin, bases[base]))))))
        dice.shuffle(block)
        yield from block


def quality(docs, planted, twin_of, threshold):
    "Recall at the threshold + 0.1, precision, planted pairs that count, dropped documents; `planted`: (one, other, exact similarity)."
    pieces = {}
    def exactly(a, b):
        for i in (a, b): pieces[i] = pieces.get(i) or shingles(docs[i])
        return jaccard(pieces[a], pieces[b])
    sure = [(a, b) for a, b, s in planted if s >= threshold + .1]
    right = sum(exactly(a, b) >= threshold for a, b in twin_of.items())
    return sum(a in twin_of or b in twin_of for a, b in sure)/len(sure), right/max(len(twin_of), 1), len(sure), len(twin_of)


def ours(docs, threshold):
    "{dropped: kept} and seconds."
    step, start = Near(threshold=threshold), time.perf_counter()
    decisions = step.reduce(step.map(docs))
    for doc in step.apply(docs, decisions): pass
    seconds, place = time.perf_counter() - start, {doc.id: i for i, doc in enumerate(docs)}
    return {place[name]: place[how["twin"]] for name, how in decisions.items()}, seconds


def peer(docs, threshold, check=None):
    "The plain loop of datasketch; with `check`, our bands, and candidates only count if their similarity ('estimated' or 'exact') reaches the threshold."
    from datasketch import MinHash, MinHashLSH
    bands, rows = Near(threshold=threshold).bands
    index = MinHashLSH(params=(bands, rows), num_perm=bands*rows) if check else MinHashLSH(threshold=threshold, num_perm=128)
    twin, kept, start = {}, {}, time.perf_counter()
    for i, doc in enumerate(docs):
        sketch = MinHash(num_perm=index.h)
        pieces = shingles(doc)
        sketch.update_batch([piece.encode("utf-8", "surrogatepass") for piece in pieces])
        found = index.query(sketch)
        if check: found = [j for j in found if (sketch.jaccard(kept[j]) if check == "estimated" else jaccard(pieces, kept[j])) >= threshold]
        if found: twin[i] = min(found)
        else:
            index.insert(i, sketch)
            if check: kept[i] = sketch if check == "estimated" else pieces
    return twin, time.perf_counter() - start


def rensa_peer(docs, threshold):
    "The batch of rensa, with its own index; it does not name the twin."
    from rensa import RMinHashDeduplicator
    start = time.perf_counter()
    index = RMinHashDeduplicator(threshold=threshold, num_perm=128, use_lsh=True)
    stays = index.add_pairs((str(i), sorted(shingles(doc))) for i, doc in enumerate(docs))
    return {i for i, kept in enumerate(stays) if not kept}, time.perf_counter() - start


def compare(options, folder):
    "All rows about what is found, and the speed beside the peers."
    bench, write = f"Near duplicates, {options.count:,} documents", not options.dry_run
    found = list(corpus(folder, options.count, options.seed))
    docs, at = [Document.of(text, source="bench", position=i) for i, (text, _) in enumerate(found)], {text: i for i, (text, _) in enumerate(found)}
    planted = [(i, at[origin[0]], origin[1]) for i, (_, origin) in enumerate(found) if origin]
    note = lambda row, metric, value, **more: (print(row, metric, value, more, flush=True), append_row(bench, row, metric, value, seed=options.seed, write=write, **more))
    for threshold in options.thresholds:
        twin, seconds = ours(docs, threshold)
        recall, precision, sure, dropped = quality(docs, planted, twin, threshold)
        note(f"threshold {threshold}", f"recall at {threshold + .1:.1f} and above", round(recall, 4), n=sure)
        note(f"threshold {threshold}", "precision", round(precision, 4), n=dropped)
        note(f"threshold {threshold}", "speed", round(len(docs)/seconds), unit="documents/s")
    few, threshold = docs[:BLOCK], .8
    mine, seconds = ours(few, threshold)
    inside = [pair for pair in planted if pair[0] < BLOCK]
    peers = {"datasketch, plain loop": peer(few, threshold), "datasketch, our bands, estimate checked": peer(few, threshold, check="estimated"),
             "datasketch, our bands, exact Jaccard checked": peer(few, threshold, check="exact"), "rensa": rensa_peer(few, threshold)}
    for name, (other, slow) in peers.items():
        row = f"beside {name}, first {BLOCK:,}"
        note(row, "speed", round(BLOCK/seconds), unit="documents/s", peer=name, peer_value=round(BLOCK/slow), ratio=round(slow/seconds, 2))
        note(row, "same decision", round(1 - len(set(mine) ^ set(other))/BLOCK, 4), n=BLOCK)
        if name == "rensa": continue
        a, b = quality(few, inside, mine, threshold), quality(few, inside, other, threshold)
        note(row, "recall at 0.9 and above", round(a[0], 4), n=a[2], peer=name, peer_value=round(b[0], 4))
        note(row, "precision", round(a[1], 4), n=a[3], peer=name, peer_value=round(b[1], 4))


class Stored:
    "Documents on disk, read anew each time: no text stays in memory."
    def __init__(self, path): self.path = path
    def __iter__(self):
        with open(self.path, encoding="utf-8") as file:
            for i, line in enumerate(file): yield Document.of(json.loads(line), source="bench", position=i)


def child(path):
    "One measured process: seconds of each part, documents dropped, peak memory before and after."
    peak = lambda: int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])/1024   # ru_maxrss would count the parent's
    step, docs, before, marks = Near(), Stored(path), peak(), [time.perf_counter()]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as rows:      # as an engine does: rows go to disk and come back
        for row in step.map(docs): rows.write(json.dumps(row) + "\n")
        marks.append(time.perf_counter()); mapped = peak(); rows.seek(0)
        decisions = step.reduce(map(json.loads, rows))
        size = os.fstat(rows.fileno()).st_size
    marks.append(time.perf_counter()); reduced = peak()
    for doc in step.apply(docs, decisions): pass
    marks.append(time.perf_counter())
    print(json.dumps(dict(seconds=[b - a for a, b in zip(marks, marks[1:])], dropped=len(decisions), memory=[before, mapped, reduced, peak()], rows=size)))


def scale(options, folder):
    "Time and peak memory at several sizes, each in a process of its own."
    for count in options.scale:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "documents.jsonl"
            with open(path, "w", encoding="utf-8") as file:
                for text, _ in corpus(folder, count, options.seed): file.write(json.dumps(text, ensure_ascii=False) + "\n")
            megabytes = path.stat().st_size/1e6
            out = subprocess.run([sys.executable, str(Path(__file__).resolve()), "--child", str(path)], capture_output=True, text=True, check=True).stdout
        result = json.loads(out)
        print(count, f"{megabytes:.0f} MB of text", result, flush=True)
        row, total = f"{count:,} documents, {megabytes:,.0f} MB", sum(result["seconds"])
        for metric, value, unit in (("map", result["seconds"][0], "s"), ("reduce", result["seconds"][1], "s"), ("apply", result["seconds"][2], "s"),
                                    ("speed", count/total, "documents/s"), ("peak memory", result["memory"][-1], "MB"), ("of it before the first document", result["memory"][0], "MB")):
            append_row("Near duplicates: time and memory", row, metric, round(value, 1), unit=unit, n=count, seed=options.seed, write=not options.dry_run)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="documents")
    parser.add_argument("--thresholds", nargs="*", type=float, default=[.6, .7, .8])
    parser.add_argument("--scale", nargs="*", type=int, help="measure time and memory at these sizes instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child: return child(options.child)
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    folder = Path(os.environ["LMNB_DATA"])
    scale(options, folder) if options.scale else compare(options, folder)


if __name__ == "__main__": main()
