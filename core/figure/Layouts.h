// Traces to figures. Pure functions of sealed records: no fonts are measured (monospaced advance is assumed
// for tokens), nothing is drawn. Safe on any thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/figure/Figure.h"
#include "core/trace/Trace.h"

namespace decoscope {

// Text of a token as a figure shows it.
using TokenLabel = std::function<std::string(TokenId)>;

// The tone of a token of the text, by who wrote it.
Tone toneOf(Provenance provenance);

// One round as a draft tree: root (pending token) at the left, children to the right, siblings in rank order
// downwards, an accepted child on its parent's row. 26 px node height, 36 px row pitch, 138 px column pitch.
// The token drawn at the end of the walk (bonus, resampled, plain) is a node too (item = number of nodes +
// index of the draw). A step without proposals is drawn as root → token.
Figure layoutTree(const StepRecord& step, TokenId root, const TokenLabel& label);
// Many rounds stacked downwards, each with its caption, for scrolling through a whole run; `top[i]` receives
// the y of round i. steps[i] may be null (not loaded): it keeps a small placeholder.
Figure layoutTrees(const std::vector<StepPointer>& steps, const std::vector<TokenId>& roots,
                   const TokenLabel& label, std::vector<float>* top = nullptr);

enum class LatticeColour { confidence, entropy, age };
// Positions × denoising steps: one row per step up to and including `throughStep` (all when negative).
Figure layoutLattice(const std::vector<StepPointer>& steps, const TokenLabel& label, LatticeColour colour,
                     StepIndex throughStep = -1);

// Bars of draft + verify + other time per round, dots for accepted of drafted, acceptance as a line (EMA).
Figure layoutRounds(const std::vector<StepPointer>& steps, float height = 90);

// The text with provenance tints, wrapped at `width` points.
Figure layoutTranscript(const std::vector<TextToken>& text, const TokenLabel& label, float width);

// q, p and residual at one node as grouped bars, up to `entries` tokens.
Figure layoutDistribution(const StepRecord& step, NodeId node, const TokenLabel& label, int entries = 12);

}  // namespace decoscope
