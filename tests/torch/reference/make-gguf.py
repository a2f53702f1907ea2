#!/usr/bin/env python3
"""Writes the checkpoints of this folder as GGUF files, as ggml's converter would (pip install gguf numpy).

The rules are in gguf/rules.json; TestGgufArchitectures.cpp follows the same ones. Only what the rules say is written,
so that two readers can be held against each other and against the logits in the reference file.

    make-gguf.py FOLDER [NAME…]
"""
import json
import math
import pathlib
import re
import sys

import gguf
import numpy

from weights import weight

HERE = pathlib.Path(__file__).parent
RULES = json.loads((HERE / "gguf/rules.json").read_text())


def family_of(name):
    family = RULES["families"][name]
    below = family_of(family["extends"]) if "extends" in family else {"metadata": [], "tensors": {}}
    return {
        "architecture": family.get("architecture"),
        "metadata": below["metadata"] + family["metadata"],
        "tensors": below["tensors"] | family["tensors"],
    }


class Model:
    def __init__(self, document):
        self.config = document["config"]
        self.shapes = document["tensors"]
        rotation = self.config.get("rope_parameters") or {}
        self.rotation = rotation.get("full_attention", rotation)
        self.scaling = self.rotation.get("rope_type", "default")
        self.width = self.first("hidden_size|n_embd|d_model")
        self.heads = self.first("num_attention_heads|n_head|n_heads")
        self.head_size = self.config.get("head_dim") or self.width // self.heads
        self.key_value_heads = self.first("num_kv_heads|num_key_value_heads|n_kv_heads") or self.heads
        if self.config["model_type"] == "falcon" and not self.config["new_decoder_architecture"]:
            self.key_value_heads = 1 if self.config["multi_query"] else self.heads

    def first(self, alternatives):
        for path in alternatives.split("|"):
            value = self.config
            for step in path.split("."):
                value = (self.rotation if step == "rope" else value.get(step)) if value is not None else None
            if value is not None:
                return value
        return None

    def derived(self, name):
        stretched = self.scaling in ("linear", "yarn")
        if name == "headSize":
            return self.head_size
        if name == "keyValueHeads":
            return self.key_value_heads
        if name == "rotated":
            return int(self.head_size * self.rotation.get("partial_rotary_factor", 1))
        if name == "windowed":
            return [kind == "sliding_attention" for kind in self.config["layer_types"]]
        if name == "scaling":
            return self.scaling if stretched else None
        if name == "scalingFactor":
            return self.rotation["factor"] if stretched else None
        if name == "yarnContext":
            return self.rotation["original_max_position_embeddings"] if self.scaling == "yarn" else None
        if name == "longropeAttention":
            if self.scaling != "longrope":
                return None
            original = self.rotation["original_max_position_embeddings"]
            stretch = self.config["max_position_embeddings"] / original
            return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
        raise ValueError(name)

    def value(self, kind, rule):
        if kind == "text" or not isinstance(rule, str):
            return rule
        return self.derived(rule[1:]) if rule.startswith("=") else self.first(rule)

    def transformed(self, values, how):
        if how == "":
            return values
        if how == "plus one":
            return values + numpy.float32(1)
        if how in ("query pairs", "key pairs"):
            heads = self.heads if how == "query pairs" else self.key_value_heads
            halves = values.reshape(heads, 2, self.head_size // 2, *values.shape[1:])
            return halves.swapaxes(1, 2).reshape(values.shape)
        if how == "ungroup":
            share = self.heads // self.key_value_heads
            groups = values.reshape(self.key_value_heads, share + 2, self.head_size, *values.shape[1:])
            parts = (groups[:, :share], groups[:, share : share + 1], groups[:, share + 1 :])
            return numpy.concatenate([part.reshape(-1, *values.shape[1:]) for part in parts])
        if how == "transpose":
            return values.swapaxes(-1, -2) if values.ndim > 1 else values
        if how in ("even", "odd"):
            return values[..., how == "odd" :: 2]
        if how in ("transposed even", "transposed odd"):
            return values.swapaxes(-1, -2)[:, how == "transposed odd" :: 2]
        raise ValueError(how)

    def factors(self):
        """Rotary factors a pair, which the converter works out for llama3 and copies for longrope."""
        if self.scaling == "longrope":
            for length in ("long", "short"):
                yield f"rope_factors_{length}.weight", self.rotation[length + "_factor"]
        if self.scaling == "llama3":
            low, high, original, factor = (self.rotation[key] for key in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "factor"))
            result = []
            for i in range(0, self.head_size, 2):
                wavelength = 2 * math.pi * self.rotation["rope_theta"] ** (i / self.head_size)
                smooth = min(1.0, max(0.0, (original / wavelength - low) / (high - low)))
                result.append(1 / ((1 - smooth) / factor + smooth))
            yield "rope_freqs.weight", result


def write(name, path):
    model = Model(json.loads((HERE / f"{name}.json").read_text()))
    family = family_of(model.config["model_type"])
    writer = gguf.GGUFWriter(path, family["architecture"])
    adders = {"u32": writer.add_uint32, "f32": writer.add_float32, "bool": writer.add_bool, "bools": writer.add_array, "string": writer.add_string, "text": writer.add_string}
    entries = {}  # later entries count
    for key, kind, rule in family["metadata"]:
        value = model.value(kind, rule)
        if value is not None:
            entries[key] = (kind, value)
    for key, (kind, value) in entries.items():
        adders[kind](key[1:] if key.startswith("/") else f"{family['architecture']}.{key}", value)

    size = model.first("vocab_size")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<unk>", "<s>", "</s>"] + [f"t{i}" for i in range(3, size)])
    writer.add_token_scores([float(-i) for i in range(size)])
    writer.add_token_types([2, 3, 3] + [1] * (size - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    stacks = {}
    for source, shape in model.shapes.items():
        values = weight(source, shape)
        stem, suffix = re.fullmatch(r"(.*?)(\.weight|\.bias)?", source).groups(default="")
        numbers = re.findall(r"(?<=\.)\d+(?=\.|$)", stem)
        pattern = re.sub(r"\.\d+(?=\.|$)", ".{}", stem, count=1)
        pattern = re.sub(r"\.\d+(?=\.|$)", ".{e}", pattern, count=1)
        rule = family["tensors"][pattern]
        for target, how in zip(rule[::2], rule[1::2]):
            target = (target + suffix).replace("{}", numbers[0] if numbers else "")
            if how == "stack":
                stacks.setdefault(target, {})[int(numbers[1])] = values
            else:
                writer.add_tensor(target, numpy.ascontiguousarray(model.transformed(values, how)))
    for target, parts in stacks.items():
        writer.add_tensor(target, numpy.stack([parts[i] for i in range(len(parts))]))
    for target, values in model.factors():
        writer.add_tensor(target, numpy.array(values, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name in sys.argv[2:] or sorted(str(path.relative_to(HERE))[:-5] for path in HERE.glob("**/*.json") if path.name != "rules.json"):
    if name in RULES["unsaid"]:
        print(f"{name}: a GGUF cannot say {RULES['unsaid'][name]}")
    else:
        write(name, folder / f"{pathlib.Path(name).name}.gguf")
