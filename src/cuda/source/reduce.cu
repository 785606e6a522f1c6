// Sums and extremes over axes, softmax, layer normalisation.

// Outputs lie where the first steps of kept say, what each is made of where those of gone say.
// reduce_: a block an output; fold_: a thread an output, where few values make many outputs.
#define REDUCE(name, start, join, block)                                                                              \
    KERNEL reduce_##name(In x, float *y, int n, int count, Axes kept, Axes gone) {                                    \
        EACH_BLOCK(i, n) {                                                                                            \
            int base, place, unused;                                                                                  \
            places(kept, i, base, unused);                                                                            \
            float value = start;                                                                                      \
            EACH_IN_BLOCK(j, count) {                                                                                 \
                places(gone, j, place, unused);                                                                       \
                value = join(value, x[base + place]);                                                                 \
            }                                                                                                         \
            value = block(value);                                                                                     \
            if (threadIdx.x == 0) y[i] = value;                                                                       \
        }                                                                                                             \
    }                                                                                                                 \
    KERNEL fold_##name(In x, float *y, int n, int count, Axes kept, Axes gone) {                                      \
        EACH(i, n) {                                                                                                  \
            int base, place, unused;                                                                                  \
            places(kept, i, base, unused);                                                                            \
            float value = start;                                                                                      \
            for (int j = 0; j < count; j++) {                                                                         \
                places(gone, j, place, unused);                                                                       \
                value = join(value, x[base + place]);                                                                 \
            }                                                                                                         \
            y[i] = value;                                                                                             \
        }                                                                                                             \
    }

REDUCE(sum, 0.0f, plus, block_sum)
REDUCE(max, -infinity(), larger, block_max)
REDUCE(min, infinity(), smaller, block_min)

// The first place along an axis that holds its extreme, as a number; x is [outer, count, inner].
#define PLACE(name, better)                                                                                           \
    KERNEL place_##name(In x, float *y, int n, int count, int inner) {                                                \
        EACH(i, n) {                                                                                                  \
            In line = x + (i / inner * count * inner + i % inner);                                                    \
            int best = 0;                                                                                             \
            for (int j = 1; j < count; j++) {                                                                         \
                if (line[j * inner] better line[best * inner]) best = j;                                              \
            }                                                                                                         \
            y[i] = (float)best;                                                                                       \
        }                                                                                                             \
    }

PLACE(max, >)
PLACE(min, <)

KERNEL softmax(In x, float *y, int rows, int width) {
    EACH_BLOCK(row, rows) {
        In from = x + row * width;
        float *to = y + row * width;
        float largest = -infinity(), sum = 0.0f;
        EACH_IN_BLOCK(i, width) largest = larger(largest, from[i]);
        largest = block_max(largest);
        EACH_IN_BLOCK(i, width) sum += to[i] = expf(from[i] - largest);
        sum = block_sum(sum);
        EACH_IN_BLOCK(i, width) to[i] /= sum;
    }
}

// Its gradient, from its output.
KERNEL softmax_back(In y, In dy, float *dx, int rows, int width) {
    EACH_BLOCK(row, rows) {
        int start = row * width;
        float mean = 0.0f;
        EACH_IN_BLOCK(i, width) mean += y[start + i] * dy[start + i];
        mean = block_sum(mean);
        EACH_IN_BLOCK(i, width) dx[start + i] = (dy[start + i] - mean) * y[start + i];
    }
}

// A row's mean and the reciprocal of its deviation.
__device__ void statistics(In x, int width, float epsilon, float &mean, float &r) {
    float sum = 0.0f, squares = 0.0f;
    EACH_IN_BLOCK(i, width) sum += x[i];
    mean = block_sum(sum) / width;
    EACH_IN_BLOCK(i, width) squares += (x[i] - mean) * (x[i] - mean);
    r = 1.0f / sqrtf(block_sum(squares) / width + epsilon);
}

KERNEL layer_norm(In x, const float *s, const float *t, float *y, int rows, int width, float epsilon) {
    EACH_BLOCK(row, rows) {
        float mean, r;
        statistics(x + row * width, width, epsilon, mean, r);
        EACH_IN_BLOCK(i, width) y[row * width + i] = (x[row * width + i] - mean) * r * s[i] + t[i];
    }
}

// Its gradient by x; and dy times the normalised values, whose sums over the rows are the gradient by the scale.
KERNEL layer_norm_back(In x, const float *s, In dy, Out dx, float *by_scale, int rows, int width, float epsilon) {
    EACH_BLOCK(row, rows) {
        int start = row * width;
        float mean, r, a = 0.0f, b = 0.0f;
        statistics(x + start, width, epsilon, mean, r);
        EACH_IN_BLOCK(i, width) {
            float d = dy[start + i] * s[i];
            a += d;
            b += d * ((x[start + i] - mean) * r);
        }
        a = block_sum(a) / width;
        b = block_sum(b) / width;
        EACH_IN_BLOCK(i, width) {
            float value = (x[start + i] - mean) * r;
            dx.set(start + i, (dy[start + i] * s[i] - a - value * b) * r);
            by_scale[start + i] = dy[start + i] * value;
        }
    }
}
