"""Generation: the text is the same with and without a cache, alone and in company, padded on either side, and a token costs the same wherever it stands."""
import gc
import shutil
import time
from types import SimpleNamespace

import pytest
import torch

from lmnb.batch import pad
from lmnb.core import UsageError
from lmnb.generate import FEW, PRECISIONS, Packed, Sampling, aligned, draft_ids, generate, generate_ids, new_text, packed, stream_ids
from lmnb.models.base import ModelConfig
from lmnb.models.heads import build_model
from lmnb.serve import tokens_per_second
from lmnb.tokenize import EOS, Tokenizer
from test_models import TABLE, ids_of, made, name

TABLE = [row | ({"context": 400} if "context" in row else {}) for row in TABLE]       # texts are longer here
GREEDY = Sampling(temperature=0)
every = pytest.mark.parametrize("row", TABLE, ids=name)
transformers = pytest.mark.parametrize("row", [row for row in TABLE if row["architecture"] == "transformer"], ids=name)


@torch.no_grad()
def slowly(model, ids, most):
    "Greedy text without any state: the whole text is read again for each token."
    for _ in range(most):
        scores = model(ids)[0][:, -1].clone()
        scores[:, :8] = float("-inf")
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], 1)
    return ids[:, -most:].tolist()


def with_room(model, ids, room):
    "The state after a prompt, with room for more."
    logits, state = model(ids)
    return logits, model.backbone.reserve(state, room)


@every
@pytest.mark.parametrize("kind, far", [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["float32", "float64"])
@torch.no_grad()
def test_a_cache_with_room_is_the_full_pass(row, kind, far):
    "Step by step and in pieces, also past the end of the room, in which case it grows. Scores are at most a few units large."
    model, ids = made(row).to(kind), ids_of(3, 24)
    whole = model(ids)[0]
    logits, state = with_room(model, ids[:, :5], 10)
    parts = [logits]
    for piece in ids[:, 5:].split([1, 1, 4, 1, 1, 7, 1, 3], 1):
        logits, state = model(piece, state=state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=far, atol=far)
    assert state.length == 24 and all(t.shape[0] == 3 for t in state.tensors)


@transformers
@torch.no_grad()
def test_a_cache_with_room_is_written_in_place(row):
    model = made(row)
    if model.config.window: pytest.skip("a sliding window stays short by itself")
    _, state = with_room(model, ids_of(2, 6), 4)
    places = [t.data_ptr() for t in state.tensors]
    for room in (3, 2, 1, 0):
        _, state = model(ids_of(2, 1), state=state)
        assert state.room == room and [t.data_ptr() for t in state.tensors] == places


@every
@torch.no_grad()
def test_rows_of_a_state_with_room_can_be_reordered(row):
    model, ids = made(row).double(), ids_of(3, 6)
    _, state = with_room(model, ids, 5)
    index, following = torch.tensor([2, 2, 0]), ids_of(3, 1, seed=4)
    again = state.detach().reorder(index)
    torch.testing.assert_close(model(following, state=again)[0][:, 0], model(torch.cat([ids[index], following], 1))[0][:, -1], rtol=0, atol=1e-10)


@every
def test_the_text_is_the_same_with_and_without_a_cache(row):
    model, prompts = made(row).double(), ids_of(5, 7)
    text = generate_ids(model, prompts, sampling=GREEDY, most=40, end=None)
    assert text == slowly(model, prompts, 40)
    assert len({i for one in text for i in one}) > 4, "one word again and again would hide any mistake"


@pytest.mark.slow
@every
def test_fifty_prompts_of_256_tokens(row):
    model, prompts = made(row).double(), ids_of(50, 9)
    assert generate_ids(model, prompts, sampling=GREEDY, most=256, end=None) == slowly(model, prompts, 256)


@every
@pytest.mark.parametrize("left", [True, False], ids=["left", "right"])
def test_alone_and_in_a_batch_of_32_with_up_to_64_of_padding(row, left):
    "The first scores within 1e-5 in float32; the text identical."
    lengths = [1 + (37*n) % 65 for n in range(32)]
    rows, model = [ids_of(n, seed=n).tolist() for n in lengths], made(row)
    assert max(lengths) - min(lengths) == 64
    ids, mask = pad(rows, left=left)
    with torch.no_grad():
        together = model(ids, mask_BT=mask)[0]
        for number, one in enumerate(rows):
            torch.testing.assert_close(together[number][mask[number]], model(torch.tensor([one]))[0][0], rtol=1e-5, atol=1e-5)
    model = model.double()                  # two scores that agree to six digits would make the choice depend on rounding
    text = generate_ids(model, ids, mask_BT=mask, sampling=GREEDY, most=20, end=None)
    for number in range(0, 32, 5): assert text[number] == generate_ids(model, torch.tensor([rows[number]]), sampling=GREEDY, most=20, end=None)[0]


@every
def test_rows_that_end_leave_the_batch_and_change_nothing(row):
    "Each row ends where it would end alone, and yields -1 from then on."
    model = made(row).double()
    with torch.no_grad(): model.bias[EOS] += 1.0
    ids, mask = pad([ids_of(n, seed=n).tolist() for n in (3, 9, 5, 1, 7, 4, 2, 8)], left=True)
    sizes, options = [], dict(sampling=GREEDY, most=30)
    handle = model.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    columns = torch.stack(list(stream_ids(model, ids, mask_BT=mask, **options)), 1)
    handle.remove()
    ended = (columns < 0).int().argmax(1)
    for number in range(len(ids)):
        alone = generate_ids(model, ids[number:number + 1][mask[number:number + 1]][None], **options)[0]
        assert [i for i in columns[number].tolist() if i >= 0] == alone and (columns[number, len(alone):] < 0).all()
    if 2*int(((ended > 0) & (ended < columns.shape[1] - 1)).sum()) >= len(ids): assert min(sizes) < len(ids), "ended rows were still computed"


def test_ended_rows_are_no_longer_computed():
    "A model whose first choice is <eos> for some rows and never for the others."
    model = build_model(ModelConfig(architecture="gru", vocab_size=40, width=16, init_std=0.5), seed=1).eval()
    first = [int(model(torch.tensor([[i]]))[0][0, -1, 8:].argmax()) for i in range(8, 40)]
    assert len(set(first)) > 1
    stop, sizes = first[0] + 8, []
    model.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    list(stream_ids(model, torch.arange(8, 40)[:, None], sampling=GREEDY, most=20, end=stop))
    assert sizes[0] == 32 and sizes == sorted(sizes, reverse=True) and sizes[-1] <= 16


@every
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_packed_weights(row, precision):
    "fp32 gives the same scores, bf16 and int8 nearly the same; the model itself is not touched."
    model, ids = made(row), ids_of(2, 12)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.enable_grad(): model(ids)                       # what a training step leaves behind does not matter
    scores, other = model(ids)[0], packed(model, precision)(ids)[0]
    far = ((scores - other).norm()/scores.norm()).item()
    assert far < {"fp32": 1e-5, "bf16": 0.03, "int8": 0.05}[precision] and other.dtype == scores.dtype, far
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) and model.training is False


@every
def test_packed_weights_write_the_same_text(row):
    model, prompts = made(row).double(), ids_of(3, 5)
    assert generate_ids(packed(model), prompts, sampling=GREEDY, most=30, end=None) == generate_ids(model, prompts, sampling=GREEDY, most=30, end=None)


def test_int8_multiplies_a_few_rows_as_it_multiplies_many():
    weight, x = torch.randn(32, 64), torch.randn(FEW + 1, 64)
    layer = Packed(weight, torch.ones(32), "int8")
    torch.testing.assert_close(torch.cat([layer(x[:4]), layer(x[4:])]), layer(x), rtol=0.02, atol=0.1)
    assert (layer(x) - (x @ weight.T + 1)).abs().max() < 0.3


def test_padding_goes_to_the_left_and_the_order_stays():
    ids, mask = torch.tensor([[5, 6, 0, 0], [0, 7, 8, 9], [0, 3, 0, 0]]), torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0]]).bool()
    ids, mask = aligned(ids, mask)
    assert ids.tolist() == [[0, 0, 5, 6], [0, 7, 8, 9], [0, 0, 0, 3]] and mask.int().tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_long_text_is_streamed_as_it_would_be_decoded(kind):
    text = "The cat sat on the mat, and 猫坐在垫子上; the dog sat on the log. "*30
    tokenizer = Tokenizer.train(kind, [text], vocab_size=300)
    ids = tokenizer.encode(text)
    assert len(ids) > 200
    columns = [torch.tensor([i]) for i in ids]
    assert "".join(new_text(tokenizer, columns, len(ids))) == tokenizer.decode(ids)


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("tokens", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_recurrent_model_writes_long_texts_at_one_price(architecture, tokens):
    "Neither the tensors alive nor the time per token grow: the last tenth of a text takes less than twice what the second took."
    model = build_model(ModelConfig(architecture=architecture, vocab_size=40, width=16, init_std=0.5), seed=1).eval()
    stream, clock, kept = stream_ids(model, ids_of(1, 3), sampling=GREEDY, most=tokens, end=None), [], []
    for number, _ in enumerate(stream):
        if number % (tokens//10) == 0:
            gc.collect()
            kept.append(sum(o.numel() for o in gc.get_objects() if type(o) is torch.Tensor))
            clock.append(time.process_time())
    steps = [b - a for a, b in zip(clock, clock[1:])]
    assert len(steps) == 9 and steps[-1] < 2*steps[1] and kept[-1] <= kept[1]


@transformers
@torch.no_grad()
def test_a_guess_changes_no_word(row):
    "Prompts of few words, so that guesses are frequent, right and wrong; also at the end of the text, and with an end that is written."
    model = made(row).double()
    if model.config.window:
        with pytest.raises(UsageError): draft_ids(model, ids_of(1, 6))
        return
    assert draft_ids(model, ids_of(1, 6), most=0, end=None)[0] == []
    saved = 0
    for seed, most, end, order in ((1, 2, None, 2), (2, 40, None, 1), (3, 40, None, 2), (4, 40, 9, 1)):
        prompt = ids_of(1, 9, seed=seed) % 5 + 8
        written, passes = draft_ids(model, prompt, most=most, order=order, end=end)
        assert written == generate_ids(model, prompt, sampling=GREEDY, most=most, end=end)[0]
        saved += len(written) - passes
    assert saved > 0, "no guess was ever right"


def test_nothing_but_the_likeliest_is_the_greedy_text():
    model, ids = made(dict(architecture="gru")), ids_of(3, 5)
    assert generate_ids(model, ids, sampling=Sampling(top_p=0.0), most=10, end=None) == generate_ids(model, ids, sampling=GREEDY, most=10, end=None)


@torch.no_grad()
def test_learned_positions_count_tokens_and_not_padding():
    model, (ids, mask) = made(dict(architecture="transformer", positions="learned", context=12)), pad([ids_of(n, seed=n).tolist() for n in (12, 3)], left=True)
    longer, more = torch.cat([ids_of(2, 6), ids], 1), torch.cat([torch.zeros(2, 6, dtype=torch.bool), mask], 1)      # 18 columns, 12 tokens at most
    torch.testing.assert_close(model(longer, mask_BT=more)[0][:, 6:][mask], model(ids, mask_BT=mask)[0][mask])
    with pytest.raises(UsageError, match="position 13 of 12"): model(ids_of(1, 13))
    tokenizer = Tokenizer.train("char", ["a cat sat"])
    assert tokens_per_second(SimpleNamespace(model=model, tokenizer=tokenizer, config=SimpleNamespace(model=model.config))) > 0           # asks for no more than it can write


def test_a_checkpoint_writes_the_same_text_with_guesses():
    tokenizer = Tokenizer.train("char", ["abcdefghijklmnopqrstuvwxy 猫坐在垫子上"])
    model = made(dict(architecture="transformer", layers=2, heads=4)).double()
    checkpoint = SimpleNamespace(tokenizer=tokenizer, model=model, config=SimpleNamespace(task=SimpleNamespace(length=64)))
    for prompt in ("", "a cat", "猫坐在垫子上"):
        plain, guessed = (generate(checkpoint, prompt, sampling=GREEDY, most=60, guess=guess) for guess in (False, True))
        assert plain == guessed and (plain or not prompt)
    with pytest.raises(UsageError, match="greedy"): generate(checkpoint, "a", guess=True)
    with pytest.raises(UsageError, match="guess or compile"): generate(checkpoint, "a", sampling=GREEDY, guess=True, compile=True)


@pytest.mark.parametrize("columns", [1, 8, 12, 16, 17, 40, 48])
@pytest.mark.parametrize("rows", [1, 8, 9])
@torch.no_grad()
def test_bytes_for_weights_of_any_width(rows, columns):
    "torch's kernel reads past the end of a row that is no multiple of 16 long: nonsense, or the end of the process."
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(20, columns, generator=generator), torch.randn(rows, columns, generator=generator)
    torch.testing.assert_close(Packed(weight, None, "int8")(x), x @ weight.T, rtol=0.05, atol=0.05*columns**0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card here")
@every
def test_a_graphics_card_learns_and_writes_what_the_processor_does(row):
    "In float64: loss and gradients, greedy text alone and with padding in a batch; and text from packed weights."
    ids, target, found = ids_of(3, 12), ids_of(3, 12, seed=1), {}
    mask = torch.arange(12) >= torch.tensor([[0], [5], [9]])
    for device in ("cpu", "cuda"):
        model = made(row | {"dropout": 0.0}).double().to(device).train()
        loss, _ = model(ids.to(device), target_BT=target.to(device))
        loss.backward()
        grads = {n: p.grad.cpu().clone() for n, p in model.named_parameters() if p.grad is not None}
        model.eval()
        texts = [generate_ids(model, ids.to(device), mask_BT=m, sampling=GREEDY, most=20, end=None) for m in (None, mask.to(device))]
        light = [generate_ids(packed(model.float(), kind), ids.to(device), sampling=GREEDY, most=5, end=None) for kind in PRECISIONS]
        assert all(len(text) == 5 for one in light for text in one)
        found[device] = loss.detach().cpu(), grads, texts
    far = 1e-6 if "experts" in row else 1e-9                     # a router decides in float32
    for a, b in zip(found["cuda"][:2], found["cpu"]): torch.testing.assert_close(a, b, rtol=far, atol=far)
    assert found["cuda"][2] == found["cpu"][2]


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
@torch.no_grad()
def test_a_compiled_step_writes_the_same_text():
    "Past the end of the first room, after one token, alone and in company, with padding, with guesses; a text that grows is compiled once, and a second model is another."
    usual, other = (made(dict(architecture="transformer", heads=4) | changes) for changes in (dict(layers=2), dict(layers=1, kv_heads=2, qk_norm=True, norm="layer", feed="gelu", positions="learned", context=400)))
    torch._dynamo.reset(); torch._dynamo.utils.counters.clear()
    counted = []
    for model in (usual, other):
        fast = packed(model, compile=True)
        write = lambda one, ids, most, **options: generate_ids(one, ids, sampling=GREEDY, most=most, end=None, **options)
        for batch, length, most in ((1, 9, 300), (1, 1, 40), (3, 9, 40), (2, 4, 40))[:4 if model is usual else 2]:
            prompt = ids_of(batch, length, seed=batch)
            assert write(fast, prompt, most) == write(model, prompt, most)
            counted.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        ids, mask = pad([ids_of(n, seed=n).tolist() for n in (9, 4)], left=True)
        assert write(fast, ids, 20, mask_BT=mask) == write(model, ids, 20, mask_BT=mask)
        assert draft_ids(fast, ids_of(1, 9), most=40, end=None)[0] == write(model, ids_of(1, 9), 40)[0]
    assert counted == [1, 1, 2, 2, 3, 3], "a text that grows was compiled again"


@pytest.mark.parametrize("changes", [dict(architecture="lstm"), dict(architecture="transformer", window=5), dict(architecture="transformer", experts=4)], ids=name)
def test_what_cannot_be_compiled_says_so(changes):
    with pytest.raises(UsageError, match="leave compile out"): packed(made(changes), compile=True)
