// Kernels of AdaFM from frozen ones, on float32, for every class code u:  K = W + dg (W - mu) + sigma db
// mu, sigma: mean and standard deviation of W over its taps. power: sum of K * K over the taps, from
// T ((mu + sigma db)^2 + (sigma + sigma dg)^2). One pass over memory each way.
//
// weight [O, T, I], kernels [U, O, T, I], dg, db, power [U, O, I]: input channels lie side by side.

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

void moments(const float* weight, int64_t taps, int64_t inputs, float* __restrict mu, float* __restrict sigma) {
    const float share = 1.0f / static_cast<float>(taps);
    for (int64_t i = 0; i < inputs; ++i) mu[i] = sigma[i] = 0;
    for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < inputs; ++i) mu[i] += weight[t * inputs + i];
    for (int64_t i = 0; i < inputs; ++i) mu[i] *= share;
    for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < inputs; ++i) {
            const float centred = weight[t * inputs + i] - mu[i];
            sigma[i] += centred * centred;
        }
    for (int64_t i = 0; i < inputs; ++i) sigma[i] = std::sqrt(sigma[i] * share);
}

}  // namespace

extern "C" {

void adafm_forward(const float* weight, const float* dg, const float* db, float* kernels, float* power, int64_t codes,
                   int64_t outputs, int64_t inputs, int64_t taps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < outputs; ++o) {
        std::vector<float> own(3 * inputs);
        float *mu = own.data(), *sigma = mu + inputs, *__restrict shift = sigma + inputs;
        const float* w = weight + o * taps * inputs;
        moments(w, taps, inputs, mu, sigma);
        for (int64_t u = 0; u < codes; ++u) {
            const float *gain = dg + (u * outputs + o) * inputs, *beta = db + (u * outputs + o) * inputs;
            float* __restrict k = kernels + (u * outputs + o) * taps * inputs;
            float* __restrict p = power + (u * outputs + o) * inputs;
            for (int64_t i = 0; i < inputs; ++i) {
                shift[i] = sigma[i] * beta[i];
                const float mean = mu[i] + shift[i], spread = sigma[i] + sigma[i] * gain[i];
                p[i] = static_cast<float>(taps) * (mean * mean + spread * spread);
            }
            for (int64_t t = 0; t < taps; ++t)
                for (int64_t i = 0; i < inputs; ++i)
                    k[t * inputs + i] = w[t * inputs + i] + gain[i] * (w[t * inputs + i] - mu[i]) + shift[i];
        }
    }
}

// From the gradients dk [U, O, T, I] and dp [U, O, I] those of dg and db.
void adafm_backward(const float* weight, const float* dg, const float* db, const float* dk, const float* dp, float* ddg, float* ddb,
                    int64_t codes, int64_t outputs, int64_t inputs, int64_t taps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < outputs; ++o) {
        std::vector<float> own(4 * inputs);
        float *mu = own.data(), *sigma = mu + inputs, *__restrict along = sigma + inputs, *__restrict total = along + inputs;
        const float* w = weight + o * taps * inputs;
        moments(w, taps, inputs, mu, sigma);
        for (int64_t u = 0; u < codes; ++u) {
            const int64_t row = (u * outputs + o) * inputs;
            const float* k = dk + row * taps;
            for (int64_t i = 0; i < inputs; ++i) along[i] = total[i] = 0;
            for (int64_t t = 0; t < taps; ++t)
                for (int64_t i = 0; i < inputs; ++i) {
                    along[i] += k[t * inputs + i] * (w[t * inputs + i] - mu[i]);
                    total[i] += k[t * inputs + i];
                }
            for (int64_t i = 0; i < inputs; ++i) {
                const float twice = 2.0f * static_cast<float>(taps) * dp[row + i] * sigma[i];
                ddg[row + i] = along[i] + twice * (sigma[i] + sigma[i] * dg[row + i]);
                ddb[row + i] = sigma[i] * total[i] + twice * (mu[i] + sigma[i] * db[row + i]);
            }
        }
    }
}

}  // extern "C"
