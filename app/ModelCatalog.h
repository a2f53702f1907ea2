// The models on this computer and what their headers say, read on a worker. GUI thread.
#pragma once

#include <QObject>
#include <QString>
#include <atomic>
#include <memory>
#include <vector>

#include "core/model/Catalog.h"
#include "core/model/Model.h"
#include "core/session/Session.h"

namespace decoscope {

struct ModelEntry {
  CatalogEntry file;
  bool described = false;  // its header has been read: `info` or `problem` says what it is
  ModelInfo info;          // without the list of tensors
  QString problem;         // why it cannot be opened
};

class ModelCatalog final : public QObject {
  Q_OBJECT
 public:
  explicit ModelCatalog(QObject* parent = nullptr);
  ~ModelCatalog() override;

  // Looks at the disk again. The names come first, then one description after the other; changed() each time.
  void refresh();
  const std::vector<ModelEntry>& models() const { return models_; }
  bool busy() const { return busy_; }
  // Why this model cannot run this method; empty when it can, or when nothing is known yet.
  static QString whyNot(const ModelEntry& model, const MethodCard& method);
  // "134.5 M", "8.03 B"
  static QString parametersText(std::int64_t parameters);
  static QStringList capabilities(const ModelInfo& info);

 Q_SIGNALS:
  void changed();

 private:
  std::vector<ModelEntry> models_;
  std::shared_ptr<std::atomic<int>> ticket_ = std::make_shared<std::atomic<int>>(0);
  bool busy_ = false;
};

}  // namespace decoscope
