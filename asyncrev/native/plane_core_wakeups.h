/* The wake-ups: how the worker sleeps, how the loop is told of results, and the clock of both.
 *
 * `asyncrev.ring.wakeups` is the reference, and explains I5 to I7. There is no lock: each side stores,
 * then has a fence, then loads.
 */
#ifndef ASYNCREV_PLANE_CORE_WAKEUPS_H
#define ASYNCREV_PLANE_CORE_WAKEUPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds. */
int64_t arv_now_ms(void);

/* The worker's sleep. I5: the loop publishes, THEN looks at `parked`; the worker sets it, THEN looks
 * for work. */
typedef struct {
    _Atomic bool parked; /* writers: both */
    int fd;              /* an eventfd */
    int poll_fd;         /* an epoll with it, edge-triggered, so that nothing has to read it */
    _Atomic uint64_t unparks;
} arv_parker;

/* Return 0, or an errno. */
int arv_parker_open(arv_parker *parker);

void arv_parker_close(arv_parker *parker);

/* Wake the worker if it sleeps or is about to; return whether it had to be. Thread: any. */
bool arv_unpark(arv_parker *parker);

/* Announce a sleep. The caller looks for work afterwards, and calls arv_park or arv_parker_stay. */
void arv_parker_prepare(arv_parker *parker);

/* Do not sleep after all. */
void arv_parker_stay(arv_parker *parker);

/* Sleep until woken, for at most `timeout_ms`; return whether it timed out. Thread: worker. */
bool arv_park(arv_parker *parker, int timeout_ms);

/* Requests of deliveries. I6: the loop clears `awaited`, THEN reads the worker's cursor; the worker
 * moves its cursor, THEN sets it. */
typedef struct {
    _Atomic bool awaited;       /* whether a delivery will come without a request; writers: both */
    _Atomic int wake_fd;        /* an eventfd that the loop polls, or -1; writer: loop */
    _Atomic uint64_t requests;  /* writer: worker */
} arv_signal;

/* Whether a request must be posted; it counts as made then. Thread: worker. */
bool arv_must_request(arv_signal *signal);

/* Take back what arv_must_request has noted: nothing could be posted. */
void arv_not_requested(arv_signal *signal);

/* Note that a delivery begins. Thread: loop, before it reads the worker's cursor. */
void arv_signal_clear(arv_signal *signal);

/* Wake who polls the eventfd `fd`; false if its counter is full: that loop has been closed. */
bool arv_wake(int fd);

#endif
