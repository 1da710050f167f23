/* A processor that reorders more than ours: included before the core, it replaces C11's atomics.
 *
 * A store, sequentially consistent or not, stays in a buffer of its thread, of one place, until the
 * thread has loaded something else: that load comes first for everyone. A fence, an exchange, a
 * sequentially consistent load and a second store empty the buffer before they do anything. All of
 * that C11 allows; x86 does most of it now and then, for some nanoseconds. Between a load and what
 * follows, the other thread gets time.
 */
#ifndef ASYNCREV_WEAK_MEMORY_H
#define ASYNCREV_WEAK_MEMORY_H

#define _GNU_SOURCE /* the sources behind this header want it */
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    volatile void *place; /* NULL: the buffer is empty */
    size_t nbytes;
    uint64_t value;
    uint32_t dice;
} weak_buffer;

extern _Thread_local weak_buffer weak_own;

static inline void weak_drain(void) {
    if (weak_own.place == NULL) {
        return;
    }
    if (weak_own.nbytes == sizeof(uint64_t)) {
        __atomic_store_n((volatile uint64_t *)weak_own.place, weak_own.value, __ATOMIC_SEQ_CST);
    } else if (weak_own.nbytes == sizeof(uint32_t)) {
        __atomic_store_n((volatile uint32_t *)weak_own.place, (uint32_t)weak_own.value, __ATOMIC_SEQ_CST);
    } else {
        __atomic_store_n((volatile bool *)weak_own.place, weak_own.value != 0, __ATOMIC_SEQ_CST);
    }
    weak_own.place = NULL;
}

static inline void weak_store(volatile void *place, size_t nbytes, uint64_t value) {
    weak_drain();
    weak_own.place = place;
    weak_own.nbytes = nbytes;
    weak_own.value = value;
}

/* Whether the value in the buffer is the one to load. */
static inline bool weak_has(const volatile void *place, int order) {
    if (order == memory_order_seq_cst) {
        weak_drain();
    }
    return weak_own.place == place;
}

static inline void weak_loaded(const volatile void *place) {
    weak_own.dice = weak_own.dice * 1664525u + 1013904223u;
    uint32_t number = weak_own.dice >> 24;
    if (number < 8) {
        sched_yield();
    } else if (number < 64) {
        for (volatile uint32_t left = 8 * number; left > 0; left--) {
        }
    }
    if (weak_own.place != place) {
        weak_drain();
    }
}

#undef atomic_store_explicit
#undef atomic_store
#undef atomic_load_explicit
#undef atomic_load
#undef atomic_exchange
#undef atomic_fetch_add_explicit
#undef atomic_thread_fence

#define atomic_store_explicit(to, value, order) \
    ((void)(order), weak_store((to), sizeof *(to), (uint64_t)(value)))
#define atomic_store(to, value) atomic_store_explicit((to), (value), memory_order_seq_cst)
#define atomic_load_explicit(from, order)                                                       \
    ({                                                                                          \
        __auto_type weak_from = (from);                                                         \
        __auto_type weak_value = weak_has(weak_from, (order))                                   \
                                     ? (__typeof__(__atomic_load_n(weak_from, 0)))weak_own.value \
                                     : __atomic_load_n(weak_from, __ATOMIC_SEQ_CST);            \
        weak_loaded(weak_from);                                                                 \
        weak_value;                                                                             \
    })
#define atomic_load(from) atomic_load_explicit((from), memory_order_seq_cst)
#define atomic_exchange(in, value) (weak_drain(), __atomic_exchange_n((in), (value), __ATOMIC_SEQ_CST))
#define atomic_fetch_add_explicit(in, value, order) \
    ((void)(order), weak_drain(), __atomic_fetch_add((in), (value), __ATOMIC_SEQ_CST))
#define atomic_thread_fence(order) ((void)(order), weak_drain())

#endif
