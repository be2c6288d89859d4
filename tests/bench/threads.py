"""Threads chosen by measuring, beside one and two threads: alone, and beside a program that keeps one core busy.

    python tests/bench/threads.py [--rounds 5] [--only "write 60 tokens"] [--write no]

Each piece of work runs in a process of its own, as a command does: what it chooses, one thread, two threads take turns. A row is the median over the
rounds; its ratio compares it with the better of one and two threads, and shall not be above 1.10. On a machine that does other work, too, it says little.
"""
import argparse, os, statistics, subprocess, sys, time

sys.path.insert(0, os.path.dirname(__file__))


def language_model(architecture, width=None):
    "A model as the registry has it, with random weights, ready to write."
    from lmnb.models.heads import build_model
    from lmnb.models.zoo import preset
    return build_model(preset(architecture, task="lm", vocab_size=2000)).eval()


def write():
    "Sixty tokens with a small Transformer."
    import torch
    from lmnb.generate import packed, stream_ids
    model, prompt = packed(language_model("transformer")), torch.tensor([[8, 9, 10]])
    return lambda: sum(1 for _ in stream_ids(model, prompt, most=60, end=None))


def chat():
    "One answer of an LSTM with the chat's shape: forty tokens."
    import torch
    from lmnb.generate import stream_ids
    from lmnb.models.heads import build_model
    from lmnb.models.zoo import preset
    model, prompt = build_model(preset("lstm", task="chat", vocab_size=6000)).eval(), torch.arange(8, 28)[None]
    return lambda: sum(1 for _ in stream_ids(model, prompt, most=40, end=None))


def training(architecture):
    "300 steps, as `lmnb train --steps 300` takes them; reading and scoring do not count."
    import tempfile
    import numpy as np
    from pathlib import Path
    from lmnb.checkpoint import Config, TaskConfig
    from lmnb.models.zoo import preset
    from lmnb.tokenize import train_tokenizer
    from lmnb.train import Recipe, Run
    words = np.random.default_rng(0).choice([f"w{i}" for i in range(3000)], 60_000)
    rows = [{"text": " ".join(words)}]
    tokenizer = train_tokenizer("bpe", [rows[0]["text"]], vocab_size=2000)
    carry = architecture == "lstm"
    config = Config(task=TaskConfig(name="lm", length=64, carry=carry), model=preset(architecture, task="lm", vocab_size=tokenizer.vocab_size))
    folder = Path(tempfile.mkdtemp())
    run = Run(folder, config, tokenizer, rows, [{"text": rows[0]["text"][:20_000]}], Recipe(steps=300, batch=32, optimizer="adamw" if carry else "muon"))
    run.look = lambda: None
    (folder/"checkpoints").mkdir()
    return run.go


WORK = {"write 60 tokens": write, "one chat answer": chat, "300 steps, LSTM": lambda: training("lstm"), "300 steps, Transformer": lambda: training("transformer")}


def child(name):
    "In a process of its own: make ready, then measure once."
    work = WORK[name]()
    began = time.perf_counter()
    work()
    from lmnb.threads import said
    print(time.perf_counter() - began, said(), sep="\t")


def seconds(name, threads):
    "One piece of work in a new process -> seconds, what it said."
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run([sys.executable, __file__, "--child", name], env=environment, capture_output=True, text=True, check=True)
    spent, said = done.stdout.strip("\n").split("\t")
    return float(spent), said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[*WORK])
    parser.add_argument("--child", choices=[*WORK])
    parser.add_argument("--write", default="yes", choices=["yes", "no"])
    a = parser.parse_args()
    if a.child:
        return child(a.child)
    worst = 0.0
    for beside in ("alone", "beside a busy program"):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside != "alone" else None
        try:
            for name in [a.only] if a.only else WORK:
                found = {threads: [] for threads in (None, 1, 2)}
                for _ in range(a.rounds):
                    for threads in found:
                        spent, said = seconds(name, threads)
                        found[threads].append(spent)
                        reason = said if threads is None else reason
                middle = {threads: statistics.median(spent) for threads, spent in found.items()}
                ratio = middle[None]/min(middle[1], middle[2])
                worst = max(worst, ratio)
                print(f"{name}, {beside}: chosen {middle[None]:.2f} s ({reason}); one {middle[1]:.2f} s, two {middle[2]:.2f} s; {ratio:.2f} times the better")
                if a.write == "yes":
                    from common import append_row
                    append_row("Threads", f"{name}, {beside}", "seconds", middle[None], peer="the better of one and two threads", peer_value=min(middle[1], middle[2]), unit="s", n=a.rounds)
        finally:
            if busy:
                busy.kill()
    return 0 if worst <= 1.10 else 1


if __name__ == "__main__":
    sys.exit(main())
