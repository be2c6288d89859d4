"""Sentiment on the public sets: SST-2 (English) and ChnSentiCorp (Chinese), every architecture beside the linear row.

    LMNB_DATA=... python tests/bench/sentiment.py                          both sets, five architectures, three seeds
    LMNB_DATA=... python tests/bench/sentiment.py --data sst2 --models lstm bag --seeds 0

Each network trains by the table of chapter 32 (`plan`), the best epoch is chosen on the development part, and the test part is scored once. The
value is accuracy with its 95 % interval over test items; `peer` is the best classical row on the same items, and the difference to it (paired
bootstrap) is printed. The seconds of training are a row of their own.
"""
import argparse, os, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
from common import append_row
from lmnb.apps.classify import baseline, evaluate
from lmnb.checkpoint import open_checkpoint
from lmnb.collect import load_dataset
from lmnb.evaluate import paired_difference
from lmnb.train import fit, read_metrics

MODELS = ("bag", "rnn", "gru", "lstm", "transformer")


def measure(data, model, seed):
    "Train and score one network: (Score, items, seconds of training)."
    with tempfile.TemporaryDirectory() as folder:
        run = fit(Path(folder) / "run", task="classify", model=model, data=data, seed=seed)
        scores, items = evaluate(open_checkpoint(run), data)
        return scores[0], items, read_metrics(run)[-1]["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["sst2", "chnsenticorp"])
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="of torch; all cores where it is not given")
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    if options.threads: import torch; torch.set_num_threads(options.threads)
    for name in options.data: rows_of(load_dataset(name), options)


def rows_of(data, options):
    "All rows of one data set."
    bench, write = f"Sentiment: {data.name}", not options.dry_run
    classical = baseline(data)
    for name, (scores, _) in classical.items():
        print(f"{data.name} {name}: {scores[0].format()}", flush=True)
        append_row(bench, name, "accuracy", scores[0].value, low=scores[0].low, high=scores[0].high, n=scores[0].n, unit="%", write=write)
    best = max(classical, key=lambda name: classical[name][0][0].value)
    for model in options.models:
        for seed in options.seeds:
            score, items, seconds = measure(data, model, seed)
            gap, low, high = paired_difference(items, classical[best][1])
            print(f"{data.name} {model} seed {seed}: {score.format()}, {seconds:.0f} s; minus {best}: {100 * gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]", flush=True)
            append_row(bench, model, "accuracy", score.value, low=score.low, high=score.high, n=score.n, unit="%", peer=best,
                       peer_value=classical[best][0][0].value, seed=seed, write=write)
            append_row(bench, model, "training", round(seconds, 1), unit="s", seed=seed, write=write)


if __name__ == "__main__": main()
