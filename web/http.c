/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests and answers. libmicrohttpd reads HTTP, with limits; here is decided who may ask (Host), how (GET
 * and HEAD, without a body), and what.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "report/report.h"
#include "web/web.h"

#define THREADS 4u               /* one that waits for terraced doesn't stop the others */
#define TIMEOUT_S 10u            /* without a byte of a request */
#define MEMORY_BYTES (16u << 10) /* of a connection: what a request's head may have, about */
#define LUN_MAX 1024u
#define BACKLOG 64

struct http {
	const struct options *options;
	struct source *source;
	int fd;
	struct sockaddr_storage address; /* the real one */
	struct MHD_Daemon *mhd;
};

/* An answer being made: text for a person until something better is known. */
struct answer {
	unsigned status;
	const char *type, *csp;
	char *text; /* owned, or NULL: `fixed` */
	size_t len;
	const char *fixed;
	const char *header, *value; /* one more; NULL: none */
};

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_HTML "text/html; charset=utf-8"
#define TYPE_SVG "image/svg+xml"
#define CSP_NONE "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#define CSP_PAGE                                                                                   \
	CSP_NONE "; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
/* A picture has its style in it, and may be looked at alone. */
#define CSP_SVG CSP_NONE "; style-src 'unsafe-inline'"

static void
fix(struct answer *a, unsigned status, const char *text)
{
	*a = (struct answer){.status = status,
	    .type = TYPE_TEXT,
	    .csp = CSP_NONE,
	    .fixed = text,
	    .len = strlen(text)};
}

/* Takes `text`; NULL: there was no memory for it. */
static void
give(struct answer *a, unsigned status, const char *type, const char *csp, char *text, size_t len)
{
	if (text == NULL) {
		fix(a, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
		return;
	}
	*a = (struct answer){.status = status, .type = type, .csp = csp, .text = text, .len = len};
}

static void
give_reason(struct answer *a, enum source_result r, const char *reason)
{
	char *text = NULL;
	int len = asprintf(&text, "%s\n", reason);

	give(a,
	    r == SOURCE_NONE   ? MHD_HTTP_NOT_FOUND
	    : r == SOURCE_DOWN ? MHD_HTTP_SERVICE_UNAVAILABLE
	                       : MHD_HTTP_BAD_GATEWAY,
	    TYPE_TEXT, CSP_NONE, len >= 0 ? text : NULL, len >= 0 ? (size_t)len : 0);
}

/* ---- what there is ---------------------------------------------------------------------------------------- */

static void
page_or_live(struct http *h, const char *lun, struct answer *a, bool whole)
{
	char reason[512] = "";
	json_t *overview = NULL, *targets = NULL;
	size_t len = 0;
	char *text;

	if (source_ask(h->source, "overview", NULL, &overview, reason, sizeof reason) ==
	    SOURCE_OK) {
		char ignored[512];
		(void)source_ask(h->source, "target.list", NULL, &targets, ignored, sizeof ignored);
	}
	const struct report_page page = {
	    .overview = overview, .targets = targets, .problem = reason, .lun = lun};
	text = whole ? report_page_html(&page, &len) : report_live_html(&page, &len);
	give(a, overview != NULL ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TYPE_HTML, CSP_PAGE,
	    text, len);
	if (!whole) {
		a->header = "X-Terrace";
		a->value = "live";
	}
	source_release(h->source, overview);
	source_release(h->source, targets);
}

static void
get_page(struct http *h, const char *lun, struct answer *a)
{
	page_or_live(h, lun, a, true);
}

static void
get_live(struct http *h, const char *lun, struct answer *a)
{
	page_or_live(h, lun, a, false);
}

static void
get_style(struct http *h, const char *lun, struct answer *a)
{
	(void)h;
	(void)lun;
	fix(a, MHD_HTTP_OK, asset_style);
	a->type = "text/css; charset=utf-8";
}

static void
get_script(struct http *h, const char *lun, struct answer *a)
{
	(void)h;
	(void)lun;
	fix(a, MHD_HTTP_OK, asset_script);
	a->type = "text/javascript; charset=utf-8";
}

static void
get_icon(struct http *h, const char *lun, struct answer *a)
{
	(void)h;
	(void)lun;
	fix(a, MHD_HTTP_OK, asset_icon);
	a->type = TYPE_SVG;
}

/* What a method answers, as `render` shows it. */
static void
rendered(struct http *h, const char *method, const char *lun, struct answer *a,
    char *(*render)(const json_t *answer, size_t *ret_len), const char *type, const char *csp)
{
	char reason[512];
	json_t *answer;
	size_t len = 0;
	enum source_result r = source_ask(h->source, method, lun, &answer, reason, sizeof reason);

	if (r != SOURCE_OK) {
		give_reason(a, r, reason);
		return;
	}
	char *text = render(answer, &len);
	source_release(h->source, answer);
	give(a, MHD_HTTP_OK, type, csp, text, len);
}

static void
get_metrics(struct http *h, const char *lun, struct answer *a)
{
	(void)lun;
	rendered(h, "overview", NULL, a, report_metrics, REPORT_METRICS_TYPE, CSP_NONE);
}

static void
get_stats(struct http *h, const char *lun, struct answer *a)
{
	(void)lun;
	rendered(h, "overview", NULL, a, report_json, "application/json", CSP_NONE);
}

static void
get_latency(struct http *h, const char *lun, struct answer *a)
{
	rendered(h, "lun.latency", lun, a, report_latency_svg, TYPE_SVG, CSP_SVG);
}

static void
get_activity(struct http *h, const char *lun, struct answer *a)
{
	rendered(h, "lun.latency", lun, a, report_activity_svg, TYPE_SVG, CSP_SVG);
}

static void
get_heatmap(struct http *h, const char *lun, struct answer *a)
{
	if (lun != NULL)
		rendered(h, "lun.heatmap", lun, a, report_heatmap_svg, TYPE_SVG, CSP_SVG);
	else
		fix(a, MHD_HTTP_BAD_REQUEST, "say which LUN: ?lun=NAME\n");
}

/* For monitors: the first word and the status say it. */
static void
get_healthz(struct http *h, const char *lun, struct answer *a)
{
	char reason[512];
	json_t *answer;
	size_t len = 0;
	enum source_result r =
	    source_ask(h->source, "health", NULL, &answer, reason, sizeof reason);

	(void)lun;
	if (r != SOURCE_OK) {
		give_reason(a, r, reason);
		return;
	}
	const char *state = json_string_value(json_object_get(answer, "state"));
	bool serves = state != NULL && strcmp(state, "failed") != 0;
	char *text = report_health_text(answer, &len);
	source_release(h->source, answer);
	give(
	    a, serves ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TYPE_TEXT, CSP_NONE, text, len);
}

static const struct {
	const char *path;
	void (*get)(struct http *h, const char *lun, struct answer *a);
} routes[] = {
    {"/", get_page},
    {"/live", get_live},
    {"/style.css", get_style},
    {"/page.js", get_script},
    {"/icon.svg", get_icon},
    {"/metrics", get_metrics},
    {"/healthz", get_healthz},
    {"/stats.json", get_stats},
    {"/latency.svg", get_latency},
    {"/activity.svg", get_activity},
    {"/heatmap.svg", get_heatmap},
};

/* ---- requests ---------------------------------------------------------------------------------------------- */

struct host_look {
	const char *value;
	unsigned count;
};

static enum MHD_Result
look_at_header(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct host_look *look = ctx;

	(void)kind;
	if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
		look->value = value;
		look->count++;
	}
	return MHD_YES;
}

/* True: there is nothing to ask for, `a` says why. */
static bool
is_refused(struct http *h, struct MHD_Connection *c, const char *method, struct answer *a)
{
	struct host_look host = {.value = NULL};
	const char *length =
	    MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		fix(a, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD: nothing is changed here\n");
		a->header = MHD_HTTP_HEADER_ALLOW;
		a->value = "GET, HEAD";
		return true;
	}
	(void)MHD_get_connection_values(c, MHD_HEADER_KIND, look_at_header, &host);
	if (host.count != 1) {
		fix(a, MHD_HTTP_BAD_REQUEST, "a request has one Host\n");
		return true;
	}
	if (!host_is_ours(host.value, h->options->hosts, h->options->host_count)) {
		fix(a, MHD_HTTP_MISDIRECTED_REQUEST,
		    "this isn't that host; terrace-web --host NAME admits a name\n");
		return true;
	}
	if ((length != NULL && strcmp(length, "0") != 0) ||
	    MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) !=
	        NULL) {
		fix(a, MHD_HTTP_CONTENT_TOO_LARGE, "a request has no body here\n");
		return true;
	}
	return false;
}

/* The parameter; false: it can't be a name. */
static bool
get_lun(struct MHD_Connection *c, const char **ret)
{
	const char *lun = NULL;
	size_t len = 0;

	*ret = NULL;
	if (MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, "lun", 3, &lun, &len) !=
	    MHD_YES)
		return true;
	if (lun == NULL || len == 0 || len > LUN_MAX || strlen(lun) != len)
		return false;
	*ret = lun;
	return true;
}

static void
find(struct http *h, struct MHD_Connection *c, const char *url, struct answer *a)
{
	const char *lun;

	if (!get_lun(c, &lun)) {
		fix(a, MHD_HTTP_BAD_REQUEST, "that is no name of a LUN\n");
		return;
	}
	for (unsigned i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(url, routes[i].path) == 0) {
			routes[i].get(h, lun, a);
			return;
		}
	}
	fix(a, MHD_HTTP_NOT_FOUND, "there is nothing of that name\n");
}

static enum MHD_Result
send_answer(struct MHD_Connection *c, struct answer *a)
{
	struct MHD_Response *r =
	    a->text != NULL
	        ? MHD_create_response_from_buffer(a->len, a->text, MHD_RESPMEM_MUST_FREE)
	        : MHD_create_response_from_buffer(
	              a->len, (void *)(uintptr_t)a->fixed, MHD_RESPMEM_PERSISTENT);
	const char *const headers[][2] = {{MHD_HTTP_HEADER_CONTENT_TYPE, a->type},
	    {"Content-Security-Policy", a->csp}, {"X-Content-Type-Options", "nosniff"},
	    {"X-Frame-Options", "DENY"}, {"Referrer-Policy", "no-referrer"},
	    {"Cross-Origin-Resource-Policy", "same-origin"},
	    {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"}, {a->header, a->value}};

	if (r == NULL) {
		free(a->text);
		return MHD_NO;
	}
	for (unsigned i = 0; i < sizeof headers / sizeof headers[0]; i++)
		if (headers[i][0] != NULL)
			(void)MHD_add_response_header(r, headers[i][0], headers[i][1]);
	enum MHD_Result result = MHD_queue_response(c, a->status, r);
	MHD_destroy_response(r);
	return result;
}

/* Called once with the head and once more when the request is whole. */
static enum MHD_Result
handle(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_len, void **state)
{
	static char seen;
	struct http *h = ctx;
	struct answer a;

	(void)version;
	(void)upload;
	if (*state == NULL) {
		*state = &seen;
		return is_refused(h, c, method, &a) ? send_answer(c, &a) : MHD_YES;
	}
	if (*upload_len > 0) { /* none was announced */
		*upload_len = 0;
		return MHD_NO;
	}
	find(h, c, url, &a);
	return send_answer(c, &a);
}

/* ---- life cycle -------------------------------------------------------------------------------------------- */

static void
format_address(const struct sockaddr_storage *a, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)a;
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		snprintf(buf, cap, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const void *)a;
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		snprintf(buf, cap, "%s:%u", host, ntohs(v4->sin_port));
	}
}

static int
listen_at(struct http *h)
{
	const struct sockaddr_storage *a = &h->options->listen;
	socklen_t len =
	    a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	socklen_t real = sizeof h->address;
	int on = 1;

	h->fd = socket(a->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	(void)setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->ss_family == AF_INET6)
		(void)setsockopt(h->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(h->fd, (const struct sockaddr *)a, len) < 0 || listen(h->fd, BACKLOG) < 0 ||
	    getsockname(h->fd, (struct sockaddr *)&h->address, &real) < 0)
		return -errno;
	return 0;
}

int
http_open(const struct options *o, struct source *s, struct http **ret, char *reason, size_t cap)
{
	struct http *h = calloc(1, sizeof *h);
	char address[80];

	if (h == NULL) {
		snprintf(reason, cap, "out of memory");
		return -ENOMEM;
	}
	h->options = o;
	h->source = s;
	h->fd = -1;
	int rc = listen_at(h);
	if (rc < 0) {
		format_address(&o->listen, address, sizeof address);
		snprintf(reason, cap, "can't listen at %s: %s", address, strerror(-rc));
		http_close(h);
		return rc;
	}
	*ret = h;
	return 0;
}

void
http_url(const struct http *h, char *buf, size_t cap)
{
	char address[80];

	format_address(&h->address, address, sizeof address);
	snprintf(buf, cap, "http://%s/", address);
}

/* What peers did wrong is no news, and would fill the journal. */
__attribute__((format(printf, 2, 0))) static void
drop_message(void *ctx, const char *fmt, va_list ap)
{
	(void)ctx;
	(void)fmt;
	(void)ap;
}

int
http_serve(struct http *h)
{
	unsigned connections =
	    h->options->connections < THREADS ? THREADS : h->options->connections;

	ASSERT(h->mhd == NULL && h->fd >= 0);
	h->mhd = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
	    handle, h, MHD_OPTION_EXTERNAL_LOGGER, drop_message, NULL, MHD_OPTION_LISTEN_SOCKET,
	    h->fd, MHD_OPTION_THREAD_POOL_SIZE, THREADS, MHD_OPTION_CONNECTION_LIMIT, connections,
	    MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)MEMORY_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	return h->mhd != NULL ? 0 : -ENOMEM;
}

void
http_close(struct http *h)
{
	if (h == NULL)
		return;
	if (h->mhd != NULL)
		MHD_stop_daemon(h->mhd); /* and closes the socket */
	else if (h->fd >= 0)
		close(h->fd);
	free(h);
}
