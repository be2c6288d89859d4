"""Language models on tinyshakespeare, by character, beside nanoGPT's published CPU recipe in the same run.

    LMNB_DATA=... python tests/bench/tinyshakespeare.py [--seed 0] [--models transformer,lstm,gru,rnn]

The clock is the whole process of the recipe (4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000 steps of AdamW at 1e-3 with cosine decay, no
dropout; nanoGPT's README says 1.88 nats), rebuilt below in plain torch and timed alone. Each of our models then gets the same wall time for its whole
process, imports and the final score over the whole validation part included; the Transformer also gets a quarter of it. One process runs at a time.
"""
import argparse, json, math, subprocess, sys, tempfile, time

BEGAN = time.time()


def recipe():
    "nanoGPT's CPU recipe in plain torch; prints its loss over the whole validation part."
    import torch
    from torch import nn
    from torch.nn import functional as F
    from lmnb.collect import load_dataset
    parts = load_dataset("tinyshakespeare").parts
    train, dev = (parts[name][0]["text"] for name in ("train", "dev"))
    number = {c: i for i, c in enumerate(sorted(set(train)))}
    train, dev = (torch.tensor([number[c] for c in text]) for text in (train, dev))
    torch.manual_seed(1337)
    V, L, H, D, T, B, STEPS = len(number), 4, 4, 128, 64, 12, 2000

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(D, bias=False), nn.LayerNorm(D, bias=False)
            self.qkv, self.out = nn.Linear(D, 3*D, bias=False), nn.Linear(D, D, bias=False)
            self.up, self.down = nn.Linear(D, 4*D, bias=False), nn.Linear(4*D, D, bias=False)

        def forward(self, x):
            q, k, v = (z.unflatten(-1, (H, -1)).transpose(1, 2) for z in self.qkv(self.n1(x)).split(D, -1))
            x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.n2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(V, D), nn.Embedding(T, D)
            self.blocks, self.norm, self.head = nn.Sequential(*(Block() for _ in range(L))), nn.LayerNorm(D, bias=False), nn.Linear(D, V, bias=False)
            self.head.weight = self.token.weight
            for name, p in self.named_parameters():
                if p.dim() == 2: nn.init.normal_(p, std=0.02/math.sqrt(2*L) if name.endswith(("out.weight", "down.weight")) else 0.02)

        def forward(self, ids): return self.head(self.norm(self.blocks(self.token(ids) + self.place.weight[:ids.shape[1]])))

    model = GPT()
    groups = [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1}, {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    for step in range(STEPS):
        rate = 1e-3*(step + 1)/100 if step < 100 else 1e-4 + 0.5*(1 + math.cos(math.pi*(step - 100)/(STEPS - 100)))*9e-4
        for group in optimizer.param_groups: group["lr"] = rate
        start = torch.randint(len(train) - T, (B,))
        x, y = (torch.stack([train[i + k:i + k + T] for i in start]) for k in (0, 1))
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True); loss.backward(); nn.utils.clip_grad_norm_(model.parameters(), 1.0); optimizer.step()
    return windowed(lambda ids: model.eval()(ids), dev, T)


def windowed(logits_of, dev, T):
    "Mean loss over the whole validation part in windows of T, every character but the first once."
    import torch
    from torch.nn.functional import cross_entropy
    from lmnb.batch import score_windows
    total = count = 0
    with torch.no_grad():
        for ids, target in score_windows(dev, length=T):
            total += cross_entropy(logits_of(ids).flatten(0, 1).float(), target.flatten(), reduction="sum").item()
            count += target.numel()
    assert count == len(dev) - 1
    return total/count


CHANGES = {   # what differs from the recipes of `lmnb train`
    "transformer": dict(length=64, batch=32), "lstm": dict(length=64, batch=32, rate=0.01, decay=0.8, carry=True),
    "gru": dict(length=64, batch=32, rate=4e-3, carry=True), "rnn": dict(length=64, batch=32, rate=2e-3, carry=True),
}


def ours(name, seconds, seed):
    "One of our models in `seconds` of whole process; prints its losses."
    import torch
    from lmnb.checkpoint import load_checkpoint, pointed
    from lmnb.collect import load_dataset
    from lmnb.train import fit, read_metrics
    data = load_dataset("tinyshakespeare")
    with tempfile.TemporaryDirectory() as folder:
        reserve = 6 if seconds > 40 else 4.8                 # saving, and the score over the validation part
        run = fit(f"{folder}/run", task="lm", model=name, data=data, tokenizer_kind="char", seed=seed, scores=1, minutes=(seconds - (time.time() - BEGAN) - reserve)/60, **CHANGES[name])
        last = read_metrics(run)[-1]
        whole = time.time() - BEGAN
        found = {"loss": last["dev_loss"], "steps": last["step"], "tokens": last["tokens"], "seconds": whole}
        if CHANGES[name].get("carry"):
            checkpoint = load_checkpoint(pointed(run, "last"))
            stream = torch.tensor(checkpoint.tokenizer.encode(data.parts["dev"][0]["text"]))
            found["windows_256"] = windowed(lambda ids: checkpoint.model(ids)[0], stream, 256)
        return found


def child(*arguments):
    "Run this file again as a process of its own: (what it found, whole wall time)."
    began = time.time()
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), time.time() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0); parser.add_argument("--models", default="transformer,lstm,gru,rnn")
    parser.add_argument("--one"); parser.add_argument("--seconds", type=float)
    a = parser.parse_args()
    if a.one: return print(json.dumps({"loss": recipe()} if a.one == "recipe" else ours(a.one, a.seconds, a.seed)))
    from common import append_row
    found, clock = child("--one", "recipe")
    row = lambda name, metric, value, **more: append_row(bench="tinyshakespeare", row=name, metric=metric, value=value, n=111_539, seed=a.seed, **more)
    row("nanoGPT's CPU recipe", "loss", found["loss"], unit="nats"); row("nanoGPT's CPU recipe", "wall time", clock, unit="s")
    plan = [(name, 1.0) for name in a.models.split(",")]
    if "transformer" in a.models: plan.insert(0, ("transformer", 0.25))
    for name, share in plan:
        ours_, wall = child("--one", name, "--seconds", clock*share, "--seed", a.seed)
        label = name if share == 1 else f"{name}, a quarter of the time"
        row(label, "loss", ours_["loss"], unit="nats", peer="nanoGPT's CPU recipe", peer_value=found["loss"])
        row(label, "wall time", wall, unit="s", peer="nanoGPT's CPU recipe", peer_value=clock, ratio=wall/clock)
        if "windows_256" in ours_: row(label, "loss in windows of 256", ours_["windows_256"], unit="nats")


if __name__ == "__main__": main()
