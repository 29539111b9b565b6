/* SPDX-License-Identifier: BSD-2-Clause */
/* What LUNs do: two looks at their counters, and what lies between. */
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

#define BUCKETS_MAX 256u

static double
now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
sleep_s(double s)
{
	struct timespec ts = {
	    .tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
	while (nanosleep(&ts, &ts) < 0)
		;
}

/* What a LUN does between two looks. */
struct io_rates {
	double reads, writes, read_bytes, write_bytes; /* per second */
	double read_p99_ms, write_p99_ms;              /* < 0: nothing was done */
	double in_flight;
};

/* ---- latency ------------------------------------------------------------------------------------- */

/* Buckets as the daemon lists them: where each ends, in ascending order, and how many it counts. */
struct buckets {
	double end_us[BUCKETS_MAX], count[BUCKETS_MAX];
	unsigned n;
};

static double
count_at(const json_t *list, double end_us)
{
	size_t i;
	const json_t *b;

	json_array_foreach(list, i, b) if (json_number_value(json_array_get(b, 0)) ==
	                                   end_us) return json_number_value(json_array_get(b, 1));
	return 0;
}

/* Adds what `after` counts more than `before`. A bucket that isn't listed counts nothing. */
static void
buckets_add(struct buckets *b, const json_t *before, const json_t *after)
{
	size_t i;
	const json_t *pair;

	json_array_foreach(after, i, pair)
	{
		double end = json_number_value(json_array_get(pair, 0));
		double count = json_number_value(json_array_get(pair, 1)) - count_at(before, end);
		unsigned at = 0;
		while (at < b->n && b->end_us[at] < end)
			at++;
		if (at < b->n && b->end_us[at] == end) {
			b->count[at] += count;
			continue;
		}
		if (count <= 0 || b->n == BUCKETS_MAX)
			continue;
		memmove(&b->end_us[at + 1], &b->end_us[at], (b->n - at) * sizeof b->end_us[0]);
		memmove(&b->count[at + 1], &b->count[at], (b->n - at) * sizeof b->count[0]);
		b->end_us[at] = end;
		b->count[at] = count;
		b->n++;
	}
}

/* In ms; < 0: nothing was counted. */
static double
p99_ms(const struct buckets *b)
{
	double total = 0, sum = 0;

	for (unsigned i = 0; i < b->n; i++)
		total += b->count[i];
	for (unsigned i = 0; i < b->n; i++) {
		sum += b->count[i];
		if (sum >= 0.99 * total && total > 0)
			return b->end_us[i] / 1000;
	}
	return -1;
}

/* ---- rates ----------------------------------------------------------------------------------------- */

static double
rate(const json_t *before, const json_t *after, const char *key, double seconds)
{
	double d = get_number(after, key) - get_number(before, key);
	return d > 0 && seconds > 0 ? d / seconds : 0; /* the daemon may have been restarted */
}

static void
io_rates(const json_t *before, const json_t *after, double seconds, struct io_rates *ret)
{
	const json_t *b = json_object_get(before, "stats"), *a = json_object_get(after, "stats");
	const json_t *read_b = json_object_get(b, "read_latency_us");
	const json_t *read_a = json_object_get(a, "read_latency_us");
	const json_t *write_b = json_object_get(b, "write_latency_us");
	const json_t *write_a = json_object_get(a, "write_latency_us");
	struct buckets reads = {.n = 0}, writes = {.n = 0};

	*ret = (struct io_rates){
	    .reads = rate(b, a, "reads", seconds),
	    .writes = rate(b, a, "writes", seconds),
	    .read_bytes = rate(b, a, "read_bytes", seconds),
	    .write_bytes = rate(b, a, "write_bytes", seconds),
	    .in_flight = get_number(a, "in_flight"),
	};
	buckets_add(&reads, read_b, read_a);
	buckets_add(&writes, write_b, write_a);
	ret->read_p99_ms = p99_ms(&reads);
	ret->write_p99_ms = p99_ms(&writes);
}

/* The LUN's counters of the look before; usually they are in the same place. */
static const json_t *
earlier(const json_t *before, size_t place, const json_t *lun)
{
	const json_t *o = json_array_get(before, place);
	const char *name = get_text(lun, "name");

	return strcmp(get_text(o, "name"), name) == 0 ? o : find_named(before, name);
}

/* ---- the verb ------------------------------------------------------------------------------------------ */

static void
add_ms(struct table *t, double ms)
{
	if (ms < 0)
		table_add(t, "-");
	else
		table_addf(t, ms < 10 ? "%.2f" : "%.0f", ms);
}

static void
add_rate(struct table *t, double v)
{
	char text[32];

	text_rate(v, text, sizeof text);
	table_add(t, text);
}

static void
add_bytes(struct table *t, double v)
{
	char text[32];

	text_format_size((uint64_t)(v > 0 ? v : 0), text, sizeof text);
	table_add(t, text);
}

static void
print_interval(const json_t *before, const json_t *after, double seconds)
{
	static const struct column columns[] = {{"LUN", false, false}, {"r/s", true, false},
	    {"w/s", true, false}, {"read B/s", true, false}, {"write B/s", true, false},
	    {"r p99 ms", true, false}, {"w p99 ms", true, false}, {"queue", true, false}};
	struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
	size_t i;
	const json_t *l;

	json_array_foreach(after, i, l)
	{
		struct io_rates r;
		io_rates(earlier(before, i, l), l, seconds, &r);
		table_add(t, get_text(l, "name"));
		add_rate(t, r.reads);
		add_rate(t, r.writes);
		add_bytes(t, r.read_bytes);
		add_bytes(t, r.write_bytes);
		add_ms(t, r.read_p99_ms);
		add_ms(t, r.write_p99_ms);
		table_addf(t, "%.0f", r.in_flight);
	}
	if (table_rows(t) > 0)
		table_print(t, true);
	else
		puts("There are no LUNs.");
	table_destroy(t);
	fflush(stdout);
}

static json_t *
rates_json(const json_t *before, const json_t *after, double seconds)
{
	json_t *list = json_array();
	size_t i;
	const json_t *l;

	json_array_foreach(after, i, l)
	{
		struct io_rates r;
		io_rates(earlier(before, i, l), l, seconds, &r);
		json_t *o = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "name",
		    get_text(l, "name"), "seconds", seconds, "reads_per_s", r.reads, "writes_per_s",
		    r.writes, "read_bytes_per_s", r.read_bytes, "write_bytes_per_s", r.write_bytes,
		    "in_flight", r.in_flight);
		if (r.read_p99_ms >= 0)
			json_object_set_new(o, "read_p99_ms", json_real(r.read_p99_ms));
		if (r.write_p99_ms >= 0)
			json_object_set_new(o, "write_p99_ms", json_real(r.write_p99_ms));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
look(struct tool *t, int *ret_exit)
{
	return tool_call(t, "lun.list", json_pack("{s:b}", "latency", 1), ret_exit);
}

int
run_iostat(struct tool *t, const struct verb *v, json_t *params)
{
	json_int_t every = get_int(params, "seconds"), count = get_int(params, "count");
	bool forever =
	    json_object_get(params, "seconds") != NULL && json_object_get(params, "count") == NULL;
	double seconds = every > 0 ? (double)every : 1;
	int status;

	(void)v;
	if (json_object_get(params, "seconds") != NULL && every == 0)
		return tool_error(t, TOOL_USAGE, "iostat: SECONDS is at least 1");
	json_t *before = look(t, &status);
	if (before == NULL)
		return status;
	double then = now_s();
	for (json_int_t i = 0; forever || i < (count > 0 ? count : 1); i++) {
		sleep_s(seconds);
		json_t *after = look(t, &status);
		if (after == NULL)
			break;
		double now = now_s();
		if (t->json) {
			json_t *rates = rates_json(before, after, now - then);
			tool_print_json(rates, forever || count > 1);
			json_decref(rates);
		} else {
			if (i > 0)
				putchar('\n');
			print_interval(before, after, now - then);
		}
		json_decref(before);
		before = after;
		then = now;
	}
	json_decref(before);
	return status;
}
