// Work on large float32 arrays in one pass, where torch's operators go over memory once each. The order of the
// floating-point operations is theirs, so every result is theirs to the last bit. Plain C functions, called by passes.py.

#include <ATen/Config.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// a * b + c, rounded once if torch's kernels have been compiled for a CPU that does so.
template <typename T>
static T multiply_add(T a, T b, T c) {
#if defined(CPU_CAPABILITY_DEFAULT) && defined(__x86_64__)
  return a * b + c;
#else
  return std::fma(a, b, c);
#endif
}

extern "C" {

#if AT_MKL_ENABLED()
void vmsSqrt(int count, const float* from, float* to, long long mode);  // of Intel's MKL, inside torch
int MKL_Set_Num_Threads_Local(int threads);
#endif

// torch.sqrt of `count` numbers: by MKL, which is one unit off in the last place for one number in 150.
static void roots(const float* from, float* to, int64_t count) {
#if AT_MKL_ENABLED()
  const int before = MKL_Set_Num_Threads_Local(1);
  vmsSqrt(static_cast<int>(count), from, to, 0x140102);  // VML_HA | VML_FTZDAZ_OFF | VML_ERRMODE_IGNORE, as torch does
  MKL_Set_Num_Threads_Local(before);
#else
  std::transform(from, from + count, to, [](float x) { return std::sqrt(x); });
#endif
}

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

// Brings the rows `ids` (U,) of w and of its average x (V, E), null if there is none, up to date: see Rows in
// row_adamw.py for the moments m and v (V, E) and for `numbers` (6, U), which are p, -q, a, b, -c and eps of each row.
void catch_up(
    float* w, float* x, const float* m, const float* v, const int64_t* ids, const float* numbers, int64_t U, int64_t E,
    int64_t threads) {
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> root(E);
#pragma omp for nowait
    for (int64_t u = 0; u < U; ++u) {
      const float p = numbers[u], q = numbers[U + u], a = numbers[2 * U + u], b = numbers[3 * U + u];
      const float c = numbers[4 * U + u], eps = numbers[5 * U + u];
      const int64_t first = ids[u] * E;
      roots(v + first, root.data(), E);
#pragma omp simd
      for (int64_t i = 0; i < E; ++i) {
        const float r = m[first + i] / (root[i] + eps), before = w[first + i];
        if (x) {
          x[first + i] = multiply_add(r, c, multiply_add(before, b, x[first + i] * a));
        }
        w[first + i] = multiply_add(r, q, before * p);
      }
    }
  }
}

// A step of AdamW for the rows `ids` (U,) of w and its moments m and v (V, E) by their gradients g (U, E), after the
// moments have been multiplied by each row's `of_m` and `of_v` (U,). As torch's fused AdamW takes it for `part` rows at
// a time: the last elements of each part, which fill no vector of eight, round v in another order.
void adamw(
    float* w, float* m, float* v, const float* g, const int64_t* ids, const float* of_m, const float* of_v, int64_t U,
    int64_t E, int64_t part, double step, double lr, double b1, double b2, double decay, double eps, int64_t threads) {
  const auto move = static_cast<float>(-lr / (1 - std::pow(b1, step)));
  const auto bias = static_cast<float>(std::sqrt(1 - std::pow(b2, step)));
  const auto keep = static_cast<float>(multiply_add(-lr, decay, 1.));
  const auto to_m = static_cast<float>(1 - b1), to_v = static_cast<float>(1 - b2), left = static_cast<float>(b2);
  const auto above = static_cast<float>(eps);
  const bool little = std::abs(to_m) < 0.5f;
#pragma omp parallel for num_threads(threads)
  for (int64_t u = 0; u < U; ++u) {
    const int64_t start = u / part * part, elements = std::min(part, U - start) * E;
    const int64_t whole = elements - elements % 8 - (u - start) * E, first = ids[u] * E;
#pragma omp simd
    for (int64_t i = 0; i < E; ++i) {
      const float given = g[u * E + i], before = m[first + i] * of_m[u], square = v[first + i] * of_v[u];
      const float away = given - before, more = to_v * given;
      const float mean = little ? multiply_add(to_m, away, before) : multiply_add(to_m - 1, away, given);
      const float most = multiply_add(more, given, square * left), last = multiply_add(square, left, more * given);
      const float spread = i < whole ? most : last;
      m[first + i] = mean;
      v[first + i] = spread;
      w[first + i] = w[first + i] * keep + move * mean / (std::sqrt(spread) / bias + above);
    }
  }
}
}
