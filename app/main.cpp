// The window's executable: options, settings, and pictures of the window for the documentation.
#include <QAction>
#include <QApplication>
#include <QCommandLineParser>
#include <QElapsedTimer>
#include <QIcon>
#include <QSettings>
#include <QSurfaceFormat>
#include <QTemporaryDir>
#include <QTimer>
#include <algorithm>
#include <cstdio>
#include <vector>

#include "app/MainWindow.h"
#include "core/session/SessionRunner.h"
#include "widgets/style/Style.h"

using namespace decoscope;

namespace {

// Does what the options ask, one thing after the other, each when the window has settled from the one before.
class Script final : public QObject {
 public:
  Script(MainWindow& window, const QCommandLineParser& options) : window_(window), options_(options) {
    timer_.setInterval(30);
    connect(&timer_, &QTimer::timeout, this, [this] { next(); });
    timer_.start();
    clock_.start();
  }

 private:
  void next() {
    if (options_.isSet("capture") && clock_.elapsed() > 300'000)
      return quit("the window did not settle within five minutes");
    if ((options_.isSet("capture") || options_.isSet("frame-times")) && !window_.errorText().isEmpty())
      return quit(window_.errorText());
    if (!window_.settled()) {
      quiet_ = 0;
      return;
    }
    // Settled for a few ticks in a row: notices and layouts have come through.
    if (++quiet_ < 6) return;
    quiet_ = 0;
    switch (stage_++) {
      case 0:
        if (options_.isSet("model")) window_.loadModel(options_.value("model"));
        break;
      case 1:
        if (options_.isSet("method") && !window_.setMethod(options_.value("method")))
          return quit("there is no method '" + options_.value("method") + "'");
        for (const QString& assignment : options_.values("set"))
          if (!window_.setParameter(assignment)) return quit("the parameter does not fit: " + assignment);
        if (options_.isSet("max-new-tokens"))
          window_.setMaxNewTokens(options_.value("max-new-tokens").toInt());
        if (options_.isSet("prompt")) window_.setPrompt(options_.value("prompt"), !options_.isSet("raw"));
        break;
      case 2:
        if (options_.isSet("steps")) window_.step(std::max(1, options_.value("steps").toInt()));
        break;
      case 3:
        if (options_.isSet("run")) window_.showRun({options_.value("run").toLongLong()});
        break;
      case 4: {
        if (options_.isSet("step") && window_.line().count() > 0) {
          const int step = std::clamp(options_.value("step").toInt(), 0, window_.line().count() - 1);
          const auto run = window_.line().step(step)->run;
          window_.selection().select({MarkId::Kind::round, run, step, -1});
          if (options_.isSet("node"))
            window_.selection().select({MarkId::Kind::node, run, step, options_.value("node").toLongLong()});
          if (options_.isSet("cell"))
            window_.selection().select({MarkId::Kind::cell, run, step, options_.value("cell").toLongLong()});
        }
        if (options_.isSet("reject"))
          if (QAction* next = window_.findChild<QAction*>("run.nextReject");
              next && window_.line().count() > 0)
            next->trigger();
        if (options_.isSet("view")) window_.showView(options_.value("view"));
        break;
      }
      case 5:
        if (options_.isSet("frame-times")) {
          frameTimes(std::max(2, options_.value("frame-times").toInt()));
          return quit({});
        }
        if (options_.isSet("dialog")) {
          QAction* open = window_.findChild<QAction*>(options_.value("dialog"));
          if (!open || !open->isEnabled())
            return quit("there is no such command now: " + options_.value("dialog"));
          timer_.stop();
          QTimer::singleShot(2000, this, [this] {
            QWidget* shown = QApplication::activeModalWidget();
            quit(shown && shown->grab().save(options_.value("capture"))
                     ? QString()
                     : QStringLiteral("no picture was taken"));
          });
          open->trigger();
          return;
        }
        break;
      case 6:
        timer_.stop();
        if (!options_.isSet("capture")) return;
        if (!window_.grab().save(options_.value("capture")))
          return quit("the picture could not be written: " + options_.value("capture"));
        quit({});
        break;
      default:
        break;
    }
  }
  // Scrolls through the whole run in the real window, at reading size and with all of it in sight, and prints
  // what a frame takes: CPU of the window's thread up to the hand-over to the driver, and wall clock with the
  // driver and the composition of the window.
  void frameTimes(int frames) {
    auto* canvas = window_.findChild<TreeCanvas*>("treeCanvas");
    window_.showView("tree");
    canvas->setFollowing(false);
    const Rect all = canvas->bounds();
    const float whole = std::min(static_cast<float>(canvas->width()) / std::max(all.width, 1.0f),
                                 static_cast<float>(canvas->height()) / std::max(all.height, 1.0f));
    std::printf("{\"rounds\":%d,\"nodes\":%lld,\"frames\":%d,\"views\":[", window_.line().count(),
                static_cast<long long>(window_.line().nodes()), frames);
    bool first = true;
    for (const float zoom : {1.0f, 0.5f, whole}) {
      std::vector<double> cpu, wall;
      for (int i = 0; i < frames; ++i) {
        const float room = std::max(0.0f, all.height - static_cast<float>(canvas->height()) / zoom);
        canvas->setView(
            {{all.x, all.y + room * static_cast<float>(i) / static_cast<float>(frames - 1)}, zoom});
        QElapsedTimer clock;
        clock.start();
        canvas->repaint();
        wall.push_back(static_cast<double>(clock.nsecsElapsed()) / 1e6);
        cpu.push_back(canvas->frameMilliseconds());
      }
      std::sort(cpu.begin(), cpu.end());
      std::sort(wall.begin(), wall.end());
      const auto at = [](const std::vector<double>& times, double share) {
        return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
      };
      std::printf(
          "%s{\"zoom\":%.4g,\"cpu_ms\":{\"median\":%.3f,\"p95\":%.3f,\"max\":%.3f},\"wall_ms\":{\"median\":%."
          "3f,"
          "\"p95\":%.3f,\"max\":%.3f}}",
          first ? "" : ",", static_cast<double>(zoom), at(cpu, 0.5), at(cpu, 0.95), cpu.back(), at(wall, 0.5),
          at(wall, 0.95), wall.back());
      first = false;
    }
    std::printf("]}\n");
  }
  void quit(const QString& why) {
    timer_.stop();
    if (!why.isEmpty()) std::fprintf(stderr, "decoscope: %s\n", qPrintable(why));
    window_.setProperty("quiet", true);
    QCoreApplication::exit(why.isEmpty() ? 0 : 4);
  }

  MainWindow& window_;
  const QCommandLineParser& options_;
  QTimer timer_;
  QElapsedTimer clock_;
  int stage_ = 0, quiet_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  QCoreApplication::setOrganizationName("decoscope");
  QCoreApplication::setApplicationName("decoscope");
  QCoreApplication::setApplicationVersion(DECOSCOPE_VERSION);
  QGuiApplication::setDesktopFileName("org.decoscope.Decoscope");
  QApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QSurfaceFormat format;
  format.setVersion(3, 3);
  format.setProfile(QSurfaceFormat::CoreProfile);
  format.setSwapInterval(1);
  QSurfaceFormat::setDefaultFormat(format);
  QApplication application(argc, argv);
  QGuiApplication::setWindowIcon(QIcon(":/icons/decoscope.svg"));

  QCommandLineParser options;
  options.setApplicationDescription("Steps a language model and shows why each token is there.");
  options.addHelpOption();
  options.addVersionOption();
  options.addPositionalArgument("PATH", "A session, a model file or a model folder", "[PATH]");
  options.addOptions(
      {{"model", "Load this model: a path or a name of the catalogue", "model"},
       {"method", "Choose this method", "method"},
       {"set", "A parameter, name=value; may repeat", "assignment"},
       {"prompt", "Put this text into the prompt field", "text"},
       {"raw", "The prompt is not a chat message"},
       {"max-new-tokens", "At most this many new tokens", "count"},
       {"steps", "Take so many steps", "count"},
       {"run", "Show this run", "run"},
       {"step", "Select this step", "step"},
       {"node", "Select this node of the step", "node"},
       {"cell", "Select this position of the step", "position"},
       {"reject", "Select the first refused token from that step on"},
       {"view", "tree, lattice, curves, outline, events or start", "view"},
       {"theme", "light or dark", "theme"},
       {"size", "Size of the window, WIDTHxHEIGHT", "size"},
       {"frame-times", "Scroll through the run in this many frames, print what they take as JSON, and quit",
        "count"},
       {"dialog", "With --capture: the dialogue of this command instead, file.models for one", "id"},
       {"capture", "Save a picture of the window to this PNG file and quit", "file"}});
  options.process(application);

  const bool capture = options.isSet("capture") || options.isSet("frame-times");
  // Pictures do not depend on what somebody has set up, and leave it alone.
  QTemporaryDir clean;
  if (capture) QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, clean.path());
  const QSettings settings;
  bool dark = settings.value("window/dark", true).toBool();
  if (options.isSet("theme")) dark = options.value("theme") != "light";
  style::setReducedMotion(capture || settings.value("window/reducedMotion", false).toBool());
  style::apply(dark ? darkTheme() : lightTheme());

  MainWindow window(makeSession());
  if (options.isSet("size")) {
    const QStringList size = options.value("size").split('x');
    if (size.size() == 2 && size[0].toInt() > 200 && size[1].toInt() > 200)
      window.resize(size[0].toInt(), size[1].toInt());
  }
  window.show();
  if (!options.positionalArguments().isEmpty()) window.openPath(options.positionalArguments().front());
  const Script script(window, options);
  return QApplication::exec();
}
