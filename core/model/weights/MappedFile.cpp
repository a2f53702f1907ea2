#include "core/model/weights/MappedFile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace decoscope {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return fail(errno == ENOENT ? ErrorCode::notFound : ErrorCode::badInput,
                std::string("the file cannot be opened: ") + std::strerror(errno), path);
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular || status.st_size == 0) {
    ::close(descriptor);
    return fail(ErrorCode::badInput, regular ? "the file is empty" : "this is not a regular file", path);
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (address == MAP_FAILED)
    return fail(ErrorCode::failed, std::string("the file cannot be mapped: ") + std::strerror(error), path);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(address), size));
}

std::shared_ptr<const MappedFile> MappedFile::fromBytes(std::string path, std::vector<std::byte> bytes) {
  auto* file = new MappedFile(std::move(path), nullptr, bytes.size());
  file->owned_ = std::move(bytes);
  file->data_ = file->owned_.data();
  return std::shared_ptr<const MappedFile>(file);
}

MappedFile::~MappedFile() {
  if (owned_.empty() && size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

void releasePages(std::span<const std::byte> mapped) {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data());
  const std::uintptr_t first = (begin + page - 1) / page * page, end = (begin + mapped.size()) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace decoscope
