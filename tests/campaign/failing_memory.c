// Memory that fails on request: handlers for NumPy's arrays (NEP 49) and for Python's raw memory, which Numba's kernels
// can be told to use; there only the kernels' requests are counted. Counted are the requests while `armed`; the one of
// number `fails_at`, and with `and_all_after` every later one, gets no memory.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int armed = 0, and_all_after = 0;
long requests = 0, fails_at = -1, failed = 0, alive = 0;

static int refused(void) {
    if (!__atomic_load_n(&armed, __ATOMIC_RELAXED)) return 0;
    long number = __atomic_fetch_add(&requests, 1, __ATOMIC_RELAXED);
    int no = fails_at >= 0 && (number == fails_at || (and_all_after && number > fails_at));
    if (no) __atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
    return no;
}

static void count(long change) { __atomic_fetch_add(&alive, change, __ATOMIC_RELAXED); }

static void *numpy_malloc(void *context, size_t size) {
    void *made = refused() ? NULL : malloc(size ? size : 1);
    if (made) count(1);
    return made;
}

static void *numpy_calloc(void *context, size_t number, size_t size) {
    void *made = refused() ? NULL : calloc(number ? number : 1, size ? size : 1);
    if (made) count(1);
    return made;
}

static void *numpy_realloc(void *context, void *old, size_t size) {
    void *made = refused() ? NULL : realloc(old, size ? size : 1);
    if (made && !old) count(1);
    return made;
}

static void numpy_free(void *context, void *old, size_t size) {
    if (old) count(-1);
    free(old);
}

// as NumPy declares them: PyDataMemAllocator and PyDataMem_Handler
typedef struct {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} numpy_allocator;

struct {
    char name[127];
    uint8_t version;
    numpy_allocator allocator;
} numpy_handler = {"failing_memory", 1, {NULL, numpy_malloc, numpy_calloc, numpy_realloc, numpy_free}};

// Whether Numba's runtime asks: it is among the last callers.
static int of_kernels(void) {
    void *callers[6];
    Dl_info place;
    if (!__atomic_load_n(&armed, __ATOMIC_RELAXED)) return 0;
    for (int i = backtrace(callers, 6) - 1; i >= 0; i--)
        if (dladdr(callers[i], &place) && place.dli_fname && strstr(place.dli_fname, "_nrt_python")) return 1;
    return 0;
}

// as Python declares it: PyMemAllocatorEx
static void *raw_malloc(void *context, size_t size) { return of_kernels() && refused() ? NULL : malloc(size ? size : 1); }
static void *raw_calloc(void *context, size_t number, size_t size) { return calloc(number ? number : 1, size ? size : 1); }
static void *raw_realloc(void *context, void *old, size_t size) {
    return of_kernels() && refused() ? NULL : realloc(old, size ? size : 1);
}
static void raw_free(void *context, void *old) { free(old); }

struct {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} raw_allocator = {NULL, raw_malloc, raw_calloc, raw_realloc, raw_free};
