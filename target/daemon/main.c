/* SPDX-License-Identifier: BSD-2-Clause */
/* terraced: command line or configuration file, then daemon_run(). */
#include <stdio.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/log.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/options.h"

/* Errors, and remarks, which stop nothing. */
static void
print_errors(const struct conf_errors *e)
{
	for (unsigned i = 0; i < e->count; i++)
		fprintf(stderr, "%s:%u:%u: %s\n", e->list[i].pos.file, e->list[i].pos.line,
		    e->list[i].pos.column, e->list[i].text);
	if (e->dropped > 0)
		fprintf(stderr, "and %u more\n", e->dropped);
}

static int
run_config(const struct options *o)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	int status;

	struct conf_load_args args = {.path = o->config_file, .events = daemon_event_names()};
	int rc = conf_load(&args, &errors, &tree, &conf);
	print_errors(&errors);
	if (rc < 0) {
		status = EXIT_FAILED;
	} else if (o->check_only) {
		printf("%s: %u LUNs, %u portals, %u targets, no errors\n", o->config_file,
		    conf->lun_count, conf->portal_count, conf->target_count);
		status = errors.count > 0 ? EXIT_REMARKS : EXIT_DONE;
	} else {
		conf_errors_fini(&errors);
		return daemon_run(o, (struct daemon_config){tree, conf});
	}
	conf_errors_fini(&errors);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	return status;
}

/*
 * Helper threads make answers of many small pieces, and the loop frees what is left of them: it must
 * not be its part to put the pieces together, or to give the memory back to the kernel.
 */
static void
tune_memory(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_MXFAST, 0);
	(void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
	(void)mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
#endif
}

int
main(int argc, char **argv)
{
	struct options o;

	tune_memory();

	log_set_level(LOG_LEVEL_INFO);
	(void)log_use_journal(NULL); /* where it isn't, lines go to stderr */
	int status = options_parse(argc, argv, &o);
	if (status >= 0)
		return status;
	if (o.config_file != NULL) {
		status = run_config(&o);
	} else {
		struct daemon_config config = {.conf = o.conf};
		o.conf = NULL;
		status = daemon_run(&o, config);
	}
	options_fini(&o);
	return status;
}
