/* Load generator for servers that reverse what they receive: one thread, epoll, closed or open loop.
 *
 * Every connection keeps `depth` messages under way and sends the next one only when a reply has
 * come, so a slow server is asked less: rates are comparable, latencies are those of a server
 * that is kept exactly this busy, and no latency of an overload is ever seen.
 *
 * With --rate, messages are due at fixed times instead, evenly over all connections, and latency counts from
 * when a message was due. At most `depth` are under way per connection; what has to wait counts, too.
 *
 * What is sent is a cycle of messages that differ from one another, and each connection starts at
 * another place in it, so a reply that is lost, doubled, out of order or another connection's is
 * not what is expected. What is checked:
 *   line, len32            every byte of every reply
 *   raw, one message of at most EXACT_RAW_BYTES under way
 *                          every byte: such a message arrives in one piece and is reversed as one
 *   raw, otherwise         length and sum of all bytes: the network splits messages anywhere,
 *                          and each piece is reversed by itself
 *
 * --tls VERSION speaks TLS of that version, with a program that was compiled with -DWITH_TLS. The
 * server's certificate is not checked, and no session is ever offered for resumption. Handshakes are
 * over before anything is measured, but with
 *
 * --reconnect: then every connection connects, does its handshake, exchanges one message and closes
 * (with close_notify), again and again. A message is then such a cycle: its latency is the time from
 * the connect to the last byte of the reply.
 *
 * Prints one line of JSON; exits with 1 if there was any error. Its `from_s` and `to_s` are the
 * ends of what was measured, by CLOCK_MONOTONIC, so that a server's own notes can be restricted to it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define EXACT_RAW_BYTES 1024
#define CYCLE_BYTES (256 * 1024)   /* small enough to stay in the cache */
#define MOST_VARIANTS 251          /* a prime, so that no power of two of connections lines up */
#define RECEIVE_BYTES (256 * 1024)
#define TLS_READ_BYTES (128 * 1024)
#define EVENTS 256
#define IDLE_AT_ONCE 50
#define STEP_TIMEOUT_S 5           /* for a connect, a first reply, and the last replies */
#define PREFIX_BYTES 4
#define NS_PER_S 1000000000ull

enum framing { RAW, LINE, LEN32 };
enum { ENDED = 0, AGAIN = -1, BROKEN = -2 }; /* instead of a number of bytes */

struct settings {
    const char *host;
    int port;
    enum framing framing;
    int connections, idle, depth;
    size_t size;
    double seconds, warmup;
    double rate;            /* messages per second of an open loop; 0: a closed loop */
    pid_t server;
    const char *tls;        /* its version, or NULL */
    bool reconnect;
};

struct connection {
    int fd;                 /* -1 once it was lost, or closed for good */
    SSL *tls;               /* NULL: plain */
    bool opening;           /* it connects, or does its handshake */
    bool wants_to_write;
    size_t tried_bytes;     /* TLS: of the last write that was not taken; it must be tried again */
    uint64_t connect_ns;
    size_t start_off;       /* where in the cycle its stream begins */
    uint64_t sent_bytes, received_bytes, received_sum;
    uint64_t started, answered;  /* messages */
    uint64_t due;                /* messages that were due so far; open loop only */
    uint64_t *started_ns;   /* of the messages under way, by number modulo depth */
};

static struct settings set = {
    .framing = RAW, .connections = 1, .depth = 1, .size = 64, .seconds = 2, .warmup = 0.3};
static uint8_t *requests, *replies;  /* the cycle, with its beginning once more behind it */
static size_t variants, cycle_bytes, stored_bytes;
static uint64_t *sums;               /* sums[n]: of the bytes of the cycle's first n messages */
static bool exact;
static bool stopping;
static int epoll_fd;
static struct connection *connections;
static int lost;
static uint64_t errors;

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        die("calloc");
    return memory;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now))
        return 0;
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Processor time of all threads of the server so far; 0 if it is not known. */
static uint64_t server_cpu_ns(void)
{
    clockid_t clock;
    if (!set.server || clock_getcpuclockid(set.server, &clock))
        return 0;
    return clock_ns(clock);
}

static long server_rss_bytes(void)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", set.server);
    FILE *statm = set.server ? fopen(path, "r") : NULL;
    if (!statm)
        return 0;
    if (fscanf(statm, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

/* -- latencies: buckets whose width is a 64th of their value ---------------------------------- */

#define SUB_BITS 6
#define BUCKETS 4096
static uint64_t histogram[BUCKETS], latencies, largest_ns;

static void note_latency(uint64_t ns)
{
    int bucket = (int)ns;
    if (ns >= 1 << SUB_BITS) {
        int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
        bucket = ((shift + 1) << SUB_BITS) + (int)((ns >> shift) & ((1 << SUB_BITS) - 1));
    }
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    latencies++;
    if (ns > largest_ns)
        largest_ns = ns;
}

static double percentile_us(double part)
{
    uint64_t wanted = (uint64_t)(part * (double)latencies), seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram[bucket];
        if (seen > wanted) {
            uint64_t ns = (uint64_t)bucket;
            if (bucket >= 1 << SUB_BITS) {
                int shift = (bucket >> SUB_BITS) - 1;
                ns = ((1ull << SUB_BITS) + (uint64_t)(bucket & ((1 << SUB_BITS) - 1))) << shift;
            }
            return (double)ns / 1000.0;
        }
    }
    return 0;
}

/* -- what is sent, and what must come back ----------------------------------------------------- */

static void reverse(uint8_t *to, const uint8_t *from, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        to[i] = from[nbytes - 1 - i];
}

static void make_message(uint8_t *request, uint8_t *reply, size_t variant)
{
    size_t front = set.framing == LEN32 ? PREFIX_BYTES : 0;
    size_t payload = set.size - front - (set.framing == LINE);
    uint32_t state = (uint32_t)variant * 2654435761u + 12345u;
    for (size_t i = 0; i < payload; i++) {
        state = state * 1664525u + 1013904223u;
        request[front + i] = (uint8_t)('a' + (state >> 24) % 26);
    }
    reverse(reply + front, request + front, payload);
    if (set.framing == LEN32) {
        uint32_t length = htonl((uint32_t)payload);
        memcpy(request, &length, PREFIX_BYTES);
        memcpy(reply, &length, PREFIX_BYTES);
    } else if (set.framing == LINE) {
        request[set.size - 1] = reply[set.size - 1] = '\n';
    }
}

static void make_cycle(void)
{
    variants = CYCLE_BYTES / set.size;
    if (variants > MOST_VARIANTS)
        variants = MOST_VARIANTS;
    if (variants < 2)
        variants = 2;
    cycle_bytes = variants * set.size;
    /* So one send carries all that the depth allows, from wherever in the cycle. */
    size_t again = (size_t)set.depth * set.size;
    if (again > CYCLE_BYTES)
        again = CYCLE_BYTES;
    stored_bytes = cycle_bytes + again;
    requests = allocate(stored_bytes, 1);
    replies = allocate(stored_bytes, 1);
    sums = allocate(variants + 1, sizeof *sums);
    for (size_t n = 0; n < variants; n++) {
        uint8_t *request = requests + n * set.size;
        make_message(request, replies + n * set.size, n);
        sums[n + 1] = sums[n];
        for (size_t i = 0; i < set.size; i++)
            sums[n + 1] += request[i];
    }
    for (size_t i = cycle_bytes; i < stored_bytes; i++) {
        requests[i] = requests[i - cycle_bytes];
        replies[i] = replies[i - cycle_bytes];
    }
    exact = set.framing != RAW || (set.depth == 1 && set.size <= EXACT_RAW_BYTES);
}

static uint64_t expected_sum(const struct connection *c)
{
    size_t first = c->start_off / set.size;
    uint64_t end = first + c->answered;
    return sums[variants] * (end / variants) + sums[end % variants] - sums[first];
}

/* Check `nbytes` of reply that follow what `c` has received. */
static void check(struct connection *c, const uint8_t *data, size_t nbytes)
{
    if (c->received_bytes + nbytes > c->sent_bytes)
        errors++; /* more than was asked for */
    size_t done = 0;
    while (exact && done < nbytes) {
        size_t off = (c->start_off + c->received_bytes + done) % cycle_bytes;
        size_t length = nbytes - done < stored_bytes - off ? nbytes - done : stored_bytes - off;
        if (memcmp(data + done, replies + off, length))
            errors++;
        done += length;
    }
    if (!exact) {
        uint64_t sum = 0;
        for (size_t i = 0; i < nbytes; i++)
            sum += data[i];
        c->received_sum += sum;
    }
    c->received_bytes += nbytes;
}

/* -- bytes of a connection, plain or over TLS ---------------------------------------------------- */

#include "loadgen_tls.h"

/* Send some of the bytes; return how many, AGAIN or BROKEN. */
static ssize_t put(struct connection *c, const uint8_t *data, size_t nbytes)
{
    if (c->tls)
        return put_tls(c, data, nbytes);
    ssize_t sent = send(c->fd, data, nbytes, MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN ? AGAIN : BROKEN;
}

/* Receive up to `nbytes`; return how many, ENDED, AGAIN or BROKEN. */
static ssize_t get(struct connection *c, uint8_t *data, size_t nbytes)
{
    if (c->tls)
        return get_tls(c, data, nbytes);
    ssize_t received = recv(c->fd, data, nbytes, 0);
    return received >= 0 ? received : errno == EAGAIN ? AGAIN : BROKEN;
}

/* -- connections --------------------------------------------------------------------------------- */

static struct sockaddr_in server_address(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)set.port)};
    if (inet_pton(AF_INET, set.host, &address.sin_addr) != 1)
        die("the host must be an IPv4 address");
    return address;
}

/* Connect, do the handshake, and only then return. */
static struct connection connected(void)
{
    struct sockaddr_in address = server_address();
    struct timeval timeout = {.tv_sec = STEP_TIMEOUT_S};
    struct linger reset = {.l_onoff = 1}; /* a reset at the end leaves no TIME_WAIT behind */
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    struct connection c = {.fd = fd};
    if (set.tls) {
        start_tls(&c);
        if (shake_hands(&c) <= 0)
            die("handshake");
    }
    return c;
}

static void watch(int operation, int fd, uint32_t number, bool to_write)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
    if (to_write)
        event.events |= EPOLLOUT;
    if (epoll_ctl(epoll_fd, operation, fd, &event))
        die("epoll_ctl");
}

/* An idle connection exchanges one message at its beginning, so that it was really accepted. */
static struct connection asked_idle(uint32_t number)
{
    struct connection c = connected();
    c.start_off = number % variants * set.size;
    if (put(&c, requests + c.start_off, set.size) != (ssize_t)set.size)
        die("first message of an idle connection");
    c.sent_bytes = set.size;
    return c;
}

static void hear_idle(struct connection *c, uint32_t number)
{
    uint8_t *reply = allocate(set.size, 1);
    for (size_t got = 0; got < set.size;) {
        ssize_t received = get(c, reply + got, set.size - got);
        if (received <= 0)
            die("first reply of an idle connection");
        got += (size_t)received;
    }
    check(c, reply, set.size);
    free(reply);
    watch(EPOLL_CTL_ADD, c->fd, (uint32_t)set.connections + number, false);
}

/* Open all idle connections, some at once: one after another they would take seconds. */
static void open_idle(void)
{
    static struct connection some[IDLE_AT_ONCE];
    for (int first = 0; first < set.idle; first += IDLE_AT_ONCE) {
        int count = set.idle - first < IDLE_AT_ONCE ? set.idle - first : IDLE_AT_ONCE;
        for (int n = 0; n < count; n++)
            some[n] = asked_idle((uint32_t)(first + n));
        for (int n = 0; n < count; n++)
            hear_idle(&some[n], (uint32_t)(first + n));
    }
}

static void open_active(uint32_t number)
{
    struct connection *c = &connections[number];
    *c = connected();
    c->start_off = number % variants * set.size;
    c->started_ns = allocate((size_t)set.depth, sizeof *c->started_ns);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK))
        die("fcntl");
    watch(EPOLL_CTL_ADD, c->fd, number, false);
}

static void lose(struct connection *c)
{
    if (c->tls)
        end_tls(c, false);
    close(c->fd);
    c->fd = -1;
    lost++;
    errors++;
}

/* Begin to connect, for one message. */
static void reopen(struct connection *c)
{
    struct sockaddr_in address = server_address();
    uint32_t number = (uint32_t)(c - connections);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint64_t *started_ns = c->started_ns;
    *c = (struct connection){.fd = fd, .opening = true, .wants_to_write = true,
                             .started_ns = started_ns, .connect_ns = now_ns()};
    c->start_off = number % variants * set.size;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect");
    if (set.tls)
        start_tls(c);
    watch(EPOLL_CTL_ADD, fd, number, true);
}

static void want_to_write(struct connection *c, bool wanted)
{
    if (c->wants_to_write != wanted) {
        c->wants_to_write = wanted;
        watch(EPOLL_CTL_MOD, c->fd, (uint32_t)(c - connections), wanted);
    }
}

/* Go on connecting, or with the handshake. */
static void open_further(struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) || error) {
        lose(c);
        return;
    }
    if (c->tls) {
        ssize_t done = shake_hands(c);
        if (done == AGAIN)
            want_to_write(c, waits_to_write(c));
        else if (done <= 0)
            lose(c);
        if (done <= 0)
            return;
    }
    c->opening = false;
}

/* Close a connection that had its one reply; connect anew unless the time is over. */
static void close_and_reopen(struct connection *c)
{
    if (c->received_bytes != c->sent_bytes || (!exact && c->received_sum != expected_sum(c)))
        errors++;
    if (c->tls)
        end_tls(c, true);
    close(c->fd);
    c->fd = -1;
    if (!stopping)
        reopen(c);
}

/* How much of a message that was begun is left. */
static size_t part_left(const struct connection *c)
{
    size_t part = c->sent_bytes % set.size;
    return part ? set.size - part : 0;
}

/* When the next message is due, of which connection, and which of its messages it is. */
static uint64_t first_due_ns, next_due_ns, due_round;
static int due_number;

static uint64_t due_ns(int number, uint64_t message)
{
    double intervals = (double)message * set.connections + number;
    return first_due_ns + (uint64_t)(intervals * 1e9 / set.rate);
}

/* Send what the depth allows; once stopping, only the rest of a message that was begun. */
static void send_more(struct connection *c)
{
    for (;;) {
        size_t may = part_left(c);
        uint64_t under_way = c->started - c->answered;
        if (set.reconnect)
            may = set.size - c->sent_bytes;
        else if (!stopping && under_way < (uint64_t)set.depth)
            may += ((size_t)set.depth - under_way) * set.size;
        if (set.rate > 0 && may > part_left(c) + (c->due - c->started) * set.size)
            may = part_left(c) + (c->due - c->started) * set.size;
        if (may < c->tried_bytes)
            may = c->tried_bytes;
        if (!may)
            break;
        size_t off = (c->start_off + c->sent_bytes) % cycle_bytes;
        if (may > stored_bytes - off)
            may = stored_bytes - off;
        uint64_t before_ns = now_ns();
        ssize_t sent = put(c, requests + off, may);
        if (sent < 0) {
            if (sent == AGAIN) {
                c->tried_bytes = c->tls ? may : 0;
                want_to_write(c, !c->tls || waits_to_write(c));
            } else
                lose(c);
            return;
        }
        c->tried_bytes = 0;
        c->sent_bytes += (uint64_t)sent;
        for (; c->started * set.size < c->sent_bytes; c->started++)
            c->started_ns[c->started % (uint64_t)set.depth] =
                set.reconnect  ? c->connect_ns
                : set.rate > 0 ? due_ns((int)(c - connections), c->started)
                               : before_ns;
    }
    want_to_write(c, false);
}

/* Send what has become due. */
static void send_due(void)
{
    for (uint64_t now = now_ns(); next_due_ns <= now;) {
        struct connection *c = &connections[due_number];
        c->due = due_round + 1;
        if (c->fd >= 0)
            send_more(c);
        if (++due_number == set.connections) {
            due_number = 0;
            due_round++;
        }
        next_due_ns = due_ns(due_number, due_round);
    }
}

static int wait_for_events(struct epoll_event *events)
{
    if (set.rate <= 0 || stopping)
        return epoll_wait(epoll_fd, events, EVENTS, 20);
    uint64_t now = now_ns(), left = next_due_ns > now ? next_due_ns - now : 0;
    struct timespec wait = {.tv_nsec = (long)(left < 20000000 ? left : 20000000)};
    return epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
}

/* Receive once; return how many bytes came. */
static size_t receive_once(struct connection *c, uint64_t woken_ns, bool measuring)
{
    static uint8_t buffer[RECEIVE_BYTES];
    ssize_t received = get(c, buffer, sizeof buffer);
    if (received <= 0) {
        if (received != AGAIN)
            lose(c);
        return 0;
    }
    check(c, buffer, (size_t)received);
    while ((c->answered + 1) * set.size <= c->received_bytes && c->answered < c->started) {
        if (measuring)
            note_latency(woken_ns - c->started_ns[c->answered % (uint64_t)set.depth]);
        c->answered++;
    }
    return (size_t)received;
}

/* Receive; return how many bytes came. epoll knows nothing of what OpenSSL holds: take all of it. */
static size_t receive(struct connection *c, uint64_t woken_ns, bool measuring)
{
    size_t all = 0, once;
    do {
        once = receive_once(c, woken_ns, measuring);
        all += once;
    } while (once && c->tls);
    return all;
}

static bool all_answered(void)
{
    for (int n = 0; n < set.connections; n++) {
        struct connection *c = &connections[n];
        if (c->fd >= 0 && (set.reconnect || c->received_bytes < c->started * set.size))
            return false;
    }
    return true;
}

/* -- the run --------------------------------------------------------------------------------------- */

static void read_settings(int argc, char **argv)
{
    static const struct option options[] = {
        {"host", 1, 0, 'h'},       {"port", 1, 0, 'p'},   {"framing", 1, 0, 'f'},
        {"connections", 1, 0, 'c'}, {"idle", 1, 0, 'i'},  {"size", 1, 0, 's'},
        {"depth", 1, 0, 'd'},      {"seconds", 1, 0, 't'}, {"warmup", 1, 0, 'w'},
        {"server-pid", 1, 0, 'P'}, {"tls", 1, 0, 'T'},    {"reconnect", 0, 0, 'r'},
        {"rate", 1, 0, 'R'},
        {0, 0, 0, 0}};
    int option;
    set.host = "127.0.0.1";
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'h': set.host = optarg; break;
        case 'p': set.port = atoi(optarg); break;
        case 'f':
            set.framing = !strcmp(optarg, "line") ? LINE : !strcmp(optarg, "len32") ? LEN32 : RAW;
            break;
        case 'c': set.connections = atoi(optarg); break;
        case 'i': set.idle = atoi(optarg); break;
        case 's': set.size = strtoul(optarg, NULL, 10); break;
        case 'd': set.depth = atoi(optarg); break;
        case 't': set.seconds = atof(optarg); break;
        case 'w': set.warmup = atof(optarg); break;
        case 'P': set.server = atoi(optarg); break;
        case 'T': set.tls = optarg; break;
        case 'r': set.reconnect = true; break;
        case 'R': set.rate = atof(optarg); break;
        default: exit(2);
        }
    }
    if (set.connections < 1 || set.idle < 0 || set.depth < 1 || set.size <= PREFIX_BYTES ||
        set.port < 1) {
        fprintf(stderr, "loadgen: a setting is missing or too small\n");
        exit(2);
    }
    if (set.reconnect && set.depth != 1) {
        fprintf(stderr, "loadgen: --reconnect exchanges one message; --depth must be 1\n");
        exit(2);
    }
    if (set.rate < 0 || (set.rate > 0 && set.reconnect)) {
        fprintf(stderr, "loadgen: --rate must be above 0, and is not for --reconnect\n");
        exit(2);
    }
    if (set.tls && strcmp(set.tls, "1.2") && strcmp(set.tls, "1.3")) {
        fprintf(stderr, "loadgen: --tls %s: must be 1.2 or 1.3\n", set.tls);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_settings(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    make_cycle();
    if (set.tls)
        make_tls_context();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = allocate((size_t)set.connections, sizeof *connections);

    long rss_before_idle = server_rss_bytes();
    open_idle();
    long rss_with_idle = server_rss_bytes();
    for (int n = 0; n < set.connections && !set.reconnect; n++)
        open_active((uint32_t)n);

    uint64_t start_ns = now_ns();
    uint64_t measure_ns = start_ns + (uint64_t)(set.warmup * 1e9);
    uint64_t stop_ns = measure_ns + (uint64_t)(set.seconds * 1e9);
    uint64_t give_up_ns = stop_ns + STEP_TIMEOUT_S * NS_PER_S;
    uint64_t from_ns = 0, to_ns = 0, server_from_ns = 0, server_to_ns = 0, own_from_ns = 0,
             own_to_ns = 0, bytes = 0;
    bool measuring = false;

    first_due_ns = next_due_ns = start_ns;
    for (int n = 0; n < set.connections; n++) {
        if (set.reconnect) {
            connections[n].started_ns = allocate(1, sizeof *connections[n].started_ns);
            reopen(&connections[n]);
        } else
            send_more(&connections[n]);
    }
    while (lost < set.connections) {
        struct epoll_event events[EVENTS];
        int count = wait_for_events(events);
        uint64_t woken_ns = now_ns();
        if (!from_ns && woken_ns >= measure_ns) {
            measuring = true;
            from_ns = woken_ns;
            server_from_ns = server_cpu_ns();
            own_from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        }
        /* On a busy machine a short time may pass without any reply. */
        if (!stopping && woken_ns >= stop_ns && (latencies || woken_ns > give_up_ns)) {
            measuring = false;
            stopping = true;
            to_ns = woken_ns;
            server_to_ns = server_cpu_ns();
            own_to_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        }
        if (stopping && (woken_ns > give_up_ns || all_answered()))
            break;
        for (int k = 0; k < count; k++) {
            if (events[k].data.u32 >= (uint32_t)set.connections) { /* nothing was asked */
                fprintf(stderr, "loadgen: an idle connection was closed, or got bytes\n");
                errors++;
                lost = set.connections;
                break;
            }
            struct connection *c = &connections[events[k].data.u32];
            if (c->fd >= 0 && c->opening) {
                open_further(c);
                if (c->fd >= 0 && !c->opening)
                    send_more(c);
                continue;
            }
            if (c->fd >= 0 && events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                size_t received = receive(c, woken_ns, measuring);
                if (measuring)
                    bytes += received;
            }
            if (c->fd >= 0 && set.reconnect && c->answered)
                close_and_reopen(c);
            else if (c->fd >= 0)
                send_more(c);
        }
        if (set.rate > 0 && !stopping)
            send_due();
    }

    for (int n = 0; n < set.connections; n++) {
        struct connection *c = &connections[n];
        if (c->fd < 0)
            continue;
        if (c->received_bytes != c->sent_bytes)
            errors++; /* replies that never came, or too many */
        else if (!exact && c->received_sum != expected_sum(c))
            errors++;
    }
    double elapsed_s = to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
    double per_s = elapsed_s > 0 ? 1 / elapsed_s : 0;
    double server_us = (double)(server_to_ns - server_from_ns) / 1000.0;
    if (!latencies && !errors)
        errors = 1; /* nothing was measured, which is no success */
    printf("{\"messages\": %lu, \"from_s\": %.6f, \"to_s\": %.6f, "
           "\"messages_per_s\": %.1f, \"mib_per_s\": %.2f, "
           "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"errors\": %lu, \"lost_connections\": %d, "
           "\"cpu_us_per_message\": %.3f, \"server_cores\": %.3f, \"client_cores\": %.3f, "
           "\"server_rss_bytes\": %ld, \"rss_bytes_per_idle\": %.0f, \"verified\": \"%s\", "
           "\"tls\": \"%s\"}\n",
           latencies, (double)from_ns / 1e9, (double)to_ns / 1e9, (double)latencies * per_s,
           (double)bytes * per_s / 1048576.0, percentile_us(0.5), percentile_us(0.9),
           percentile_us(0.99), percentile_us(0.999), (double)largest_ns / 1000.0, errors, lost,
           latencies ? server_us / (double)latencies : 0, server_us / 1e6 * per_s,
           (double)(own_to_ns - own_from_ns) / 1e9 * per_s, server_rss_bytes(),
           set.idle ? (double)(rss_with_idle - rss_before_idle) / set.idle : 0,
           exact ? "every byte" : "sums", negotiated);
    return errors ? 1 : 0;
}
