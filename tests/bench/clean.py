"""Cleaning, measured on real text: language id, segmentation, what the rules drop of good text, personal data, the quality model, cost of each step.

    LMNB_DATA=... python tests/bench/clean.py                 all parts, rows into results.jsonl
    LMNB_DATA=... python tests/bench/clean.py --only speed    one part: language, segment, rules, personal, quality, speed
    LMNB_DATA=... python tests/bench/clean.py --dry-run       show the rows, write none

Language id: odd lines of the Universal Declaration, each line a text, over the languages that py3langid knows. Segmentation: F1 over words on the
SIGHAN 2005 test sets, forward maximum match with the training words beside jieba as it comes. Rules: the share of good text that a rule set drops
(a loss), on paragraphs and pages of encyclopedias, abstracts, news and novels. Personal data: what is found where nobody's can be (all of it is false), and
where it is (each hit is printed, to be read). Speed: one process, one core; 4 kB pieces of WikiText-2 and of a novel.
"""
import argparse, gzip, json, os, re, sys, tarfile, time, zipfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
from common import append_row
from lmnb.clean import CANDIDATES, RULES, find_personal, language_of, run_steps, sift, step_of, steps_of, tidy_space, train_quality, units
from lmnb.collect import Document, load_dataset
from lmnb.web import article

BENCH = "Cleaning"
CODES = dict(pair.split("=") for pair in """afr=af amh=am arb=ar azj_latn=az bel=be bul=bg ben=bn bre=br bos_latn=bs cat=ca ces=cs cym=cy dan=da deu=de deu_1901=de
    ell_monotonic=el ell_polytonic=el eng=en epo=eo spa=es est=et eus=eu pes_1=fa pes_2=fa fin=fi fra=fr fri=fy gle=ga gla=gd glg=gl guj=gu hau_NE=ha hau_NG=ha heb=he hin=hi
    hrv=hr hat_kreyol=ht hat_popular=ht hun=hu hye=hy ind=id ibo=ig isl=is ita=it jpn=ja jav=jv kat=ka kaz=kk khm=km kan=kn kor=ko kir=ky lat=la lat_1=la lug=lg lin=ln
    lin_tones=ln lao=lo lit=lt lav=lv plt=mg mkd=mk mal=ml khk=mn mar=mr mly_latn=ms mya=my nep=ne nld=nl nob=no pan=pa pol=pl pbu=ps por_BR=pt por_PT=pt ron=ro ron_1953=ro
    ron_1993=ro rus=ru san=sa slk=sk slv=sl som=so als=sq srp_cyrl=sr srp_latn=sr swe=sv swh=sw tam=ta tha=th tgl=tl tur=tr uig_arab=ug ukr=uk urd=ur uzn_latn=uz uzn_cyrl=uz
    vie=vi xho=xh yor=yo cmn_hans=zh cmn_hant=zh zul=zu ace=ace bcl=bcl dzo=dz gug=gug nso=nso pcm=pcm kin=rw sme=se sna=sn sot=st fao=fo ltz=lb wln=wa mlt=mt nno=nn
    lnc=oc tgk=tg tuk_latn=tk tuk_cyrl=tk tat=tt vec=vec quy=qu quz=qu""".split())   # file of the Declaration -> py3langid's code


def unzip(path): return gzip.open(path, "rt", encoding="utf-8").read()


def language_rows(data, row):
    with zipfile.ZipFile(data / "langid_udhr/udhr2.zip") as z: files = {name: z.read(f"udhr2/{name}.txt").decode("utf-8") for name in CODES}
    odd = [(line.strip(), code) for name, code in CODES.items() for line in files[name].splitlines()[1::2] if any(map(str.isalpha, line))]
    every = sorted(set(CODES.values()))
    few = [(line, code) for line, code in odd if code in ("zh", "en")]
    row("Chinese against English, every odd line", "accuracy", share(few, ("en", "zh")), n=len(few), unit="%")
    long = [(line, code) for line, code in odd if len(line) >= 20]
    row(f"{len(every)} languages, odd lines of 20 characters and more", "accuracy", share(long, every), n=len(long), unit="%")
    row(f"{len(every)} languages, every odd line, headings too", "accuracy", share(odd, every), n=len(odd), unit="%")
    groups = {}
    for line, code in odd: groups.setdefault(re.sub(r"[\d\W]+", "", line).lower(), Counter())[code] += 1
    row(f"{len(every)} languages, every odd line: the most that letters alone can tell", "accuracy", 100*sum(max(found.values()) for found in groups.values())/len(odd), n=len(odd), unit="%")
    default = [(line, code) for line, code in long if code in CANDIDATES]
    row(f"the {len({c for _, c in default})} of the default list, odd lines of 20 and more", "accuracy", share(default, CANDIDATES), n=len(default), unit="%")


def share(pairs, candidates): return 100*sum(language_of(line, candidates=candidates)[0] == code for line, code in pairs)/len(pairs)


def forward_match(text, words, longest):
    "Take the longest known word at each place."
    found, i = [], 0
    while i < len(text):
        n = next((n for n in range(min(longest, len(text) - i), 1, -1) if text[i:i + n] in words), 1)
        found.append(text[i:i + n]); i += n
    return found


def spans(words):
    ends = [0]
    for word in words: ends.append(ends[-1] + len(word))
    return set(zip(ends, ends[1:]))


def segment_rows(data, row):
    from lmnb.tokenize import segmenter
    folder, cut = data / "seg_sighan2005", segmenter().lcut
    for name in ("pku", "msr"):
        lines = unzip(folder / f"{name}_test.utf8.gz").splitlines()
        gold = [line.split() for line in unzip(folder / f"{name}_test_gold.utf8.gz").splitlines()]
        words = set(unzip(folder / f"{name}_training_words.utf8.gz").split())
        longest = max(map(len, words))
        for title, split in (("forward maximum match", lambda line: forward_match(line, words, longest)), ("jieba", cut)):
            right = got = due = 0
            for line, answer in zip(lines, gold, strict=True):
                a, b = spans(split(line.strip())), spans(answer)
                right, got, due = right + len(a & b), got + len(a), due + len(b)
            row(f"segmentation, {name.upper()}: {title}", "F1", 2*right/(got + due), n=due)


def paragraphs(value):
    if isinstance(value, dict):
        for key, inside in value.items():
            if key in ("context", "context_text"): yield inside
            else: yield from paragraphs(inside)
    elif isinstance(value, list):
        for inside in value: yield from paragraphs(inside)


def wiki(data, part="train"):
    text = unzip(data / f"lm_wikitext2/{part}.txt.gz").replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".").replace("<unk>", "Unknown")
    for mark in ",.;:!?)": text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(")


def good_texts(data):
    "Texts that people wrote to be read: what is dropped of them is lost."
    xquad = json.loads(unzip(data / "qa_cmrc2018/dev.json.gz"))
    text = unzip(data / "lm_zh_novels/hongloumeng.txt.gz")
    return {"English encyclopedia (WikiText-2, paragraphs of 80 words and more)": [p.strip() for p in wiki(data).splitlines() if len(p.split()) >= 80][:2000],
            "English abstracts (SciTLDR)": [" ".join(json.loads(line)["source"]) for line in unzip(next((data / "sum_scitldr").glob("*train*"))).splitlines()],
            "Chinese encyclopedia (CMRC 2018 paragraphs)": list(dict.fromkeys(paragraphs(xquad))),
            "Chinese abstracts (CSL)": [p for line in unzip(data / "sum_csl_title/dev.tsv.gz").splitlines() if len(p := max(line.split("\t"), key=len)) >= 75],
            "Chinese news (pages, 20 articles)": [json.loads(line)["content"] for line in unzip(data / "web_zh_news_pages/gne_output_silver.jsonl.gz").splitlines()],
            "Chinese novel (红楼梦, paragraphs of 200 characters and more)": [p.strip() for p in text.splitlines() if len(p) >= 200]}


def parallel(data):
    with zipfile.ZipFile(data / "langid_udhr/udhr2.zip") as z: yield "Declaration of Human Rights", *(z.read(f"udhr2/{name}.txt").decode("utf-8") for name in ("eng", "cmn_hans"))
    pairs = [line.split("\t") for line in unzip(data / "mt_tatoeba_en_zh/cmn.txt.gz").splitlines()]
    yield "Tatoeba", *("\n".join(pair[side] for pair in pairs) for side in (0, 1))


def rules_rows(data, row):
    for title, english, chinese in parallel(data):
        row(f"parallel text, {title}", "Chinese characters for one English word", len(units(Document.of(chinese, language="zh")))/len(english.split()), n=len(english.split()))
    for title, texts in good_texts(data).items():
        docs = [Document.of(text, position=i) for i, text in enumerate(texts)]
        for name in ("gopher", "c4"):
            kept, report = run_steps(steps_of(name), docs)
            why = Counter({s.step: s.dropped for s in report.steps if s.dropped})
            row(f"{name} on {title}", "dropped", 100*(1 - len(kept)/len(docs)), n=len(docs), unit="%")
            print("   ", dict(why.most_common(4)), flush=True)


def pages(path):
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".html"): yield archive.extractfile(member).read().decode("utf-8", "replace")


def personal_rows(data, row):
    "Three kinds of text: in the first nobody's address can stand; in the second it may; the third is full of them."
    read = lambda *names: [unzip(data / name) for name in names]
    nobody = {"two classical novels (Chinese)": read("lm_zh_novels/hongloumeng.txt.gz", "lm_zh_novels/sanguoyanyi.txt.gz"), "headlines (Chinese)": read("topic_thucnews/train10k.txt.gz", "topic_thucnews/test.txt.gz"),
              "encyclopedia (Chinese)": read("qa_cmrc2018/train.json.gz", "qa_cmrc2018/dev.json.gz"), "abstracts (Chinese)": read("sum_csl_title/dev.tsv.gz", "sum_csl_title/test.tsv.gz"),
              "encyclopedia (English)": read("lm_wikitext2/train.txt.gz"), "news (English)": [json.loads(line)["text"] for line in unzip(data / "topic_bbc/bbc.jsonl.gz").splitlines()]}
    somebody = {"reviews (Chinese)": read(*(f"sent_chnsenticorp/{part}.tsv.gz" for part in ("train", "dev", "test"))), "source of 60 news pages (Chinese)": list(pages(data / "web_zh_news_pages/pages.tar.gz")),
                "articles of 60 news pages (Chinese)": [article(page)[0] or "" for page in pages(data / "web_zh_news_pages/pages.tar.gz")], "articles of 181 pages (English)": [article(page)[0] or "" for page in pages(data / "web_article_extraction/html.tar.gz")],
                "business mail (English)": [json.loads(line)["body"] for line in unzip(data / "sum_aeslc/dev.jsonl.gz").splitlines()]}
    for title, texts in {**nobody, **somebody}.items():
        hits = [(kind, text[start:end], " ".join(text[max(0, start - 25):end + 15].split())) for text in texts for kind, start, end in find_personal(text)]
        count = Counter(kind for kind, *_ in hits)
        row(f"personal data, {title}", "false hits" if title in nobody else "hits", len(hits), n=sum(map(len, texts)))
        if hits: print("   ", dict(count), *(f"\n      {kind}: {around}" for kind, _, around in dict.fromkeys(hits)), flush=True)
    mail = "\n".join(somebody["business mail (English)"])
    for name, loose, kind in (("e-mail addresses", r"[^\s<>()\[\]:;,\"']+@[\w-]+(?:\.[\w-]+)+", "email"), ("phone numbers", r"(?<![\d/.-])(?:\(\d{3}\)|\d{3})[ ./-]{1,3}\d{3}[ .-]{1,3}\d{4}(?![\d-])", "phone")):
        wanted, found = [match.span() for match in re.finditer(loose, mail)], [(start, end) for what, start, end in find_personal(mail) if what == kind]
        missed = [mail[a:b] for a, b in wanted if not any(start < b and a < end for start, end in found)]
        row(f"personal data, business mail (English): of {name} in the loosest sense", "found", 100*(1 - len(missed)/len(wanted)), n=len(wanted), unit="%")
        print("    missed", dict(Counter(missed).most_common(12)), flush=True)


def quality_rows(data, row):
    "Trained on WikiText-2 against interface strings (English) and CMRC against the same (Chinese); tested on pages of elsewhere."
    strings = load_dataset("translate_en_zh").parts["train"]
    menus = {side: [" ".join(r[side] for r in strings[i:i + 20]) for i in range(0, len(strings), 20)] for side in ("source", "target")}
    chinese = list(dict.fromkeys(paragraphs(json.loads(unzip(data / "qa_cmrc2018/trial.json.gz")))))
    model = train_quality([wiki(data, "valid"), *chinese], menus["source"] + menus["target"])
    folder = data / "web_dedup_fixtures"
    for name, good in (("high_quality_wiki_reference.txt", True), ("low_quality_cc.txt", False)):
        score = model.score((folder / name).read_text(encoding="utf-8"))
        row(f"quality model: {name}", "probability of good text", score)
        if (score >= .5) != good: print("    wrong", flush=True)
    news = [json.loads(line)["content"] for line in unzip(data / "web_zh_news_pages/gne_output_silver.jsonl.gz").splitlines()]
    row("quality model: Chinese news articles kept", "share", 100*sum(model.score(text) >= .5 for text in news)/len(news), n=len(news), unit="%")
    truth = json.loads(unzip(data / "web_article_extraction/ground-truth.json.gz"))
    articles = [entry["articleBody"] for entry in truth.values() if entry.get("articleBody")]
    row("quality model: English web articles kept", "share", 100*sum(model.score(text) >= .5 for text in articles)/len(articles), n=len(articles), unit="%")


def speed_rows(data, row):
    novel, english = unzip(data / "lm_zh_novels/hongloumeng.txt.gz"), wiki(data)
    pieces = {"English": [english[i:i + 4000] for i in range(0, 2_000_000, 4000)], "Chinese": [novel[i:i + 1333] for i in range(0, 600_000, 1333)]}
    held = [wiki(data, "test")[:200_000]]
    docs = {name: [Document.of(tidy_space(text), position=i) for i, text in enumerate(texts)] for name, texts in pieces.items()}
    size = {name: sum(len(doc.text.encode()) for doc in found)/1000 for name, found in docs.items()}
    language_of("Ein Satz, den nur das Modell kennt, damit es geladen ist.")
    extra = ["few_repeats", "in_languages", "c4_lines", "c4_page", {"step": "convert_chinese"}, {"step": "decontaminate", "texts": held}]
    for step in [*steps_of("web"), *map(step_of, extra)]:
        cost = {name: best(lambda: [step.one(doc) for doc in found])*1e6/size[name] for name, found in docs.items()}
        row(f"{step.__name__}, alone", "time for a kB of English", cost["English"], unit="µs", peer="Chinese", peer_value=cost["Chinese"])
    for rules in RULES:
        rate = {name: size[name]/1000/best(lambda: sum(1 for _ in sift(steps_of(rules), found, []))) for name, found in docs.items()}
        row(f"rule set {rules}", "English on one core", rate["English"], unit="MB/s", peer="Chinese", peer_value=rate["Chinese"])


def best(work, times=3):
    found = []
    for _ in range(times):
        start = time.perf_counter(); work(); found.append(time.perf_counter() - start)
    return min(found)


PARTS = {"language": language_rows, "segment": segment_rows, "rules": rules_rows, "personal": personal_rows, "quality": quality_rows, "speed": speed_rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    def row(name, metric, value, **more):
        print(f"{name}: {metric} {value:.4g} {more.get('unit', '')} {'of ' + str(more['n']) if 'n' in more else ''}", flush=True)
        append_row(BENCH, name, metric, value, write=not options.dry_run, **more)
    for part in options.only: PARTS[part](Path(os.environ["LMNB_DATA"]), row)


if __name__ == "__main__": main()
