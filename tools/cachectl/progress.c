/* SPDX-License-Identifier: BSD-2-Clause */
/* What takes its time says how far it is, on stderr. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

#define LOOK_MS 500u
#define LINE_S 5.0 /* where a line can't be drawn again */

double
progress_now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void
progress_begin(struct progress *p, const struct tool *t, const char *what, double total)
{
	double now = progress_now_s();
	*p = (struct progress){
	    .what = what, .silent = t->json, .began_s = now, .told_s = now, .total = total};
}

void
progress_tell(struct progress *p, double left)
{
	double now = progress_now_s(), past = now - p->began_s;
	bool terminal = isatty(STDERR_FILENO);
	char of[32], rest[32], eta[32] = "";

	if (p->silent || (!terminal && now - p->told_s < LINE_S))
		return;
	p->told_s = now;
	if (left > p->total) /* written to meanwhile */
		p->total = left;
	double done = p->total - left;
	if (done > 0 && past > 0.5 && left > 0)
		text_duration((uint64_t)(left * past / done) + 1, eta, sizeof eta);
	text_format_size((uint64_t)p->total, of, sizeof of);
	text_format_size((uint64_t)left, rest, sizeof rest);
	fprintf(stderr, "%s%s: %s of %s left%s%s%s", terminal ? "\r\033[K" : "", p->what, rest, of,
	    eta[0] != '\0' ? ", about " : "", eta, terminal ? "" : "\n");
	fflush(stderr);
	p->drawn = terminal;
}

void
progress_end(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	p->drawn = false;
}

json_t *
progress_call(struct progress *p, struct tool *t, const char *method, json_t *params,
    double (*left)(struct tool *t, const json_t *params), int *ret_exit)
{
	struct answer a;
	char reason[5000];

	struct client *worker = client_open(t->control, reason, sizeof reason);
	if (worker == NULL) {
		*ret_exit = tool_error(t, TOOL_UNREACHABLE, "%s", reason);
		return NULL;
	}
	bool asked = client_send(worker, method, json_incref(params), &a);
	while (asked && !client_wait(worker, LOOK_MS, &a)) {
		double rest = left(t, params);
		if (rest >= 0)
			progress_tell(p, rest);
	}
	progress_end(p);
	json_t *result = json_incref(a.result);
	*ret_exit = result != NULL ? TOOL_DONE : tool_fail(t, &a);
	answer_fini(&a);
	client_close(worker);
	return result;
}
