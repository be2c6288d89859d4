"""One table over all architectures: what must hold for every one of them."""
import numpy as np
import pytest
import torch
from torch import nn

from lmnb.batch import pad
from lmnb.checkpoint import Config, TaskConfig, load_checkpoint, save_checkpoint
from lmnb.core import UsageError
from lmnb.models.base import LockedDropout, ModelConfig
from lmnb.models.heads import BACKBONES, build_backbone, build_model
from lmnb.models.lstm import Scan, gru_cell, lstm_cell, scan_doubling, scan_steps
from lmnb.models.rnn import MemoryAttention, rnn_cell, unroll, weights_of
from lmnb.models.transformer import balance
from lmnb.tokenize import Tokenizer

TABLE = [
    dict(architecture="rnn"), dict(architecture="rnn", sigma="sigmoid"), dict(architecture="rnn", sigma="relu"), dict(architecture="rnn", layers=2),
    dict(architecture="gru"), dict(architecture="gru", layers=2),
    dict(architecture="lstm"), dict(architecture="lstm", layers=2), dict(architecture="lstm", embedding_width=12),
    dict(architecture="transformer", layers=2, heads=2), dict(architecture="transformer", layers=1, heads=1, embedding_width=12),
    *(dict(architecture="transformer", layers=2, heads=4) | choice for choice in (
        dict(positions="learned", context=40), dict(positions="sinusoidal"), dict(norm="layer"), dict(norm_place="post"), dict(feed="gelu"), dict(feed="swiglu"),
        dict(kv_heads=2), dict(kv_heads=1), dict(qk_norm=False), dict(window=4), dict(experts=4), dict(experts=3, active=1),
        dict(positions="learned", context=40, norm="layer", norm_place="post", feed="gelu", qk_norm=False),      # the Transformer of 2017, but for its place in time
        dict(kv_heads=2, window=4, feed="swiglu", experts=4))),                                                  # Mixtral's
    dict(architecture="mingru", layers=2), dict(architecture="mingru", layers=1, embedding_width=12),
    dict(architecture="lstm", layers=2, locked_dropout=True, dropout=0.3), dict(architecture="gru", attention="additive"),
    dict(architecture="bag", buckets=512),
]
READS_BOTH_WAYS = [row for row in TABLE if row["architecture"] != "bag"]
name = lambda row: " ".join(f"{k}={v}" for k, v in row.items() if k != "architecture").join((row["architecture"] + " ", "")).strip()
every = pytest.mark.parametrize("row", TABLE, ids=name)
both_ways = pytest.mark.parametrize("row", READS_BOTH_WAYS, ids=name)


def made(row, **more):
    "A small model in evaluation mode, with no branch left at zero, and an output that listens to what was read rather than to its bias."
    model = build_model(ModelConfig(vocab_size=40, width=16, init_std=0.5, **row, **more), seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "output.weight":
                parameter.normal_(generator=generator)
                parameter.sub_(parameter.mean(1, keepdim=True))            # what all of a sigmoid's outputs have in common says nothing
            elif not parameter.any(): parameter.normal_(std=0.2 if parameter.dim() > 1 else 0.02, generator=generator)
    return model


def ids_of(*shape, seed=0): return torch.randint(8, 40, shape, generator=torch.Generator().manual_seed(seed))


@every
def test_shapes(row):
    logits, state = made(row)(ids_of(3, 7))
    assert logits.shape == (3, 7, 40) and state.length == 7
    assert all(t.shape[0] == 3 for t in state.tensors), "the first axis of every state is the batch"
    assert made(row, head="label", outputs=4)(ids_of(3, 7)).shape == (3, 4)


@every
@torch.no_grad()
def test_no_look_ahead(row):
    "Changing token t leaves every earlier logit bitwise equal, and changes the logit at t."
    model, ids = made(row), ids_of(2, 12)
    before = model(ids)[0]
    for t in (1, 6, 11):
        changed = ids.clone(); changed[:, t] = (ids[:, t] - 8 + 1) % 32 + 8
        after = model(changed)[0]
        assert torch.equal(before[:, :t], after[:, :t])
        assert not torch.equal(before[:, t], after[:, t])


@every
@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["float32", "float64"])
@torch.no_grad()
def test_step_by_step_is_the_full_pass(row, dtype, most):
    model, ids = made(row).to(dtype), ids_of(2, 15)
    whole, state, parts = model(ids)[0], None, []
    for piece in ids.split([1, 1, 4, 1, 8], 1):
        logits, state = model(piece, state=state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=most)


@every
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("grad", [False, True], ids=["eval", "train"])
def test_padding_changes_nothing(row, left, grad):
    model, rows = made(row).double(), [ids_of(n, seed=n).tolist() for n in (3, 11, 1, 7)]
    ids, mask = pad(rows, left=left)
    with torch.set_grad_enabled(grad):
        together = model(ids, mask_BT=mask)[0]
        for number, one in enumerate(rows):
            torch.testing.assert_close(together[number][mask[number]], model(torch.tensor([one]))[0][0], rtol=0, atol=1e-12)


@every
@torch.no_grad()
def test_the_state_after_padding_on_the_left_goes_on(row):
    "What generation needs: prompts of different lengths, then a common next step."
    model, rows = made(row).double(), [ids_of(n, seed=n).tolist() for n in (3, 9, 5)]
    ids, mask = pad(rows, left=True)
    _, state = model(ids, mask_BT=mask)
    following = ids_of(3, 1, seed=99)
    together = model(following, state=state, mask_BT=torch.ones_like(following, dtype=torch.bool))[0]
    for number, one in enumerate(rows):
        alone = model(torch.tensor([one + following[number].tolist()]))[0][:, -1]
        torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-12)


@both_ways
@torch.no_grad()
def test_padding_changes_no_label_span_or_translation(row):
    rows = [ids_of(n, seed=n).tolist() for n in (4, 11, 6)]
    ids, mask = pad(rows)
    label = made(row, head="label", outputs=3, bidirectional=True, pool="max").double()
    span = made(row, head="span", segments=2, bidirectional=True).double()
    rewrite, (left, left_mask) = made(row, head="seq2seq").double(), pad(rows, left=True)
    segment = (torch.arange(11) >= 2).long().expand(3, -1)*mask
    target = ids_of(3, 5, seed=5)
    results = label(ids, mask_BT=mask), span(ids, mask_BT=mask, segment_BT=segment), rewrite(ids, target, source_mask_BS=mask)
    torch.testing.assert_close(rewrite(left, target, source_mask_BS=left_mask), results[2], rtol=0, atol=1e-12)
    for number, one in enumerate(rows):
        alone, all_of_it = torch.tensor([one]), torch.ones(1, len(one), dtype=torch.bool)
        torch.testing.assert_close(results[0][number], label(alone)[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(results[1][number, :len(one)], span(alone, mask_BT=all_of_it, segment_BT=segment[number:number + 1, :len(one)])[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(results[2][number], rewrite(alone, target[number:number + 1])[0], rtol=0, atol=1e-12)


@every
@torch.no_grad()
def test_rows_of_a_state_can_be_reordered(row):
    model, ids = made(row).double(), ids_of(3, 6)
    _, state = model(ids)
    index, following = torch.tensor([2, 2, 0]), ids_of(3, 1, seed=4)
    torch.testing.assert_close(model(following, state=state.reorder(index))[0][:, 0], model(torch.cat([ids[index], following], 1))[0][:, -1], rtol=0, atol=1e-12)


@every
def test_one_batch_can_be_learned_by_heart(row):
    "A sequence without repeated tokens, so that a bag can do it too."
    model = build_model(ModelConfig(vocab_size=40, width=32, **row), seed=0).train()
    ids = torch.stack([torch.randperm(32, generator=torch.Generator().manual_seed(s))[:9] + 8 for s in range(4)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        logits, _ = model(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(model.parameters(), 1.0); optimizer.step()
        if loss < 0.1: return
    # the first token alone does not say which of four sequences follows where two begin alike
    assert loss < 0.1, loss.item()


@every
def test_saved_and_loaded_it_is_the_same(row, tmp_path):
    tokenizer = Tokenizer.train("char", ["abcdefghijklmnopqrstuvwxyz 猫坐在垫子上"])
    config = Config(task=TaskConfig(name="lm"), model=ModelConfig(vocab_size=tokenizer.vocab_size, width=16, **row))
    model = build_model(config.model, seed=3).eval()
    save_checkpoint(tmp_path/"c", model, tokenizer, config)
    again = load_checkpoint(tmp_path/"c")
    ids = torch.tensor([tokenizer.encode("the cat 猫")])
    with torch.no_grad(): assert torch.equal(again.model(ids)[0], model(ids)[0])
    assert again.config == config and again.tokenizer.encode("the 猫") == tokenizer.encode("the 猫")


@both_ways
def test_tied_weights_survive_saving(row, tmp_path):
    tokenizer = Tokenizer.train("char", ["abcdefghijklmnopqrstuvwxyz"])
    config = Config(task=TaskConfig(name="translate"), model=ModelConfig(vocab_size=tokenizer.vocab_size, width=16, head="seq2seq", tie=True, **row))
    model = build_model(config.model, seed=3).eval()
    save_checkpoint(tmp_path/"c", model, tokenizer, config)
    again = load_checkpoint(tmp_path/"c").model
    assert again.encoder.embedding.weight is again.decoder.backbone.embedding.weight
    with torch.no_grad(): assert torch.equal(again(torch.tensor([[9, 10]]), torch.tensor([[2, 11]])), model(torch.tensor([[9, 10]]), torch.tensor([[2, 11]])))


def test_the_seed_decides_the_weights_and_nothing_else():
    config = ModelConfig(architecture="gru", vocab_size=40, width=16)
    torch.manual_seed(5); before = torch.rand(1)
    torch.manual_seed(5); first = build_model(config, seed=1); after = torch.rand(1)
    assert torch.equal(before, after)
    same, other = build_model(config, seed=1), build_model(config, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters()))
    assert not torch.equal(first.backbone.embedding.weight, other.backbone.embedding.weight)


def test_every_backbone_stands_in_the_table():
    assert {row["architecture"] for row in TABLE} == set(BACKBONES)


# -- the formulas, beside torch and beside NumPy ----------------------------------------------------------------------

def sigmoid(z): return 1/(1 + np.exp(-z))


def numpy_rnn(sigma):
    def step(x, h, c, p): return sigma(p["weight_ih_l0"] @ x + p["bias_ih_l0"] + p["weight_hh_l0"] @ h + p["bias_hh_l0"]), c
    return step


def numpy_lstm(x, h, c, p):
    D = len(h)
    z = p["weight_ih_l0"] @ x + p["bias_ih_l0"] + p["weight_hh_l0"] @ h + p["bias_hh_l0"]
    c = sigmoid(z[D:2*D])*c + sigmoid(z[:D])*np.tanh(z[2*D:3*D])
    return sigmoid(z[3*D:])*np.tanh(c), c


def numpy_gru(x, h, c, p):
    D = len(h)
    i, o = p["weight_ih_l0"] @ x + p["bias_ih_l0"], p["weight_hh_l0"] @ h + p["bias_hh_l0"]
    r, z = sigmoid(i[:D] + o[:D]), sigmoid(i[D:2*D] + o[D:2*D])
    return (1 - z)*np.tanh(i[2*D:] + r*o[2*D:]) + z*h, c


CELLS = [
    ("rnn", "tanh", rnn_cell, numpy_rnn(np.tanh)), ("rnn", "relu", lambda x, s, w: rnn_cell(x, s, w, sigma=torch.relu), numpy_rnn(lambda z: np.maximum(z, 0))),
    ("rnn", "sigmoid", lambda x, s, w: rnn_cell(x, s, w, sigma=torch.sigmoid), numpy_rnn(sigmoid)), ("lstm", "tanh", lstm_cell, numpy_lstm), ("gru", "tanh", gru_cell, numpy_gru)]
each_cell = pytest.mark.parametrize("architecture, sigma, cell, in_numpy", CELLS, ids=[f"{a} {s}" for a, s, *_ in CELLS])


def one_layer(architecture, sigma):
    "A backbone of one layer with random biases, its kernel, an input and a start."
    torch.manual_seed(3)
    backbone = build_backbone(ModelConfig(architecture=architecture, sigma=sigma, vocab_size=9, width=6)).double()
    kernel = backbone.layers[0][0]
    for bias in (kernel.bias_ih_l0, kernel.bias_hh_l0): nn.init.normal_(bias)
    return backbone, kernel, torch.randn(3, 20, 6, dtype=torch.float64, requires_grad=True), [torch.randn(3, 6, dtype=torch.float64) for _ in range(backbone.parts)]


@each_cell
def test_loop_fused_kernel_and_numpy_agree(architecture, sigma, cell, in_numpy):
    backbone, kernel, x, start = one_layer(architecture, sigma)
    slow, last = unroll(cell, x, tuple(start), weights_of(kernel))
    fast, left = backbone.run(kernel, x, tuple(start))
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    for a, b in zip(last, left): torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    p, found = {name: w.detach().numpy() for name, w in kernel.named_parameters()}, []
    for row in range(3):
        h, c = start[0][row].numpy(), start[-1][row].numpy()
        for t in range(20):
            h, c = in_numpy(x[row, t].detach().numpy(), h, c, p)
            found.append(h)
    np.testing.assert_allclose(slow.detach().numpy().reshape(60, 6), np.stack(found), rtol=0, atol=1e-10)


@each_cell
def test_gradients_are_right(architecture, sigma, cell, in_numpy):
    "Of the formula against differences of its values; of the fused kernel against the formula."
    backbone, kernel, x, start = one_layer(architecture, sigma)
    weight = {name: w.detach().requires_grad_() for name, w in weights_of(kernel).items()}
    names, given = list(weight), [x.detach()[:, 0].requires_grad_(), *(s.clone().requires_grad_() for s in start)]
    assert torch.autograd.gradcheck(lambda x, *rest: cell(x, rest[:len(start)], dict(zip(names, rest[len(start):]))), [*given, *weight.values()])
    slow = torch.autograd.grad(unroll(cell, x, tuple(start), weights_of(kernel))[0].sin().sum(), [x, *kernel.parameters()])
    fast = torch.autograd.grad(backbone.run(kernel, x, tuple(start))[0].sin().sum(), [x, *kernel.parameters()])
    for a, b in zip(slow, fast): torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("architecture, kernel", [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
@torch.no_grad()
def test_stacked_and_both_ways_it_is_torch_nn(architecture, kernel):
    backbone = build_backbone(ModelConfig(architecture=architecture, vocab_size=40, width=8, layers=2, bidirectional=True)).double().eval()
    whole = kernel(8, 4, num_layers=2, bidirectional=True, batch_first=True).double()
    for number, layer in enumerate(backbone.layers):
        for side, part in zip(("", "_reverse"), layer):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"): getattr(whole, f"{name}_l{number}{side}").copy_(getattr(part, f"{name}_l0"))
    ids = ids_of(3, 11)
    torch.testing.assert_close(backbone(ids)[0], whole(backbone.embedding(ids))[0], rtol=0, atol=1e-10)


def test_recurrent_weights_start_orthogonal_and_forget_gates_open():
    kernel = build_backbone(ModelConfig(architecture="lstm", vocab_size=9, width=8)).layers[0][0]
    for block in kernel.weight_hh_l0.chunk(4): torch.testing.assert_close(block @ block.T, torch.eye(8), rtol=0, atol=1e-5)
    assert (kernel.bias_ih_l0 + kernel.bias_hh_l0).tolist() == [0]*8 + [1]*8 + [0]*16


@pytest.mark.parametrize("scan", [scan_steps, scan_doubling])
def test_scans_are_the_recurrence(scan):
    torch.manual_seed(0)
    for T in (1, 2, 7, 33):
        a, b, h = torch.rand(2, T, 3, dtype=torch.float64), torch.randn(2, T, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
        slow = [h]
        for t in range(T): slow.append(a[:, t]*slow[-1] + b[:, t])
        torch.testing.assert_close(scan(a, b, h), torch.stack(slow[1:], 1), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(Scan.apply, [*(x[:, :5].clone().requires_grad_() for x in (a, b)), h.requires_grad_(), scan])


def test_locked_dropout_drops_the_same_at_every_step():
    torch.manual_seed(0)
    model = build_backbone(ModelConfig(architecture="lstm", vocab_size=40, width=64, dropout=0.5, locked_dropout=True)).train()
    assert isinstance(model.dropout, LockedDropout)
    dropped = model(ids_of(4, 9))[0] == 0
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped)) and 0.3 < dropped[:, 0].float().mean() < 0.7 and not torch.equal(dropped[0], dropped[1])


@pytest.mark.parametrize("kind", ["dot", "additive"])
@torch.no_grad()
def test_attention_to_a_memory_is_its_formula(kind):
    torch.manual_seed(0)
    look, h, memory = MemoryAttention(4, kind).double(), torch.randn(2, 3, 4).double(), torch.randn(2, 5, 4).double()
    q, m = look.query.weight.numpy() @ h[1, 2].numpy(), memory[1].numpy()
    score = m @ q/2 if kind == "dot" else np.tanh(q + m @ look.key.weight.numpy().T + look.key.bias.numpy()) @ look.energy.weight.numpy()[0]
    np.testing.assert_allclose(look.weights(h, memory)[1, 2].numpy(), np.exp(score)/np.exp(score).sum(), rtol=0, atol=1e-12)


# -- the Transformer's choices ----------------------------------------------------------------------------------------

def transformer(**fields): return ModelConfig(architecture="transformer", vocab_size=40, width=16, heads=4, layers=2, **fields)


def test_an_older_file_keeps_its_meaning():
    "What format 1 wrote before there were choices: the same fields build the same tensors."
    old = {"architecture": "transformer", "vocab_size": 40, "width": 16, "layers": 1, "embedding_width": None, "dropout": 0.0, "bidirectional": False, "memory": False,
           "segments": 0, "sigma": "tanh", "heads": 2, "hidden": 4, "buckets": 65536, "head": "next", "outputs": 1, "pool": "last", "tie": False, "init_std": 0.02}
    names = {f"backbone.blocks.0.{name}.weight" for name in ("attention.query", "attention.key", "attention.value", "attention.out", "up", "down")}
    assert set(build_model(ModelConfig(**old)).state_dict()) == names | {"bias", "backbone.embedding.weight", "output.weight"}


def test_a_choice_that_cannot_be_is_refused():
    for wrong in (dict(kv_heads=3), dict(experts=2, active=3)):
        with pytest.raises(UsageError, match="give"): build_model(transformer(**wrong))
    with pytest.raises(UsageError, match="position 9 of 8"): build_model(transformer(positions="learned", context=8))(ids_of(1, 9))


@torch.no_grad()
def test_fewer_heads_of_keys_and_a_window_make_the_cache_small():
    size = lambda **choice: build_model(transformer(**choice))(ids_of(1, 30))[1].tensors[0].numel()
    assert size() == 30*16 and size(kv_heads=1) == 30*4 and size(window=8) == 7*16
    model = made(dict(architecture="transformer", layers=2, heads=4, window=4))
    ids = ids_of(1, 20)
    far, near = ids.clone(), ids.clone()
    far[0, 12], near[0, 13] = (ids[0, 12] - 7) % 32 + 8, (ids[0, 13] - 7) % 32 + 8          # two blocks of window 4 reach back six positions
    assert torch.equal(model(far)[0][0, 19], model(ids)[0][0, 19]) and not torch.equal(model(near)[0][0, 19], model(ids)[0][0, 19])


def test_the_load_balance_term_reaches_the_router():
    model = build_model(transformer(experts=4))
    model(ids_of(2, 9))
    term = balance(model)
    assert 0.9 < term < 4
    term.backward()
    assert model.backbone.blocks[0].experts.route.weight.grad.any() and balance(build_model(transformer())) == 0
