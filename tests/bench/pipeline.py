"""The whole data stage: extract, clean, deduplicate, tokenize; beside it the same stages built from datatrove, on the same files in the same run.

    LMNB_DATA=... python tests/bench/pipeline.py --mb 1000 --trove-python ../trove/bin/python
    LMNB_DATA=... python tests/bench/pipeline.py --mb 20 --dry-run

The input is grown from the open sets: news pages in English and Chinese (WARC files, two fifths of the bytes) and prose (JSON lines). Every copy of a page or
a text has 15 % of its words replaced by others of the same corpus, so that it is no near duplicate; then one document in twenty is copied as it is and one in
twenty with 1 % of its words changed. Both sides get the same tokenizer, ready made. Rows: wall time (peer: datatrove), peak memory (sum over the processes),
and how busy the cores were (processor time by wall time and workers).
"""
import argparse, gzip, io, json, os, random, re, subprocess, sys, tarfile, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]
from common import append_row

FILE = 16_000_000      # bytes of one input file
WORD = re.compile(r"[A-Za-z]{2,}|[\u4e00-\u9fff]")
SPAN = re.compile(r">([^<>]{20,})<")


# -- the corpus ------------------------------------------------------------------------------------------------------

def lines_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as file: yield from file


def prose(data):
    "Documents of the open sets: sections of articles, news, novels in pieces of 2,000 characters."
    section = []
    for line in map(str.strip, lines_of(data/"lm_wikitext2/train.txt.gz")):
        if line.startswith("= ") and section: yield "\n".join(section); section = []
        if line: section.append(untied(line))
    for row in map(json.loads, lines_of(data/"topic_bbc/bbc.jsonl.gz")): yield "\n".join(line.strip() for line in row["text"].splitlines() if line.strip())
    for name in ("hongloumeng", "sanguoyanyi"):
        text = "\n".join(line.strip() for line in lines_of(data/f"lm_zh_novels/{name}.txt.gz") if line.strip())
        yield from (text[i:i + 2000] for i in range(0, len(text), 2000))


def untied(line):
    "WikiText stands in tokens: as a person would write it."
    line = re.sub(r" @(.)@ ", r"\1", line).replace("<unk>", "")
    return re.sub(r"\( ", "(", re.sub(r" ([,.;:!?)%]|'s|n't)", r"\1", line))


def pages(data):
    "News pages as they were fetched."
    for path in ("web_article_extraction/html.tar.gz", "web_zh_news_pages/pages.tar.gz"):
        with tarfile.open(data/path) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".html"): yield archive.extractfile(member).read().decode("utf-8", "replace")


class Grower:
    "Copies of texts with some words replaced by others of the same corpus."
    def __init__(self, texts, seed):
        self.dice = random.Random(seed)
        self.latin, self.han = [], []
        for text in texts:
            for word in self.dice.choices(WORD.findall(text) or ["the"], k=300): (self.latin if word.isascii() else self.han).append(word)

    def changed(self, text, share):
        dice = self.dice
        return WORD.sub(lambda found: found[0] if dice.random() >= share else dice.choice(self.latin if found[0].isascii() else self.han), text)

    def page(self, html, share): return SPAN.sub(lambda found: f">{self.changed(found[1], share)}<", html)


def grown(originals, size, change, dice):
    "Documents of `size` bytes together: originals first, then changed copies; every tenth document is a planted duplicate."
    made, total, round_ = [], 0, 0
    while total < size:
        for original in originals:
            kind = dice.random()
            text = original if not round_ else change(original, .15)
            if made and kind < .05: text = dice.choice(made)
            elif made and kind < .1: text = change(dice.choice(made), .01)
            if len(made) < 2000: made.append(text)
            else: made[dice.randrange(2000)] = text
            total += len(text.encode("utf-8", "surrogatepass"))
            yield text
            if total >= size: return
        round_ += 1


def write_corpus(folder, data, megabytes, seed):
    "WARC files of pages and JSON lines of prose; returns the number of documents."
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter
    dice, count = random.Random(seed), 0
    originals = list(pages(data))
    grower, file = Grower([re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.S) for page in originals], seed), None
    for page in grown(originals, megabytes*4e5, grower.page, dice):
        if file is None or file.tell() > FILE:
            file = open(folder/f"pages-{count:07}.warc", "wb")
            writer = WARCWriter(file, gzip=False)
        http = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record(f"http://news.example/{count}", "response", payload=io.BytesIO(page.encode()), http_headers=http,
                                                      warc_headers_dict={"WARC-Identified-Payload-Type": "text/html", "WARC-Date": "2026-01-01T00:00:00Z", "WARC-Record-ID": f"<urn:uuid:{count:032x}>"}))
        count += 1
    file.close(); file = None
    originals = [text for text in prose(data) if len(text) > 200]
    grower = Grower(originals, seed + 1)
    for text in grown(originals, megabytes*6e5, grower.changed, dice):
        if file is None or file.tell() > FILE: file = open(folder/f"prose-{count:07}.jsonl", "wb")
        file.write((json.dumps({"id": f"prose-{count}", "text": text}, ensure_ascii=False) + "\n").encode()); count += 1
    file.close()
    return count


# -- measuring -------------------------------------------------------------------------------------------------------

def measured(command, environment, log, limit=float("inf")):
    "Run a command, for `limit` seconds at most; returns wall seconds, processor seconds and the peak of the memory of all its processes, looked at four times a second."
    import psutil
    began, peak, spent = time.perf_counter(), 0, {}
    with open(log, "ab") as out: process = psutil.Popen(command, env=environment, stdout=out, stderr=out)
    while process.poll() is None:
        memory = 0
        try: family = [process, *process.children(recursive=True)]
        except psutil.Error: family = []
        for one in family:
            try:
                times = one.cpu_times()
                spent[one.pid, one.create_time()] = times.user + times.system
                memory += one.memory_info().rss
            except psutil.Error: pass
        peak = max(peak, memory)
        time.sleep(.25)
        if time.perf_counter() - began > limit:
            for one in family: one.kill()
            return limit, sum(spent.values()), peak
    wall = time.perf_counter() - began
    if process.returncode: raise SystemExit(f"{command[-6:]} ended with {process.returncode}: {Path(log).read_text()[-2000:]}")
    return wall, sum(spent.values()), peak


def ours(source, work, tokenizer, workers, environment):
    "The four commands, one after another: {stage: (wall, processor seconds, peak)}."
    found = {}
    stages = {"collect": [source], "clean": [work/"collect", "--rules", "gopher"], "dedup": [work/"clean"], "tokenize": [work/"dedup", "--tokenizer", tokenizer]}
    for stage, arguments in stages.items():
        command = [sys.executable, "-c", "from lmnb.cli import main; main()", stage, *arguments, "--out", work/stage, "--workers", workers]
        found[stage] = measured([str(one) for one in command], environment, work/"log.txt")
        report = json.loads((work/stage/"report.json").read_text(encoding="utf-8"))
        print(f"  lmnb {stage:9} {found[stage][0]:7.1f} s, cores busy {found[stage][1]/found[stage][0]/workers:4.0%}, {found[stage][2]/1e6:5,.0f} MB; {report['documents']:,} documents", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=20, help="megabytes of input")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--trove-python", help="interpreter of an environment with datatrove[io,processing], lxml_html_clean, spacy, jieba, py3langid; without it only lmnb is measured")
    parser.add_argument("--peer-limit", type=float, default=float("inf"), help="stop datatrove after so many seconds; the ratio is then a lower bound, and its row says so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", help="folder for the corpus and the results; default: a temporary one")
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    with tempfile.TemporaryDirectory(dir=options.work) as folder: run(options, Path(folder))


def run(options, folder):
    from lmnb.tokenize import train_tokenizer
    source, data = folder/"in", Path(os.environ["LMNB_DATA"])
    for one in (source, folder/"tokenizer"): one.mkdir()
    documents = write_corpus(source, data, options.mb, options.seed)
    size = sum(path.stat().st_size for path in source.iterdir())
    print(f"{documents:,} documents in {len(list(source.iterdir()))} files, {size/1e6:,.0f} MB", flush=True)
    tokenizer = train_tokenizer("bpe", prose(data), vocab_size=8000)
    tokenizer.save(folder/"tokenizer")
    plain = json.loads((folder/"tokenizer/tokenizer.json").read_text(encoding="utf-8"))
    plain.pop("lmnb")
    (folder/"plain.json").write_text(json.dumps(plain), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LMNB_HOME": str(folder/"home"), "HF_HUB_OFFLINE": "1"}
    found = ours(source, folder, folder/"tokenizer", options.workers, environment)
    wall, busy, peak = sum(t for t, _, _ in found.values()), sum(t for _, t, _ in found.values()), max(m for _, _, m in found.values())
    print(f"lmnb       {wall:7.1f} s, cores busy {busy/wall/options.workers:.0%}, {peak/1e6:,.0f} MB at most", flush=True)
    theirs = None
    if options.trove_python:
        (folder/"trove").mkdir()
        command = [options.trove_python, str(HERE/"trove_peer.py"), str(source), str(folder/"trove"), str(folder/"plain.json"), str(options.workers)]
        theirs = measured(command, {**os.environ, "HF_HUB_OFFLINE": "1"}, folder/"trove.txt", options.peer_limit)
        kept = sum(1 for path in (folder/"trove/clean").glob("*.jsonl") for _ in open(path, "rb"))
        print(f"datatrove  {theirs[0]:7.1f} s, cores busy {theirs[1]/theirs[0]/options.workers:.0%}, {theirs[2]/1e6:,.0f} MB at most; {kept:,} documents after cleaning", flush=True)
    peer = dict(peer="datatrove" if theirs[0] < options.peer_limit else "datatrove, stopped unfinished") if theirs else {}
    bench, write, shared = "Data stage", not options.dry_run, dict(n=documents, seed=options.seed)
    row = f"extract, clean, deduplicate, tokenize {size/1e6:,.0f} MB"
    append_row(bench, row, "wall time", round(wall, 1), unit="s", **shared, **peer, **(dict(peer_value=round(theirs[0], 1), ratio=round(theirs[0]/wall, 3)) if theirs else {}), write=write)
    append_row(bench, row, "peak memory", round(peak/1e6), unit="MB", **shared, **peer, **(dict(peer_value=round(theirs[2]/1e6)) if theirs else {}), write=write)
    append_row(bench, row, "cores busy", round(100*busy/wall/options.workers, 1), unit="%", **shared, **peer, **(dict(peer_value=round(100*theirs[1]/theirs[0]/options.workers, 1)) if theirs else {}), write=write)
    for stage, (seconds, spent, memory) in found.items():
        append_row(bench, f"{row}: {stage}", "wall time", round(seconds, 1), unit="s", **shared, write=write)


if __name__ == "__main__": main()
