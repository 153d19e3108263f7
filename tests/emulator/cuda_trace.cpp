// cuda_trace.cpp: watches every memory access of an emulated kernel.
//
// The kernel is compiled with -fsanitize=thread, which makes the compiler call __tsan_readN or __tsan_writeN before each
// access. Instead of linking the sanitizer's library we define those functions here, and learn
//
//   races           two threads touch one word, one of them writing, and no barrier between them orders the two
//                   (threads of different blocks are never ordered);
//   coalescing      how many 32-byte sectors each load or store of a warp touches, and how few would do;
//   bank conflicts  how many passes each shared-memory access of a warp takes, and how few would do.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

extern "C" {
struct Trace {  // cuda_host.h fills it in
    int on, thread, atomic;
    long block, block_epoch, warp_epoch[32];
    char *low[5], *high[5];  // static shared, dynamic shared, the fibers' stacks, the scheduler, this struct
} emulator_trace;
}

namespace {

struct Access { int thread; long block, block_epoch, warp_epoch; bool atomic; void *pc; };
struct Word { Access write, read[2]; };
struct Site { uint64_t requests = 0, cost = 0, ideal = 0; bool shared = false, write = false; int bytes = 0; };
using Request = std::tuple<uintptr_t, long, int, uint64_t>;  // pc, block, warp, how many times the thread was there

std::unordered_map<uintptr_t, Word> words;
std::unordered_map<uintptr_t, std::map<int, uint64_t>> visits;
std::map<Request, std::vector<uintptr_t>> open_requests;
std::map<uintptr_t, Site> sites;
std::string report;
std::set<std::pair<void *, void *>> told;

bool inside(const char *p, int region) { return p >= emulator_trace.low[region] && p < emulator_trace.high[region]; }

bool ordered(const Access &a, const Access &b) {
    if (!a.pc || (a.thread == b.thread && a.block == b.block)) return true;
    if (a.atomic && b.atomic) return true;
    if (a.block != b.block) return false;
    return a.block_epoch != b.block_epoch || (a.thread / 32 == b.thread / 32 && a.warp_epoch != b.warp_epoch);
}

void complain(const char *what, const Access &a, const Access &b, bool shared) {
    if (!told.insert({a.pc, b.pc}).second || told.size() > 8) return;
    char line[240];
    snprintf(line, sizeof line, "%s race in %s memory: block %ld thread %d and block %ld thread %d\n", what,
             shared ? "shared" : "global", a.block, a.thread, b.block, b.thread);
    report += line;
}

void close_requests() {
    for (auto &[key, addresses] : open_requests) {
        Site &s = sites[std::get<0>(key)];
        s.requests++;
        std::set<uintptr_t> different(addresses.begin(), addresses.end());
        if (s.shared) {  // a pass serves one word of each of the 32 banks
            std::map<unsigned, int> in_bank;
            int size = std::max(1, s.bytes / 4), passes = 0;
            std::set<uintptr_t> touched;
            for (uintptr_t a : different)
                for (int k = 0; k < size; k++)
                    if (touched.insert(a / 4 + k).second) passes = std::max(passes, ++in_bank[(a / 4 + k) % 32]);
            s.cost += passes, s.ideal += (touched.size() + 31) / 32;
        } else {
            std::set<uintptr_t> sectors;
            for (uintptr_t a : different)
                for (uintptr_t at = a / 32; at <= (a + s.bytes - 1) / 32; at++) sectors.insert(at);
            s.cost += sectors.size(), s.ideal += (different.size() * s.bytes + 31) / 32;
        }
    }
    open_requests.clear();
}

void touch(void *address, int bytes, bool write, void *pc) {
    char *p = (char *)address;
    if (!emulator_trace.on || inside(p, 2) || inside(p, 3) || inside(p, 4)) return;
    bool shared = inside(p, 0) || inside(p, 1);
    int t = emulator_trace.thread;
    Access now = {t, emulator_trace.block, emulator_trace.block_epoch, emulator_trace.warp_epoch[t / 32],
                  emulator_trace.atomic != 0, pc};
    const int step = std::min(bytes, 4);  // neighbours may write the bytes of one word; a word goes by its first byte
    for (uintptr_t at = (uintptr_t)p; at < (uintptr_t)p + bytes; at += step) {
        Word &word = words[at];
        if (shared && word.write.pc && word.write.block != now.block) word.write = {};  // each block has its own
        if (!ordered(word.write, now)) complain(write ? "write-write" : "write-read", word.write, now, shared);
        if (write) {
            for (Access &read : word.read)
                if (!(shared && read.block != now.block) && !ordered(read, now))
                    complain("read-write", read, now, shared);
            word.write = now;
        } else if (word.read[0].thread != t || word.read[0].block != now.block) {
            word.read[1] = word.read[0], word.read[0] = now;
        } else {
            word.read[0] = now;
        }
    }
    Site &s = sites[(uintptr_t)pc];
    s.shared = shared, s.write = write, s.bytes = bytes;
    open_requests[{(uintptr_t)pc, emulator_trace.block, t / 32, visits[(uintptr_t)pc][t]++}].push_back((uintptr_t)p);
    if (open_requests.size() > 200000) close_requests();
}

}  // namespace

extern "C" {
void emulator_trace_start() {
    words.clear(), visits.clear(), open_requests.clear(), sites.clear(), told.clear(), report.clear();
}
const char *emulator_trace_stop() {
    emulator_trace.on = 0;
    close_requests();
    return report.c_str();
}
// One line an instruction: its address in the library, space, kind, bytes a lane, requests, cost, ideal cost.
const char *emulator_trace_sites(void *base) {
    static std::string out;
    out.clear();
    for (auto &[pc, s] : sites) {
        char line[160];
        snprintf(line, sizeof line, "%lx %s %s %d %lu %lu %lu\n", pc - (uintptr_t)base, s.shared ? "shared" : "global",
                 s.write ? "store" : "load", s.bytes, s.requests, s.cost, s.ideal);
        out += line;
    }
    return out.c_str();
}
#define PC __builtin_return_address(0)
#define HOOKS(n)                                                                 \
    void __tsan_read##n(void *p) { touch(p, n, false, PC); }                     \
    void __tsan_write##n(void *p) { touch(p, n, true, PC); }                     \
    void __tsan_unaligned_read##n(void *p) { touch(p, n, false, PC); }           \
    void __tsan_unaligned_write##n(void *p) { touch(p, n, true, PC); }           \
    void __tsan_volatile_read##n(void *p) { touch(p, n, false, PC); }            \
    void __tsan_volatile_write##n(void *p) { touch(p, n, true, PC); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void *p, long n) { touch(p, n, false, PC); }
void __tsan_write_range(void *p, long n) { touch(p, n, true, PC); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_vptr_update(void **, void *) {}
}
