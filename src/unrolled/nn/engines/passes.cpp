// Work on large float32 arrays in one pass, where torch's operators go over memory once each. The order of the
// floating-point operations is theirs, so every result is theirs to the last bit. Plain C functions, called by passes.py.

#include <algorithm>
#include <cmath>
#include <cstdint>

extern "C" {

// y = x * kept * scale: an element is kept if its random byte is at least `least`.
void drop(
    const float* x, const uint8_t* random, float* y, int64_t count, int64_t least, double scale, int64_t threads) {
  const auto factor = static_cast<float>(scale);
  const auto bound = static_cast<uint8_t>(least);
#pragma omp parallel for simd num_threads(threads)
  for (int64_t i = 0; i < count; ++i) {
    y[i] = x[i] * static_cast<float>(random[i] >= bound) * factor;
  }
}

// The largest value (B, D) among each row's first `lengths` (B,) steps of x (K, B, D), or among all if that is null, and
// its place: the first of equal ones, and NaN before all. `kept`, unless null, becomes x with zeros past the rows' ends.
void largest(
    const float* x, const int64_t* lengths, int64_t K, int64_t B, int64_t D, float* found, int32_t* place, float* kept,
    int64_t threads) {
  std::fill_n(found, B * D, -INFINITY);
  std::fill_n(place, B * D, 0);
  constexpr int64_t together = 8;  // rows, side by side in memory, whose results stay in the nearest cache
#pragma omp parallel for num_threads(threads)
  for (int64_t first = 0; first < B; first += together) {
    for (int64_t t = 0; t < K; ++t) {
      for (int64_t b = first; b < std::min(first + together, B); ++b) {
        const float* from = x + (t * B + b) * D;
        float* to = kept ? kept + (t * B + b) * D : nullptr;
        if (lengths && t >= lengths[b]) {
          if (to) {
            std::fill_n(to, D, 0.f);
          }
          continue;
        }
        float* best = found + b * D;
        int32_t* where = place + b * D;
#pragma omp simd
        for (int64_t d = 0; d < D; ++d) {
          const bool larger = !(from[d] <= best[d]) & (best[d] == best[d]);
          best[d] = larger ? from[d] : best[d];
          where[d] = larger ? static_cast<int32_t>(t) : where[d];
        }
        if (to) {
          std::copy_n(from, D, to);
        }
      }
    }
  }
}
}
