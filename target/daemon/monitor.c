/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/caches.h"
#include "daemon/change.h"

#define MS_NS 1000000ull
#define ERRORS_QUIET_NS (600 * 1000 * MS_NS) /* HEALTH_STORE_ERRORS ends after */
#define MODES_AGAIN_MS 30000u
#define RATES_NS (4 * 1000 * MS_NS)
#define READ_ANYWAY_NS (60 * 1000 * MS_NS) /* files that are included aren't in the fingerprint */
#define LUNS_A_TURN 64u                    /* that are looked at: initiators wait for the turn */
#define VMWARE "iqn.1998-01.com.vmware:"

/* What was seen of a LUN. */
struct seen {
	char *name;
	bool there; /* in this look */
	uint64_t size_bytes;
	uint64_t errors;        /* of the store, counted so far … */
	uint64_t errors_before; /* … and when the condition began */
	uint64_t error_ns;      /* of the last one; 0: none, or long ago */
	struct scsi_lu_stats stats;
	uint64_t stats_ns;
	struct monitor_rates rates;
	const char *vmware;                                     /* while users are looked at */
	bool vmware_told, unopened_told, gone_told, space_told; /* conditions that hold */
	bool sanitize_told, mode_told;
};

struct monitor {
	struct daemon *d;
	struct loop *loop;
	struct logins *logins;
	struct loop_timer tick;
	struct loop_defer soon, more;
	bool looking;          /* a look is under way: `more` goes on with it … */
	bool again;            /* … and another one is wanted after it */
	unsigned looked_at;    /* of daemon->now.luns */
	uint64_t look_adopted; /* daemon->changes_adopted when it began */
	struct seen **seen;    /* as many as LUNs there were */
	unsigned seen_count, seen_cap;
	struct names seen_names;
	bool users_changed, config_changed;
	uint64_t modes_ns; /* before that no change of modes is tried */
	struct monitor_disk disk;
	bool busy; /* the worker has `disk` */
	struct daemon_pin pin;
	bool config_stale; /* the configuration changed while it had */
	uint64_t disk_ns, read_ns;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* ---- LUNs --------------------------------------------------------------------------------------------- */

static struct seen *
seen_of(struct monitor *m, const char *name)
{
	struct seen *s = names_find(&m->seen_names, name);
	if (s != NULL)
		return s;
	if (m->seen_count == m->seen_cap) {
		unsigned cap = m->seen_cap == 0 ? 16 : m->seen_cap * 2;
		struct seen **more = realloc(m->seen, cap * sizeof(*more));
		if (more == NULL)
			return NULL;
		m->seen = more;
		m->seen_cap = cap;
	}
	s = calloc(1, sizeof *s);
	if (s != NULL)
		s->rates.p99_ms = -1;
	if (s == NULL || (s->name = strdup(name)) == NULL ||
	    names_add(&m->seen_names, s->name, s) < 0) {
		if (s != NULL)
			free(s->name);
		free(s);
		return NULL;
	}
	m->seen[m->seen_count++] = s;
	return s;
}

static void
forget_seen(struct monitor *m, unsigned i)
{
	struct seen *s = m->seen[i];
	(void)names_remove(&m->seen_names, s->name);
	m->seen[i] = m->seen[--m->seen_count];
	free(s->name);
	free(s);
}

static uint64_t
count_errors(const struct blk *b)
{
	struct blk_stats st;
	blk_get_stats(b, &st);
	return st.errors[BLK_READ] + st.errors[BLK_WRITE] + st.errors[BLK_FLUSH] +
	       st.errors[BLK_WRITE_ZEROES];
}

static void
look_at_errors(struct monitor *m, struct seen *s, const struct daemon_lun *l, bool gone)
{
	struct health *h = m->d->health;
	uint64_t now = loop_now_ns(m->loop), errors = count_errors(l->blk);

	if (errors < s->errors) /* another store */
		s->errors = s->errors_before = 0;
	if (errors > s->errors && !gone) { /* those of a store that is gone are no news */
		if (s->error_ns == 0)
			s->errors_before = s->errors;
		s->error_ns = now;
		health_raise(h, HEALTH_STORE_ERRORS, l->name,
		    "the store of %s ended %" PRIu64 " operations with an error (%s)", l->name,
		    errors - s->errors_before, l->canonical);
	} else if (s->error_ns != 0 && now - s->error_ns > ERRORS_QUIET_NS) {
		s->error_ns = 0;
		health_clear(h, HEALTH_STORE_ERRORS, l->name);
	}
	s->errors = errors;
}

static void
look_at_size(struct monitor *m, struct seen *s, const struct daemon_lun *l)
{
	uint64_t size = blk_get_info(l->blk)->size_bytes;
	char text[32];

	if (s->size_bytes != 0 && size != s->size_bytes) {
		text_format_size(size, text, sizeof text);
		health_event(m->d->health, HEALTH_EVENT_SIZE, l->name,
		    json_pack("{s:I, s:I}", "before_bytes", (json_int_t)s->size_bytes, "size_bytes",
		        (json_int_t)size),
		    "%s has %s now", l->name, text);
	}
	s->size_bytes = size;
}

static void
look_at_rates(struct monitor *m, struct seen *s, const struct daemon_lun *l)
{
	uint64_t now = loop_now_ns(m->loop), past = now - s->stats_ns;
	struct scsi_lu_stats st;
	struct scsi_latency reads, writes;

	if (s->stats_ns != 0 && past < RATES_NS)
		return;
	scsi_lu_get_stats(l->lu, &st);
	if (s->stats_ns != 0 && st.reads >= s->stats.reads && st.writes >= s->stats.writes) {
		double seconds = (double)past / 1e9;
		scsi_latency_since(&reads, &st.read_latency, &s->stats.read_latency);
		scsi_latency_since(&writes, &st.write_latency, &s->stats.write_latency);
		for (unsigned i = 0; i < SCSI_LATENCY_BUCKETS; i++)
			reads.buckets[i] += writes.buckets[i];
		bool any = scsi_latency_count(&reads) > 0;
		s->rates = (struct monitor_rates){
		    .seconds = seconds,
		    .reads = (double)(st.reads - s->stats.reads) / seconds,
		    .writes = (double)(st.writes - s->stats.writes) / seconds,
		    .read_bytes = (double)(st.read_bytes - s->stats.read_bytes) / seconds,
		    .write_bytes = (double)(st.write_bytes - s->stats.write_bytes) / seconds,
		    .p99_ms = any ? (double)scsi_latency_percentile_ns(&reads, 990) / 1e6 : -1,
		};
	}
	s->stats = st;
	s->stats_ns = now;
}

static void
clear_told(struct health *h, enum health_code code, const char *lun, bool *told)
{
	if (*told)
		health_clear(h, code, lun);
	*told = false;
}

/* Only thin units take notice; the others never get low. */
static void
look_at_space(struct monitor *m, struct seen *s, const struct daemon_lun *l)
{
	struct blk_space space;
	char room[32];

	if (!blk_get_space(l->blk, &space))
		return;
	/* Without memory it is told at the next look. */
	(void)scsi_lu_set_space(l->lu, space.used_bytes, space.free_bytes);
	if (!scsi_lu_space_low(l->lu)) {
		clear_told(m->d->health, HEALTH_STORE_SPACE, l->name, &s->space_told);
		return;
	}
	text_format_size(space.free_bytes, room, sizeof room);
	health_raise(m->d->health, HEALTH_STORE_SPACE, l->name, "only %s are left for %s (%s)",
	    room, l->name, l->canonical);
	s->space_told = true;
}

static void
look_at_sanitize(struct monitor *m, struct seen *s, const struct daemon_lun *l)
{
	if (!scsi_lu_sanitize_failed(l->lu)) {
		clear_told(m->d->health, HEALTH_SANITIZE_FAILED, l->name, &s->sanitize_told);
		return;
	}
	health_raise(m->d->health, HEALTH_SANITIZE_FAILED, l->name,
	    "a SANITIZE of %s didn't come to its end: it shows nothing (%s)", l->name,
	    l->canonical);
	s->sanitize_told = true;
}

static void
look_at_lun(struct monitor *m, const struct daemon_lun *l)
{
	struct health *h = m->d->health;
	struct seen *s = seen_of(m, l->name);

	if (s == NULL)
		return; /* no memory: the next look */
	s->there = true;
	if (l->blk == NULL) {
		health_raise(h, HEALTH_STORE_UNOPENED, l->name,
		    "the store of %s can't be opened: %s", l->name,
		    l->why != NULL ? l->why : "no reason is known");
		s->unopened_told = true;
		clear_told(h, HEALTH_STORE_GONE, l->name, &s->gone_told);
		return;
	}
	clear_told(h, HEALTH_STORE_UNOPENED, l->name, &s->unopened_told);
	bool gone = blk_get_state(l->blk) != BLK_OK;
	if (gone) {
		health_raise(h, HEALTH_STORE_GONE, l->name,
		    "the store of %s stopped answering (%s)", l->name, l->canonical);
		s->gone_told = true;
	} else {
		clear_told(h, HEALTH_STORE_GONE, l->name, &s->gone_told);
	}
	look_at_errors(m, s, l, gone);
	if (!gone)
		look_at_size(m, s, l);
	if (l->lu != NULL) {
		look_at_space(m, s, l);
		look_at_sanitize(m, s, l);
		look_at_rates(m, s, l);
	}
}

/* LUNs that are configured no more. */
static void
forget_gone(struct monitor *m)
{
	static const enum health_code codes[] = {HEALTH_STORE_UNOPENED, HEALTH_STORE_GONE,
	    HEALTH_STORE_ERRORS, HEALTH_STORE_VOLATILE, HEALTH_STORE_SPACE, HEALTH_SANITIZE_FAILED,
	    HEALTH_MODE_WAITS};

	for (unsigned i = 0; i < m->seen_count;) {
		if (m->seen[i]->there) {
			m->seen[i]->there = false; /* for the next look */
			i++;
			continue;
		}
		for (unsigned c = 0; c < sizeof codes / sizeof codes[0]; c++)
			health_clear(m->d->health, codes[c], m->seen[i]->name);
		forget_seen(m, i);
	}
}

/* Caches are those of the start. */
static void
look_at_cache(struct monitor *m, const struct daemon_cache *c)
{
	static const enum health_code codes[CACHE_COND_COUNT] = {
	    [CACHE_COND_SSD_WRITE] = HEALTH_CACHE_SSD_WRITE,
	    [CACHE_COND_SSD_VOID] = HEALTH_CACHE_SSD_VOID,
	    [CACHE_COND_SSD_READ] = HEALTH_CACHE_SSD_READ,
	    [CACHE_COND_DATA_LOST] = HEALTH_CACHE_DATA_LOST,
	    [CACHE_COND_STORE_WRITE] = HEALTH_CACHE_STORE,
	    [CACHE_COND_LOG_FULL] = HEALTH_CACHE_FULL,
	    [CACHE_COND_DRIVE_LIED] = HEALTH_CACHE_LIED,
	    [CACHE_COND_SSD_GONE] = HEALTH_CACHE_GONE,
	};
	struct health *h = m->d->health;

	if (c->spec == NULL)
		return;
	if (c->cache == NULL) {
		health_raise(h, c->lied ? HEALTH_CACHE_LIED : HEALTH_CACHE_ABSENT, c->name, "%s",
		    c->why != NULL ? c->why : "its SSD can't be used");
		return;
	}
	health_clear(h, HEALTH_CACHE_ABSENT, c->name);
	for (unsigned k = 0; k < CACHE_COND_COUNT; k++) {
		if (c->details[k] != NULL)
			health_raise(h, codes[k], c->name, "cache %s: %s", c->name, c->details[k]);
		else
			health_clear(h, codes[k], c->name);
	}
}

/* True when all have been looked at. */
static bool
look_at_luns(struct monitor *m)
{
	const struct daemon *d = m->d;
	unsigned end;

	if (m->look_adopted != d->changes_adopted) { /* others: begin anew */
		m->look_adopted = d->changes_adopted;
		m->looked_at = 0;
		for (unsigned i = 0; i < m->seen_count; i++)
			m->seen[i]->there = false;
	}
	end = m->looked_at + LUNS_A_TURN;
	for (; m->looked_at < d->now.lun_count && m->looked_at < end; m->looked_at++)
		look_at_lun(m, d->now.luns[m->looked_at]);
	if (m->looked_at < d->now.lun_count)
		return false;
	m->looked_at = 0;
	forget_gone(m);
	return true;
}

void
monitor_lun_rates(const struct monitor *m, const char *lun, struct monitor_rates *ret)
{
	const struct seen *s = names_find(&m->seen_names, lun);
	*ret = s != NULL ? s->rates : (struct monitor_rates){.p99_ms = -1};
}

/* ---- who uses what --------------------------------------------------------------------------------------- */

static void
mark_users(
    struct monitor *m, const struct conf_group_lun *luns, unsigned count, const char *initiator)
{
	for (unsigned i = 0; initiator != NULL && i < count; i++) {
		struct seen *s = names_find(&m->seen_names, luns[i].lun);
		if (s != NULL)
			s->vmware = initiator;
	}
}

/* An initiator of VMware's that sees the LUNs of a group, or of the open view (group ""). */
static const char *
find_vmware(
    const struct iscsi_session_info *list, uint32_t count, const char *target, const char *group)
{
	for (uint32_t i = 0; i < count; i++)
		if (strncasecmp(list[i].initiator, VMWARE, sizeof VMWARE - 1) == 0 &&
		    strcmp(list[i].target, target) == 0 && strcmp(list[i].group, group) == 0)
			return list[i].initiator;
	return NULL;
}

/* Volatile LUNs of VMware's initiators; seen[] has them by the look at LUNs before. */
static void
look_at_users(struct monitor *m)
{
	const struct daemon *d = m->d;
	uint32_t count = iscsi_server_session_count(d->iscsi);
	struct iscsi_session_info *sessions = calloc(count + 1u, sizeof *sessions);

	if (sessions == NULL)
		return; /* the next look */
	count = iscsi_server_sessions(d->iscsi, sessions, count);
	for (unsigned t = 0; count > 0 && t < d->conf->target_count; t++) {
		const struct conf_target *target = &d->conf->targets[t];
		mark_users(m, target->luns, target->lun_count,
		    find_vmware(sessions, count, target->name, ""));
		for (unsigned g = 0; g < target->group_count; g++)
			mark_users(m, target->groups[g].luns, target->groups[g].lun_count,
			    find_vmware(sessions, count, target->name, target->groups[g].name));
	}
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		const struct daemon_lun *lun = d->now.luns[i];
		struct seen *s = names_find(&m->seen_names, lun->name);
		const char *user = s != NULL ? s->vmware : NULL;
		if (user != NULL && conf_lun_mode(lun->conf) == CONF_MODE_VOLATILE) {
			health_raise(d->health, HEALTH_STORE_VOLATILE, lun->name,
			    "%s uses %s, which is volatile", user, lun->name);
			s->vmware_told = true;
		} else if (s != NULL && s->vmware_told) {
			health_clear(d->health, HEALTH_STORE_VOLATILE, lun->name);
			s->vmware_told = false;
		}
		if (s != NULL)
			s->vmware = NULL;
	}
	m->users_changed = false;
	free(sessions);
}

/* ---- disk -------------------------------------------------------------------------------------------------- */

static void
judge_space(struct monitor *m)
{
	const struct monitor_disk *k = &m->disk;
	char room[32];

	if (k->space_error < 0) {
		health_raise(m->d->health, HEALTH_STATE_DIR_FULL, k->state_dir,
		    "how much room there is for %s can't be told: %s", k->state_dir,
		    strerror(-k->space_error));
	} else if (monitor_is_nearly_full(k->free_bytes, k->total_bytes)) {
		text_format_size(k->free_bytes, room, sizeof room);
		health_raise(m->d->health, HEALTH_STATE_DIR_FULL, k->state_dir,
		    "only %s are left for %s", room, k->state_dir);
	} else {
		health_clear(m->d->health, HEALTH_STATE_DIR_FULL, k->state_dir);
	}
}

static void
judge_config(struct monitor *m)
{
	struct monitor_disk *k = &m->disk;
	struct health *h = m->d->health;

	if (k->result == -ENOMEM)
		return;
	if (k->result < 0) {
		health_clear(h, HEALTH_CONFIG_CHANGED, k->config_file);
		health_raise(h, HEALTH_CONFIG_BROKEN, k->config_file, "%s", k->sentence);
		return;
	}
	health_clear(h, HEALTH_CONFIG_BROKEN, k->config_file);
	if (k->differences > 0)
		health_raise(h, HEALTH_CONFIG_CHANGED, k->config_file,
		    "%s says something else than what runs: %u object%s", k->config_file,
		    k->differences, k->differences == 1 ? "" : "s");
	else
		health_clear(h, HEALTH_CONFIG_CHANGED, k->config_file);
}

static bool
is_changing(const struct daemon *d)
{
	json_t *current = d->changes != NULL ? change_current(d) : NULL;
	bool changing = json_is_object(current);
	json_decref(current);
	return changing;
}

static void
disk_done(struct loop_job *job, int result)
{
	struct monitor *m = container_of(job, struct monitor, disk.job);

	(void)result;
	ASSERT(m->busy);
	m->busy = false;
	daemon_unpin(&m->pin);
	if (m->stopped != NULL) {
		m->stopped(m->stopped_ctx);
		return;
	}
	judge_space(m);
	if (m->disk.was_read && is_changing(m->d))
		m->config_stale = true; /* written, perhaps, and not yet in force */
	if (m->disk.was_read && !m->config_stale)
		judge_config(m);
	if (m->config_stale)
		m->disk.fingerprint = 0;
	m->config_stale = false;
	monitor_disk_forget(&m->disk);
}

static void
look_at_disk(struct monitor *m)
{
	uint64_t now = loop_now_ns(m->loop);

	if (m->busy || (m->disk_ns != 0 && now - m->disk_ns < MONITOR_DISK_MS * MS_NS))
		return;
	m->disk_ns = now;
	m->disk.read_anyway = m->read_ns == 0 || now - m->read_ns >= READ_ANYWAY_NS;
	if (m->disk.read_anyway)
		m->read_ns = now;
	if (change_runtime_files(m->d, &m->disk.runtime, &m->disk.runtime_count) < 0)
		return; /* the next look */
	m->busy = true;
	daemon_pin(m->d, &m->pin);
	m->disk.running = m->pin.conf;
	loop_job_submit(m->loop, &m->disk.job);
}

/* ---- configuration ----------------------------------------------------------------------------------------- */

static void
apply_hooks(struct monitor *m)
{
	const struct conf *c = m->d->conf;
	struct health_hook hooks[HEALTH_HOOKS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < c->hook_count; i++) {
		enum health_event_kind kind;
		int event = -1;
		if (strcmp(c->hooks[i].event, "all") != 0) {
			if (health_event_parse(c->hooks[i].event, &kind) < 0) {
				log_warn("health", "there is no event %s: its hook never runs",
				    c->hooks[i].event);
				continue;
			}
			event = (int)kind;
		}
		if (count == HEALTH_HOOKS_MAX) {
			log_warn("health", "more than %u hooks: the last ones aren't run",
			    HEALTH_HOOKS_MAX);
			break;
		}
		hooks[count++] = (struct health_hook){.event = event, .path = c->hooks[i].path};
	}
	int rc = health_set_hooks(m->d->health, hooks, count);
	if (rc < 0)
		log_warn(
		    "health", "the hooks of the configuration can't be used: %s", strerror(-rc));
}

void
monitor_config_changed(struct monitor *m)
{
	if (m == NULL)
		return;
	m->config_changed = m->users_changed = true;
	if (m->busy)
		m->config_stale = true;
	else
		m->disk.fingerprint = 0;
	m->disk_ns = 0;
	monitor_soon(m);
}

/* ---- life cycle -------------------------------------------------------------------------------------------- */

/* Modes that wait: for whom; and their end, as a change, when it is for nobody any more. */
static void
look_at_modes(struct monitor *m)
{
	const struct daemon *d = m->d;
	uint64_t now_ns = loop_now_ns(m->loop);
	bool due = false;

	for (unsigned i = 0; i < d->now.lun_count; i++) {
		const struct daemon_lun *l = d->now.luns[i];
		struct seen *s = names_find(&m->seen_names, l->name);
		char who[600];
		bool waits = s != NULL && daemon_lun_mode_waits(l);
		if (waits && daemon_lun_users(l, who, sizeof who) > 0) {
			health_raise(d->health, HEALTH_MODE_WAITS, l->name,
			    "%s becomes volatile when these have logged out: %s", l->name, who);
			s->mode_told = true;
		} else if (s != NULL && s->mode_told && !waits) {
			health_clear(d->health, HEALTH_MODE_WAITS, l->name);
			s->mode_told = false;
		} else {
			due = due || waits;
		}
	}
	/* One that is refused, since the files were edited perhaps, isn't asked for in every look. */
	if (!due || d->changes == NULL || now_ns < m->modes_ns)
		return;
	if (change_modes_due(d->changes))
		m->modes_ns = now_ns + MODES_AGAIN_MS * MS_NS;
}

/* A part of a look, in a turn of its own. */
static void
look_on(struct monitor *m)
{
	if (!look_at_luns(m)) {
		loop_next_turn(m->loop, &m->more);
		return;
	}
	for (unsigned i = 0; i < m->d->cache_count; i++)
		look_at_cache(m, m->d->caches[i]);
	if (m->users_changed)
		look_at_users(m);
	look_at_modes(m);
	logins_tick(m->logins);
	look_at_disk(m);
	m->looking = false;
	if (m->again)
		monitor_soon(m);
	m->again = false;
}

static void
look(struct monitor *m)
{
	loop_timer_set(&m->tick, MONITOR_TICK_MS * MS_NS);
	if (m->looking) {
		m->again = true;
		return;
	}
	m->looking = true;
	if (m->config_changed)
		apply_hooks(m);
	m->config_changed = false;
	look_on(m);
}

static void
on_more(struct loop_defer *d)
{
	look_on(container_of(d, struct monitor, more));
}

static void
on_tick(struct loop_timer *t)
{
	look(container_of(t, struct monitor, tick));
}

static void
on_soon(struct loop_defer *d)
{
	look(container_of(d, struct monitor, soon));
}

void
monitor_soon(struct monitor *m)
{
	if (m != NULL && m->stopped == NULL && !loop_defer_queued(&m->soon))
		loop_defer(m->loop, &m->soon);
}

struct logins *
monitor_logins(struct monitor *m)
{
	m->users_changed = true; /* whoever asks is about to tell of one */
	return m->logins;
}

int
monitor_create(struct daemon *d, struct monitor **ret)
{
	struct monitor *m = calloc(1, sizeof *m);
	if (m == NULL)
		return -ENOMEM;
	m->d = d;
	m->loop = d->loops[0];
	loop_timer_init(&m->tick, m->loop, on_tick);
	loop_defer_init(&m->soon, on_soon);
	loop_defer_init(&m->more, on_more);
	int rc = monitor_disk_init(&m->disk, statedir_path(d->statedir), d->options->config_file);
	if (rc == 0)
		rc = logins_create(d->health, m->loop, &m->logins);
	if (rc < 0) {
		monitor_destroy(m);
		return rc;
	}
	m->disk.job.loop = m->loop;
	m->disk.job.done = disk_done;
	m->disk.events = daemon_event_names();
	if (!loop_is_uring(m->loop))
		health_raise(d->health, HEALTH_NO_URING, "", "the kernel refuses io_uring");
	apply_hooks(m); /* at once: the start is an event */
	monitor_config_changed(m);
	m->config_changed = false;
	*ret = m;
	return 0;
}

void
monitor_stop(struct monitor *m, void (*done)(void *ctx), void *ctx)
{
	ASSERT(m->stopped == NULL);
	m->stopped = done;
	m->stopped_ctx = ctx;
	loop_timer_cancel(&m->tick);
	loop_defer_cancel(&m->soon);
	loop_defer_cancel(&m->more);
	if (!m->busy)
		done(ctx);
}

void
monitor_destroy(struct monitor *m)
{
	if (m == NULL)
		return;
	ASSERT(!m->busy);
	loop_timer_cancel(&m->tick);
	loop_defer_cancel(&m->soon);
	loop_defer_cancel(&m->more);
	while (m->seen_count > 0)
		forget_seen(m, m->seen_count - 1);
	free(m->seen);
	names_fini(&m->seen_names);
	monitor_disk_fini(&m->disk);
	logins_destroy(m->logins);
	free(m);
}
