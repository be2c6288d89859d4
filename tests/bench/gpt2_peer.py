"""GPT-2's and Qwen3's shapes from transformers; run by its own interpreter: PYTHON gpt2_peer.py train | generate WEIGHTS. One line in, one figure out.

`train` answers each line "BATCH" with tokens per second of GPT2LMHeadModel; `generate` each line "MODEL BATCH TOKENS" with JSON: tokens per second and the text.
"""
import json, sys, time

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
V, D, L, H, T = 8192, 384, 6, 6, 256


def gpt2():
    "The shape, without dropout."
    return GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=T, n_embd=D, n_layer=L, n_head=H, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=None, eos_token_id=None))


def train():
    "Steps of AdamW in float32, as a reader would write them."
    model = gpt2().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for line in sys.stdin:
        ids = torch.randint(8, V, (int(line), T), generator=torch.Generator().manual_seed(0))
        began = time.perf_counter()
        model(ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(); optimizer.zero_grad(set_to_none=True)
        print(ids.numel()/(time.perf_counter() - began), flush=True)


def generate(weights):
    "Greedy text in float32. Qwen3 with gains of one is our Transformer with SwiGLU, so it takes our weights and must write our text."
    from safetensors.torch import load_file
    qwen = Qwen3ForCausalLM(Qwen3Config(vocab_size=V, hidden_size=D, intermediate_size=1024, num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=H, head_dim=D//H,
                                        max_position_embeddings=2*T, rope_theta=10_000.0, rms_norm_eps=1e-12, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None))
    missing, unexpected = qwen.load_state_dict(load_file(weights), strict=False)
    assert not unexpected and all("norm" in name for name in missing), (missing, unexpected)
    models = {"qwen3": qwen.eval(), "gpt2": gpt2().eval()}
    for line in sys.stdin:
        name, batch, tokens = line.split()
        prompt = torch.randint(8, V, (int(batch), 16), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            began = time.perf_counter()
            text = models[name].generate(prompt, max_new_tokens=int(tokens), do_sample=False, suppress_tokens=list(range(8)), attention_mask=torch.ones_like(prompt), pad_token_id=0)[:, 16:]
        print(json.dumps({"rate": text.numel()/(time.perf_counter() - began), "text": text.tolist()}), flush=True)


if __name__ == "__main__": train() if sys.argv[1] == "train" else generate(sys.argv[2])
