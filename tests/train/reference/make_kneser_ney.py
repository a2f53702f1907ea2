"""Writes kneser-ney.json: texts, and what interpolated modified Kneser-Ney says of others. Written from the formulas
with dictionaries of whole n-grams, recursively; shares no thought with core/train/KneserNey. Run in this folder, or
with a JSONL file of {"train":[[ids]],"held_out":[[ids]],"vocabulary":V} to print ln p summed over each held-out text."""
import json
import math
import random
import sys
from collections import Counter, defaultdict

BEGIN = "begin"


class KneserNey:
    def __init__(self, texts, order, vocabulary):
        self.order, self.vocabulary = order, vocabulary
        raw = [Counter() for _ in range(order + 1)]
        for text in texts:
            padded = [BEGIN] + text
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    raw[n][tuple(padded[i:i + n])] += 1
        self.counts = [None] + [Counter() for _ in range(order)]
        for n in range(1, order + 1):
            before = defaultdict(set)
            if n < order:
                for gram in raw[n + 1]:
                    before[gram[1:]].add(gram[0])
            for gram, count in raw[n].items():
                if gram == (BEGIN,):
                    continue
                whole = n == order or gram[0] == BEGIN
                self.counts[n][gram] = count if whole else len(before[gram])
        self.discounts = [None]
        for n in range(1, order + 1):
            t = [sum(1 for c in self.counts[n].values() if c == k) for k in (1, 2, 3, 4)]
            values = [0.5, 1.0, 1.5]
            if all(t):
                y = t[0] / (t[0] + 2 * t[1])
                own = [k - (k + 1) * y * t[k] / t[k - 1] for k in (1, 2, 3)]
                if all(0 <= own[k] <= k + 1 for k in range(3)):
                    values = own
            self.discounts.append(values)
        self.follow = defaultdict(list)
        for n in range(1, order + 1):
            for gram, count in self.counts[n].items():
                self.follow[gram[:-1]].append(count)

    def discount(self, n, count):
        return self.discounts[n][min(count, 3) - 1] if count else 0.0

    def probability(self, context, token):
        n = len(context) + 1
        shorter = self.probability(context[1:], token) if context else 1.0 / self.vocabulary
        follow = self.follow.get(context)
        if not follow:
            return shorter
        total = sum(follow)
        count = self.counts[n].get(context + (token,), 0)
        backoff = sum(self.discount(n, c) for c in follow) / total
        return (count - self.discount(n, count)) / total + backoff * shorter

    def log_probabilities(self, text):
        padded = [BEGIN] + text
        return [math.log(self.probability(tuple(padded[max(0, i - self.order + 1):i]), padded[i]))
                for i in range(1, len(padded))]


def texts(count, vocabulary, rng):
    out = []
    for _ in range(count):
        text = [1]
        for _ in range(rng.randrange(25)):
            before = text[-2] if len(text) > 1 else 0
            text.append(rng.randrange(vocabulary) if rng.random() < 0.3 else (text[-1] * 5 + before * 3 + 1) % vocabulary)
        out.append(text + [0])
    return out


def main():
    if len(sys.argv) > 1:
        for line in open(sys.argv[1]):
            one = json.loads(line)
            model = KneserNey(one["train"], one.get("order", 5), one["vocabulary"])
            print(json.dumps({"discounts": model.discounts[1:],
                              "sums": [sum(model.log_probabilities(text)) for text in one["held_out"]]}))
        return
    rng = random.Random(4)
    cases = []
    for order, count, vocabulary in ((5, 90, 12), (3, 60, 30), (2, 3, 6)):
        train, held_out = texts(count, vocabulary, rng), texts(8, vocabulary, rng) + [[vocabulary, 1, vocabulary], []]
        model = KneserNey(train, order, vocabulary + 1)
        cases.append({"order": order, "vocabulary": vocabulary + 1, "texts": train, "held_out": held_out,
                      "discounts": model.discounts[1:],
                      "log_probabilities": [model.log_probabilities(text) for text in held_out]})
    with open("kneser-ney.json", "w") as file:
        json.dump(cases, file, separators=(",", ":"))
        file.write("\n")


main()
