// cuda_host.h: as much of CUDA as our kernels use, on a CPU, for tests.
//
// Every CUDA thread is a fiber: a stack of its own, all on one thread of the operating system. A block's fibers run one
// after the other, each until it exits or meets a barrier or a warp operation; then the next. set_order() chooses the
// order: ascending, descending (blocks too) or shuffled. A kernel that lacks a barrier answers differently in different
// orders.
//
// __shared__ arrays are thread_local, and nothing else is, so that together they are this library's TLS block, which is
// filled with NaN before each block: whoever reads shared memory before it is written gets NaN.
//
// A bad address, undefined behaviour (compiled to trap), or a barrier that some threads never reach ends the launch with
// a text that names block and thread. Nothing crashes.
#pragma once
#include <link.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>
#if !defined(__x86_64__) || defined(EMULATOR_PORTABLE)
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local
#define DYN_SHARED(T, name) T *name = (T *)emulator::S.dynamic

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static const int warpSize = 32;

#ifdef EMULATOR_TRACE  // see cuda_trace.cpp
extern "C" struct Trace {
    int on, thread, atomic;
    long block, block_epoch, warp_epoch[32];
    char *low[5], *high[5];
} emulator_trace;
extern "C" void emulator_trace_start();
extern "C" const char *emulator_trace_stop();
#define TRACED(...) __VA_ARGS__
#else
#define TRACED(...)
#endif

namespace emulator {

enum State : unsigned char { READY, AT_BARRIER, AT_WARP, DONE };

struct Fiber {
    void *stack_pointer;
    uint3 index;
    State state;
    int line;                  // of the source: the barrier or warp operation it waits at
    unsigned mask;             // the lanes that the warp operation names
    bool exchanges;            // whether it gets all lanes' values there:
    uint64_t mine, theirs[32];  // its own, and all lanes' once they are let through
    int turn;                  // of its two buffers, the one that from_all_lanes takes next
    alignas(16) char buffer[2][32];
};

const int MOST_THREADS = 1024;
const size_t STACK = 64 << 10;

struct Scheduler {
    uint3 thread, block;
    dim3 block_size, grid_size;
    Fiber fiber[MOST_THREADS];
    char *stacks;
    int count, current, order;
    unsigned seed;
    void *host_stack_pointer, *dynamic;
    char *shared_low, *shared_high;
    void (*body)();
    alignas(16) char argument[64][16];
    sigjmp_buf escape;
    char error[512];
};
static Scheduler S;

#define threadIdx emulator::S.thread
#define blockIdx emulator::S.block
#define blockDim emulator::S.block_size
#define gridDim emulator::S.grid_size

// ------------------------------------------------------------------------------------------------ changing fibers

#if defined(__x86_64__) && !defined(EMULATOR_PORTABLE)
extern "C" void emulator_switch(void **save, void *load);
asm(".text\n.local emulator_switch\nemulator_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
static void begin() {
    S.body();
    S.fiber[S.current].state = DONE;
    emulator_switch(&S.fiber[S.current].stack_pointer, S.host_stack_pointer);
    __builtin_unreachable();
}
static void prepare(int i) {
    void **top = (void **)(S.stacks + (i + 1) * STACK) - 2;
    *top = (void *)begin;
    S.fiber[i].stack_pointer = top - 6;
}
static void resume(int i) { emulator_switch(&S.host_stack_pointer, S.fiber[i].stack_pointer); }
static void pause() { emulator_switch(&S.fiber[S.current].stack_pointer, S.host_stack_pointer); }
#else  // on any machine, and ten times slower: two system calls a switch
static ucontext_t host_context, context[MOST_THREADS];
static void begin() {
    S.body();
    S.fiber[S.current].state = DONE;
    setcontext(&host_context);
}
static void prepare(int i) {
    getcontext(&context[i]);
    context[i].uc_stack.ss_sp = S.stacks + i * STACK;
    context[i].uc_stack.ss_size = STACK;
    context[i].uc_link = nullptr;
    makecontext(&context[i], begin, 0);
}
static void resume(int i) { swapcontext(&host_context, &context[i]); }
static void pause() { int i = S.current; swapcontext(&context[i], &host_context); }
#endif

static void wait_at(State state, int line, unsigned mask, bool exchanges = false) {
    Fiber &f = S.fiber[S.current];
    f.state = state, f.line = line, f.mask = mask, f.exchanges = exchanges;
    pause();
}

// ---------------------------------------------------------------------------------------------------- what goes wrong

static void on_fault(int signal, siginfo_t *info, void *) {
    bool undefined = signal == SIGILL || signal == SIGTRAP;
    snprintf(S.error, sizeof S.error, "%s (address %p) in block (%u,%u,%u) thread (%u,%u,%u)",
             undefined ? "undefined behaviour: an overflow, a bad index, shift or alignment" : "illegal memory access",
             info->si_addr, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    siglongjmp(S.escape, 1);
}
static bool fail(const char *what, int line_a, int line_b) {
    snprintf(S.error, sizeof S.error, "%s in block (%u,%u,%u): threads wait at lines %d and %d", what, blockIdx.x,
             blockIdx.y, blockIdx.z, line_a, line_b);
    return false;
}

// ---------------------------------------------------------------------------------------------------------- scheduling

// Let through each warp whose waiting lanes are all the living ones that they name. Lanes that have exited give NaN.
static bool release_warps() {
    bool any = false;
    for (int w = 0; w * 32 < S.count; w++) {
        Fiber *f = S.fiber + w * 32;
        int lanes = std::min(32, S.count - w * 32);
        for (int l = 0; l < lanes; l++) {
            if (f[l].state != AT_WARP || !(f[l].mask >> l & 1)) continue;  // one that leaves itself out waits for ever
            unsigned wanted = f[l].mask, here = 0;
            for (int j = 0; j < lanes; j++)
                if (f[j].state == DONE) wanted &= ~(1u << j);
                else if (f[j].state == AT_WARP && f[j].line == f[l].line && f[j].mask == f[l].mask)
                    here |= f[j].mask & 1u << j;
            if ((here & wanted) != wanted) continue;
            uint64_t all[32];
            for (int j = 0; j < 32; j++) all[j] = here >> j & 1 ? f[j].mine : ~0ull;
            for (int j = 0; j < lanes; j++)
                if (here >> j & 1) {
                    if (f[j].exchanges) memcpy(f[j].theirs, all, sizeof all);
                    f[j].state = READY;
                }
            any = true;
            TRACED(emulator_trace.warp_epoch[w]++;)
        }
    }
    return any;
}
static unsigned draw() { return S.seed = S.seed * 1664525u + 1013904223u, S.seed >> 8; }
static void make_order(int *order, int n) {
    for (int i = 0; i < n; i++) order[i] = S.order == 1 ? n - 1 - i : i;
    if (S.order == 2)
        for (int i = n - 1; i > 0; i--) std::swap(order[i], order[draw() % (i + 1)]);
}
static bool run_block() {
    memset(S.shared_low, 0xff, S.shared_high - S.shared_low);
    int order[MOST_THREADS];
    for (int i = 0; i < S.count; i++) {
        S.fiber[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        S.fiber[i].state = READY, S.fiber[i].turn = 0;
        prepare(i);
    }
    for (;;) {
        make_order(order, S.count);
        for (int k = 0; k < S.count; k++) {
            int i = order[k];
            if (S.fiber[i].state != READY) continue;
            S.current = i, threadIdx = S.fiber[i].index;
            TRACED(emulator_trace.thread = i; emulator_trace.on = 1;)
            resume(i);
            TRACED(emulator_trace.on = 0;)
        }
        if (release_warps()) continue;
        int line = 0, in_warp = 0, done = 0;
        for (int i = 0; i < S.count; i++) {
            const Fiber &f = S.fiber[i];
            if (f.state == DONE) { done++; continue; }
            if (line && f.line != line) return fail("barrier divergence", line, f.line);
            line = f.line, in_warp += f.state == AT_WARP;
        }
        if (in_warp) return fail("a warp operation that not all lanes of its mask reach", line, line);
        if (done == S.count) return true;
        TRACED(emulator_trace.block_epoch++;)
        for (int i = 0; i < S.count; i++)
            if (S.fiber[i].state == AT_BARRIER) S.fiber[i].state = READY;
    }
}

// Where this library's TLS block is: its __shared__ arrays.
static int find_shared(dl_phdr_info *info, size_t, void *) {
    bool ours = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto &h = info->dlpi_phdr[i];
        ours |= h.p_type == PT_LOAD && (uintptr_t)&S - (info->dlpi_addr + h.p_vaddr) < h.p_memsz;
    }
    for (int i = 0; ours && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
            S.shared_low = (char *)info->dlpi_tls_data;
            S.shared_high = S.shared_low + info->dlpi_phdr[i].p_memsz;
        }
    return ours;
}

static const char *run(void (*body)(), const unsigned *grid, const unsigned *block, unsigned shared) {
    unsigned n = block[0] * block[1] * block[2];
    if (n < 1 || n > 1024 || block[2] > 64) return "invalid launch: a block has 1 to 1024 threads";
    if (!grid[0] || grid[0] > 2147483647u || !grid[1] || grid[1] > 65535u || !grid[2] || grid[2] > 65535u)
        return "invalid launch: a grid has 1 to 2147483647 x 65535 x 65535 blocks";
    if (shared > 48u << 10) return "invalid launch: over 48 KiB of dynamic shared memory";
    if (!S.stacks)
        S.stacks = (char *)mmap(0, MOST_THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static char signal_stack[64 << 10];
    stack_t ss = {}, old_ss;
    ss.ss_sp = signal_stack, ss.ss_size = sizeof signal_stack;
    sigaltstack(&ss, &old_ss);
    struct sigaction action = {}, old[4];
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    action.sa_sigaction = on_fault, action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 4; i++) sigaction(signals[i], &action, &old[i]);

    static thread_local char touch;  // the C library allocates the TLS block when it is first touched
    *(volatile char *)&touch = 0;
    dl_iterate_phdr(find_shared, nullptr);
    S.count = n, S.body = body, S.error[0] = 0;
    S.dynamic = aligned_alloc(16, (shared + 31) & ~15u);
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
#ifdef EMULATOR_TRACE
    char *low[] = {S.shared_low, (char *)S.dynamic, S.stacks, (char *)&S, (char *)&emulator_trace};
    char *high[] = {S.shared_high, (char *)S.dynamic + shared, S.stacks + MOST_THREADS * STACK, (char *)(&S + 1),
                    (char *)(&emulator_trace + 1)};
    memcpy(emulator_trace.low, low, sizeof low), memcpy(emulator_trace.high, high, sizeof high);
    emulator_trace_start();
#endif
    if (!sigsetjmp(S.escape, 1)) {
        unsigned long long blocks = 1ull * grid[0] * grid[1] * grid[2];
        bool good = true;
        for (unsigned long long b = 0; b < blocks && good; b++) {
            unsigned long long i = S.order ? blocks - 1 - b : b;  // blocks come in any order too
            blockIdx = {unsigned(i % grid[0]), unsigned(i / grid[0] % grid[1]), unsigned(i / grid[0] / grid[1])};
            memset(S.dynamic, 0xff, shared);
            TRACED(emulator_trace.block = i;)
            good = run_block();
        }
    }
#ifdef EMULATOR_TRACE
    const char *races = emulator_trace_stop();
    if (*races && !S.error[0]) snprintf(S.error, sizeof S.error, "%s", races);
#endif
    free(S.dynamic);
    for (int i = 0; i < 4; i++) sigaction(signals[i], &old[i], 0);
    sigaltstack(&old_ss, 0);
    return S.error[0] ? S.error : nullptr;
}

// Kernel<&f>::launch(grid, block, shared bytes, arguments): one pointer an argument, as for cuLaunchKernel.
template <auto f, class F = decltype(f)>
struct Kernel;
template <auto f, class... P>
struct Kernel<f, void (*)(P...)> {
    template <size_t... I>
    static void call(std::index_sequence<I...>) { f(*(P *)S.argument[I]...); }
    static void body() { call(std::index_sequence_for<P...>()); }
    static const char *launch(const unsigned *grid, const unsigned *block, unsigned shared, void **arguments) {
        int i = 0;
        ((memcpy(S.argument[i], arguments[i], sizeof(P)), i++), ...);
        return run(body, grid, block, shared);
    }
};

// ------------------------------------------------------------------------------------------------------ warp operations

static inline int lane() { return S.current & 31; }
template <class T>
T from_lane(unsigned mask, T value, int lane, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
    Fiber &f = S.fiber[S.current];
    f.mine = 0, memcpy(&f.mine, &value, sizeof value);
    wait_at(AT_WARP, line, mask, true);
    memcpy(&value, &f.theirs[lane & 31], sizeof value);
    return value;
}
// All lanes' values, up to 32 bytes each: what a tensor-core instruction needs. There are two buffers in turn: nobody gets
// to write the one that others still read before these, too, have come to the next exchange.
template <class T>
struct Lanes {
    int first, turn;
    const T &operator[](int lane) const { return *(const T *)S.fiber[first + lane].buffer[turn]; }
};
template <class T>
Lanes<T> from_all_lanes(const T &mine, int line) {
    static_assert(sizeof(T) <= sizeof S.fiber[0].buffer[0]);
    Fiber &f = S.fiber[S.current];
    const int turn = f.turn;
    f.turn ^= 1;
    memcpy(f.buffer[turn], &mine, sizeof mine);
    wait_at(AT_WARP, line, 0xffffffffu);
    return {S.current & ~31, turn};
}
// A tensor core adds its products exactly and cuts the sum off towards zero (Fasi et al. 2021, "Numerical behavior of
// NVIDIA tensor cores"): a sum over many steps is too small in the last digits, which rounding to nearest would hide.
static inline float toward_zero(double exact) {
    const float nearest = (float)exact;
    return fabs((double)nearest) > fabs(exact) ? nextafterf(nearest, 0.f) : nearest;
}
static inline unsigned ballot(unsigned mask, bool yes, int line) {
    from_lane(mask, (int)yes, 0, line);
    unsigned all = 0;
    for (int l = 0; l < 32; l++) all |= (mask >> l & 1u & (unsigned)S.fiber[S.current].theirs[l]) << l;
    return all;
}
template <class T, class F>
T atomically(T *place, F change) {
    TRACED(emulator_trace.atomic = 1; asm volatile("" ::: "memory");)
    T old = *place;
    *place = change(old);
    TRACED(asm volatile("" ::: "memory"); emulator_trace.atomic = 0;)
    return old;
}
static void set_order(int order, unsigned seed) { S.order = order, S.seed = seed; }

}  // namespace emulator

extern "C" void emulator_set_order(int order, unsigned seed) { emulator::set_order(order, seed); }

#define __syncthreads() emulator::wait_at(emulator::AT_BARRIER, __LINE__, 0)
#define __syncwarp(...) emulator::wait_at(emulator::AT_WARP, __LINE__, 0xffffffffu)
#define __shfl_sync(m, v, l) emulator::from_lane(m, v, l, __LINE__)
#define __shfl_down_sync(m, v, d) \
    emulator::from_lane(m, v, emulator::lane() + (d) > 31 ? emulator::lane() : emulator::lane() + (d), __LINE__)
#define __shfl_up_sync(m, v, d) \
    emulator::from_lane(m, v, emulator::lane() < (int)(d) ? emulator::lane() : emulator::lane() - (d), __LINE__)
#define __shfl_xor_sync(m, v, d) emulator::from_lane(m, v, emulator::lane() ^ (d), __LINE__)
#define __ballot_sync(m, p) emulator::ballot(m, p, __LINE__)
#define __any_sync(m, p) (emulator::ballot(m, p, __LINE__) != 0)

template <class T> T atomicAdd(T *p, T v) { return emulator::atomically(p, [v](T old) { return old + v; }); }
template <class T> T atomicMax(T *p, T v) { return emulator::atomically(p, [v](T old) { return std::max(old, v); }); }
#define __ldg(p) (*(p))
#define __expf expf  // glibc has functions of these names already
#define __logf logf
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
using std::max;
using std::min;
