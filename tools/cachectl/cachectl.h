/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cachectl: the verbs of terracectl's group "cache". They are rows of its table and use what it has; these
 * are those that do more than ask and print. The offline ones (offline.c) open an SSD that no daemon has.
 */
#ifndef CACHECTL_CACHECTL_H
#define CACHECTL_CACHECTL_H

#include "tools/terracectl/terracectl.h"

int run_cache_status(struct tool *t, const struct verb *v, json_t *params); /* look.c */
int run_cache_stats(struct tool *t, const struct verb *v, json_t *params);
int run_cache_advise(struct tool *t, const struct verb *v, json_t *params);
int run_cache_top(struct tool *t, const struct verb *v, json_t *params);
int run_cache_get(struct tool *t, const struct verb *v, json_t *params);
int run_cache_order(struct tool *t, const struct verb *v, json_t *params);  /* orders.c */
int run_cache_freeze(struct tool *t, const struct verb *v, json_t *params); /* freeze.c */
int run_cache_accept(struct tool *t, const struct verb *v, json_t *params); /* accept.c */
int run_cache_resize(struct tool *t, const struct verb *v, json_t *params); /* resize.c */
int run_cache_set(struct tool *t, const struct verb *v, json_t *params);    /* set.c */

int run_cache_check(struct tool *t, const struct verb *v, json_t *params); /* offline.c */
int run_cache_dump(struct tool *t, const struct verb *v, json_t *params);
int run_cache_format(struct tool *t, const struct verb *v, json_t *params); /* format.c */

/* How much of what a LUN read lately came from a cache, in percent; < 0: nothing was read. */
double cache_hit_percent(const json_t *lun);

/* ---- progress (progress.c): a line that is redrawn on a terminal, else one every few seconds ------- */

struct progress {
	const char *what; /* "flush" */
	bool silent, drawn;
	double began_s, told_s;
	double total; /* bytes */
};
void progress_begin(struct progress *p, const struct tool *t, const char *what, double total);
void progress_tell(struct progress *p, double left);
void progress_end(struct progress *p);
double progress_now_s(void);
/*
 * As tool_call(), for what takes its time: one connection waits for the answer, while left() asks another one how far
 * it is (bytes; < 0: it isn't known, nothing is drawn). `p` is begun, and ended here; `params` stays the caller's.
 */
json_t *progress_call(struct progress *p, struct tool *t, const char *method, json_t *params,
    double (*left)(struct tool *t, const json_t *params), int *ret_exit);

#endif
