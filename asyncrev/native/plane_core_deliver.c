/* Replies, sent and counted; see plane_core.h. */
#define _GNU_SOURCE
#include "plane_core.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LEAST_READ_BYTES = 512, SHARE_CALLS = 1024 }; /* as in asyncrev/ring/row.py */

/* A raw call, as in plane_core_receive.c. MSG_NOSIGNAL: a peer that is gone is an error, and no
 * SIGPIPE, whatever the program does with it. */
static ssize_t send_to(int fd, const unsigned char *data, size_t nbytes) {
    return syscall(SYS_sendto, fd, data, nbytes, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

/* See `adapted_read_bytes` in asyncrev/ring/row.py. */
static int64_t adapted_read_bytes(int64_t read_bytes, int64_t nbytes, int64_t calls,
                                  int64_t slot_bytes) {
    if (calls > SHARE_CALLS / 2) {
        int64_t fitting_bytes = nbytes * SHARE_CALLS / calls;
        fitting_bytes = fitting_bytes < read_bytes ? fitting_bytes : read_bytes;
        return fitting_bytes > LEAST_READ_BYTES ? fitting_bytes : LEAST_READ_BYTES;
    }
    if (nbytes == read_bytes) {
        return 2 * read_bytes < slot_bytes ? 2 * read_bytes : slot_bytes;
    }
    return read_bytes;
}

/* Count a delivered entry of `row`; false if more than that is to be decided: then nothing is done. */
static bool count_delivered(arv_plane *plane, arv_row *row, size_t pos) {
    const arv_ring *ring = plane->ring;
    bool reported = ring->reported[pos];
    int64_t nbytes = (int64_t)(reported ? ring->done_bytes[pos] : ring->sizes[pos]);
    int64_t entries_left = row->in_flight_entries - 1;
    int64_t bytes_left = row->in_flight_bytes - nbytes;
    if (reported && entries_left == 0 && bytes_left != 0) {
        return false; /* what the worker has deferred gets its turn */
    }
    if (row->is_framed) {
        const arv_frames *frames = &ring->frames[pos];
        int64_t partial_frame_bytes =
            reported ? frames->partial_frame_bytes : row->partial_frame_bytes;
        if (row->reserved_bytes != 0 || row->waits_for_slot ||
            partial_frame_bytes + bytes_left > plane->little_bytes) {
            return false; /* its reservation changes */
        }
        row->partial_frame_bytes = partial_frame_bytes;
        if (reported) {
            row->frame_seq = frames->frame_seq;
        }
        row->read_bytes = adapted_read_bytes(row->read_bytes, nbytes, reported ? frames->calls : 0,
                                             (int64_t)ring->slot_bytes);
    }
    row->in_flight_entries = entries_left;
    row->in_flight_bytes = bytes_left;
    return true;
}

long long arv_deliver(arv_plane *plane, uint64_t end_seq) {
    arv_ring *ring = plane->ring;
    if (plane->has_stop) {
        plane->has_stop = false;
        return plane->stop;
    }
    while (ring->delivered_seq < end_seq) {
        size_t pos = (size_t)(ring->delivered_seq % ring->nentries);
        ring->delivered_seq++; /* first, as in Python: the caller finds the entry before it */
        arv_row *row = ring->rows[pos];
        if (row == NULL || !row->sends || row->abandoned || ring->outcomes[pos] == ARV_OTHER) {
            return ARV_STOP_OTHER;
        }
        size_t reply_bytes = ring->reply_bytes[pos];
        if (reply_bytes > 0) {
            ssize_t sent_bytes = send_to(row->fd, ring->replies[pos], reply_bytes);
            if (sent_bytes < 0) {
                return 0; /* whoever sends the rest sees the error again */
            }
            row->replied_bytes += sent_bytes;
            if ((size_t)sent_bytes < reply_bytes) {
                return sent_bytes;
            }
        }
        if (!count_delivered(plane, row, pos)) {
            return ARV_STOP_SENT;
        }
        if (row->waits_for_credit && row->in_flight_entries <= plane->most_entries / 2 &&
            row->in_flight_bytes <= plane->most_bytes / 2) {
            return ARV_STOP_CREDIT;
        }
    }
    return ARV_STOP_END;
}
