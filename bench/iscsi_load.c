/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/iscsi_load.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static int
pin(int cpu)
{
	if (cpu < 0)
		return 0;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof set, &set);
}

int
main(int argc, char **argv)
{
	struct load_options opt;
	char err[256];
	switch (load_options_parse(argc, argv, &opt, err, sizeof err)) {
	case LOAD_PARSE_HELP:
		load_options_usage(argv[0]);
		return 0;
	case LOAD_PARSE_BAD:
		fprintf(stderr, "%s: %s (--help lists the options)\n", argv[0], err);
		return 2;
	case LOAD_PARSE_OK:
		break;
	}
	if (pin(opt.cpu)) {
		fprintf(stderr, "%s: cannot run on CPU %d\n", argv[0], opt.cpu);
		return 2;
	}
	static struct load_engine engine;
	int r = load_engine_init(&engine, &opt);
	if (r) {
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));
		load_engine_fini(&engine);
		return 1;
	}
	r = load_engine_connect(&engine);
	if (r == 0)
		r = load_engine_run(&engine);
	for (uint32_t i = 0; i < opt.sessions; i++)
		load_session_logout(&engine.sessions[i]);
	if (r && r != -EIO)
		load_error(&engine, &engine.errors.protocol, "%s", strerror(-r));
	load_report(&engine);
	load_engine_fini(&engine);
	return r ? 1 : 0;
}
