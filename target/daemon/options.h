/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of terraced. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

#define DAEMON_DEFAULT_NAME "iqn.2026-11.example.terrace:default"
#define DAEMON_DEFAULT_LISTEN "127.0.0.1:3260"

/* Exit statuses of all programs of the project. */
enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_REMARKS = 3,
	EXIT_UNREACHABLE = 4,
	EXIT_REFUSED = 5,
};

struct options {
	const char *config_file; /* --config; NULL: everything is on the command line */
	struct conf *conf;       /* from --lun…; NULL with --config */
	const char *state_dir;   /* NULL: default, or the configuration's */
	const char *control;
	const char *nbd;       /* --nbd: a path, or "off"; NULL: default */
	const char *inspect;   /* --inspect: where terrace-fuse mounts; NULL: the configuration's */
	unsigned loops;        /* 0: default, or the configuration's */
	uint64_t buffer_bytes; /* of all loops; 0: default, or the configuration's */
	bool state_dir_moved;
	bool check_only; /* --check: parse the configuration, serve nothing */
	bool unsafe_fs;  /* --unsafe-fs: stores on tmpfs and the like (tests) */
	bool quiet;
	unsigned spin_us; /* --spin-us; cap of the adaptive spin */
	bool spin_set;
	bool pin; /* --pin: loop n on the n-th CPU that we may use */
};

/*
 * -1: go on. Otherwise the exit status to end with: help or version was printed, or the mistake was
 * told on stderr.
 */
int options_parse(int argc, char **argv, struct options *ret);
void options_fini(struct options *o);

#endif
