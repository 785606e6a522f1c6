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

// The position along an axis at which the tap lies on the pixel, or -1.
__device__ __forceinline__ int position(const Window &w, int axis, int pixel, int tap) {
    int steps = pixel + w.before[axis] - tap * w.dilation[axis];
    // Most windows take one step, and division is slow.
    if (w.stride[axis] == 1) return steps >= 0 && steps < w.output[axis] ? steps : -1;
    if (steps < 0 || steps % w.stride[axis] != 0) return -1;
    int at = steps / w.stride[axis];
    return at < w.output[axis] ? at : -1;
}

// The nearest value with 8 bits of mantissa (bfloat16), of two equally near the even one; what is not a number stays so.
__device__ __forceinline__ unsigned short to_bf16(float x) {
    unsigned bits = (unsigned)__float_as_int(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ __forceinline__ float from_bf16(unsigned short x) { return __int_as_float((int)((unsigned)x << 16)); }

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
