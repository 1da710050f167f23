/* The reference: a one-thread epoll server that reverses what it receives, in the loop.
 *
 * What this machine can do when nothing is in the way: one epoll_wait for all that are ready, one
 * recv and one send a message, no allocation unless a peer does not take its reply at once.
 *
 * usage: native PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK_BYTES (256 * 1024)
#define EVENTS 256
#define BACKLOG 1024

struct client {
    int fd;
    uint8_t *unsent; /* NULL: nothing, and it is read; else it is written to and not read */
    size_t unsent_bytes, sent_bytes;
};

static int epoll_fd;
static uint8_t chunk[CHUNK_BYTES], reversed[CHUNK_BYTES];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* gcc makes vector shuffles of this loop: about 5 us for 64 KiB. */
static void reverse(uint8_t *restrict to, const uint8_t *restrict from, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        to[i] = from[nbytes - 1 - i];
}

static void watch(int operation, struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll_fd, operation, client->fd, &event))
        die("epoll_ctl");
}

static void drop(struct client *client)
{
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
    watch(EPOLL_CTL_ADD, client, EPOLLIN);
}

static void write_rest(struct client *client)
{
    ssize_t sent = send(client->fd, client->unsent + client->sent_bytes,
                        client->unsent_bytes - client->sent_bytes, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            drop(client);
        return;
    }
    client->sent_bytes += (size_t)sent;
    if (client->sent_bytes == client->unsent_bytes) {
        free(client->unsent);
        client->unsent = NULL;
        watch(EPOLL_CTL_MOD, client, EPOLLIN);
    }
}

static void answer(struct client *client)
{
    ssize_t received = recv(client->fd, chunk, sizeof chunk, 0);
    if (received <= 0) {
        if (received == 0 || errno != EAGAIN)
            drop(client);
        return;
    }
    reverse(reversed, chunk, (size_t)received);
    ssize_t sent = send(client->fd, reversed, (size_t)received, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(client);
            return;
        }
        sent = 0;
    }
    if (sent < received) {
        client->unsent_bytes = (size_t)(received - sent);
        client->sent_bytes = 0;
        client->unsent = malloc(client->unsent_bytes);
        if (!client->unsent)
            die("malloc");
        memcpy(client->unsent, reversed + sent, client->unsent_bytes);
        watch(EPOLL_CTL_MOD, client, EPOLLOUT);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: native PORT\n");
        return 2;
    }
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
            struct client *client = events[k].data.ptr;
            if (!client)
                accept_one(listener);
            else if (client->unsent)
                write_rest(client);
            else
                answer(client);
        }
    }
}
