/* Descriptors, and what is received from them into slots; see plane_core.h. */
#define _GNU_SOURCE
#include "plane_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SMALL_READS = 2 }; /* as in asyncrev/ring/row.py */

/* -- descriptors --------------------------------------------------------------------------------- */

bool arv_plane_open(arv_plane *plane, int fd, arv_row *row) {
    size_t number = (size_t)fd;
    if (number >= plane->nrows) {
        size_t nrows = plane->nrows != 0 ? plane->nrows : 64;
        while (nrows <= number) {
            nrows *= 2;
        }
        arv_row **rows = realloc(plane->rows, nrows * sizeof *rows);
        if (rows == NULL) {
            return false;
        }
        memset(rows + plane->nrows, 0, (nrows - plane->nrows) * sizeof *rows);
        plane->rows = rows;
        plane->nrows = nrows;
    }
    plane->served += plane->rows[number] == NULL;
    plane->rows[number] = row;
    row->fd = fd;
    return true;
}

arv_row *arv_plane_close(arv_plane *plane, int fd) {
    arv_row *row = arv_plane_row(plane, fd);
    if (row != NULL) {
        plane->rows[fd] = NULL;
        plane->served--;
        row->reads = row->sends = row->has_stop = false;
        row->fd = -1;
    }
    return row;
}

/* -- receive ------------------------------------------------------------------------------------- */

/* glibc's functions are cancellation points: in a process with several threads that is two calls and
 * two atomic operations more, each time. The raw calls are not. */
static ssize_t receive_from(int fd, unsigned char *data, size_t nbytes) {
    return syscall(SYS_recvfrom, fd, data, nbytes, MSG_DONTWAIT, NULL, NULL);
}

arv_received arv_receive(arv_plane *plane, const arv_event *events, size_t nevents, size_t start) {
    arv_ring *ring = plane->ring;
    bool is_closed =
        plane->is_closed || atomic_load_explicit(&ring->input_closed, memory_order_relaxed);
    uint64_t full_seq =
        atomic_load_explicit(&ring->released_seq, memory_order_relaxed) + ring->nentries;
    for (size_t index = start; index < nevents; index++) {
        arv_row *row = arv_plane_row(plane, events[index].fd);
        if (row == NULL) {
            continue;
        }
        if (row->has_stop) {
            row->has_stop = false;
            return (arv_received){index, row->stop, row->stop_error};
        }
        bool is_small = row->small_reads >= SMALL_READS;
        size_t nfree = is_small ? ring->nfree_small_slots : ring->nfree_slots;
        if (is_closed || events[index].events != EPOLLIN || !row->reads || row->waits_for_slot ||
            nfree == 0 ||
            atomic_load_explicit(&ring->published_seq, memory_order_relaxed) == full_seq) {
            return (arv_received){index, ARV_STOP_OTHER, 0};
        }
        size_t number = (is_small ? ring->free_small_slots : ring->free_slots)[nfree - 1];
        size_t length = arv_slot_length(ring, number);
        if (row->is_framed) {
            if (!plane->framed_reads || row->reserved_bytes != 0 ||
                row->partial_frame_bytes + row->in_flight_bytes > plane->little_bytes) {
                return (arv_received){index, ARV_STOP_OTHER, 0};
            }
            if (row->read_bytes < (int64_t)length) {
                length = row->read_bytes > 0 ? (size_t)row->read_bytes : 0;
            }
        }
        ssize_t nbytes = receive_from(row->fd, ring->storage + arv_slot_off(ring, number), length);
        if (nbytes < 0) {
            int error = errno;
            if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) {
                continue; /* epoll is level-triggered: what is there is reported again */
            }
            return (arv_received){index, ARV_STOP_ERROR, error};
        }
        if (nbytes == 0) {
            return (arv_received){index, 0, 0};
        }
        if ((size_t)nbytes >= ring->small_slot_bytes) {
            row->small_reads = 0;
        } else if (!is_small) {
            row->small_reads++;
        }
        arv_publish(ring, row, ARV_DATA, is_small, (size_t)nbytes);
        row->received_bytes += nbytes;
        row->look_at_s = 0.0;
        row->in_flight_entries++;
        row->in_flight_bytes += nbytes;
        if (row->in_flight_entries >= plane->most_entries || row->in_flight_bytes >= plane->most_bytes) {
            row->waits_for_credit = true; /* I8 */
            return (arv_received){index, ARV_STOP_OVER_QUOTA, 0};
        }
        if (row->is_framed &&
            row->partial_frame_bytes + row->in_flight_bytes > plane->little_bytes) {
            return (arv_received){index, ARV_STOP_RESERVE, 0};
        }
    }
    return (arv_received){nevents, ARV_STOP_END, 0};
}
