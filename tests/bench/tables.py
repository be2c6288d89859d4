"""Make the results tables from results.jsonl: all of them in RESULTS.md beside it, the first ones in both READMEs.

    python tests/bench/tables.py            rewrite the part between the `results` markers, and RESULTS.md
    python tests/bench/tables.py --check    exit 1 if that would change anything

A line of results.jsonl is one measured figure: bench, row, metric, value, low, high, n, unit, peer, peer_value, ratio, seed, commit, command,
cpu, date. Lines are only ever appended. The commit of the last line of a (bench, row, metric) decides which lines stand for it: one for each seed.
"""
import json, re, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIRST = ("tinyshakespeare", "Sentiment: sst2", "Sentiment: chnsenticorp", "embedding-lstm beside Keras")    # what the READMEs show
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.S)
WORDS = {
    "README.md": dict(row="row", metric="measure", value="value", interval="95 % interval", seeds="seeds", peer="beside it", ratio="ratio",
                      none="No results have been recorded yet.", of="of {n:,}", spread="{k} ({low} to {high})",
                      note="Measured by `{commands}` on {cpu}, {dates}. Where there are several seeds, the value is their mean and the interval that of the first; "
                           "the spread over seeds stands apart."),
    "README.zh.md": dict(row="行", metric="指标", value="数值", interval="95% 区间", seeds="随机种子", peer="对照", ratio="比值",
                         none="还没有记录任何结果。", of="共 {n:,} 例", spread="{k} 个({low} 至 {high})",
                         note="由 `{commands}` 在 {cpu} 上测得,{dates}。有多个随机种子时,数值取平均,区间取第一个种子的,种子间的差异另列。"),
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


def table(rows, words):
    "One bench as a Markdown table; columns that would stand empty are left out."
    lines = []
    for (row, metric), records in rows.items():
        first, values = records[0], [record["value"] for record in records]
        unit = f" {first['unit']}" if first.get("unit") else ""
        value = values[0] if len(values) == 1 else sum(values) / len(values)
        interval = f"{number(first['low'])} – {number(first['high'])}" if first.get("low") is not None else ""
        if interval and first.get("n"): interval += f" ({words['of'].format(n=first['n'])})"
        spread = words["spread"].format(k=len(values), low=number(min(values)), high=number(max(values))) if len(values) > 1 else ""
        peer = f"{first['peer']}: {number(first.get('peer_value'))}{unit}".rstrip(": ") if first.get("peer") else ""
        ratio = f"{number(first['ratio'])}×" if first.get("ratio") is not None else ""
        lines.append([row, metric, number(value) + unit, interval, spread, peer, ratio])
    head = [words[name] for name in ("row", "metric", "value", "interval", "seeds", "peer", "ratio")]
    keep = [i for i in range(len(head)) if any(line[i] for line in lines)]
    return "\n".join("| " + " | ".join(str(line[i]).replace("|", "\\|") for i in keep) + " |" for line in [head, ["---"] * len(head), *lines])


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
    first = {bench: rows for bench, rows in results.items() if bench in FIRST}
    for name, words in WORDS.items():
        yield ROOT / name, MARKERS.sub(lambda match: f"{match[1]}{section(first, words)}{match[2]}", (ROOT / name).read_text(encoding="utf-8"))
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
