/* The reference for TLS: native.c with OpenSSL, one thread, work and TLS in the loop.
 *
 * A chunk is all that OpenSSL has for a connection when it is ready, up to CHUNK_BYTES; it is
 * reversed and written as one, so that a reply takes a record for each 16 KiB, and one send each.
 *
 * usage: native_tls PORT FILE, with certificate and key in FILE (PEM)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK_BYTES (256 * 1024)
#define READ_BUFFER_BYTES (64 * 1024)
#define EVENTS 256
#define BACKLOG 1024

struct client {
    int fd;
    SSL *tls;
    uint32_t watched;
    uint8_t *unsent; /* NULL: nothing, and it is read; else it is written to and not read */
    size_t unsent_bytes, sent_bytes;
};

enum outcome { DONE, WAITS, GONE };

static int epoll_fd;
static SSL_CTX *context;
static uint8_t chunk[CHUNK_BYTES], reversed[CHUNK_BYTES];

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void reverse(uint8_t *restrict to, const uint8_t *restrict from, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        to[i] = from[nbytes - 1 - i];
}

static void watch(struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (client->watched == events)
        return;
    if (epoll_ctl(epoll_fd, client->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, client->fd, &event))
        die("epoll_ctl");
    client->watched = events;
}

static void drop(struct client *client)
{
    SSL_free(client->tls);
    close(client->fd); /* which takes it out of the epoll set, too */
    free(client->unsent);
    free(client);
}

static void accept_one(int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        die("calloc");
    client->fd = fd;
    client->tls = SSL_new(context);
    if (!client->tls || !SSL_set_fd(client->tls, fd))
        die("SSL_new");
    SSL_set_accept_state(client->tls); /* the first read does the handshake */
    watch(client, EPOLLIN);
}

/* Return what an SSL function's result below 1 means; watch for what it waits for. */
static enum outcome outcome_of(struct client *client, int result)
{
    switch (SSL_get_error(client->tls, result)) {
    case SSL_ERROR_WANT_READ: watch(client, EPOLLIN); return WAITS;
    case SSL_ERROR_WANT_WRITE: watch(client, EPOLLOUT); return WAITS;
    case SSL_ERROR_ZERO_RETURN: SSL_shutdown(client->tls); return GONE;
    default: return GONE;
    }
}

/* Write the rest of a reply; GONE: the client must be dropped. */
static enum outcome write_rest(struct client *client)
{
    while (client->sent_bytes < client->unsent_bytes) {
        ERR_clear_error();
        int sent = SSL_write(client->tls, client->unsent + client->sent_bytes,
                             (int)(client->unsent_bytes - client->sent_bytes));
        if (sent <= 0)
            return outcome_of(client, sent);
        client->sent_bytes += (size_t)sent;
    }
    free(client->unsent);
    client->unsent = NULL;
    watch(client, EPOLLIN);
    return DONE;
}

/* Write the first `nbytes` of `reversed`; keep what the client does not take. */
static enum outcome reply(struct client *client, size_t nbytes)
{
    size_t all = 0;
    while (all < nbytes) {
        ERR_clear_error();
        int sent = SSL_write(client->tls, reversed + all, (int)(nbytes - all));
        if (sent <= 0) {
            enum outcome outcome = outcome_of(client, sent);
            if (outcome == WAITS) {
                client->unsent_bytes = nbytes - all;
                client->sent_bytes = 0;
                client->unsent = malloc(client->unsent_bytes);
                if (!client->unsent)
                    die("malloc");
                memcpy(client->unsent, reversed + all, client->unsent_bytes);
            }
            return outcome;
        }
        all += (size_t)sent;
    }
    return DONE;
}

/* Read and answer until nothing is left: of what OpenSSL holds epoll knows nothing. */
static enum outcome answer(struct client *client)
{
    for (;;) {
        size_t nbytes = 0;
        enum outcome reading = DONE;
        while (nbytes < CHUNK_BYTES) {
            ERR_clear_error();
            int received = SSL_read(client->tls, chunk + nbytes, (int)(CHUNK_BYTES - nbytes));
            if (received <= 0) {
                reading = outcome_of(client, received);
                break;
            }
            nbytes += (size_t)received;
        }
        if (nbytes) {
            reverse(reversed, chunk, nbytes);
            enum outcome writing = reply(client, nbytes);
            if (writing != DONE)
                return writing;
        }
        if (reading != DONE)
            return reading;
    }
}

static void serve(struct client *client)
{
    enum outcome outcome = client->unsent ? write_rest(client) : DONE;
    if (outcome == DONE)
        outcome = answer(client);
    if (outcome == GONE)
        drop(client);
}

static void make_context(const char *path)
{
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, path) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1)
        die(path);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER_BYTES);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: native_tls PORT FILE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    make_context(argv[2]);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG))
        die("listen");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* NULL: the listener */
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event))
        die("epoll_ctl");
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int k = 0; k < count; k++) {
            if (events[k].data.ptr)
                serve(events[k].data.ptr);
            else
                accept_one(listener);
        }
    }
}
