// The bytes of a file, memory-mapped, or bytes in memory under a name.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

class MappedFile {
 public:
  // Regular files only. Error notFound when there is none, badInput when it is empty or cannot be opened.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  // Bytes that are in memory already; `path` is what errors name.
  static std::shared_ptr<const MappedFile> fromBytes(std::string path, std::vector<std::byte> bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  bool mapped() const { return owned_.empty(); }

 private:
  MappedFile(std::string path, const std::byte* data, std::size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  std::vector<std::byte> owned_;  // empty when mapped
  const std::byte* data_;
  std::size_t size_;
};

// Tells the system that these bytes of a mapping are not needed soon. They can be read again at any time.
void releasePages(std::span<const std::byte> mapped);

}  // namespace decoscope
