/* How loop and worker wake each other in the native plane (asyncrev/native/plane_core_….c), which has
   no locks: each decides by a fence and an exchange.

   A processor keeps stores in a buffer of the thread and makes them visible later, in order; loads
   pass them. Here `put` stores into such a buffer, a process of its own empties it whenever it
   likes, and a fence or an exchange waits until it is empty. All atomic stores of the code are such
   stores, though C11 and x86 order some of them more strictly.

   The worker answers in its wait (arv_wait): of few bytes it does not tell at once (arv_answer), but
   at the end. N chunks come as in wakeups.pml, and both threads must end in every interleaving. With
   -DSTOP the loop may close the input at any moment.

   -D<NAME> builds a seeded bug in; `make prove` checks that each is found. */

#ifndef N
#define N 3
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif

mtype = { PUBLISHED, RELEASED, CLOSED, LOOP_AWAITED, PROCESSED, PARKED }

byte published, processed, released;   /* as the other thread sees them */
bool closed, output_closed;
bool parked, token;                    /* arv_parker; `token` is the eventfd's edge */
bool awaited, wake;                    /* arv_signal; `wake` is the edge of the loop's eventfd */

chan of_loop = [4] of { mtype, byte };
chan of_worker = [4] of { mtype, byte };

inline make_visible(stores) {
    atomic {
        stores?what, value;
        if
        :: what == PUBLISHED -> published = value
        :: what == RELEASED -> released = value
        :: what == CLOSED -> closed = value
        :: what == LOOP_AWAITED -> awaited = value
        :: what == PROCESSED -> processed = value
        :: what == PARKED -> parked = value
        fi;
        what = 0;
        value = 0
    }
}

active proctype buffer_of_loop() {
    mtype what;
    byte value;
    end: do
    :: make_visible(of_loop)
    od
}

active proctype buffer_of_worker() {
    mtype what;
    byte value;
    end: do
    :: make_visible(of_worker)
    od
}

#define FENCE(stores) empty(stores)

/* -- towards the worker (I5) -------------------------------------------------------------------- */

inline unpark() {
#ifndef NO_FENCE_IN_UNPARK
    FENCE(of_loop);
#endif
    if
    :: parked ->
        atomic { FENCE(of_loop); was_parked = parked; parked = false };
        if
        :: was_parked -> token = true
        :: else
        fi;
        was_parked = false
    :: else
    fi
}

inline flush() {
    if
    :: mine != flushed -> flushed = mine; unpark()
    :: else
    fi
}

active proctype loop() {
    byte mine, flushed, freed;         /* the loop's own published_seq and released_seq */
    bool was_parked;
    do
    :: freed == N -> break
#ifdef STOP
    :: freed != N -> break             /* with whatever is in the ring */
#endif
    :: freed != N ->
        if
        :: wake -> wake = false
        :: mine < N && mine - freed < ENTRIES
        fi;
        of_loop!LOOP_AWAITED, true;    /* hold */
        do
        :: mine < N && mine - freed < ENTRIES ->
#ifdef LOOK_BEFORE_PUBLISH
            unpark();
            mine++;
            flushed = mine;
#else
            mine++;
#endif
            of_loop!PUBLISHED, mine
        :: break
        od;
        flush();
#ifdef CLEAR_AFTER_DELIVERY
        freed = processed;
        of_loop!RELEASED, freed;
        of_loop!LOOP_AWAITED, false;
        FENCE(of_loop);
#else
        of_loop!LOOP_AWAITED, false;   /* arv_signal_clear */
#ifndef NO_FENCE_IN_CLEAR
        FENCE(of_loop);
#endif
        freed = processed;
        of_loop!RELEASED, freed;
#endif
        flush()
    od;
#ifdef STOP
    if
    :: mine < N && mine - freed < ENTRIES -> mine++; of_loop!PUBLISHED, mine
    :: true
    fi;
#endif
    of_loop!CLOSED, true;
    unpark();
    (output_closed)
}

/* -- towards the loop (I6) ---------------------------------------------------------------------- */

inline request() {
#ifndef NO_FENCE_IN_REQUEST
    FENCE(of_worker);
#endif
    if
    :: !awaited ->
        atomic { FENCE(of_worker); was_awaited = awaited; awaited = true };
        if
        :: !was_awaited -> wake = true
        :: else
        fi;
        was_awaited = false
    :: else
    fi
}

inline answer() {
    do
    :: taken < seen ->
        taken++;
        of_worker!PROCESSED, taken;
        if
        :: is_untold = true            /* few bytes */
        :: is_untold = false; request()
        fi
    :: else -> break
    od;
#ifndef NO_REQUEST_AT_THE_END
    if
    :: is_untold -> request()
    :: else
    fi;
#endif
    is_untold = false
}

active proctype worker() {
    byte taken, seen;                  /* `taken` is the worker's own processed_seq */
    bool is_closed, is_untold, was_awaited, has_work;
    do
    :: true ->
#ifdef CURSOR_BEFORE_FLAG
        seen = published;
        is_closed = closed;
#else
        is_closed = closed;
        seen = published;
#endif
        if
        :: seen != taken -> answer()
        :: seen == taken && is_closed -> break
        :: seen == taken && !is_closed ->
#ifndef NO_REQUEST_AT_THE_END
            if
            :: taken != released -> request()
            :: else
            fi;
#endif
#ifdef LOOK_BEFORE_PARK
            has_work = published != taken || closed;
            of_worker!PARKED, true;
            FENCE(of_worker);
#else
            of_worker!PARKED, true;    /* arv_parker_prepare */
#ifndef NO_FENCE_IN_PREPARE
            FENCE(of_worker);
#endif
            has_work = published != taken || closed;
#endif
            if
            :: has_work -> of_worker!PARKED, false     /* arv_parker_stay */
            :: else ->                                 /* arv_park */
                token;
                token = false;
                atomic { FENCE(of_worker); parked = false }
            fi;
            has_work = false
        fi
    od;
    assert(taken == published);        /* LOST: published before the close, and not answered */
    output_closed = true
}

/* I1, as all others see it: a cursor becomes visible no sooner than what it follows. */
active proctype cursors() {
    end: do
    :: !(released <= processed && processed <= published && published <= released + ENTRIES) ->
        assert(false)
    od
}
