// The time loops of RNN, LSTM, LSTMP and GRU on a CPU, forward and backward. The equations, and the derivation of the
// backward, are in reference.py, which has the same functions in Python; the products over all steps at once are in
// by_hand.py.
//
// Each thread takes a share of the rows of the batch through all time steps, so that threads meet once a call. The
// recurrent weights come in tiles of V vectors, packed once a chunk: the recurrent product of a tile is summed up in
// registers, and the pointwise part of the step reads the tile while it is in the nearest cache.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <c10/util/Unroll.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace {

using at::Tensor;
using at::vec::Vectorized;
using Maybe = const std::optional<Tensor>&;

template <typename T>
constexpr int64_t lanes = Vectorized<T>::size();

#if defined(CPU_CAPABILITY_AVX512)
constexpr int registers = 32;
#else
constexpr int registers = 16;
#endif

// ---- numbers ---------------------------------------------------------------------------------------------------------

// Results below the smallest normal number become 0 in this scope: gradients that vanish over time would otherwise cost
// a hundred cycles for each operation.
class FlushDenormals {
 public:
#if defined(__SSE__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

// At the end of a row fewer numbers than a vector are left.
template <typename T>
inline Vectorized<T> load(const T* from, int64_t count) {
  return count >= lanes<T> ? Vectorized<T>::loadu(from) : Vectorized<T>::loadu(from, count);
}

template <typename T>
inline void store(T* to, Vectorized<T> value, int64_t count) {
  count >= lanes<T> ? value.store(to) : value.store(to, static_cast<int>(count));
}

// Asks for memory that the next step will use, while this one computes.
template <typename T>
inline void fetch(const T* from) {
#if defined(__GNUC__)
  __builtin_prefetch(from, 1, 2);
#endif
}

template <typename T>
inline Vectorized<T> sigmoid(Vectorized<T> x) {
  const Vectorized<T> one(1);
  return one / (one + x.neg().exp());
}

template <typename T>
inline Vectorized<T> tanh(Vectorized<T> x) {
  return x.tanh();
}

#if defined(CPU_CAPABILITY_AVX512)
// exp within 1e-7 of the true value, for any x but with the exponent held to +-87, and NaN for NaN. Polynomial of the
// Cephes library (Moshier 1989).
inline __m512 bounded_exp(__m512 x) {
  x = _mm512_min_ps(_mm512_set1_ps(87.f), _mm512_max_ps(_mm512_set1_ps(-87.f), x));  // in this order NaN passes
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.9875691500e-4f), r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.f)));
  return _mm512_scalef_ps(p, n);
}

// 1 / d with one step of Newton's method, a fifth of the time of a division.
inline __m512 reciprocal(__m512 d) {
  const __m512 y = _mm512_rcp14_ps(d);
  return _mm512_mul_ps(y, _mm512_fnmadd_ps(d, y, _mm512_set1_ps(2.f)));
}

inline Vectorized<float> sigmoid(Vectorized<float> x) {
  const __m512 e = bounded_exp(_mm512_sub_ps(_mm512_setzero_ps(), x));
  return reciprocal(_mm512_add_ps(_mm512_set1_ps(1.f), e));
}

// tanh x = 1 - 2 / (1 + exp 2x): right to 1e-7, not to the last digit of a small x.
inline Vectorized<float> tanh(Vectorized<float> x) {
  const __m512 e = bounded_exp(_mm512_add_ps(x, x));
  return _mm512_fnmadd_ps(_mm512_set1_ps(2.f), reciprocal(_mm512_add_ps(_mm512_set1_ps(1.f), e)), _mm512_set1_ps(1.f));
}
#endif

// ---- products --------------------------------------------------------------------------------------------------------

// A matrix (depth, columns) as `pack` lays it out for `multiply`: tiles of at most four vectors of columns, each row
// after row.
//
// With gates > 1 the matrix is that many matrices side by side, and tile j has the j-th vector of each of them: the
// gates of the same units.
template <typename T>
class Packed {
 public:
  struct Tile {
    T* data;
    int64_t first, columns;  // with gates: of each of them
    int vectors;
  };

  Packed(const Tensor& layout, int64_t depth, int64_t columns, int gates = 1) : depth(depth) {
    TORCH_CHECK(layout.numel() == size(depth, columns, gates), "the weights must be packed for this loop");
    const int64_t vectors = (columns + lanes<T> - 1) / lanes<T>;
    const int64_t tiles = gates > 1 ? vectors : (vectors + most_vectors - 1) / most_vectors;
    T* data = layout.data_ptr<T>();
    for (int64_t j = 0, vector = 0; j < tiles; ++j) {
      const int64_t width = gates > 1 ? 1 : vectors / tiles + (j < vectors % tiles);  // as even as can be
      const int64_t first = vector * lanes<T>, stored = gates > 1 ? gates : width;
      list_.push_back({data, first, std::min(width * lanes<T>, columns - first), static_cast<int>(stored)});
      data += depth * stored * lanes<T>;
      vector += width;
    }
  }

  // How many numbers the layout has: columns are filled up to whole vectors.
  static int64_t size(int64_t depth, int64_t columns, int gates) {
    return (columns + lanes<T> - 1) / lanes<T> * lanes<T> * gates * depth;
  }

  const std::vector<Tile>& tiles() const { return list_; }

  static constexpr int64_t most_vectors = 4;
  const int64_t depth;

 private:
  std::vector<Tile> list_;
};

// The layout of a weight or of its transpose, whose columns are those of so many gates.
template <typename T>
Tensor pack_as(const Tensor& weight, int gates, bool transposed) {
  const int64_t stride = weight.size(1), depth = weight.size(transposed ? 1 : 0);
  const int64_t columns = weight.size(transposed ? 0 : 1) / gates;
  Tensor layout = at::empty({Packed<T>::size(depth, columns, gates)}, weight.options());
  const Packed<T> packed(layout, depth, columns, gates);
  for (const auto& tile : packed.tiles()) {
    const int64_t step = tile.vectors * lanes<T>;
    for (int64_t v = 0; v < tile.vectors; ++v) {
      const int64_t inside = gates > 1 ? 0 : v * lanes<T>, count = std::min(tile.columns - inside, lanes<T>);
      const int64_t first = tile.first + (gates > 1 ? v * columns : inside);
      const T* from = weight.const_data_ptr<T>() + first * (transposed ? stride : 1);
      T* to = tile.data + v * lanes<T>;
      if (transposed) {
        at::vec::transpose_mxn<T>(from, stride, to, step, static_cast<int>(count), static_cast<int>(depth));
      }
      for (int64_t k = 0; k < depth; ++k) {
        if (!transposed) {
          std::copy_n(from + k * stride, count, to + k * step);
        }
        std::fill(to + k * step + count, to + k * step + lanes<T>, T(0));
      }
    }
  }
  return layout;
}

// Rows whose sums fit into registers beside V vectors of the weights and one number of the left factor.
template <int V>
constexpr int most_rows = std::min((registers - V - 2) / V, 14);

// c (R, V vectors) = a (R, depth) b (depth, V vectors), added to c if `add`; only `columns` of c exist.
template <typename T, int V, int R>
void multiply_rows(int64_t depth, const T* a, int64_t lda, const T* b, T* c, int64_t ldc, int64_t columns, bool add) {
  Vectorized<T> sum[R * V];
  c10::ForcedUnroll<R * V>{}([&](auto i) {
    constexpr int64_t first = (i % V) * lanes<T>;
    sum[i] = add ? load(c + (i / V) * ldc + first, columns - first) : Vectorized<T>(0);
  });
  for (int64_t k = 0; k < depth; ++k) {
    Vectorized<T> weights[V];
    c10::ForcedUnroll<V>{}([&](auto v) { weights[v] = Vectorized<T>::loadu(b + (k * V + v) * lanes<T>); });
    c10::ForcedUnroll<R>{}([&](auto r) {
      const Vectorized<T> left(a[r * lda + k]);
      c10::ForcedUnroll<V>{}([&](auto v) { sum[r * V + v] = at::vec::fmadd(left, weights[v], sum[r * V + v]); });
    });
  }
  c10::ForcedUnroll<R * V>{}([&](auto i) {
    constexpr int64_t first = (i % V) * lanes<T>;
    store(c + (i / V) * ldc + first, sum[i], columns - first);
  });
}

template <typename T, int V, size_t... I>
constexpr auto multiply_table(std::index_sequence<I...>) {
  return std::array{&multiply_rows<T, V, static_cast<int>(I) + 1>...};
}

template <typename T, int V>
inline void multiply_tile(
    int64_t rows, const T* a, int64_t lda, int64_t depth, const T* b, T* c, int64_t ldc, int64_t columns, bool add) {
  static constexpr auto table = multiply_table<T, V>(std::make_index_sequence<most_rows<V>>());
  const int64_t groups = (rows + most_rows<V> - 1) / most_rows<V>;
  for (int64_t g = 0, row = 0; g < groups; ++g) {
    const int64_t count = rows / groups + (g < rows % groups);
    table[count - 1](depth, a + row * lda, lda, b, c + row * ldc, ldc, columns, add);
    row += count;
  }
}

// c (rows, columns of the tile) = a (rows, depth) times one tile of b, added to c if `add`.
template <typename T>
void multiply(
    int64_t rows, const T* a, int64_t lda, const Packed<T>& b, const typename Packed<T>::Tile& tile, T* c, int64_t ldc,
    int64_t columns, bool add = false) {
  switch (tile.vectors) {
    case 1:
      return multiply_tile<T, 1>(rows, a, lda, b.depth, tile.data, c, ldc, columns, add);
    case 2:
      return multiply_tile<T, 2>(rows, a, lda, b.depth, tile.data, c, ldc, columns, add);
    case 3:
      return multiply_tile<T, 3>(rows, a, lda, b.depth, tile.data, c, ldc, columns, add);
    default:
      return multiply_tile<T, 4>(rows, a, lda, b.depth, tile.data, c, ldc, columns, add);
  }
}

// c (rows, columns) = a (rows, depth) b, added to c if `add`.
template <typename T>
void multiply(int64_t rows, const T* a, int64_t lda, const Packed<T>& b, T* c, int64_t ldc, bool add = false) {
  for (const auto& tile : b.tiles()) {
    multiply(rows, a, lda, b, tile, c + tile.first, ldc, tile.columns, add);
  }
}

// ---- loops -----------------------------------------------------------------------------------------------------------

// (K, B, S) with any strides of time and row; nothing if absent.
template <typename T>
struct Steps {
  T* data = nullptr;
  int64_t time = 0, row = 0;

  Steps() = default;
  explicit Steps(const Tensor& x) : data(x.data_ptr<T>()), time(x.stride(0)), row(x.stride(1)) {
    TORCH_CHECK(x.size(2) == 1 || x.stride(2) == 1, "the last dimension must be contiguous");
  }
  explicit Steps(Maybe x) : Steps(x ? Steps(*x) : Steps()) {}

  explicit operator bool() const { return data != nullptr; }
  T* at(int64_t t, int64_t b) const { return data + t * time + b * row; }
};

template <typename T>
T* pointer(Maybe x) {
  TORCH_CHECK(!x || x->is_contiguous(), "must be contiguous");
  return x ? x->data_ptr<T>() : nullptr;
}

template <typename T>
T* pointer(const Tensor& x) {
  TORCH_CHECK(x.is_contiguous(), "must be contiguous");
  return x.data_ptr<T>();
}

// The order of the steps: i-th step taken -> its place in time.
struct Order {
  int64_t steps;
  bool reverse;
  int64_t operator[](int64_t i) const { return reverse ? steps - 1 - i : i; }

  // How far ahead in time the step after the i-th is, forward and backward; 0 at the end.
  int64_t ahead(int64_t i) const { return i + 1 < steps ? (*this)[i + 1] - (*this)[i] : 0; }
  int64_t behind(int64_t i) const { return i > 0 ? (*this)[i - 1] - (*this)[i] : 0; }
};

// Calls body(share, first row, rows) for shares of the rows, one for each thread that is worth waking.
template <typename F>
void share_rows(int64_t rows, double operations, const F& body) {
  const int64_t worth = static_cast<int64_t>(operations / 1e6) + 1;
  const int64_t shares = std::min<int64_t>({at::get_num_threads(), rows, worth});
  at::parallel_for(0, shares, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    for (int64_t share = begin; share < end; ++share) {
      const int64_t first = rows * share / shares;
      body(share, first, rows * (share + 1) / shares - first);
    }
  });
}

// Column sums of what passes by, one sum per share; `finish` adds them to the total.
template <typename T>
class ColumnSums {
 public:
  ColumnSums(Maybe total, int64_t size) : total_(pointer<T>(total)), size_(size) {
    if (total_) {
      sums_.resize(at::get_num_threads());
    }
  }

  // The place of one step's sums, set to 0; null if no sums are wanted.
  T* step(int64_t share) {
    if (!total_) {
      return nullptr;
    }
    auto& sums = sums_[share];
    if (sums.empty()) {
      sums.assign(2 * size_, T(0));
    }
    for (int64_t i = 0; i < size_; ++i) {  // two levels, for the sake of precision: rows of a step, then steps
      sums[size_ + i] += sums[i];
      sums[i] = T(0);
    }
    return sums.data();
  }

  void finish() {
    if (total_) {
      for (const auto& sums : sums_) {
        for (size_t i = 0; i < sums.size(); ++i) {
          total_[static_cast<int64_t>(i) % size_] += sums[i];
        }
      }
    }
  }

 private:
  T* total_;
  int64_t size_;
  std::vector<std::vector<T>> sums_;
};

template <typename T>
inline void add_to(T* sums, int64_t at, Vectorized<T> value, int64_t count) {
  if (sums) {
    store(sums + at, load(sums + at, count) + value, count);
  }
}

// ---- RNN -------------------------------------------------------------------------------------------------------------

enum class Nonlinearity : int64_t { tanh, relu, identity };

template <typename T, Nonlinearity f>
void rnn_forward_loop(
    const Tensor& outputs, Maybe bias, const Tensor& weight_hh, const Tensor& h0, const Order& order) {
  const int64_t B = h0.size(0), H = h0.size(1);
  const Steps<T> h(outputs);
  const T* first_h = pointer<T>(h0);
  const T* b = pointer<T>(bias);
  const Packed<T> U(weight_hh, H, H);
  share_rows(B, 2. * order.steps * B * H * H, [&](int64_t, int64_t begin, int64_t rows) {
    for (int64_t i = 0; i < order.steps; ++i) {
      const T* previous = i ? h.at(order[i - 1], begin) : first_h + begin * H;
      const int64_t lda = i ? h.row : H;
      T* now = h.at(order[i], begin);
      for (const auto& tile : U.tiles()) {
        multiply(rows, previous, lda, U, tile, now + tile.first, h.row, tile.columns, true);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t u = tile.first; u < tile.first + tile.columns; u += lanes<T>) {
            const int64_t n = H - u;
            T* place = now + r * h.row + u;
            auto a = load(place, n);
            if (b) {
              a = a + load(b + u, n);
            }
            if constexpr (f == Nonlinearity::tanh) {
              a = tanh(a);
            } else if constexpr (f == Nonlinearity::relu) {
              a = at::vec::clamp_min(a, Vectorized<T>(0));
            }
            store(place, a, n);
          }
        }
      }
    }
  });
}

template <typename T, Nonlinearity f>
void rnn_backward_loop(
    const Tensor& outputs, const Tensor& weight_hh, Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_gates,
    Maybe grad_bias, const Order& order) {
  const int64_t B = grad_h.size(0), H = grad_h.size(1);
  const Steps<T> h(outputs), dy(grad_outputs), da(grad_gates);
  T* dh = pointer<T>(grad_h);
  ColumnSums<T> sums(grad_bias, H);
  const Packed<T> U(weight_hh, H, H);
  share_rows(B, 2. * order.steps * B * H * H, [&](int64_t share, int64_t begin, int64_t rows) {
    for (int64_t i = order.steps - 1; i >= 0; --i) {
      const int64_t t = order[i];
      T* sum = sums.step(share);
      for (int64_t r = begin; r < begin + rows; ++r) {
        for (int64_t u = 0; u < H; u += lanes<T>) {
          const int64_t n = H - u;
          auto d = load(dh + r * H + u, n);
          if (dy) {
            d = d + load(dy.at(t, r) + u, n);
          }
          if constexpr (f == Nonlinearity::tanh) {
            const auto y = load(h.at(t, r) + u, n);
            d = d * (Vectorized<T>(1) - y * y);
          } else if constexpr (f == Nonlinearity::relu) {
            const auto y = load(h.at(t, r) + u, n);
            d = Vectorized<T>::blendv(Vectorized<T>(0), d, y > Vectorized<T>(0));
          }
          store(da.at(t, r) + u, d, n);
          add_to(sum, u, d, n);
        }
      }
      multiply(rows, da.at(t, begin), da.row, U, dh + begin * H, H);
    }
  });
  sums.finish();
}

template <typename F>
void with_nonlinearity(int64_t f, const F& body) {
  switch (static_cast<Nonlinearity>(f)) {
    case Nonlinearity::tanh:
      return body(std::integral_constant<Nonlinearity, Nonlinearity::tanh>());
    case Nonlinearity::relu:
      return body(std::integral_constant<Nonlinearity, Nonlinearity::relu>());
    case Nonlinearity::identity:
      return body(std::integral_constant<Nonlinearity, Nonlinearity::identity>());
  }
  TORCH_CHECK(false, "no such nonlinearity: ", f);
}

// ---- LSTM ------------------------------------------------------------------------------------------------------------

template <typename T>
void lstm_forward_loop(
    const Tensor& gates, Maybe bias, const Tensor& weight_hh, Maybe weight_hr, const Tensor& h0, const Tensor& c0,
    const Tensor& outputs, const Tensor& cells, Maybe hidden, bool save, const Order& order) {
  using Vec = Vectorized<T>;
  const int64_t B = c0.size(0), H = c0.size(1), P = h0.size(1);
  const Steps<T> a(gates), y(outputs), c(cells), m(hidden ? *hidden : outputs);
  const T* first_h = pointer<T>(h0);
  const T* first_c = pointer<T>(c0);
  const T* b = pointer<T>(bias);
  const Packed<T> U(weight_hh, P, H, 4);
  std::optional<Packed<T>> R;
  if (weight_hr) {
    R.emplace(*weight_hr, H, P);
  }
  const double operations = 2. * order.steps * B * H * (4. * P + (R ? P : 0));
  share_rows(B, operations, [&](int64_t, int64_t begin, int64_t rows) {
    const int64_t width = U.tiles().size() * 4 * lanes<T>;
    std::vector<T> scratch(rows * width);
    for (int64_t i = 0; i < order.steps; ++i) {
      const int64_t t = order[i];
      const T* h_before = i ? y.at(order[i - 1], begin) : first_h + begin * P;
      const T* c_before = i ? c.at(order[i - 1], begin) : first_c + begin * H;
      const int64_t c_before_row = i ? c.row : H;
      int64_t place = 0;
      for (const auto& tile : U.tiles()) {
        multiply(rows, h_before, i ? y.row : P, U, tile, scratch.data() + place, width, 4 * lanes<T>);
        place += 4 * lanes<T>;
      }
      const int64_t ahead = order.ahead(i) * a.time;
      for (int64_t r = 0; r < rows; ++r) {
        const T* product = scratch.data() + r * width;
        for (int64_t u = 0; u < H; u += lanes<T>, product += 4 * lanes<T>) {
          const int64_t n = H - u;
          T* gate = a.at(t, begin + r) + u;
          for (int g = 0; g < 4; ++g) {
            fetch(gate + ahead + g * H);
          }
          const auto pre = [&](int g) {
            const Vec sum = load(gate + g * H, n) + Vec::loadu(product + g * lanes<T>);
            return b ? sum + load(b + g * H + u, n) : sum;
          };
          const Vec in = sigmoid(pre(0)), keep = sigmoid(pre(1)), write = tanh(pre(2)), out = sigmoid(pre(3));
          const Vec memory = at::vec::fmadd(in, write, keep * load(c_before + r * c_before_row + u, n));
          if (save) {
            store(gate, in, n);
            store(gate + H, keep, n);
            store(gate + 2 * H, write, n);
            store(gate + 3 * H, out, n);
          }
          store(c.at(t, begin + r) + u, memory, n);
          store(m.at(t, begin + r) + u, out * tanh(memory), n);
        }
      }
      if (R) {
        multiply(rows, m.at(t, begin), m.row, *R, y.at(t, begin), y.row);
      }
    }
  });
}

template <typename T>
void lstm_backward_loop(
    const Tensor& gates, const Tensor& cells, const Tensor& c0, const Tensor& weight_hh, Maybe weight_hr,
    Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_c, const Tensor& grad_gates, Maybe grad_projected,
    Maybe grad_bias, const Order& order) {
  using Vec = Vectorized<T>;
  const int64_t B = c0.size(0), H = c0.size(1), P = grad_h.size(1);
  const Steps<T> a(gates), c(cells), dy(grad_outputs), da(grad_gates), dp(grad_projected);
  const T* first_c = pointer<T>(c0);
  T* dh = pointer<T>(grad_h);
  T* dc = pointer<T>(grad_c);
  ColumnSums<T> sums(grad_bias, 4 * H);
  const Packed<T> U(weight_hh, 4 * H, P);
  std::optional<Packed<T>> R;
  if (weight_hr) {
    R.emplace(*weight_hr, P, H);
  }
  const double operations = 2. * order.steps * B * H * (4. * P + (R ? P : 0));
  share_rows(B, operations, [&](int64_t share, int64_t begin, int64_t rows) {
    const Vec one(1);
    std::vector<T> scratch(R ? rows * H : 0);
    for (int64_t i = order.steps - 1; i >= 0; --i) {
      const int64_t t = order[i], behind = order.behind(i);
      T* sum = sums.step(share);
      if (R) {
        for (int64_t r = begin; r < begin + rows; ++r) {
          for (int64_t u = 0; u < P; u += lanes<T>) {
            const Vec d = load(dh + r * P + u, P - u);
            store(dp.at(t, r) + u, dy ? d + load(dy.at(t, r) + u, P - u) : d, P - u);
          }
        }
        multiply(rows, dp.at(t, begin), dp.row, *R, scratch.data(), H);
      }
      for (int64_t r = begin; r < begin + rows; ++r) {
        const T* dm = R ? scratch.data() + (r - begin) * H : dh + r * P;
        const T* c_before = i ? c.at(order[i - 1], r) : first_c + r * H;
        for (int64_t u = 0; u < H; u += lanes<T>) {
          const int64_t n = H - u;
          const T* gate = a.at(t, r) + u;
          for (int g = 0; g < 4; ++g) {
            fetch(gate + behind * a.time + g * H);
            fetch(da.at(t, r) + behind * da.time + g * H + u);
          }
          fetch(c.at(t, r) + 2 * behind * c.time + u);
          const Vec in = load(gate, n), keep = load(gate + H, n), write = load(gate + 2 * H, n),
                    out = load(gate + 3 * H, n);
          Vec d = load(dm + u, n);
          if (dy && !R) {
            d = d + load(dy.at(t, r) + u, n);
          }
          const Vec shown = tanh(load(c.at(t, r) + u, n));
          const Vec memory = load(dc + r * H + u, n) + d * out * (one - shown * shown);
          const Vec d_in = memory * write * in * (one - in);
          const Vec d_keep = memory * load(c_before + u, n) * keep * (one - keep);
          const Vec d_write = memory * in * (one - write * write);
          const Vec d_out = d * shown * out * (one - out);
          store(dc + r * H + u, memory * keep, n);
          T* to = da.at(t, r) + u;
          store(to, d_in, n);
          store(to + H, d_keep, n);
          store(to + 2 * H, d_write, n);
          store(to + 3 * H, d_out, n);
          add_to(sum, u, d_in, n);
          add_to(sum, H + u, d_keep, n);
          add_to(sum, 2 * H + u, d_write, n);
          add_to(sum, 3 * H + u, d_out, n);
        }
      }
      multiply(rows, da.at(t, begin), da.row, U, dh + begin * P, P);
    }
  });
  sums.finish();
}

// ---- GRU -------------------------------------------------------------------------------------------------------------

template <typename T>
void gru_forward_loop(
    const Tensor& gates, Maybe bias, Maybe bias_hn, const Tensor& weight_hh, const Tensor& h0, const Tensor& outputs,
    Maybe candidates, const Order& order) {
  using Vec = Vectorized<T>;
  const int64_t B = h0.size(0), H = h0.size(1);
  const Steps<T> a(gates), y(outputs), q(candidates);
  const T* first_h = pointer<T>(h0);
  const T* b = pointer<T>(bias);
  const T* d = pointer<T>(bias_hn);
  const Packed<T> U(weight_hh, H, H, 3);
  share_rows(B, 6. * order.steps * B * H * H, [&](int64_t, int64_t begin, int64_t rows) {
    const int64_t width = U.tiles().size() * 3 * lanes<T>;
    std::vector<T> scratch(rows * width);
    for (int64_t i = 0; i < order.steps; ++i) {
      const int64_t t = order[i], ahead = order.ahead(i) * a.time;
      const T* before = i ? y.at(order[i - 1], begin) : first_h + begin * H;
      const int64_t before_row = i ? y.row : H;
      int64_t place = 0;
      for (const auto& tile : U.tiles()) {
        multiply(rows, before, before_row, U, tile, scratch.data() + place, width, 3 * lanes<T>);
        place += 3 * lanes<T>;
      }
      for (int64_t r = 0; r < rows; ++r) {
        const T* product = scratch.data() + r * width;
        for (int64_t u = 0; u < H; u += lanes<T>, product += 3 * lanes<T>) {
          const int64_t n = H - u;
          T* gate = a.at(t, begin + r) + u;
          for (int g = 0; g < 3; ++g) {
            fetch(gate + ahead + g * H);
          }
          const auto share = [&](int g) {
            const Vec input = load(gate + g * H, n);
            return b ? input + load(b + g * H + u, n) : input;
          };
          const Vec reset = sigmoid(share(0) + Vec::loadu(product));
          const Vec keep = sigmoid(share(1) + Vec::loadu(product + lanes<T>));
          const Vec product_n = Vec::loadu(product + 2 * lanes<T>);
          const Vec past = d ? product_n + load(d + u, n) : product_n;
          const Vec write = tanh(at::vec::fmadd(reset, past, share(2)));
          if (q) {
            store(gate, reset, n);
            store(gate + H, keep, n);
            store(gate + 2 * H, write, n);
            store(q.at(t, begin + r) + u, past, n);
          }
          const Vec h = load(before + r * before_row + u, n);
          store(y.at(t, begin + r) + u, at::vec::fmadd(keep, h - write, write), n);
        }
      }
    }
  });
}

template <typename T>
void gru_backward_loop(
    const Tensor& gates, const Tensor& candidates, const Tensor& outputs, const Tensor& h0, const Tensor& weight_hh,
    Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_gates, Maybe grad_bias, const Order& order) {
  using Vec = Vectorized<T>;
  const int64_t B = h0.size(0), H = h0.size(1);
  const Steps<T> a(gates), q(candidates), y(outputs), dy(grad_outputs), da(grad_gates);
  const T* first_h = pointer<T>(h0);
  T* dh = pointer<T>(grad_h);
  ColumnSums<T> sums(grad_bias, 4 * H);
  const Packed<T> U(weight_hh, 3 * H, H);
  share_rows(B, 6. * order.steps * B * H * H, [&](int64_t share, int64_t begin, int64_t rows) {
    const Vec one(1);
    for (int64_t i = order.steps - 1; i >= 0; --i) {
      const int64_t t = order[i], behind = order.behind(i);
      T* sum = sums.step(share);
      for (int64_t r = begin; r < begin + rows; ++r) {
        const T* before = i ? y.at(order[i - 1], r) : first_h + r * H;
        for (int64_t u = 0; u < H; u += lanes<T>) {
          const int64_t n = H - u;
          const T* gate = a.at(t, r) + u;
          for (int g = 0; g < 3; ++g) {
            fetch(gate + behind * a.time + g * H);
          }
          for (int g = 0; g < 4; ++g) {
            fetch(da.at(t, r) + behind * da.time + g * H + u);
          }
          fetch(q.at(t, r) + behind * q.time + u);
          fetch(y.at(t, r) + 2 * behind * y.time + u);
          const Vec reset = load(gate, n), keep = load(gate + H, n), write = load(gate + 2 * H, n);
          Vec d = load(dh + r * H + u, n);
          if (dy) {
            d = d + load(dy.at(t, r) + u, n);
          }
          const Vec d_write = d * (one - keep) * (one - write * write);
          const Vec d_past = d_write * reset;
          const Vec d_reset = d_write * load(q.at(t, r) + u, n) * reset * (one - reset);
          const Vec d_keep = d * (load(before + u, n) - write) * keep * (one - keep);
          store(dh + r * H + u, d * keep, n);
          T* to = da.at(t, r) + u;
          store(to, d_past, n);
          store(to + H, d_reset, n);
          store(to + 2 * H, d_keep, n);
          store(to + 3 * H, d_write, n);
          add_to(sum, u, d_past, n);
          add_to(sum, H + u, d_reset, n);
          add_to(sum, 2 * H + u, d_keep, n);
          add_to(sum, 3 * H + u, d_write, n);
        }
      }
      multiply(rows, da.at(t, begin), da.row, U, dh + begin * H, H, true);
    }
  });
  sums.finish();
}

// ---- what Python calls -----------------------------------------------------------------------------------------------

template <typename F>
auto with_dtype(const Tensor& like, const F& body) {
  if (like.scalar_type() == at::kFloat) {
    return body(float());
  }
  TORCH_CHECK(like.scalar_type() == at::kDouble, "float32 or float64, not ", like.scalar_type());
  return body(double());
}

Tensor pack(const Tensor& weight, int64_t gates, bool transposed) {
  return with_dtype(weight, [&](auto zero) {
    return pack_as<decltype(zero)>(weight.contiguous(), static_cast<int>(gates), transposed);
  });
}

void rnn_forward(
    const Tensor& outputs, Maybe bias, const Tensor& weight_hh, const Tensor& h0, int64_t nonlinearity, bool reverse) {
  with_dtype(h0, [&](auto zero) {
    with_nonlinearity(nonlinearity, [&](auto f) {
      rnn_forward_loop<decltype(zero), f()>(outputs, bias, weight_hh, h0, {outputs.size(0), reverse});
    });
  });
}

void rnn_backward(
    const Tensor& outputs, const Tensor& weight_hh, Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_gates,
    Maybe grad_bias, int64_t nonlinearity, bool reverse) {
  with_dtype(grad_h, [&](auto zero) {
    with_nonlinearity(nonlinearity, [&](auto f) {
      rnn_backward_loop<decltype(zero), f()>(
          outputs, weight_hh, grad_outputs, grad_h, grad_gates, grad_bias, {outputs.size(0), reverse});
    });
  });
}

void lstm_forward(
    const Tensor& gates, Maybe bias, const Tensor& weight_hh, Maybe weight_hr, const Tensor& h0, const Tensor& c0,
    const Tensor& outputs, const Tensor& cells, Maybe hidden, bool save, bool reverse) {
  with_dtype(h0, [&](auto zero) {
    lstm_forward_loop<decltype(zero)>(
        gates, bias, weight_hh, weight_hr, h0, c0, outputs, cells, hidden, save, {outputs.size(0), reverse});
  });
}

void lstm_backward(
    const Tensor& gates, const Tensor& cells, const Tensor& c0, const Tensor& weight_hh, Maybe weight_hr,
    Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_c, const Tensor& grad_gates, Maybe grad_projected,
    Maybe grad_bias, bool reverse) {
  with_dtype(grad_h, [&](auto zero) {
    lstm_backward_loop<decltype(zero)>(
        gates, cells, c0, weight_hh, weight_hr, grad_outputs, grad_h, grad_c, grad_gates, grad_projected, grad_bias,
        {gates.size(0), reverse});
  });
}

void gru_forward(
    const Tensor& gates, Maybe bias, Maybe bias_hn, const Tensor& weight_hh, const Tensor& h0, const Tensor& outputs,
    Maybe candidates, bool reverse) {
  with_dtype(h0, [&](auto zero) {
    gru_forward_loop<decltype(zero)>(
        gates, bias, bias_hn, weight_hh, h0, outputs, candidates, {outputs.size(0), reverse});
  });
}

void gru_backward(
    const Tensor& gates, const Tensor& candidates, const Tensor& outputs, const Tensor& h0, const Tensor& weight_hh,
    Maybe grad_outputs, const Tensor& grad_h, const Tensor& grad_gates, Maybe grad_bias, bool reverse) {
  with_dtype(grad_h, [&](auto zero) {
    gru_backward_loop<decltype(zero)>(
        gates, candidates, outputs, h0, weight_hh, grad_outputs, grad_h, grad_gates, grad_bias,
        {gates.size(0), reverse});
  });
}

}  // namespace

TORCH_LIBRARY(unrolled, library) {
  library.def("pack(Tensor weight, int gates, bool transposed) -> Tensor");
  library.def(
      "rnn_forward(Tensor(a!) outputs, Tensor? bias, Tensor weight_hh, Tensor h0, int nonlinearity, bool reverse) -> "
      "()");
  library.def(
      "rnn_backward(Tensor outputs, Tensor weight_hh, Tensor? grad_outputs, Tensor(a!) grad_h, Tensor(b!) grad_gates, "
      "Tensor(c!)? grad_bias, int nonlinearity, bool reverse) -> ()");
  library.def(
      "lstm_forward(Tensor(a!) gates, Tensor? bias, Tensor weight_hh, Tensor? weight_hr, Tensor h0, Tensor c0, "
      "Tensor(b!) outputs, Tensor(c!) cells, Tensor(d!)? hidden, bool save, bool reverse) -> ()");
  library.def(
      "lstm_backward(Tensor gates, Tensor cells, Tensor c0, Tensor weight_hh, Tensor? weight_hr, "
      "Tensor? grad_outputs, Tensor(a!) grad_h, Tensor(b!) grad_c, Tensor(c!) grad_gates, "
      "Tensor(d!)? grad_projected, Tensor(e!)? grad_bias, bool reverse) -> ()");
  library.def(
      "gru_forward(Tensor(a!) gates, Tensor? bias, Tensor? bias_hn, Tensor weight_hh, Tensor h0, "
      "Tensor(b!) outputs, Tensor(c!)? candidates, bool reverse) -> ()");
  library.def(
      "gru_backward(Tensor gates, Tensor candidates, Tensor outputs, Tensor h0, Tensor weight_hh, "
      "Tensor? grad_outputs, Tensor(a!) grad_h, Tensor(b!) grad_gates, Tensor(c!)? grad_bias, bool reverse) -> ()");
}

TORCH_LIBRARY_IMPL(unrolled, CPU, library) {
  library.impl("pack", &pack);
  library.impl("rnn_forward", &rnn_forward);
  library.impl("rnn_backward", &rnn_backward);
  library.impl("lstm_forward", &lstm_forward);
  library.impl("lstm_backward", &lstm_backward);
  library.impl("gru_forward", &gru_forward);
  library.impl("gru_backward", &gru_backward);
}
