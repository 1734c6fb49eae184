/* WebSocket load: each connection has one message under way, and sends the next when its echo is back.
 *
 * Usage: wsload PORT CONNECTIONS SECONDS SIZE SESSION
 * Prints one line, "BENCH " and JSON: seconds, requests (messages echoed), bytes, errors, and the latencies p50, p99 and
 * worst in ms.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, MAX_SIZE = 32768, KEPT = 1 << 22, EVENTS = 256 };

static size_t received[MAX_FD];
static double sent_at[MAX_FD];
static unsigned char message[MAX_SIZE + 16];
static char echo[65536];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fail(const char *why) {
    fprintf(stderr, "wsload: %s\n", why);
    exit(1);
}

/* A connection whose handshake is done. */
static int open_socket(int port, const char *session) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    char text[4096];
    size_t have = 0;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || fd >= MAX_FD) fail("too many files");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("no connection");
    int size = snprintf(text, sizeof text,
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Session-ID: %s\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", port, session);
    if (write(fd, text, (size_t)size) != size) fail("the handshake was not taken");
    do {
        ssize_t n = read(fd, text + have, sizeof text - have - 1);
        if (n <= 0) fail("the handshake was not answered");
        have += (size_t)n;
        text[have] = 0;
    } while (!strstr(text, "\r\n\r\n"));
    if (strncmp(text, "HTTP/1.1 101", 12)) fail(text);
    return fd;
}

/* A masked binary message of `size` bytes; returns its length. */
static size_t make_message(size_t size) {
    size_t at = 0;
    message[at++] = 0x82;
    if (size < 126) {
        message[at++] = (unsigned char)(0x80 | size);
    } else {
        message[at++] = 0x80 | 126;
        message[at++] = (unsigned char)(size >> 8);
        message[at++] = (unsigned char)size;
    }
    return at + 4 + size; /* a mask of zeros, and zeros */
}

int main(int count, char **arguments) {
    if (count != 6) fail("usage: wsload PORT CONNECTIONS SECONDS SIZE SESSION");
    int port = atoi(arguments[1]), connections = atoi(arguments[2]), errors = 0;
    double seconds = atof(arguments[3]);
    size_t size = (size_t)atoi(arguments[4]), kept = 0, messages = 0;
    if (size > MAX_SIZE) fail("SIZE is too large");
    size_t out = make_message(size), back = size < 126 ? size + 2 : size + 4;
    double *latency = malloc(KEPT * sizeof *latency);
    int epoll_fd = epoll_create1(0);
    if (!latency) fail("no memory");
    for (int i = 0; i < connections; i++) {
        int fd = open_socket(port, arguments[5]);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
        sent_at[fd] = now();
        if (write(fd, message, out) != (ssize_t)out) fail("a message was not taken");
    }
    double began = now(), time = began;
    while (time - began < seconds) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            ssize_t n = read(fd, echo, sizeof echo);
            if (n <= 0) {
                errors++;
                close(fd);
                continue;
            }
            received[fd] += (size_t)n;
            if (received[fd] < back) continue;
            received[fd] -= back;
            time = now();
            if (kept < KEPT) latency[kept++] = time - sent_at[fd];
            messages++;
            sent_at[fd] = time;
            if (write(fd, message, out) != (ssize_t)out) errors++;
        }
        time = now();
    }
    if (!kept) fail("no message came back");
    qsort(latency, kept, sizeof *latency, ascending);
    printf("BENCH {\"seconds\": %f, \"requests\": %zu, \"bytes\": %zu, \"errors\": %d, \"p50\": %f, \"p99\": %f, \"worst\": %f}\n",
        time - began, messages, messages * size, errors, latency[kept / 2] * 1e3,
        latency[(size_t)((double)kept * 0.99)] * 1e3, latency[kept - 1] * 1e3);
    return 0;
}
