"""How good a language model becomes in a given time on this machine: tinyshakespeare and Hong Lou Meng by character, WikiText-2 by word.

    LMNB_DATA=... python tests/bench/language_models.py [--only NAME ...] [--seed 0] [--again]
    LMNB_DATA=... python tests/bench/language_models.py --curves [--minutes 5]

Each row of RECIPES is a process of its own with a time for everything: imports, tokenizer, training, saving, the loss over the whole validation part.
What comes after the clock has stopped (test part, windows, BLiMP) is not counted. Where the time is a share of the clock, the clock is nanoGPT's CPU
recipe (tinyshakespeare.py), measured in the same run. A row that this commit has measured with this seed is left out, unless `--again`.
"""
import argparse, json, subprocess, sys, tempfile, time
from dataclasses import replace
from pathlib import Path

BEGAN = time.time()
HERE = Path(__file__).resolve().parent
PEERS = {   # data -> what stands beside it, see the data sets' descriptions
    "tinyshakespeare": ("Kneser-Ney 6-gram", 1.538), "wikitext2": ("Kneser-Ney trigram", 235.5), "hongloumeng": ("Kneser-Ney 3-gram", 3.989),
}
MUON = dict(optimizer="muon", muon_rate=0.02, rate=0.006, decay=0.8, carry=True)
RECIPES = {   # name -> data, preset, minutes or share of the clock, changes of the model, changes of the recipe, seconds kept back for saving and scoring
    "transformer, a fifth of the clock": dict(data="tinyshakespeare", model="transformer", share=0.2, reserve=4.2, changes=dict(layers=2), recipe=dict(length=64, batch=16)),
    "transformer, the clock":            dict(data="tinyshakespeare", model="transformer", share=1.0, reserve=6, changes=dict(layers=3), recipe=dict(length=64, batch=24)),
    "lstm, the clock":                   dict(data="tinyshakespeare", model="lstm", share=1.0, reserve=7, recipe=dict(length=32, batch=64, **MUON)),
    "transformer, 15 minutes":           dict(data="tinyshakespeare", model="transformer", minutes=15, reserve=10, changes=dict(width=192, layers=4, heads=6, dropout=0.1), recipe=dict(length=128, batch=16)),
    "lstm, 4 minutes":                   dict(data="tinyshakespeare", model="lstm", minutes=4, reserve=12, changes=dict(width=320, dropout=0.15), recipe=dict(length=32, batch=64, **MUON)),
    "lstm, 15 minutes":                  dict(data="tinyshakespeare", model="lstm", minutes=15, reserve=15, changes=dict(width=448, dropout=0.4), recipe=dict(length=32, batch=64, **MUON)),
    "mingru, 15 minutes":                dict(data="tinyshakespeare", model="mingru", minutes=15, reserve=10, changes=dict(width=256, layers=4, dropout=0.15), recipe=dict(length=64, batch=64, optimizer="muon", rate=4e-3, decay=0.8, carry=True)),
    "wikitext2, lstm, 15 minutes":       dict(data="wikitext2", model="lstm", minutes=15, reserve=75, changes=dict(width=512, embedding_width=256, tie=True, dropout=0.25), recipe=dict(length=32, batch=64, rate=4e-3, decay=0.8, carry=True, candidates=4096)),
    "wikitext2, transformer, 15 minutes": dict(data="wikitext2", model="transformer", minutes=15, reserve=75, changes=dict(width=256, tie=True, dropout=0.1), recipe=dict(length=64, batch=32, candidates=4096)),
    "hongloumeng, lstm, 8 minutes":      dict(data="hongloumeng", model="lstm", minutes=8, reserve=20, changes=dict(width=512, embedding_width=256, tie=True, dropout=0.4), recipe=dict(length=32, batch=128, **MUON)),
}
CURVES = {   # the same data, the same time: what is learned by when
    "lstm":        dict(changes=dict(width=512, dropout=0.2), recipe=dict(length=32, batch=128, **MUON)),
    "mingru":      dict(changes=dict(width=256, layers=4, dropout=0.1), recipe=dict(length=64, batch=64, optimizer="muon", rate=4e-3, decay=0.8, carry=True)),
    "transformer": dict(changes=dict(width=192, layers=6, heads=6, dropout=0.1), recipe=dict(length=128, batch=32)),
}


def data_of(name):
    "A data set whose parts are one text each, as the n-gram models beside it read them."
    from lmnb.collect import load_dataset
    found = load_dataset("zh_novels" if name == "hongloumeng" else name)
    rows = {part: rows[:1] if name == "hongloumeng" else rows for part, rows in found.parts.items()}
    return replace(found, parts={part: [dict(text="".join(row["text"] for row in some), language=some[0]["language"])] for part, some in rows.items()})


def tokenizer_of(name, data):
    "Characters, or WikiText's own words."
    from lmnb.tokenize import Tokenizer
    texts = [row["text"] for row in data.parts["train"]]
    return Tokenizer.train("word", texts, vocab_size=40_000, spaced=True) if name == "wikitext2" else Tokenizer.train("char", texts, vocab_size=10_000)


def train_one(name, seconds, seed, folder):
    "One row of RECIPES within `seconds` of this process; prints what was found."
    from lmnb.checkpoint import load_checkpoint, pointed
    from lmnb.train import fit, read_metrics
    r = RECIPES[name]
    data = data_of(r["data"])
    tokenizer = tokenizer_of(r["data"], data)
    run = fit(folder, task="lm", model=r["model"], data=data, tokenizer=tokenizer, seed=seed, scores=1, model_changes=r.get("changes"),
              minutes=(seconds - r["reserve"] - (time.time() - BEGAN))/60, **r["recipe"])
    last, whole = read_metrics(run)[-1], time.time() - BEGAN
    found = {"loss": last["dev_loss"], "train": last["loss"], "steps": last["step"], "tokens": last["tokens"], "seconds": whole}
    checkpoint = load_checkpoint(pointed(run, "last"))
    return found | {"after": list(after(r, checkpoint, data))}


def after(r, checkpoint, data):
    "What is not counted in the time: [metric, value, low, high, n, unit] of each further measurement."
    import math
    import torch
    from lmnb.collect import load_dataset
    from lmnb.serve import evaluate_pairs, token_losses
    from tinyshakespeare import windowed
    if r["data"] == "tinyshakespeare" and r["recipe"].get("carry"):
        stream = torch.tensor(checkpoint.tokenizer.encode(data.parts["dev"][0]["text"]))
        yield "loss in windows of 256", windowed(lambda ids: checkpoint.model(ids)[0], stream, 256), None, None, len(stream) - 1, "nats"
    if r["data"] == "wikitext2":
        nats = token_losses(checkpoint, torch.tensor(checkpoint.tokenizer.encode("\n" + data.parts["test"][0]["text"])))     # the first word is asked for too
        yield "perplexity of the test part", math.exp(nats.mean()), None, None, len(nats), ""
    if r["data"] != "hongloumeng":
        for score in evaluate_pairs(checkpoint, load_dataset("blimp").parts["test"])[0]: yield f"BLiMP {score.metric}", score.value, score.low, score.high, score.n, "%"


def curve(name, minutes, seed, folder):
    "The losses of one row of CURVES, scored 24 times on the way."
    from lmnb.train import fit, read_metrics
    data, r = data_of("tinyshakespeare"), CURVES[name]
    run = fit(folder, task="lm", model=name, data=data, tokenizer=tokenizer_of("tinyshakespeare", data), seed=seed, scores=24, minutes=minutes,
              model_changes=r["changes"], **r["recipe"])
    return [[row["seconds"], row["tokens"], row["dev_loss"]] for row in read_metrics(run)]


def child(*arguments, script=__file__):
    "Run a script as a process of its own: (what its last line says, whole wall time)."
    began = time.time()
    done = subprocess.run([sys.executable, script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode: sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1]), time.time() - began


def measure(name, seed, clock):
    "One row of RECIPES, in its own process; its figures are appended."
    from common import append_row, commit
    commit()                                # now, not when the figures are there
    r = RECIPES[name]
    seconds = clock[1]*r["share"] if "share" in r else 60*r["minutes"]
    found, _ = child("--one", name, "--seconds", seconds, "--seed", seed)
    peer, peer_value = ("nanoGPT's CPU recipe", clock[0]["loss"]) if "share" in r else PEERS[r["data"]]
    row = lambda metric, value, **more: append_row(bench="Language models in a given time", row=name, metric=metric, value=value, seed=seed, **more)
    beside = {} if r["data"] == "wikitext2" else dict(peer=peer, peer_value=peer_value)
    row("loss of the validation part", found["loss"], unit="nats", **beside)
    row("wall time", found["seconds"], unit="s", **(dict(peer=peer, peer_value=clock[1], ratio=found["seconds"]/clock[1]) if "share" in r else {}))
    row("tokens seen", found["tokens"]); row("loss while training, at the end", found["train"], unit="nats")
    for metric, value, low, high, n, unit in found["after"]:
        row(metric, value, low=low, high=high, n=n, unit=unit, **(dict(peer=peer, peer_value=peer_value) if metric.startswith("perplexity") else {}))


def done_already(seed):
    "The rows that this commit has measured."
    from common import RESULTS, commit
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []
    return {row["row"] for row in rows if row["bench"] == "Language models in a given time" and row["commit"] == commit() and "+" not in commit() and row["seed"] == seed}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES)); parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true"); parser.add_argument("--curves", action="store_true"); parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--one"); parser.add_argument("--curve"); parser.add_argument("--seconds", type=float)
    a = parser.parse_args()
    if a.one or a.curve:
        with tempfile.TemporaryDirectory() as folder:
            found = train_one(a.one, a.seconds, a.seed, f"{folder}/run") if a.one else curve(a.curve, a.minutes, a.seed, f"{folder}/run")
        return print(json.dumps(found))
    if a.curves:
        from common import append_row
        for name in CURVES:
            for seconds, tokens, loss in child("--curve", name, "--minutes", a.minutes, "--seed", a.seed)[0]:
                append_row(bench="Learning curves on tinyshakespeare", row=f"{name}, {a.minutes:g} minutes, after {seconds:.0f} s", metric="loss of the validation part", value=loss, n=tokens, unit="nats", seed=a.seed)
        return
    wanted = [name for name in a.only if a.again or name not in done_already(a.seed)]
    clock = child("--one", "recipe", script=str(HERE/"tinyshakespeare.py")) if any("share" in RECIPES[name] for name in wanted) else None
    for name in wanted: measure(name, a.seed, clock)


if __name__ == "__main__": main()
