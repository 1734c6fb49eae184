/* The program behind every proxy in the bench: an HTTP/1.1 server on one epoll loop, fast enough never to be what is measured.
 *
 *   /       200 bytes          /big    1 MiB
 *   /slow   200 bytes, 1 s after the request
 *   Upgrade: websocket         echoes every message, answers pings
 *
 * Bodies of requests are read and dropped. Usage: upstream PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 16384, IN_SIZE = 65536, BIG = 1 << 20, MAX_UNSENT = 8 << 20, SLOW_MS = 1000, MAX_EVENTS = 256 };

typedef struct Conn {
    char *in, *out;
    size_t in_len, out_len, out_cap, out_sent;
    size_t skip;           /* bytes of a request body still to be dropped */
    int fd, websocket, waits_for_write;
    int64_t due;           /* when /slow is answered, in ms; 0: nothing is due */
    struct Conn *next_due; /* the delay is the same for all, so the queue is in order */
} Conn;

static Conn *conns[MAX_FD], *due_head, *due_tail;
static int epoll_fd;
static char small_reply[512], *big_reply;
static size_t small_len, big_len;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* SHA-1 of at most 119 bytes (FIPS 180-4), for Sec-WebSocket-Accept. */
static void sha1(const uint8_t *data, size_t len, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t block[128] = {0};
    size_t total = ((len + 8) / 64 + 1) * 64;
    memcpy(block, data, len);
    block[len] = 0x80;
    for (int i = 0; i < 8; i++) block[total - 1 - i] = (uint8_t)(len * 8ULL >> 8 * i);
    for (size_t p = 0; p < total; p += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            const uint8_t *q = block + p + i * 4;
            w[i] = (uint32_t)q[0] << 24 | q[1] << 16 | q[2] << 8 | q[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (b & c) | (~b & d), k = 0x5A827999;
            else if (i < 40) f = b ^ c ^ d, k = 0x6ED9EBA1;
            else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
            else f = b ^ c ^ d, k = 0xCA62C1D6;
            uint32_t t = rol(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rol(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}

static void base64(const uint8_t *s, size_t n, char *out) {
    static const char t[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)s[i] << 16 | (i + 1 < n ? s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
        *out++ = t[v >> 18];
        *out++ = t[v >> 12 & 63];
        *out++ = i + 1 < n ? t[v >> 6 & 63] : '=';
        *out++ = i + 2 < n ? t[v & 63] : '=';
    }
    *out = 0;
}

static void put(Conn *c, const void *data, size_t len) {
    if (c->out_len + len > c->out_cap) {
        c->out_cap = (c->out_len + len) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (!c->out) abort();
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void want(Conn *c, int writing) {
    struct epoll_event e = {.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.fd = c->fd};
    if (c->waits_for_write == writing) return;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    c->waits_for_write = writing;
}

static int flush(Conn *c) {
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) return -1;
            want(c, 1);
            return 0;
        }
        c->out_sent += (size_t)n;
    }
    c->out_len = c->out_sent = 0;
    want(c, 0);
    return 0;
}

static void close_conn(Conn *c) {
    if (c->due) {
        for (Conn **p = &due_head, *before = NULL; *p; before = *p, p = &(*p)->next_due)
            if (*p == c) {
                *p = c->next_due;
                if (due_tail == c) due_tail = before;
                break;
            }
    }
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void defer(Conn *c) {
    c->due = now_ms() + SLOW_MS;
    c->next_due = NULL;
    if (due_tail) due_tail->next_due = c;
    else due_head = c;
    due_tail = c;
}

static int accept_websocket(Conn *c, const char *key) {
    char text[128], accept_key[40], reply[256];
    uint8_t digest[20];
    size_t len;
    key += strspn(key, " ");
    len = strcspn(key, "\r");
    if (len > 64) return -1;
    memcpy(text, key, len);
    memcpy(text + len, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1((uint8_t *)text, len + 36, digest);
    base64(digest, 20, accept_key);
    put(c, reply, (size_t)snprintf(reply, sizeof reply,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        accept_key));
    c->websocket = 1;
    return 0;
}

/* One frame of a WebSocket: its size, 0 where it isn't whole yet, -1 where it ends the connection. */
static ssize_t echo_frame(Conn *c, uint8_t *p, size_t have) {
    size_t len, head = 2, reply_head = 2;
    uint8_t *mask, reply[10];
    if (have < 2) return 0;
    len = p[1] & 127;
    if (len == 126) head = 4;
    if (len == 127) head = 10;
    if (have < head + 4) return 0;
    if (head > 2) {
        len = 0;
        for (size_t i = 2; i < head; i++) len = len << 8 | p[i];
    }
    mask = p + head;
    if (p[1] & 128) head += 4;
    if (have < head + len) return 0;
    if (p[1] & 128)
        for (size_t i = 0; i < len; i++) p[head + i] ^= mask[i & 3];
    int opcode = p[0] & 15;
    reply[0] = (uint8_t)((p[0] & 0xF0) | (opcode == 9 ? 10 : opcode));
    if (len < 126) reply[1] = (uint8_t)len;
    else if (len < 65536) reply[1] = 126, reply_head = 4;
    else reply[1] = 127, reply_head = 10;
    for (size_t i = 2; i < reply_head; i++) reply[i] = (uint8_t)(len >> 8 * (reply_head - 1 - i));
    put(c, reply, reply_head);
    put(c, p + head, len);
    if (opcode == 8) {
        flush(c);
        return -1;
    }
    return (ssize_t)(head + len);
}

/* One request head: its size, 0 where it isn't whole yet, -1 where it ends the connection. */
static ssize_t answer_request(Conn *c, char *head, size_t have) {
    char *end = memmem(head, have, "\r\n\r\n", 4), *field, *path;
    if (!end) return have >= IN_SIZE ? -1 : 0;
    *end = 0;
    if ((field = strcasestr(head, "\r\nsec-websocket-key:"))) {
        if (accept_websocket(c, field + 20) < 0) return -1;
        return end - head + 4;
    }
    if ((field = strcasestr(head, "\r\ncontent-length:"))) c->skip = strtoul(field + 17, NULL, 10);
    path = strchr(head, ' ');
    path = path ? path + 1 : head;
    if (!strncmp(path, "/slow", 5)) defer(c);
    else if (!strncmp(path, "/big", 4)) put(c, big_reply, big_len);
    else put(c, small_reply, small_len);
    if (strcasestr(head, "\r\nconnection: close")) {
        flush(c);
        return -1;
    }
    return end - head + 4;
}

/* Everything that has arrived. -1: the connection is to be closed. */
static int process(Conn *c) {
    size_t at = 0;
    while (at < c->in_len && !c->due) {
        size_t have = c->in_len - at;
        ssize_t used;
        if (c->skip) {
            used = (ssize_t)(have < c->skip ? have : c->skip);
            c->skip -= (size_t)used;
        } else if (c->websocket) {
            used = echo_frame(c, (uint8_t *)c->in + at, have);
        } else {
            used = answer_request(c, c->in + at, have);
        }
        if (used < 0) return -1;
        if (used == 0) break;
        at += (size_t)used;
    }
    if (at) {
        memmove(c->in, c->in + at, c->in_len - at);
        c->in_len -= at;
    }
    return flush(c);
}

static void accept_all(int listener) {
    for (;;) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        if (fd < 0) return;
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd] = calloc(1, sizeof(Conn));
        if (!conns[fd] || !(conns[fd]->in = malloc(IN_SIZE))) abort();
        conns[fd]->fd = fd;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void on_event(Conn *c, uint32_t events) {
    ssize_t n;
    if ((events & EPOLLOUT) && flush(c) < 0) {
        close_conn(c);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || c->out_len > MAX_UNSENT) return;
    n = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        close_conn(c);
        return;
    }
    c->in_len += (size_t)n;
    if (process(c) < 0) close_conn(c);
}

/* Answers what is due; how long epoll may wait for the next, in ms. */
static int answer_due(void) {
    while (due_head) {
        Conn *c = due_head;
        int64_t left = c->due - now_ms();
        if (left > 0) return (int)left;
        due_head = c->next_due;
        if (!due_head) due_tail = NULL;
        c->due = 0;
        put(c, small_reply, small_len);
        if (process(c) < 0) close_conn(c);
    }
    return -1;
}

static void make_replies(void) {
    char body[201];
    memset(body, 'x', 200);
    memcpy(body, "hello from container ", 21);
    body[199] = '\n';
    body[200] = 0;
    small_len = (size_t)snprintf(small_reply, sizeof small_reply,
        "HTTP/1.1 200 OK\r\nServer: tinyhttpd\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n%s", body);
    big_reply = malloc(BIG + 256);
    if (!big_reply) abort();
    big_len = (size_t)sprintf(big_reply,
        "HTTP/1.1 200 OK\r\nServer: tinyhttpd\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", BIG);
    memset(big_reply + big_len, 'y', BIG);
    big_len += BIG;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 8080, one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    struct epoll_event events[MAX_EVENTS], e = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("upstream: bind");
        return 1;
    }
    make_replies();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e.data.fd = listener;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, MAX_EVENTS, answer_due());
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener) accept_all(listener);
            else if (conns[events[i].data.fd]) on_event(conns[events[i].data.fd], events[i].events);
        }
    }
}
