// Pooling.

// The pixel of a map that the window at the i-th position takes: the first that is largest, or that is not a number;
// padding never is it. -1 where there is no other.
__device__ int taken(In x, const Window &w, int i) {
    int ox = i % w.output[1], oy = i / w.output[1] % w.output[0], best = -1;
    float most = 0.0f;
    In map = x + i / (w.output[0] * w.output[1]) * w.input[0] * w.input[1];
    each_tap(w, oy, ox, [&](int at, int) {
        float value = map[at];
        if (best < 0 || value > most || (value != value && most == most)) {
            best = at;
            most = value;
        }
    });
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
        Over y(w, 0, at / w.input[1]), x(w, 1, at % w.input[1]);
        float sum = 0.0f;
        for (int oy = y.first; oy <= y.last; oy++) {
            for (int ox = x.first; ox <= x.last; ox++) {
                int window = first + oy * w.output[1] + ox;
                if (places[window] == at) sum += dy[window];
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
        each_tap(w, oy, ox, [&](int at, int) { sum += map[at]; });
        y.set(i, sum * share(w, oy, ox, divisor, after_y, after_x));
    }
}

KERNEL sum_pool_back(In dy, Out dx, int n, Window w, int divisor, int after_y, int after_x) {
    EACH(i, n) {
        int pixels = w.input[0] * w.input[1], at = i % pixels, iy = at / w.input[1], ix = at % w.input[1];
        In grad = dy + i / pixels * w.output[0] * w.output[1];
        Over y(w, 0, iy), x(w, 1, ix);
        float sum = 0.0f;
        for (int oy = y.first; oy <= y.last; oy++) {
            if (!under_tap(w, 0, iy, oy)) continue;
            for (int ox = x.first; ox <= x.last; ox++) {
                if (!under_tap(w, 1, ix, ox)) continue;
                sum += grad[oy * w.output[1] + ox] * share(w, oy, ox, divisor, after_y, after_x);
            }
        }
        dx.set(i, sum);
    }
}
