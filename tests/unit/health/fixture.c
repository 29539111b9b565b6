/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/health/fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
fixture_open(struct fixture *f)
{
	struct health_args args = {.loop = f->loop,
	    .dir = f->dir,
	    .events_max = 100,
	    .hook_helper = "/nonexistent/helper"};
	assert_int_equal(health_create(&args, &f->health), 0);
}

int
fixture_setup(void **state)
{
	struct loop_sim_cfg cfg = {
	    .seed = 1, .loops = 1, .buf_bytes = 1 << 20, .op_delay_us_max = 500};
	struct fixture *f = calloc(1, sizeof *f);
	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/terrace-health-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(loop_sim_create(&cfg, &f->world), 0);
	f->loop = loop_sim_loop(f->world, 0);
	fixture_open(f);
	*state = f;
	return 0;
}

static void
on_stopped(void *ctx)
{
	*(bool *)ctx = true;
}

static bool stopped;

static void
stop(struct fixture *f)
{
	health_stop(f->health, on_stopped, &stopped);
}

void
fixture_close(struct fixture *f)
{
	stopped = false;
	fixture_call(f, stop, 1);
	assert_true(stopped);
	health_destroy(f->health);
	f->health = NULL;
}

void
fixture_kill(struct fixture *f)
{
	char away[96];
	snprintf(away, sizeof away, "%s-away", f->dir);
	/* what destroy() would still write goes nowhere */
	assert_int_equal(rename(f->dir, away), 0);
	stopped = false;
	fixture_call(f, stop, 1);
	health_destroy(f->health);
	f->health = NULL;
	assert_int_equal(rename(away, f->dir), 0);
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
fixture_teardown(void **state)
{
	struct fixture *f = *state;
	if (f->health != NULL)
		fixture_close(f);
	loop_sim_destroy(f->world);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

struct call {
	struct fixture *f;
	void (*fn)(struct fixture *f);
};

static void
run_call(void *ctx)
{
	struct call *c = ctx;
	c->fn(c->f);
}

void
fixture_call(struct fixture *f, void (*fn)(struct fixture *f), unsigned seconds)
{
	struct call c = {.f = f, .fn = fn};
	loop_sim_call(f->loop, run_call, &c);
	loop_sim_run(f->world, loop_sim_now_ns(f->world) + seconds * 1000000000ull, 1000000);
}

const char *
fixture_path(const struct fixture *f, const char *name)
{
	static char buf[128];
	snprintf(buf, sizeof buf, "%s/%s", f->dir, name);
	return buf;
}

char *
fixture_read(const struct fixture *f, const char *name, size_t *ret_len)
{
	struct stat st;
	int fd = open(fixture_path(f, name), O_RDONLY);
	if (fd < 0)
		return NULL;
	assert_int_equal(fstat(fd, &st), 0);
	char *data = malloc((size_t)st.st_size + 1);
	assert_non_null(data);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	data[st.st_size] = '\0';
	*ret_len = (size_t)st.st_size;
	return data;
}

void
fixture_write(const struct fixture *f, const char *name, const void *data, size_t len)
{
	int fd = open(fixture_path(f, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}
