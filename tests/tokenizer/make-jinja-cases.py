#!/usr/bin/env python3
"""Renders templates with the real Jinja2, in the settings of transformers, and writes what came out.

  make-jinja-cases.py                          the table of TestJinja, tests/tokenizer/jinja-cases.json
  make-jinja-cases.py --random N --seed S --out FILE
                                               N random templates more; DECOSCOPE_JINJA_CASES=FILE TestJinja runs them

Needs jinja2 3.1 (pip install jinja2).
"""
import argparse
import copy
import datetime
import json
import pathlib
import random
import re

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


class Raised(jinja2.exceptions.TemplateError):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ENVIRONMENT = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = lambda form: datetime.datetime(2024, 7, 26).strftime(form)


def outcome(template, context):
    """What Jinja2 makes of it: ("text", …), ("raised", words of raise_exception) or ("error", "")."""
    try:
        return "text", ENVIRONMENT.from_string(template).render(**copy.deepcopy(context))
    except Raised as error:
        return "raised", str(error.message)
    except Exception:
        return "error", ""


# Python prints addresses and has integers of any size: nothing to compare there.
NOT_COMPARED = re.compile(r" at 0x[0-9a-f]{6,}|(?<![\d.])\d{20,}(?![\d.])")

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a \"city\" <now>",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name, é"},
        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
        "days": {"type": "array", "items": {"type": "integer"}, "nullable": True}},
        "required": ["city"]}}}

CHAT = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "  Weather in Paris? é 🍎"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "abc123XYZ", "type": "function",
         "function": {"name": "get_weather", "arguments": {"city": "Paris", "days": [1, 2.5, None, True]}}}]},
    {"role": "tool", "name": "get_weather", "tool_call_id": "abc123XYZ", "content": "{\"t\": 21}"},
    {"role": "assistant", "content": "<think>\nHot & dry\n</think>\n\n21 °C.", "reasoning_content": "Hot"},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "image", "url": "x.png"},
                                 {"type": "text", "text": " Rome?"}]},
]

CONTEXTS = {
    "plain": {
        "a": 1, "b": 2.5, "neg": -7, "big": 12345678901, "fl": 1e16, "fs": 0.1, "n": None, "t": True, "f": False,
        "s": "Hello World", "u": "élan ǅ ß 😀", "ml": "one\n  two\n\nthree\n", "html": "<a href='x'>&\"</a>", "em": "",
        "l": [3, 1, 2], "ls": ["b", "A", "c"], "lm": [1, "x", None, 2.5, [1]], "e": [],
        "d": {"x": 1, "y": [1, 2], "items": "I"}, "dd": {"k": {"v": "w", "n": None}, "B": 2, "a": 1},
        "ms": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "n": 2},
               {"role": "tool", "content": "42", "n": 1}]},
    "chat": {"messages": CHAT, "tools": [TOOL], "documents": [{"title": "T1", "text": "One.\nTwo."}],
             "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"},
    "short": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"},
                           {"role": "user", "content": "Bye "}],
              "tools": None, "documents": None, "add_generation_prompt": False, "bos_token": "<s>",
              "eos_token": "</s>", "enable_thinking": False},
    # As programs write it that fill every field.
    "nulls": {"messages": [
        {"role": "user", "content": "Weather?", "name": None, "tool_calls": None},
        {"role": "assistant", "content": None, "refusal": None, "function_call": None, "tool_calls": [
            {"id": "call_1", "type": "function", "index": None,
             "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}]},
        {"role": "tool", "content": None, "tool_call_id": "call_1", "name": None},
        {"role": "assistant", "content": "21 °C.", "tool_calls": [], "reasoning_content": None}],
        "tools": None, "documents": None, "add_generation_prompt": True, "bos_token": None, "eos_token": "</s>",
        "enable_thinking": None},
    "odd": {"messages": [{"role": "assistant", "content": "I start."}, {"role": "robot", "content": None}],
            "tools": [], "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"},
}


def read_cases(name):
    """Cases are divided by lines of '====' and may name their context behind it."""
    context, lines = "plain", []
    for line in (HERE / name).read_text(encoding="utf-8").splitlines(keepends=True) + ["====\n"]:
        if line.startswith("===="):
            if lines:
                yield context, "".join(lines)[:-1]
            context, lines = line[4:].strip() or context, []
        else:
            lines.append(line)


class Generator:
    """Random templates that mostly make sense."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.names = {"int": ["a", "neg", "big"], "float": ["b", "fl", "fs"], "str": ["s", "u", "ml", "html", "em"],
                      "list": ["l", "ls", "lm", "e", "ms"], "dict": ["d", "dd"], "bool": ["t", "f"]}
        self.scope = []

    def pick(self, *options):
        return self.r.choice(options)

    def some(self, kind, depth):
        if self.r.random() < 0.06:
            kind = self.pick("int", "float", "str", "list", "dict", "bool", "any")
        if kind == "any":
            kind = self.pick("int", "float", "str", "list", "dict", "bool", "none")
        if kind == "none":
            return self.pick("none", "n", "missing", "d.nope", "none")
        if self.scope and self.r.random() < 0.15:
            return self.r.choice(self.scope)
        if depth <= 0 or self.r.random() < 0.15:
            if kind in self.names and self.r.random() < 0.7:
                return self.r.choice(self.names[kind])
            return self.literal(kind)
        return getattr(self, "make_" + kind)(depth - 1)

    def literal(self, kind):
        r = self.r
        if kind == "int":
            return self.pick("0", "1", "2", "3", "10", "1_000", "0x1f", "-1", "7")
        if kind == "float":
            return self.pick("1.5", "0.0", "2e3", "1e-7", "3.14159", "100.0", "2.675", "-0.5")
        if kind == "bool":
            return self.pick("true", "false", "True")
        if kind == "str":
            return self.pick("''", "'a'", '"b c"', "'x,y,z'", "'\\n'", "'é€'", "'<b>'", "' pad '", "'Ab-Cd eF'", "'42'",
                             "'%s'", "'a' 'b'", "'{}'", "\"it's\"", "'ﬁ ŉ İ'", "'aXbXc'", "'tab\\there'")
        if kind == "list":
            return self.pick("[]", "[1, 2]", "['x', 'y']", "(1, 'a')", "range(4)", "[[1, 2], [3]]", "[none, true]",
                             "'abc'", "[2, 1.5, 2]", "['b', 'a', 'B']")
        return self.pick("{}", "{'k': 1}", "{'a': 'b', 'c': [1]}", "{1: 2, 'z': none}", "dict(p=1)")

    def make_int(self, depth):
        i, f, s, l, d = (lambda k=k: self.some(k, depth) for k in ("int", "float", "str", "list", "dict"))
        return self.pick(
            lambda: f"({i()} {self.pick('+', '-', '*', '//', '%')} {i()})",
            lambda: f"{s()}|length", lambda: f"{l()}|length", lambda: f"({i()} ** {self.pick('2', '3', '0')})",
            lambda: f"{self.pick(f, s, i)()}|int", lambda: f"-{i()}", lambda: f"{i()}|abs",
            lambda: f"{s()}.count({s()})", lambda: f"{s()}.find({s()})", lambda: f"{s()}.rfind({s()}, {i()})",
            lambda: f"({i()} if {self.some('bool', depth)} else {i()})", lambda: f"{l()}[{i()}]",
            lambda: f"{l()}|sum", lambda: f"{l()}|first", lambda: f"{i()}|round", lambda: f"{s()}|wordcount",
            lambda: f"{d()}|count", lambda: f"{l()}|max", lambda: f"{i()}|default({i()})",
            lambda: f"({i()} or {i()})", lambda: f"{i()}|round(-1)", lambda: f"{i()}|int(default=3)",
            lambda: f"{s()}|int(0, {self.pick('2', '8', '16', '10')})", lambda: f"{l()}.count({self.some('any', depth)})",
        )()

    def make_float(self, depth):
        i, f, s = (lambda k=k: self.some(k, depth) for k in ("int", "float", "str"))
        return self.pick(
            lambda: f"({f()} {self.pick('+', '-', '*', '/', '//', '%')} {self.pick(i, f)()})",
            lambda: f"({i()} / {i()})", lambda: f"{f()}|round({self.pick('0', '1', '2', '3')})",
            lambda: f"{f()}|round({self.pick('0', '1', '2')}, {self.pick(repr('ceil'), repr('floor'), repr('common'))})",
            lambda: f"{self.pick(s, i)()}|float", lambda: f"{f()}|abs", lambda: f"(-{f()})", lambda: f"({f()} ** 2)",
            lambda: f"({i()} ** -1)", lambda: f"[{f()}, {i()}]|{self.pick('max', 'min', 'sum')}",
        )()

    def make_bool(self, depth):
        any_, i, s, l, d = (lambda k=k: self.some(k, depth) for k in ("any", "int", "str", "list", "dict"))
        test = self.pick("defined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean", "integer",
                         "float", "undefined", "true", "false", "callable", "escaped", "lower", "upper")
        return self.pick(
            lambda: f"({i()} {self.pick('<', '<=', '>', '>=', '==', '!=')} {i()})",
            lambda: f"({any_()} {self.pick('==', '!=')} {any_()})", lambda: f"({any_()} is {self.pick('', 'not ')}{test})",
            lambda: f"({s()} {self.pick('in', 'not in')} {s()})", lambda: f"({any_()} in {l()})", lambda: f"({s()} in {d()})",
            lambda: f"(not {any_()})", lambda: f"({any_()} {self.pick('and', 'or')} {any_()})",
            lambda: f"{s()}.{self.pick('isdigit', 'isalpha', 'isalnum', 'isspace', 'isupper', 'islower', 'istitle')}()",
            lambda: f"{s()}.{self.pick('startswith', 'endswith')}({self.pick(s(), '(' + s() + ', ' + s() + ')')})",
            lambda: f"({i()} is {self.pick('odd', 'even')})", lambda: f"({i()} is divisibleby {self.pick('2', '3')})",
            lambda: f"({i()} < {i()} {self.pick('<', '==')} {i()})", lambda: f"({any_()} is {self.pick('eq', 'ne', 'sameas')}({any_()}))",
            lambda: f"({s()} < {s()})", lambda: f"({l()} < {l()})", lambda: f"({any_()} is in {l()})",
        )()

    def make_str(self, depth):
        any_, i, f, s, l, d = (lambda k=k: self.some(k, depth) for k in ("any", "int", "float", "str", "list", "dict"))
        small = lambda: self.pick("0", "1", "2", "5", "-1", "-2", "12")
        cut = lambda: self.pick("", "", small())
        return self.pick(
            lambda: f"({s()} + {s()})", lambda: f"({any_()} ~ {any_()})", lambda: f"({s()} * {self.pick('0', '2', '3')})",
            lambda: f"{s()}[{cut()}:{cut()}]", lambda: f"{s()}[{cut()}:{cut()}:{self.pick('2', '-1', '-2', '')}]",
            lambda: f"{s()}[{small()}]",
            lambda: f"{s()}|{self.pick('upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse', 'e', 'urlencode', 'forceescape', 'safe')}",
            lambda: f"{s()}.{self.pick('upper', 'lower', 'title', 'capitalize', 'strip', 'lstrip', 'rstrip', 'swapcase', 'casefold')}()",
            lambda: f"{s()}.{self.pick('strip', 'lstrip', 'rstrip')}({s()})", lambda: f"{s()}|replace({s()}, {s()})",
            lambda: f"{s()}.replace({s()}, {s()}{self.pick('', ', 1')})", lambda: f"{l()}|join({self.pick('', s())})",
            lambda: f"{s()}.join({self.pick(l, lambda: l() + '|map(' + repr('string') + ')')()})",
            lambda: f"{any_()}|string", lambda: f"{any_()}|tojson",
            lambda: f"{self.pick(d, l)()}|tojson({self.pick('indent=2', 'indent=4', 'sort_keys=true', 'ensure_ascii=true', 'separators=(' + repr(',') + ', ' + repr(':') + ')', 'indent=none')})",
            lambda: f"{s()}|indent({self.pick('', '2', 'first=true', '2, true', '1, blank=true', repr('> '))})",
            lambda: f"{s()}|truncate({self.pick('3', '5', '9', '6, true', '5, false, ' + repr('.'), '4, true, ' + repr('') + ', 0')})",
            lambda: f"{s()}|center({self.pick('5', '12', '15')})", lambda: f"{s()}.{self.pick('center', 'ljust', 'rjust', 'zfill')}({self.pick('4', '13', '16')})",
            lambda: f"({s()} if {self.some('bool', depth)} else {s()})", lambda: f"({s()} if {self.some('bool', depth)})",
            lambda: f"{any_()}|default({s()}{self.pick('', ', true')})", lambda: f"('%s|%r' % ({any_()}, {any_()}))",
            lambda: f"({self.pick(repr('%d'), repr('%5d'), repr('%-5d|'), repr('%05d'), repr('%+d'), repr('%x'))} % {i()})",
            lambda: f"({self.pick(repr('%.2f'), repr('%8.3f'), repr('%g'), repr('%e'), repr('%010.1f'))} % {f()})",
            lambda: f"'{{}}:{{}}'.format({any_()}, {any_()})", lambda: f"'{{:>8}}|{{:^7}}|{{!r}}'.format({s()}, {i()}, {s()})",
            lambda: f"'{{:.3f}}|{{:,}}|{{:e}}'.format({f()}, {i()}, {f()})", lambda: f"'{{0[0]}}{{a}}'.format({l()}, a={any_()})",
            lambda: f"{s()}|format({any_()})", lambda: f"{l()}|first", lambda: f"{d()}|dictsort|string",
            lambda: f"{s()}.split({s()})[{small()}]", lambda: f"{s()}|striptags", lambda: f"{s()}|wordwrap({self.pick('3', '5', '8, false', '6, true, ' + repr('|'))})",
            lambda: f"{s()}.removeprefix({s()})", lambda: f"{s()}.removesuffix({s()})", lambda: f"{i()}|filesizeformat{self.pick('', '(true)')}",
            lambda: f"{d()}|xmlattr", lambda: f"{any_()}|pprint", lambda: f"{s()}.expandtabs({self.pick('', '4')})",
            lambda: f"{l()}|{self.pick('last', 'min', 'max')}", lambda: f"{s()}.partition({s()})[{self.pick('0', '1', '2')}]",
        )()

    def make_list(self, depth):
        any_, i, s, l, d = (lambda k=k: self.some(k, depth) for k in ("any", "int", "str", "list", "dict"))
        return self.pick(
            lambda: f"[{any_()}, {any_()}]", lambda: f"({any_()}, {any_()})", lambda: f"({l()} + {l()})", lambda: f"{l()}[{self.pick('1:', ':-1', '::-1', '1:2', '::2', '-2:')}]",
            lambda: f"{s()}.split({self.pick('', s(), s() + ', 1', 'none, 1')})", lambda: f"{s()}.rsplit({self.pick('', s(), s() + ', 1', 'none, 1')})",
            lambda: f"{s()}.splitlines({self.pick('', 'true')})", lambda: f"{l()}|sort({self.pick('', 'reverse=true', 'case_sensitive=true')})",
            lambda: f"{l()}|list", lambda: f"{l()}|reverse|list", lambda: f"{l()}|unique|list", lambda: f"{l()}|map({self.pick(repr('string'), repr('upper'), repr('int'), repr('length'), repr('default') + ', 1', repr('tojson'))})|list",
            lambda: f"{l()}|{self.pick('select', 'reject')}({self.pick('', repr('defined'), repr('string'), repr('none'), repr('odd'), repr('gt') + ', 1', repr('in') + ', ' + l(), repr('equalto') + ', ' + any_())})|list",
            lambda: f"ms|{self.pick('selectattr', 'rejectattr')}({self.pick(repr('n'), repr('n') + ', ' + repr('defined'), repr('role') + ', ' + repr('equalto') + ', ' + repr('user'), repr('role') + ', ' + repr('in') + ', ' + l())})|list",
            lambda: f"ms|map(attribute={self.pick(repr('role'), repr('n'), repr('content.0'), repr('n') + ', default=0')})|list",
            lambda: f"{l()}|batch({self.pick('1', '2', '3, ' + any_())})|list", lambda: f"{l()}|slice({self.pick('1', '2', '3, ' + any_())})|list",
            lambda: f"{d()}|dictsort({self.pick('', 'true', 'by=' + repr('value'), 'reverse=true')})", lambda: f"{d()}|items|list",
            lambda: f"{d()}.{self.pick('keys', 'values', 'items')}()|list", lambda: f"ms|sort(attribute={self.pick(repr('role'), repr('content,role'))})|list",
            lambda: f"ms|groupby({self.pick(repr('role'), repr('n') + ', default=0')})", lambda: f"range({self.pick('3', '1, 4', '5, 0, -2', i())})|list", lambda: f"{d()}|list",
            lambda: f"({l()} * 2)", lambda: f"[{any_()}]", lambda: f"{s()}|list",
        )()

    def make_dict(self, depth):
        any_, s, d = (lambda k=k: self.some(k, depth) for k in ("any", "str", "dict"))
        return self.pick(
            lambda: f"{{{s()}: {any_()}, {self.pick(repr('q'), '1', 'none', 'true', '1.0')}: {any_()}}}", lambda: f"dict(z={any_()}, y={any_()})", lambda: f"dict({d()}, z={any_()})",
            lambda: "ms[0]", lambda: "dd.k", lambda: f"{d()}.copy()", lambda: f"({d()} if {self.some('bool', depth)} else {d()})",
        )()

    def expression(self, depth=3):
        return self.some("any", depth)

    def tag(self, inner):
        return self.pick("{% ", "{%- ", "{% ", "{%+ ") + inner + self.pick(" %}", " -%}", " %}", " %}", " +%}")

    def text(self):
        return self.pick("", " ", "\n", "x", "  \n", "\n  ", "a b", "\t", "é\n", "\n\n")

    def statement(self, depth):
        body = lambda: self.body(depth - 1) if depth > 0 else self.text()
        name = self.pick("v", "w", "a", "s", "x")

        def inside(extra):
            self.scope += extra
            made = body()
            del self.scope[len(self.scope) - len(extra):]
            return made
        loop = ["loop.index", "loop.first", "loop.last", "loop.length", "loop.revindex0", "loop.previtem", "loop.nextitem", "loop.changed(i)", "loop.cycle(1, 'b')", "i", "loop.depth"]
        return self.pick(
            lambda: self.pick("{{ ", "{{- ", "{{") + self.expression() + self.pick(" }}", " -}}", "}}"),
            lambda: self.tag(f"if {self.some('bool', 2)}") + body() + self.pick("", self.tag("else") + body(), self.tag(f"elif {self.some('bool', 1)}") + body()) + self.tag("endif"),
            lambda: self.tag(f"for i in {self.some('list', 2)}{self.pick('', '', ' if i', ' if i is defined')}") + inside(loop) + self.pick("", self.tag("else") + body(), self.tag("if loop.index > 1") + self.tag(self.pick("break", "continue")) + self.tag("endif") + body()) + self.tag("endfor"),
            lambda: self.tag(f"for k, v in {self.some('dict', 1)}.items()") + inside(["k", "v", "loop.index0"]) + self.tag("endfor"),
            lambda: self.tag(f"set {name} = {self.expression(2)}") + inside([name]),
            lambda: self.tag(f"set {name}{self.pick('', ' | upper', ' | trim | length')}") + body() + self.tag("endset") + inside([name]),
            lambda: self.tag(f"set ns = namespace(c={self.expression(1)})") + self.tag("for i in l") + self.tag(f"set ns.c = {self.pick('i', '[ns.c, i]', 'ns.c ~ i')}") + inside(["i", "ns.c"]) + self.tag("endfor") + "{{ ns.c }}{{ ns }}",
            lambda: self.tag(f"macro m(p, q={self.expression(1)})") + inside(["p", "q", "varargs", "kwargs", "caller() if caller"]) + self.tag("endmacro") + self.pick("{{ m(%s) }}", "{{ m(1, q=%s) }}", "{%% call m(%s) %%}C{{ s }}{%% endcall %%}", "{{ m(q=%s, p=2) }}", "{{ m(1, 2, %s, z=4) }}") % self.expression(1),
            lambda: self.tag(f"with {name} = {self.expression(2)}") + inside([name]) + self.tag("endwith"),
            lambda: self.tag(f"filter {self.pick('upper', 'trim', 'indent(1)', 'length', 'replace(' + repr('a') + ', ' + repr('b') + ')|title')}") + body() + self.tag("endfilter"),
            lambda: self.tag("for i in [1, [2, [3]]] recursive") + self.tag("if i is iterable") + "({{ loop(i) }})" + self.tag("else") + inside(loop) + self.tag("endif") + self.tag("endfor"),
            lambda: "{#" + self.pick("", "-", "+") + " c " + self.pick("", "-", "+") + "#}", lambda: "{% raw %}{{ x }}" + self.text() + "{% endraw %}",
            lambda: self.tag("generation") + body() + self.tag("endgeneration"), lambda: self.tag(f"print {self.expression(1)}"),
        )()

    def body(self, depth):
        return "".join(self.text() + self.statement(depth) for _ in range(self.r.randint(1, 3))) + self.text()

    def template(self):
        self.scope = []
        return self.pick(lambda: "{{ " + self.expression(4) + " }}", lambda: self.body(2), lambda: self.statement(1))()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--random", type=int, default=250)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", default=str(HERE / "jinja-cases.json"))
    arguments.add_argument("--only-random", action="store_true")
    options = arguments.parse_args()
    cases = []

    def add(context, template):
        kind, text = outcome(template, CONTEXTS[context])
        if not NOT_COMPARED.search(text) and len(text) < 20000:
            cases.append([template, context, kind, text])
        return kind

    if not options.only_random:
        for context, template in read_cases("jinja-cases.txt"):
            add(context, template)
    generator, made = Generator(options.seed), 0
    while made < options.random:
        template = generator.template()
        if len(template) < 600 or options.only_random:
            kind = outcome(template, CONTEXTS["plain"])[0]
            if kind == "text" or generator.r.random() < 0.3:
                add("plain", template)
                made += 1
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    with open(options.out, "w", encoding="utf-8", newline="") as out:
        out.write('{"contexts": ' + json.dumps(CONTEXTS, ensure_ascii=False) + ',\n"cases": [\n' + lines + "\n]}\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
