"""What rare labels cost and which cure helps: plain training, class weights, weighted sampling, focal loss and a moved threshold, beside the linear rows.

    LMNB_DATA=... python tests/bench/imbalance.py                          both sets, bag and lstm, three seeds
    LMNB_DATA=... python tests/bench/imbalance.py --data sms_spam --models bag --seeds 0

`sms_spam` has one spam in seven messages: what counts is the F1 of *spam* (and MCC, the figure of the literature). `clinc150` shows 30 of its 150
intents only 25 times: what counts is the macro F1 and the recall of those 30 on the balanced test part. The threshold is chosen on the development
part from the plain run; with 150 labels there is no one line to move, so it is measured on `sms_spam` alone. Each value carries its 95 % interval over
test items; `peer` is the plain run of the same model and seed, and the printed gain is a paired bootstrap.
"""
import argparse, os, sys, tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
import numpy as np
from common import append_row
from sklearn.svm import LinearSVC
from lmnb.advise import CURES, label_columns, macro_f1
from lmnb.apps.classify import classical
from lmnb.baseline import LinearText
from lmnb.checkpoint import open_checkpoint
from lmnb.collect import load_dataset
from lmnb.evaluate import bootstrap, matthews, paired_difference, precision_recall_f1
from lmnb.task import decide, label_probabilities, tune_threshold
from lmnb.train import fit, read_metrics


def rare_labels(data):
    "The labels that training shows least often."
    counts = Counter(row["label"] for row in data.parts["train"])
    return {label for label, n in counts.items() if n == min(counts.values())}


def metrics_of(data, gold):
    "name -> (columns of what was said, statistic of their sums)."
    labels, rare = sorted(set(gold)), rare_labels(data)
    def rare_recall(said): return np.array([[g in rare and g == s, g in rare] for g, s in zip(gold, said)], float)
    found = {"macro F1": (lambda said: label_columns(gold, said), macro_f1), "recall of the rare": (rare_recall, lambda sums: sums[..., 0]/sums[..., 1]),
             "accuracy": (lambda said: np.array([[g == s] for g, s in zip(gold, said)], float), lambda sums: sums[..., 0]/len(gold))}
    if len(labels) == 2:
        at = labels.index(*rare)
        found = {f"F1 of {labels[at]}": (found["macro F1"][0], lambda sums: precision_recall_f1(*np.split(sums, 3, axis=-1))[2][..., at]),
                 "MCC": (found["macro F1"][0], lambda sums: matthews(*np.split(sums, 3, axis=-1)))} | found
    return found


def balanced_linear(data):
    "What the linear row says with class weights, its own cure."
    texts, labels = [row["text"] for row in data.parts["train"]], [row["label"] for row in data.parts["train"]]
    method = LinearText().fit(texts, labels, "en")
    method.machine = LinearSVC(C=method.C, random_state=0, class_weight="balanced").fit(method.vectorizer.transform(texts), labels)
    return method.predict([row["text"] for row in data.parts["test"]])


def predictions(data, model, seed):
    "(cure -> labels of the test part, cure -> seconds); one training for each but the threshold."
    test, found, seconds = data.parts["test"], {}, {}
    for cure, changes in {"none": {}, **CURES}.items():
        with tempfile.TemporaryDirectory() as folder:
            run = fit(Path(folder) / "run", task="classify", model=model, data=data, seed=seed, **changes)
            checkpoint, seconds[cure] = open_checkpoint(run), read_metrics(run)[-1]["seconds"]
        p_NC, labels = label_probabilities(checkpoint, [row["text"] for row in test]), checkpoint.config.task.labels
        found[cure] = decide(p_NC, labels)
        if cure == "none" and len(labels) == 2: found["threshold"] = decide(p_NC, labels, tune_threshold(checkpoint, data.parts["dev"]))
    return found, seconds


def rows_of(data, options):
    "All rows of one data set."
    bench, write, gold = f"Imbalance: {data.name}", not options.dry_run, [row["label"] for row in data.parts["test"]]
    metrics = metrics_of(data, gold)

    def tell(row, said, plain=None, seed=0):
        for name, (columns, statistic) in metrics.items():
            mine = columns(said)
            value, (low, high) = 100 * float(statistic(mine.sum(0))), (100 * x for x in bootstrap(mine, statistic))
            text, peer = f"{data.name} {row} seed {seed}: {name} {value:.1f} [{low:.1f}, {high:.1f}]", {}
            if plain is not None:
                gain, least, most = (100 * x for x in paired_difference(mine, columns(plain), statistic))
                text += f"; minus none {gain:+.1f} [{least:+.1f}, {most:+.1f}]"
                peer = dict(peer=f"{row.split(' + ')[0]} + none", peer_value=value - gain)
            print(text, flush=True)
            append_row(bench, row, name, round(value, 2), low=round(low, 2), high=round(high, 2), n=len(gold), unit="%", seed=seed, write=write, **peer)

    for name in ("linear", "linear-pieces"): tell(name, classical(name, data, data.parts["train"], data.parts["test"]))
    tell("linear + weights", balanced_linear(data))
    for model in options.models:
        for seed in options.seeds:
            found, seconds = predictions(data, model, seed)
            for cure, said in found.items(): tell(f"{model} + {cure}", said, None if cure == "none" else found["none"], seed)
            for cure, value in seconds.items(): append_row(bench, f"{model} + {cure}", "training", round(value, 1), unit="s", seed=seed, write=write)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["sms_spam", "clinc150"])
    parser.add_argument("--models", nargs="*", default=["bag", "lstm"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    options = parser.parse_args()
    if not os.environ.get("LMNB_DATA"): return print("skipped: LMNB_DATA does not name the folder of the public data sets")
    for name in options.data: rows_of(load_dataset(name), options)


if __name__ == "__main__": main()
