"""On a graphics card: training and generation beside transformers' GPT2LMHeadModel, and tinyshakespeare by character in a minute or two.

    LMNB_DATA=... python tests/bench/card.py [--rounds 5] [--minutes 1]

6 layers, 384 wide, 6 heads, texts of 256 tokens, 8,192 words, 64 texts in a step, AdamW, the gradient clipped, the Transformers in bfloat16, the LSTMs (2 layers) in
float32; ours and theirs take turns, three steps each, medians over the rounds after one that does not count. Compiling is timed apart. Generation is greedy, after 16 tokens, in float32; its peer
has a cache too. tinyshakespeare is learned by nanoGPT's shape for a card (6 layers, 384 wide, 256 characters; its README: 1.4697 in about 3 minutes
of an A100), and by an LSTM, through the same `fit` as on a processor. Needs transformers in the same environment.
"""
import argparse, statistics, sys, tempfile, time

import torch
from common import append_row
from lmnb.bench import operations, training_step
from lmnb.collect import load_dataset
from lmnb.generate import Sampling, generate_ids
from lmnb.models.base import ModelConfig
from lmnb.models.heads import build_model
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, fit, read_metrics, set_up_blocks

V, D, L, H, T, B, STEPS = 8192, 384, 6, 6, 256, 64, 3
CARD = torch.device("cuda")
RUNS = {   # on tinyshakespeare
    "transformer": dict(model_changes=dict(width=384, layers=6, heads=6, dropout=0.2), length=256, batch=64),
    "lstm": dict(model_changes=dict(width=512, layers=1, dropout=0.35), length=48, batch=128, optimizer="muon", muon_rate=0.02, rate=0.006, decay=0.8, carry=True),
}


def gpt2():
    "The peer's shape, without dropout."
    from transformers import GPT2Config, GPT2LMHeadModel
    return GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=2*T, n_embd=D, n_layer=L, n_head=H, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=None, eos_token_id=None)).to(CARD)


def loop(model, loss_of, short=True):
    "A step of AdamW as a reader would write it, in bfloat16 or float32."
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(8, V, (B, T + 1), generator=torch.Generator().manual_seed(0)).to(CARD)
    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=short): loss = loss_of(model, ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(); optimizer.zero_grad(set_to_none=True)
    return step


def bare_lstm():
    "Embedding, torch.nn.LSTM, linear, cross-entropy."
    parts = torch.nn.ModuleList([torch.nn.Embedding(V, D), torch.nn.LSTM(D, D, num_layers=2, batch_first=True), torch.nn.Linear(D, V)]).to(CARD)
    return loop(parts, lambda p, ids: torch.nn.functional.cross_entropy(p[2](p[1](p[0](ids[:, :-1]))[0]).flatten(0, 1), ids[:, 1:].flatten()), short=False)


def seconds(step, times=STEPS):
    "Of so many steps."
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times): step()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def training(rounds, row):
    "Tokens per second of each."
    shape = ModelConfig(architecture="transformer", vocab_size=V, width=D, layers=L, heads=H)
    ours, compiled = build_model(shape).to(CARD), build_model(shape).to(CARD)
    set_up_blocks(compiled, Recipe(compile=True), CARD)
    theirs = gpt2().train()
    loss = lambda model, ids: model(ids[:, :-1], labels=ids[:, :-1]).loss
    work = {"Transformer": training_step(ours, batch=B, precision="bf16"), "Transformer, compiled": training_step(compiled, batch=B, precision="bf16"),
            "GPT2LMHeadModel": loop(theirs, loss), "LSTM": training_step(build_model(ModelConfig(architecture="lstm", vocab_size=V, width=D, layers=2)).to(CARD), batch=B, precision="fp32"),
            "torch.nn.LSTM": bare_lstm()}
    first = {name: seconds(step, 1) for name, step in work.items()}
    found = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, step in work.items(): found[name].append(STEPS*B*T/seconds(step))
        print({name: round(rates[-1]) for name, rates in found.items()}, file=sys.stderr)
    for name, peer, kind in (("Transformer", "GPT2LMHeadModel", "bf16"), ("Transformer, compiled", "GPT2LMHeadModel", "bf16"), ("LSTM", "torch.nn.LSTM", "float32")):
        rates, others = found[name][1:], found[peer][1:]
        row(f"{name}, {kind}", "training", statistics.median(rates), low=min(rates), high=max(rates), unit="tokens/s", peer=f"{peer}, {kind}", peer_value=statistics.median(others), ratio=statistics.median(x/y for x, y in zip(rates, others)))
    row("Transformer, bf16", "operations", statistics.median(found["Transformer"][1:])*operations(ours, T)/1e12, unit="TFLOP/s")
    row("Transformer, compiled, bf16", "its first step", first["Transformer, compiled"], unit="s")


def generation(rounds, row, tokens=128):
    "Greedy text of one and of many."
    ours, theirs = build_model(ModelConfig(architecture="transformer", vocab_size=V, width=D, layers=L, heads=H)).to(CARD).eval(), gpt2().eval()
    for batch in (1, 64):
        prompt = torch.randint(8, V, (batch, 16), generator=torch.Generator().manual_seed(0)).to(CARD)
        work = {"ours": lambda: generate_ids(ours, prompt, sampling=Sampling(temperature=0), most=tokens, end=None),
                "theirs": lambda: theirs.generate(prompt, max_new_tokens=tokens, do_sample=False, attention_mask=torch.ones_like(prompt), pad_token_id=0)}
        rates = {name: [batch*tokens/seconds(one, 1) for _ in range(rounds + 1)][1:] for name, one in work.items()}
        row(f"Transformer, {batch} text(s)", "greedy generation", statistics.median(rates["ours"]), unit="tokens/s", peer="GPT2LMHeadModel", peer_value=statistics.median(rates["theirs"]), ratio=statistics.median(x/y for x, y in zip(*rates.values())))


def learning(minutes, row):
    "The loss of the validation part after so long."
    data = load_dataset("tinyshakespeare")
    tokenizer = Tokenizer.train("char", [each["text"] for each in data.parts["train"]], vocab_size=10_000)
    for name, changes in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            last = read_metrics(fit(f"{folder}/run", task="lm", model=name, data=data, tokenizer=tokenizer, scores=6, minutes=minutes, **changes))
            whole = time.time() - began
        best = min(last, key=lambda each: each["dev_loss"])
        row(f"{name}, {minutes:g} minutes", "loss of the validation part", best["dev_loss"], n=best["tokens"], unit="nats", peer="nanoGPT's README, A100, about 3 minutes", peer_value=1.4697)
        row(f"{name}, {minutes:g} minutes", "wall time", whole, unit="s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5); parser.add_argument("--minutes", type=float, default=1)
    a = parser.parse_args()
    def row(name, metric, value, **more): print(append_row(bench=f"Graphics card: {torch.cuda.get_device_name()}", row=name, metric=metric, value=value, **more))
    training(a.rounds, row); generation(a.rounds, row); learning(a.minutes, row)


if __name__ == "__main__": main()
