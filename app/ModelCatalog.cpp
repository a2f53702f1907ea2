#include "app/ModelCatalog.h"

#include <QCoreApplication>
#include <QPointer>
#include <QThreadPool>
#include <algorithm>

#include "core/decode/Decoder.h"
#include "core/model/ModelLoader.h"

namespace decoscope {

ModelCatalog::ModelCatalog(QObject* parent) : QObject(parent) {}

ModelCatalog::~ModelCatalog() {
  ++*ticket_;
}

void ModelCatalog::refresh() {
  busy_ = true;
  const int ticket = ++*ticket_;
  const auto post = [guard = QPointer<ModelCatalog>(this), ticket, current = ticket_](auto change) {
    QMetaObject::invokeMethod(qApp, [guard, ticket, current, change = std::move(change)] {
      if (!guard || *current != ticket) return;
      change(*guard);
      Q_EMIT guard->changed();
    });
  };
  QThreadPool::globalInstance()->start([post, ticket, current = ticket_] {
    const auto files = listModels();
    post([files](ModelCatalog& catalog) {
      // What was described before stays until it is read again.
      std::vector<ModelEntry> models;
      for (const CatalogEntry& file : files) {
        const auto known =
            std::find_if(catalog.models_.begin(), catalog.models_.end(), [&](const ModelEntry& model) {
              return model.file.path == file.path && model.file.bytes == file.bytes;
            });
        models.push_back(known == catalog.models_.end() ? ModelEntry{file, false, {}, {}} : *known);
      }
      catalog.models_ = std::move(models);
    });
    for (std::size_t i = 0; i < files.size() && *current == ticket; ++i) {
      auto info = describeModel(files[i].path);
      if (info) info->tensors.clear();
      post([i, info = std::move(info)](ModelCatalog& catalog) {
        ModelEntry& model = catalog.models_[i];
        model.described = true;
        if (info)
          model.info = *info;
        else
          model.problem = QString::fromStdString(info.error().text());
      });
    }
    post([](ModelCatalog& catalog) { catalog.busy_ = false; });
  });
}

QString ModelCatalog::whyNot(const ModelEntry& model, const MethodCard& method) {
  if (!model.problem.isEmpty()) return model.problem;
  if (!model.described) return {};
  const std::string lacks = missingNeed(method.needs, capabilitiesOf(model.info));
  if (lacks.empty()) return {};
  return tr("%1 needs %2, which this model does not offer")
      .arg(QString::fromStdString(method.title), QString::fromStdString(lacks));
}

QString ModelCatalog::parametersText(std::int64_t parameters) {
  if (parameters <= 0) return QStringLiteral("–");
  const auto count = static_cast<double>(parameters);
  return count >= 1e9   ? QStringLiteral("%1 B").arg(count / 1e9, 0, 'f', 2)
         : count >= 1e6 ? QStringLiteral("%1 M").arg(count / 1e6, 0, 'f', 1)
                        : QStringLiteral("%1 k").arg(count / 1e3, 0, 'f', 1);
}

QStringList ModelCatalog::capabilities(const ModelInfo& info) {
  const Capabilities can = capabilitiesOf(info);
  QStringList list;
  if (can.causal) list << tr("next token");
  if (can.maskedDiffusion) list << tr("masked diffusion");
  if (can.trees) list << tr("draft trees");
  if (can.earlyExit) list << tr("early exit");
  if (can.hiddenStates) list << tr("hidden states");
  return list;
}

}  // namespace decoscope
