// Finds texts that have been seen before, exactly or nearly, in the order in which they come.
//
// Source: A. Broder, "On the resemblance and containment of documents" (SEQUENCES 1997): texts as sets of
// five-word shingles, compared by their Jaccard index; candidates by MinHash in bands (J. Leskovec et al.,
// "Mining of massive datasets", ch. 3), each verified against the sets themselves.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace decoscope {

// A hash of a text that does not see case, punctuation or white space.
std::uint64_t textHash(std::string_view text);

class NearDuplicates {
 public:
  enum class Finding { fresh, exact, near };

  // Texts are near at a Jaccard index of at least `resemblance` (0: only exact ones are looked for). Texts of
  // fewer than `leastWords` words are compared exactly only: a short answer has few ways to be put.
  explicit NearDuplicates(double resemblance = 0.7, int leastWords = 20);

  // Compares a text with all that were added. `identity` is what must be exactly new, such as question and
  // answer; `text` what must not be nearly there, such as the answer.
  Finding look(std::string_view identity, std::string_view text) const;
  // Costs about 2 KB for a text of a hundred words.
  void add(std::string_view identity, std::string_view text);

 private:
  static constexpr std::size_t kBands = 12, kRows = 4;
  struct Signature {
    std::vector<std::uint32_t> shingles;  // ascending, each once
    std::vector<std::uint64_t> bands;
  };
  Signature signatureOf(std::string_view text) const;

  double resemblance_;
  int leastWords_;
  std::unordered_set<std::uint64_t> exact_;
  std::vector<std::vector<std::uint32_t>> texts_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> buckets_;  // band → texts
};

}  // namespace decoscope
