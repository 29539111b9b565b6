/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever happened to the catalogue's file: it opens, with all that was in it, and can be changed; or it is
 * refused, unchanged, with a sentence that names the cure. Never a signal, never a hang, never other data.
 * Each case runs in a child; its seed is told when it fails.
 */
#include "daemon/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cmocka_all.h"
#include "tests/unit/daemon/tmpdir.h"

#define MACHINE "0123456789abcdef0123456789abcdef"
#define SEEDS 600u
#define CHILD_SECONDS_MAX 60u
#define PAGE_BYTES 4096u
#define IMAGE_BYTES_MAX (4u << 20)
#define STORES 60u
#define INTENTS 6u
#define PORTALS 8u

enum outcome { OPENED = 40, REFUSED, WRONG_DATA, WRONG_ERROR, NO_CURE, NOT_WRITABLE };

struct image {
	uint8_t *bytes;
	size_t len;
};

struct world {
	struct tmpdir tmp;
	struct image good, older; /* the older one: some commits before */
	struct catalog_identity ids[STORES];
	uint16_t numbers[PORTALS];
	uint64_t rand;
};

static uint64_t
draw(struct world *w, uint64_t below)
{
	/* splitmix64 */
	uint64_t z = w->rand += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % below;
}

/* Every fifth has a name of several pages. */
static void
store_name(unsigned i, char *name)
{
	int n = sprintf(name, "file:/srv/disks/%u-", i);
	size_t len = i % 5 == 0 ? 7000 : 20 + i;
	memset(name + n, 'a' + (int)(i % 26), len);
	name[(size_t)n + len] = '\0';
}

static void
intent_of(unsigned i, struct catalog_intent *ret)
{
	size_t len = i % 2 ? 3500 : 40;
	*ret = (struct catalog_intent){.kind = CATALOG_CREATE, .size_bytes = 4096 + i};
	memset(ret->path, 'x', len);
	ret->path[0] = '/';
	ret->path[1] = (char)('0' + i);
}

static int
number_portals(struct catalog *c, uint16_t *ret)
{
	static const char *const names[PORTALS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct catalog_number_request r[PORTALS];
	unsigned failed;
	for (unsigned i = 0; i < PORTALS; i++)
		r[i] = (struct catalog_number_request){CATALOG_PORTAL, names[i], 0};
	int err = catalog_numbers(c, r, PORTALS, true, &failed);
	for (unsigned i = 0; err == 0 && i < PORTALS; i++)
		ret[i] = r[i].number;
	return err;
}

static void
read_image(struct world *w, struct image *ret)
{
	ret->bytes = malloc(IMAGE_BYTES_MAX);
	assert_non_null(ret->bytes);
	ret->len = tmpdir_read(&w->tmp, "catalog.mdb", ret->bytes, IMAGE_BYTES_MAX);
	assert_in_range(ret->len, 20 * PAGE_BYTES, IMAGE_BYTES_MAX - 1);
}

/* Many commits, so that pages have been freed and used again. */
static int
setup(void **state)
{
	static char name[8192], reason[2048];
	struct world *w = calloc(1, sizeof *w);
	struct catalog_intent in;
	struct catalog *c;

	assert_non_null(w);
	tmpdir_make(&w->tmp);
	if (catalog_open(w->tmp.path, MACHINE, &c, reason, sizeof reason) != 0)
		fail_msg("%s", reason);
	for (unsigned i = 0; i < STORES; i++) {
		store_name(i, name);
		assert_int_equal(catalog_lu_identity(c, name, i, 1000, &w->ids[i]), 0);
	}
	for (unsigned i = 0; i < STORES; i += 7) {
		store_name(i, name);
		assert_int_equal(catalog_lu_forget(c, name), 0);
	}
	read_image(w, &w->older);
	assert_int_equal(number_portals(c, w->numbers), 0);
	for (unsigned i = 0; i < INTENTS; i++) {
		intent_of(i, &in);
		assert_int_equal(catalog_intent_put(c, &in), 0);
	}
	for (unsigned i = 0; i < STORES; i += 7) {
		store_name(i, name);
		assert_int_equal(catalog_lu_identity(c, name, i, 2000, &w->ids[i]), 0);
	}
	catalog_close(c);
	read_image(w, &w->good);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	tmpdir_remove(&w->tmp);
	free(w->good.bytes);
	free(w->older.bytes);
	free(w);
	return 0;
}

/* ---- in the child ---------------------------------------------------------------------------------- */

static bool
holds_all(struct world *w, struct catalog *c)
{
	static char name[8192];
	struct catalog_identity id;
	struct catalog_intent want, *list;
	uint16_t numbers[PORTALS];
	unsigned count, found = 0;

	for (unsigned i = 0; i < STORES; i++) {
		store_name(i, name);
		if (catalog_lu_find(c, name, &id) != 0 ||
		    memcmp(id.uuid, w->ids[i].uuid, 16) != 0 ||
		    strcmp(id.serial, w->ids[i].serial) != 0)
			return false;
	}
	if (number_portals(c, numbers) != 0 || memcmp(numbers, w->numbers, sizeof numbers) != 0 ||
	    catalog_intent_list(c, &list, &count) != 0)
		return false;
	for (unsigned i = 0; i < INTENTS; i++) {
		intent_of(i, &want);
		for (unsigned j = 0; j < count; j++)
			found += strcmp(list[j].path, want.path) == 0 &&
			         list[j].size_bytes == want.size_bytes;
	}
	free(list);
	return found == INTENTS && count == INTENTS;
}

/* Takes free pages, splits pages, joins them, and leaves all as it was. */
static bool
can_be_changed(struct catalog *c)
{
	static char name[8192];
	struct catalog_identity id;
	struct catalog_intent in;

	for (unsigned i = STORES; i < STORES + 10; i++) {
		store_name(i, name);
		if (catalog_lu_identity(c, name, 1, 3000, &id) != 0)
			return false;
	}
	for (unsigned i = 0; i < INTENTS; i++) {
		intent_of(i, &in);
		if (catalog_intent_clear(c, in.path) != 0 || catalog_intent_put(c, &in) != 0)
			return false;
	}
	for (unsigned i = STORES; i < STORES + 10; i++) {
		store_name(i, name);
		if (catalog_lu_forget(c, name) != 0)
			return false;
	}
	return true;
}

static _Noreturn void
child(struct world *w, bool change)
{
	static char reason[2048];
	struct catalog *c;

	alarm(CHILD_SECONDS_MAX);
	int err = catalog_open(w->tmp.path, MACHINE, &c, reason, sizeof reason);
	if (err == -EINVAL && strstr(reason, "restore it") && strstr(reason, w->tmp.path))
		_exit(REFUSED);
	if (err != 0)
		_exit(err == -EINVAL ? NO_CURE : WRONG_ERROR);
	if (!holds_all(w, c))
		_exit(WRONG_DATA);
	/* Not each time: commits wait for the disk. */
	if (change && !can_be_changed(c))
		_exit(NOT_WRITABLE);
	catalog_close(c);
	if (catalog_open(w->tmp.path, MACHINE, &c, reason, sizeof reason) != 0 || !holds_all(w, c))
		_exit(NOT_WRITABLE);
	catalog_close(c);
	_exit(OPENED);
}

/* What became of a catalogue with these bytes. */
static enum outcome
try_image(struct world *w, const struct image *im, const char *what, uint64_t seed)
{
	static uint8_t after[IMAGE_BYTES_MAX];
	int status;

	unlink(tmpdir_file(&w->tmp, "catalog.mdb-lock"));
	tmpdir_write(&w->tmp, "catalog.mdb", im->bytes, im->len);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(w, seed % 16 == 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != OPENED && WEXITSTATUS(status) != REFUSED))
		fail_msg("%s, seed %llu: %s %d", what, (unsigned long long)seed,
		    WIFEXITED(status) ? "outcome" : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	if (WEXITSTATUS(status) == REFUSED) {
		size_t len = tmpdir_read(&w->tmp, "catalog.mdb", after, sizeof after);
		assert_int_equal(len, im->len);
		assert_memory_equal(after, im->bytes, len);
	}
	return (enum outcome)WEXITSTATUS(status);
}

/* ---- damage ---------------------------------------------------------------------------------------- */

/* Where it hurts: in headers and pointers of pages as often as anywhere. */
static size_t
draw_place(struct world *w, const struct image *im)
{
	size_t page = draw(w, im->len / PAGE_BYTES) * PAGE_BYTES;
	switch (draw(w, 4)) {
	case 0:
		return page + draw(w, 16);
	case 1:
		return page + 16 + draw(w, 120);
	case 2:
		return draw(w, 2) * PAGE_BYTES + draw(w, 152);
	default:
		return page + draw(w, PAGE_BYTES);
	}
}

static const char *
hurt(struct world *w, struct image *im)
{
	size_t at = draw_place(w, im), page = at / PAGE_BYTES * PAGE_BYTES, len;
	size_t other = draw(w, im->len / PAGE_BYTES) * PAGE_BYTES;

	switch (draw(w, 8)) {
	case 0:
	case 1:
	case 2:
		im->bytes[at] ^= (uint8_t)(1u << draw(w, 8));
		return "a bit";
	case 3:
		im->bytes[at] = (uint8_t)draw(w, 256);
		return "a byte";
	case 4:
		len = 1 + draw(w, 64);
		for (size_t i = at; i < im->len && i < at + len; i++)
			im->bytes[i] = (uint8_t)draw(w, 256);
		return "some bytes";
	case 5:
		len = 512u << draw(w, 4);
		memset(im->bytes + (at & ~(size_t)511), 0,
		    (at & ~(size_t)511) + len > im->len ? 512 : len);
		return "zeros";
	case 6:
		memcpy(im->bytes + page, im->bytes + other, PAGE_BYTES);
		return "another page";
	default:
		if (page < w->older.len)
			memcpy(im->bytes + page, w->older.bytes + page, PAGE_BYTES);
		return "an older page";
	}
}

static void
damage_is_refused_or_does_not_matter(void **state)
{
	struct world *w = *state;
	unsigned opened = 0, refused = 0;
	struct image im = {.bytes = malloc(w->good.len)};

	assert_non_null(im.bytes);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		w->rand = seed;
		im.len = w->good.len;
		memcpy(im.bytes, w->good.bytes, im.len);
		const char *what = hurt(w, &im);
		if (try_image(w, &im, what, seed) == OPENED)
			opened++;
		else
			refused++;
	}
	free(im.bytes);
	print_message("opened %u, refused %u\n", opened, refused);
	/* Free pages are hurt without harm; others aren't. */
	assert_true(opened > 0 && refused > SEEDS / 4);
}

static void
undamaged_opens(void **state)
{
	struct world *w = *state;
	assert_int_equal(try_image(w, &w->good, "nothing", 0), OPENED);
}

static void
short_files_are_refused(void **state)
{
	struct world *w = *state;
	struct image im = w->good;

	for (im.len = PAGE_BYTES / 2; im.len < w->good.len; im.len += 5 * PAGE_BYTES / 2)
		(void)try_image(w, &im, "cut at", im.len);
	im.len = 3 * PAGE_BYTES;
	assert_int_equal(try_image(w, &im, "cut", 0), REFUSED);
}

/* An older state as a whole is right in itself, but for the note that this one isn't new. */
static void
commits_in_the_middle_open(void **state)
{
	struct world *w = *state;
	static char reason[2048], name[8192];
	struct catalog *c;
	struct catalog_identity id;

	tmpdir_write(&w->tmp, "catalog.mdb", w->older.bytes, w->older.len);
	assert_int_equal(catalog_open(w->tmp.path, MACHINE, &c, reason, sizeof reason), 0);
	store_name(1, name);
	assert_int_equal(catalog_lu_find(c, name, &id), 0);
	store_name(7, name);
	assert_int_equal(catalog_lu_find(c, name, &id), -ENOENT);
	catalog_close(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(undamaged_opens),
	    cmocka_unit_test(damage_is_refused_or_does_not_matter),
	    cmocka_unit_test(short_files_are_refused),
	    cmocka_unit_test(commits_in_the_middle_open),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
