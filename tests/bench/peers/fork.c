/* Serves the files of a folder over HTTP, with a process for each client: what FFmpeg's example does, without FFmpeg.
 *
 *     cc -O2 -o fork fork.c && ./fork FOLDER PORT
 *
 * For measuring on loopback, and for nothing else: it knows GET, and closes after each response. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void serve(int client, int root) {
    char request[4096], path[4096], head[256];
    size_t length = 0;
    while (!memmem(request, length, "\r\n\r\n", 4)) {
        ssize_t count = recv(client, request + length, sizeof request - 1 - length, 0);
        if (count <= 0) return;
        length += count;
    }
    request[length] = 0;
    struct stat file;
    int source = -1;
    if (sscanf(request, "GET /%4095s HTTP/", path) == 1 && !strstr(path, ".."))
        source = openat(root, path, O_RDONLY);
    if (source < 0 || fstat(source, &file) || !S_ISREG(file.st_mode)) {
        static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        send(client, none, sizeof none - 1, MSG_NOSIGNAL);
        return;
    }
    int count = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\nConnection: close\r\n\r\n",
                         (long long)file.st_size);
    if (send(client, head, count, MSG_NOSIGNAL | (file.st_size ? MSG_MORE : 0)) != count) return;
    for (off_t at = 0; at < file.st_size;)
        if (sendfile(client, source, &at, file.st_size - at) <= 0) return;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: fork FOLDER PORT\n"), 2;
    int root = open(argv[1], O_PATH | O_DIRECTORY), listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (root < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        return perror("fork"), 1;
    signal(SIGCHLD, SIG_IGN); /* Nobody waits for the children. */
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        pid_t child = fork();
        if (child == 0) {
            close(listener);
            serve(client, root);
            shutdown(client, SHUT_WR);
            _exit(0);
        }
        close(client);
    }
}
