/* The plane's core under two threads: one plays the loop, the other the worker, as Python does.
 *
 *     plane_stress ROUNDS SEED SECONDS
 *
 * A round has a ring, a plane, quotas and connections of random sizes. Peers, in the loop's thread,
 * send random messages in random pieces, read late, half-close, or vanish; descriptors are used
 * again at once. What the core asks of the kernel goes through stress_syscall, which sometimes takes
 * or gives less, or says EAGAIN or EINTR. The worker answers with kernels, and by hand what needs
 * Python: it defers, reports, replies from the slot or from elsewhere.
 *
 * Checked: each peer gets exactly the bytes that its own bytes make, in order, and its end; accounts,
 * quotas, reservations and the size of reads are those of a second account, kept here; a slot is in
 * one place only (I1, I2); the core stops where the reference says; and something happens within
 * QUIET_S, whatever both wait for (I5, I6). Sanitizers watch the rest.
 *
 * Ends at the first difference with 1, and says in which round.
 */
#define _GNU_SOURCE
#include "plane_core.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef ASYNCREV_WEAK_MEMORY_H
_Thread_local weak_buffer weak_own;
#endif

enum { MOST_CONNECTIONS = 12, MOST_EVENTS = 64, DELIVERY_ENTRIES = 64, KINDS = 4, SMALL_READS = 2 };
enum { DATA = ARV_DATA, END_OF_INPUT = 1, RESUME = 2, CLOSE = 3 };

static double quiet_s = 10.0; /* STRESS_QUIET_S; a sanitizer on a busy machine is slow */

/* -- numbers, failures --------------------------------------------------------------------------- */

static uint64_t seed_given;
static _Atomic uint64_t round_number;
static _Atomic uint64_t progress;

typedef struct {
    uint64_t state;
} dice;

static uint64_t roll(dice *from) {
    uint64_t x = from->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    from->state = x;
    return (x * 2685821657736338717u) >> 16;
}

static uint64_t below(dice *from, uint64_t limit) { return limit == 0 ? 0 : roll(from) % limit; }

static uint64_t between(dice *from, uint64_t least, uint64_t most) {
    return least + below(from, most - least + 1);
}

static bool one_in(dice *from, uint64_t times) { return below(from, times) == 0; }

static void start_dice(dice *to, uint64_t number) {
    to->state = (seed_given + 1) * 0x9E3779B97F4A7C15u ^ (number + 1) * 0xD1B54A32D192ED03u;
    to->state |= 1;
    for (int i = 0; i < 8; i++) {
        roll(to);
    }
}

static void fail(const char *what, int line) {
    printf("round %llu of seed %llu, line %d: %s\n", (unsigned long long)atomic_load(&round_number),
           (unsigned long long)seed_given, line, what);
    fflush(stdout);
    _exit(1);
}

#define CHECK(condition)                 \
    do {                                 \
        if (!(condition)) {              \
            fail(#condition, __LINE__);  \
        }                                \
    } while (0)

/* -- bytes --------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *data;
    size_t start, end, size;
} buffer;

static size_t held(const buffer *from) { return from->end - from->start; }

static void put(buffer *to, const unsigned char *data, size_t nbytes) {
    if (nbytes == 0) {
        return;
    }
    if (to->end + nbytes > to->size) {
        size_t size = 2 * (held(to) + nbytes);
        unsigned char *moved = malloc(size);
        CHECK(moved != NULL);
        if (held(to) > 0) {
            memcpy(moved, to->data + to->start, held(to));
        }
        free(to->data);
        *to = (buffer){moved, 0, held(to), size};
    }
    memcpy(to->data + to->end, data, nbytes);
    to->end += nbytes;
}

static void drop(buffer *from, size_t nbytes) {
    CHECK(nbytes <= held(from));
    from->start += nbytes;
}

/* -- what a chunk's reply is --------------------------------------------------------------------- */

static void turn(unsigned char *data, size_t nbytes) {
    for (size_t i = 0; i < nbytes / 2; i++) {
        unsigned char byte = data[i];
        data[i] = data[nbytes - 1 - i];
        data[nbytes - 1 - i] = byte;
    }
}

/* The length of the frame at the front, and where its payload is; 0: there is no whole one. */
static size_t frame(int kernel, uint64_t most_bytes, const unsigned char *data, size_t nbytes,
                    size_t *payload_off, size_t *payload_bytes) {
    if (kernel == ARV_LINES) {
        size_t off = 0;
        while (off < nbytes && data[off] != '\n') {
            off++;
        }
        *payload_off = 0;
        *payload_bytes = off > 0 && off < nbytes && data[off - 1] == '\r' ? off - 1 : off;
        return off < nbytes && *payload_bytes <= most_bytes ? off + 1 : 0;
    }
    size_t prefix_bytes = kernel == ARV_LEN32 ? 4 : 8;
    uint64_t announced_bytes = 0;
    if (nbytes < prefix_bytes) {
        return 0;
    }
    for (size_t i = 0; i < prefix_bytes; i++) {
        announced_bytes = announced_bytes << 8 | data[i];
    }
    if (announced_bytes > most_bytes || announced_bytes > nbytes - prefix_bytes) {
        return 0;
    }
    *payload_off = prefix_bytes;
    *payload_bytes = (size_t)announced_bytes;
    return prefix_bytes + *payload_bytes;
}

/* Make of a chunk what is replied to it: what the kernel does, or, where it cannot, something else. */
static void answer(int kernel, uint64_t most_bytes, unsigned char *data, size_t nbytes) {
    size_t payload_off, payload_bytes, off = 0;
    if (kernel == ARV_REVERSE) {
        turn(data, nbytes);
        return;
    }
    while (kernel != ARV_NO_KERNEL && off < nbytes) {
        size_t frame_bytes =
            frame(kernel, most_bytes, data + off, nbytes - off, &payload_off, &payload_bytes);
        if (frame_bytes == 0) {
            break;
        }
        off += frame_bytes;
    }
    bool is_whole = kernel != ARV_NO_KERNEL && off == nbytes;
    for (off = 0; is_whole && off < nbytes;) {
        size_t frame_bytes =
            frame(kernel, most_bytes, data + off, nbytes - off, &payload_off, &payload_bytes);
        turn(data + off + payload_off, payload_bytes);
        off += frame_bytes;
    }
    for (off = 0; !is_whole && off < nbytes; off++) {
        data[off] ^= 0x5A;
    }
}

/* -- connections --------------------------------------------------------------------------------- */

typedef struct {
    int64_t in_flight_entries, in_flight_bytes, partial_frame_bytes, read_bytes, reserved_bytes;
    int64_t frame_seq, received_bytes, replied_bytes;
    int small_reads;
    bool waits_for_credit;
} account;

typedef struct connection {
    arv_row row;
    arv_work work;
    /* Written once. */
    int kernel;
    uint64_t most_bytes;
    /* Loop. */
    account mine;
    int near, far; /* -1: closed */
    bool is_polled;
    bool wants_end, wants_close, wants_resume;
    bool has_ended;  /* recv has said so */
    bool is_shut;    /* all is answered and sent, and said so */
    bool is_given_up;
    uint64_t abandoned_seq; /* what is published from here on is published too late */
    bool is_free; /* its last entry is delivered */
    bool is_released;
    buffer unsent;
    /* The peer, in the loop's thread. */
    uint64_t messages_left;
    buffer outbox, sent, expected;
    bool peer_has_ended, peer_is_gone;
    bool stalls;
    /* Worker. */
    buffer deferred;
    bool is_dropped;
} connection;

typedef struct {
    arv_ring *ring;
    arv_plane plane;
    arv_parker parker;
    arv_signal signal;
    unsigned char *storage;
    unsigned char **owned; /* by place in the ring: a reply that is not in the slot */
    bool *slot_is_used;    /* loop */
    size_t nslots_in_all;
    int poll_fd, wake_fd, post_fd;
    connection *connections[MOST_CONNECTIONS];
    connection *leaving[4 * MOST_CONNECTIONS];
    size_t nconnections, nleaving;
    uint64_t flushed_seq;
    bool polls;   /* many turns in one call: then only bytes and wake-ups are checked */
    uint64_t backstops, posts, chunks, short_writes, resets; /* for the end's line */
    dice loop_dice, worker_dice;
    dice syscall_dice; /* loop */
} stress;

static stress *running;

/* Take a chunk of what the peer has sent, as it is in an entry, and expect its reply. */
static void note_chunk(stress *here, connection *one, size_t nbytes) {
    CHECK(nbytes > 0 && nbytes <= held(&one->sent));
    answer(one->kernel, one->most_bytes, one->sent.data + one->sent.start, nbytes);
    put(&one->expected, one->sent.data + one->sent.start, nbytes);
    drop(&one->sent, nbytes);
    here->chunks++;
    atomic_fetch_add_explicit(&progress, 1, memory_order_relaxed);
}

static connection *connection_of(const stress *here, int fd) {
    for (size_t at = 0; at < here->nconnections; at++) {
        if (here->connections[at]->near == fd) {
            return here->connections[at];
        }
    }
    fail("a descriptor of nobody is read", __LINE__);
    return NULL;
}

/* Instead of syscall(), which ThreadSanitizer does not see through. Thread: loop. */
long stress_syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    int fd = va_arg(arguments, int);
    unsigned char *data = va_arg(arguments, unsigned char *);
    size_t nbytes = va_arg(arguments, size_t);
    int flags = va_arg(arguments, int);
    va_end(arguments);
    dice *from = &running->syscall_dice;
    CHECK((flags & MSG_DONTWAIT) != 0);
    if (one_in(from, 16)) {
        errno = one_in(from, 2) ? EAGAIN : EINTR;
        return -1;
    }
    if (one_in(from, 4) && nbytes > 0) {
        nbytes = (size_t)between(from, 1, nbytes);
    }
    if (number == SYS_recvfrom) {
        ssize_t got = recv(fd, data, nbytes, flags);
        if (got > 0 && running->polls) {
            note_chunk(running, connection_of(running, fd), (size_t)got);
        }
        return got;
    }
    CHECK(number == SYS_sendto && (flags & MSG_NOSIGNAL) != 0);
    return send(fd, data, nbytes, flags);
}

static void poll_for(stress *here, connection *one, bool is_polled) {
    if (one->is_polled != is_polled) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = one->near};
        int done = epoll_ctl(here->poll_fd, is_polled ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, one->near, &event);
        CHECK(done == 0);
        one->is_polled = is_polled;
    }
}

static connection *new_connection(stress *here) {
    dice *from = &here->loop_dice;
    connection *one = calloc(1, sizeof *one);
    int both[2];
    CHECK(one != NULL);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both) == 0);
    one->abandoned_seq = UINT64_MAX;
    one->near = both[0];
    one->far = both[1];
    int little = (int)between(from, 1, 4096);
    if (one_in(from, 2)) {
        CHECK(setsockopt(one->near, SOL_SOCKET, SO_SNDBUF, &little, sizeof little) == 0);
    }
    static const int kernels[] = {ARV_NO_KERNEL, ARV_REVERSE, ARV_REVERSE, ARV_LINES, ARV_LEN32, ARV_LEN64};
    one->kernel = one->work.kernel = kernels[below(from, 6)];
    one->most_bytes = one->work.most_bytes = between(from, 1, 64);
    one->messages_left = between(from, 1, 60);
    one->row.is_framed = one->kernel > ARV_REVERSE && one_in(from, 2);
    one->row.small_reads = one->mine.small_reads = SMALL_READS;
    one->row.read_bytes = one->mine.read_bytes = one_in(from, 2) ? 16 * 1024 : 512;
    one->row.reads = one->row.sends = true;
    if (one_in(from, 8)) {
        one->row.work = NULL;
    } else {
        one->row.work = &one->work;
    }
    CHECK(arv_plane_row(&here->plane, one->near) == NULL);
    CHECK(arv_plane_open(&here->plane, one->near, &one->row));
    CHECK(arv_plane_row(&here->plane, one->near) == &one->row);
    poll_for(here, one, true);
    return one;
}

static void free_connection(connection *one) {
    CHECK(one->near < 0 && one->far < 0);
    buffer *buffers[] = {&one->unsent, &one->outbox, &one->sent, &one->expected, &one->deferred};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        free(buffers[i]->data);
    }
    free(one);
}

/* Take over what the core has counted, unchecked. */
static void take_account(connection *one) {
    const arv_row *row = &one->row;
    one->mine = (account){row->in_flight_entries,  row->in_flight_bytes, row->partial_frame_bytes,
                          row->read_bytes,         row->reserved_bytes,  row->frame_seq,
                          row->received_bytes,     row->replied_bytes,   row->small_reads,
                          row->waits_for_credit};
}

static void check_account(const connection *one) {
    const arv_row *row = &one->row;
    const account *mine = &one->mine;
    CHECK(row->in_flight_entries == mine->in_flight_entries);
    CHECK(row->in_flight_bytes == mine->in_flight_bytes);
    CHECK(row->received_bytes == mine->received_bytes);
    CHECK(row->replied_bytes == mine->replied_bytes);
    CHECK(row->partial_frame_bytes == mine->partial_frame_bytes);
    CHECK(row->frame_seq == mine->frame_seq);
    CHECK(row->read_bytes == mine->read_bytes);
    CHECK(row->small_reads == mine->small_reads);
    CHECK(row->waits_for_credit == mine->waits_for_credit);
}

/* -- the loop: receive --------------------------------------------------------------------------- */

static uint64_t published(const stress *here) {
    return atomic_load_explicit(&here->ring->published_seq, memory_order_relaxed);
}

/* Note what was published and released, in the rounds in which that is measured. */
static void note_times(stress *here) {
    arv_times *times = arv_plane_times(&here->plane);
    if (times != NULL) {
        arv_note_published(times, here->ring);
        arv_note_released(times, here->ring);
    }
}

static uint64_t released(const stress *here) {
    return atomic_load_explicit(&here->ring->released_seq, memory_order_relaxed);
}

static bool is_full(const stress *here) {
    return published(here) - released(here) == here->ring->nentries;
}

/* Take note of an entry that was just published, with `nbytes`. */
static connection *note_published(stress *here, uint64_t seq) {
    arv_ring *ring = here->ring;
    size_t pos = (size_t)(seq % ring->nentries);
    connection *one = (connection *)ring->rows[pos];
    size_t number = ring->slot_of[pos], nbytes = ring->sizes[pos];
    CHECK(seq < released(here) + ring->nentries); /* I1 */
    CHECK(number < here->nslots_in_all);
    CHECK(here->polls || !here->slot_is_used[number]);
    here->slot_is_used[number] = true;
    CHECK(one != NULL && !one->is_free && nbytes <= arv_slot_length(ring, number));
    CHECK(ring->kinds[pos] < KINDS);
    if (ring->kinds[pos] == DATA) {
        CHECK(!one->row.is_framed || (int64_t)nbytes <= one->mine.read_bytes);
        bool is_small = one->mine.small_reads >= SMALL_READS;
        CHECK(is_small == (number < ring->nentries));
        if (nbytes >= ring->small_slot_bytes) {
            one->mine.small_reads = 0;
        } else if (!is_small) {
            one->mine.small_reads++;
        }
        note_chunk(here, one, nbytes);
        one->mine.received_bytes += (int64_t)nbytes;
    }
    one->mine.in_flight_entries++;
    one->mine.in_flight_bytes += (int64_t)nbytes;
    atomic_fetch_add_explicit(&progress, 1, memory_order_relaxed);
    return one;
}

static int64_t holds(const connection *one) {
    return one->mine.partial_frame_bytes + one->mine.in_flight_bytes;
}

static bool is_over_quota(const stress *here, const connection *one) {
    return one->mine.in_flight_entries >= here->plane.most_entries ||
           one->mine.in_flight_bytes >= here->plane.most_bytes;
}

static bool may_receive(const stress *here, const connection *one) {
    const arv_ring *ring = here->ring;
    bool is_small = one->mine.small_reads >= SMALL_READS;
    return one->row.reads && !one->row.waits_for_slot && !is_full(here) &&
           (is_small ? ring->nfree_small_slots : ring->nfree_slots) > 0;
}

static bool needs_reservation(const stress *here, const connection *one) {
    return one->row.is_framed && (!here->plane.framed_reads || one->mine.reserved_bytes != 0 ||
                                  holds(one) > here->plane.little_bytes);
}

static void read_no_more(stress *here, connection *one) {
    one->row.reads = false;
    poll_for(here, one, false);
}

static void over_quota(stress *here, connection *one) {
    one->mine.waits_for_credit = true;
    read_no_more(here, one);
}

static void reserve(stress *here, connection *one) {
    bool is_much = one->row.is_framed && holds(one) > here->plane.little_bytes;
    one->row.reserved_bytes = one->mine.reserved_bytes = is_much ? holds(one) : 0;
}

static void publish_control(stress *here, connection *one, uint8_t kind) {
    arv_publish(here->ring, &one->row, kind, true, 0);
    one->row.in_flight_entries++;
    CHECK(note_published(here, published(here) - 1) == one);
    check_account(one);
}

/* Publish what waits for a free entry. */
static void publish_waiting(stress *here, connection *one) {
    if (atomic_load(&here->ring->input_closed)) {
        return;
    }
    if (one->wants_resume && !is_full(here)) {
        one->wants_resume = false;
        publish_control(here, one, RESUME);
    }
    if (one->wants_end && !one->wants_resume && !is_full(here)) {
        one->wants_end = false;
        publish_control(here, one, END_OF_INPUT);
    }
    if (one->wants_close && !is_full(here)) {
        one->wants_close = false;
        publish_control(here, one, CLOSE);
    }
}

/* Tell the worker that nobody wants replies: a close behind it must find it so. */
static void abandon_worker(const stress *here, connection *one) {
    if (one->abandoned_seq == UINT64_MAX) {
        one->abandoned_seq = published(here);
        atomic_store(&one->work.abandoned, true);
    }
}

/* Nobody wants replies any more, but it is served still. */
static void abandon(const stress *here, connection *one) {
    one->row.abandoned = true;
    abandon_worker(here, one);
}

/* Close both ends; what is in the ring goes to nobody. Its place is free at once. */
static void give_up(stress *here, connection *one) {
    CHECK(!one->is_given_up);
    one->is_given_up = true;
    if (one_in(&here->loop_dice, 2)) {
        abandon(here, one); /* before or after: the plane has no descriptor of it any more */
    }
    poll_for(here, one, false);
    CHECK(arv_plane_close(&here->plane, one->near) == &one->row);
    CHECK(arv_plane_row(&here->plane, one->near) == NULL);
    close(one->near);
    if (one->far >= 0) {
        close(one->far);
    }
    one->near = one->far = -1;
    abandon_worker(here, one);
    one->wants_end = one->wants_resume = false;
    one->wants_close = true;
    publish_waiting(here, one);
}

static void ended(stress *here, connection *one) {
    CHECK(held(&one->sent) == 0);
    CHECK(one->peer_is_gone || (one->peer_has_ended && held(&one->outbox) == 0));
    CHECK(!one->has_ended);
    one->has_ended = true;
    read_no_more(here, one);
    one->wants_end = true;
    publish_waiting(here, one);
}

static void receive_failed(stress *here, connection *one, int error) {
    CHECK(error == ECONNRESET && one->peer_is_gone);
    here->resets++;
    give_up(here, one);
}

/* What the core does not do: receive for one connection, by another way. */
static void receive_by_hand(stress *here, connection *one, uint32_t events) {
    arv_ring *ring = here->ring;
    if (!may_receive(here, one)) {
        if (one->row.reads && !one->row.waits_for_slot && one_in(&here->loop_dice, 2)) {
            one->row.waits_for_slot = true;
        }
        return;
    }
    CHECK(here->polls || events != EPOLLIN || needs_reservation(here, one) || here->plane.is_closed);
    bool is_small = one->mine.small_reads >= SMALL_READS;
    size_t number = is_small ? ring->free_small_slots[ring->nfree_small_slots - 1]
                             : ring->free_slots[ring->nfree_slots - 1];
    size_t length = arv_slot_length(ring, number);
    if (one->row.is_framed && (int64_t)length > one->mine.read_bytes) {
        length = (size_t)one->mine.read_bytes;
    }
    ssize_t nbytes = recv(one->near, ring->storage + arv_slot_off(ring, number), length, MSG_DONTWAIT);
    if (nbytes < 0) {
        if (errno != EAGAIN) {
            receive_failed(here, one, errno);
        }
        return;
    }
    if (nbytes == 0) {
        ended(here, one);
        return;
    }
    arv_publish(ring, &one->row, DATA, is_small, (size_t)nbytes);
    CHECK(note_published(here, published(here) - 1) == one);
    one->row.small_reads = one->mine.small_reads;
    one->row.received_bytes += nbytes;
    one->row.in_flight_entries++;
    one->row.in_flight_bytes += nbytes;
    reserve(here, one);
    if (is_over_quota(here, one)) {
        one->row.waits_for_credit = true;
        over_quota(here, one);
    }
    check_account(one);
}

/* Check what one call has published, and where it has stopped. */
static void check_received(stress *here, const arv_event *events, size_t start, uint64_t first_seq,
                           arv_received received) {
    uint64_t end_seq = published(here);
    size_t index = start;
    for (uint64_t seq = first_seq; seq < end_seq; seq++) {
        connection *one = (connection *)here->ring->rows[seq % here->ring->nentries];
        while (index < MOST_EVENTS && events[index].fd != one->near) {
            index++; /* in the order of events, each at most once */
        }
        CHECK(index < MOST_EVENTS && index <= received.index && events[index].events == EPOLLIN);
        CHECK(here->ring->kinds[seq % here->ring->nentries] == DATA);
        CHECK(one->row.reads && !one->row.waits_for_slot && !one->mine.waits_for_credit);
        CHECK(!needs_reservation(here, one) && !here->plane.is_closed);
        CHECK(note_published(here, seq) == one);
        bool is_last = seq + 1 == end_seq && received.index < MOST_EVENTS &&
                       events[received.index].fd == one->near;
        bool is_over = is_over_quota(here, one);
        bool reserves = one->row.is_framed && holds(one) > here->plane.little_bytes;
        one->mine.waits_for_credit = is_over;
        CHECK(is_over == (is_last && received.stop == ARV_STOP_OVER_QUOTA));
        CHECK((!is_over && reserves) == (is_last && received.stop == ARV_STOP_RESERVE));
        index++;
    }
    for (uint64_t seq = first_seq; seq < end_seq; seq++) { /* one may be there twice */
        check_account((connection *)here->ring->rows[seq % here->ring->nentries]);
    }
}

static void take_accounts(stress *here) {
    for (size_t at = 0; at < here->nconnections; at++) {
        take_account(here->connections[at]);
    }
    for (size_t at = 0; at < here->nleaving; at++) {
        take_account(here->leaving[at]);
    }
}

static void receive(stress *here, arv_event *events, size_t nevents) {
    here->plane.framed_reads = !one_in(&here->loop_dice, 8);
    for (size_t start = 0;;) {
        uint64_t first_seq = published(here);
        arv_received received = arv_receive(&here->plane, events, nevents, start);
        if (here->polls) {
            take_accounts(here);
        } else {
            check_received(here, events, start, first_seq, received);
        }
        here->ring->counted_seq = published(here);
        if (received.stop == ARV_STOP_END) {
            CHECK(received.index == nevents);
            return;
        }
        CHECK(received.index >= start && received.index < nevents);
        arv_row *row = arv_plane_row(&here->plane, events[received.index].fd);
        CHECK(row != NULL);
        connection *one = (connection *)row;
        switch (received.stop) {
        case ARV_STOP_OTHER:
            receive_by_hand(here, one, events[received.index].events);
            break;
        case ARV_STOP_OVER_QUOTA:
            over_quota(here, one);
            break;
        case ARV_STOP_RESERVE:
            reserve(here, one);
            break;
        case ARV_STOP_ERROR:
            receive_failed(here, one, received.error);
            break;
        default:
            CHECK(received.stop == 0);
            ended(here, one);
        }
        start = received.index + 1;
    }
}

/* -- the loop: deliver --------------------------------------------------------------------------- */

static void send_by_hand(connection *one, const unsigned char *data, size_t nbytes) {
    put(&one->unsent, data, nbytes);
    while (held(&one->unsent) > 0) {
        ssize_t sent = send(one->near, one->unsent.data + one->unsent.start, held(&one->unsent),
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            CHECK(errno == EAGAIN || (errno == EPIPE && one->peer_is_gone));
            if (errno == EPIPE) {
                drop(&one->unsent, held(&one->unsent));
            }
            break;
        }
        drop(&one->unsent, (size_t)sent);
    }
    one->row.sends = held(&one->unsent) == 0;
}

static int64_t done_bytes(const arv_ring *ring, size_t pos) {
    return (int64_t)(ring->reported[pos] ? ring->done_bytes[pos] : ring->sizes[pos]);
}

static int64_t next_read_bytes(const arv_ring *ring, int64_t read_bytes, int64_t nbytes, int64_t calls) {
    if (calls > 512) {
        int64_t fits = nbytes * 1024 / calls;
        fits = fits > read_bytes ? read_bytes : fits;
        return fits < 512 ? 512 : fits;
    }
    if (nbytes != read_bytes) {
        return read_bytes;
    }
    return 2 * read_bytes > (int64_t)ring->slot_bytes ? (int64_t)ring->slot_bytes : 2 * read_bytes;
}

static void count_delivered(const stress *here, connection *one, size_t pos) {
    const arv_ring *ring = here->ring;
    if (one->row.is_framed) {
        if (ring->reported[pos]) {
            one->mine.partial_frame_bytes = ring->frames[pos].partial_frame_bytes;
            one->mine.frame_seq = ring->frames[pos].frame_seq;
        }
        one->mine.read_bytes = next_read_bytes(ring, one->mine.read_bytes, done_bytes(ring, pos),
                                               ring->reported[pos] ? ring->frames[pos].calls : 0);
    }
    one->mine.in_flight_entries--;
    one->mine.in_flight_bytes -= done_bytes(ring, pos);
    CHECK(one->mine.in_flight_entries >= 0 && one->mine.in_flight_bytes >= 0);
}

/* Whether the core leaves it to Python to count this entry. */
static bool counts_by_hand(const stress *here, const connection *one, size_t pos) {
    const arv_ring *ring = here->ring;
    int64_t bytes_left = one->mine.in_flight_bytes - done_bytes(ring, pos);
    if (ring->reported[pos] && one->mine.in_flight_entries == 1 && bytes_left > 0) {
        return true;
    }
    int64_t partial_bytes =
        ring->reported[pos] ? ring->frames[pos].partial_frame_bytes : one->mine.partial_frame_bytes;
    return one->row.is_framed && (one->mine.reserved_bytes != 0 || one->row.waits_for_slot ||
                                  partial_bytes + bytes_left > here->plane.little_bytes);
}

static bool gets_credit(const stress *here, const connection *one) {
    return one->mine.waits_for_credit && one->mine.in_flight_entries <= here->plane.most_entries / 2 &&
           one->mine.in_flight_bytes <= here->plane.most_bytes / 2;
}

static void give_credit(stress *here, connection *one) {
    one->row.waits_for_credit = one->mine.waits_for_credit = false;
    if (!one->has_ended && !one->is_given_up) {
        one->row.reads = true;
        poll_for(here, one, true);
    }
}

/* All is answered: say so to the peer, once everything is sent. */
static void shut(connection *one) {
    if (one->is_shut && held(&one->unsent) == 0 && one->near >= 0) {
        shutdown(one->near, SHUT_WR); /* again is no harm */
    }
}

/* What is left of an entry at which the core has stopped. */
static void deliver_by_hand(stress *here, connection *one, size_t pos, long long stop) {
    arv_ring *ring = here->ring;
    const unsigned char *reply = ring->replies[pos];
    size_t reply_bytes = ring->reply_bytes[pos], sent_bytes = stop > 0 ? (size_t)stop : 0;
    if (!one->is_given_up && !one->row.abandoned && stop != ARV_STOP_SENT) {
        send_by_hand(one, reply + sent_bytes, reply_bytes - sent_bytes);
    }
    count_delivered(here, one, pos);
    one->row.in_flight_entries = one->mine.in_flight_entries;
    one->row.in_flight_bytes = one->mine.in_flight_bytes;
    one->row.partial_frame_bytes = one->mine.partial_frame_bytes;
    one->row.frame_seq = one->mine.frame_seq;
    one->row.read_bytes = one->mine.read_bytes;
    reserve(here, one);
    if (ring->kinds[pos] == CLOSE) {
        CHECK(one->is_given_up && one->mine.in_flight_entries == 0);
        one->is_free = true;
    } else if (ring->kinds[pos] == END_OF_INPUT && !one->is_given_up) {
        CHECK(one->mine.in_flight_entries == 0 && one->mine.in_flight_bytes == 0); /* EARLY_END */
        one->is_shut = true;
        shut(one);
    }
    if (gets_credit(here, one)) {
        give_credit(here, one);
    }
    if (one->mine.in_flight_entries == 0 && one->mine.in_flight_bytes > 0 && !one->is_given_up) {
        one->wants_resume = true;
        publish_waiting(here, one);
    }
}

/* Check one entry that was delivered, or at which the core has stopped. */
static void check_delivered(stress *here, uint64_t seq, long long stop) {
    arv_ring *ring = here->ring;
    size_t pos = (size_t)(seq % ring->nentries);
    connection *one = (connection *)ring->rows[pos];
    int64_t reply_bytes = (int64_t)ring->reply_bytes[pos];
    CHECK(one != NULL && !one->is_free);
    CHECK(ring->kinds[pos] == DATA || ring->reported[pos]); /* only the worker's hand may do these */
    CHECK(seq < one->abandoned_seq || ring->outcomes[pos] != ARV_SLOT);
    if (!one->row.sends || one->row.abandoned || ring->outcomes[pos] == ARV_OTHER) {
        CHECK(stop == ARV_STOP_OTHER);
    } else if (stop >= 0) {
        CHECK(stop < reply_bytes);
        one->mine.replied_bytes += stop;
        here->short_writes++;
    } else {
        one->mine.replied_bytes += reply_bytes;
        if (counts_by_hand(here, one, pos)) {
            CHECK(stop == ARV_STOP_SENT);
        } else {
            count_delivered(here, one, pos);
            CHECK(stop == (gets_credit(here, one) ? ARV_STOP_CREDIT : ARV_STOP_END));
        }
    }
    atomic_fetch_add_explicit(&progress, 1, memory_order_relaxed);
}

static void release(stress *here) {
    arv_ring *ring = here->ring;
    uint64_t first_seq = released(here), end_seq = ring->delivered_seq;
    for (uint64_t seq = first_seq; seq < end_seq; seq++) {
        size_t pos = (size_t)(seq % ring->nentries);
        connection *one = (connection *)ring->rows[pos];
        one->is_released = one->is_free; /* a close is the last entry */
        CHECK(here->polls || here->slot_is_used[ring->slot_of[pos]]);
        here->slot_is_used[ring->slot_of[pos]] = false;
        free(here->owned[pos]);
        here->owned[pos] = NULL;
    }
    arv_release(ring, (size_t)(end_seq - first_seq));
    note_times(here);
    CHECK(released(here) == end_seq && ring->delivered_seq == end_seq);
}

/* Deliver what is processed; return whether something is left. */
static bool deliver(stress *here) {
    arv_ring *ring = here->ring;
    uint64_t end_seq = atomic_load_explicit(&ring->processed_seq, memory_order_acquire);
    CHECK(end_seq >= ring->delivered_seq && end_seq <= published(here)); /* I1 */
    if (end_seq > released(here) + DELIVERY_ENTRIES) {
        end_seq = released(here) + DELIVERY_ENTRIES;
    }
    for (long long stop = 0; stop != ARV_STOP_END;) {
        uint64_t first_seq = ring->delivered_seq;
        stop = arv_deliver(&here->plane, end_seq);
        CHECK(stop != ARV_STOP_END || ring->delivered_seq == end_seq);
        CHECK(stop == ARV_STOP_END || here->polls || ring->delivered_seq > first_seq);
        CHECK(ring->delivered_seq <= end_seq);
        if (here->polls) {
            take_accounts(here);
            atomic_fetch_add_explicit(&progress, ring->delivered_seq - first_seq, memory_order_relaxed);
            first_seq = ring->delivered_seq;
        }
        for (uint64_t seq = first_seq; seq < ring->delivered_seq; seq++) {
            bool is_last = seq + 1 == ring->delivered_seq;
            check_delivered(here, seq, is_last ? stop : ARV_STOP_END);
        }
        if (stop != ARV_STOP_END) {
            size_t pos = (size_t)((ring->delivered_seq - 1) % ring->nentries);
            connection *one = (connection *)ring->rows[pos];
            if (stop == ARV_STOP_CREDIT) {
                give_credit(here, one);
            } else {
                deliver_by_hand(here, one, pos, stop);
            }
            check_account(one);
        }
    }
    release(here);
    return atomic_load(&ring->processed_seq) != released(here);
}

/* -- the peers ----------------------------------------------------------------------------------- */

static void put_message(connection *one, dice *from) {
    unsigned char bytes[1024];
    size_t nbytes = (size_t)between(from, 0, one_in(from, 8) ? 900 : 40), off = 0;
    if (one->kernel == ARV_LEN32 || one->kernel == ARV_LEN64) {
        size_t prefix_bytes = one->kernel == ARV_LEN32 ? 4 : 8;
        memset(bytes, 0, prefix_bytes);
        bytes[prefix_bytes - 2] = (unsigned char)(nbytes >> 8);
        bytes[prefix_bytes - 1] = (unsigned char)nbytes;
        off = prefix_bytes;
    } else if (one->kernel != ARV_LINES && nbytes == 0) {
        nbytes = 1;
    }
    for (size_t i = 0; i < nbytes; i++) {
        bytes[off + i] = (unsigned char)roll(from);
        if (one->kernel == ARV_LINES && bytes[off + i] == '\n') {
            bytes[off + i] = '\r';
        }
    }
    off += nbytes;
    if (one->kernel == ARV_LINES) {
        bytes[off++] = '\n';
    }
    put(&one->outbox, bytes, off);
}

static void peer_sends(connection *one, dice *from) {
    if (held(&one->outbox) == 0 && one->messages_left > 0) {
        for (uint64_t number = between(from, 1, 4); number > 0 && one->messages_left > 0; number--) {
            put_message(one, from);
            one->messages_left--;
        }
    }
    if (held(&one->outbox) > 0) {
        size_t nbytes = held(&one->outbox);
        nbytes = one_in(from, 4) ? (size_t)between(from, 1, nbytes) : nbytes;
        const unsigned char *data = one->outbox.data + one->outbox.start;
        ssize_t sent = send(one->far, data, nbytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            put(&one->sent, data, (size_t)sent);
            drop(&one->outbox, (size_t)sent);
        }
    } else if (!one->peer_has_ended) {
        one->peer_has_ended = true;
        shutdown(one->far, SHUT_WR);
    }
}

/* Return whether the connection has ended as it should. */
static bool peer_receives(connection *one, dice *from) {
    unsigned char bytes[4096];
    ssize_t nbytes = recv(one->far, bytes, (size_t)between(from, 1, sizeof bytes), MSG_DONTWAIT);
    if (nbytes > 0) {
        CHECK((size_t)nbytes <= held(&one->expected)); /* DOUBLED, CROSSED */
        bool is_right = memcmp(bytes, one->expected.data + one->expected.start, (size_t)nbytes) == 0;
        CHECK(is_right); /* LOST, REORDERED, CROSSED, REUSED */
        drop(&one->expected, (size_t)nbytes);
    }
    CHECK(nbytes != 0 || (one->is_shut && held(&one->expected) == 0 && one->peer_has_ended));
    return nbytes == 0;
}

/* Let the peers do something; give up those that are done, or at random. */
static void move_peers(stress *here, bool opens) {
    dice *from = &here->loop_dice;
    for (size_t at = 0; at < here->nconnections; at++) {
        connection *one = here->connections[at];
        bool is_over = one->is_given_up;
        if (!is_over && one->row.abandoned) {
            is_over = one_in(from, 8);
        } else if (!is_over && !one->peer_is_gone) {
            one->stalls = one->stalls ? !one_in(from, 8) : one_in(from, 32);
            if (!one_in(from, 3)) {
                peer_sends(one, from);
            }
            if (!one->stalls) {
                is_over = peer_receives(one, from);
            }
            if (!is_over && one_in(from, 200)) {
                if (one_in(from, 3)) {
                    is_over = true;
                } else if (one_in(from, 2)) {
                    abandon(here, one);
                } else {
                    one->peer_is_gone = true;
                    close(one->far);
                    one->far = -1;
                }
            }
        } else if (!is_over && (one->has_ended || one_in(from, 64))) {
            is_over = true; /* nothing more may tell that the peer is gone */
        }
        if (is_over && here->nleaving < 4 * MOST_CONNECTIONS) {
            if (!one->is_given_up) {
                give_up(here, one);
            }
            here->leaving[here->nleaving++] = one;
            if (opens) {
                here->connections[at] = new_connection(here);
            } else {
                here->connections[at--] = here->connections[--here->nconnections];
            }
        }
    }
    for (size_t at = 0; at < here->nleaving; at++) {
        if (here->leaving[at]->is_released) {
            free_connection(here->leaving[at]);
            here->leaving[at--] = here->leaving[--here->nleaving];
        }
    }
}

/* -- the loop: iterations ------------------------------------------------------------------------ */

static void flush(stress *here) {
    if (published(here) != here->flushed_seq) {
        here->flushed_seq = published(here);
        arv_unpark(&here->parker);
    }
}

static size_t poll_events(stress *here, arv_event *events, bool blocks) {
    struct epoll_event ready[MOST_EVENTS / 2];
    atomic_thread_fence(memory_order_seq_cst); /* no store stays in a buffer while we sleep */
    int nready = epoll_wait(here->poll_fd, ready, MOST_EVENTS / 2, blocks ? -1 : 0);
    size_t nevents = 0;
    CHECK(nready >= 0 || errno == EINTR);
    for (int i = 0; i < nready; i++) {
        if ((ready[i].data.fd == here->wake_fd && !here->polls) || ready[i].data.fd == here->post_fd) {
            uint64_t number;
            ssize_t nbytes = read(ready[i].data.fd, &number, sizeof number);
            CHECK(nbytes == sizeof number);
        }
        events[nevents++] = (arv_event){ready[i].data.fd, ready[i].events};
    }
    /* Some that say what is not so: what epoll has reported may be gone. */
    while (here->nconnections > 0 && nevents < MOST_EVENTS && one_in(&here->loop_dice, 4)) {
        connection *one = here->connections[below(&here->loop_dice, here->nconnections)];
        if (!one->is_given_up) {
            events[nevents++] = (arv_event){one->near, EPOLLIN};
        }
    }
    return nevents;
}

static void push(stress *here) {
    for (size_t at = 0; at < here->nconnections + here->nleaving; at++) {
        connection *one = at < here->nconnections ? here->connections[at]
                                                  : here->leaving[at - here->nconnections];
        publish_waiting(here, one);
        if (!one->is_given_up) {
            send_by_hand(one, NULL, 0);
            shut(one);
            if (one->row.waits_for_slot && here->ring->nfree_slots > 0 && !is_full(here)) {
                one->row.waits_for_slot = false;
            }
        }
    }
}

/* As Plane.poll: many turns in one call, for as long as nothing needs more than the core. */
static void poll_in_core(stress *here, bool blocks) {
    static arv_poll_state state;
    arv_ring *ring = here->ring;
    bool is_long = blocks && one_in(&here->loop_dice, 16);
    state = (arv_poll_state){.parker = &here->parker,
                             .signal = &here->signal,
                             .epoll_fd = here->poll_fd,
                             .wake_fd = here->wake_fd,
                             .until_ms = is_long ? -1 : arv_now_ms() + (blocks ? 2 : 0),
                             .turns_left = (int)between(&here->loop_dice, 1, ARV_MOST_TURNS)};
    here->plane.framed_reads = !one_in(&here->loop_dice, 8);
    atomic_thread_fence(memory_order_seq_cst); /* no store stays in a buffer while we sleep */
    for (;;) {
        arv_poll(&here->plane, &state);
        CHECK(state.error == 0 && ring->delivered_seq <= published(here));
        ring->counted_seq = published(here);
        if (!state.releases) {
            break;
        }
        release(here);
        if (state.turns_left <= 0) {
            break;
        }
    }
    take_accounts(here);
    /* What it has published, the worker knows of; only an exception leaves that to the caller. */
    while (state.nevents == 0 && atomic_load(&here->parker.parked) &&
           atomic_load(&ring->processed_seq) != published(here)) {
        sched_yield();
    }
    if (here->plane.has_stop) {
        deliver(here); /* what has stopped it, and the rest */
    } else if (ring->delivered_seq != released(here)) {
        release(here);
    }
    receive(here, state.events + state.first, state.nevents - state.first);
}

/* Play the loop until `nchunks` have come and all connections have ended, or to stop in between. */
static void play_loop(stress *here, uint64_t nchunks, bool stops_early) {
    arv_event events[MOST_EVENTS];
    bool more = false;
    while (here->nconnections > 0 || here->nleaving > 0) {
        if (stops_early && here->chunks >= nchunks) {
            break;
        }
        move_peers(here, here->chunks < nchunks);
        push(here);
        /* As LoopSide.before_poll and after_poll. */
        flush(here);
        arv_signal_clear(&here->signal);
        if (atomic_load_explicit(&here->ring->processed_seq, memory_order_acquire) != released(here)) {
            more = deliver(here);
        }
        flush(here);
        /* Something is in the ring, so the worker will wake us. */
        bool blocks = !more && published(here) != released(here) && !one_in(&here->loop_dice, 8);
        more = false;
        if (here->polls && one_in(&here->loop_dice, 2)) {
            poll_in_core(here, blocks);
            continue;
        }
        size_t nevents = poll_events(here, events, blocks);
        atomic_store(&here->signal.awaited, true);
        receive(here, events, nevents);
    }
    /* The last publish directly before the close. */
    for (size_t at = 0; at < here->nconnections && !is_full(here); at++) {
        if (!here->connections[at]->is_given_up && !here->connections[at]->has_ended) {
            publish_control(here, here->connections[at], RESUME);
            break;
        }
    }
    atomic_store(&here->ring->input_closed, true);
    arv_unpark(&here->parker);
}

/* -- the worker ---------------------------------------------------------------------------------- */

static void post(stress *here) {
    int fd = atomic_load(&here->signal.wake_fd);
    here->posts++;
    if (fd >= 0 && arv_wake(fd)) {
        return;
    }
    CHECK(arv_wake(here->post_fd)); /* call_soon_threadsafe */
}

/* What Python does for an entry: see LaneWork.do, Ring.mark_processed. */
static void work_by_hand(stress *here, size_t pos) {
    arv_ring *ring = here->ring;
    dice *from = &here->worker_dice;
    connection *one = (connection *)ring->rows[pos];
    size_t nbytes = ring->sizes[pos];
    unsigned char *slot = ring->storage + arv_slot_off(ring, ring->slot_of[pos]);
    CHECK(one != NULL && !one->is_dropped && !ring->reported[pos]);
    bool is_data = ring->kinds[pos] == DATA;
    bool was_deferred = held(&one->deferred) > 0;
    if (is_data) {
        answer(one->kernel, one->most_bytes, slot, nbytes);
        put(&one->deferred, slot, nbytes);
    }
    size_t reply_bytes = held(&one->deferred);
    if (ring->kinds[pos] <= RESUME && ring->kinds[pos] != END_OF_INPUT && one_in(from, 4)) {
        reply_bytes = (size_t)between(from, is_data ? 0 : reply_bytes != 0, reply_bytes);
    }
    if (ring->kinds[pos] == CLOSE) {
        one->is_dropped = true;
    }
    CHECK(here->owned[pos] == NULL);
    if (is_data && !was_deferred && reply_bytes <= nbytes && one_in(from, 2)) {
        ring->replies[pos] = slot; /* the answer to the chunk is there, and the rest is kept apart */
    } else if (reply_bytes > 0) {
        here->owned[pos] = malloc(reply_bytes);
        CHECK(here->owned[pos] != NULL);
        memcpy(here->owned[pos], one->deferred.data + one->deferred.start, reply_bytes);
        ring->replies[pos] = here->owned[pos];
    } else {
        ring->replies[pos] = NULL;
    }
    drop(&one->deferred, reply_bytes);
    ring->reply_bytes[pos] = reply_bytes;
    one->work.kernel = held(&one->deferred) > 0 ? ARV_NO_KERNEL : one->kernel;
    if (!is_data || reply_bytes != nbytes || one_in(from, 4)) {
        ring->reported[pos] = true;
        ring->done_bytes[pos] = reply_bytes;
        ring->frames[pos] = (arv_frames){one_in(from, 2) ? 0 : (int64_t)below(from, 600),
                                         (int64_t)below(from, 1000), (int64_t)below(from, 1500)};
    }
    bool is_other = ring->kinds[pos] == END_OF_INPUT || ring->kinds[pos] == CLOSE || one_in(from, 8);
    ring->outcomes[pos] = is_other ? ARV_OTHER : ARV_REPLY;
    arv_mark_processed(ring);
}

/* As Plane.answer. */
static void work(stress *here, uint64_t end_seq) {
    arv_ring *ring = here->ring;
    uint64_t seq = atomic_load(&ring->processed_seq);
    while (seq < end_seq) {
        size_t pos = (size_t)(seq % ring->nentries);
        const arv_row *row = ring->rows[pos];
        CHECK(row != NULL && ring->sizes[pos] <= ring->slot_bytes);
        if (row->work != NULL && row->work->kernel != ARV_NO_KERNEL) {
            if (arv_answer(&here->plane, end_seq, &here->signal)) {
                post(here);
            }
            uint64_t before = seq;
            seq = atomic_load(&ring->processed_seq);
            CHECK(seq >= before && seq <= end_seq);
            if (seq != before) {
                continue;
            }
        }
        work_by_hand(here, pos);
        if (arv_must_request(&here->signal)) {
            post(here);
        }
        seq++;
        if (one_in(&here->worker_dice, 16)) {
            sched_yield();
        }
    }
}

/* As Parker.park, which looks by `has_work`; see parker_park. */
static void park_by_hand(stress *here, uint64_t taken_seq) {
    arv_ring *ring = here->ring;
    arv_parker_prepare(&here->parker);
    if (atomic_load_explicit(&ring->published_seq, memory_order_acquire) != taken_seq ||
        atomic_load(&ring->input_closed)) {
        arv_parker_stay(&here->parker);
    } else {
        arv_park(&here->parker, -1);
    }
}

/* As Worker.run with ThreadSide.take. */
static void *play_worker(void *argument) {
    stress *here = argument;
    dice *from = &here->worker_dice;
    uint64_t taken_seq = 0;
    for (;;) {
        bool stays = one_in(from, 2);
        long long timeout_ms = one_in(from, 8) ? (long long)below(from, 3) : ARV_NO_TIMEOUT_MS;
        arv_waited waited;
        if (one_in(from, 4) && published(here) == taken_seq) {
            park_by_hand(here, taken_seq);
        }
        do {
            waited = arv_wait(&here->plane, taken_seq, &here->parker, &here->signal, timeout_ms, stays);
            here->backstops += waited.backstop;
            if (waited.posts) {
                post(here);
            }
            uint64_t processed_seq = atomic_load(&here->ring->processed_seq);
            taken_seq = processed_seq > taken_seq ? processed_seq : taken_seq;
        } while (waited.posts && taken_seq == waited.end_seq && stays);
        CHECK(waited.end_seq >= taken_seq);
        CHECK(waited.end_seq <= atomic_load(&here->ring->released_seq) + here->ring->nentries); /* I1 */
        CHECK(timeout_ms >= 0 || waited.end_seq != 0 || waited.is_closed);
        if (waited.is_closed && taken_seq == waited.end_seq) {
            break;
        }
        work(here, waited.end_seq);
        taken_seq = waited.end_seq;
    }
    CHECK(atomic_load(&here->ring->processed_seq) == atomic_load(&here->ring->published_seq));
    atomic_store(&here->ring->output_closed, true);
    if (arv_must_request(&here->signal)) {
        post(here);
    }
    return NULL;
}

/* -- rounds -------------------------------------------------------------------------------------- */

static void add_to_poll(stress *here, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    CHECK(epoll_ctl(here->poll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void start(stress *here, uint64_t number) {
    memset(here, 0, sizeof *here);
    start_dice(&here->loop_dice, 3 * number);
    start_dice(&here->worker_dice, 3 * number + 1);
    start_dice(&here->syscall_dice, 3 * number + 2);
    dice *from = &here->loop_dice;
    size_t nentries = one_in(from, 2) ? (size_t)between(from, 1, 6) : (size_t)between(from, 1, 100);
    size_t nslots = (size_t)between(from, 1, nentries);
    size_t small_slot_bytes = (size_t)between(from, 1, 200);
    size_t slot_bytes = small_slot_bytes + (size_t)below(from, 2000);
    size_t stride_bytes = small_slot_bytes + (size_t)below(from, 64);
    here->storage = malloc(nentries * stride_bytes + nslots * slot_bytes);
    CHECK(here->storage != NULL);
    here->ring = arv_ring_new(here->storage, nentries, nslots, small_slot_bytes, slot_bytes, stride_bytes);
    here->nslots_in_all = nentries + nslots;
    here->slot_is_used = calloc(here->nslots_in_all, sizeof *here->slot_is_used);
    here->owned = calloc(nentries, sizeof *here->owned);
    CHECK(here->ring != NULL && here->slot_is_used != NULL && here->owned != NULL);
    here->plane.ring = here->ring;
    here->plane.most_entries = (int64_t)between(from, 1, 8);
    here->plane.most_bytes = (int64_t)between(from, 32, 4 * slot_bytes + 32);
    here->plane.little_bytes = (int64_t)between(from, 0, 2 * slot_bytes);
    if (one_in(from, 2)) {
        atomic_store(&here->plane.times, arv_times_new(here->ring));
    }
    CHECK(arv_parker_open(&here->parker) == 0);
    here->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    here->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    here->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(here->poll_fd >= 0 && here->wake_fd >= 0 && here->post_fd >= 0);
    atomic_store(&here->signal.wake_fd, one_in(from, 4) ? -1 : here->wake_fd);
    here->polls = atomic_load(&here->signal.wake_fd) >= 0 && one_in(from, 2);
    /* Edge-triggered where nobody reads it, as in our loop. */
    add_to_poll(here, here->wake_fd, here->polls ? EPOLLIN | EPOLLET : EPOLLIN);
    add_to_poll(here, here->post_fd, EPOLLIN);
    here->nconnections = (size_t)between(from, 1, MOST_CONNECTIONS);
    running = here;
    for (size_t at = 0; at < here->nconnections; at++) {
        here->connections[at] = new_connection(here);
    }
}

static uint64_t counted(const arv_histogram *histogram) {
    uint64_t sum = 0;
    for (size_t bucket = 0; bucket < ARV_BUCKETS; bucket++) {
        sum += atomic_load_explicit(&histogram->counts[bucket], memory_order_relaxed);
    }
    return sum;
}

static void finish(stress *here) {
    while (deliver(here)) {
    }
    CHECK(released(here) == published(here)); /* LOST */
    arv_times *times = arv_plane_times(&here->plane);
    if (times != NULL) { /* each entry has been counted once */
        note_times(here);
        CHECK(counted(&times->reply) == published(here));
        CHECK(times->nmarks == 0);
        CHECK(counted(&times->processing) <= published(here));
    }
    for (size_t number = 0; number < here->nslots_in_all && !here->polls; number++) {
        CHECK(!here->slot_is_used[number]);
    }
    CHECK(here->ring->nfree_slots == here->ring->nslots);
    CHECK(here->ring->nfree_small_slots == here->ring->nentries);
    while (here->nconnections > 0) { /* it has stopped before their end */
        connection *one = here->connections[--here->nconnections];
        if (one->far >= 0) {
            close(one->far);
        }
        CHECK(one->is_given_up || arv_plane_close(&here->plane, one->near) == &one->row);
        if (one->near >= 0) {
            close(one->near);
        }
        one->near = one->far = -1;
        free_connection(one);
    }
    while (here->nleaving > 0) {
        free_connection(here->leaving[--here->nleaving]);
    }
    CHECK(here->plane.served == 0);
    close(here->poll_fd);
    close(here->wake_fd);
    close(here->post_fd);
    arv_parker_close(&here->parker);
    free(here->plane.rows);
    arv_times_free(arv_plane_times(&here->plane));
    arv_ring_free(here->ring);
    free(here->storage);
    free(here->slot_is_used);
    free(here->owned);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Ends the program when nothing happens: a wake-up is lost. */
static void *watch(void *unused) {
    uint64_t seen = 0;
    double since_s = now_s();
    (void)unused;
    for (;;) {
        struct timespec little = {0, 50 * 1000 * 1000};
        nanosleep(&little, NULL);
        uint64_t now = atomic_load(&progress);
        if (now != seen) {
            seen = now;
            since_s = now_s();
        } else if (now_s() - since_s > quiet_s) {
            fail("nothing happens any more: a wake-up was lost (ASLEEP)", 0);
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: plane_stress ROUNDS SEED SECONDS\n");
        return 2;
    }
    uint64_t rounds = strtoull(arguments[1], NULL, 10), chunks = 0, short_writes = 0, resets = 0;
    seed_given = strtoull(arguments[2], NULL, 10);
    double until_s = now_s() + strtod(arguments[3], NULL);
    const char *quiet = getenv("STRESS_QUIET_S");
    quiet_s = quiet != NULL ? strtod(quiet, NULL) : quiet_s;
    pthread_t watcher, worker;
    CHECK(pthread_create(&watcher, NULL, watch, NULL) == 0);
    static stress here;
    uint64_t number = 0;
    for (; number < rounds && now_s() < until_s; number++) {
        atomic_store(&round_number, number);
        start(&here, number);
        bool stops_early = one_in(&here.loop_dice, 4);
        uint64_t nchunks = between(&here.loop_dice, 1, one_in(&here.loop_dice, 4) ? 2000 : 200);
        CHECK(pthread_create(&worker, NULL, play_worker, &here) == 0);
        play_loop(&here, nchunks, stops_early);
        CHECK(pthread_join(worker, NULL) == 0);
        chunks += here.chunks;
        short_writes += here.short_writes;
        resets += here.resets;
        finish(&here);
    }
    printf("%llu rounds of seed %llu: no difference\n", (unsigned long long)number,
           (unsigned long long)seed_given);
    fprintf(stderr, "%llu chunks, %llu short writes, %llu resets\n", (unsigned long long)chunks,
            (unsigned long long)short_writes, (unsigned long long)resets);
    return 0;
}
