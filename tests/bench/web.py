"""The main text of web pages: F1 over shingles of four words on 181 pages with gold text, and on the Chinese pages against silver text.

    LMNB_DATA=... python tests/bench/web.py              all rows
    LMNB_DATA=... python tests/bench/web.py --worst 10   also the pages with the lowest F1, on the screen

The measure is that of Scrapinghub's article extraction benchmark: precision and recall of each page, averaged, and F1 of the two averages; the interval
is that of 1,000 bootstrap samples of pages. Peers run in the same process: every word of the page, jusText, trafilatura as it comes, and readability-lxml
where it is installed (pip install readability-lxml; lmnb does not need it). The Chinese silver text is another tool's output, in shingles of four characters.
"""
import argparse, gzip, json, logging, os, random, statistics, sys, tarfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
from common import append_row
from lmnb.web import _tree, article, dense_text, page_text, shingle_scores


def plain(data):
    "Every word that is not script or style."
    tree = _tree(page_text(data)[0])
    for element in list(tree.iter("script", "style", "noscript", "head")): element.drop_tree()
    return "\n".join(tree.itertext())


def justext(data):
    import justext as tool
    return "\n".join(p.text for p in tool.justext(page_text(data)[0].encode(), tool.get_stoplist("English"), encoding="utf-8") if not p.is_boilerplate)


def trafilatura(data):
    import trafilatura as tool
    return tool.extract(_tree(page_text(data)[0])) or ""


def readability(data):
    from readability import Document
    return "\n".join(_tree(Document(page_text(data)[0]).summary()).itertext())


def readers():
    "name -> function(bytes) -> text; the last is ours."
    found = {"every word": plain, "jusText": justext, "trafilatura as it comes": trafilatura}
    try: import readability as _; found["readability-lxml"] = readability
    except ImportError: print("readability-lxml is not installed: no row for it")
    return found | {"lmnb, densest block alone": lambda data: dense_text(_tree(page_text(data)[0])), "lmnb article": lambda data: article(data)[0]}


def f1(scores):
    "Averages over pages, and F1 of them: (F1, precision, recall)."
    p, r = (statistics.mean(score[i] for score in scores if score[i] is not None) for i in (0, 1))
    return 2 * p * r / (p + r), p, r


def interval(scores, seed=0):
    "95 % of the F1 of bootstrap samples of pages."
    draw = random.Random(seed)
    values = sorted(f1(draw.choices(scores, k=len(scores)))[0] for _ in range(1000))
    return values[25], values[974]


def members(path):
    with tarfile.open(path) as tar: return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def measure(pages, gold, reader, characters=False):
    "Scores of each page, and seconds."
    start = time.perf_counter()
    texts = {key: reader(pages[key]) for key in gold}
    seconds = time.perf_counter() - start
    return {key: shingle_scores(gold[key], texts[key], characters=characters) for key in gold}, seconds


def rows(bench, pages, gold, names, write, characters=False):
    "All rows of one set; the peer of each is trafilatura as it comes."
    found = {name: measure(pages, gold, reader, characters) for name, reader in names.items()}
    for name, (scores, seconds) in found.items():
        (value, p, r), (low, high) = f1(list(scores.values())), interval(list(scores.values()))
        print(f"{bench}, {name}: F1 {value:.4f} [{low:.4f}, {high:.4f}], precision {p:.4f}, recall {r:.4f}, {len(gold) / seconds:.1f} pages/s", flush=True)
        ours = name == "lmnb article"
        append_row(bench, name, "F1", 100 * value, low=100 * low, high=100 * high, n=len(gold), unit="%", write=write)
        if ours:
            for metric, part in (("precision", p), ("recall", r)): append_row(bench, name, metric, 100 * part, n=len(gold), unit="%", write=write)
    ours, peer = (len(gold) / found[name][1] for name in ("lmnb article", "trafilatura as it comes"))
    append_row(bench, "lmnb article", "speed", ours, n=len(gold), unit="pages/s", peer="trafilatura as it comes", peer_value=peer, ratio=ours / peer, write=write)
    return found["lmnb article"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worst", type=int, default=0, help="how many of the worst pages to show")
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    logging.disable(logging.CRITICAL)
    data, names = Path(os.environ["LMNB_DATA"]), readers()
    folder = data / "web_article_extraction"
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    pages = {Path(name).name.removesuffix(".html"): body for name, body in members(folder / "html.tar.gz").items()}
    article(pages[next(iter(truth))])                                       # imports are not part of the time
    scores = rows("Main text of pages", pages, {key: row["articleBody"] for key, row in truth.items()}, names, not options.dry_run)
    worst = sorted((2 * (p or 0) * (r or 0) / max((p or 0) + (r or 0), 1e-9), p, r, truth[key]["url"]) for key, (p, r) in scores.items())
    for row in worst[:options.worst]: print(*row)
    chinese(data / "web_zh_news_pages", names, options)


def chinese(folder, names, options):
    "The Chinese pages: F1 where there is silver text, and how many of all pages give a text."
    pages = members(folder / "pages.tar.gz")
    silver = {row["page"]: row["content"] for row in map(json.loads, gzip.open(folder / "gne_output_silver.jsonl.gz", "rt", encoding="utf-8"))}
    pages = {next((key for key in silver if name.endswith(key)), name): body for name, body in pages.items()}
    rows("Main text of Chinese pages (silver)", pages, silver, {name: reader for name, reader in names.items() if name != "jusText"}, not options.dry_run, characters=True)
    texts = [article(body)[0] for body in pages.values()]
    given = sum(len(text) >= 80 for text in texts)
    print(f"Chinese pages with a text of 80 characters or more: {given} of {len(texts)}")
    append_row("Main text of Chinese pages (silver)", "lmnb article", "pages with a text", given, n=len(texts), unit=f"of {len(texts)}", write=not options.dry_run)


if __name__ == "__main__": main()
