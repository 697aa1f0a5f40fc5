// Upsample, filter, downsample with a separable FIR filter, the zeros of upsampling left out (see ../native_upfirdn2d.py).
//
// Along one axis, sample o of the result is the sum of tap[k] * x[i] over all k for which  i * up = o * down + k - pad  has a
// whole solution i inside the image. A row of the result is made in two steps: the vertical filter gives a line that stays in
// the processor's cache, the horizontal filter reads it. Both are the same operation, a weighted sum of runs of memory, and
// long runs make it fast. A run is a pixel's channels, or, if all pixels have the same taps at the same distance, a row.
//
// The result's samples o = r, r + steps, ... share one phase r: the same taps, and inputs that lie `stride` pixels apart.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) (void)(address)
#endif

namespace {

struct Axis { int64_t in, out, up, down, pad, taps; };

struct Geometry {       // as native_upfirdn2d.py fills it; strides count floats
    int64_t images, planes, channels;           // channels: interleaved ones, planes: the others
    int64_t image_stride, plane_stride, row_stride;
    Axis x, y;
};

constexpr int64_t LINE = 16;            // of the cache, in samples
constexpr int64_t LONG_RUN = 8;         // channels from which pixel by pixel is faster than taking rows apart
constexpr int64_t TILE = 1024;          // samples of a row, before or after, that are worked on at a time, for the first cache
constexpr int64_t FAR = 12 << 20;       // samples, read and written, that the last cache will not hold: 48 MiB
constexpr int64_t MIN_WORK = 16384;     // samples of the result below which a second thread costs more than it helps

// b > 0; without the division, which takes as long as a short row, where there is none.
int64_t floor_div(int64_t a, int64_t b) { return b == 1 ? a : a / b - (a % b < 0); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

// Zeros, beginning at a boundary of the processor's cache lines.
class Buffer {
public:
    explicit Buffer(size_t size = 0) : memory(size + LINE), start(memory.data()) {
        while (reinterpret_cast<uintptr_t>(start) % (LINE * sizeof(float))) start++;
    }
    Buffer(Buffer&&) = default;
    Buffer& operator=(Buffer&&) = default;
    float* data() const { return start; }

private:
    std::vector<float> memory;
    float* start;
};

// Runs of memory of one size, at equal distances.
struct Runs { int64_t size, count = 1, to_step = 0, from_step = 0; };

template <int COUNT, bool ADD>
void sum_of(float* __restrict to, Runs runs, const float* const* from, const float* factors) {
    const float* source[COUNT];
    float factor[COUNT];
    for (int k = 0; k < COUNT; k++) {
        source[k] = from[k];
        factor[k] = factors[k];
    }
    for (int64_t q = 0; q < runs.count; q++) {
        for (int64_t j = 0; j < runs.size; j++) {
            float sum = factor[0] * source[0][j];
            for (int k = 1; k < COUNT; k++) sum += factor[k] * source[k][j];
            to[j] = ADD ? to[j] + sum : sum;
        }
        to += runs.to_step;
        for (int k = 0; k < COUNT; k++) source[k] += runs.from_step;
    }
}

template <bool ADD>
void sum_some(float* to, Runs runs, const float* const* from, const float* factors, int64_t count) {
    switch (count) {
        case 1: return sum_of<1, ADD>(to, runs, from, factors);
        case 2: return sum_of<2, ADD>(to, runs, from, factors);
        case 3: return sum_of<3, ADD>(to, runs, from, factors);
        case 4: return sum_of<4, ADD>(to, runs, from, factors);
        case 5: return sum_of<5, ADD>(to, runs, from, factors);
        default: return sum_of<6, ADD>(to, runs, from, factors);
    }
}

// to[j] = sum over k of factors[k] * from[k][j]; six sources at a time, as the registers allow.
void weighted_sum(float* to, Runs runs, const float* const* from, const float* factors, int64_t count) {
    if (count > 0) sum_some<false>(to, runs, from, factors, count);
    else for (int64_t q = 0; q < runs.count; q++) std::fill_n(to + q * runs.to_step, runs.size, 0.0f);
    for (int64_t done = 6; done < count; done += 6) sum_some<true>(to, runs, from + done, factors + done, count - done);
}

// Copy pixels, each `to_step` or `from_step` floats after the one before.
template <int64_t CHANNELS>
void copy_pixels_of(float* to, int64_t to_step, const float* from, int64_t from_step, int64_t count) {
    for (int64_t j = 0; j < count; j++)
        for (int64_t c = 0; c < CHANNELS; c++) to[j * to_step + c] = from[j * from_step + c];
}

void copy_pixels(float* to, int64_t to_step, const float* from, int64_t from_step, int64_t count, int64_t channels) {
    switch (channels) {
        case 1: return copy_pixels_of<1>(to, to_step, from, from_step, count);
        case 3: return copy_pixels_of<3>(to, to_step, from, from_step, count);
    }
    for (int64_t j = 0; j < count; j++) std::copy_n(from + j * from_step, channels, to + j * to_step);
}

// Copy to memory that is not read soon, without a place in the caches, which would cost another reading.
void copy_far(float* to, const float* from, int64_t size) {
#ifdef __SSE2__
    for (; size > 0 && reinterpret_cast<uintptr_t>(to) % sizeof(__m128); size--) *to++ = *from++;
    for (; size >= 4; size -= 4, to += 4, from += 4) _mm_stream_ps(to, _mm_loadu_ps(from));
#endif
    std::copy_n(from, size, to);
}

// What this thread has copied comes before what it does next, for other threads too.
void finish_far() {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

// One phase of the horizontal filter: what the first of its pixels is the sum of.
struct Phase { int64_t pixels; std::vector<const float*> sources; std::vector<float> factors; };

class Resampler {
public:
    Resampler(const Geometry& geometry, const float* x_taps, const float* y_taps);
    void row(const float* image, int64_t o, float* to);

private:
    void filter_columns(const float* image, int64_t o);
    void take_apart();

    const Geometry g;
    const float* const y_taps;
    const int64_t steps, stride;        // pixels between neighbours of one phase: in the result, in the line
    const bool in_runs;                 // a row at a time: neighbours are first brought together if they are not
    int64_t before, pixels;             // the line with zeros around it: how many are in front, length in all
    Buffer line, parts, run;            // parts: pixels 0, stride, ... of the line, then 1, stride + 1, ...; run: of one phase
    std::vector<Phase> phases;
    std::vector<const float*> sources;
    std::vector<float> factors;
};

Resampler::Resampler(const Geometry& geometry, const float* x_taps, const float* y_taps)
    : g(geometry), y_taps(y_taps), steps(g.x.up / std::gcd(g.x.up, g.x.down)), stride(g.x.down / std::gcd(g.x.up, g.x.down)),
      in_runs(g.channels < LONG_RUN || (steps == 1 && stride == 1)) {
    const int64_t end = floor_div((g.x.out - 1) * g.x.down + g.x.taps - 1 - g.x.pad, g.x.up) + 1;
    before = std::max<int64_t>(0, -ceil_div(-g.x.pad, g.x.up));
    pixels = ceil_div(before + std::max(g.x.in, end), stride) * stride;
    line = Buffer(pixels * g.channels);
    parts = Buffer(in_runs && stride > 1 ? pixels * g.channels : 0);
    run = Buffer(in_runs && steps > 1 ? g.x.out * g.channels : 0);
    sources.resize(g.y.taps);
    factors.resize(g.y.taps);
    for (int64_t r = 0; r < std::min(steps, g.x.out); r++) {
        const int64_t start = ceil_div(r * g.x.down - g.x.pad, g.x.up);
        int64_t pixel = before + start;
        Phase phase{ceil_div(g.x.out - r, steps), {}, {}};
        for (int64_t k = start * g.x.up - r * g.x.down + g.x.pad; k < g.x.taps; k += g.x.up, pixel++) {
            const int64_t apart = pixel % stride * (pixels / stride) + pixel / stride;
            phase.sources.push_back(in_runs && stride > 1 ? parts.data() + apart * g.channels : line.data() + pixel * g.channels);
            phase.factors.push_back(x_taps[k]);
        }
        phases.push_back(std::move(phase));
    }
}

// Row o of the result.
void Resampler::row(const float* image, int64_t o, float* to) {
    filter_columns(image, o);
    if (in_runs && stride > 1) take_apart();
    for (const Phase& phase : phases) {
        const Runs runs = in_runs ? Runs{phase.pixels * g.channels}
                                  : Runs{g.channels, phase.pixels, steps * g.channels, stride * g.channels};
        float* target = in_runs && steps > 1 ? run.data() : to;
        weighted_sum(target, runs, phase.sources.data(), phase.factors.data(), phase.factors.size());
        if (target != to) copy_pixels(to, steps * g.channels, target, g.channels, phase.pixels, g.channels);
        to += g.channels;
    }
}

// The vertical filter: the middle of `line`, whose borders stay zero.
void Resampler::filter_columns(const float* image, int64_t o) {
    const int64_t size = g.x.in * g.channels, origin = o * g.y.down - g.y.pad;
    int64_t count = 0, i = std::max<int64_t>(0, ceil_div(origin, g.y.up));
    for (int64_t k = i * g.y.up - origin; i < g.y.in && k < g.y.taps; i++, k += g.y.up, count++) {
        sources[count] = image + i * g.row_stride;
        factors[count] = y_taps[k];
    }
    if (i < g.y.in)
        for (int64_t j = 0; j < size; j += LINE) PREFETCH(image + i * g.row_stride + j);    // the next row's news
    weighted_sum(line.data() + before * g.channels, Runs{size}, sources.data(), factors.data(), count);
}

void Resampler::take_apart() {
    const int64_t c = g.channels, count = pixels / stride;
    for (int64_t r = 0; r < stride; r++)
        copy_pixels(parts.data() + r * count * c, c, line.data() + r * c, stride * c, count, c);
}

// Samples [from, end) of the result's rows, as a task of its own; `offset`: where its image begins.
Geometry part_of(const Geometry& g, int64_t from, int64_t end, int64_t* offset) {
    const int64_t first = std::clamp<int64_t>(ceil_div(from * g.x.down - g.x.pad, g.x.up), 0, g.x.in);
    const int64_t last = floor_div((end - 1) * g.x.down + g.x.taps - 1 - g.x.pad, g.x.up);
    Geometry part = g;
    part.x.in = std::clamp<int64_t>(last + 1, first, g.x.in) - first;
    part.x.out = end - from;
    part.x.pad += first * g.x.up - from * g.x.down;
    *offset = first * g.channels;
    return part;
}

}  // namespace

// x -> y: a dense tensor [images, planes, rows, pixels, channels]; taps: those along x, then those along y.
extern "C" void upfirdn2d(const float* x, float* y, const Geometry* geometry, const float* taps, int threads) {
    const Geometry g = *geometry;
    const int64_t row_size = g.x.out * g.channels, plane_size = g.y.out * row_size, size = g.images * g.planes * plane_size;
    const bool far = size + g.images * g.planes * g.channels * g.x.in * g.y.in > FAR;
    const int64_t tiles = std::clamp<int64_t>(std::min(g.x.in, g.x.out) * g.channels / TILE, 1, g.x.out);
    #pragma omp parallel num_threads(threads) if (size >= MIN_WORK)
    {
        std::vector<Resampler> resamplers;
        std::vector<int64_t> sources, targets;      // where the tiles' images begin, where their results do and the last one ends
        for (int64_t tile = 0; tile < tiles; tile++) {
            int64_t source, from = g.x.out * tile / tiles, end = g.x.out * (tile + 1) / tiles;
            resamplers.emplace_back(part_of(g, from, end, &source), taps, taps + g.x.taps);
            sources.push_back(source);
            targets.push_back(from * g.channels);
        }
        targets.push_back(row_size);
        Buffer near(far ? row_size : 0);
        #pragma omp for collapse(4) schedule(static) nowait
        for (int64_t image = 0; image < g.images; image++)
            for (int64_t plane = 0; plane < g.planes; plane++)
                for (int64_t tile = 0; tile < tiles; tile++)
                    for (int64_t row = 0; row < g.y.out; row++) {
                        const float* from = x + image * g.image_stride + plane * g.plane_stride + sources[tile];
                        float* to = y + (image * g.planes + plane) * plane_size + row * row_size + targets[tile];
                        resamplers[tile].row(from, row, far ? near.data() : to);
                        if (far) copy_far(to, near.data(), targets[tile + 1] - targets[tile]);
                    }
        finish_far();
    }
}
