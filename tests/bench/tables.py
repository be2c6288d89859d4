"""Make the results tables from results.jsonl: all of them in RESULTS.md beside it, the few that matter most in both READMEs.

    python tests/bench/tables.py            rewrite the part between the `results` markers, and RESULTS.md
    python tests/bench/tables.py --check    exit 1 if that would change anything

A line of results.jsonl is one measured figure: bench, row, metric, value, low, high, n, unit, peer, peer_value, ratio, seed, commit, command,
cpu, date. Lines are only ever appended. The commit of the last line of a (bench, row, metric) decides which lines stand for it: one for each seed.
"""
import json, re, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FRONT = (    # what the READMEs show: English, Chinese, bench, row, metric
    ("next character of Shakespeare: LSTM", "莎士比亚的下一个字符:LSTM", "tinyshakespeare", "lstm", "loss"),
    ("the same: GRU", "同上:GRU", "tinyshakespeare", "gru", "loss"),
    ("the same: Transformer", "同上:Transformer", "tinyshakespeare", "transformer", "loss"),
    ("the same: Transformer, in a quarter of the time", "同上:Transformer,四分之一的时间", "tinyshakespeare", "transformer, a quarter of the time", "loss"),
    ("the same: LSTM, in 4 minutes", "同上:LSTM,4 分钟", "Language models in a given time", "lstm, 4 minutes", "loss of the validation part"),
    ("the same: LSTM, in 15 minutes", "同上:LSTM,15 分钟", "Language models in a given time", "lstm, 15 minutes", "loss of the validation part"),
    ("the same: Transformer, in 15 minutes", "同上:Transformer,15 分钟", "Language models in a given time", "transformer, 15 minutes", "loss of the validation part"),
    ("the same: minGRU, in 15 minutes", "同上:minGRU,15 分钟", "Language models in a given time", "mingru, 15 minutes", "loss of the validation part"),
    ("the same on a graphics card (H100): LSTM, in 45 seconds", "同上,在显卡(H100)上:LSTM,45 秒", "Graphics card: NVIDIA H100 80GB HBM3", "lstm, 0.75 minutes, float16 kernels", "loss of the validation part"),
    ("next word of Wikipedia (WikiText-2): LSTM, in 15 minutes", "维基百科的下一个词(WikiText-2):LSTM,15 分钟", "Language models in a given time", "wikitext2, lstm, 15 minutes", "perplexity of the test part"),
    ("next character of Hong Lou Meng: LSTM, in 8 minutes", "《红楼梦》的下一个字:LSTM,8 分钟", "Language models in a given time", "hongloumeng, lstm, 8 minutes", "loss of the validation part"),
    ("sentiment of film reviews (SST-2): LSTM", "英文影评的情感(SST-2):LSTM", "Sentiment: sst2", "lstm", "accuracy"),
    ("sentiment of hotel reviews in Chinese (ChnSentiCorp): GRU", "中文酒店评论的情感(ChnSentiCorp):GRU", "Sentiment: chnsenticorp", "gru", "accuracy"),
    ("training `embedding-lstm`", "训练 `embedding-lstm`", "embedding-lstm beside Keras", "embedding-lstm, rectangles of 100", "training"),
    ("main text of web pages", "网页正文", "Main text of pages", "lmnb article", "F1"),
    ("a magazine page in columns, read from its picture", "从图片读取分栏的杂志页", "scan", "magazine in columns 2", "CER of the lines in order"),
    ("finding near duplicates", "查找近似重复", "Near duplicates, 100,000 documents", "beside datasketch, plain loop, first 10,000", "speed"),
    ("texts to shards of GPT-2's ids", "把文本变成 GPT-2 编号的分片", "tokenizing a corpus", "GPT-2, English", "texts to shards on disk"),
    ("training a Transformer, bfloat16", "训练 Transformer,bfloat16", "Training speed", "Transformer, bf16", "training"),
    ("writing one text, compiled", "生成一段文字,已编译", "Generation speed", "fp32, compiled, one text, beside qwen3", "greedy generation"),
    ("the same, int8 weights", "同上,int8 权重", "Generation speed", "int8, compiled, one text, beside qwen3", "greedy generation"),
    ("1 GB from pages to ids", "1 GB:从网页到编号", "Data stage", "extract, clean, deduplicate, tokenize 1,013 MB", "wall time"),
)
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.S)
WORDS = {
    "README.md": dict(what="what", row="row", metric="measure", value="value", interval="95 % interval", seeds="seeds", peer="beside it", ratio="ratio",
                      none="No results have been recorded yet.", of="of {n:,}", spread="{k} ({low} to {high})",
                      note="Measured by `{commands}` on {cpu}, {dates}. Where there are several seeds, the value is their mean and the interval that of the first; "
                           "the spread over seeds stands apart."),
    "README.zh.md": dict(what="内容", metric="指标", value="数值", interval="95% 区间", peer="对照", ratio="比值", of="共 {n:,} 例", spread="{k} 个({low} 至 {high})"),
}


def read_results(path):
    "{bench: {(row, metric): [one record for each seed]}}, in the order of first appearance."
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if not line.strip(): continue
        record = json.loads(line)
        found.setdefault(record["bench"], {}).setdefault((record["row"], record["metric"]), []).append(record)
    for rows in found.values():
        for key, records in rows.items():
            current = [record for record in records if record.get("commit") == records[-1].get("commit")]
            rows[key] = sorted({str(record.get("seed")): record for record in current}.values(), key=lambda record: str(record.get("seed")))
    return found


def number(value):
    "A figure at a sensible length."
    if value is None: return ""
    if isinstance(value, str): return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cells(records, words):
    "One figure as text: value, interval, spread over the seeds, peer, ratio."
    first, values = records[0], [record["value"] for record in records]
    unit = f" {first['unit']}" if first.get("unit") else ""
    value = values[0] if len(values) == 1 else sum(values) / len(values)
    interval = f"{number(first['low'])} – {number(first['high'])}" if first.get("low") is not None else ""
    if interval and first.get("n"): interval += f" ({words['of'].format(n=first['n'])})"
    spread = words["spread"].format(k=len(values), low=number(min(values)), high=number(max(values))) if len(values) > 1 else ""
    peer = f"{first['peer']}: {number(first.get('peer_value'))}{unit}".rstrip(": ") if first.get("peer") else ""
    ratio = f"{number(first['ratio'])}×" if first.get("ratio") is not None else ""
    return [number(value) + unit, interval, spread, peer, ratio]


def markdown(head, lines):
    "A Markdown table; columns that would stand empty are left out."
    keep = [i for i in range(len(head)) if any(line[i] for line in lines)]
    return "\n".join("| " + " | ".join(str(line[i]).replace("|", "\\|") for i in keep) + " |" for line in [head, ["---"] * len(head), *lines])


def table(rows, words):
    "One bench."
    head = [words[name] for name in ("row", "metric", "value", "interval", "seeds", "peer", "ratio")]
    return markdown(head, [[row, metric, *cells(records, words)] for (row, metric), records in rows.items()])


def front(results, words, language):
    "The figures of FRONT that have been measured, in one table."
    head, lines = [words[name] for name in ("what", "metric", "value", "interval", "peer", "ratio")], []
    for *names, bench, row, metric in FRONT:
        records = results.get(bench, {}).get((row, metric))
        if not records: continue
        value, interval, _, peer, ratio = cells(records, words)
        lines.append([names[language], metric, value, interval, peer, ratio])
    return markdown(head, lines) + "\n"


def section(results, words):
    "Every bench, each with where its figures come from."
    parts = []
    for bench, rows in results.items():
        records = [record for records in rows.values() for record in records]
        every = lambda name: ", ".join(dict.fromkeys(str(record[name]) for record in records if record.get(name)))
        dates = sorted({str(record["date"])[:10] for record in records if record.get("date")})
        note = words["note"].format(commands="`, `".join(every("command").split(", ")), cpu=every("cpu"), dates=" – ".join(dict.fromkeys(dates[:1] + dates[-1:])))
        parts.append(f"**{bench}**\n\n{table(rows, words)}\n\n{note}\n")
    return "\n".join(parts) or words["none"] + "\n"


def pages(results):
    "Each file with its new content."
    for language, (name, words) in enumerate(WORDS.items()):
        yield ROOT / name, MARKERS.sub(lambda match: f"{match[1]}{front(results, words, language)}{match[2]}", (ROOT / name).read_text(encoding="utf-8"))
    yield HERE / "RESULTS.md", "# Everything that was measured · 全部测量结果\n\n" + section(results, WORDS["README.md"])


def main(arguments):
    "Rewrite, or only look."
    stale = []
    for path, new in pages(read_results(HERE / "results.jsonl")):
        if path.exists() and path.read_text(encoding="utf-8") == new: continue
        stale.append(path.name)
        if "--check" not in arguments: path.write_text(new, encoding="utf-8", newline="\n")
    if stale and "--check" in arguments: sys.exit(f"{', '.join(stale)}: run python tests/bench/tables.py")


if __name__ == "__main__": main(sys.argv[1:])
