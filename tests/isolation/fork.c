/* A server that forks for each client, as servers did in 1995: each is in a process of its own, and nothing limits
 * how many there are. One of the rows of ISOLATION.md.
 *
 * usage: fork PORT FILE */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

static const char *file;
static long size;

static void say(int client, const char *bytes, long count) {
    for (long sent; count > 0; bytes += sent, count -= sent)
        if ((sent = write(client, bytes, count)) <= 0) exit(1);
}

static void serve(int client) {
    char head[16384], fields[256];
    long length = 0, first = 0, last = size - 1, got;
    do {
        if (length == sizeof head - 1 || (got = read(client, head + length, sizeof head - 1 - length)) <= 0) exit(1);
        head[length += got] = 0;
    } while (!strstr(head, "\r\n\r\n"));
    if (!strncmp(head, "GET /boom ", 10)) abort();
    if (strncmp(head, "GET /film.mp4 ", 14)) {
        const char *missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        say(client, missing, strlen(missing));
        exit(0);
    }
    char *range = strstr(head, "\r\nRange: bytes=");
    int part = range && sscanf(range + 15, "%ld-%ld", &first, &last) == 2 && first <= last && last < size;
    if (!part) first = 0, last = size - 1;
    int count = snprintf(fields, sizeof fields, "HTTP/1.1 %s\r\nContent-Length: %ld\r\nConnection: close\r\n\r\n",
                         part ? "206 Partial Content" : "200 OK", last - first + 1);
    say(client, fields, count);
    say(client, file + first, last - first + 1);
    exit(0);
}

int main(int argc, char **argv) {
    struct stat about;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd, listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (argc != 3 || (fd = open(argv[2], O_RDONLY)) < 0 || fstat(fd, &about)) return 2;
    size = about.st_size;
    file = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    address.sin_port = htons(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (file == MAP_FAILED || bind(listener, (void *)&address, sizeof address) || listen(listener, 512)) return 1;
    /* Nobody waits for a child that has ended. */
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0 && fork() == 0) serve(client);
        if (client >= 0) close(client);
    }
}
