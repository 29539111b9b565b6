/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 at any instant: a child saves ever new versions of some units' reservations and reports
 * what was acknowledged; it is killed; what the catalogue then holds is whole, and not older than
 * what was acknowledged.
 */
#include "daemon/catalog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/endian.h"
#include "tests/cmocka_all.h"
#include "tests/unit/daemon/tmpdir.h"

#define UNITS 3
#define ROUNDS 30

/* Version v of a unit's blob: the number, then bytes that follow from it; the length, too. */
static size_t
make_blob(uint32_t v, uint8_t *buf)
{
	size_t len = 4 + (v * 7919u) % 30000u;

	store_be32(buf, v);
	for (size_t i = 4; i < len; i++)
		buf[i] = (uint8_t)(v + i * 31);
	return len;
}

struct ack {
	uint32_t unit, version;
};

struct writer {
	struct catalog *c;
	struct loop *loop;
	struct loop_msg start;
	int fd;
	struct unit {
		struct writer *w;
		uint32_t unit, version;
	} units[UNITS];
};

static void save_next(struct unit *u);

static void
on_saved(void *ctx, int result)
{
	struct unit *u = ctx;
	struct ack a = {u->unit, u->version};

	if (result != 0 || write(u->w->fd, &a, sizeof(a)) != sizeof(a))
		_exit(3);
	u->version++;
	save_next(u);
}

static void
save_next(struct unit *u)
{
	static uint8_t buf[32768];
	uint8_t uuid[16] = {(uint8_t)u->unit};

	size_t len = make_blob(u->version, buf);
	if (catalog_lu_save_async(
	        u->w->c, u->w->loop, SCSI_PERSIST_PR, uuid, buf, len, on_saved, u) != 0)
		_exit(4);
}

static void
writer_start(struct loop_msg *m)
{
	struct writer *w = container_of(m, struct writer, start);

	for (uint32_t i = 0; i < UNITS; i++)
		save_next(&w->units[i]);
}

static _Noreturn void
writer_main(const char *dir, const uint32_t *from, int fd)
{
	static struct writer w;
	struct loop_cfg cfg;
	char reason[512];

	w.fd = fd;
	if (catalog_open(dir, "m", &w.c, reason, sizeof(reason)) != 0)
		_exit(1);
	loop_cfg_default(&cfg);
	if (loop_create(&cfg, &w.loop) != 0)
		_exit(2);
	for (uint32_t i = 0; i < UNITS; i++)
		w.units[i] = (struct unit){&w, i + 1, from[i]};
	w.start.run = writer_start;
	loop_send(w.loop, &w.start);
	loop_run(w.loop);
	_exit(5);
}

/* The stored version of a unit; 0: none. Fails the test when it isn't whole. */
static uint32_t
stored_version(struct catalog *c, uint32_t unit)
{
	static uint8_t want[32768];
	uint8_t uuid[16] = {(uint8_t)unit};
	void *got;
	size_t len;

	int err = catalog_lu_load(c, SCSI_PERSIST_PR, uuid, &got, &len);
	if (err == -ENOENT)
		return 0;
	assert_int_equal(err, 0);
	assert_true(len >= 4);
	uint32_t v = load_be32(got);
	assert_int_equal(len, make_blob(v, want));
	assert_memory_equal(got, want, len);
	free(got);
	return v;
}

static void
killed_writer_leaves_whole_and_acknowledged_versions(void **state)
{
	struct tmpdir tmp;
	uint32_t from[UNITS] = {1, 1, 1}, acked[UNITS] = {0};
	uint64_t total = 0;
	char reason[512];

	(void)state;
	srandom((unsigned)time(NULL));
	tmpdir_make(&tmp);
	for (int round = 0; round < ROUNDS; round++) {
		int p[2];
		assert_int_equal(pipe(p), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			writer_main(tmp.path, from, p[1]);
		close(p[1]);
		struct timespec delay = {.tv_nsec = random() % 60000000};
		nanosleep(&delay, NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status)); /* it was at work, not in trouble */
		struct ack a;
		while (read(p[0], &a, sizeof(a)) == sizeof(a)) {
			assert_in_range(a.unit, 1, UNITS);
			acked[a.unit - 1] = a.version;
			total++;
		}
		close(p[0]);

		struct catalog *c;
		if (catalog_open(tmp.path, "m", &c, reason, sizeof(reason)) != 0)
			fail_msg("round %d: %s", round, reason);
		for (uint32_t i = 0; i < UNITS; i++) {
			uint32_t v = stored_version(c, i + 1);
			/* The one after the last acknowledged may have made it. */
			if (v != acked[i] && v != acked[i] + 1)
				fail_msg("round %d unit %u: stored %u, acknowledged %u", round,
				    i + 1, v, acked[i]);
			acked[i] = v;
			from[i] = v + 1;
		}
		catalog_close(c);
	}
	assert_true(total > 0);
	tmpdir_remove(&tmp);
}

/* Where an identity was answered before the kill, the same comes back after it. */
static void
killed_maker_of_identities_leaves_them_whole(void **state)
{
	struct tmpdir tmp;
	char reason[512];
	struct answer {
		uint32_t nr;
		uint8_t uuid[16];
	} a;

	(void)state;
	tmpdir_make(&tmp);
	for (uint32_t round = 0; round < 8; round++) {
		int p[2];
		assert_int_equal(pipe(p), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct catalog *c;
			struct catalog_identity id;
			char name[64];
			if (catalog_open(tmp.path, "m", &c, reason, sizeof(reason)) != 0)
				_exit(1);
			for (a.nr = 0;; a.nr++) {
				snprintf(name, sizeof(name), "file:/%u/%u", round, a.nr);
				if (catalog_lu_identity(c, name, 1, 1, &id) != 0)
					_exit(2);
				memcpy(a.uuid, id.uuid, 16);
				if (write(p[1], &a, sizeof(a)) != sizeof(a))
					_exit(3);
			}
		}
		close(p[1]);
		struct timespec delay = {.tv_nsec = 5000000 + random() % 40000000};
		nanosleep(&delay, NULL);
		kill(pid, SIGKILL);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		struct catalog *c;
		assert_int_equal(catalog_open(tmp.path, "m", &c, reason, sizeof(reason)), 0);
		while (read(p[0], &a, sizeof(a)) == sizeof(a)) {
			char name[64];
			struct catalog_identity id;
			snprintf(name, sizeof(name), "file:/%u/%u", round, a.nr);
			assert_int_equal(catalog_lu_identity(c, name, 1, 1, &id), 0);
			assert_false(id.fresh);
			assert_memory_equal(id.uuid, a.uuid, 16);
		}
		close(p[0]);
		catalog_close(c);
	}
	tmpdir_remove(&tmp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(killed_writer_leaves_whole_and_acknowledged_versions),
	    cmocka_unit_test(killed_maker_of_identities_leaves_them_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
