/* See plane_core_wakeups.h. */
#define _GNU_SOURCE
#include "plane_core_wakeups.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int64_t arv_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int arv_parker_open(arv_parker *parker) {
    memset(parker, 0, sizeof *parker);
    parker->poll_fd = -1;
    parker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (parker->fd >= 0) {
        parker->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    }
    /* Edge-triggered, so that it need not be read: a system call less before the work begins. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (parker->poll_fd < 0 || epoll_ctl(parker->poll_fd, EPOLL_CTL_ADD, parker->fd, &event) < 0) {
        int error = errno;
        arv_parker_close(parker);
        return error;
    }
    return 0;
}

void arv_parker_close(arv_parker *parker) {
    if (parker->fd >= 0) {
        close(parker->fd);
    }
    if (parker->poll_fd >= 0) {
        close(parker->poll_fd);
    }
    parker->fd = parker->poll_fd = -1;
}

bool arv_wake(int fd) {
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)sizeof one;
}

bool arv_unpark(arv_parker *parker) {
    /* ORDER: what the worker is to see was stored before; without the fence the load of `parked` might
     * come first (I5). */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&parker->parked, memory_order_relaxed) ||
        !atomic_exchange(&parker->parked, false)) {
        return false;
    }
    atomic_fetch_add_explicit(&parker->unparks, 1, memory_order_relaxed);
    arv_wake(parker->fd);
    return true;
}

void arv_parker_prepare(arv_parker *parker) {
    atomic_store(&parker->parked, true);
    /* ORDER: before the caller looks for work (I5). */
    atomic_thread_fence(memory_order_seq_cst);
}

void arv_parker_stay(arv_parker *parker) {
    /* If it is false already, a write to the eventfd comes; it ends the next sleep at once (I7). */
    atomic_store(&parker->parked, false);
}

bool arv_park(arv_parker *parker, int timeout_ms) {
    struct epoll_event event;
    /* A signal's handler may end it early, as a write does. */
    int ready = epoll_wait(parker->poll_fd, &event, 1, timeout_ms);
    return atomic_exchange(&parker->parked, false) && ready == 0;
}

bool arv_must_request(arv_signal *signal) {
    /* ORDER: the cursor was moved before (I6). */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&signal->awaited, memory_order_relaxed) ||
        atomic_exchange(&signal->awaited, true)) {
        return false;
    }
    atomic_fetch_add_explicit(&signal->requests, 1, memory_order_relaxed);
    return true;
}

void arv_not_requested(arv_signal *signal) { atomic_store(&signal->awaited, false); }

void arv_signal_clear(arv_signal *signal) {
    atomic_store(&signal->awaited, false);
    /* ORDER: before the worker's cursor is read (I6). */
    atomic_thread_fence(memory_order_seq_cst);
}
