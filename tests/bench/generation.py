"""Greedy text, tokens per second, beside transformers' generate; the same weights, the same text.

    LMNB_DATA=... OMP_NUM_THREADS=2 python tests/bench/generation.py --peer-python PYTHON-WITH-TRANSFORMERS [--rounds 3] [--minutes 1.5]

6 layers, 384 wide, 6 heads, 8,192 words. A Transformer with SwiGLU is trained on WikiText-2 for a short while, so that there is a text worth comparing and a
validation loss that bf16 and int8 can change. Qwen3ForCausalLM with gains of one is the same function, takes the same weights and must write the same text, in
float32; GPT2LMHeadModel of that shape is there for its speed. Both generate with their own cache. Ours, theirs and the bandwidth take turns; figures are medians over
the rounds, ratios medians of the ratios of a round. Guessing ahead (`draft_ids`) goes on with pieces of the validation part, beside the same model without guesses. The floor is bytes over bandwidth: the weights in float32 and the cache, once for each token.
"""
import argparse, json, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import torch
from common import append_row
from lmnb.bench import bandwidth, fetched
from lmnb.checkpoint import Config, TaskConfig
from lmnb.collect import load_dataset
from lmnb.generate import PRECISIONS, Sampling, draft_ids, generate_ids, packed
from lmnb.models.base import ModelConfig
from lmnb.models.heads import build_model
from lmnb.models.transformer import rms
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run
from safetensors.torch import save_file

V, D, L, H, PROMPT = 8192, 384, 6, 6, 16
COMPILED = ("fp32", "int8")       # what one text is written with
SHAPE = ModelConfig(architecture="transformer", vocab_size=V, width=D, layers=L, heads=H, feed="swiglu")


def trained(minutes, folder):
    "A run on WikiText-2; the output bias stays zero, for the peer has none."
    data = load_dataset("wikitext2")
    tokenizer = Tokenizer.train("bpe", [row["text"] for row in data.parts["train"]], vocab_size=V)
    run = Run(folder, Config(task=TaskConfig(name="lm", length=128), model=SHAPE), tokenizer, data.parts["train"], data.parts["dev"], Recipe(minutes=minutes, batch=16, rate=4e-3, optimizer="muon"))
    run.model.bias.requires_grad_(False)
    while run.progress < 1:
        began = time.perf_counter()
        run.advance()
        run.seconds += time.perf_counter() - began
    return run


@torch.no_grad()
def as_qwen3(model):
    "Our weights under the peer's names. Our embedding is normalised when it is looked up; there it is stored so."
    tensors = {"model.embed_tokens.weight": rms(model.backbone.embedding.weight), "lm_head.weight": model.output.weight}
    for number, block in enumerate(model.backbone.blocks):
        gate, up = block.up.weight.chunk(2)
        names = {"self_attn.q_proj": block.attention.query.weight, "self_attn.k_proj": block.attention.key.weight, "self_attn.v_proj": block.attention.value.weight,
                 "self_attn.o_proj": block.attention.out.weight, "mlp.gate_proj": gate, "mlp.up_proj": up, "mlp.down_proj": block.down.weight}
        tensors |= {f"model.layers.{number}.{name}.weight": weight for name, weight in names.items()}
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def ours(model, batch, tokens):
    "Tokens per second, and the text."
    prompt = torch.randint(8, V, (batch, PROMPT), generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    text = generate_ids(model, prompt, sampling=Sampling(temperature=0), most=tokens, end=None)
    return batch*tokens/(time.perf_counter() - began), text

def guessing(model, stream, tokens, texts=8):
    "Seconds of plain greedy text and of guessed text after `texts` pieces of a stream, and the passes that the guesses needed."
    plain = guessed = passes = 0
    for number in range(texts):
        prompt = stream[number*len(stream)//texts:][None, :64]
        began = time.perf_counter(); text = generate_ids(model, prompt, sampling=Sampling(temperature=0), most=tokens, end=None)[0]
        middle = time.perf_counter(); drafted, needed = draft_ids(model, prompt, most=tokens, end=None)
        plain, guessed, passes = plain + middle - began, guessed + time.perf_counter() - middle, passes + needed
        if model.packed.precision == "fp32": assert drafted == text, "guesses changed the text"
    return plain, guessed, passes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", required=True); parser.add_argument("--rounds", type=int, default=3); parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--tokens", type=int, default=200); parser.add_argument("--write", default="yes", choices=["yes", "no"])
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = trained(a.minutes, folder) if a.minutes else None
        model = (run.model if run else build_model(SHAPE)).eval()
        save_file(as_qwen3(model), f"{folder}/weights.safetensors")
        models, found, texts = {kind: packed(model, kind) for kind in PRECISIONS} | {f"{kind}, compiled": packed(model, kind, compile=True) for kind in COMPILED}, {}, {}
        with subprocess.Popen([a.peer_python, Path(__file__).with_name("gpt2_peer.py"), "generate", f"{folder}/weights.safetensors"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            for number in range(a.rounds + 1):
                tokens = a.tokens if number else 16                # the first round does not count
                for name in ("qwen3", "gpt2"):
                    peer.stdin.write(f"{name} 1 {tokens}\n"); peer.stdin.flush()
                    answer = json.loads(peer.stdout.readline())
                    found.setdefault(name, []).append(answer["rate"]); texts[name] = answer["text"]
                for kind, one in models.items():
                    for batch in (1,) if kind.endswith("compiled") else (1, 32):
                        rate, text = ours(one, batch, tokens)
                        found.setdefault((kind, batch), []).append(rate); texts[kind, batch] = text
                found.setdefault("bandwidth", []).append(bandwidth(seconds=0.5))
                print({str(name): round(rates[-1], 1) for name, rates in found.items()}, file=sys.stderr)
            peer.stdin.close()
        losses = {kind: run.task.score(models[kind], run.dev[:40_000])["loss"] for kind in PRECISIONS} if run else {}
        stream = torch.as_tensor(run.dev[:40_000]) if run else None
        guesses = {kind: guessing(models[kind], stream, a.tokens) for kind in ("fp32", "int8")} if run else {}
    assert texts["fp32", 1] == texts["fp32, compiled", 1] == texts["qwen3"], "the same weights wrote another text"
    middle = {name: statistics.median(rates[1:]) for name, rates in found.items()}
    ratio = lambda one, other: statistics.median(a/b for a, b in zip(found[one][1:], found[other][1:]))
    bench, write = "Generation speed", a.write == "yes"
    for kind in models:
        for name in ("qwen3", "gpt2"):
            append_row(bench=bench, row=f"{kind}, one text, beside {name}", metric="greedy generation", value=middle[kind, 1], low=min(found[kind, 1][1:]), high=max(found[kind, 1][1:]), unit="tokens/s",
                       peer=f"transformers' {name}, float32", peer_value=middle[name], ratio=ratio((kind, 1), name), write=write)
        if (kind, 32) in found: append_row(bench=bench, row=f"{kind}, 32 texts", metric="greedy generation", value=middle[kind, 32], unit="tokens/s", peer="one text", peer_value=middle[kind, 1], ratio=ratio((kind, 32), (kind, 1)), write=write)
        if kind in losses: append_row(bench=bench, row=f"{kind}, one text", metric="validation loss", value=losses[kind], unit="nats", peer="fp32", peer_value=losses["fp32"], write=write)
    for kind, (plain, guessed, passes) in guesses.items():
        append_row(bench=bench, row=f"{kind}, one text, guessing ahead", metric="greedy generation", value=8*a.tokens/guessed, unit="tokens/s", peer="without guesses", peer_value=8*a.tokens/plain, ratio=plain/guessed, write=write)
        append_row(bench=bench, row=f"{kind}, one text, guessing ahead", metric="tokens for each pass", value=8*a.tokens/passes, write=write)
    for kind in ("fp32", "fp32, compiled"):
        share = 100*ratio((kind, 1), "bandwidth")*fetched(model, PROMPT + a.tokens//2)
        append_row(bench=bench, row=f"{kind}, one text", metric="share of the float32 floor", value=share, unit="%", write=write)
    append_row(bench=bench, row="this machine", metric="bandwidth", value=middle["bandwidth"]/1e9, unit="GB/s", write=write)


if __name__ == "__main__": main()
