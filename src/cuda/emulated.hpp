// CUDA's words in C++, for running kernels on a processor: the threads of a block are fibers that take turns at barriers.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static

struct Number {
    int x;
};
static Number blockIdx, threadIdx, gridDim;

static ucontext_t fibers[THREADS], scheduler;
static char stacks[THREADS][1 << 16];
static bool ended[THREADS];
static const std::function<void()> *body;

static void fiber(int thread) {
    (*body)();
    ended[thread] = true;
}

static void __syncthreads() {
    int thread = threadIdx.x;
    swapcontext(&fibers[thread], &scheduler);
    threadIdx.x = thread;
}

static float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void together() {
    for (int t = 0; t < THREADS; t++) {
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks[t];
        fibers[t].uc_stack.ss_size = sizeof stacks[t];
        fibers[t].uc_link = &scheduler;
        ended[t] = false;
        makecontext(&fibers[t], (void (*)())fiber, 1, t);
    }
    for (bool any = true; any;) {
        any = false;
        for (int t = 0; t < THREADS; t++) {
            if (ended[t]) continue;
            any = true;
            threadIdx.x = t;
            swapcontext(&scheduler, &fibers[t]);
        }
    }
}

static void run(int blocks, int fibers, const std::function<void()> &kernel) {
    body = &kernel;
    gridDim.x = blocks;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        if (fibers) {
            together();
            continue;
        }
        for (threadIdx.x = 0; threadIdx.x < THREADS; threadIdx.x++) kernel();
    }
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A> *)arguments[I]...);
}

template <class... A> static void enter(void (*kernel)(A...), int blocks, int fibers, void **arguments) {
    run(blocks, fibers, [&] { call(kernel, arguments, std::index_sequence_for<A...>()); });
}

#define ENTRY(name)                                                                                                   \
    extern "C" void enter_##name(int blocks, int fibers, void **arguments) { enter(name, blocks, fibers, arguments); }
