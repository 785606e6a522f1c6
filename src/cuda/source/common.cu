// What all kernels share. Each runs in blocks of THREADS threads (a power of two) on one axis; values are counted in int.

#ifndef THREADS
#define THREADS 256
#endif
#define KERNEL extern "C" __global__ void
#define EACH(i, n) for (int i = blockIdx.x * THREADS + threadIdx.x; i < (n); i += gridDim.x * THREADS)
// One block each.
#define EACH_BLOCK(i, n) for (int i = blockIdx.x; i < (n); i += gridDim.x)
#define EACH_IN_BLOCK(i, n) for (int i = threadIdx.x; i < (n); i += THREADS)

#define AXES 8

// Sizes of axes, and how far apart the places of each lie in two tensors. The last axis comes last; unused ones in front
// are 1 long.
struct Axes {
    int size[AXES];
    int first[AXES];
    int second[AXES];
};

// Where the i-th value in row-major order lies in the two tensors.
__device__ __forceinline__ void places(const Axes &axes, int i, int &first, int &second) {
    if (axes.size[AXES - 2] == 1) {
        // One axis at most: nothing to divide.
        first = i * axes.first[AXES - 1];
        second = i * axes.second[AXES - 1];
        return;
    }
    first = 0;
    second = 0;
#pragma unroll
    for (int axis = AXES - 1; axis >= 0; axis--) {
        int size = axes.size[axis];
        if (size > 1) {
            int at = i % size;
            i /= size;
            first += at * axes.first[axis];
            second += at * axes.second[axis];
        }
    }
}

// Whether values lie side by side in both tensors, as they are counted.
__device__ __forceinline__ bool side_by_side(const Axes &axes) {
    return axes.size[AXES - 2] == 1 && axes.first[AXES - 1] == 1 && axes.second[AXES - 1] == 1;
}

// A window that slides over maps, as kernels::Window.
struct Window {
    int input[2];
    int output[2];
    int kernel[2];
    int stride[2];
    int dilation[2];
    int before[2];
};

// The pixel along an axis under a tap, which may lie outside of the map.
__device__ __forceinline__ int pixel(const Window &w, int axis, int position, int tap) {
    return position * w.stride[axis] + tap * w.dilation[axis] - w.before[axis];
}

// The taps of the window at a position that lie on the map: `take` is given the pixel's place in the map, and the tap's.
template <class Take> __device__ __forceinline__ void each_tap(const Window &w, int oy, int ox, Take take) {
    for (int ky = 0; ky < w.kernel[0]; ky++) {
        int iy = pixel(w, 0, oy, ky);
        if (iy < 0 || iy >= w.input[0]) continue;
        for (int kx = 0; kx < w.kernel[1]; kx++) {
            int ix = pixel(w, 1, ox, kx);
            if (ix >= 0 && ix < w.input[1]) take(iy * w.input[1] + ix, ky * w.kernel[1] + kx);
        }
    }
}

// The position along an axis at which the tap lies on the pixel, or -1.
__device__ __forceinline__ int position(const Window &w, int axis, int pixel, int tap) {
    int steps = pixel + w.before[axis] - tap * w.dilation[axis];
    // Most windows take one step, and division is slow.
    if (w.stride[axis] == 1) return steps >= 0 && steps < w.output[axis] ? steps : -1;
    if (steps < 0 || steps % w.stride[axis] != 0) return -1;
    int at = steps / w.stride[axis];
    return at < w.output[axis] ? at : -1;
}

// The first and the last position along an axis whose window reaches over the pixel; with gaps it may not lie under a tap.
struct Over {
    int first, last;

    __device__ __forceinline__ Over(const Window &w, int axis, int pixel) {
        int end = pixel + w.before[axis], ahead = end - w.dilation[axis] * (w.kernel[axis] - 1);
        first = ahead > 0 ? (ahead + w.stride[axis] - 1) / w.stride[axis] : 0;
        last = end / w.stride[axis];
        if (last >= w.output[axis]) last = w.output[axis] - 1;
    }
};

// Whether the pixel lies under a tap of the window at a position that reaches over it.
__device__ __forceinline__ bool under_tap(const Window &w, int axis, int pixel, int position) {
    return w.dilation[axis] == 1 || (pixel + w.before[axis] - position * w.stride[axis]) % w.dilation[axis] == 0;
}

// The nearest value with 8 bits of mantissa (bfloat16), of two equally near the even one; what is not a number stays so.
__device__ __forceinline__ unsigned short to_bf16(float x) {
    unsigned bits = (unsigned)__float_as_int(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Two of them, the first in the lower half.
__device__ __forceinline__ unsigned to_bf16(float x, float y) {
#if __CUDA_ARCH__ >= 800
    // The same, but for what is not a number: that is one of them there, whatever it was.
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(y), "f"(x));
    return bits;
#else
    return to_bf16(x) | (unsigned)to_bf16(y) << 16;
#endif
}

__device__ __forceinline__ float from_bf16(unsigned short x) { return __int_as_float((int)((unsigned)x << 16)); }

// A value of half as many bits, read as float.
struct Half {
    unsigned short bits;
    __device__ __forceinline__ operator float() const { return from_bf16(bits); }
};

// Values side by side, which are read and written at once. Memory is as long as a whole number of them.
#define GROUP 4
struct alignas(16) Group {
    float v[GROUP];
};
#define EACH_GROUP(i, n) EACH(i, ((n) + GROUP - 1) / GROUP)
// The values of a group: with a place known beforehand each is in a register.
#define EACH_IN_GROUP(k) _Pragma("unroll") for (int k = 0; k < GROUP; k++)

// Values that a kernel reads as float, whether they are stored so or by halves.
struct In {
    const void *values;
    int half;

    __device__ __forceinline__ float operator[](int i) const {
        return half ? (float)((const Half *)values)[i] : ((const float *)values)[i];
    }

    // Those from the i-th on.
    __device__ __forceinline__ In operator+(int i) const {
        return half ? In{(const Half *)values + i, 1} : In{(const float *)values + i, 0};
    }

    __device__ __forceinline__ Group group(int i) const {
        if (!half) return ((const Group *)values)[i];
        unsigned long long bits = ((const unsigned long long *)values)[i];
        Group group;
        EACH_IN_GROUP(k) group.v[k] = from_bf16((unsigned short)(bits >> 16 * k));
        return group;
    }
};

// Values that it writes.
struct Out {
    void *values;
    int half;

    __device__ __forceinline__ void set(int i, float x) const {
        if (half) {
            ((Half *)values)[i].bits = (unsigned short)to_bf16(x, 0.0f);
        } else {
            ((float *)values)[i] = x;
        }
    }

    __device__ __forceinline__ void set_group(int i, const Group &group) const {
        if (!half) {
            ((Group *)values)[i] = group;
            return;
        }
        unsigned low = to_bf16(group.v[0], group.v[1]), high = to_bf16(group.v[2], group.v[3]);
        ((unsigned long long *)values)[i] = low | (unsigned long long)high << 32;
    }
};

// Work whose inner loops read values: with their kind settled beforehand.
template <class Work> __device__ __forceinline__ void of_kind(In x, Work work) {
    if (x.half) {
        work((const Half *)x.values);
    } else {
        work((const float *)x.values);
    }
}

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// What is not a number stays so.
__device__ __forceinline__ float clip(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

__device__ __forceinline__ float plus(float a, float b) { return a + b; }
// As candle's reductions: what is not a number is passed over, unless it comes first.
__device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a; }
__device__ __forceinline__ float smaller(float a, float b) { return b < a ? b : a; }

// Joins the values of a block's threads in a fixed order; every thread gets the result.
#define JOIN(name, join)                                                                                              \
    __device__ __forceinline__ float name(float value) {                                                              \
        __shared__ float parts[THREADS];                                                                              \
        parts[threadIdx.x] = value;                                                                                   \
        __syncthreads();                                                                                              \
        for (int half = THREADS / 2; half > 0; half /= 2) {                                                           \
            if (threadIdx.x < half) parts[threadIdx.x] = join(parts[threadIdx.x], parts[threadIdx.x + half]);         \
            __syncthreads();                                                                                          \
        }                                                                                                             \
        float joined = parts[0];                                                                                      \
        __syncthreads();                                                                                              \
        return joined;                                                                                                \
    }

JOIN(block_sum, plus)
JOIN(block_max, larger)
JOIN(block_min, smaller)

// Adds up N values of each of a block's threads in a fixed order: their sums go to `to`.
#define LANES 8
template <int N> __device__ __forceinline__ void block_sums(const float (&values)[N], float *to) {
    // Rows are longer than there are threads, so that threads side by side meet in no bank of memory.
    __shared__ float parts[N][THREADS + LANES];
    __shared__ float some[N][LANES];
#pragma unroll
    for (int i = 0; i < N; i++) parts[i][threadIdx.x] = values[i];
    __syncthreads();
    EACH_IN_BLOCK(j, N * LANES) {
        float sum = 0.0f;
        for (int thread = j % LANES; thread < THREADS; thread += LANES) sum += parts[j / LANES][thread];
        some[j / LANES][j % LANES] = sum;
    }
    __syncthreads();
    EACH_IN_BLOCK(i, N) {
        float sum = 0.0f;
        for (int lane = 0; lane < LANES; lane++) sum += some[i][lane];
        to[i] = sum;
    }
    __syncthreads();
}

// Where a block's threads go on maps of so many lines and places in a line: each to what lies THREADS behind, without dividing.
struct Walk {
    int lines, places, by_outer, by_line, by_place, outer, line, place;

    __device__ __forceinline__ Walk(int lines, int places)
        : lines(lines), places(places), by_outer(THREADS / places / lines), by_line(THREADS / places % lines),
          by_place(THREADS % places), outer(threadIdx.x / places / lines), line(threadIdx.x / places % lines),
          place(threadIdx.x % places) {}

    __device__ __forceinline__ void next() {
        outer += by_outer;
        line += by_line;
        place += by_place;
        if (place >= places) {
            place -= places;
            line++;
        }
        if (line >= lines) {
            line -= lines;
            outer++;
        }
    }
};
