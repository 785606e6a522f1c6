// In place: steps of optimizers by a gradient g, in the order of operations that the CPU has (train/optimizer/update.rs).

KERNEL update_descent(float *p, const float *g, int n, float lr, float decay) {
    EACH(i, n) p[i] -= lr * (g[i] + decay * p[i]);
}

KERNEL update_sgd(float *p, const float *g, float *v, int n, float lr, float decay, float momentum, float nesterov) {
    EACH(i, n) {
        float slope = g[i] + decay * p[i], velocity = momentum * v[i] + slope;
        v[i] = velocity;
        p[i] -= lr * (nesterov != 0.0f ? slope + momentum * velocity : velocity);
    }
}

KERNEL update_adam(float *p, const float *g, float *m, float *v, int n, float keep, float decay, float a, float b2,
                   float b, float size, float root, float eps) {
    EACH(i, n) {
        float slope = g[i] + decay * p[i], first = m[i] + a * (slope - m[i]), second = b2 * v[i] + b * slope * slope;
        m[i] = first;
        v[i] = second;
        p[i] = keep * p[i] - size * first / (sqrtf(second) / root + eps);
    }
}

// A moving average p takes a share of what differs from it in g.
KERNEL update_average(float *p, const float *g, int n, float share) {
    EACH(i, n) p[i] += share * (g[i] - p[i]);
}

// The squares' sum in so many parts.
#define PARTS 64
KERNEL squares(In x, float *sums, int n) {
    EACH_BLOCK(part, PARTS) {
        float sum = 0.0f;
        for (int i = part * THREADS + threadIdx.x; i < n; i += PARTS * THREADS) sum += x[i] * x[i];
        sum = block_sum(sum);
        if (threadIdx.x == 0) sums[part] = sum;
    }
}
