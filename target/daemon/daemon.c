/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/cache_orders.h"
#include "daemon/change.h"
#include "daemon/plan.h"
#include "daemon/service.h"
#include "daemon/srp.h"

#define STOP_GRACE_MS 2000u
#define DEFAULT_LOOPS_MAX 4u
#define HIGH_NICE (-10) /* of the loops: nine times the weight of a thread of level 0 */

/* ---- steps --------------------------------------------------------------------------------------- */

static int
open_state(void *ctx)
{
	struct daemon *d = ctx;
	struct statedir_args args = {
	    .dir = d->options->state_dir != NULL ? d->options->state_dir : d->conf->state_dir,
	    .flags = d->options->state_dir_moved ? STATEDIR_MOVED : 0,
	};
	int rc = statedir_open(&args, &d->statedir, d->reason, sizeof d->reason);
	if (rc < 0)
		return rc;
	rc = catalog_open(statedir_path(d->statedir), statedir_machine_id(d->statedir), &d->catalog,
	    d->reason, sizeof d->reason);
	/* The configuration was read as if this had been done already. */
	if (rc == 0 && d->options->config_file != NULL)
		rc = conf_recover(d->options->config_file, d->reason, sizeof d->reason);
	if (rc < 0) {
		catalog_close(d->catalog);
		d->catalog = NULL;
		statedir_close(d->statedir);
		d->statedir = NULL;
	}
	return rc;
}

static void
close_state(void *ctx)
{
	struct daemon *d = ctx;
	catalog_close(d->catalog);
	statedir_close(d->statedir);
}

static unsigned
default_loops(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	unsigned n = (unsigned)CPU_COUNT(&set);
	return n < DEFAULT_LOOPS_MAX ? n : DEFAULT_LOOPS_MAX;
}

/* The n-th CPU that this process may run on, or -1. */
static int
nth_cpu(unsigned n)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && n-- == 0)
			return cpu;
	return -1;
}

static uint64_t
default_buffers(void)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 16;
	if (ram < (64ull << 20))
		ram = 64ull << 20;
	return ram > (1ull << 30) ? 1ull << 30 : ram;
}

static void
destroy_loops(void *ctx)
{
	struct daemon *d = ctx;
	for (unsigned i = 0; i < d->loop_count; i++)
		loop_destroy(d->loops[i]);
	d->loop_count = 0;
}

/*
 * The nice level of the loops. A level rather than a real-time policy: a loop that is busy, or spins,
 * takes its share and starves nobody.
 */
static int
loop_nice(const struct daemon *d)
{
	if (d->conf->normal_priority)
		return 0;
	if (loop_may_be_nice(HIGH_NICE))
		return HIGH_NICE;
	if (geteuid() == 0) /* other users never may */
		log_info("daemon",
		    "loops run with the priority of other programs: nice level %d is not permitted "
		    "here (LimitNICE= of the unit, CAP_SYS_NICE)",
		    HIGH_NICE);
	return 0;
}

static int
create_loops(void *ctx)
{
	struct daemon *d = ctx;
	const int nice = loop_nice(d);
	unsigned count = d->options->loops != 0 ? d->options->loops : d->conf->loops;
	uint64_t buffers =
	    d->options->buffer_bytes != 0 ? d->options->buffer_bytes : d->conf->buffer_bytes;

	if (count == 0)
		count = default_loops();
	if (buffers == 0)
		buffers = default_buffers();
	for (unsigned i = 0; i < count; i++) {
		struct loop_cfg cfg;
		loop_cfg_default(&cfg);
		cfg.id = i;
		cfg.nice = nice;
		cfg.buf_bytes = buffers / count;
		if (d->options->spin_set)
			cfg.spin_us_max = d->options->spin_us;
		if (d->options->pin)
			cfg.cpu = nth_cpu(i);
		int rc = loop_create(&cfg, &d->loops[i]);
		if (rc < 0) {
			snprintf(d->reason, sizeof d->reason, "can't create event loop %u: %s", i,
			    strerror(-rc));
			destroy_loops(d);
			return rc;
		}
		d->loop_count++;
	}
	return 0;
}

static int
create_core(void *ctx)
{
	struct daemon *d = ctx;
	struct scsi_core_args args = {
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	    .tasks_per_loop = 4096,
	    .persist = daemon_persist_ops(d),
	};
	return scsi_core_create(&args, &d->core);
}

static void
destroy_core(void *ctx)
{
	struct daemon *d = ctx;
	scsi_core_destroy(d->core);
}

void
daemon_stop_loops(struct daemon *d)
{
	d->ended = true;
	if (d->answers > 0)
		return; /* the last one comes again */
	for (unsigned i = 0; i < d->loop_count; i++)
		loop_stop(d->loops[i]);
}

static void
on_unit_destroyed(void *ctx)
{
	struct daemon *d = ctx;
	if (--d->lus_left == 0)
		daemon_end_health(d, daemon_stop_loops);
}

/* On the home loop: units end on the loops, which stop when the last one is gone. */
static void
end_units(struct daemon *d, const struct daemon_objects *o)
{
	daemon_service_status(d, "ending the LUNs; what caches have stays on their SSDs");
	d->lus_left = 1; /* a count of our own, so that no unit at all is no special case */
	for (unsigned i = 0; i < o->view_count; i++) {
		scsi_view_destroy(o->views[i]->view);
		o->views[i]->view = NULL;
	}
	for (unsigned i = 0; i < o->lun_count; i++) {
		struct scsi_lu *lu = o->luns[i]->lu;
		o->luns[i]->lu = NULL;
		if (lu == NULL)
			continue;
		d->lus_left++;
		daemon_lun_end_unit(o->luns[i], lu, on_unit_destroyed, d);
	}
	on_unit_destroyed(d);
}

static void
run_loops(struct daemon *d)
{
	for (unsigned i = 1; i < d->loop_count; i++) {
		int rc = loop_start_thread(d->loops[i]);
		if (rc < 0) {
			log_err("daemon", "can't start a thread: %s", strerror(-rc));
			_exit(EXIT_FAILED); /* nothing was answered yet */
		}
	}
	loop_run(d->loops[0]);
	for (unsigned i = 1; i < d->loop_count; i++)
		loop_join(d->loops[i]);
}

struct end_msg {
	struct loop_msg msg;
	struct daemon *d;
	const struct daemon_objects *objects;
};

static void
on_end_msg(struct loop_msg *m)
{
	struct end_msg *end = container_of(m, struct end_msg, msg);
	end_units(end->d, end->objects);
}

/* After a failed start, when the loops have never run: they run for this. */
static void
end_units_before_run(struct daemon *d, const struct daemon_objects *o)
{
	struct end_msg m = {.msg = {.run = on_end_msg}, .d = d, .objects = o};
	bool any = false;

	for (unsigned i = 0; i < o->lun_count; i++)
		any |= o->luns[i]->lu != NULL;
	if (!any)
		return;
	loop_send(d->loops[0], &m.msg);
	run_loops(d);
}

static int
open_stores(void *ctx)
{
	struct daemon *d = ctx;
	struct daemon_config config = d->config;

	change_recover(d);
	d->config = (struct daemon_config){0};
	int rc = plan_create(d, config, d->options->config_file != NULL, NULL, &d->plan, d->reason,
	    sizeof d->reason);
	if (rc < 0)
		return rc;
	rc = plan_open(d->plan);
	if (rc < 0) {
		snprintf(d->reason, sizeof d->reason, "%s", d->plan->reason);
		plan_close(d->plan);
		plan_destroy(d->plan);
		d->plan = NULL;
	}
	return rc;
}

static void
close_stores(void *ctx)
{
	struct daemon *d = ctx;
	if (d->plan != NULL && !d->plan->adopted)
		plan_close(d->plan);
	/* A start that failed leaves nothing behind; nobody has seen the files. */
	for (unsigned i = 0; !d->served && i < d->now.lun_count; i++)
		daemon_lun_undo(d->now.luns[i]);
	plan_destroy(d->plan);
	d->plan = NULL;
	daemon_objects_fini(&d->now);
}

static int
create_units(void *ctx)
{
	struct daemon *d = ctx;
	struct plan *p = d->plan;
	int rc = plan_make(p);
	if (rc < 0) {
		snprintf(d->reason, sizeof d->reason, "%s", p->reason);
		plan_unmake(p);
		end_units_before_run(d, &p->next);
		return rc;
	}
	plan_adopt(p);
	d->iscsi_config = p->iscsi;
	p->iscsi = NULL;
	d->srp_config = p->srp;
	p->srp = NULL;
	return 0;
}

static void
destroy_units(void *ctx)
{
	struct daemon *d = ctx;
	iscsi_config_destroy(d->iscsi_config);
	d->iscsi_config = NULL;
	srp_config_destroy(d->srp_config);
	d->srp_config = NULL;
	end_units_before_run(d, &d->now);
}

/* ---- signals ----------------------------------------------------------------------------------------- */

static void
on_inspect_ended(struct daemon *d)
{
	end_units(d, &d->now);
}

static void
on_nbd_stopped(void *ctx)
{
	daemon_end_inspect(ctx, on_inspect_ended);
}

static void
on_srp_stopped(void *ctx)
{
	daemon_end_nbd(ctx, on_nbd_stopped);
}

static void
on_server_stopped(void *ctx)
{
	daemon_end_srp(ctx, on_srp_stopped);
}

/* No change is under way any more. */
static void
on_changes_stopped(void *ctx)
{
	struct daemon *d = ctx;
	iscsi_server_stop(d->iscsi, iscsi_server_session_count(d->iscsi) > 0 ? STOP_GRACE_MS : 0,
	    on_server_stopped, d);
}

static void
on_resizing_stopped(void *ctx)
{
	struct daemon *d = ctx;
	change_engine_stop(d->changes, on_changes_stopped, d);
}

static void
on_signal(struct loop_watch *w)
{
	struct daemon *d = container_of(w, struct daemon, signals);
	struct signalfd_siginfo si;

	while (read(d->signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGHUP) {
			if (d->changes != NULL)
				change_reload(d);
			continue;
		}
		if (d->stopping) {
			log_warn("daemon", "second signal: ending at once");
			_exit(EXIT_FAILED);
		}
		if (d->changes == NULL) { /* while caches are attached: the start ends then */
			log_info("daemon", "signal %u: ending", si.ssi_signo);
			d->stopping = true;
			continue;
		}
		log_info("daemon", "signal %u: asking initiators to log out", si.ssi_signo);
		d->stopping = true;
		daemon_service_stopping(d);
		health_event(d->health, HEALTH_EVENT_STOP, "", NULL, "the target ends (signal %u)",
		    si.ssi_signo);
		daemon_thaw_all(d);
		daemon_caches_stop_resizing(d, on_resizing_stopped, d);
	}
}

static int
open_changes(void *ctx)
{
	return change_engine_create(ctx);
}

static void
close_changes(void *ctx)
{
	struct daemon *d = ctx;
	change_engine_destroy(d->changes);
	d->changes = NULL;
}

static int
watch_signals(void *ctx)
{
	struct daemon *d = ctx;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error of a write, not our end */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread: all of them inherit it */
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (d->signal_fd < 0)
		return -errno;
	return loop_watch_start(d->loops[0], &d->signals, d->signal_fd, on_signal);
}

static void
unwatch_signals(void *ctx)
{
	struct daemon *d = ctx;
	loop_watch_stop(&d->signals);
	close(d->signal_fd);
}

/* ---- run ------------------------------------------------------------------------------------------------ */

static const struct step start_steps[] = {
    {"open the state directory", open_state, close_state},
    {"create the event loops", create_loops, destroy_loops},
    {"tell the service manager", daemon_open_service, daemon_close_service},
    {"keep events", daemon_open_health, daemon_close_health},
    {"watch signals", watch_signals, unwatch_signals},
    {"open the stores", open_stores, close_stores},
    {"open the caches", daemon_open_caches, daemon_close_caches},
    {"create the SCSI core", create_core, destroy_core},
    {"create the logical units", create_units, destroy_units},
    {"create the iSCSI server", daemon_create_frontend, daemon_destroy_frontend},
    {"create the SRP server", daemon_create_srp, daemon_destroy_srp},
    {"watch over what runs", daemon_open_monitor, daemon_close_monitor},
    {"count what LUNs do", daemon_open_stats, daemon_close_stats},
    {"serve NBD", daemon_open_nbd, daemon_close_nbd},
    {"be ready for changes", open_changes, close_changes},
    {"open the control socket", daemon_open_control, daemon_close_control},
    {"show what is served", daemon_open_inspect, daemon_close_inspect},
    {"listen", daemon_listen, NULL},
};

static void
raise_file_limit(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
}

void
daemon_config_fini(struct daemon_config *c)
{
	conf_destroy(c->conf);
	conf_tree_destroy(c->tree);
	*c = (struct daemon_config){0};
}

int
daemon_run(const struct options *o, struct daemon_config config)
{
	struct daemon *d = calloc(1, sizeof *d);
	if (d == NULL) {
		daemon_config_fini(&config);
		return EXIT_FAILED;
	}
	list_init(&d->pins);
	list_init(&d->freezes);
	list_init(&d->retired);
	d->options = o;
	d->config = config;
	d->conf = config.conf;
	raise_file_limit();
	int rc = steps_start(
	    &d->steps, start_steps, sizeof start_steps / sizeof start_steps[0], d, NULL);
	if (rc < 0) {
		if (d->reason[0] != '\0')
			fprintf(stderr, "terraced: %s\n", d->reason);
		else
			fprintf(stderr, "terraced: can't %s: %s\n", steps_name(&d->steps),
			    strerror(-rc));
		daemon_config_fini(&d->config);
		free(d);
		return EXIT_FAILED;
	}
	d->served = true;
	plan_destroy(d->plan);
	d->plan = NULL;
	health_event(d->health, HEALTH_EVENT_START, "", NULL,
	    "terrace " TERRACE_VERSION " serves %u LUN%s", d->now.lun_count,
	    d->now.lun_count == 1 ? "" : "s");
	if (!o->quiet)
		daemon_announce(d);
	daemon_service_ready(d);
	run_loops(d);
	steps_undo(&d->steps);
	log_info("daemon", "ended");
	daemon_config_fini(&d->config);
	free(d);
	return EXIT_DONE;
}
