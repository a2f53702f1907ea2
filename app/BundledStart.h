// What can be stepped at once, with nothing downloaded and nothing chosen: a model that comes with the
// program, and the smaller one of the same vocabulary that drafts for it.
#pragma once

#include <QString>
#include <optional>
#include <vector>

#include "app/ModelCatalog.h"

namespace decoscope {

struct BundledStart {
  QString name;             // of the target, for people: "Wren"
  QString target, drafter;  // paths; no drafter: empty
  QString method;           // a speculative one that these models can run
  QString prompt;           // a message of a user
};

// The bundled entries of the catalog that write texts by themselves, in its order: not the heads.
std::vector<ModelEntry> bundledEntries(const std::vector<ModelEntry>& models);
// Nothing where Wren is not bundled, cannot be opened, or has not been described yet.
std::optional<BundledStart> bundledStart(const std::vector<ModelEntry>& models);

}  // namespace decoscope
