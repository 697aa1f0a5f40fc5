// y = clip(gain * act(x * scale + offset + noise), -limit, limit) and its gradient, on float32 in channels-last order.
//
// x [N, P, C]: N images of P positions. scale, offset: [N, C] or, with a stride of 0 between images, [C]; noise: [N, P] or
// [P] likewise; each may be null. act is linear (slope 1) or leaky ReLU (any other slope). One pass over
// memory each way. Sums for the gradients of scale and offset are taken over blocks of positions whose size does not depend on
// the number of threads, so that the result does not either.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t kBlock = 128;  // positions; a block of 128 channels fits a core's second-level cache

struct Act {
    float slope, gain, limit;

    float operator()(float t) const {
        t = (t > 0 ? t : t * slope) * gain;
        return t > limit ? limit : t < -limit ? -limit : t;  // NaN stays
    }
    // Factor from dy to the sum's gradient, which the sign of y tells (gain is positive).
    float derivative(float y) const {
        const float d = y > 0 ? gain : gain * slope;
        return (y >= limit) | (y <= -limit) ? 0.0f : d;
    }
};

template <bool kScale, bool kOffset>
void forward_row(const float* __restrict x, const float* __restrict scale, const float* __restrict offset, float noise,
                 float* __restrict y, int64_t count, Act act) {
    for (int64_t c = 0; c < count; ++c) {
        float t = kScale ? x[c] * scale[c] : x[c];
        if (kOffset) t += offset[c];
        y[c] = act(t + noise);
    }
}

template <bool kDScale, bool kScale>
float backward_row(const float* __restrict dy, const float* __restrict y, const float* __restrict x, const float* __restrict scale,
                   float* __restrict dx, float* __restrict dscale, float* __restrict doffset, int64_t count, Act act) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < count; ++c) {
        const float g = dy[c] * act.derivative(y[c]);
        dx[c] = kScale ? g * scale[c] : g;
        if (kDScale) dscale[c] += g * x[c];
        doffset[c] += g;
        sum += g;
    }
    return sum;
}

}  // namespace

extern "C" {

void scaled_act_forward(const float* x, const float* scale, int64_t scale_stride, const float* offset, int64_t offset_stride,
                        const float* noise, int64_t noise_stride, float* y, int64_t images, int64_t positions, int64_t channels,
                        float slope, float gain, float limit, int threads) {
    const Act act{slope, gain, limit};
    const auto row = scale ? (offset ? forward_row<true, true> : forward_row<true, false>)
                           : (offset ? forward_row<false, true> : forward_row<false, false>);
    const int64_t blocks = (positions + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) collapse(2) schedule(static)
    for (int64_t n = 0; n < images; ++n) {
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t end = std::min(positions, (b + 1) * kBlock);
            for (int64_t p = b * kBlock; p < end; ++p) {
                const int64_t at = (n * positions + p) * channels;
                row(x + at, scale + n * scale_stride, offset + n * offset_stride, noise ? noise[n * noise_stride + p] : 0.0f,
                    y + at, channels, act);
            }
        }
    }
}

// dscale, doffset [N, C] and dnoise [N, P] are written where they are not null; x is read for dscale only.
void scaled_act_backward(const float* dy, const float* y, const float* x, const float* scale, int64_t scale_stride, float* dx,
                         float* dscale, float* doffset, float* dnoise, int64_t images, int64_t positions, int64_t channels,
                         float slope, float gain, float limit, int threads) {
    const Act act{slope, gain, limit};
    const auto row = dscale ? (scale ? backward_row<true, true> : backward_row<true, false>)
                            : (scale ? backward_row<false, true> : backward_row<false, false>);
    const int64_t blocks = (positions + kBlock - 1) / kBlock;
    std::vector<float> sums(images * blocks * 2 * channels, 0.0f);
#pragma omp parallel for num_threads(threads) collapse(2) schedule(static)
    for (int64_t n = 0; n < images; ++n) {
        for (int64_t b = 0; b < blocks; ++b) {
            float* own = sums.data() + (n * blocks + b) * 2 * channels;
            const int64_t end = std::min(positions, (b + 1) * kBlock);
            for (int64_t p = b * kBlock; p < end; ++p) {
                const int64_t at = (n * positions + p) * channels;
                const float sum = row(dy + at, y + at, x + at, scale + n * scale_stride, dx + at, own, own + channels, channels, act);
                if (dnoise) dnoise[n * positions + p] = sum;
            }
        }
    }
    for (int64_t n = 0; n < images; ++n) {
        for (int64_t b = 0; b < blocks; ++b) {
            const float* own = sums.data() + (n * blocks + b) * 2 * channels;
            for (int64_t c = 0; c < channels; ++c) {
                if (dscale) dscale[n * channels + c] = b ? dscale[n * channels + c] + own[c] : own[c];
                if (doffset) doffset[n * channels + c] = b ? doffset[n * channels + c] + own[channels + c] : own[channels + c];
            }
        }
    }
}

}  // extern "C"
