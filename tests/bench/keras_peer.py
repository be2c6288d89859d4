"""The preset embedding-lstm against the same model in Keras on TensorFlow: samples per second, and accuracy on SST-2.

    LMNB_DATA=... python tests/bench/keras_peer.py --keras-python PYTHON-WITH-TENSORFLOW

Both: Embedding(10000, 128) -> LSTM(64) -> one sigmoid unit, binary cross-entropy, Adam at 0.001, batch 32, float32. Two measurements:

1. speed on full rectangles: 3,200 samples of exactly 100 ids, the same for both, so the two do the same work;
2. SST-2, 10 epochs: speed as each is used (Keras pads every text to 100; lmnb pads a batch to its longest text), and accuracy on the test part,
   at the epoch with the lowest loss on the development part, and after the last.

Each measurement is a process of its own; ours and theirs take turns, so that both meet the same machine. Keras is measured with and without
XLA, and the faster one counts.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LENGTH, BATCH, WORDS = 100, 32, 10_000
THREADS = {}                             # environment of both children where --threads is given


# -- inside a child process ----------------------------------------------------------------------------------------

def keras_model(jit):
    "The classic, as Keras's own examples write it."
    import keras
    layers = [keras.layers.Embedding(WORDS, 128), keras.layers.LSTM(64), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential(layers)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=jit)
    return model


def keras_speed(file, jit):
    "Samples per second of one epoch over the rectangle, after a first one for compiling."
    import numpy as np
    data, model = np.load(file), keras_model(jit)
    x, y = data["rectangle"], data["rectangle_label"]
    model.fit(x[:10 * BATCH], y[:10 * BATCH], batch_size=BATCH, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    return {"rate": len(x) / (time.perf_counter() - began)}


def keras_accuracy(file, jit, seed, epochs):
    "Ten epochs on SST-2: test accuracy at the epoch of the lowest dev loss and after the last, and training samples per second."
    import keras
    import numpy as np
    keras.utils.set_random_seed(seed)
    data, model = np.load(file), keras_model(jit)
    x, y = data["train"], data["train_label"]
    best, seconds = None, []
    for _ in range(epochs):
        began = time.perf_counter()
        model.fit(x, y, batch_size=BATCH, verbose=0)
        seconds.append(time.perf_counter() - began)
        loss = model.evaluate(data["dev"], data["dev_label"], batch_size=256, verbose=0)[0]
        correct = (model.predict(data["test"], batch_size=256, verbose=0)[:, 0] > 0.5) == data["test_label"]
        if best is None or loss < best[0]: best = loss, correct
    return {"rate": len(x) / statistics.median(seconds), "best": [int(c) for c in best[1]], "last": float(correct.mean())}


def our_run(seed, epochs):
    "A training run of the preset as `lmnb train` sets it up, without writing checkpoints."
    from lmnb.checkpoint import Config, TaskConfig
    from lmnb.collect import load_dataset
    from lmnb.models.zoo import preset
    from lmnb.tokenize import Tokenizer
    from lmnb.train import Run, plan
    data = load_dataset("sst2")
    _, fields, recipe, kind, size = plan("classify", "embedding-lstm", data, epochs=epochs, seed=seed)
    tokenizer = Tokenizer.train(kind, [row["text"] for row in data.parts["train"]], vocab_size=size)
    assert (recipe.batch, fields["length"], size) == (BATCH, LENGTH, WORDS)
    config = Config(task=TaskConfig(name="classify", labels=["negative", "positive"], **fields), preset="embedding-lstm",
                    model=preset("embedding-lstm", task="classify", vocab_size=WORDS, outputs=1))
    return Run(tempfile.gettempdir(), config, tokenizer, data.parts["train"], data.parts["dev"], recipe), data


def our_speed(file):
    "Samples per second over the same rectangle, through the ordinary training step."
    import numpy as np
    data, (run, _) = np.load(file), our_run(0, 1)
    run.examples = [{"ids": row.tolist(), "label": int(label)} for row, label in zip(data["rectangle"], data["rectangle_label"])]
    for _ in range(10): run.advance()
    began = time.perf_counter()
    steps = len(run.examples) // BATCH
    for _ in range(steps): run.advance()
    return {"rate": steps * BATCH / (time.perf_counter() - began)}


def our_accuracy(seed, epochs):
    "Ten epochs on SST-2."
    import torch
    run, data = our_run(seed, epochs)
    per_epoch, test = run.task.per_epoch(run.examples, BATCH), run.task.examples(data.parts["test"])
    def correct():
        found = torch.zeros(len(test), dtype=torch.bool)
        run.model.eval()
        with torch.no_grad():
            for batch in run.task.score_batches(test): found[list(batch.rows)] = (run.model(**batch.inputs)[:, 0] > 0) == batch.target.bool()
        run.model.train()
        return found
    best, seconds = None, []
    for _ in range(epochs):
        began = time.perf_counter()
        for _ in range(per_epoch): run.advance()
        seconds.append(time.perf_counter() - began)
        loss, right = run.task.score(run.model, run.dev)["loss"], correct()
        if best is None or loss < best[0]: best = loss, right
    return {"rate": len(run.examples) / statistics.median(seconds), "best": best[1].int().tolist(), "last": float(right.float().mean())}


def child(arguments):
    "One measurement; its result is the last line."
    work, file, jit, seed, epochs = arguments.child, arguments.file, arguments.jit, arguments.seed, arguments.epochs
    found = {"keras-speed": lambda: keras_speed(file, jit), "keras-accuracy": lambda: keras_accuracy(file, jit, seed, epochs),
             "ours-speed": lambda: our_speed(file), "ours-accuracy": lambda: our_accuracy(seed, epochs)}[work]()
    print(json.dumps(found))


# -- the parent ------------------------------------------------------------------------------------------------------

def write_data(file):
    "The same ids for both, by lmnb's tokenizer: a rectangle of random ids, and SST-2 padded on the left as Keras does."
    import numpy as np
    dice, (run, data) = np.random.default_rng(0), our_run(0, 1)
    arrays = {"rectangle": dice.integers(8, WORDS, (3200, LENGTH)), "rectangle_label": dice.integers(0, 2, 3200)}
    for part in ("train", "dev", "test"):
        examples = run.task.examples(data.parts[part])
        arrays[part] = np.array([[0] * (LENGTH - len(e["ids"])) + e["ids"] for e in examples])
        arrays[part + "_label"] = np.array([e["label"] for e in examples])
    np.savez(file, **arrays)


def start(python, work, file, *options):
    "Run one measurement in a process of its own."
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"} | THREADS
    done = subprocess.run([python, __file__, "--child", work, "--file", str(file), *options], capture_output=True, text=True, env=environment)
    if done.returncode: sys.exit(f"{work} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras-python", help="a Python that can import keras and tensorflow")
    parser.add_argument("--repeats", type=int, default=3, help="turns of the speed measurement")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the accuracy measurement; none: speed only")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, help="for both; all cores where it is not given")
    parser.add_argument("--dry-run", action="store_true", help="show the rows, write none")
    for name in ("--child", "--file"): parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--jit", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE.parent.parent))
    if arguments.child: return child(arguments)
    if not arguments.keras_python: parser.error("--keras-python is needed: a Python that can import keras and tensorflow")
    with tempfile.TemporaryDirectory() as folder: measure(arguments, Path(folder) / "data.npz")


def measure(arguments, file):
    "Take turns, and keep the rows."
    sys.path.insert(0, str(HERE))
    from common import append_row
    def keep(row, metric, value, **facts):
        found = append_row("embedding-lstm beside Keras", row, metric, value, write=not arguments.dry_run, **facts)
        print({name: found[name] for name in ("row", "metric", "value", "low", "high", "peer_value", "ratio", "seed")}, flush=True)
    write_data(file)
    if arguments.threads: THREADS.update(dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(arguments.threads)))
    theirs = arguments.keras_python
    jits = {jit: start(theirs, "keras-speed", file, *(["--jit"] if jit else []))["rate"] for jit in (False, True)}
    option = ["--jit"] if jits[True] > jits[False] else []
    print(f"Keras without XLA {jits[False]:.0f}, with XLA {jits[True]:.0f} samples/s: the faster one counts", flush=True)
    turns = [(start(sys.executable, "ours-speed", file)["rate"], start(theirs, "keras-speed", file, *option)["rate"]) for _ in range(arguments.repeats)]
    print([tuple(round(rate) for rate in turn) for turn in turns], flush=True)
    ours, peer = (statistics.median(column) for column in zip(*turns))
    keep("embedding-lstm, rectangles of 100", "training", ours, low=min(a for a, _ in turns), high=max(a for a, _ in turns), unit="samples/s", peer="Keras on TensorFlow", peer_value=peer, ratio=ours / peer)
    for seed in arguments.seeds: accuracy(arguments, file, option, seed, keep)


def accuracy(arguments, file, option, seed, keep):
    "Both on SST-2, one seed."
    from lmnb.evaluate import bootstrap, paired_difference
    options = ["--seed", str(seed), "--epochs", str(arguments.epochs)]
    our, their = start(sys.executable, "ours-accuracy", file, *options), start(arguments.keras_python, "keras-accuracy", file, *option, *options)
    facts = dict(peer="Keras on TensorFlow", seed=seed)
    low, high = bootstrap(our["best"])
    mean = lambda items: 100 * sum(items) / len(items)
    gap = paired_difference(our["best"], their["best"])
    print(f"seed {seed}: difference {100 * gap[0]:+.1f} [{100 * gap[1]:+.1f}, {100 * gap[2]:+.1f}] points", flush=True)
    keep("embedding-lstm, SST-2, best epoch on dev", "accuracy", mean(our["best"]), low=100 * low, high=100 * high, n=len(our["best"]), unit="%", peer_value=mean(their["best"]), **facts)
    keep("embedding-lstm, SST-2, after the last epoch", "accuracy", 100 * our["last"], n=len(our["best"]), unit="%", peer_value=100 * their["last"], **facts)
    keep("embedding-lstm, SST-2 as each pads it", "training", our["rate"], unit="samples/s", peer_value=their["rate"], ratio=our["rate"] / their["rate"], **facts)


if __name__ == "__main__": main()
