/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-web: a page and metrics of a running terraced, for browsers and collectors. A client of the
 * control socket that asks and never changes; it knows nothing of the target but its answers, which
 * report/ makes into what is shown. What comes over HTTP is hostile.
 *
 * Thread rule: the source may be asked by any thread; everything else is said per function.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEB_HOSTS_MAX 16u
#define WEB_DEFAULT_LISTEN "127.0.0.1:9260"
#define WEB_CONTROL "/run/terrace/control.sock"
#define WEB_USER "terrace-web"

/* ---- options.c ----------------------------------------------------------------------------------- */

struct options {
	const char *control; /* path of the control socket */
	struct sockaddr_storage listen;
	const char
	    *hosts[WEB_HOSTS_MAX]; /* that requests may name, beside addresses and localhost */
	unsigned host_count;
	const char *user; /* to become when started by root; NULL: WEB_USER */
	unsigned connections;
};
/* Goes on (-1), or the exit status: --help, --version, a wrong option (told on stderr). */
int options_parse(int argc, char **argv, struct options *ret);
/* "127.0.0.1:9260", "[::1]:9260"; port 0: any. 0 or -EINVAL. */
int options_parse_address(const char *text, struct sockaddr_storage *ret);

/* ---- source.c: the control socket ------------------------------------------------------------------- */

struct source;

int source_create(const char *path, struct source **ret); /* 0, -ENAMETOOLONG, -ENOMEM */
void source_destroy(struct source *s);                    /* accepts NULL */

enum source_result {
	SOURCE_OK,
	SOURCE_NONE,   /* terraced has no such object */
	SOURCE_DOWN,   /* it can't be asked, or doesn't answer in time */
	SOURCE_FAILED, /* it answered with another error */
};
/*
 * Asks a method that takes no parameter, or only `lun` (NULL: without). Answers are kept for
 * SOURCE_FRESH_MS and shared: a page that a hundred browsers look at asks once. *ret_answer,
 * with SOURCE_OK only: for source_release(), and to be looked at only: others do, too. Otherwise `reason` is a sentence.
 * Blocks for at most some seconds.
 */
#define SOURCE_FRESH_MS 900u
enum source_result source_ask(struct source *s, const char *method, const char *lun,
    json_t **ret_answer, char *reason, size_t cap);
/* Gives an answer back. Accepts NULL. */
void source_release(struct source *s, json_t *answer);

/* ---- http.c ------------------------------------------------------------------------------------------- */

struct http;

/*
 * Binds and listens, which may need rights that are given up before http_serve(). Takes nothing: options
 * and source stay until http_close(). 0 or -errno, and a sentence.
 */
int http_open(
    const struct options *o, struct source *s, struct http **ret, char *reason, size_t cap);
/* "http://127.0.0.1:9260/" */
void http_url(const struct http *h, char *buf, size_t cap);
/* Answers from threads of its own from now on. 0 or -ENOMEM. */
int http_serve(struct http *h);
/* Requests under way end first. Accepts NULL. */
void http_close(struct http *h);

/* ---- host.c: who a request is for ----------------------------------------------------------------------- */

/*
 * True if the value of Host is this server's: an address, localhost, or one of the names, each with any
 * port. A page of somebody's whose name was made to resolve to this machine names itself there, so its
 * scripts can't read here (DNS rebinding).
 */
bool host_is_ours(const char *host, const char *const *names, unsigned name_count);

/* ---- assets.c ---------------------------------------------------------------------------------------------- */

extern const char asset_style[], asset_script[], asset_icon[];

#endif
