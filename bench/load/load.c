/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for the benchmarks: servers that do next to nothing, and clients that count. One thread each, so that on a machine of two
 * processors client and server have one each.
 *
 *   load serve-tcp ADDRESS PORT               answers a request of SIZE bytes with as many, and closes
 *   load serve-udp ADDRESS PORT               answers every datagram
 *   load connect SECONDS WINDOW WAY...        new connection, one request, one answer, close; WINDOW of them at a time
 *   load udp SECONDS WINDOW WAY...            datagram and answer; WINDOW sockets with one datagram under way each
 *   load http SECONDS WINDOW WAY...           request for metadata and answer; WINDOW connections, kept open, with one request under way each
 *   load arp INTERFACE ADDRESS COUNT          ARP request and reply, one after the other
 *   load fill PROGRAM INTERFACE ADDRESS PORT COUNT  COUNT flows of guests behind INTERFACE, 50,000 to each port from PORT on, by running
 *                                             the pinned PROGRAM on their first frames (BPF_PROG_TEST_RUN)
 *
 * A WAY is NAMESPACE ADDRESS PORT: the path of the network namespace to ask from, and whom to ask. Several ways take turns every TURN_NS, until
 * each has had its SECONDS: so what else the machine does falls on all of them alike.
 *
 * The clients print a line of JSON for each way: how many exchanges went well and how many did not, in how many seconds, and the p50 and p99 of
 * their times in microseconds: of several turns the median of what each turn has. Over all of them, the p99 would be that of the few turns in
 * which the hypervisor gave this machine's time to others. A server prints "ready" and goes on until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIZE 64
#define MAX_EVENTS 256
#define MAX_WINDOW 1024
#define MAX_WAYS 8
#define MAX_ANSWER 2048
#define TURN_NS 20000000ull
#define MAX_TURNS 4096
/* An exchange that takes longer has failed, in ns. */
#define PATIENCE 1000000000ull
/* Times are kept in steps of a quarter microsecond, up to 16 ms; what takes longer counts as that. */
#define STEP_NS 250
#define STEPS 65536

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static struct sockaddr_in address_of(const char *address, const char *port)
{
	struct sockaddr_in result = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, address, &result.sin_addr) != 1) {
		fprintf(stderr, "%s is not an IPv4 address\n", address);
		exit(2);
	}
	return result;
}

static void watch(int epoll, int fd, uint32_t events, uint32_t data)
{
	struct epoll_event event = { .events = events, .data.u32 = data };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void serve_tcp(const char *address, const char *port)
{
	struct sockaddr_in at = address_of(address, port);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), one = 1;
	struct epoll_event events[MAX_EVENTS];
	char buffer[SIZE];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 4096))
		die("listen");
	watch(epoll, listener, EPOLLIN, listener);
	ready();
	for (;;) {
		int count = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.u32;

			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(epoll, fd, EPOLLIN, fd);
				continue;
			}
			/* The server closes first: the client's port is free at once, and how many there are is no limit. */
			if (recv(fd, buffer, SIZE, 0) == SIZE)
				send(fd, buffer, SIZE, MSG_NOSIGNAL);
			close(fd);
		}
	}
}

static void serve_udp(const char *address, const char *port)
{
	struct sockaddr_in at = address_of(address, port), from;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
	char buffer[2048];

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
	ready();
	for (;;) {
		socklen_t length = sizeof(from);
		ssize_t size = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length);

		if (size > 0)
			sendto(fd, buffer, size, 0, (struct sockaddr *)&from, length);
	}
}

/* Times of exchanges, in steps of STEP_NS; the last step is for all that took longer. */
struct times {
	uint32_t counts[STEPS];
};

static void keep_time(struct times *times, uint64_t ns)
{
	times->counts[ns / STEP_NS < STEPS ? ns / STEP_NS : STEPS - 1]++;
}

/* In microseconds. */
static double percentile(const struct times *times, uint64_t total, double share)
{
	uint64_t seen = 0;

	for (uint32_t step = 0; step < STEPS; step++) {
		seen += times->counts[step];
		if (seen > total * share)
			return (step + 0.5) * STEP_NS / 1000.0;
	}
	return 0;
}

static void report(double p50, double p99, uint64_t good, uint64_t failed, uint64_t elapsed_ns)
{
	printf("{\"good\": %llu, \"failed\": %llu, \"seconds\": %.6f, \"p50\": %.2f, \"p99\": %.2f}\n", (unsigned long long)good,
	       (unsigned long long)failed, elapsed_ns / 1e9, p50, p99);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Puts the values in order. Zero where there are none. */
static double median(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return count ? values[count / 2] : 0;
}

/* A request and its answer; `begun` is zero while there is none under way. */
struct exchange {
	int fd;
	uint64_t begun;
	bool answered;
	/* HTTP: of the answer, what has come. */
	size_t received;
	char answer[MAX_ANSWER];
};

struct way {
	int namespace;
	struct sockaddr_in to;
	int epoll;
	struct exchange exchanges[MAX_WINDOW];
	struct times times; /* of this turn */
	double p50s[MAX_TURNS], p99s[MAX_TURNS];
	uint32_t turns;     /* with at least one exchange that went well */
	uint64_t good, failed, elapsed;
};

static int open_socket(int type, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void finish(struct way *way, struct exchange *exchange, bool good)
{
	if (good) {
		keep_time(&way->times, now_ns() - exchange->begun);
		way->good++;
	} else {
		way->failed++;
	}
	exchange->begun = 0;
}

static void finish_connection(struct way *way, struct exchange *exchange, bool good)
{
	finish(way, exchange, good);
	close(exchange->fd);
}

static void begin_connection(struct way *way, uint32_t i)
{
	struct exchange *exchange = &way->exchanges[i];

	exchange->begun = now_ns();
	exchange->answered = false;
	exchange->fd = open_socket(SOCK_STREAM, &way->to);
	if (exchange->fd < 0)
		finish(way, exchange, false);
	else
		watch(way->epoll, exchange->fd, EPOLLOUT, i);
}

static void go_on_with_connection(struct way *way, const struct epoll_event *event)
{
	uint32_t i = event->data.u32;
	struct exchange *exchange = &way->exchanges[i];
	struct epoll_event reading = { .events = EPOLLIN, .data.u32 = i };
	char buffer[SIZE] = { 0 };
	ssize_t size;

	if (event->events & EPOLLOUT && send(exchange->fd, buffer, SIZE, MSG_NOSIGNAL) == SIZE &&
	    !epoll_ctl(way->epoll, EPOLL_CTL_MOD, exchange->fd, &reading))
		return;
	size = recv(exchange->fd, buffer, SIZE, 0);
	if (size == SIZE) {
		exchange->answered = true;
		size = recv(exchange->fd, buffer, SIZE, 0);
	}
	if (size >= 0 || errno != EAGAIN)
		finish_connection(way, exchange, size == 0 && exchange->answered);
}

/* The answer of an exchange given up may still come: an answer is known by the time that it carries. */
static void begin_datagram(struct way *way, uint32_t i)
{
	struct exchange *exchange = &way->exchanges[i];
	char buffer[SIZE] = { 0 };

	exchange->begun = now_ns();
	memcpy(buffer, &exchange->begun, sizeof(exchange->begun));
	send(exchange->fd, buffer, SIZE, 0);
}

static void go_on_with_datagram(struct way *way, const struct epoll_event *event)
{
	struct exchange *exchange = &way->exchanges[event->data.u32];
	char buffer[SIZE];

	while (recv(exchange->fd, buffer, SIZE, 0) == SIZE)
		if (exchange->begun && !memcmp(buffer, &exchange->begun, sizeof(exchange->begun)))
			finish(way, exchange, true);
}

static const char request_text[] = "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";

static void begin_request(struct way *way, uint32_t i)
{
	struct exchange *exchange = &way->exchanges[i];

	exchange->begun = now_ns();
	exchange->received = 0;
	send(exchange->fd, request_text, sizeof(request_text) - 1, MSG_NOSIGNAL);
}

/* The length of an answer of status 200 with its body; 0 while its head is not there, more than MAX_ANSWER where it is another answer. */
static size_t length_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n"), *length;

	if (!end)
		return 0;
	length = strcasestr(answer, "\r\nContent-Length:");
	if (strncmp(answer, "HTTP/1.1 200 ", 13) || !length || length > end)
		return MAX_ANSWER + 1;
	return end + 4 - answer + strtoul(length + 17, NULL, 10);
}

static void connect_for_requests(struct way *way, uint32_t i)
{
	int fd = open_socket(SOCK_STREAM, &way->to), error = 0;
	socklen_t length = sizeof(error);

	if (fd < 0 || poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000) != 1)
		die("connect");
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) || (errno = error))
		die("connect");
	way->exchanges[i].fd = fd;
	watch(way->epoll, fd, EPOLLIN, i);
}

/* What may still come of an exchange that failed is not to be taken for the next answer: it has a connection of its own. */
static void finish_request(struct way *way, struct exchange *exchange, bool good)
{
	finish(way, exchange, good);
	if (good)
		return;
	close(exchange->fd);
	connect_for_requests(way, exchange - way->exchanges);
}

static void go_on_with_request(struct way *way, const struct epoll_event *event)
{
	struct exchange *exchange = &way->exchanges[event->data.u32];
	ssize_t size = recv(exchange->fd, exchange->answer + exchange->received, MAX_ANSWER - 1 - exchange->received, 0);
	size_t length;

	if (size <= 0 || !exchange->begun) {
		fprintf(stderr, size > 0 ? "more was sent than an answer\n" : "a connection was closed\n");
		exit(1);
	}
	exchange->received += size;
	exchange->answer[exchange->received] = 0;
	length = length_of(exchange->answer);
	if (length && exchange->received == length)
		finish_request(way, exchange, true);
	else if ((length && exchange->received > length) || length >= MAX_ANSWER || exchange->received == MAX_ANSWER - 1)
		finish_request(way, exchange, false);
}

/* What differs between the kinds of exchange. */
struct kind {
	void (*begin)(struct way *way, uint32_t i);
	void (*go_on)(struct way *way, const struct epoll_event *event);
	void (*finish)(struct way *way, struct exchange *exchange, bool good);
};

static const struct kind connections = { begin_connection, go_on_with_connection, finish_connection };
static const struct kind datagrams = { begin_datagram, go_on_with_datagram, finish };
static const struct kind requests = { begin_request, go_on_with_request, finish_request };

/* Begins exchanges for TURN_NS, and sees those that are under way then to their end. */
static void take_turn(struct way *way, const struct kind *kind, uint32_t window)
{
	uint64_t begun = now_ns(), now = begun, good_before = way->good;
	struct epoll_event events[MAX_EVENTS];
	uint32_t under_way;

	if (setns(way->namespace, CLONE_NEWNET))
		die("setns");
	do {
		under_way = 0;
		for (uint32_t i = 0; i < window; i++) {
			struct exchange *exchange = &way->exchanges[i];

			if (exchange->begun && now > exchange->begun + PATIENCE)
				kind->finish(way, exchange, false);
			if (!exchange->begun && now - begun < TURN_NS)
				kind->begin(way, i);
			under_way += exchange->begun != 0;
		}
		int count = epoll_wait(way->epoll, events, MAX_EVENTS, 10);

		for (int e = 0; e < count; e++)
			kind->go_on(way, &events[e]);
		now = now_ns();
	} while (under_way || now - begun < TURN_NS);
	way->elapsed += now - begun;
	if (way->good == good_before)
		return;
	way->p50s[way->turns] = percentile(&way->times, way->good - good_before, 0.5);
	way->p99s[way->turns++] = percentile(&way->times, way->good - good_before, 0.99);
	memset(&way->times, 0, sizeof(way->times));
}

static void open_way(struct way *way, char **argument, const struct kind *kind, uint32_t window)
{
	way->namespace = open(argument[0], O_RDONLY | O_CLOEXEC);
	if (way->namespace < 0 || setns(way->namespace, CLONE_NEWNET))
		die(argument[0]);
	way->to = address_of(argument[1], argument[2]);
	way->epoll = epoll_create1(0);
	for (uint32_t i = 0; kind == &requests && i < window; i++)
		connect_for_requests(way, i);
	for (uint32_t i = 0; kind == &datagrams && i < window; i++) {
		way->exchanges[i].fd = open_socket(SOCK_DGRAM, &way->to);
		if (way->exchanges[i].fd < 0)
			die("connect");
		watch(way->epoll, way->exchanges[i].fd, EPOLLIN, i);
	}
}

static void exchange_load(const struct kind *kind, double seconds, uint32_t window, uint32_t count, char **arguments)
{
	static struct way ways[MAX_WAYS];

	for (uint32_t i = 0; i < count; i++)
		open_way(&ways[i], arguments + 3 * i, kind, window);
	for (uint32_t turn = 0; turn < MAX_TURNS && ways[count - 1].elapsed < seconds * 1e9; turn++)
		for (uint32_t i = 0; i < count; i++)
			take_turn(&ways[i], kind, window);
	for (uint32_t i = 0; i < count; i++)
		report(median(ways[i].p50s, ways[i].turns), median(ways[i].p99s, ways[i].turns), ways[i].good, ways[i].failed,
		       ways[i].elapsed);
}

static void arp_load(const char *interface, const char *address, uint64_t count)
{
	struct {
		struct ether_header ethernet;
		struct ether_arp arp;
	} __attribute__((packed)) frame = { 0 };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ARP));
	struct in_addr target = address_of(address, "0").sin_addr, own;
	struct ifreq request = { 0 };
	static struct times times;
	uint64_t begun = now_ns(), good = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("packet socket");
	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		die("MAC of the interface");
	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, request.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(frame.arp.arp_sha, request.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFADDR, &request))
		die("address of the interface");
	own = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr;
	frame.ethernet.ether_type = htons(ETH_P_ARP);
	frame.arp.arp_hrd = htons(ARPHRD_ETHER);
	frame.arp.arp_pro = htons(ETH_P_IP);
	frame.arp.arp_hln = ETH_ALEN;
	frame.arp.arp_pln = sizeof(own);
	frame.arp.arp_op = htons(ARPOP_REQUEST);
	memcpy(frame.arp.arp_spa, &own, sizeof(own));
	memcpy(frame.arp.arp_tpa, &target, sizeof(target));

	for (uint64_t i = 0; i < count; i++) {
		uint64_t sent = now_ns();
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		bool answered = false;

		if (send(fd, &frame, sizeof(frame), 0) != sizeof(frame))
			die("send");
		while (!answered && now_ns() - sent < PATIENCE && poll(&poller, 1, 1000) == 1) {
			unsigned char buffer[256];
			ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
			const struct ether_arp *arp = (const void *)(buffer + sizeof(struct ether_header));

			answered = size >= (ssize_t)sizeof(frame) && arp->arp_op == htons(ARPOP_REPLY) &&
				   !memcmp(arp->arp_spa, &target, sizeof(target));
		}
		if (!answered)
			continue;
		keep_time(&times, now_ns() - sent);
		good++;
	}
	report(percentile(&times, good, 0.5), percentile(&times, good, 0.99), good, count - good, now_ns() - begun);
}

/* SYNs, since a TCP flow lives the longest when nothing comes after the first frame: 60 s. Checksums are nobody's concern here. */
static void fill(const char *program, const char *interface, const char *address, const char *port, uint64_t count)
{
	struct {
		struct ether_header ethernet;
		struct iphdr ip;
		struct tcphdr tcp;
	} __attribute__((packed)) frame = {
		.ethernet = { .ether_dhost = { 2, 1 }, .ether_shost = { 2, 2 }, .ether_type = htons(ETH_P_IP) },
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(sizeof(frame) - ETH_HLEN) },
		.tcp = { .doff = 5, .syn = 1 },
	};
	const uint32_t flows_of_port = 50000, first_guest_port = 10000;
	struct __sk_buff context = { .ifindex = if_nametoindex(interface) };
	char out[256];
	union bpf_attr get = { .pathname = (uint64_t)(uintptr_t)program }, run = { 0 };
	uint64_t begun = now_ns(), failed = 0;

	frame.ip.daddr = address_of(address, "0").sin_addr.s_addr;
	frame.ip.saddr = htonl(0x0a000103);
	run.test.prog_fd = syscall(SYS_bpf, BPF_OBJ_GET, &get, sizeof(get));
	if ((int)run.test.prog_fd < 0)
		die(program);
	run.test.data_in = (uint64_t)(uintptr_t)&frame;
	run.test.data_size_in = sizeof(frame);
	run.test.data_out = (uint64_t)(uintptr_t)out;
	run.test.ctx_in = (uint64_t)(uintptr_t)&context;
	run.test.ctx_size_in = sizeof(context);
	for (uint64_t i = 0; i < count; i++) {
		frame.tcp.dest = htons(atoi(port) + i / flows_of_port);
		frame.tcp.source = htons(first_guest_port + i % flows_of_port);
		run.test.data_size_out = sizeof(out);
		if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &run, sizeof(run)))
			die("run the program");
		/* TC_ACT_REDIRECT: on its way to the backend. */
		failed += run.test.retval != 7;
	}
	report(0, 0, count - failed, failed, now_ns() - begun);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const struct kind *kind = !strcmp(what, "connect") ? &connections :
				  !strcmp(what, "udp")	   ? &datagrams :
				  !strcmp(what, "http")	   ? &requests :
							     NULL;
	uint32_t window = argc > 3 ? atoi(argv[3]) : 0, ways = argc > 4 ? (argc - 4) / 3 : 0;

	if (!strcmp(what, "serve-tcp") && argc == 4)
		serve_tcp(argv[2], argv[3]);
	else if (!strcmp(what, "serve-udp") && argc == 4)
		serve_udp(argv[2], argv[3]);
	else if (kind && window > 0 && window <= MAX_WINDOW && ways > 0 && ways <= MAX_WAYS && argc == (int)(4 + 3 * ways))
		exchange_load(kind, atof(argv[2]), window, ways, argv + 4);
	else if (!strcmp(what, "arp") && argc == 5)
		arp_load(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	else if (!strcmp(what, "fill") && argc == 7)
		fill(argv[2], argv[3], argv[4], argv[5], strtoull(argv[6], NULL, 10));
	else
		return 2;
	return 0;
}
