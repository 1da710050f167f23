/* The ring's memory, and the release of entries; see plane_core_ring.h. */
#include "plane_core_ring.h"

#include <stdlib.h>
#include <string.h>

#define COLUMN(member, count)                                             \
    do {                                                                  \
        ring->member = calloc((count), sizeof *ring->member);             \
        if (ring->member == NULL) {                                       \
            arv_ring_free(ring);                                          \
            return NULL;                                                  \
        }                                                                 \
    } while (0)

arv_ring *arv_ring_new(unsigned char *storage, size_t nentries, size_t nslots, size_t small_slot_bytes,
                       size_t slot_bytes, size_t stride_bytes) {
    /* The size of a structure is a multiple of its alignment, as aligned_alloc wants it. */
    arv_ring *ring = aligned_alloc(_Alignof(arv_ring), sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    memset(ring, 0, sizeof *ring);
    ring->nentries = nentries;
    ring->nslots = nslots;
    ring->slot_bytes = slot_bytes;
    ring->small_slot_bytes = small_slot_bytes;
    ring->stride_bytes = stride_bytes;
    ring->storage = storage;
    COLUMN(rows, nentries);
    COLUMN(kinds, nentries);
    COLUMN(slot_of, nentries);
    COLUMN(sizes, nentries);
    COLUMN(outcomes, nentries);
    COLUMN(reported, nentries);
    COLUMN(done_bytes, nentries);
    COLUMN(frames, nentries);
    COLUMN(replies, nentries);
    COLUMN(reply_bytes, nentries);
    COLUMN(free_small_slots, nentries);
    COLUMN(free_slots, nslots);
    for (size_t number = 0; number < nentries; number++) {
        ring->free_small_slots[number] = number;
    }
    for (size_t number = 0; number < nslots; number++) {
        ring->free_slots[number] = nentries + number;
    }
    ring->nfree_small_slots = nentries;
    ring->nfree_slots = nslots;
    return ring;
}

void arv_ring_free(arv_ring *ring) {
    if (ring == NULL) {
        return;
    }
    free(ring->rows);
    free(ring->kinds);
    free(ring->slot_of);
    free(ring->sizes);
    free(ring->outcomes);
    free(ring->reported);
    free(ring->done_bytes);
    free(ring->frames);
    free(ring->replies);
    free(ring->reply_bytes);
    free(ring->free_small_slots);
    free(ring->free_slots);
    free(ring);
}

void arv_release(arv_ring *ring, size_t nentries) {
    uint64_t seq = atomic_load_explicit(&ring->released_seq, memory_order_relaxed);
    size_t pos = (size_t)(seq % ring->nentries);
    for (size_t left = nentries; left > 0; left--) {
        size_t number = ring->slot_of[pos];
        if (number < ring->nentries) {
            ring->free_small_slots[ring->nfree_small_slots++] = number;
        } else {
            ring->free_slots[ring->nfree_slots++] = number;
        }
        ring->rows[pos] = NULL;
        ring->kinds[pos] = ARV_DATA;
        ring->outcomes[pos] = ARV_OTHER;
        ring->reported[pos] = false;
        ring->replies[pos] = NULL;
        ring->reply_bytes[pos] = 0;
        pos = pos + 1 == ring->nentries ? 0 : pos + 1;
    }
    if (ring->delivered_seq < seq + nentries) {
        ring->delivered_seq = seq + nentries;
    }
    /* ORDER: after the rows are emptied; this store gives lent blocks back (I18). */
    atomic_store_explicit(&ring->released_seq, seq + nentries, memory_order_release);
}
