// A decoding method as a state machine: one user-visible step per call.
//
// To add a method: one file that defines a MethodInfo and a factory, and one line in Methods.cpp. Parameters,
// roles and needs are declared here; the form, the command line and the documentation follow from them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/ParamSchema.h"
#include "core/base/Rng.h"
#include "core/base/Stop.h"
#include "core/decode/Sequence.h"
#include "core/model/Model.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/trace/Recorder.h"

namespace decoscope {

// A model as a decoder sees it: the net and the part of the text that its cache holds.
struct RoleModel {
  Model* model = nullptr;
  Sequence sequence;
  // A draft head has no slot for the text's first token, only for those behind it: which one it was.
  TokenId first = -1;
};

// Why a line ended. Empty while it can go on.
inline constexpr const char* kStopEnd = "eos";
inline constexpr const char* kStopLength = "length";
inline constexpr const char* kStopString = "stop_string";
inline constexpr const char* kStopContext = "context";

// What a decoder may use during a step; lent by the session and valid for its lifetime. One thread: the model
// thread.
class DecodeEnvironment {
 public:
  // Roles by name; "target" is always there.
  std::map<std::string, RoleModel*> roles;
  const Tokenizer* tokenizer = nullptr;
  Recorder* recorder = nullptr;
  StopToken stop;
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;

  // The text: prompt and everything committed. Decoders append through commit() only.
  std::vector<TokenId> text;
  std::size_t promptLength = 0;
  std::int64_t maxNewTokens = 0;
  std::vector<TokenId> stopTokens;  // empty: nothing ends the text by itself
  std::vector<std::string> stopStrings;
  std::string stopReason;  // set by commit() or the decoder when the line has ended

  RoleModel& target() const { return *roles.at("target"); }
  RoleModel& role(const std::string& name) const { return *roles.at(name); }
  std::int64_t generated() const { return static_cast<std::int64_t>(text.size() - promptLength); }
  std::int64_t remaining() const { return maxNewTokens - generated(); }
  std::int32_t usableVocabulary() const { return tokenizer->size(); }

  // A uniform number for a decision at a text position (see Rng.h).
  double draw(std::int64_t position, NodeId node, DrawPurpose purpose, std::uint32_t index = 0) const {
    return uniform({seed, stream, position}, node, purpose, index);
  }

  // Appends one token to the text and records it. Returns false when the line has ended with it (end of text,
  // length, a stop string) or had ended before; nothing may be committed after that.
  bool commit(TokenId token, Provenance provenance, NodeId node = kRootNode);

  // Runs a forward, records it under the role and phase, and adds its time to the step.
  Result<ForwardOutput> forward(const std::string& roleName, const ForwardRequest& request,
                                ForwardPhase phase);

  // Brings a role's cache to the text without its last token: drops what no longer agrees, runs the missing
  // tokens in chunks. Afterwards the pending token alone is missing. `take` is handed the taps of each chunk,
  // whose first token stands at text position `first`.
  using TakeStates = std::function<Status(std::size_t first, std::span<const TapValue> states)>;
  Status prefill(const std::string& roleName, const std::vector<Tap>& taps = {}, const TakeStates& take = {});

 private:
  std::string tail_;  // the last bytes of the generated text, for stop strings
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  // Called once before the first step, with the text so far (not empty). May run the prompt.
  virtual Status begin(DecodeEnvironment& environment) = 0;
  // One step: commits at least one token or cell, or ends the line. On an error the environment's text is
  // unchanged since the last commit.
  virtual Status step(DecodeEnvironment& environment) = 0;
  // Takes other values for its parameters from the next step on; keeps what it has learned.
  virtual Status reconfigure(const ParamSet& parameters) = 0;
  // A step that commits this token whatever the model thinks, recording what it thought. `provenance` is
  // `forced`, or `kept` for a token that a fork repeats. Not every method can.
  virtual Status force(DecodeEnvironment& environment, TokenId token, Provenance provenance) = 0;

  // State that outlives a run, e.g. a drafter's table. Empty when there is none.
  virtual std::string exportState() const { return {}; }
  virtual Status importState(const std::string&) { return {}; }
};

// What a method is, for people and for the choosers.
struct MethodInfo {
  std::string name;  // as in --method
  std::string title, family, citation, summary;
  std::string lossless;            // "sampled" (then greedy too), "greedy" or "no"
  std::vector<std::string> roles;  // besides which nothing is loaded; "target" first
  std::vector<std::string> needs;  // "trees", "early exit", "masked diffusion"
  ParamSchema schema;
  // The roles that these parameters really need, where that is fewer than `roles`; unset: all of them.
  std::function<std::vector<std::string>(const ParamSet&)> rolesFor;
};

// What a decoder is made with: checked parameters and facts measured once per run, which a repeat takes from
// the record.
struct DecoderSetup {
  ParamSet parameters;
  std::map<std::string, std::string>* notes = nullptr;  // read, and added to when something is measured
};
using DecoderFactory = std::function<Result<std::unique_ptr<Decoder>>(const DecoderSetup&)>;

class MethodRegistry {
 public:
  // All built-in methods (Methods.cpp), made on first use.
  static const MethodRegistry& instance();

  void add(MethodInfo info, DecoderFactory factory);
  std::vector<const MethodInfo*> methods() const;
  // Error usage naming the methods there are.
  Result<const MethodInfo*> find(const std::string& name) const;
  Result<std::unique_ptr<Decoder>> create(const std::string& name, const DecoderSetup& setup) const;

 private:
  struct Entry {
    MethodInfo info;
    DecoderFactory factory;
  };
  std::vector<Entry> entries_;
};

// What of a method's `needs` a model with these capabilities does not offer, in words; empty when nothing.
std::string missingNeed(const std::vector<std::string>& needs, const Capabilities& can);

// Whether the models can do what the method needs. Error `unsupported`, saying which model lacks what.
Status checkNeeds(const MethodInfo& method, const ParamSet& parameters,
                  const std::map<std::string, RoleModel*>& roles);

}  // namespace decoscope
