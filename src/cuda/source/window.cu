// Pooling and depthwise convolution: what slides over each map by itself.

// The pixel of a map that the window at the i-th position takes: the first that is largest, or that is not a number;
// padding never is it. -1 where there is no other.
__device__ int taken(In x, const Window &w, int i) {
    int ox = i % w.output[1], oy = i / w.output[1] % w.output[0], best = -1;
    In map = x + i / (w.output[0] * w.output[1]) * w.input[0] * w.input[1];
    for (int ky = 0; ky < w.kernel[0]; ky++) {
        int iy = pixel(w, 0, oy, ky);
        if (iy < 0 || iy >= w.input[0]) continue;
        for (int kx = 0; kx < w.kernel[1]; kx++) {
            int ix = pixel(w, 1, ox, kx);
            if (ix < 0 || ix >= w.input[1]) continue;
            int at = iy * w.input[1] + ix;
            float value = map[at];
            if (best < 0 || value > map[best] || (value != value && map[best] == map[best])) best = at;
        }
    }
    return best;
}

// Each window's largest value.
KERNEL max_pool(In x, Out y, int n, Window w) {
    EACH(i, n) {
        int at = taken(x, w, i);
        y.set(i, at < 0 ? -infinity() : x[i / (w.output[0] * w.output[1]) * w.input[0] * w.input[1] + at]);
    }
}

KERNEL max_pool_places(In x, int *places, int n, Window w) {
    EACH(i, n) places[i] = taken(x, w, i);
}

// Its gradient: each pixel asks the windows over it whether they took it, so that sums have a fixed order.
KERNEL max_pool_back(const int *places, In dy, Out dx, int n, Window w) {
    EACH(i, n) {
        int pixels = w.input[0] * w.input[1], at = i % pixels, first = i / pixels * w.output[0] * w.output[1];
        float sum = 0.0f;
        for (int ky = w.kernel[0] - 1; ky >= 0; ky--) {
            int oy = position(w, 0, at / w.input[1], ky);
            if (oy < 0) continue;
            for (int kx = w.kernel[1] - 1; kx >= 0; kx--) {
                int ox = position(w, 1, at % w.input[1], kx), window = first + oy * w.output[1] + ox;
                if (ox >= 0 && places[window] == at) sum += dy[window];
            }
        }
        dx.set(i, sum);
    }
}

// What the sum at a position is divided by along an axis: 1, the pixels under the window, or those with the padding.
__device__ int counted(const Window &w, int axis, int position, int divisor, int after) {
    if (divisor == 0) return 1;
    int count = 0;
    for (int k = 0; k < w.kernel[axis]; k++) {
        int at = pixel(w, axis, position, k);
        if (divisor == 1 ? at >= 0 && at < w.input[axis] : at < w.input[axis] + after) count++;
    }
    return count;
}

__device__ float share(const Window &w, int oy, int ox, int divisor, int after_y, int after_x) {
    int count = counted(w, 0, oy, divisor, after_y) * counted(w, 1, ox, divisor, after_x);
    return 1.0f / (count > 1 ? count : 1);
}

// Each window's sum, divided as told: 0 by nothing, 1 by the pixels under it, 2 by those and the padding.
KERNEL sum_pool(In x, Out y, int n, Window w, int divisor, int after_y, int after_x) {
    EACH(i, n) {
        int ox = i % w.output[1], oy = i / w.output[1] % w.output[0];
        In map = x + i / (w.output[0] * w.output[1]) * w.input[0] * w.input[1];
        float sum = 0.0f;
        for (int ky = 0; ky < w.kernel[0]; ky++) {
            int iy = pixel(w, 0, oy, ky);
            if (iy < 0 || iy >= w.input[0]) continue;
            for (int kx = 0; kx < w.kernel[1]; kx++) {
                int ix = pixel(w, 1, ox, kx);
                if (ix >= 0 && ix < w.input[1]) sum += map[iy * w.input[1] + ix];
            }
        }
        y.set(i, sum * share(w, oy, ox, divisor, after_y, after_x));
    }
}

KERNEL sum_pool_back(In dy, Out dx, int n, Window w, int divisor, int after_y, int after_x) {
    EACH(i, n) {
        int pixels = w.input[0] * w.input[1], at = i % pixels;
        In grad = dy + i / pixels * w.output[0] * w.output[1];
        float sum = 0.0f;
        for (int ky = 0; ky < w.kernel[0]; ky++) {
            int oy = position(w, 0, at / w.input[1], ky);
            if (oy < 0) continue;
            for (int kx = 0; kx < w.kernel[1]; kx++) {
                int ox = position(w, 1, at % w.input[1], kx);
                if (ox < 0) continue;
                sum += grad[oy * w.output[1] + ox] * share(w, oy, ox, divisor, after_y, after_x);
            }
        }
        dx.set(i, sum);
    }
}

// What a channel's taps make of the pixels under the window at a position.
template <class T>
__device__ __forceinline__ float under(const T *map, const float *taps, const Window &w, int oy, int ox) {
    float sum = 0.0f;
    for (int ky = 0; ky < w.kernel[0]; ky++) {
        int iy = pixel(w, 0, oy, ky);
        if (iy < 0 || iy >= w.input[0]) continue;
        for (int kx = 0; kx < w.kernel[1]; kx++) {
            int ix = pixel(w, 1, ox, kx);
            if (ix >= 0 && ix < w.input[1]) sum += map[iy * w.input[1] + ix] * taps[ky * w.kernel[1] + kx];
        }
    }
    return sum;
}

// x is [images, channels, height, width], k [channels, 1, kernel height, kernel width]. If it is biased, t has a value a channel
// that is added, and the sum lies between two bounds.
KERNEL depthwise(In x, const float *k, Out y, int n, int channels, Window w, int biased, const float *t, float low, float high) {
    of_kind(x, [&](auto *x) {
        EACH(i, n) {
            int ox = i % w.output[1], oy = i / w.output[1] % w.output[0], plane = i / (w.output[0] * w.output[1]);
            int channel = plane % channels;
            const float *taps = k + channel * w.kernel[0] * w.kernel[1];
            float sum = under(x + plane * w.input[0] * w.input[1], taps, w, oy, ox);
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
