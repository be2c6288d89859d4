"""Training, tokens per second: our Transformer beside GPT2LMHeadModel, our LSTM beside the bare torch.nn.LSTM loop, each beside the machine's matrix rate.

    OMP_NUM_THREADS=2 python tests/bench/throughput.py --peer-python PYTHON-WITH-TRANSFORMERS [--rounds 3]

6 layers, 384 wide, 6 heads, texts of 256 tokens, 8,192 words, 16 texts in a step, AdamW, the gradient clipped. Ours and theirs take turns, one step each;
figures are medians over the rounds, after one step each that does not count. The peer runs in a process of its own, which waits while ours computes.
"""
import argparse, statistics, subprocess, sys, time
from pathlib import Path

import torch
from common import append_row
from lmnb.bench import matrix_rate, operations, training_step
from lmnb.models.base import ModelConfig
from lmnb.models.heads import build_model

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
    parser.add_argument("--peer-python", required=True); parser.add_argument("--rounds", type=int, default=3); parser.add_argument("--write", default="yes", choices=["yes", "no"])
    a = parser.parse_args()
    transformer = build_model(ModelConfig(architecture="transformer", vocab_size=V, width=D, layers=L, heads=H))
    lstm = ModelConfig(architecture="lstm", vocab_size=V, width=D, layers=2)
    work = {"Transformer, float32": training_step(transformer, batch=B, precision="fp32"), "Transformer, bf16": training_step(transformer, batch=B, precision="bf16"),
            "LSTM, float32": training_step(build_model(lstm), batch=B, precision="fp32"), "torch.nn.LSTM": bare_lstm()}
    found = {name: [] for name in ("GPT2LMHeadModel", *work)}
    with subprocess.Popen([a.peer_python, Path(__file__).with_name("gpt2_peer.py"), "train"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        for _ in range(a.rounds + 1):
            peer.stdin.write(f"{B}\n"); peer.stdin.flush()
            found["GPT2LMHeadModel"].append(float(peer.stdout.readline()))
            for name, step in work.items():
                began = time.perf_counter()
                step()
                found[name].append(B*T/(time.perf_counter() - began))
            print({name: round(rates[-1]) for name, rates in found.items()}, file=sys.stderr)
        peer.stdin.close()
    middle = {name: statistics.median(rates[1:]) for name, rates in found.items()}
    limit, need = matrix_rate(seconds=3), operations(transformer, T)
    def row(name, peer):
        append_row(bench="Training speed", row=name, metric="training", value=middle[name], low=min(found[name][1:]), high=max(found[name][1:]), unit="tokens/s",
                   peer=peer, peer_value=middle[peer], ratio=middle[name]/middle[peer], write=a.write == "yes")
    for name in ("Transformer, float32", "Transformer, bf16"): row(name, "GPT2LMHeadModel")
    row("LSTM, float32", "torch.nn.LSTM")
    append_row(bench="Training speed", row="Transformer, float32", metric="share of the float32 matrix rate", value=100*middle["Transformer, float32"]*need/limit, unit="%", write=a.write == "yes")
    append_row(bench="Training speed", row="this machine", metric="float32 matrix rate", value=limit/1e9, unit="GFLOP/s", write=a.write == "yes")


if __name__ == "__main__": main()
