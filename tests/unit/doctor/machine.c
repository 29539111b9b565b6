/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/doctor/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cmocka_all.h"

/* ---- probes --------------------------------------------------------------------------------------- */

static int
fake_health(void *ctx, const char *path, uint8_t ret[512])
{
	const struct machine *m = ctx;
	assert_non_null(strstr(path, "/dev/nvme"));
	memcpy(ret, m->health, 512);
	return m->health_rc;
}

static int
fake_space(void *ctx, const char *path, uint64_t *ret_id, uint64_t *ret_free_bytes)
{
	const struct machine *m = ctx;
	(void)path;
	*ret_id = 1;
	*ret_free_bytes = m->free_bytes;
	return 0;
}

static int
fake_file_system(void *ctx, const char *path, char *ret, size_t cap)
{
	const struct machine *m = ctx;
	if (m->file_system == NULL)
		return m->live.file_system(NULL, path, ret, cap);
	snprintf(ret, cap, "%s", m->file_system);
	return 0;
}

/* ---- files ------------------------------------------------------------------------------------------ */

static void
full(const struct machine *m, const char *path, char buf[PATH_MAX])
{
	assert_int_equal(path[0], '/');
	assert_true(snprintf(buf, PATH_MAX, "%s%s", m->root, path) < PATH_MAX);
}

static void
folders_to(char *path)
{
	for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*p = '/';
	}
}

void
machine_put_bytes(const struct machine *m, const char *path, const void *data, size_t len)
{
	char buf[PATH_MAX];

	full(m, path, buf);
	folders_to(buf);
	int fd = open(buf, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

void
machine_put(const struct machine *m, const char *path, const char *text)
{
	char line[4096];

	assert_true(snprintf(line, sizeof line, "%s\n", text) < (int)sizeof line);
	machine_put_bytes(m, path, line, strlen(line));
}

void
machine_link(const struct machine *m, const char *path, const char *to)
{
	char buf[PATH_MAX], target[PATH_MAX] = "";
	unsigned depth = 0;

	full(m, path, buf);
	folders_to(buf);
	for (const char *p = path + 1; (p = strchr(p, '/')) != NULL; p++)
		depth++;
	for (unsigned i = 0; i < depth; i++)
		strcat(target, "../");
	assert_true(strlen(target) + strlen(to) < sizeof target);
	strcat(target, to + 1);
	(void)unlink(buf);
	assert_int_equal(symlink(target, buf), 0);
}

void
machine_folder(const struct machine *m, const char *path)
{
	char buf[PATH_MAX];

	full(m, path, buf);
	folders_to(buf);
	assert_true(mkdir(buf, 0700) == 0 || errno == EEXIST);
}

void
machine_sparse(const struct machine *m, const char *path, uint64_t size)
{
	char buf[PATH_MAX];

	machine_put_bytes(m, path, "", 0);
	full(m, path, buf);
	assert_int_equal(truncate(buf, (off_t)size), 0);
}

/* ---- disks -------------------------------------------------------------------------------------------- */

void
machine_disk(const struct machine *m, const char *name, bool rotates, const char *write_cache,
    const char *fua)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "/sys/class/block/%s/queue/rotational", name);
	machine_put(m, path, rotates ? "1" : "0");
	snprintf(path, sizeof path, "/sys/class/block/%s/queue/write_cache", name);
	machine_put(m, path, write_cache);
	snprintf(path, sizeof path, "/sys/class/block/%s/queue/fua", name);
	machine_put(m, path, fua);
	snprintf(path, sizeof path, "/sys/class/block/%s/device/timeout", name);
	machine_put(m, path, "30");
	snprintf(path, sizeof path, "/dev/%s", name);
	machine_put(m, path, "");
}

void
machine_array(
    const struct machine *m, const char *name, const char *level, const char *const *disks)
{
	char path[PATH_MAX], target[PATH_MAX], count[16];
	unsigned n = 0;

	machine_disk(m, name, true, "write back", "1");
	for (; disks[n] != NULL; n++) {
		snprintf(path, sizeof path, "/sys/class/block/%s/slaves/%s", name, disks[n]);
		snprintf(target, sizeof target, "/sys/class/block/%s", disks[n]);
		machine_link(m, path, target);
		snprintf(path, sizeof path, "/sys/class/block/%s/holders/%s", disks[n], name);
		snprintf(target, sizeof target, "/sys/class/block/%s", name);
		machine_link(m, path, target);
	}
	snprintf(path, sizeof path, "/sys/class/block/%s/md/level", name);
	machine_put(m, path, level);
	snprintf(path, sizeof path, "/sys/class/block/%s/md/degraded", name);
	machine_put(m, path, "0");
	snprintf(path, sizeof path, "/sys/class/block/%s/md/raid_disks", name);
	snprintf(count, sizeof count, "%u", n);
	machine_put(m, path, count);
	snprintf(path, sizeof path, "/dev/disk/by-id/md-uuid-%s", name);
	snprintf(target, sizeof target, "/dev/%s", name);
	machine_link(m, path, target);
}

/* ---- findings ---------------------------------------------------------------------------------------------- */

void
machine_look(struct machine *m)
{
	doctor_report_fini(&m->report);
	assert_int_equal(doctor_run(&m->facts, &m->report), 0);
	for (unsigned i = 0; i < m->report.count; i++) {
		const struct doctor_finding *x = &m->report.list[i];
		assert_true(x->level <= m->report.worst);
		assert_true(strlen(x->text) > 0);
		/* What isn't ok says what to do. */
		assert_int_equal(x->level == DOCTOR_OK, x->action[0] == '\0');
	}
	for (unsigned i = 0; doctor_check_name(i) != NULL; i++) {
		bool has = false;
		for (unsigned k = 0; k < m->report.count; k++)
			has |= strcmp(m->report.list[k].check, doctor_check_name(i)) == 0;
		assert_true(has);
	}
}

static bool
is(const struct doctor_finding *x, const char *check, enum doctor_level level, const char *words)
{
	return strcmp(x->check, check) == 0 && x->level == level &&
	       (strstr(x->text, words) != NULL || strstr(x->action, words) != NULL);
}

static unsigned
count(struct machine *m, const char *check, enum doctor_level level, const char *words,
    unsigned *ret_all)
{
	unsigned found = 0;

	machine_look(m);
	*ret_all = 0;
	for (unsigned i = 0; i < m->report.count; i++) {
		found += is(&m->report.list[i], check, level, words);
		*ret_all += strcmp(m->report.list[i].check, check) == 0;
	}
	if (found == 0)
		for (unsigned i = 0; i < m->report.count; i++)
			print_message("%s %s: %s | %s\n",
			    doctor_level_to_string(m->report.list[i].level),
			    m->report.list[i].check, m->report.list[i].text,
			    m->report.list[i].action);
	return found;
}

void
machine_finds_among(
    struct machine *m, const char *check, enum doctor_level level, const char *words)
{
	unsigned all;
	assert_int_equal(count(m, check, level, words, &all), 1);
}

void
machine_finds(struct machine *m, const char *check, enum doctor_level level, const char *words)
{
	unsigned all;
	assert_int_equal(count(m, check, level, words, &all), 1);
	assert_int_equal(all, 1);
}

void
machine_is_ok(struct machine *m, const char *check, const char *words)
{
	machine_finds(m, check, DOCTOR_OK, words);
}

/* ---- begin and end -------------------------------------------------------------------------------------------- */

int
machine_setup(void **state)
{
	struct machine *m = calloc(1, sizeof *m);

	assert_non_null(m);
	snprintf(m->root, sizeof m->root, "/tmp/terrace-doctor-test-XXXXXX");
	assert_non_null(mkdtemp(m->root));
	doctor_facts_init(&m->facts, m->root);
	m->facts.configuration = "/etc/terrace/terrace.conf";
	m->live = m->facts.probes;
	m->facts.probes = (struct doctor_probes){
	    .nvme_health = fake_health,
	    .space = fake_space,
	    .file_system = fake_file_system,
	    .ctx = m,
	};
	m->health[3] = 100; /* available spare, per cent */
	m->health[4] = 10;  /* its threshold */
	m->free_bytes = 1ull << 40;
	machine_put(m, "/dev/fuse", "");
	machine_put(m, "/proc/sys/kernel/io_uring_disabled", "0");
	*state = m;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int
machine_teardown(void **state)
{
	struct machine *m = *state;

	doctor_report_fini(&m->report);
	doctor_facts_fini(&m->facts);
	assert_int_equal(nftw(m->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(m);
	return 0;
}
