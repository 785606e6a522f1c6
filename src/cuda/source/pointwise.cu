// One value after another: functions of one value, of two, broadcast, and of channels.

#define UNARY(name, value)                                                                                            \
    __device__ __forceinline__ float name##_of_one(float a, float p, float q) { return value; }                       \
    KERNEL unary_##name(In x, Out y, int n, float p, float q) {                                                       \
        EACH_GROUP(i, n) {                                                                                            \
            Group group = x.group(i);                                                                                 \
            EACH_IN_GROUP(k) group.v[k] = name##_of_one(group.v[k], p, q);                                            \
            y.set_group(i, group);                                                                                    \
        }                                                                                                             \
    }

// Between two tensors, each repeated along axes as its steps say.
#define BINARY(name, value)                                                                                           \
    __device__ __forceinline__ float name##_of_two(float a, float b, float p, float q) { return value; }              \
    KERNEL binary_##name(In x, In w, Out y, int n, Axes axes, float p, float q) {                                     \
        if (side_by_side(axes)) {                                                                                     \
            EACH_GROUP(i, n) {                                                                                        \
                Group a = x.group(i), b = w.group(i);                                                                 \
                EACH_IN_GROUP(k) a.v[k] = name##_of_two(a.v[k], b.v[k], p, q);                                        \
                y.set_group(i, a);                                                                                    \
            }                                                                                                         \
            return;                                                                                                   \
        }                                                                                                             \
        EACH(i, n) {                                                                                                  \
            int first, second;                                                                                        \
            places(axes, i, first, second);                                                                           \
            y.set(i, name##_of_two(x[first], w[second], p, q));                                                       \
        }                                                                                                             \
    }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float unit(float x) { return clip(x, 0.0f, 1.0f); }
// 1 where a gate is neither shut nor wide open.
__device__ __forceinline__ float between(float gate) { return gate > 0.0f && gate < 1.0f ? 1.0f : 0.0f; }
__device__ __forceinline__ float normal(float x) { return 0.5f * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ __forceinline__ float silu_slope(float x) {
    float gate = sigmoid(x);
    return gate * (1.0f + x * (1.0f - gate));
}
__device__ __forceinline__ float sigmoid_slope(float x) {
    float y = sigmoid(x);
    return y * (1.0f - y);
}
__device__ __forceinline__ float hard_swish_slope(float x) {
    float gate = unit(x / 6.0f + 0.5f);
    return gate + between(gate) * x / 6.0f;
}
__device__ __forceinline__ float gelu_slope(float x) {
    return normal(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
}
__device__ __forceinline__ float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }
// What passes of a gradient behind bounds; those that are not numbers hold nothing back.
__device__ __forceinline__ float passed(float y, float dy, float low, float high) { return y <= low || y >= high ? 0.0f : dy; }
// By what values whose squares come to so much are scaled, so that their norm is `most` at most.
__device__ __forceinline__ float clip_factor(float squares, float most) {
    float norm = sqrtf(squares), factor = most / (norm + 1e-6f);
    if (!(norm < infinity())) return norm - norm;
    return factor < 1.0f ? factor : 1.0f;
}

UNARY(abs, fabsf(a))
UNARY(acos, acosf(a))
UNARY(acosh, acoshf(a))
UNARY(asin, asinf(a))
UNARY(asinh, asinhf(a))
UNARY(atan, atanf(a))
UNARY(atanh, atanhf(a))
UNARY(affine, a * p + q)
UNARY(ceil, ceilf(a))
UNARY(clip, clip(a, p, q))
UNARY(clip_factor, clip_factor(a, p))
UNARY(cos, cosf(a))
UNARY(erf, erff(a))
UNARY(exp, expf(a))
UNARY(floor, floorf(a))
UNARY(gelu, a * normal(a))
UNARY(hard_sigmoid, unit(a * p + q))
UNARY(hard_swish, a * unit(a / 6.0f + 0.5f))
UNARY(log, logf(a))
UNARY(neg, -a)
UNARY(powf, powf(a, p))
UNARY(recip, 1.0f / a)
UNARY(relu, a > 0.0f ? a : 0.0f)
UNARY(round, roundf(a))
// To values that are stored otherwise.
UNARY(same, a)
UNARY(sigmoid, sigmoid(a))
UNARY(sign, sign(a))
UNARY(silu, a * sigmoid(a))
UNARY(sin, sinf(a))
UNARY(sqr, a * a)
UNARY(sqrt, sqrtf(a))
UNARY(tanh, tanhf(a))
UNARY(eq, a == p ? 1.0f : 0.0f)
UNARY(ne, a != p ? 1.0f : 0.0f)
UNARY(gt, a > p ? 1.0f : 0.0f)
UNARY(lt, a < p ? 1.0f : 0.0f)

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a * b)
BINARY(div, a / b)
BINARY(pow, powf(a, b))
BINARY(pow_by_base, b == 0.0f ? 0.0f : b * powf(a, b - 1.0f))
BINARY(pow_by_exponent, a == 0.0f && b >= 0.0f ? 0.0f : powf(a, b) * logf(a))
BINARY(minimum, b < a ? b : a)
BINARY(maximum, b > a ? b : a)
BINARY(eq, a == b ? 1.0f : 0.0f)
BINARY(ne, a != b ? 1.0f : 0.0f)
BINARY(lt, a < b ? 1.0f : 0.0f)
BINARY(le, a <= b ? 1.0f : 0.0f)
BINARY(gt, a > b ? 1.0f : 0.0f)
BINARY(ge, a >= b ? 1.0f : 0.0f)
// The sum between two bounds: a shortcut and its activation.
BINARY(add_clip, clip(a + b, p, q))
// The gradient b in front of a clip whose output a is.
BINARY(clip_back, passed(a, b, p, q))
// Gradients b behind activations of a.
BINARY(gelu_back, b * gelu_slope(a))
BINARY(hard_sigmoid_back, b * p * between(a * p + q))
BINARY(hard_swish_back, b * hard_swish_slope(a))
BINARY(sigmoid_back, b * sigmoid_slope(a))
BINARY(silu_back, b * silu_slope(a))

KERNEL fill(Out y, int n, float value) {
    EACH(i, n) y.set(i, value);
}

// The second where the first is not 0, else the third.
KERNEL choose(In x, In yes, In no, Out y, int n) {
    EACH(i, n) y.set(i, x[i] != 0.0f ? yes[i] : no[i]);
}

// The channels of a group's values.
struct Channels {
    int at[GROUP];

    __device__ __forceinline__ Channels(int group, int channels, int inner) {
        int line = group * GROUP / inner, place = group * GROUP - line * inner, channel = line % channels;
        EACH_IN_GROUP(k) {
            at[k] = channel;
            if (++place == inner) {
                place = 0;
                channel = channel + 1 == channels ? 0 : channel + 1;
            }
        }
    }
};

// x times a scale plus a shift, between two bounds; both have one value a channel.
KERNEL scale_shift(In x, const float *s, const float *t, Out y, int n, int channels, int inner, float low, float high) {
    EACH_GROUP(i, n) {
        Channels channel(i, channels, inner);
        Group group = x.group(i);
        EACH_IN_GROUP(k) group.v[k] = clip(group.v[k] * s[channel.at[k]] + t[channel.at[k]], low, high);
        y.set_group(i, group);
    }
}

// Its gradient by x.
KERNEL scale_shift_back(In y, In dy, const float *s, Out dx, int n, int channels, int inner, float low, float high) {
    EACH_GROUP(i, n) {
        Channels channel(i, channels, inner);
        Group a = y.group(i), group = dy.group(i);
        EACH_IN_GROUP(k) group.v[k] = passed(a.v[k], group.v[k], low, high) * s[channel.at[k]];
        dx.set_group(i, group);
    }
}

// Its gradients by scale and shift, of `each` of the outer places together: n blocks, one a channel of them.
KERNEL scale_shift_sums(In y, In dy, In x, float *by_s, float *by_t, int n, int outer, int channels, int inner, int each,
                        float low, float high) {
    EACH_BLOCK(block, n) {
        int channel = block % channels, first = block / channels * each;
        int count = outer - first < each ? outer - first : each;
        float s = 0.0f, t = 0.0f;
        for (Walk at(1, inner); at.outer < count; at.next()) {
            int i = ((first + at.outer) * channels + channel) * inner + at.place;
            float d = passed(y[i], dy[i], low, high);
            s += d * x[i];
            t += d;
        }
        s = block_sum(s);
        t = block_sum(t);
        if (threadIdx.x == 0) {
            by_s[block] = s;
            by_t[block] = t;
        }
    }
}

// x plus one value a channel, between two bounds; y may be x.
KERNEL bias(In x, const float *t, Out y, int n, int channels, int inner, float low, float high) {
    EACH_GROUP(i, n) {
        Channels channel(i, channels, inner);
        Group group = x.group(i);
        EACH_IN_GROUP(k) group.v[k] = clip(group.v[k] + t[channel.at[k]], low, high);
        y.set_group(i, group);
    }
}

// The gradient in front of a bias and bounds, which is not written where dx is nowhere, and its sums by channel as above.
KERNEL bias_back(In y, In dy, Out dx, float *sums, int n, int outer, int channels, int inner, int each, float low, float high) {
    EACH_BLOCK(block, n) {
        int channel = block % channels, first = block / channels * each;
        int count = outer - first < each ? outer - first : each;
        float sum = 0.0f;
        if (inner % GROUP == 0) {
            int groups = inner / GROUP;
            for (Walk at(1, groups); at.outer < count; at.next()) {
                int i = ((first + at.outer) * channels + channel) * groups + at.place;
                Group a = y.group(i), group = dy.group(i);
                EACH_IN_GROUP(k) sum += group.v[k] = passed(a.v[k], group.v[k], low, high);
                if (dx.values) dx.set_group(i, group);
            }
        } else {
            for (Walk at(1, inner); at.outer < count; at.next()) {
                int i = ((first + at.outer) * channels + channel) * inner + at.place;
                float d = passed(y[i], dy[i], low, high);
                sum += d;
                if (dx.values) dx.set(i, d);
            }
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) sums[block] = sum;
    }
}
