// Depthwise convolution: each channel by a kernel of its own.

// x is [images, channels, height, width], k [channels, 1, kernel height, kernel width]. If it is biased, t has a value a channel
// that is added, and the sum lies between two bounds.
KERNEL depthwise(In x, const float *k, Out y, int n, int channels, Window w, int biased, const float *t, float low, float high) {
    of_kind(x, [&](auto *x) {
        EACH(i, n) {
            int ox = i % w.output[1], oy = i / w.output[1] % w.output[0], plane = i / (w.output[0] * w.output[1]);
            int channel = plane % channels;
            const float *taps = k + channel * w.kernel[0] * w.kernel[1];
            auto *map = x + plane * w.input[0] * w.input[1];
            float sum = 0.0f;
            each_tap(w, oy, ox, [&](int at, int tap) { sum += map[at] * taps[tap]; });
            y.set(i, biased ? clip(sum + t[channel], low, high) : sum);
        }
    });
}

KERNEL depthwise_by_input(const float *k, In dy, Out dx, int n, int channels, Window w) {
    of_kind(dy, [&](auto *dy) {
        EACH(i, n) {
            int pixels = w.input[0] * w.input[1], plane = i / pixels, at = i % pixels;
            auto *grad = dy + plane * w.output[0] * w.output[1];
            const float *taps = k + plane % channels * w.kernel[0] * w.kernel[1];
            float sum = 0.0f;
            for (int ky = 0; ky < w.kernel[0]; ky++) {
                int oy = position(w, 0, at / w.input[1], ky);
                if (oy < 0) continue;
                for (int kx = 0; kx < w.kernel[1]; kx++) {
                    int ox = position(w, 1, at % w.input[1], kx);
                    if (ox >= 0) sum += grad[oy * w.output[1] + ox] * taps[ky * w.kernel[1] + kx];
                }
            }
            dx.set(i, sum);
        }
    });
}

// A block each tap of each channel.
KERNEL depthwise_by_kernel(In x, In dy, float *dk, int n, int images, int channels, Window w) {
    EACH_BLOCK(i, n) {
        int taps = w.kernel[0] * w.kernel[1], channel = i / taps, ky = i % taps / w.kernel[1], kx = i % w.kernel[1];
        int positions = w.output[0] * w.output[1];
        float sum = 0.0f;
        EACH_IN_BLOCK(j, images * positions) {
            int plane = j / positions * channels + channel, at = j % positions;
            int iy = pixel(w, 0, at / w.output[1], ky), ix = pixel(w, 1, at % w.output[1], kx);
            if (iy >= 0 && iy < w.input[0] && ix >= 0 && ix < w.input[1]) {
                sum += x[(plane * w.input[0] + iy) * w.input[1] + ix] * dy[plane * positions + at];
            }
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) dk[i] = sum;
    }
}

// The same for windows of K by K pixels that take steps of S without gaps. A thread makes values one below the other, so that
// rows are read once for all of them, and places are computed once. What lies outside is read as 0, without a branch: so all reads
// of a thread are on their way at once.
#define STRIP 8

template <class T>
__device__ __forceinline__ float inside(const T *map, const int *size, int y, int x) {
    return y >= 0 && y < size[0] && x >= 0 && x < size[1] ? (float)map[y * size[1] + x] : 0.0f;
}

// n strips of the output.
template <int K, int S, class T>
__device__ __forceinline__ void strips(const T *x, const float *k, Out y, int n, int channels, const Window &w, int biased,
                                       const float *t, float low, float high) {
    int height = w.output[0], width = w.output[1], lines = (height + STRIP - 1) / STRIP;
    EACH(i, n) {
        int ox = i % width, line = i / width, plane = line / lines, oy = line % lines * STRIP, channel = plane % channels;
        const T *map = x + plane * w.input[0] * w.input[1];
        float taps[K * K], sums[STRIP] = {};
        for (int tap = 0; tap < K * K; tap++) taps[tap] = k[channel * K * K + tap];
#pragma unroll
        for (int row = 0; row < (STRIP - 1) * S + K; row++) {
            float values[K];
            for (int kx = 0; kx < K; kx++) {
                values[kx] = inside(map, w.input, oy * S - w.before[0] + row, ox * S - w.before[1] + kx);
            }
#pragma unroll
            for (int at = 0; at < STRIP; at++) {
                int ky = row - at * S;
                if (ky < 0 || ky >= K) continue;
                for (int kx = 0; kx < K; kx++) sums[at] += values[kx] * taps[ky * K + kx];
            }
        }
        for (int at = 0; at < STRIP && oy + at < height; at++) {
            float sum = biased ? clip(sums[at] + t[channel], low, high) : sums[at];
            y.set((plane * height + oy + at) * width + ox, sum);
        }
    }
}

// Pixels lie in cells of S by S, of which those at the same place meet the same taps. n strips of cells.
template <int K, int S, class T>
__device__ __forceinline__ void strips_by_input(const float *k, const T *dy, Out dx, int n, int channels, const Window &w) {
    constexpr int TAPS = (K + S - 1) / S, CELLS = STRIP / S;
    int height = w.input[0], width = w.input[1], start_y = w.before[0] / S, start_x = w.before[1] / S;
    int columns = (width - 1 + w.before[1]) / S - start_x + 1;
    int lines = ((height - 1 + w.before[0]) / S - start_y + CELLS) / CELLS;
    EACH(i, n) {
        int line = i / columns, plane = line / lines, channel = plane % channels;
        int cx = start_x + i % columns, cy = start_y + line % lines * CELLS;
        const T *grad = dy + plane * w.output[0] * w.output[1];
        float taps[K * K], sums[CELLS][S][S] = {};
        for (int tap = 0; tap < K * K; tap++) taps[tap] = k[channel * K * K + tap];
#pragma unroll
        for (int row = 0; row < CELLS + TAPS - 1; row++) {
            float values[TAPS];
            for (int tap = 0; tap < TAPS; tap++) values[tap] = inside(grad, w.output, cy + row - (TAPS - 1), cx - tap);
#pragma unroll
            for (int cell = 0; cell < CELLS; cell++) {
                int far = cell - row + TAPS - 1;
                if (far < 0 || far >= TAPS) continue;
                for (int tap = 0; tap < TAPS; tap++) {
                    for (int a = 0; a < S; a++) {
                        for (int b = 0; b < S; b++) {
                            int ky = far * S + a, kx = tap * S + b;
                            if (ky < K && kx < K) sums[cell][a][b] += values[tap] * taps[ky * K + kx];
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int cell = 0; cell < CELLS; cell++) {
            for (int a = 0; a < S; a++) {
                for (int b = 0; b < S; b++) {
                    int iy = (cy + cell) * S + a - w.before[0], ix = cx * S + b - w.before[1];
                    if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
                    dx.set((plane * height + iy) * width + ix, sums[cell][a][b]);
                }
            }
        }
    }
}

// Of `each` of the images together: n blocks, one a channel of them. Strips are shorter: there are K times K sums beside.
#define SHORT 4

template <int K, int S, class T, class U>
__device__ __forceinline__ void strips_by_kernel(const T *x, const U *dy, float *dk, int n, int images, int channels, int each,
                                                 const Window &w) {
    int height = w.output[0], width = w.output[1], lines = (height + SHORT - 1) / SHORT;
    EACH_BLOCK(block, n) {
        int channel = block % channels, first = block / channels * each;
        int count = images - first < each ? images - first : each;
        float sums[K * K] = {};
        for (Walk at(lines, width); at.outer < count; at.next()) {
            int plane = (first + at.outer) * channels + channel, oy = at.line * SHORT, ox = at.place;
            const T *map = x + plane * w.input[0] * w.input[1];
            const U *grad = dy + plane * height * width;
            float grads[SHORT];
            for (int k = 0; k < SHORT; k++) grads[k] = inside(grad, w.output, oy + k, ox);
#pragma unroll
            for (int row = 0; row < (SHORT - 1) * S + K; row++) {
                for (int kx = 0; kx < K; kx++) {
                    float value = inside(map, w.input, oy * S - w.before[0] + row, ox * S - w.before[1] + kx);
#pragma unroll
                    for (int k = 0; k < SHORT; k++) {
                        int ky = row - k * S;
                        if (ky >= 0 && ky < K) sums[ky * K + kx] += value * grads[k];
                    }
                }
            }
        }
        block_sums<K * K>(sums, dk + block * K * K);
    }
}

#define DEPTHWISE(name, K, S)                                                                                         \
    KERNEL depthwise_##name(In x, const float *k, Out y, int n, int channels, Window w, int biased, const float *t,   \
                            float low, float high) {                                                                  \
        of_kind(x, [&](auto *x) { strips<K, S>(x, k, y, n, channels, w, biased, t, low, high); });                    \
    }                                                                                                                 \
    KERNEL depthwise_by_input_##name(const float *k, In dy, Out dx, int n, int channels, Window w) {                  \
        of_kind(dy, [&](auto *dy) { strips_by_input<K, S>(k, dy, dx, n, channels, w); });                             \
    }                                                                                                                 \
    KERNEL depthwise_by_kernel_##name(In x, In dy, float *dk, int n, int images, int channels, int each, Window w) {  \
        of_kind(x, [&](auto *x) {                                                                                     \
            of_kind(dy, [&](auto *dy) { strips_by_kernel<K, S>(x, dy, dk, n, images, channels, each, w); });          \
        });                                                                                                           \
    }

DEPTHWISE(3x3, 3, 1)
DEPTHWISE(3x3_by_2, 3, 2)
DEPTHWISE(5x5, 5, 1)
DEPTHWISE(5x5_by_2, 5, 2)
