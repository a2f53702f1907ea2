// Templates against what Jinja2 itself made of them (make-jinja-cases.py), and the bounds that it does not
// have.
#include <QElapsedTimer>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/tokenizer/jinja/Json.h"
#include "core/tokenizer/jinja/Template.h"

using namespace decoscope;
using namespace decoscope::jinja;

namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

// The date that the cases were made with.
std::tm date() {
  std::tm result{};
  result.tm_year = 124;
  result.tm_mon = 6;
  result.tm_mday = 26;
  timegm(&result);
  return result;
}

Result<std::string> rendered(const std::string& source, const std::string& context = "{}",
                             const RenderLimits& limits = {}) {
  DECOSCOPE_ASSIGN(const Template compiled, Template::compile(source));
  DECOSCOPE_ASSIGN(const Value values, parseJson(context, "context"));
  Variables variables;
  for (const auto& [name, value] : values.entries().items) variables.emplace_back(name.bytes(), value);
  RenderOptions options;
  options.now = date();
  options.limits = limits;
  return compiled.render(variables, options);
}

void compare(const std::string& path) {
  const auto table = nlohmann::ordered_json::parse(content(path));
  int row = 0;
  for (const auto& test : table["cases"]) {
    const std::string source = test[0], kind = test[2], expected = test[3];
    const auto result = rendered(source, table["contexts"][test[1].get<std::string>()].dump());
    const std::string got = result ? *result : result.error().message;
    const std::string why = "case " + std::to_string(row++) + ": " + source + "\nexpected " + kind + ": " +
                            expected + "\ngot: " + (result ? got : result.error().text());
    if (kind == "text")
      QVERIFY2(result && got == expected, why.c_str());
    else if (kind == "raised")
      QVERIFY2(!result && got == expected, why.c_str());
    else
      QVERIFY2(!result, why.c_str());
  }
  QVERIFY(row > 100);
}

}  // namespace

class TestJinja : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void agreesWithJinja2() { compare(DECOSCOPE_SOURCE_DIR "/tests/tokenizer/jinja-cases.json"); }
  void agreesWithMoreCases() {
    const QByteArray path = qgetenv("DECOSCOPE_JINJA_CASES");
    if (path.isEmpty()) QSKIP("DECOSCOPE_JINJA_CASES names no further cases");
    compare(path.toStdString());
  }

  void errorsNameTheLine_data() {
    QTest::addColumn<QString>("source");
    QTest::addColumn<QString>("message");
    QTest::addColumn<QString>("where");
    const auto row = [](const char* source, const char* message, const char* where) {
      QTest::newRow(source) << source << message << where;
    };
    row("a\n{{ x.y }}", "'x' is undefined", "chat template, line 2");
    row("\n\n{{ raise_exception('No such role') }}", "No such role", "chat template, line 3");
    row("{% if true %}\n{% for x in y %}", "Unexpected end of template.", "chat template, line 2");
    row("\n{{ 'a' + 1 }}", "can only concatenate str (not \"int\") to str", "chat template, line 2");
    row("{% macro m() %}\n{{ none.a.b }}\n{% endmacro %}\n{{ m() }}", "'None' has no attribute 'a'",
        "chat template, line 2");
    row("{{ d.k.l }}", "'dict object' has no attribute 'k'", "chat template, line 1");
    row("{{ [].append(1) }}", "access to attribute 'append' of 'list' object is unsafe.",
        "chat template, line 1");
    row("\n{{ 1|foo }}", "No filter named 'foo'.", "chat template, line 2");
    row("{% foo %}", "Encountered unknown tag 'foo'.", "chat template, line 1");
    row("{{ 'abc }}", "a string is not closed", "chat template, line 1");
  }
  void errorsNameTheLine() {
    QFETCH(QString, source);
    QFETCH(QString, message);
    QFETCH(QString, where);
    const auto result = rendered(source.toStdString(), R"({"d":{}})");
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(result.error().message.starts_with(message.toStdString()), result.error().message.c_str());
    QCOMPARE(QString::fromStdString(result.error().where), where);
  }

  void refusesByName_data() {
    QTest::addColumn<QString>("source");
    QTest::addColumn<QString>("name");
    for (const char* tag : {"include", "import", "extends"})
      QTest::newRow(tag) << QString("{% %1 'x' %}").arg(tag) << tag;
    QTest::newRow("from") << "{% from 'x' import y %}" << "from";
    QTest::newRow("random") << "{{ [1]|random }}" << "random";
    QTest::newRow("lipsum") << "{{ lipsum() }}" << "lipsum";
    QTest::newRow("big integers") << "{{ 2 ** 100 }}" << "64 bits";
    QTest::newRow("autoescape") << "{% autoescape true %}{% endautoescape %}" << "autoescape";
  }
  void refusesByName() {
    QFETCH(QString, source);
    QFETCH(QString, name);
    const auto result = rendered(source.toStdString());
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::unsupported);
    QVERIFY2(QString::fromStdString(result.error().message).contains(name), result.error().message.c_str());
  }

  void hostileTemplatesEnd_data() {
    QTest::addColumn<QString>("source");
    const auto row = [](const char* name, const QString& source) { QTest::newRow(name) << source; };
    row("nested loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}");
    row("a long text", "{{ 'a' * 10 ** 9 }}");
    row("a long list", "{{ [0] * 10 ** 9 }}");
    row("doubling",
        "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
    row("many long texts",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + ['a' * 1000000] %}{% "
        "endfor %}");
    row("a wide field", "{{ '%999999999s' % 'a' }}");
    row("a wider field", "{{ '{:>999999999}'.format(1) }}");
    row("padding", "{{ 'a'.center(10 ** 12) }}");
    row("endless recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    row("a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
    row("deep values",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}");
    row("deep iterators",
        "{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}{% set ns.l = ns.l|map('abs') %}{% endfor "
        "%}");
    row("a namespace in itself", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}");
    row("deep parentheses", "{{ " + QString(100000, '(') + "1" + QString(100000, ')') + " }}");
    row("a long sum", "{{ 1" + QString(" + 1").repeated(100000) + " }}");
    row("deep blocks", QString("{% if true %}").repeated(50000) + QString("{% endif %}").repeated(50000));
    row("deep brackets", "{{ " + QString("[").repeated(100000) + " }}");
    row("a wide date", "{{ strftime_now('%999999999d') }}");
    row("replacing nothing", "{{ ('a' * 1000000)|replace('', 'a' * 1000) }}");
    row("an indented text", "{{ ('\\n' * 1000000)|indent(1000000, blank=true) }}");
  }
  void hostileTemplatesEnd() {
    QFETCH(QString, source);
    QElapsedTimer timer;
    timer.start();
    RenderLimits limits;
    limits.steps = 20'000'000;
    limits.memoryBytes = 300'000'000;
    const auto result = rendered(source.toStdString(), "{}", limits);
    QVERIFY(!result);
    QVERIFY2(timer.elapsed() < 20'000, "it took too long");
  }

  void circlesAreFreed_data() {
    QTest::addColumn<QString>("source");
    const auto row = [](const char* name, const char* source) { QTest::newRow(name) << source; };
    row("namespaces", "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}");
    row("a macro", "{% set a = namespace() %}{% macro m() %}{% endmacro %}{% set a.m = m %}");
    row("a loop", "{% set a = namespace() %}{% for x in [1] %}{% set a.l = loop %}{% endfor %}");
    row("a loop that is its own item",
        "{% set a = namespace(c=1) %}{% for x in [a, a, a]|map(attribute='c') %}"
        "{% set a.c = [loop] %}{% endfor %}{% set a.c = 0 %}");
    row("a filtered loop that is its own item",
        "{% set a = namespace(c=1) %}{% for x in [a, a, a]|map(attribute='c') if x is defined %}"
        "{% set a.c = loop %}{% endfor %}{% set a.c = 0 %}");
    row("an iterator that holds itself",
        "{% set a = namespace() %}{% set a.i = [a, a]|map(attribute='i')|batch(3) %}"
        "{{ a.i|first|length }}{% set a.i = 0 %}");
    row("an iterator that has seen itself",
        "{% set a = namespace() %}{% set a.i = [a, a]|map(attribute='i')|unique %}"
        "{% set x = a.i|first %}{% set a.i = 0 %}");
  }
  void circlesAreFreed() {
    QFETCH(QString, source);
    QVERIFY(rendered("").has_value());
    const std::int64_t before = Object::liveBytes();
    const auto result = rendered(source.toStdString());
    QVERIFY2(result.has_value(), result ? "" : result.error().text().c_str());
    QCOMPARE(Object::liveBytes(), before);
  }

  void jsonIsReadWithoutTrust() {
    QVERIFY(!parseJson(std::string(100000, '['), "x"));
    QVERIFY(!parseJson("{\"a\":1e", "x"));
    QVERIFY(!parseJson("99999999999999999999", "x"));
    QVERIFY(!parseJson("\"\xFF\"", "x"));
    const auto value = parseJson(R"({"b":1,"a":[1.0,-0.5,null,true,"é"],"b":2})", "x");
    QVERIFY(value.has_value());
    QCOMPARE(toJson(*value), std::string(R"({"b": 2, "a": [1.0, -0.5, null, true, "é"]})"));
  }
};

QTEST_GUILESS_MAIN(TestJinja)
#include "TestJinja.moc"
