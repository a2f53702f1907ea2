#!/usr/bin/env python3
"""Trains small tokenizers of every kind that people have on disk and writes what the libraries tokenizers and
sentencepiece make of nasty texts: NAME/ holds the tokenizer's files, NAME.json the cases.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    python3 make_references.py OUTPUT [--fuzz COUNT]

With --fuzz, every tokenizer also gets COUNT random texts, written to OUTPUT/NAME.fuzz.json (not kept in the tree).
"""
import argparse
import json
import os
import random

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said what its
about than into them can only other time new some could these two may first then do any like my now over such our man
me even most made after also did many fore must through years where much your way well down should because each just
those people Mr how too good state very make world still own see men work long here get both between life being under
three never know same last another while us off might great go come since against right came take used himself house
few American use place during high without again home around small however found Mrs part school thought went say
once general upon every left war don't I'm you're it's we've they'll he'd""".split()

OTHER = ["naïve café résumé Ångström", "Привет, как дела? Это проверка", "你好，世界！今天天气很好", "東京タワーへ行きました",
         "한국어 텍스트 입니다", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया क्षत्रिय", "ไทยภาษา", "Ελληνικά γράμματα",
         "Übergrößenträger", "x = f(a, b) + 3.14159;", "for (int i = 0; i < 10; ++i) { sum += i; }", "2024-07-26 12:34:56",
         "http://example.org/path?q=1&r=2", "😀 😃 👍🏽 👩‍👩‍👧‍👦", "E=mc² ½ ³√27", "\tif x:\n\t\treturn y\n"]


def corpus(seed=0, lines=1500):
    rng = random.Random(seed)
    for _ in range(lines):
        words = [rng.choice(WORDS) for _ in range(rng.randint(3, 14))]
        if rng.random() < 0.3:
            words[0] = words[0].capitalize()
        if rng.random() < 0.4:
            words.insert(rng.randrange(len(words)), rng.choice(OTHER))
        if rng.random() < 0.3:
            words.append(str(rng.randint(0, 10 ** rng.randint(1, 6))))
        yield " ".join(words) + rng.choice([".", "!", "?", "", "\n", "..."])


NASTY = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n \n ", "Hello", " Hello", "Hello world", "  Hello  world  ",
    "Hello, world!\nHow are you?\r\n\tFine.", "I'm you're it's WE'VE they'll He'D don't DON'T", "'s 't 're", "a'",
    "1", "12", "123", "1234567890", "3.14159 1,000,000", "v1.2.3-rc4", "x²³½ ٣٤٥ Ⅷ", "naïve café", "e\u0301a\u0300o\u0308",
    "\u1e69 \u1e9b\u0323", "Ångström ﬁ ﬂ ①②③ ｆｕｌｌ", "İstanbul ΑΣ ß ŉ", "你好，世界！", "東京タワーへ行った。ｶﾀｶﾅ", "한국어 ᄒ\u1161\u11ab",
    "مرحبا بالعالم", "שָׁלוֹם", "नमस्ते क्षत्रिय", "กำลัง ไทย", "😀👍🏽👩‍👩‍👧‍👦🇩🇪🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a\u200db\u200cc\u200bd\ufeffe",
    "\u0000\u0001\u0007\u001b[0m\u007f\u0085\u009f", "\u00a0\u1680\u2003\u2028\u2029\u202f\u3000x", "\u180e \u2060 \u00ad",
    "\ufffd\ufffe\uffff \U000e0001 \U0010ffff \ue000", "\U00020000\U0002f800 𝔘𝔫𝔦 𝟙𝟚", "▁▁a▁b ▁", "Ġhello Ċ", "##ing ##", "<0x41><0x0A>",
    "<s>", "</s>", "<s> hi </s>", "a<s>b</s>c", "<unk>", "[UNK] [CLS] [SEP] [MASK] x[MASK] y", "<|endoftext|>",
    " <|endoftext|> ", "x<mask>y", "x  <mask>  y", "one\n<mask>\ttwo", "<mask><mask>", "<tool> <tool>", "a <tool>b",
    "<TOOL>", "wordlike nowordlike wordlike!", " wordlike", "wordlikeé", "<extra> <extra_id_0>", "\u2581<extra>",
    "if x:\n    return y\n\n\n# end", "!!!???...---___***", "$100 €20 £5 ¥ + = < > ^ ` | ~", "(a)[b]{c}\"d\"'e'", "don’t “quote” – em—dash…",
    "a" * 40, " " * 40 + "x", "\n" * 20, "ab" * 12, "😀" * 5, "1" * 20, "-" * 30, "é" * 9, "the " * 6,
    "supercalifragilisticexpialidocious" * 2, "word" * 9, "x\n\n y", "\n x", " \tx \n", "end ", "end\n", ".", "..", " .", ". ",
]


def random_text(rng):
    out = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.25:
            out.append(rng.choice(WORDS))
        elif kind < 0.35:
            out.append(rng.choice(OTHER))
        elif kind < 0.5:
            out.append(rng.choice([" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "   ", "\u2028", "\u200b", "\u180e"]))
        elif kind < 0.6:
            out.append(rng.choice(["<s>", "</s>", "<unk>", "<mask>", "<tool>", "<extra>", "wordlike", "[MASK]", "[CLS]",
                                   "<|endoftext|>", "<TOOL>", "▁", "Ġ", "##", "<0x0A>", "<extra_id_0>", "..", "é"]))
        elif kind < 0.8:
            for _ in range(rng.randint(1, 6)):
                plane = rng.random()
                if plane < 0.4:
                    c = rng.randrange(0x20, 0x250)
                elif plane < 0.7:
                    c = rng.randrange(0x250, 0x3100)
                elif plane < 0.9:
                    c = rng.choice([rng.randrange(0x3100, 0xd800), rng.randrange(0xe000, 0x10000)])
                else:
                    c = rng.choice([rng.randrange(0x10000, 0x20000), rng.randrange(0x20000, 0x110000)])
                out.append(chr(c))
        elif kind < 0.9:
            out.append(rng.choice(["'s", "'LL", "12345", "0", "!?", "...", "()", "e\u0301", "\u0301", "👩‍👩‍👧", "\u0000", "ﬁ"]))
        else:
            out.append(rng.choice(["a", "b", " ", "1", "é", "日"]) * rng.randint(1, 30))
        if rng.random() < 0.4:
            out.append(" ")
    return "".join(out)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def split(pattern, behaviour="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behaviour, invert)


def byte_level(pre, size=310, normalizer=None, special=("<|endoftext|>",), post=None, **bpe):
    tokenizer = Tokenizer(models.BPE(**bpe))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=ALPHABET, show_progress=False))
    if post:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def template(text, *names):
    return lambda t: processors.TemplateProcessing(single=text, special_tokens=[(n, t.token_to_id(n)) for n in names])


BYTES = ["<0x%02X>" % b for b in range(256)]


def spm_like(normalizer, pre, decoder, unk="<unk>", size=None, byte_fallback=True, post=True):
    """SentencePiece BPE as converters write it: pieces of characters with bytes to fall back on."""
    size = size or (430 if byte_fallback else 240)
    base = Tokenizer(models.BPE(unk_token=unk, fuse_unk=True))
    base.normalizer = normalizer
    if pre:
        base.pre_tokenizer = pre
    # Merges are learned word by word, as SentencePiece does.
    trainer_tokenizer = Tokenizer(models.BPE(unk_token=unk))
    trainer_tokenizer.normalizer = normalizer
    trainer_tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer_tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + (BYTES if byte_fallback else []),
        limit_alphabet=80, show_progress=False))
    model = json.loads(trainer_tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    base.model = models.BPE(vocab, merges, unk_token=unk, fuse_unk=True, byte_fallback=byte_fallback)
    base.decoder = decoder
    base.add_special_tokens(["<unk>", "<s>", "</s>"])
    if post:
        base.post_processor = template("<s> $A", "<s>")(base)
    return base


LLAMA_DECODER = lambda: decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])


RULES = """00A0\t20
3000\t20
2003\t20
09\t20
0A\t20
0D\t20
0D 0A\t20
FB01\t66 69
2460\t31
FF46\t66
FF55\t75
FF4C\t6C
1E9B 0323\t1E69
0041 030A\tC5
0061 0300\tE0
0065 0301\tE9
00B2\t32
00BD\t31 2F 32
AD\t
200B\t20
FEFF\t
FF76\t30AB
FF80\t30BF
FF76 FF9E\t30AC
"""


def charsmap(full):
    """The character map of a SentencePiece model: the usual one (large), or one of a few rules."""
    path = "/tmp/charsmap"
    with open(path + ".txt", "w") as file:
        file.write("\n".join(corpus(lines=300)))
    with open(path + ".tsv", "w") as file:
        file.write(RULES)
    rules = {"normalization_rule_name": "nmt_nfkc"} if full else {"normalization_rule_tsv": path + ".tsv"}
    sentencepiece.SentencePieceTrainer.train(input=path + ".txt", model_prefix=path, vocab_size=200, minloglevel=2,
                                             character_coverage=0.98, hard_vocab_limit=False, **rules)
    with open(path + ".model", "rb") as file:
        return proto(file.read())


def fields(data):
    at = 0
    while at < len(data):
        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            length = varint()
            yield key >> 3, data[at:at + length]
            at += length
        else:
            length = {1: 8, 5: 4}[key & 7]
            yield key >> 3, data[at:at + length]
            at += length


def proto(data):
    for number, value in fields(data):
        if number == 3:  # normalizer_spec
            for inner, content in fields(value):
                if inner == 2:
                    return content
    raise SystemExit("no character map")


def unigram(pre, normalizer, post=None, size=260, byte_fallback=False, special=("<pad>", "</s>", "<unk>")):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(special) + (BYTES if byte_fallback else []), unk_token="<unk>",
        show_progress=False))
    if byte_fallback:
        data = json.loads(tokenizer.to_str())
        data["model"]["byte_fallback"] = True
        data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
        tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.decoder = decoders.Metaspace()
    if byte_fallback:
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    if post:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def wordpiece(lower, strip=None, chinese=True, size=260, prefix="##", limit=100):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=limit))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=strip, handle_chinese_chars=chinese)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], limit_alphabet=100,
        show_progress=False))
    tokenizer.post_processor = template("[CLS] $A [SEP]", "[CLS]", "[SEP]")(tokenizer)
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def word_level(pre, normalizer=None, size=120):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    return tokenizer


def add(tokenizer, *tokens):
    plain = [t for t in tokens if not t.special]
    special = [t for t in tokens if t.special]
    if special:
        tokenizer.add_special_tokens(special)
    if plain:
        tokenizer.add_tokens(plain)
    return tokenizer


def token(content, special=False, **flags):
    return AddedToken(content, special=special, normalized=flags.pop("normalized", not special), **flags)


def everything(fuzz):
    yield "gpt2", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    yield "gpt2-prefix", add(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)), token("<mask>", True, lstrip=True),
                             token("<tool>"), token("wordlike", single_word=True))
    yield "roberta", add(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), special=("<s>", "</s>", "<unk>"),
                                    post=lambda t: processors.RobertaProcessing(("</s>", t.token_to_id("</s>")),
                                                                                ("<s>", t.token_to_id("<s>")))),
                         token("<mask>", True, lstrip=True, rstrip=True))
    yield "gpt-neox", add(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFC()),
                          *[token(" " * n, normalized=True) for n in range(24, 1, -1)])
    yield "llama3", add(byte_level(pre_tokenizers.Sequence([split(LLAMA3), pre_tokenizers.ByteLevel(False, use_regex=False)]),
                                   ignore_merges=True, special=("<|begin|>", "<s>"),
                                   post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                                                       template("<|begin|> $A", "<|begin|>")(t)])),
                        token("<mask>", True, rstrip=True), token("<TOOL>", True))
    yield "qwen2", byte_level(pre_tokenizers.Sequence([split(QWEN2), pre_tokenizers.ByteLevel(False, use_regex=False)]),
                              normalizer=normalizers.NFC())
    yield "o200k", byte_level(pre_tokenizers.Sequence([split(O200K), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "tekken", byte_level(pre_tokenizers.Sequence([split(TEKKEN), pre_tokenizers.ByteLevel(False, use_regex=False)]),
                               ignore_merges=True)
    yield "falcon", byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(False, use_regex=True),
        pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")]))
    yield "starcoder2", byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=True)]))
    yield "deepseek-llm", byte_level(pre_tokenizers.Sequence([
        split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
        split("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "deepseek-v3", byte_level(pre_tokenizers.Sequence([
        split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "bloom", byte_level(pre_tokenizers.Sequence([
        split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "bytes-normalized", byte_level(split(r"\S+|\s+"), normalizer=normalizers.ByteLevel())
    yield "removed", byte_level(pre_tokenizers.Sequence([split(r"\d+|,", "removed"), split(r"\w+", "contiguous", True),
                                                         split("!", "merged_with_next"), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "llama2-legacy", add(spm_like(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
                                        LLAMA_DECODER()), token("<tool>"), token("<mask>", True, lstrip=True, rstrip=True),
                               token("wordlike", single_word=True, normalized=False))
    yield "llama2-first", add(spm_like(normalizers.NFC(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                       LLAMA_DECODER()), token("<tool>", normalized=False), token("<mask>", True))
    yield "llama2-always", add(spm_like(normalizers.NFC(), pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
                                        LLAMA_DECODER()), token("<tool>"), token("<mask>", True, rstrip=True))
    yield "first-stripped", spm_like(normalizers.Sequence([normalizers.Strip(True, False), normalizers.Lowercase()]),
                                     pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(), byte_fallback=False)
    yield "gemma", add(spm_like(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
                                decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])),
                       *[token("▁" * n, normalized=False) for n in range(2, 16)],
                       *[token("\n" * n, normalized=False) for n in range(1, 16)])
    for name, full in (("t5", False), ("t5-full", True)):
        if full and not fuzz:
            continue
        yield name, add(unigram(pre_tokenizers.Metaspace(prepend_scheme="always"),
                                normalizers.Sequence([normalizers.Precompiled(charsmap(full)), normalizers.Strip(False, True),
                                                      normalizers.Replace(Regex(" {2,}"), "▁")]),
                                post=template("$A </s>", "</s>")), token("<extra_id_0>", True), token("<extra>"))
    yield "xlm-roberta", add(unigram(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
                                     normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), special=("<s>", "<pad>", "</s>", "<unk>"),
                                     post=template("<s> $A </s>", "<s>", "</s>")), token("<mask>", True, lstrip=True))
    yield "unigram-bytes", unigram(pre_tokenizers.Metaspace(prepend_scheme="never", split=False), normalizers.NFKD(),
                                   byte_fallback=True, size=480)
    yield "bert-uncased", wordpiece(True)
    yield "bert-cased", wordpiece(False)
    yield "bert-accents", wordpiece(True, strip=False, chinese=False, limit=20)
    yield "words", word_level(pre_tokenizers.Whitespace(), normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]))
    yield "boundaries", word_level(pre_tokenizers.Sequence([
        split(r"\b\w", "merged_with_next"), split(r"[[:punct:]]+", "merged_with_previous"), split(r"\W", "removed")]))
    yield "delimiter", word_level(pre_tokenizers.CharDelimiterSplit(" "))
    yield "scripts", add(unigram(pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.Metaspace()]),
                                 normalizers.NFKC()), token("<extra>", lstrip=True))
    fixed = spm_like(normalizers.Lowercase(), pre_tokenizers.FixedLength(4), decoders.Fuse(), byte_fallback=False, post=False)
    yield "fixed-length", fixed
    clip = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    clip.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    clip.pre_tokenizer = pre_tokenizers.Sequence([
        split(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", True), pre_tokenizers.ByteLevel(False)])
    clip.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=280, special_tokens=["<unk>"], limit_alphabet=100, end_of_word_suffix="</w>",
                                                           show_progress=False))
    clip.decoder = decoders.BPEDecoder("</w>")
    yield "clip", clip
    prefix = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=False))
    prefix.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    prefix.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=240, special_tokens=["<unk>"], limit_alphabet=80,
                                                             continuing_subword_prefix="##", show_progress=False))
    prefix.decoder = decoders.WordPiece(cleanup=False)
    yield "prefixed-bpe", prefix


def ids_of(tokenizer, text, special, parse):
    tokenizer.encode_special_tokens = not parse
    return tokenizer.encode(text, add_special_tokens=special).ids


def cases(tokenizer, texts):
    """[text, ids without special tokens, ids with special tokens added and parsed, decoding of those]"""
    out = []
    for text in texts:
        plain, parsed = ids_of(tokenizer, text, False, False), ids_of(tokenizer, text, True, True)
        out.append([text, plain, parsed, tokenizer.decode(parsed, skip_special_tokens=False)])
    return out


def write(path, data):
    with open(path, "w") as file:
        json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def spm_models(output, fuzz):
    """SentencePiece models and what its library makes of texts; the same vocabularies as GGUF, as converters write
    them."""
    import gguf
    path = "/tmp/spm"
    with open(path + ".txt", "w") as file:
        file.write("\n".join(line.strip().rstrip(".") for line in corpus(lines=600)))
    with open(path + ".tsv", "w") as file:
        file.write(RULES)
    shared = dict(input=path + ".txt", minloglevel=2, hard_vocab_limit=False, character_coverage=0.98)
    kinds = {
        "spm-bpe": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                        remove_extra_whitespaces=False, user_defined_symbols=["<tool>"]),
        "spm-unigram": dict(model_type="unigram", vocab_size=220, normalization_rule_tsv=path + ".tsv", pad_id=0, eos_id=1,
                            unk_id=2, bos_id=-1),
    }
    for name, options in kinds.items():
        sentencepiece.SentencePieceTrainer.train(model_prefix=path, **shared, **options)
        with open(path + ".model", "rb") as file:
            model = file.read()
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        folder = os.path.join(output, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
            file.write(model)
        unigram_model = name == "spm-unigram"
        write(os.path.join(folder, "tokenizer_config.json"),
              {"tokenizer_class": "T5Tokenizer" if unigram_model else "LlamaTokenizer"})
        writer = gguf.GGUFWriter(os.path.join(output, name + ".gguf"), "none")
        writer.add_tokenizer_model("t5" if unigram_model else "llama")
        tokens, scores, types = [], [], []
        for i in range(processor.get_piece_size()):
            piece, kind = processor.id_to_piece(i), 1
            if processor.is_unknown(i):
                kind = 2
            elif processor.is_control(i):
                kind = 3
            elif processor.is_byte(i):
                kind = 6
            elif not unigram_model and piece in options["user_defined_symbols"]:
                kind, piece = 4, piece.replace("▁", " ")
            tokens.append(piece.encode())
            scores.append(processor.get_score(i))
            types.append(kind)
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        if unigram_model:
            writer.add_add_space_prefix(True)
            writer.add_remove_extra_whitespaces(True)
            writer.add_precompiled_charsmap(proto(model))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

        def case(text):
            ids = processor.encode(text)
            around = ids + [1] if unigram_model else [1] + ids
            # The library shows no control tokens.
            return [text, ids, around, processor.decode(ids)]
        texts = [t for t in NASTY if "\0" not in t and "<" not in t and "▁" not in t]
        write(os.path.join(output, name + ".json"), {"cases": [case(t) for t in texts]})
        if fuzz:
            rng = random.Random(name)
            texts = [t for t in (random_text(rng) for _ in range(fuzz)) if "\0" not in t and "<" not in t and "▁" not in t]
            write(os.path.join(output, name + ".fuzz.json"), {"cases": [case(t) for t in texts]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--fuzz", type=int, default=0)
    arguments = parser.parse_args()
    os.makedirs(arguments.output, exist_ok=True)
    for number, (name, tokenizer) in enumerate(everything(arguments.fuzz > 0)):
        # Every tokenizer sees the short texts and a part of the others; all of them together see all.
        texts = [t for i, t in enumerate(NASTY) if arguments.fuzz or i < 22 or i % 3 == number % 3]
        # As it is in its file: reading rounds the scores of unigrams.
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        data = json.loads(tokenizer.to_str())
        write(os.path.join(arguments.output, name + ".json"), {"tokenizer": data, "cases": cases(tokenizer, texts)})
        if arguments.fuzz:
            rng = random.Random(name)
            write(os.path.join(arguments.output, name + ".fuzz.json"),
                  {"tokenizer": data, "cases": cases(tokenizer, [random_text(rng) for _ in range(arguments.fuzz)])})
    spm_models(arguments.output, arguments.fuzz)


if __name__ == "__main__":
    main()
