"""One table over all architectures: what must hold for every one of them."""
import pytest
import torch
from torch import nn

from lmnb.batch import pad
from lmnb.checkpoint import Config, TaskConfig, load_checkpoint, save_checkpoint
from lmnb.models.base import ModelConfig
from lmnb.models.heads import BACKBONES, build_model
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
    dict(architecture="bag", buckets=512),
]
READS_BOTH_WAYS = [row for row in TABLE if row["architecture"] != "bag"]
name = lambda row: " ".join(f"{k}={v}" for k, v in row.items() if k != "architecture").join((row["architecture"] + " ", "")).strip()
every = pytest.mark.parametrize("row", TABLE, ids=name)
both_ways = pytest.mark.parametrize("row", READS_BOTH_WAYS, ids=name)


def made(row, **more):
    "A small model in evaluation mode, with no branch left at zero."
    model = build_model(ModelConfig(vocab_size=40, width=16, init_std=0.5, **row, **more), seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any(): parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
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
@torch.no_grad()
def test_step_by_step_is_the_full_pass(row):
    model, ids = made(row).double(), ids_of(2, 15)
    whole, state, parts = model(ids)[0], None, []
    for piece in ids.split([1, 1, 4, 1, 8], 1):
        logits, state = model(piece, state=state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("grad", [False, True], ids=["eval", "train"])
def test_padding_changes_nothing(row, left, grad):
    model, rows = made(row).double(), [ids_of(n, seed=n).tolist() for n in (3, 11, 1, 7)]
    ids, mask = pad(rows, left=left)
    with torch.set_grad_enabled(grad):
        together = model(ids, mask_BT=mask)[0]
        for number, one in enumerate(rows):
            torch.testing.assert_close(together[number][mask[number]], model(torch.tensor([one]))[0][0], rtol=0, atol=1e-10)


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
        torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-10)


@both_ways
@torch.no_grad()
def test_padding_changes_no_label_span_or_translation(row):
    rows = [ids_of(n, seed=n).tolist() for n in (4, 11, 6)]
    ids, mask = pad(rows)
    label = made(row, head="label", outputs=3, bidirectional=True, pool="max").double()
    span = made(row, head="span", segments=2, bidirectional=True).double()
    rewrite = made(row, head="seq2seq").double()
    segment = (torch.arange(11) >= 2).long().expand(3, -1)*mask
    target = ids_of(3, 5, seed=5)
    results = label(ids, mask_BT=mask), span(ids, mask_BT=mask, segment_BT=segment), rewrite(ids, target, source_mask_BS=mask)
    for number, one in enumerate(rows):
        alone, all_of_it = torch.tensor([one]), torch.ones(1, len(one), dtype=torch.bool)
        torch.testing.assert_close(results[0][number], label(alone)[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(results[1][number, :len(one)], span(alone, mask_BT=all_of_it, segment_BT=segment[number:number + 1, :len(one)])[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(results[2][number], rewrite(alone, target[number:number + 1])[0], rtol=0, atol=1e-10)


@every
@torch.no_grad()
def test_rows_of_a_state_can_be_reordered(row):
    model, ids = made(row).double(), ids_of(3, 6)
    _, state = model(ids)
    index, following = torch.tensor([2, 2, 0]), ids_of(3, 1, seed=4)
    torch.testing.assert_close(model(following, state=state.reorder(index))[0][:, 0], model(torch.cat([ids[index], following], 1))[0][:, -1], rtol=0, atol=1e-10)


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
