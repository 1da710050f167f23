/* How loop and worker wake each other (in asyncrev/ring: wakeups.py, loop_side.py, thread_side.py, ring.py).

   Every step that other threads can tell apart is a statement of its own; what happens under a
   lock is atomic. A load that is not under the lock may pass a store before it, as processors do:
   the worker's peek is made on either side of its cursor's move.

   N chunks come, whenever they like, as long as the ring has an entry; the loop must have released
   all of them, and both must have ended, however the two are interleaved: an end state in which one
   of them waits for ever is an error (spin's "invalid end state").

   -D<NAME> builds a seeded bug in; `make prove` checks that each is found. */

#ifndef N
#define N 4
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif

byte published, processed, released;   /* the cursors */
byte flushed;                          /* loop only */
bool closed, output_closed;
bool parked, token;                    /* Parker: `token` is the eventfd's edge */
bool awaited, wake;                    /* DeliverySignal: `wake` is the edge of the loop's eventfd */

/* -- towards the worker: publish, then look; park, then look (I5) ------------------------------ */

inline unpark() {
    bool was_parked;
    atomic { was_parked = parked; parked = false }
    if
    :: was_parked -> token = true
    :: else
    fi
}

inline flush() {
    if
    :: published != flushed -> flushed = published; unpark()
    :: else
    fi
}

/* -- towards the loop: clear, then read; move the cursor, then ask (I6) ------------------------ */

inline request() {
    bool ask;
    atomic { ask = !awaited; awaited = true }
    if
    :: ask -> wake = true
    :: else
    fi
}

byte seen;

inline deliver() {
#ifdef CLEAR_AFTER_DELIVERY
    seen = processed;
    released = seen;
    awaited = false;
#else
    awaited = false;                   /* one store, under the lock */
    seen = processed;
    released = seen;
#endif
}

active proctype loop() {
    do
    :: released == N ->
        break
    :: else ->
        /* The poll. It returns when woken, or when a chunk has come and the ring has a free entry. */
        if
        :: wake -> wake = false
        :: published < N && published - released < ENTRIES -> skip
        fi;
        awaited = true;                /* after_poll: hold */
        do
        :: published < N && published - released < ENTRIES ->
#ifdef LOOK_BEFORE_PUBLISH
            unpark();
            published++;
            flushed = published
#else
            published++
#endif
        :: break                       /* no more in this iteration */
        od;
        flush();
        deliver();
        flush()
    od;
    closed = true;
    unpark();
    (output_closed)                    /* told by call_soon_threadsafe, which cannot be missed */
}

byte taken;
bool peek;

#define HAS_WORK (published != taken || closed)

inline park() {
#ifdef LOOK_BEFORE_PARK
    if
    :: HAS_WORK
    :: else ->
        parked = true;                 /* what was published in between is not seen any more */
        token;
        token = false
    fi
#else
    bool sleeps;
    atomic {
        sleeps = !HAS_WORK;
        parked = sleeps
    }
    if
    :: sleeps -> token; token = false
    :: else
    fi
#endif
}

active proctype worker() {
    do
    :: true ->
#ifndef NO_QUESTION_BEFORE_SLEEP
        if
        :: processed != released -> request()
        :: else
        fi;
#endif
        park();
        if
        :: published == taken && closed -> break
        :: else
        fi;
        taken = published;
        do
        :: processed < taken ->
            if                         /* a peek without the lock: it may be done before the store */
            :: peek = awaited; processed++
            :: processed++; peek = awaited
            fi;
            if
            :: !peek -> request()
            :: else
            fi
        :: else -> break
        od
    od;
    output_closed = true
}

/* I1 */
active proctype cursors() {
    end: do
    :: !(released <= processed && processed <= published && published <= released + ENTRIES) ->
        assert(false)
    od
}
