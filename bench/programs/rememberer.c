/* A program with a memory: answers every request with its pid and how often it was asked. Small, since a thousand of it run at
 * once. Usage: rememberer PORT
 */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 64, REQUEST = 8192 };

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd polled[MAX_CONNECTIONS];
    nfds_t count = 1;
    long asked = 0;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 2 || listener < 0) return 2;
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    signal(SIGPIPE, SIG_IGN);
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        if (poll(polled, count, -1) < 0) continue;
        for (nfds_t i = count; i-- > 1;) {
            char request[REQUEST + 1], body[64], answer[160];
            if (!polled[i].revents) continue;
            ssize_t length = recv(polled[i].fd, request, REQUEST, 0); /* the heads of these requests come in one piece */
            if (length <= 0) {
                close(polled[i].fd);
                polled[i] = polled[--count];
                continue;
            }
            request[length] = 0;
            if (!strstr(request, "\r\n\r\n")) continue;
            int size = snprintf(body, sizeof body, "{\"pid\": %ld, \"asked\": %ld}", (long)getpid(), ++asked);
            size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
            send(polled[i].fd, answer, (size_t)size, 0);
        }
        if (polled[0].revents && count < MAX_CONNECTIONS) {
            int fd = accept(listener, NULL, NULL);
            if (fd >= 0) polled[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
}
