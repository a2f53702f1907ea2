#include "core/tokenizer/jinja/Binder.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "core/tokenizer/jinja/Failure.h"
#include "core/tokenizer/jinja/Operations.h"

namespace decoscope::jinja {

namespace {

using StatementKind = Statement::Kind;
using ExpressionKind = Expression::Kind;

enum class Use { load, store, parameter };

// Goes through names in the order in which Jinja2's find_undeclared does, inner scopes included and blocks
// not.
class UndeclaredNames {
 public:
  UndeclaredNames(const Body& body, std::set<std::string> names) : names_(std::move(names)) { visit(body); }
  bool has(const std::string& name) const { return found_.contains(name); }

 private:
  void use(const std::string& name, Use how) {
    if (how == Use::load && names_.contains(name))
      found_.insert(name);
    else
      names_.erase(name);
  }
  void visit(Expression& node, Use how = Use::load) {
    if (node.kind == ExpressionKind::name)
      use(static_cast<Name&>(node).name, how);
    else
      forEachChild(node, [&](ExpressionPtr& child) {
        visit(*child, node.kind == ExpressionKind::tuple ? how : Use::load);
      });
  }
  void visit(const ExpressionPtr& node, Use how = Use::load) {
    if (node) visit(*node, how);
  }
  void visit(const MacroCode& code) {
    for (const std::string& name : code.parameters) use(name, Use::parameter);
    for (const ExpressionPtr& value : code.defaults) visit(value);
    visit(code.body);
  }
  void visit(const Body& body) {
    for (const StatementPtr& statement : body) visit(*statement);
  }
  void visit(Statement& statement) {
    switch (statement.kind) {
      case StatementKind::output:
        for (const ExpressionPtr& part : static_cast<Output&>(statement).expressions) visit(part);
        break;
      case StatementKind::branch: {
        auto& node = static_cast<Branch&>(statement);
        for (const auto& [test, body] : node.cases) visit(test), visit(body);
        visit(node.otherwise);
        break;
      }
      case StatementKind::loop: {
        auto& node = static_cast<ForLoop&>(statement);
        visit(node.target, Use::store), visit(node.iterable), visit(node.body), visit(node.otherwise);
        visit(node.test);
        break;
      }
      case StatementKind::assign:
        visit(static_cast<Assign&>(statement).target, Use::store);
        visit(static_cast<Assign&>(statement).value);
        break;
      case StatementKind::assignBlock: {
        auto& node = static_cast<AssignBlock&>(statement);
        visit(node.target, Use::store), visit(node.filter), visit(node.body);
        break;
      }
      case StatementKind::macro:
        visit(static_cast<MacroDefinition&>(statement).code);
        break;
      case StatementKind::callBlock:
        visit(static_cast<CallBlock&>(statement).call);
        visit(static_cast<CallBlock&>(statement).code);
        break;
      case StatementKind::filterBlock:
        visit(static_cast<FilterBlock&>(statement).body);
        visit(static_cast<FilterBlock&>(statement).filter);
        break;
      case StatementKind::with: {
        auto& node = static_cast<With&>(statement);
        for (const auto& [target, value] : node.bindings) visit(target, Use::parameter);
        for (const auto& [target, value] : node.bindings) visit(value);
        visit(node.body);
        break;
      }
      case StatementKind::scope:
        visit(static_cast<Scope&>(statement).body);
        break;
      default:
        break;
    }
  }

  std::set<std::string> names_, found_;
};

// One function's variables.
struct FunctionScope {
  FunctionScope* outer = nullptr;
  std::map<std::pair<int, std::string>, int> slots;  // by level of the scope and name
  int loops = 0;                                     // loops around the statement that is being bound
};

struct Symbols {
  Symbols* parent = nullptr;
  FunctionScope* function = nullptr;
  int level = 0;
  std::unordered_map<std::string, int> slots;
  std::set<std::string> stores;
  ScopeCode code;
};

// Where a statement stands.
struct Place {
  Symbols* symbols;
  bool topLevel = false;
  bool soft = false;  // under an `if`: unknown filters fail only when they are reached
};

class Binder {
 public:
  void run(Program& program) {
    FunctionScope function;
    Symbols symbols;
    symbols.function = &function;
    if (UndeclaredNames(program.body, {"self"}).has("self")) program.self = {0, declare(symbols, "self")};
    analyze(symbols, program.body);
    bindBody(program.body, {&symbols, true});
    program.scope = std::move(symbols.code);
    program.slots = static_cast<int>(function.slots.size());
    for (Block* block : program.blocks) bindBlock(*block);
  }

 private:
  // ---- symbols

  static int define(Symbols& symbols, const std::string& name, Load::Action action, Slot source = {}) {
    auto& slots = symbols.function->slots;
    const auto [place, isNew] =
        slots.emplace(std::make_pair(symbols.level, name), static_cast<int>(slots.size()));
    const int slot = place->second;
    symbols.slots[name] = slot;
    const auto known = isNew ? symbols.code.loads.end()
                             : std::find_if(symbols.code.loads.begin(), symbols.code.loads.end(),
                                            [&](const Load& load) { return load.slot == slot; });
    Load load{slot, action, name, source};
    if (known == symbols.code.loads.end())
      symbols.code.loads.push_back(std::move(load));
    else
      *known = std::move(load);
    return slot;
  }

  static int declare(Symbols& symbols, const std::string& name) {
    symbols.stores.insert(name);
    return define(symbols, name, Load::Action::parameter);
  }

  // The slot of `name` as `from` sees it.
  static std::optional<Slot> find(const Symbols* symbols, const FunctionScope* from,
                                  const std::string& name) {
    for (; symbols; symbols = symbols->parent) {
      const auto found = symbols->slots.find(name);
      if (found == symbols->slots.end()) continue;
      Slot slot{0, found->second};
      for (; from && from != symbols->function; from = from->outer) ++slot.hops;
      return slot;
    }
    return std::nullopt;
  }

  static void load(Symbols& symbols, const std::string& name) {
    if (!find(&symbols, symbols.function, name)) define(symbols, name, Load::Action::resolve);
  }

  static void store(Symbols& symbols, const std::string& name, bool conditional) {
    symbols.stores.insert(name);
    if (symbols.slots.contains(name)) return;
    if (const auto outer = find(symbols.parent, symbols.function, name))
      define(symbols, name, Load::Action::alias, *outer);
    else
      define(symbols, name, conditional ? Load::Action::resolve : Load::Action::undefined);
  }

  // ---- what a scope loads and stores, without the scopes inside it

  void analyze(Symbols& symbols, const Body& body, bool conditional = false) {
    for (const StatementPtr& statement : body) analyze(symbols, *statement, conditional);
  }

  void analyze(Symbols& symbols, const ExpressionPtr& node) {
    if (node) analyze(symbols, *node);
  }

  void analyze(Symbols& symbols, Expression& node) {
    if (node.kind == ExpressionKind::name) load(symbols, static_cast<Name&>(node).name);
    forEachChild(node, [&](ExpressionPtr& child) { analyze(symbols, *child); });
  }

  void analyzeTarget(Symbols& symbols, Expression& node, Use use, bool conditional) {
    if (node.kind == ExpressionKind::name) {
      const std::string& name = static_cast<Name&>(node).name;
      if (use == Use::parameter)
        declare(symbols, name);
      else
        store(symbols, name, conditional);
    } else if (node.kind == ExpressionKind::nameSpaceTarget) {
      load(symbols, static_cast<NameSpaceTarget&>(node).name);
    } else {
      forEachChild(node, [&](ExpressionPtr& child) { analyzeTarget(symbols, *child, use, conditional); });
    }
  }

  void analyze(Symbols& symbols, Statement& statement, bool conditional) {
    switch (statement.kind) {
      case StatementKind::output:
        for (const ExpressionPtr& part : static_cast<Output&>(statement).expressions) analyze(symbols, part);
        break;
      case StatementKind::branch: {
        auto& node = static_cast<Branch&>(statement);
        for (auto& [test, body] : node.cases) analyze(symbols, test), analyze(symbols, body, true);
        analyze(symbols, node.otherwise, true);
        break;
      }
      case StatementKind::loop:
        analyze(symbols, static_cast<ForLoop&>(statement).iterable);
        break;
      case StatementKind::assign: {
        auto& node = static_cast<Assign&>(statement);
        analyze(symbols, node.value);
        analyzeTarget(symbols, *node.target, Use::store, conditional);
        break;
      }
      case StatementKind::assignBlock:
        analyzeTarget(symbols, *static_cast<AssignBlock&>(statement).target, Use::store, conditional);
        break;
      case StatementKind::macro:
        store(symbols, static_cast<MacroDefinition&>(statement).code.name, conditional);
        break;
      case StatementKind::callBlock:
        analyze(symbols, static_cast<CallBlock&>(statement).call);
        break;
      case StatementKind::filterBlock:
        analyze(symbols, static_cast<FilterBlock&>(statement).filter);
        break;
      case StatementKind::with:
        for (auto& [target, value] : static_cast<With&>(statement).bindings) analyze(symbols, value);
        break;
      default:
        break;
    }
  }

  // ---- names to slots

  static Symbols inner(const Place& place, FunctionScope* function = nullptr) {
    Symbols symbols;
    symbols.parent = place.symbols;
    symbols.level = place.symbols->level + 1;
    symbols.function = function ? function : place.symbols->function;
    return symbols;
  }

  Slot slotOf(const Place& place, const std::string& name) {
    load(*place.symbols, name);
    return *find(place.symbols, place.symbols->function, name);
  }

  void bindExpression(const ExpressionPtr& node, const Place& place) {
    if (node) bindExpression(*node, place);
  }

  void bindExpression(Expression& node, const Place& place) {
    Place inside = place;
    switch (node.kind) {
      case ExpressionKind::name:
        static_cast<Name&>(node).slot = slotOf(place, static_cast<Name&>(node).name);
        break;
      case ExpressionKind::nameSpaceTarget:
        static_cast<NameSpaceTarget&>(node).slot = slotOf(place, static_cast<NameSpaceTarget&>(node).name);
        break;
      case ExpressionKind::conditional:
        inside.soft = true;
        break;
      case ExpressionKind::filter:
      case ExpressionKind::test: {
        auto& operation = static_cast<NamedOperation&>(node);
        const bool isFilter = node.kind == ExpressionKind::filter;
        operation.operation = isFilter ? findFilter(operation.name) : findTest(operation.name);
        if (!operation.operation && !place.soft)
          throwFailure(
              std::string("No ") + (isFilter ? "filter" : "test") + " named '" + operation.name + "'.",
              FailureKind::error, node.line);
        break;
      }
      default:
        break;
    }
    forEachChild(node, [&](ExpressionPtr& child) { bindExpression(*child, inside); });
  }

  void bindTarget(Expression& node, const Place& place, Use use = Use::store) {
    if (node.kind == ExpressionKind::name && static_cast<Name&>(node).name == "loop" && use == Use::store &&
        lexicalLoops_ > 0)
      throwFailure("Can't assign to special loop variable in for-loop target", FailureKind::error, node.line);
    if (node.kind == ExpressionKind::tuple)
      forEachChild(node, [&](ExpressionPtr& child) { bindTarget(*child, place, use); });
    else
      bindExpression(node, place);
  }

  void bindBody(const Body& body, const Place& place) {
    for (const StatementPtr& statement : body) bindStatement(*statement, place);
  }

  void bindStatement(Statement& statement, const Place& place) {
    switch (statement.kind) {
      case StatementKind::text:
      case StatementKind::block:
        if (statement.kind == StatementKind::block) see(static_cast<Block&>(statement), place);
        break;
      case StatementKind::output:
        for (const ExpressionPtr& part : static_cast<Output&>(statement).expressions)
          bindExpression(part, place);
        break;
      case StatementKind::branch: {
        Place inside = place;
        inside.soft = true;
        for (auto& [test, body] : static_cast<Branch&>(statement).cases) {
          bindExpression(test, inside);
          bindBody(body, inside);
        }
        bindBody(static_cast<Branch&>(statement).otherwise, inside);
        break;
      }
      case StatementKind::loop:
        bindLoop(static_cast<ForLoop&>(statement), place);
        break;
      case StatementKind::assign: {
        auto& node = static_cast<Assign&>(statement);
        bindTarget(*node.target, place);
        bindExpression(node.value, place);
        node.exported = place.topLevel;
        break;
      }
      case StatementKind::assignBlock: {
        auto& node = static_cast<AssignBlock&>(statement);
        Symbols symbols = inner(place);
        analyze(symbols, node.body);
        bindBody(node.body, {&symbols});
        bindTarget(*node.target, place);
        bindExpression(node.filter, {&symbols});
        node.scope = std::move(symbols.code);
        node.exported = place.topLevel;
        break;
      }
      case StatementKind::macro: {
        auto& node = static_cast<MacroDefinition&>(statement);
        bindMacro(node.code, place);
        node.slot = slotOf(place, node.code.name);
        node.exported = place.topLevel;
        break;
      }
      case StatementKind::callBlock: {
        auto& node = static_cast<CallBlock&>(statement);
        bindMacro(node.code, place);
        bindExpression(node.call, place);
        break;
      }
      case StatementKind::filterBlock: {
        auto& node = static_cast<FilterBlock&>(statement);
        Symbols symbols = inner(place);
        analyze(symbols, node.body);
        analyze(symbols, node.filter);
        bindBody(node.body, {&symbols});
        bindExpression(node.filter, {&symbols});
        node.scope = std::move(symbols.code);
        break;
      }
      case StatementKind::with: {
        auto& node = static_cast<With&>(statement);
        Symbols symbols = inner(place);
        for (auto& [target, value] : node.bindings) analyzeTarget(symbols, *target, Use::parameter, false);
        analyze(symbols, node.body);
        for (auto& [target, value] : node.bindings) {
          bindTarget(*target, {&symbols}, Use::parameter);
          bindExpression(value, place);
        }
        bindBody(node.body, {&symbols});
        node.scope = std::move(symbols.code);
        break;
      }
      case StatementKind::scope: {
        auto& node = static_cast<Scope&>(statement);
        Symbols symbols = inner(place);
        analyze(symbols, node.body);
        bindBody(node.body, {&symbols});
        node.code = std::move(symbols.code);
        break;
      }
      case StatementKind::breakLoop:
      case StatementKind::continueLoop:
        if (place.symbols->function->loops == 0)
          throwFailure(statement.kind == StatementKind::breakLoop ? "'break' outside loop"
                                                                  : "'continue' not properly in loop",
                       FailureKind::error, statement.line);
        break;
    }
  }

  static ExpressionPtr copyTarget(const Expression& node) {
    if (node.kind == ExpressionKind::name)
      return std::make_unique<Name>(static_cast<const Name&>(node).name, node.line);
    std::vector<ExpressionPtr> items;
    if (node.kind == ExpressionKind::tuple)
      for (const ExpressionPtr& item : static_cast<const Items&>(node).items)
        items.push_back(copyTarget(*item));
    return std::make_unique<Items>(ExpressionKind::tuple, std::move(items), node.line);
  }

  void bindLoop(ForLoop& node, const Place& place) {
    bindExpression(node.iterable, place);
    ++lexicalLoops_;
    if (node.test) {
      FunctionScope function;
      function.outer = place.symbols->function;
      Symbols symbols = inner(place, &function);
      node.testTarget = copyTarget(*node.target);
      analyzeTarget(symbols, *node.testTarget, Use::parameter, false);
      analyze(symbols, node.test);
      bindTarget(*node.testTarget, {&symbols});
      bindExpression(node.test, {&symbols});
      node.testScope = std::move(symbols.code);
      node.testSlots = static_cast<int>(function.slots.size());
    }
    FunctionScope own;
    own.outer = place.symbols->function;
    FunctionScope* function = node.recursive ? &own : place.symbols->function;
    Symbols symbols = inner(place, function);
    node.loopSlot = {0, declare(symbols, "loop")};
    analyzeTarget(symbols, *node.target, Use::parameter, false);
    analyze(symbols, node.body);
    bindTarget(*node.target, {&symbols});
    ++function->loops;
    bindBody(node.body, {&symbols});
    --function->loops;
    node.bodyScope = std::move(symbols.code);
    Symbols otherwise = inner(place, function);
    analyze(otherwise, node.otherwise);
    bindBody(node.otherwise, {&otherwise});
    node.otherwiseScope = std::move(otherwise.code);
    node.slots = static_cast<int>(own.slots.size());
    --lexicalLoops_;
  }

  void bindMacro(MacroCode& code, const Place& place) {
    FunctionScope function;
    function.outer = place.symbols->function;
    Symbols symbols = inner(place, &function);
    for (const std::string& name : code.parameters)
      code.parameterSlots.push_back({0, declare(symbols, name)});
    const UndeclaredNames undeclared(code.body, {"caller", "kwargs", "varargs"});
    const auto position = [&](const char* name) {
      return std::find(code.parameters.begin(), code.parameters.end(), name);
    };
    if (undeclared.has("caller")) {
      const auto explicitCaller = position("caller");
      if (explicitCaller == code.parameters.end())
        code.caller = {0, declare(symbols, "caller")};
      else if (static_cast<std::size_t>(code.parameters.end() - explicitCaller) > code.defaults.size())
        throwFailure(
            "When defining macros or call blocks the special \"caller\" argument must be omitted or be given "
            "a "
            "default.",
            FailureKind::error, code.line);
    }
    if (undeclared.has("kwargs") && position("kwargs") == code.parameters.end())
      code.keywords = {0, declare(symbols, "kwargs")};
    if (undeclared.has("varargs") && position("varargs") == code.parameters.end())
      code.rest = {0, declare(symbols, "varargs")};
    for (const ExpressionPtr& value : code.defaults) analyze(symbols, value);
    analyze(symbols, code.body);
    for (const ExpressionPtr& value : code.defaults) bindExpression(value, {&symbols});
    bindBody(code.body, {&symbols});
    code.scope = std::move(symbols.code);
    code.slots = static_cast<int>(function.slots.size());
  }

  // What a scoped block sees of the place where it stands.
  void see(Block& block, const Place& place) {
    if (!block.scoped) return;
    std::set<std::string> seen;
    for (const Symbols* symbols = place.symbols; symbols; symbols = symbols->parent)
      for (const std::string& name : symbols->stores)
        if (seen.insert(name).second)
          block.seen.emplace_back(name, *find(place.symbols, place.symbols->function, name));
  }

  void bindBlock(Block& block) {
    FunctionScope function;
    Symbols symbols;
    symbols.function = &function;
    const UndeclaredNames undeclared(block.body, {"self", "super"});
    if (undeclared.has("self")) block.self = {0, declare(symbols, "self")};
    if (undeclared.has("super")) block.parent = {0, declare(symbols, "super")};
    analyze(symbols, block.body);
    bindBody(block.body, {&symbols});
    block.scope = std::move(symbols.code);
    block.slots = static_cast<int>(function.slots.size());
  }

  int lexicalLoops_ = 0;
};

}  // namespace

void bind(Program& program) {
  Binder().run(program);
}

}  // namespace decoscope::jinja
