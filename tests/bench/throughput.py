"""Training, tokens per second: our Transformer beside GPT2LMHeadModel, our LSTM beside the bare torch.nn.LSTM loop, each beside the machine's matrix rate.

    OMP_NUM_THREADS=2 python tests/bench/throughput.py --peer-python PYTHON-WITH-TRANSFORMERS [--rounds 7]

6 layers, 384 wide, 6 heads, texts of 256 tokens, 8,192 words, 16 texts in a step, AdamW, the gradient clipped. Ours and theirs take turns, one step each;
rates, shares and ratios are medians over the rounds (a ratio within its round: neighbours of a machine slow both), after one step each that does not
count. The peer runs in a process of its own, which waits while ours computes. "compiled" has the blocks compiled, which takes a minute or two before
the first step; the time of it stands in a row of its own.
"""
import argparse, statistics, subprocess, sys, time
from pathlib import Path

import torch
from common import append_row
from lmnb.bench import matrix_rate, operations, training_step
from lmnb.models.base import ModelConfig
from lmnb.models.heads import build_model
from lmnb.train import Recipe, set_up_blocks

V, D, L, H, T, B = 8192, 384, 6, 6, 256, 16


def bare_lstm():
    "Embedding, torch.nn.LSTM, linear, cross-entropy, AdamW: the loop that everybody writes first."
    parts = torch.nn.ModuleList([torch.nn.Embedding(V, D), torch.nn.LSTM(D, D, num_layers=2, batch_first=True), torch.nn.Linear(D, V)])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(8, V, (B, T + 1), generator=torch.Generator().manual_seed(0))
    def step():
        embedding, lstm, linear = parts
        loss = torch.nn.functional.cross_entropy(linear(lstm(embedding(ids[:, :-1]))[0]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step(); optimizer.zero_grad(set_to_none=True)
    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", required=True); parser.add_argument("--rounds", type=int, default=7); parser.add_argument("--write", default="yes", choices=["yes", "no"])
    a = parser.parse_args()
    shape = ModelConfig(architecture="transformer", vocab_size=V, width=D, layers=L, heads=H)
    transformer, compiled = build_model(shape), build_model(shape)
    set_up_blocks(compiled, Recipe(compile=True), torch.device("cpu"))
    lstm = ModelConfig(architecture="lstm", vocab_size=V, width=D, layers=2)
    work = {"Transformer, float32": training_step(transformer, batch=B, precision="fp32"), "Transformer, bf16": training_step(transformer, batch=B, precision="bf16"),
            "Transformer, float32, compiled": training_step(compiled, batch=B, precision="fp32"),
            "LSTM, float32": training_step(build_model(lstm), batch=B, precision="fp32"), "torch.nn.LSTM": bare_lstm()}
    found, limits = {name: [] for name in ("GPT2LMHeadModel", *work)}, []
    with subprocess.Popen([a.peer_python, Path(__file__).with_name("gpt2_peer.py"), "train"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        for _ in range(a.rounds + 1):
            peer.stdin.write(f"{B}\n"); peer.stdin.flush()
            found["GPT2LMHeadModel"].append(float(peer.stdout.readline()))
            for name, step in work.items():
                began = time.perf_counter()
                step()
                found[name].append(B*T/(time.perf_counter() - began))
            limits.append(matrix_rate())
            print({name: round(rates[-1]) for name, rates in found.items()}, file=sys.stderr)
        peer.stdin.close()
    middle, need = statistics.median, operations(transformer, T)
    def row(name, metric, rates, **more): append_row(bench="Training speed", row=name, metric=metric, value=middle(rates), low=min(rates), high=max(rates), write=a.write == "yes", **more)
    rates = {name: each[1:] for name, each in found.items()}
    for name in work:
        if name == "torch.nn.LSTM": continue
        peer = "torch.nn.LSTM" if name.startswith("LSTM") else "GPT2LMHeadModel"
        row(name, "training", rates[name], unit="tokens/s", peer=peer, peer_value=middle(rates[peer]), ratio=middle(x/y for x, y in zip(rates[name], rates[peer])))
    for name in ("Transformer, float32", "Transformer, float32, compiled"):
        row(name, "share of the float32 matrix rate", [100*x*need/y for x, y in zip(rates[name], limits[1:])], unit="%")
    row("Transformer, float32, compiled", "its first step", [B*T/found["Transformer, float32, compiled"][0]], unit="s")
    row("this machine", "float32 matrix rate", [x/1e9 for x in limits], unit="GFLOP/s")


if __name__ == "__main__": main()
