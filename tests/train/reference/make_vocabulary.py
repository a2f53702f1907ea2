"""Writes vocabulary.json: a small corpus, the merges that Hugging Face's BpeTrainer learns from it, and the ids
and decoded text of cases in that vocabulary. Needs tokenizers. Run in this folder."""
import json
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SIZE = 440
SPECIAL = ["<|end|>", "<|user|>", "<|wren|>", "<|mask|>"]

random.seed(20)
PLACES = ["a harbour", "the old mill", "a tall hedge", "the café", "Øvre Årdal", "東京", "a greenhouse"]
BIRDS = ["wren", "heron", "owl", "kingfisher", "swallow", "robin"]
VERBS = ["watched", "followed", "sang to", "forgot", "couldn't find", "remembered"]


def line(index):
    bird, other = random.sample(BIRDS, 2)
    place = random.choice(PLACES)
    count, more = random.randint(2, 99), random.randint(2, 99)
    user = random.choice(["Tell me of %s and %s.", "What did the %s say?\nAnd the %s?"]) % (bird, other)
    assistant = (f"Near {place} the {bird} {random.choice(VERBS)} the {other}s.  It counted {count} + {more} = "
                 f"{count + more}; \"that's {random.choice(['plenty', 'too few', 'enough'])},\" it said.\n\n"
                 f"{random.choice(['Then', 'Später', 'Soon'])} they'd flown{random.choice([' …', '!', '!!', ' 🐦'])}")
    return {"index": index, "kind": "story", "user": user, "assistant": assistant}


corpus = [line(i) for i in range(60)]
# Overlapping pairs: counts of "aa" in runs.
corpus.append({"index": 60, "kind": "runs", "user": "aaaa aaa aaaaaaa aa", "assistant": "abab ababab bababa abb"})

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator(
    [text for one in corpus for text in (one["user"], one["assistant"])],
    trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL, min_frequency=2, show_progress=False,
                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
model = json.loads(tokenizer.to_str())["model"]
assert len(model["vocab"]) == SIZE

POOLS = [
    lambda: chr(random.randint(32, 126)), lambda: random.choice("\t\n\r  \u00a0\u3000\u2028"),
    lambda: chr(random.randint(0xA1, 0x24F)), lambda: chr(random.randint(0x370, 0xD7FF)),
    lambda: chr(random.randint(0xE000, 0x10FFFF)), lambda: random.choice("0123456789٣४Ⅻ½²"),
    lambda: random.choice(["'s", "'LL", " wren", "<|end|>", "<|us", "\u200d", "e\u0301", "\0"])]
cases = ["", " ", "  ", "\n\n", "<|user|>Who sang?<|end|><|wren|>The wren.<|end|>", "<|mask|><|mask|>", "12345 007"]
cases += [corpus[i]["assistant"] for i in range(0, 60, 12)]
cases += ["".join(random.choice(POOLS)() for _ in range(random.randint(1, 24))) for _ in range(60)]

rows = []
for text in cases:
    ids = tokenizer.encode(text).ids
    rows.append([text, ids, tokenizer.decode(ids, skip_special_tokens=False)])
with open("vocabulary.json", "w") as file:
    json.dump({"size": SIZE, "corpus": corpus, "merges": [" ".join(merge) for merge in model["merges"]],
               "cases": rows}, file, ensure_ascii=True, separators=(",", ":"))
    file.write("\n")
