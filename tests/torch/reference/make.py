#!/usr/bin/env python3
"""Writes the reference files of this folder with Hugging Face transformers (pip install transformers torch).

Each file has a tiny checkpoint's configuration, the names and shapes of its tensors, a prompt, and what transformers
computes for it in f32. The weights are not stored: both sides make them from the tensor's name (see weights.py), so the
files stay small and nothing is fetched.

    make.py [NAME…]
"""
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

from weights import weight

FOLDER = pathlib.Path(__file__).parent
VOCABULARY = 64
PROMPT = [3, 17, 42, 5, 9, 60, 33, 8, 21, 2, 55, 14, 30, 47, 11, 26]

COMMON = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
              max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=1)
GROUPED = dict(COMMON, num_key_value_heads=2)
EXPERTS = dict(GROUPED, head_dim=16)


def rope(kind, **values):
    return dict(rope_type=kind, rope_theta=10000.0, **values)


CASES = {
    "llama-dynamic": ("LlamaConfig", dict(GROUPED, max_position_embeddings=10, rope_parameters=rope("dynamic", factor=4.0))),
    "llama-linear": ("LlamaConfig", dict(GROUPED, mlp_bias=True, rope_parameters=rope("linear", factor=4.0))),
    "llama-yarn": ("LlamaConfig", dict(GROUPED, rope_parameters=rope("yarn", factor=8.0, original_max_position_embeddings=16))),
    "llama3": ("LlamaConfig", dict(GROUPED, head_dim=16, attention_bias=True, tie_word_embeddings=True, rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))),
    "mixtral": ("MixtralConfig", dict(GROUPED, num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "qwen2": ("Qwen2Config", dict(GROUPED, use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen2-moe": ("Qwen2MoeConfig", dict(GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, shared_expert_intermediate_size=56, norm_topk_prob=False, mlp_only_layers=[1])),
    "qwen3-moe": ("Qwen3MoeConfig", dict(EXPERTS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, norm_topk_prob=True, decoder_sparse_step=2)),
    "gemma": ("GemmaConfig", dict(GROUPED, head_dim=16)),
    "gemma2": ("Gemma2Config", dict(GROUPED, head_dim=16, sliding_window=6, query_pre_attn_scalar=24)),
    "gemma3": ("Gemma3TextConfig", dict(GROUPED, head_dim=16, sliding_window=6, sliding_window_pattern=2, num_hidden_layers=4, query_pre_attn_scalar=24)),
    "phi": ("PhiConfig", dict(GROUPED, partial_rotary_factor=0.5)),
    "phi3-longrope": ("Phi3Config", dict(GROUPED, original_max_position_embeddings=12, sliding_window=9,
                                          rope_parameters=rope("longrope", original_max_position_embeddings=12, short_factor=[1.0, 1.1, 1.3, 1.5, 1.7, 2.0], long_factor=[1.0, 1.5, 2.0, 3.0, 4.0, 6.0]))),
    "gpt2": ("GPT2Config", dict(vocab_size=VOCABULARY, n_embd=48, n_layer=3, n_head=4, n_positions=128, n_inner=100, bos_token_id=0, eos_token_id=1)),
    "gpt-neox": ("GPTNeoXConfig", dict(COMMON, use_parallel_residual=False, hidden_size=64)),
    "stablelm": ("StableLmConfig", dict(GROUPED, hidden_size=64, use_qkv_bias=True)),
    "stablelm-parallel": ("StableLmConfig", dict(GROUPED, hidden_size=64, use_parallel_residual=True, qk_layernorm=True)),
    "starcoder2": ("Starcoder2Config", dict(GROUPED, sliding_window=6)),
    "olmo": ("OlmoConfig", dict(GROUPED, clip_qkv=0.75)),
    "olmo2": ("Olmo2Config", dict(GROUPED)),
    "olmo3": ("Olmo3Config", dict(GROUPED, num_hidden_layers=4, sliding_window=6,
                                  rope_parameters={"full_attention": rope("yarn", factor=8.0, original_max_position_embeddings=16), "sliding_attention": rope("default")})),
    "olmoe": ("OlmoeConfig", dict(GROUPED, num_experts=4, num_experts_per_tok=2, clip_qkv=0.75)),
    "smollm3": ("SmolLM3Config", dict(GROUPED, no_rope_layer_interval=2)),
    "granite": ("GraniteConfig", dict(GROUPED, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.6, logits_scaling=2.5)),
    "falcon": ("FalconConfig", dict(COMMON, new_decoder_architecture=True, num_kv_heads=2, ffn_hidden_size=80)),
    "falcon-multi-query": ("FalconConfig", dict(COMMON, new_decoder_architecture=False, multi_query=True, parallel_attn=True, bias=False)),
    "gpt-oss": ("GptOssConfig", dict(EXPERTS, num_local_experts=4, num_experts_per_tok=2, sliding_window=6,
                                       rope_parameters=rope("yarn", factor=8.0, original_max_position_embeddings=16, beta_fast=32.0, beta_slow=1.0, truncate=False))),
}

# The same families without what a GGUF of them cannot say, so that its reader can be held against them too.
CASES |= {
    "gemma2-plain": ("Gemma2Config", dict(GROUPED, head_dim=16, sliding_window=6, query_pre_attn_scalar=16)),
    "gemma3-plain": ("Gemma3TextConfig", dict(GROUPED, head_dim=16, sliding_window=6, sliding_window_pattern=6, num_hidden_layers=7, query_pre_attn_scalar=16,
                                              rope_parameters={"full_attention": dict(rope("linear", factor=8.0), rope_theta=1e6), "sliding_attention": rope("default")})),
    "olmoe-plain": ("OlmoeConfig", dict(COMMON, num_experts=4, num_experts_per_tok=2)),
    "qwen2-plain": ("Qwen2Config", dict(GROUPED, tie_word_embeddings=True)),
    "qwen3-plain": ("Qwen3Config", dict(GROUPED, head_dim=16)),
    "smollm3-plain": ("SmolLM3Config", dict(GROUPED, num_hidden_layers=5)),
    "starcoder2-plain": ("Starcoder2Config", dict(GROUPED, sliding_window=None)),
}

# Masked diffusion: transformers' net of the same blocks with every token in sight of every other, under the checkpoint's
# own settings and tensor names.
DIFFUSION = {
    "diffusion/dream": ("Qwen2Config", dict(GROUPED), dict(architectures=["DreamModel"], model_type="Dream", mask_token_id=5), {}),
    "diffusion/llada": ("LlamaConfig", dict(COMMON, rms_norm_eps=1e-5, rope_parameters=rope("default")),
                        dict(architectures=["LLaDAModelLM"], model_type="llada", activation_type="silu", alibi=False, block_type="llama", d_model=48, mlp_hidden_size=80,
                             n_layers=3, n_heads=4, n_kv_heads=4, max_sequence_length=128, vocab_size=VOCABULARY, embedding_size=VOCABULARY, rms_norm_eps=1e-5,
                             rope=True, rope_theta=10000.0, weight_tying=False, mask_token_id=5, eos_token_id=1, pad_token_id=1),
                        {"model.embed_tokens.": "model.transformer.wte.", "model.norm.": "model.transformer.ln_f.", "lm_head.": "model.transformer.ff_out.",
                         "model.layers.": "model.transformer.blocks.", "input_layernorm": "attn_norm", "post_attention_layernorm": "ff_norm", "self_attn.o_proj": "attn_out",
                         "self_attn.": "", "mlp.gate_proj": "ff_proj", "mlp.down_proj": "ff_out", "mlp.": ""}),
}


def numbers(tensor):
    return [float(f"{v:.7g}") for v in tensor.flatten().tolist()]


def make_diffusion(name):
    kind, settings, own, renamed = DIFFUSION[name]
    config = getattr(transformers, kind)(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    shapes = {}
    with torch.no_grad():
        for key, values in model.state_dict().items():
            for old, new in renamed.items():
                key = key.replace(old, new)
            shapes[key] = list(values.shape)
            values.copy_(torch.from_numpy(weight(key, shapes[key])))
        everything = torch.zeros(1, 1, len(PROMPT), len(PROMPT))
        out = model(torch.tensor([PROMPT]), attention_mask=everything, output_hidden_states=True, output_attentions=True, use_cache=False)
    assert (out.attentions[0] > 0).all()
    document = {
        "transformers": transformers.__version__,
        "config": own if renamed else config.to_diff_dict() | settings | own,
        "tensors": dict(sorted(shapes.items())),
        "ids": PROMPT,
        "logits": numbers(out.logits[0]),
        "hidden_states_first": [numbers(h[0, 0]) for h in out.hidden_states],
        "attentions_first": [numbers(a[0, :, 0]) for a in out.attentions],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(name, "std", round(float(out.logits.std()), 3), flush=True)


def make(name):
    if name in DIFFUSION:
        return make_diffusion(name)
    kind, settings = CASES[name]
    config = getattr(transformers, kind)(**settings)
    with tempfile.TemporaryDirectory() as folder:
        transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        path = folder + "/model.safetensors"
        tensors = {key: torch.from_numpy(weight(key, list(value.shape))) for key, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        written = json.loads(pathlib.Path(folder, "config.json").read_text())
    with torch.no_grad():
        out = model(torch.tensor([PROMPT]), output_hidden_states=True, output_attentions=True, use_cache=False)
        ids, greedy, gap = list(PROMPT), [], float("inf")
        for _ in range(16):  # without a cache: what the mathematics says
            top = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
            gap = min(gap, float(top.values[0] - top.values[1]))
            greedy.append(int(top.indices[0]))
            ids.append(greedy[-1])

    document = {
        "transformers": transformers.__version__,
        "config": written,
        "tensors": {key: list(value.shape) for key, value in sorted(tensors.items())},
        "ids": PROMPT,
        "logits": numbers(out.logits[0]),
        "hidden_states_last": [numbers(h[0, -1]) for h in out.hidden_states],
        "attentions_last": [numbers(a[0, :, -1, : len(PROMPT)]) for a in out.attentions],
        "greedy": greedy,
        "smallest_gap": gap,
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(name, "gap", round(gap, 5), "std", round(float(out.logits.std()), 3), flush=True)


for name in sys.argv[1:] or [*CASES, *DIFFUSION]:
    make(name)
