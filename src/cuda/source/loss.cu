// Losses of rows of scores z. Behind the rows of the targets t lies one of the classes' weights. Each row's loss, and whether
// its largest score is its largest target's, go to result; the gradient is that of the losses' sum times share.

// The first place of a row's largest value, known to all threads of the block.
__device__ float largest(const float *x, int count) {
    float most = -infinity(), place = infinity();
    EACH_IN_BLOCK(i, count) most = larger(most, x[i]);
    most = block_max(most);
    EACH_IN_BLOCK(i, count) {
        if (x[i] == most) place = smaller(place, (float)i);
    }
    return block_min(place);
}

__device__ void tell(float loss, const float *z, const float *t, int classes, float *result) {
    bool correct = largest(z, classes) == largest(t, classes);
    if (threadIdx.x == 0) {
        result[0] = loss;
        result[1] = correct ? 1.0f : 0.0f;
    }
}

// -sum w t log softmax(z); its derivative is softmax(z) times the sum of w t, less w t.
KERNEL loss_cross_entropy(const float *scores, const float *targets, float *dz, float *result, int rows, int classes,
                          float share) {
    const float *w = targets + rows * classes;
    EACH_BLOCK(row, rows) {
        const float *z = scores + row * classes, *t = targets + row * classes;
        float most = -infinity(), total = 0.0f, mass = 0.0f, loss = 0.0f;
        EACH_IN_BLOCK(i, classes) most = larger(most, z[i]);
        most = block_max(most);
        EACH_IN_BLOCK(i, classes) {
            total += expf(z[i] - most);
            mass += w[i] * t[i];
        }
        total = logf(block_sum(total));
        mass = block_sum(mass);
        EACH_IN_BLOCK(i, classes) {
            float logarithm = z[i] - most - total;
            loss -= w[i] * t[i] * logarithm;
            dz[row * classes + i] = (expf(logarithm) * mass - w[i] * t[i]) * share;
        }
        tell(block_sum(loss), z, t, classes, result + 2 * row);
    }
}

// What is the mean over the classes of a function of each.
#define LOSS(name, value, slope)                                                                                      \
    KERNEL loss_##name(const float *scores, const float *targets, float *dz, float *result, int rows, int classes,    \
                       float share) {                                                                                 \
        const float *w = targets + rows * classes;                                                                    \
        EACH_BLOCK(row, rows) {                                                                                       \
            const float *all = scores + row * classes, *wanted = targets + row * classes;                             \
            float loss = 0.0f;                                                                                        \
            EACH_IN_BLOCK(i, classes) {                                                                               \
                float z = all[i], t = wanted[i];                                                                      \
                loss += w[i] * (value) / classes;                                                                     \
                dz[row * classes + i] = w[i] * (slope) / classes * share;                                             \
            }                                                                                                         \
            tell(block_sum(loss), all, wanted, classes, result + 2 * row);                                            \
        }                                                                                                             \
    }

LOSS(mse, (z - t) * (z - t), 2.0f * (z - t))
// -t log sigma(z) - (1 - t) log(1 - sigma(z)); its derivative is sigma(z) - t.
LOSS(bce, (z > 0.0f ? z : 0.0f) - z * t + log1pf(expf(-fabsf(z))), sigmoid(z) - t)
