/* SPDX-License-Identifier: BSD-2-Clause */
/* Logins as events: no peer decides how many are noted, remembered, or what a shell is given. */
#include "daemon/logins.h"
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET "iqn.2026-11.example:t"

struct world {
	struct loop_sim *sim;
	struct loop *loop;
	struct health *health;
	struct logins *logins;
	struct conf conf;
	struct conf_target target;
	struct conf_group group;
	struct conf_chap chap;
	struct loop_timer far; /* the world's time passes when there is something to wait for */
};

static void
never(struct loop_timer *t)
{
	(void)t;
	fail();
}

static void
wait_far(void *ctx)
{
	struct world *w = ctx;
	loop_timer_set(&w->far, 1000000000000000000ull);
}

static int
setup(void **state)
{
	struct loop_sim_cfg cfg = {.seed = 1, .loops = 1, .buf_bytes = 1 << 20};
	struct world *w = calloc(1, sizeof *w);
	assert_non_null(w);
	assert_int_equal(loop_sim_create(&cfg, &w->sim), 0);
	w->loop = loop_sim_loop(w->sim, 0);
	struct health_args args = {.loop = w->loop};
	assert_int_equal(health_create(&args, &w->health), 0);
	assert_int_equal(logins_create(w->health, w->loop, &w->logins), 0);
	w->group = (struct conf_group){.name = (char *)(uintptr_t) "host"};
	w->chap = (struct conf_chap){.name = (char *)(uintptr_t) "secretary"};
	w->target = (struct conf_target){.name = (char *)(uintptr_t)TARGET,
	    .groups = &w->group,
	    .group_count = 1,
	    .chaps = &w->chap,
	    .chap_count = 1};
	w->conf = (struct conf){.targets = &w->target, .target_count = 1};
	loop_timer_init(&w->far, w->loop, never);
	loop_sim_call(w->loop, wait_far, w);
	*state = w;
	return 0;
}

static void
ignore(void *ctx)
{
	(void)ctx;
}

static void
stop(void *ctx)
{
	struct world *w = ctx;
	loop_timer_cancel(&w->far);
	health_stop(w->health, ignore, NULL);
}

static int
teardown(void **state)
{
	struct world *w = *state;
	loop_sim_call(w->loop, stop, w);
	logins_destroy(w->logins);
	health_destroy(w->health);
	loop_sim_destroy(w->sim);
	free(w);
	return 0;
}

struct given {
	struct world *w;
	struct iscsi_event e;
	unsigned times;
};

static void
give(void *ctx)
{
	struct given *g = ctx;
	for (unsigned i = 0; i < g->times; i++)
		logins_event(g->w->logins, &g->e);
}

static void
happens(struct world *w, enum iscsi_event_kind kind, const char *initiator, const char *target,
    const char *address, const char *reason, uint16_t status, unsigned times)
{
	struct given g = {
	    .w = w, .e = {kind, initiator, target, address, "", reason, status, 1}, .times = times};
	loop_sim_call(w->loop, give, &g);
}

static void
refused(struct world *w, const char *initiator, const char *reason, uint16_t status)
{
	happens(w, ISCSI_EVENT_REFUSED, initiator, TARGET, "192.0.2.9:4711", reason, status, 1);
}

static void
tick(void *ctx)
{
	logins_tick(((struct world *)ctx)->logins);
}

/* Time passes, with the looks that the monitor would have. */
static void
pass(struct world *w, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		loop_sim_call(w->loop, tick, w);
		loop_sim_run(w->sim, loop_sim_now_ns(w->sim) + 1000000000ull, 1000);
	}
}

static size_t
events(struct world *w, const char *kind)
{
	json_t *a = health_events(w->health, 0, 1000), *e;
	size_t i, n = 0;
	json_array_foreach(json_object_get(a, "events"), i, e) n +=
	    strcmp(json_string_value(json_object_get(e, "event")), kind) == 0;
	json_decref(a);
	return n;
}

/* The action for the latest refusal, in a static buffer. */
static const char *
action(struct world *w)
{
	static char buf[2048];
	json_t *list = logins_refused(w->logins, &w->conf);
	snprintf(buf, sizeof buf, "%s",
	    json_string_value(json_object_get(json_array_get(list, 0), "action")));
	json_decref(list);
	return buf;
}

static void
the_action_fits_the_reason(void **state)
{
	struct world *w = *state;
	refused(w, "iqn.1998-01.com.vmware:esx1", "not admitted to the target", 0x0203);
	assert_string_equal(action(w),
	    "terracectl group create esx1 --target '" TARGET
	    "' --initiator 'iqn.1998-01.com.vmware:esx1' && terracectl group map esx1 LUN");
	refused(w, "iqn.2026-11.example:host", "not admitted to the target", 0x0203);
	assert_non_null(strstr(action(w), "group create host-2 ")); /* there is a "host" */
	refused(w, "iqn.x:$(rm)", "CHAP: unknown user or wrong secret", 0x0201);
	assert_non_null(strstr(action(w), "terracectl chap set secretary secret"));
	happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", "iqn.z:none", "[2001:db8::1]:3",
	    "no such target", 0x0203, 1);
	assert_non_null(strstr(action(w), "terracectl connect"));
	happens(w, ISCSI_EVENT_REFUSED, "", "", "[2001:db8::1]:3", "address not allowed", 0, 1);
	assert_non_null(strstr(action(w), "allow 2001:db8::1 ;"));
	refused(w, "iqn.x:y", "InitiatorName is not an iSCSI name", 0x0200);
	assert_string_equal(action(w), "");
}

static void
names_of_peers_are_quoted_for_the_shell(void **state)
{
	struct world *w = *state;
	char longest[ISCSI_NAME_MAX + 1];

	refused(w, "iqn.x:a'b;$(reboot)`id`", "not admitted to the target", 0x0203);
	assert_non_null(strstr(action(w), "--initiator 'iqn.x:a'\\''b;$(reboot)`id`' &&"));
	assert_non_null(strstr(action(w), "group create abrebootid "));
	memset(longest, '\'', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	refused(w, longest, "not admitted to the target", 0x0203);
	unsigned quotes = 0; /* outside of \': they come in pairs */
	for (const char *p = action(w); *p != '\0'; p++) {
		if (p[0] == '\\')
			p++;
		else
			quotes += *p == '\'';
	}
	assert_int_equal(quotes % 2, 0);
}

static void
the_same_refusal_is_one_row_and_one_event(void **state)
{
	struct world *w = *state;
	happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", TARGET, "192.0.2.9:1", "no", 0x0203, 5);
	happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", TARGET, "192.0.2.9:2", "no", 0x0203, 5);
	json_t *list = logins_refused(w->logins, &w->conf);
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "count")), 10);
	json_decref(list);
	assert_int_equal(events(w, "refused"), 1);
}

static void
a_peer_cannot_fill_what_is_remembered(void **state)
{
	struct world *w = *state;
	char name[64];
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "iqn.x:%u", i);
		refused(w, name, "no", 0x0203);
		happens(w, ISCSI_EVENT_LOGIN, name, TARGET, "192.0.2.9:1", "", 0, 1);
	}
	json_t *list = logins_refused(w->logins, &w->conf);
	assert_int_equal(json_array_size(list), LOGINS_REFUSED_MAX);
	json_decref(list);
	assert_in_range(events(w, "refused"), 1, 10);
	assert_in_range(events(w, "login"), 50, 100);
	pass(w, 300);
	refused(w, "iqn.later", "no", 0x0203);
	json_t *a = health_events(w->health, 0, 1);
	const char *text = json_string_value(
	    json_object_get(json_array_get(json_object_get(a, "events"), 0), "text"));
	assert_non_null(strstr(text, "990 like this weren't noted"));
	json_decref(a);
}

static void
a_flood_is_a_condition_until_a_minute_is_quiet(void **state)
{
	struct world *w = *state;
	happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", TARGET, "192.0.2.9:1", "no", 0x0203,
	    LOGINS_FLOOD_PER_MINUTE);
	assert_string_equal(health_state(w->health), "ok");
	refused(w, "iqn.x:y", "no", 0x0203);
	assert_string_equal(health_state(w->health), "degraded");
	for (unsigned i = 0; i < 3; i++) { /* it goes on */
		pass(w, 60);
		assert_string_equal(health_state(w->health), "degraded");
		happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", TARGET, "192.0.2.9:1", "no", 0x0203, 40);
	}
	pass(w, 125);
	assert_string_equal(health_state(w->health), "ok");
	for (unsigned i = 0; i < 20; i++) { /* slowly: 20 a minute */
		happens(w, ISCSI_EVENT_REFUSED, "iqn.x:y", TARGET, "192.0.2.9:1", "no", 0x0203, 10);
		pass(w, 30);
	}
	assert_string_equal(health_state(w->health), "ok");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(the_action_fits_the_reason),
	    TEST(names_of_peers_are_quoted_for_the_shell),
	    TEST(the_same_refusal_is_one_row_and_one_event),
	    TEST(a_peer_cannot_fill_what_is_remembered),
	    TEST(a_flood_is_a_condition_until_a_minute_is_quiet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
