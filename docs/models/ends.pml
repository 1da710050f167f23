/* What becomes of chunks and ends (in asyncrev: ring/ring.py, ring/plane.py, native/plane_core_….c,
   bridge/admission.py, bridge/delivery.py, bridge/lane.py, work/block_pool.py).

   LANES lanes of one bridge receive N chunks each, whenever they like, into a ring of ENTRIES; what
   finds no free entry overflows and waits. Then comes the end of input, behind all of it. A lane may be given
   up at any moment: its overflow is dropped, a close entry follows, nobody hears of it any more. Replies
   are made in the one block of a pool while that can be had, else apart. With -DSTOP the loop may
   close the input at any moment; the worker then takes what was published, and ends.

   Wake-ups are not in here, see wakeups.pml: who waits sees at once what it waits for. Every store
   and load of what both threads share is a step of its own; what only one of them touches is done in
   the same step, and variables are set to 0 when they are no longer needed, so that there are fewer
   states.

   An assertion is one line of the table in docs/proof.md. A lane that is not given up must get its
   end, or the loop waits for ever (spin's "invalid end state").

   -D<NAME> builds a seeded bug in; `make prove` checks that each is found. */

#ifndef LANES
#define LANES 2
#endif
#ifndef N
#define N 2
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif

#define DATA 1
#define EOF 2
#define CLOSE 3
#define REPLY(lane, number) (1 + (lane) * N + (number))

byte kind[ENTRIES], owner[ENTRIES], chunk[ENTRIES], result[ENTRIES];
bool in_block[ENTRIES];
byte published, processed, released;
byte given;                            /* Ring.delivered_seq; loop only */
bool input_closed, output_closed;
bool abandoned[LANES];                 /* written by the loop, seen late by the worker */
byte block;                            /* the reply that is in the block now */

/* -- the loop ----------------------------------------------------------------------------------- */

byte received[LANES], fed[LANES];      /* chunks that came; of those, in the ring: the rest is overflow */
byte delivered[LANES];
bool eof_waits[LANES], close_waits[LANES], waits[LANES];
bool eof_said[LANES], ended[LANES], gone[LANES], let_go[LANES];
bool stays[LANES];                     /* it is not given up before its end */
byte at, lane, upto;

#define FREE_ENTRY (published - released < ENTRIES)
#define OVERFLOWED(l) (fed[l] < received[l])

#define CLEAR(e) kind[e] = 0; owner[e] = 0; chunk[e] = 0; result[e] = 0; in_block[e] = 0

inline publish(l, what) {
#ifdef CURSOR_BEFORE_ENTRY
    published++;
    d_step { at = (published - 1) % ENTRIES; kind[at] = what; owner[at] = l; chunk[at] = fed[l]; at = 0 }
#else
    d_step { at = published % ENTRIES; kind[at] = what; owner[at] = l; chunk[at] = fed[l]; at = 0 };
    published++
#endif
}

inline feed(l) {
    do
#ifdef EOF_OVERTAKES
    :: FREE_ENTRY && eof_waits[l] -> eof_waits[l] = false; publish(l, EOF)
    :: FREE_ENTRY && OVERFLOWED(l) && !eof_waits[l] -> publish(l, DATA); fed[l]++
#else
    :: FREE_ENTRY && OVERFLOWED(l) -> publish(l, DATA); fed[l]++
    :: FREE_ENTRY && !OVERFLOWED(l) && eof_waits[l] -> eof_waits[l] = false; publish(l, EOF)
#endif
#ifdef CLOSE_OVERTAKES
    :: FREE_ENTRY && close_waits[l] ->
#else
    :: FREE_ENTRY && !OVERFLOWED(l) && !eof_waits[l] && close_waits[l] ->
#endif
        close_waits[l] = false;
        publish(l, CLOSE)
    :: else -> break
    od;
    waits[l] = OVERFLOWED(l) || eof_waits[l] || close_waits[l]
}

inline give_up(l) {
    let_go[l] = true;
    abandoned[l] = true;
#ifndef CLOSE_OVERTAKES
    received[l] = fed[l];
    eof_waits[l] = false;
#endif
    close_waits[l] = true;
    feed(l)
}

inline deliver_entry() {
    lane = owner[at];
    if
#ifdef SINK_IS_KEPT
    :: kind[at] != CLOSE ->
        assert(!let_go[lane]);         /* AFTER_END */
#else
    :: !let_go[lane] ->
#endif
        assert(!ended[lane]);          /* AFTER_END */
        if
        :: kind[at] == DATA ->
            assert(chunk[at] == delivered[lane]);                       /* LOST, DOUBLED, REORDERED */
            if
            :: in_block[at] -> assert(block == REPLY(lane, chunk[at]))  /* REUSED */
            :: else -> assert(result[at] == REPLY(lane, chunk[at]))     /* UNFINISHED, CROSSED */
            fi;
            delivered[lane]++
        :: kind[at] == EOF ->
            assert(delivered[lane] == N);                               /* EARLY_END */
            ended[lane] = true
        :: else -> assert(false)
        fi
    :: else
    fi;
    if
    :: kind[at] == CLOSE -> gone[lane] = true
    :: else
    fi;
    lane = 0
}

/* All that is processed is delivered, then released, in two calls (Plane.deliver, Ring.release). */
inline deliver() {
    upto = processed;
    do
    :: given < upto ->
#ifdef RELEASE_BEFORE_DELIVERY
        d_step { at = given % ENTRIES; CLEAR(at); given++ };
        released++;
        atomic { at = (given - 1) % ENTRIES; deliver_entry(); at = 0 }
#else
        atomic { at = given % ENTRIES; given++; deliver_entry(); at = 0 }
#endif
    :: else -> break
    od;
#ifndef RELEASE_BEFORE_DELIVERY
    skip;
    d_step {
        do
        :: upto > released && upto > 0 -> upto--; at = upto % ENTRIES; CLEAR(at)
        :: else -> break
        od;
        at = 0
    };
    released = given;
#endif
    upto = 0
}

active proctype loop() {
    byte l;
    do                                 /* which of them stay is open, too */
    :: l < LANES -> stays[l] = true; l++
    :: l < LANES -> l++
    :: l == LANES -> break
    od;
    do
    :: received[0] < N && !let_go[0] && !eof_said[0] ->
        l = 0;
        received[0]++;
        if
        :: !waits[l] -> feed(l)
        :: else                        /* it goes behind what waits already */
        fi
#if LANES > 1
    :: received[1] < N && !let_go[1] && !eof_said[1] ->
        l = 1;
        received[1]++;
        if
        :: !waits[l] -> feed(l)
        :: else
        fi
#endif
    :: received[0] == N && !let_go[0] && !eof_said[0] ->
        eof_said[0] = true; eof_waits[0] = true; l = 0; feed(l)
    :: !let_go[0] && (ended[0] || !stays[0]) -> l = 0; give_up(l)
#if LANES > 1
    :: received[1] == N && !let_go[1] && !eof_said[1] ->
        eof_said[1] = true; eof_waits[1] = true; l = 1; feed(l)
    :: !let_go[1] && (ended[1] || !stays[1]) -> l = 1; give_up(l)
#endif
    :: processed != released ->
        deliver();
        l = 0;
        do
        :: l < LANES ->
            if
            :: waits[l] -> feed(l)
            :: else
            fi;
            l++
        :: else -> break
        od;
        l = 0
#ifdef STOP
    :: true -> break
#else
    :: gone[0] && gone[LANES - 1] -> break
#endif
    od;
    input_closed = true;
    (output_closed);
    deliver();
    assert(published == released);     /* LOST: what was published before the close is answered */
    l = 0;
    do
    :: l < LANES ->
        assert(let_go[l] || ended[l] || !eof_said[l] || eof_waits[l]);
        l++
    :: else -> break
    od
}

/* -- the worker --------------------------------------------------------------------------------- */

byte taken, worked[LANES];
bool dropped[LANES];
bool lent;
byte lent_seq;

#ifdef RECLAIM_EARLY
#define BLOCK_IS_FREE (!lent || lent_seq <= released)
#else
#define BLOCK_IS_FREE (!lent || lent_seq < released)
#endif

inline work() {
    atomic {
        now = processed % ENTRIES;
        assert(kind[now] != 0);            /* CURSORS: nothing was published there */
        assert(!dropped[owner[now]]);      /* AFTER_END: nothing comes behind a close */
        if
        :: kind[now] == CLOSE -> dropped[owner[now]] = true
        :: else
        fi;
        makes = kind[now] == DATA && !abandoned[owner[now]]
    };
    if
    :: makes ->
        atomic {
            assert(chunk[now] == worked[owner[now]]);                   /* REORDERED */
            worked[owner[now]]++;
            if
            :: BLOCK_IS_FREE ->
                block = REPLY(owner[now], chunk[now]);
                in_block[now] = true;
                lent = true;
                lent_seq = processed
            :: else -> result[now] = REPLY(owner[now], chunk[now])
            fi
        }
    :: else
    fi;
    atomic { now = 0; makes = false }
}

active proctype worker() {
    byte now, seen;
    bool closed, makes;
    do
    :: true ->
#ifdef CURSOR_BEFORE_FLAG
        seen = published;
        closed = input_closed;
#else
        closed = input_closed;
        seen = published;
#endif
        if
        :: seen == taken && closed -> break
        :: seen == taken && !closed -> (published != taken || input_closed)
        :: seen != taken ->
            taken = seen;
            do
            :: processed < taken ->
#ifdef FINISH_BEFORE_WORK
                processed++;
                now = (processed - 1) % ENTRIES;
                result[now] = REPLY(owner[now], chunk[now])
#else
                work();
                processed++
#endif
            :: else -> break
            od
        fi;
        atomic { seen = 0; closed = false }
    od;
    output_closed = true
}

/* I1 */
active proctype cursors() {
    end: do
    :: !(released <= given && given <= processed && processed <= published &&
         published <= released + ENTRIES) ->
        assert(false)                  /* CURSORS */
    od
}
