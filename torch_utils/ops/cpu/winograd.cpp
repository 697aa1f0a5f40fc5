// 3x3 convolution with padding 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, arXiv:1509.09308, section 4.2):
// 36 products where the plain sum over taps takes 144. float32, channels-last; channels are multiples of kLanes.
//
//   Y = A^T [ sum_i (G g G^T) * (B^T d B) ] A      d: 6x6 patch of the image, Y: its 4x4 share of the result
//
// and, as the derivative of that, for the gradient of the kernel   dg = G^T [ sum over patches (B^T d B) * (A dY A^T) ] G.
//
// x [N, H, W, I], weight [O, 3, 3, I] (or [I, 3, 3, O], mirrored, for the gradient of x), y [N, H, W, O].

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int kLanes = 16, kColumns = 4;  // registers: 6 x 4 sums, 4 weights, 1 input
#else
constexpr int kLanes = 8, kColumns = 2;
#endif
constexpr int kRows = 6, kTiles = 24;  // tiles in a block: what belongs to it stays in a core's second-level cache
constexpr int64_t kChunk = 192;        // tiles of which the gradient of the kernel is summed at a time, by all threads
constexpr float kG[6][3] = {{0.25f, 0, 0}, {-1 / 6.0f, -1 / 6.0f, -1 / 6.0f}, {-1 / 6.0f, 1 / 6.0f, -1 / 6.0f},
                            {1 / 24.0f, 1 / 12.0f, 1 / 6.0f}, {1 / 24.0f, -1 / 12.0f, 1 / 6.0f}, {0, 0, 1}};
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));

inline Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }

// B^T times six values.
inline void input_row(const Vector d[6], Vector* out, int step) {
    const Vector a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1], c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
    out[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
    out[step] = a + b;
    out[2 * step] = a - b;
    out[3 * step] = c + e;
    out[4 * step] = c - e;
    out[5 * step] = 4.0f * d[1] - 5.0f * d[3] + d[5];
}

// A^T times six values.
inline void output_row(const Vector m[6], Vector* out, int step) {
    const Vector a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    out[0] = m[0] + a + c;
    out[step] = b + 2.0f * d;
    out[2 * step] = a + 4.0f * c;
    out[3 * step] = b + 8.0f * d + m[5];
}

// One patch, kLanes channels: p[6][6] -> v[36], v + t * stride.
inline void transform_input(const Vector p[36], float* v, int64_t stride) {
    Vector half[36];
    for (int r = 0; r < 6; ++r) input_row(p + 6 * r, half + 6 * r, 1);
    for (int c = 0; c < 6; ++c) {
        Vector column[6], done[6];
        for (int r = 0; r < 6; ++r) column[r] = half[6 * r + c];
        input_row(column, done, 1);
        for (int r = 0; r < 6; ++r) store(v + (6 * r + c) * stride, done[r]);
    }
}

// The square of `size` rows of an image [H, W, C] from (top, left), kLanes channels of it; zeros outside.
template <int size>
inline void load_square(const float* image, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t left, Vector* out) {
    for (int r = 0; r < size; ++r)
        for (int c = 0; c < size; ++c) {
            const int64_t row = top + r, column = left + c;
            const bool inside = row >= 0 && row < height && column >= 0 && column < width;
            out[size * r + c] = inside ? load(image + (row * width + column) * channels) : Vector{};
        }
}

// A times four values: the transpose of output_row.
inline void slope_row(const Vector y[4], Vector* out, int step) {
    const Vector a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4.0f * y[2], d = 2.0f * y[1] + 8.0f * y[3];
    out[0] = y[0];
    out[step] = a + b;
    out[2 * step] = a - b;
    out[3 * step] = c + d;
    out[4 * step] = c - d;
    out[5 * step] = y[3];
}

// A dY A^T of one tile, kLanes channels: y[4][4] -> q[36], q + t * stride.
inline void transform_slope(const Vector y[16], float* q, int64_t stride) {
    Vector half[24];  // [4][6]
    for (int r = 0; r < 4; ++r) slope_row(y + 4 * r, half + 6 * r, 1);
    for (int c = 0; c < 6; ++c) {
        Vector column[4], done[6];
        for (int r = 0; r < 4; ++r) column[r] = half[6 * r + c];
        slope_row(column, done, 1);
        for (int r = 0; r < 6; ++r) store(q + (6 * r + c) * stride, done[r]);
    }
}

// s [rows, kLanes] += v [count, rows]^T q [count, kLanes], whose rows are `inputs` and `outputs` apart.
template <int rows>
inline void gather_product(const float* v, int64_t inputs, const float* q, int64_t outputs, int64_t count, float* s) {
    Vector sum[rows];
    for (int r = 0; r < rows; ++r) sum[r] = Vector{};  // sums of sums round less
    for (int64_t k = 0; k < count; ++k) {
        const Vector w = load(q + k * outputs);
        for (int r = 0; r < rows; ++r) sum[r] += v[k * inputs + r] * w;
    }
    for (int r = 0; r < rows; ++r) store(s + r * outputs, load(s + r * outputs) + sum[r]);
}

inline void transform_output(const float* m, int64_t stride, Vector y[16]) {
    Vector half[24];  // [4][6]
    for (int c = 0; c < 6; ++c) {
        Vector column[6];
        for (int r = 0; r < 6; ++r) column[r] = load(m + (6 * r + c) * stride);
        output_row(column, half + c, 6);
    }
    for (int r = 0; r < 4; ++r) output_row(half + 6 * r, y + 4 * r, 1);
}

// m [rows, kColumns * kLanes] = v [rows, inputs] u [inputs, ...]
template <int rows>
inline void product(const float* v, int64_t inputs, const float* u, int64_t outputs, float* m, int columns) {
    Vector sum[rows][kColumns];
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < kColumns; ++c) sum[r][c] = Vector{};
    if (columns == kColumns) {
        for (int64_t i = 0; i < inputs; ++i) {
            Vector w[kColumns];
            for (int c = 0; c < kColumns; ++c) w[c] = load(u + i * outputs + c * kLanes);
            for (int r = 0; r < rows; ++r)
                for (int c = 0; c < kColumns; ++c) sum[r][c] += v[r * inputs + i] * w[c];
        }
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < kColumns; ++c) store(m + r * outputs + c * kLanes, sum[r][c]);
    } else {
        for (int64_t i = 0; i < inputs; ++i)
            for (int c = 0; c < columns; ++c) {
                const Vector w = load(u + i * outputs + c * kLanes);
                for (int r = 0; r < rows; ++r) sum[r][c] += v[r * inputs + i] * w;
            }
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < columns; ++c) store(m + r * outputs + c * kLanes, sum[r][c]);
    }
}

}  // namespace

extern "C" {

// weights [K, O, 3, 3, I] -> u [K, 36, I, O]; transposed: weights [K, I, 3, 3, O] are read mirrored.
void winograd_weights(const float* weights, float* all, int64_t kernels, int64_t inputs, int64_t outputs, int transposed, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t k = 0; k < kernels; ++k)
        for (int64_t i0 = 0; i0 < inputs; i0 += kLanes)
            for (int64_t o0 = 0; o0 < outputs; o0 += kLanes) {
                const float* weight = weights + k * 9 * inputs * outputs;
                float* u = all + k * 36 * inputs * outputs;
                float g[9][kLanes][kLanes];  // [tap][i][o]
                for (int t = 0; t < 9; ++t)
                    for (int a = 0; a < kLanes; ++a)
                        for (int b = 0; b < kLanes; ++b)
                            if (transposed) g[8 - t][a][b] = weight[((i0 + a) * 9 + t) * outputs + o0 + b];
                            else g[t][b][a] = weight[((o0 + a) * 9 + t) * inputs + i0 + b];
                for (int a = 0; a < kLanes; ++a) {
                    Vector half[6][3];
                    for (int r = 0; r < 6; ++r)
                        for (int c = 0; c < 3; ++c)
                            half[r][c] = kG[r][0] * load(g[c][a]) + kG[r][1] * load(g[3 + c][a]) + kG[r][2] * load(g[6 + c][a]);
                    for (int r = 0; r < 6; ++r)
                        for (int c = 0; c < 6; ++c)
                            store(u + ((6 * r + c) * inputs + i0 + a) * outputs + o0,
                                  kG[c][0] * half[r][0] + kG[c][1] * half[r][1] + kG[c][2] * half[r][2]);
                }
            }
}

// Images stand in runs, counts [K] of them, each with its own kernel: K pointers to u [36, I, O].
void winograd_convolve(const float* x, const float* const* all, const int64_t* counts, float* y, int64_t kernels, int64_t height,
                       int64_t width, int64_t inputs, int64_t outputs, int threads) {
    struct Block { int64_t kernel, first, count; };
    const int64_t down = (height + 3) / 4, across = (width + 3) / 4;
    std::vector<Block> blocks;
    for (int64_t kernel = 0, first = 0; kernel < kernels; ++kernel) {
        const int64_t end = first + counts[kernel] * down * across;
        for (; first < end; first += kTiles) blocks.push_back({kernel, first, std::min<int64_t>(kTiles, end - first)});
        first = end;
    }
#pragma omp parallel num_threads(threads)
    {
        float* v = static_cast<float*>(std::aligned_alloc(64, 36 * kTiles * (inputs + outputs) * sizeof(float)));
        float* m = v + 36 * kTiles * inputs;
#pragma omp for schedule(static)
        for (int64_t b = 0; b < static_cast<int64_t>(blocks.size()); ++b) {
            const int64_t first = blocks[b].first, count = blocks[b].count;
            const float* u = all[blocks[b].kernel];
            for (int64_t k = 0; k < count; ++k) {
                const int64_t tile = first + k, n = tile / (down * across), top = tile / across % down * 4 - 1,
                              left = tile % across * 4 - 1;
                const float* image = x + n * height * width * inputs;
                for (int64_t i = 0; i < inputs; i += kLanes) {
                    Vector patch[36];
                    load_square<6>(image + i, height, width, inputs, top, left, patch);
                    transform_input(patch, v + k * inputs + i, kTiles * inputs);
                }
            }
            for (int t = 0; t < 36; ++t)
                for (int64_t o = 0; o < outputs; o += kColumns * kLanes) {
                    const int columns = static_cast<int>(std::min<int64_t>(kColumns, (outputs - o) / kLanes));
                    const float* ut = u + t * inputs * outputs + o;
                    int64_t k = 0;
                    for (; k + kRows <= count; k += kRows)
                        product<kRows>(v + (t * kTiles + k) * inputs, inputs, ut, outputs, m + (t * kTiles + k) * outputs + o, columns);
                    for (; k + 2 <= count; k += 2)
                        product<2>(v + (t * kTiles + k) * inputs, inputs, ut, outputs, m + (t * kTiles + k) * outputs + o, columns);
                    for (; k < count; ++k)
                        product<1>(v + (t * kTiles + k) * inputs, inputs, ut, outputs, m + (t * kTiles + k) * outputs + o, columns);
                }
            for (int64_t k = 0; k < count; ++k) {
                const int64_t tile = first + k, n = tile / (down * across), top = tile / across % down * 4, left = tile % across * 4;
                for (int64_t o = 0; o < outputs; o += kLanes) {
                    Vector own[16];
                    transform_output(m + k * outputs + o, kTiles * outputs, own);
                    for (int64_t r = 0; r < 4 && top + r < height; ++r)
                        for (int64_t c = 0; c < 4 && left + c < width; ++c)
                            store(y + ((n * height + top + r) * width + left + c) * outputs + o, own[4 * r + c]);
                }
            }
        }
        std::free(v);
    }
}

// The gradients of weights [K, O, 3, 3, I] from x and dy [N, H, W, O], in runs as above. Sums are taken in one order, whatever
// the number of threads.
void winograd_weight_gradient(const float* x, const float* dy, const int64_t* counts, float* dweights, int64_t kernels,
                              int64_t height, int64_t width, int64_t inputs, int64_t outputs, int threads) {
    const int64_t down = (height + 3) / 4, across = (width + 3) / 4;
    constexpr int kBand = 16;  // input channels whose sums are in registers
    float* v = static_cast<float*>(std::aligned_alloc(64, 36 * (kChunk * (inputs + outputs) + inputs * outputs) * sizeof(float)));
    float *q = v + 36 * kChunk * inputs, *s = q + 36 * kChunk * outputs;
#pragma omp parallel num_threads(threads)
    for (int64_t kernel = 0, begin = 0; kernel < kernels; ++kernel) {
        const int64_t end = begin + counts[kernel] * down * across;
        float* dweight = dweights + kernel * 9 * inputs * outputs;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < 36; ++t) std::memset(s + t * inputs * outputs, 0, inputs * outputs * sizeof(float));
        for (int64_t first = begin; first < end; first += kChunk) {
            const int64_t count = std::min(kChunk, end - first);
#pragma omp for schedule(static)
            for (int64_t k = 0; k < count; ++k) {
                const int64_t tile = first + k, n = tile / (down * across), top = tile / across % down * 4, left = tile % across * 4;
                Vector patch[36];
                for (int64_t i = 0; i < inputs; i += kLanes) {
                    load_square<6>(x + n * height * width * inputs + i, height, width, inputs, top - 1, left - 1, patch);
                    transform_input(patch, v + k * inputs + i, kChunk * inputs);
                }
                for (int64_t o = 0; o < outputs; o += kLanes) {
                    load_square<4>(dy + n * height * width * outputs + o, height, width, outputs, top, left, patch);
                    transform_slope(patch, q + k * outputs + o, kChunk * outputs);
                }
            }
#pragma omp for schedule(static) collapse(2)
            for (int t = 0; t < 36; ++t)
                for (int64_t i = 0; i < inputs; i += kBand)
                    for (int64_t o = 0; o < outputs; o += kLanes)
                        gather_product<kBand>(v + t * kChunk * inputs + i, inputs, q + t * kChunk * outputs + o, outputs, count,
                                              s + (t * inputs + i) * outputs + o);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < inputs; ++i)
            for (int64_t o = 0; o < outputs; o += kLanes) {
                Vector half[3][6];  // G^T S
                for (int r = 0; r < 3; ++r)
                    for (int c = 0; c < 6; ++c) {
                        half[r][c] = Vector{};
                        for (int k = 0; k < 6; ++k) half[r][c] += kG[k][r] * load(s + ((6 * k + c) * inputs + i) * outputs + o);
                    }
                for (int r = 0; r < 3; ++r)
                    for (int c = 0; c < 3; ++c) {
                        Vector sum{};
                        for (int k = 0; k < 6; ++k) sum += kG[k][c] * half[r][k];
                        for (int b = 0; b < kLanes; ++b) dweight[((o + b) * 9 + 3 * r + c) * inputs + i] = sum[b];
                    }
            }
        begin = end;
    }
    std::free(v);
}

}  // extern "C"
