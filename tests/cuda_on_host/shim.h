// shim.h: runs unmodified CUDA sources on the host, for tests. Correct, not fast.
//
// 1. Every CUDA thread is a fiber (a stack of its own); the fibers of a block take turns on the calling thread. A barrier, a shuffle and a
//    vote are real meetings: a fiber waits until all that the mask names are there, with the values that they brought.
// 2. Reported, by the name of what is wrong: a barrier that some threads reach elsewhere or not at all, a lane outside its own mask, a
//    shuffle that reads outside the mask, lanes that meet at different instructions, lanes that never come, a 16-byte access out of line.
// 3. Shared memory is allocated anew for every block, each array on its own, and filled with 0xFF: a NaN, or −1.
// 4. Under -fsanitize=thread every fiber is a thread to the sanitizer; only barriers and warp operations order them, and nothing orders two
//    blocks. So a missing barrier is found in one run, on one processor. Under -fsanitize=address shared arrays have red zones.
#pragma once
#if !defined(__x86_64__)
#error "the switch between fibers is written for x86-64"
#endif
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <type_traits>
#include <utility>

#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void* __tsan_get_current_fiber();
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#define SHIM_QUIET __attribute__((no_sanitize("thread"), noinline))
#define SHIM_ACQUIRE(place) __tsan_acquire((void*)(place))
#define SHIM_RELEASE(place) __tsan_release((void*)(place))
#else
#define SHIM_QUIET __attribute__((noinline))
#define SHIM_ACQUIRE(place) ((void)0)
#define SHIM_RELEASE(place) ((void)0)
#endif
#if defined(__SANITIZE_ADDRESS__)
extern "C" {
void __sanitizer_start_switch_fiber(void**, const void*, size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
}
#endif

struct uint3 { unsigned x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };

namespace shim {

constexpr size_t STACK = 512 * 1024;
constexpr int MOST_THREADS = 1024, MOST_MASKS = 64, MOST_SHARED = 16;
constexpr size_t ARENA = size_t(1) << 32;  // addresses; memory is taken as it is used
enum State { READY, AT_BARRIER, AT_MEETING, DONE };
typedef const void* Site;  // which barrier or shuffle in the source

struct Meeting {  // of the lanes that a mask names
    unsigned mask, arrived, generation;
    Site site;
    uint64_t values[2][32];  // of this meeting and of the one before: a lane may still have to read
    unsigned votes[2];
    char tokens[2];  // of the thread sanitizer: who wakes late must not see what came after
};

struct Fiber {
    void* stack_pointer;
    char* stack;
    uint3 thread, block;
    int number, lane, warp;
    State state;
    Site site;
    Meeting* meeting;
    unsigned generation;  // of the meeting that it waits for
    void* of_thread_sanitizer;
    void* of_address_sanitizer;
};

struct Block {
    Fiber fibers[MOST_THREADS];
    Meeting meetings[MOST_THREADS / 32][MOST_MASKS];
    Site shared_sites[MOST_SHARED];  // arrays of this block
    unsigned char* shared_arrays[MOST_SHARED];
    int n_shared;
    unsigned char* arena;  // of the shared arrays of all blocks of a launch
    size_t arena_used;
    int n_threads, n_live, n_arrived, votes_against, order;
    unsigned random;
    bool last_vote;
    void *main_pointer, *main_of_thread_sanitizer, *main_of_address_sanitizer;
    const void* main_stack;
    size_t main_stack_size;
    void (*body)(void*);
    void* argument;
    bool failed;
    char error[512];
    unsigned barriers;  // met so far
    char start, end, barrier[2];  // tokens of the thread sanitizer
};

inline Block* block = nullptr;
inline Fiber* current = nullptr;
inline uint3 block_index, block_size;

extern "C" void shim_switch(void** save, void* load);

SHIM_QUIET inline void report(const char* format, ...) {
    if (block->failed) return;
    block->failed = true;
    va_list values;
    va_start(values, format);
    const int length = vsnprintf(block->error, sizeof block->error, format, values);
    va_end(values);
    snprintf(block->error + length, sizeof block->error - length, " [block %u, %u]", block_index.x, block_index.y);
}

SHIM_QUIET inline void to_main() {
    Fiber* fiber = current;
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(block->main_of_thread_sanitizer, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(
        fiber->state == DONE ? nullptr : &fiber->of_address_sanitizer, block->main_stack, block->main_stack_size);
#endif
    shim_switch(&fiber->stack_pointer, block->main_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber->of_address_sanitizer, nullptr, nullptr);
#endif
}

SHIM_QUIET inline void begin() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block->main_stack, &block->main_stack_size);
#endif
    SHIM_ACQUIRE(&block->start);
    block->body(block->argument);
    SHIM_RELEASE(&block->end);
    current->state = DONE;
    block->n_live--;
    to_main();
    abort();
}

SHIM_QUIET inline void resume(Fiber* fiber) {
    current = fiber;
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(fiber->of_thread_sanitizer, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&block->main_of_address_sanitizer, fiber->stack, STACK);
#endif
    shim_switch(&block->main_pointer, fiber->stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(block->main_of_address_sanitizer, nullptr, nullptr);
#endif
    current = nullptr;
}

// all threads of the block; returns whether all voted true
SHIM_QUIET inline bool meet_block(Site site, bool vote) {
    Fiber* fiber = current;
    for (int i = 0; i < block->n_threads && block->n_arrived > 0; ++i) {
        const Fiber& other = block->fibers[i];
        if (other.state == AT_BARRIER && other.site != site) {
            report("divergent barrier: threads %d and %d wait at different ones", other.number, fiber->number);
            break;
        }
    }
    fiber->site = site, fiber->state = AT_BARRIER, block->n_arrived++;
    block->votes_against += !vote;
    [[maybe_unused]] char* token = &block->barrier[block->barriers & 1];
    SHIM_RELEASE(token);
    to_main();
    SHIM_ACQUIRE(token);
    return block->last_vote;
}

// the lanes of a mask; `which`: where the values of this meeting are
SHIM_QUIET inline Meeting* meet_warp(unsigned mask, Site site, uint64_t value, bool vote, int& which) {
    Fiber* fiber = current;
    if (!(mask >> fiber->lane & 1)) report("lane %d (thread %d) is not in its own mask %08x", fiber->lane, fiber->number, mask);
    Meeting* meeting = nullptr;
    for (Meeting& each : block->meetings[fiber->warp]) {
        if (each.mask == mask || each.mask == 0) {
            meeting = &each;
            break;
        }
    }
    if (!meeting) {
        report("a warp uses more than %d masks", MOST_MASKS);
        meeting = &block->meetings[fiber->warp][0];
    }
    meeting->mask = mask;
    which = meeting->generation & 1;
    if (meeting->arrived == 0) {
        meeting->votes[which] = 0;
        meeting->site = site;
    } else if (meeting->site != site) {
        report("lanes of warp %d meet at different instructions (thread %d)", fiber->warp, fiber->number);
    }
    meeting->values[which][fiber->lane] = value;
    if (vote) meeting->votes[which] |= 1u << fiber->lane;
    meeting->arrived |= 1u << fiber->lane;
    SHIM_RELEASE(&meeting->tokens[which]);
    if (meeting->arrived == mask) {
        meeting->arrived = 0;
        meeting->generation++;
    } else {
        fiber->meeting = meeting, fiber->generation = meeting->generation, fiber->state = AT_MEETING;
        to_main();
    }
    SHIM_ACQUIRE(&meeting->tokens[which]);
    return meeting;
}

SHIM_QUIET inline bool can_run(Fiber& fiber) {
    if (fiber.state == AT_MEETING && fiber.meeting->generation != fiber.generation) fiber.state = READY;
    return fiber.state == READY;
}

SHIM_QUIET inline void make_fiber(Fiber& fiber, int number) {
    fiber.number = number, fiber.lane = number % 32, fiber.warp = number / 32, fiber.state = READY;
    fiber.thread = {number % block_size.x, number / block_size.x % block_size.y, number / (block_size.x * block_size.y)};
    fiber.block = block_index;
#if defined(__SANITIZE_THREAD__)  // no order between blocks: a used stack would look like a race
    if (fiber.stack) munmap(fiber.stack, STACK);
    fiber.stack = nullptr;
#endif
    if (!fiber.stack) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        fiber.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    }
    void** top = (void**)(fiber.stack + STACK);
    top[-2] = (void*)&begin;  // where the first switch returns to
    fiber.stack_pointer = top - 2 - 6;
    memset(fiber.stack_pointer, 0, 6 * sizeof(void*));
#if defined(__SANITIZE_THREAD__)
    fiber.of_thread_sanitizer = __tsan_create_fiber(0);
#endif
}

SHIM_QUIET inline void tell_deadlock() {
    int at_barrier = 0, at_meeting = 0;
    const Fiber* example = nullptr;
    for (int i = 0; i < block->n_threads; ++i) {
        at_barrier += block->fibers[i].state == AT_BARRIER;
        if (block->fibers[i].state == AT_MEETING) at_meeting++, example = &block->fibers[i];
    }
    const unsigned mask = example ? example->meeting->mask : 0, arrived = example ? example->meeting->arrived : 0;
    report("deadlock: %d threads wait at a barrier, %d at a warp operation (mask %08x, of which %08x came)", at_barrier, at_meeting, mask,
        arrived);
}

SHIM_QUIET inline void run_block(uint3 index) {
    Block& b = *block;
    block_index = index;
    b.n_arrived = 0, b.votes_against = 0, b.n_shared = 0, b.n_live = b.n_threads;
    memset(b.meetings, 0, sizeof b.meetings[0] * ((b.n_threads + 31) / 32));
    for (int i = 0; i < b.n_threads; ++i) make_fiber(b.fibers[i], i);
    while (b.n_live > 0 && !b.failed) {
        bool moved = false;
        for (int k = 0; k < b.n_threads && !b.failed; ++k) {
            b.random = b.random * 1664525u + 1013904223u;
            const int i = b.order == 0 ? k : b.order == 1 ? b.n_threads - 1 - k : int((b.random >> 8) % b.n_threads);
            if (can_run(b.fibers[i])) moved = true, resume(&b.fibers[i]);
        }
        if (b.n_arrived > 0 && b.n_arrived == b.n_live) {
            if (b.n_live < b.n_threads) report("divergent barrier: %d threads wait, %d have left the kernel", b.n_live, b.n_threads - b.n_live);
            b.last_vote = b.votes_against == 0;
            b.n_arrived = b.votes_against = 0, b.barriers++;
            for (int i = 0; i < b.n_threads; ++i) {
                if (b.fibers[i].state == AT_BARRIER) b.fibers[i].state = READY;
            }
            moved = true;
        }
        for (int i = 0; i < b.n_threads && !moved; ++i) moved = b.fibers[i].state != DONE && can_run(b.fibers[i]);  // not drawn
        if (!moved && b.n_live > 0) tell_deadlock();
    }
#if defined(__SANITIZE_THREAD__)
    for (int i = 0; i < b.n_threads; ++i) __tsan_destroy_fiber(b.fibers[i].of_thread_sanitizer);
#endif
#if defined(__SANITIZE_ADDRESS__)
    for (int k = 0; k < b.n_shared; ++k) free(b.shared_arrays[k]);
#endif
}

template <typename... A, size_t... I>
inline void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<A>*>(arguments[I])...);
}

template <typename... A>
struct Call {
    void (*kernel)(A...);
    void** arguments;
    static void go(void* self) {
        auto* c = static_cast<Call*>(self);
        call(c->kernel, c->arguments, std::index_sequence_for<A...>{});
    }
};

// grid: blocks in x and y, and the first of x that is run. order: in which fibers take turns; 0 forwards, 1 backwards, 2 at random
template <typename... A>
inline int launch(void (*kernel)(A...), const unsigned* grid, unsigned threads, void** arguments, int order, unsigned seed) {
    if (!block) {
        block = new Block();
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        block->arena = (unsigned char*)mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
    }
    block->arena_used = 0;
    block->failed = false, block->error[0] = 0, block->order = order, block->random = seed * 2654435761u + 1;
    block->n_threads = int(threads), block_size = {threads, 1, 1};
    if (threads < 1 || threads > MOST_THREADS) {
        report("a block of %u threads", threads);
        return 1;
    }
    Call<A...> c{kernel, arguments};
    block->body = &Call<A...>::go, block->argument = &c;
#if defined(__SANITIZE_THREAD__)
    block->main_of_thread_sanitizer = __tsan_get_current_fiber();
#endif
    SHIM_RELEASE(&block->start);
    for (unsigned y = 0; y < grid[1] && !block->failed; ++y) {
        for (unsigned x = grid[2]; x < grid[0] && !block->failed; ++x) {
            run_block({x, y, 0});
        }
    }
    SHIM_ACQUIRE(&block->end);
    return block->failed;
}

// Fresh for every block also to the thread sanitizer, which must not see who asked first; red zones from malloc for the other one.
SHIM_QUIET inline unsigned char* shared_array(Site site, size_t size) {
    for (int k = 0; k < block->n_shared; ++k) {
        if (block->shared_sites[k] == site) return block->shared_arrays[k];
    }
#if defined(__SANITIZE_ADDRESS__)
    unsigned char* memory = (unsigned char*)malloc(size);
#else
    unsigned char* memory = block->arena + block->arena_used;
    block->arena_used += (size + 255) / 256 * 256;
#endif
    if (block->n_shared == MOST_SHARED || block->arena_used > ARENA) {
        fputs("shim.h: too much shared memory\n", stderr);
        abort();
    }
    for (size_t k = 0; k < size; ++k) ((volatile unsigned char*)memory)[k] = 0xFF;
    block->shared_sites[block->n_shared] = site;
    block->shared_arrays[block->n_shared++] = memory;
    return memory;
}

template <typename T>
SHIM_QUIET inline T& shared_memory(Site site) {
    return *(T*)shared_array(site, sizeof(T));
}

template <typename T>
SHIM_QUIET T exchange(unsigned mask, T value, int source, Site site) {
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    int which;
    Meeting* meeting = meet_warp(mask, site, bits, false, which);
    if (!(mask >> source & 1)) {
        report("a shuffle reads lane %d, which is not in the mask %08x (thread %d)", source, mask, current->number);
        return value;
    }
    memcpy(&value, &meeting->values[which][source], sizeof value);
    return value;
}

SHIM_QUIET inline unsigned ballot(unsigned mask, bool vote, Site site) {
    int which;
    Meeting* meeting = meet_warp(mask, site, 0, vote, which);
    return meeting->votes[which];
}

enum Kind { FROM, DOWN, XOR };
template <typename T>
inline T shuffle(Kind kind, Site site, unsigned mask, T value, int a, int width = 32) {
    const int lane = current->lane, first = lane & ~(width - 1);
    int source = kind == FROM ? first + (a & (width - 1)) : kind == DOWN ? lane + a : lane ^ a;
    if (source >= first + width) source = lane;
    return exchange(mask, value, source, site);
}

inline unsigned mask_or_all(unsigned mask = 0xffffffffu) { return mask; }

}  // namespace shim

__asm__(
    ".text\n.globl shim_switch\n.hidden shim_switch\n.type shim_switch,@function\nshim_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
#include "shim_cuda.h"
