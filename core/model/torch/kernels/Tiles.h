// How the products deal out rows to tiles whose size is known when they are compiled.
#pragma once

#include <cstddef>
#include <type_traits>

namespace decoscope::kernels {

// Calls tile(std::integral_constant<int, n>()) where n = rows, one of 1 … kMost.
template <int kMost, typename Tile>
void withSize(std::size_t rows, Tile&& tile) {
  if (rows == static_cast<std::size_t>(kMost))
    tile(std::integral_constant<int, kMost>());
  else if constexpr (kMost > 1)
    withSize<kMost - 1>(rows, tile);
}

// Calls tile(std::integral_constant<int, n>(), first row) for tiles of at most kMost rows that together are
// all rows. Their sizes differ by one at most: a tile of one row waits for the memory as long as a large one.
template <int kMost, typename Tile>
void inEvenTiles(std::size_t rows, Tile&& tile) {
  std::size_t tiles = (rows + kMost - 1) / kMost;
  for (std::size_t row = 0; row < rows; --tiles) {
    const std::size_t size = (rows - row + tiles - 1) / tiles;
    withSize<kMost>(size, [&](auto count) { tile(count, row); });
    row += size;
  }
}

}  // namespace decoscope::kernels
