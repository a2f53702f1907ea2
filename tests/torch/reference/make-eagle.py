#!/usr/bin/env python3
"""Writes heads/eagle.json: what draft heads in EAGLE's layout compute, written out in plain torch from the papers' equations
(Li et al. 2024, arXiv 2401.15077): no code of ours or of theirs is used. Weights are made from the tensors' names
(weights.py); embedding and LM head are those of the checkpoint in llama-yarn.json.

    make-eagle.py
"""
import json
import pathlib

import torch

from weights import weight

FOLDER = pathlib.Path(__file__).parent
D, INNER, HEADS, KEY_HEADS, VOCABULARY, THETA, EPSILON = 48, 80, 4, 2, 64, 10000.0, 1e-6
SIZE = D // HEADS
TOKENS = [17, 42, 5, 9, 60, 33, 8]
# A tree behind the last of them: a token follows the parent (an index into the tree, -1: the last token of the text).
TREE_TOKENS, TREE_PARENTS = [21, 2, 55, 14, 30], [-1, -1, 0, 0, 2]


def tensors_of(layers, bias, second_norm):
    shapes = {"fc.weight": [D, 2 * D]}
    if bias:
        shapes["fc.bias"] = [D]
    for layer in range(layers):
        name = f"layers.{layer}."
        shapes |= {name + "self_attn.q_proj.weight": [D, D], name + "self_attn.k_proj.weight": [KEY_HEADS * SIZE, D],
                   name + "self_attn.v_proj.weight": [KEY_HEADS * SIZE, D], name + "self_attn.o_proj.weight": [D, D],
                   name + "mlp.gate_proj.weight": [INNER, D], name + "mlp.up_proj.weight": [INNER, D],
                   name + "mlp.down_proj.weight": [D, INNER], name + "post_attention_layernorm.weight": [D]}
        if layer > 0 and second_norm:
            shapes[name + "input_layernorm.weight"] = [D]
    return shapes


def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * w


def rotate(x, positions):  # [n, heads, SIZE], the halves as pairs
    inverse = THETA ** (-torch.arange(0, SIZE, 2, dtype=torch.float64) / SIZE)
    angle = positions[:, None].double() * inverse
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., : SIZE // 2], x[..., SIZE // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def head(w, layers, embedding, tokens, features, positions, sees):
    get = lambda name: w[name].double()
    x = torch.cat([embedding[tokens], features], -1) @ get("fc.weight").T
    if "fc.bias" in w:
        x = x + get("fc.bias")
    n = len(tokens)
    for layer in range(layers):
        name = f"layers.{layer}."
        y = norm(x, get(name + "input_layernorm.weight")) if name + "input_layernorm.weight" in w else x
        q = rotate((y @ get(name + "self_attn.q_proj.weight").T).view(n, HEADS, SIZE), positions)
        k = rotate((y @ get(name + "self_attn.k_proj.weight").T).view(n, KEY_HEADS, SIZE), positions)
        v = (y @ get(name + "self_attn.v_proj.weight").T).view(n, KEY_HEADS, SIZE)
        k, v = (t.repeat_interleave(HEADS // KEY_HEADS, 1) for t in (k, v))
        scores = torch.einsum("ihd,jhd->hij", q, k) / SIZE ** 0.5
        scores = scores.masked_fill(~sees, float("-inf")).softmax(-1)
        x = x + torch.einsum("hij,jhd->ihd", scores, v).reshape(n, D) @ get(name + "self_attn.o_proj.weight").T
        y = norm(x, get(name + "post_attention_layernorm.weight"))
        gate = torch.nn.functional.silu(y @ get(name + "mlp.gate_proj.weight").T)
        x = x + (gate * (y @ get(name + "mlp.up_proj.weight").T)) @ get(name + "mlp.down_proj.weight").T
    return x


def case(layers, bias, ranked):
    shapes = tensors_of(layers, bias, True)
    w = {name: torch.from_numpy(weight(name, shape)) for name, shape in shapes.items()}
    embedding = torch.from_numpy(weight("model.embed_tokens.weight", [VOCABULARY, D])).double()
    lm_head = torch.from_numpy(weight("lm_head.weight", [VOCABULARY, D])).double()
    text, tree = len(TOKENS), len(TREE_TOKENS)
    features = torch.from_numpy(weight("features", [text + tree, D])).double()
    positions, sees = list(range(text)), torch.zeros(text + tree, text + tree, dtype=torch.bool)
    for i in range(text):
        sees[i, : i + 1] = True
    for i, parent in enumerate(TREE_PARENTS):
        above = text + parent if parent >= 0 else text - 1
        positions.append(positions[above] + 1)
        sees[text + i] = sees[above]
        sees[text + i, text + i] = True
    out = head(w, layers, embedding, TOKENS + TREE_TOKENS, features, torch.tensor(positions), sees)
    logits = out @ lm_head.T
    config = dict(architectures=["LlamaForCausalLMEagle"], model_type="eagle", hidden_size=D, intermediate_size=INNER,
                  num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, num_hidden_layers=layers, vocab_size=VOCABULARY,
                  max_position_embeddings=128, rope_theta=THETA, rms_norm_eps=EPSILON, hidden_act="silu")
    document = dict(config=config, tensors=shapes)
    if ranked:
        config["draft_vocab_size"] = len(ranked)
        document["d2t"] = [token - i for i, token in enumerate(ranked)]
        logits = logits[:, ranked]
    numbers = lambda tensor: [float(f"{v:.7g}") for v in tensor.flatten().tolist()]
    return document | dict(features=numbers(out), logits=numbers(logits))


document = dict(tokens=TOKENS, tree_tokens=TREE_TOKENS, tree_parents=TREE_PARENTS,
                cases={"one layer": case(1, False, []),
                       "two layers, bias, ranked": case(2, True, [0, 3, 4, 9, 17, 21, 30, 31, 42, 55, 60, 63])})
(FOLDER / "heads" / "eagle.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
