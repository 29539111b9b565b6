/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue: identities are kept, reservations come back, damage is told and not repaired. */
#include "daemon/catalog.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "tests/cmocka_all.h"
#include "tests/unit/daemon/tmpdir.h"

#define MACHINE "0123456789abcdef0123456789abcdef"

static char reason[1024];

struct world {
	struct tmpdir tmp;
	struct catalog *c;
};

static void
reopen(struct world *w)
{
	catalog_close(w->c);
	w->c = NULL;
	if (catalog_open(w->tmp.path, MACHINE, &w->c, reason, sizeof(reason)) != 0)
		fail_msg("%s", reason);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	tmpdir_make(&w->tmp);
	reopen(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	catalog_close(w->c);
	tmpdir_remove(&w->tmp);
	free(w);
	return 0;
}

static struct catalog_identity
identity(struct world *w, const char *key, uint64_t size)
{
	struct catalog_identity id;
	assert_int_equal(catalog_lu_identity(w->c, key, size, 1000, &id), 0);
	return id;
}

static void
must_refuse(struct world *w, int err, const char *words)
{
	catalog_close(w->c);
	w->c = NULL;
	assert_int_equal(catalog_open(w->tmp.path, MACHINE, &w->c, reason, sizeof(reason)), err);
	assert_null(w->c);
	assert_non_null(strstr(reason, w->tmp.path));
	if (!strstr(reason, words))
		fail_msg("%s", reason);
}

/* ---- identities -------------------------------------------------------------------------------- */

static void
identity_is_made_once_and_kept(void **state)
{
	struct world *w = *state;

	struct catalog_identity a = identity(w, "file:/srv/a.img", 4096);
	assert_true(a.fresh);
	assert_int_equal(a.uuid[6] >> 4, 4);
	assert_int_equal(a.uuid[8] >> 6, 2);
	assert_int_equal(strlen(a.serial), 16);
	assert_int_equal(a.created_s, 1000);
	reopen(w);
	struct catalog_identity b = identity(w, "file:/srv/a.img", 8192);
	assert_false(b.fresh);
	assert_memory_equal(a.uuid, b.uuid, 16);
	assert_string_equal(a.serial, b.serial);
	assert_int_equal(b.size_bytes, 4096);
	assert_int_equal(identity(w, "file:/srv/a.img", 8192).size_bytes, 8192);
}

static void
identities_of_stores_differ(void **state)
{
	struct world *w = *state;

	struct catalog_identity a = identity(w, "file:/srv/a.img", 1),
	                        b = identity(w, "file:/srv/b", 1);
	assert_memory_not_equal(a.uuid, b.uuid, 16);
	assert_string_not_equal(a.serial, b.serial);
}

static void
long_names_that_differ_at_their_end_differ(void **state)
{
	struct world *w = *state;
	char name[5001];

	memset(name, 'x', sizeof(name) - 1);
	name[5000] = '\0';
	struct catalog_identity a = identity(w, name, 1);
	name[4999] = 'y';
	struct catalog_identity b = identity(w, name, 1);
	assert_memory_not_equal(a.uuid, b.uuid, 16);
	reopen(w);
	assert_memory_equal(identity(w, name, 1).uuid, b.uuid, 16);
}

static void
names_at_the_limits_are_refused_cleanly(void **state)
{
	struct world *w = *state;
	struct catalog_identity id;
	char *name = malloc(9000);

	memset(name, 'x', 8999);
	name[8999] = '\0';
	assert_int_equal(catalog_lu_identity(w->c, name, 1, 1, &id), -ENAMETOOLONG);
	assert_int_equal(catalog_lu_identity(w->c, "", 1, 1, &id), -ENAMETOOLONG);
	name[400] = '\0';
	identity(w, name, 1);
	name[399] = '\0';
	identity(w, name, 1);
	free(name);
}

static void
forgotten_store_gets_another_identity(void **state)
{
	struct world *w = *state;

	struct catalog_identity a = identity(w, "file:/srv/a.img", 1);
	assert_int_equal(catalog_lu_forget(w->c, "file:/srv/a.img"), 0);
	assert_int_equal(catalog_lu_forget(w->c, "file:/srv/a.img"), -ENOENT);
	assert_memory_not_equal(identity(w, "file:/srv/a.img", 1).uuid, a.uuid, 16);
}

/* ---- reservations --------------------------------------------------------------------------------- */

struct saves {
	struct catalog *c;
	struct loop *loop;
	struct loop_msg start;
	const struct save_step {
		uint8_t unit;
		const char *blob;    /* NULL: forget */
		const uint8_t *uuid; /* the whole one; NULL: unit and zeros */
	} * steps;
	unsigned count, done, order_bad;
	bool borrowed;
};

struct save_ctx {
	struct saves *s;
	unsigned nr;
};

static void
on_saved(void *ctx, int result)
{
	struct save_ctx *sc = ctx;
	struct saves *s = sc->s;

	assert_int_equal(result, 0);
	if (sc->nr != s->done)
		s->order_bad++;
	free(sc);
	if (++s->done == s->count)
		loop_stop(s->loop);
}

static void
start_saves(struct loop_msg *m)
{
	struct saves *s = container_of(m, struct saves, start);
	struct scsi_persist_ops ops = catalog_persist_ops(s->c, s->loop);

	for (unsigned i = 0; i < s->count; i++) {
		const struct save_step *step = &s->steps[i];
		struct save_ctx *sc = malloc(sizeof(*sc));
		*sc = (struct save_ctx){s, i};
		uint8_t uuid[16] = {step->unit};
		if (step->uuid)
			memcpy(uuid, step->uuid, sizeof(uuid));
		size_t len = step->blob ? strlen(step->blob) : 0;
		if (s->borrowed)
			ops.save(ops.ctx, SCSI_PERSIST_PR, uuid, step->blob, len, on_saved, sc);
		else
			assert_int_equal(catalog_lu_save_async(s->c, s->loop, SCSI_PERSIST_PR, uuid,
			                     step->blob, len, on_saved, sc),
			    0);
	}
	assert_int_equal(s->done, 0); /* never inside the call */
}

static void
run_saves(struct world *w, const struct save_step *steps, unsigned count, bool borrowed)
{
	struct saves s = {.c = w->c, .steps = steps, .count = count, .borrowed = borrowed};
	struct loop_cfg cfg;

	loop_cfg_default(&cfg);
	assert_int_equal(loop_create(&cfg, &s.loop), 0);
	s.start.run = start_saves;
	loop_send(s.loop, &s.start);
	loop_run(s.loop);
	loop_destroy(s.loop);
	assert_int_equal(s.done, count);
	assert_int_equal(s.order_bad, 0);
	reopen(w); /* forgets the loop, too */
}

static void
assert_stored(struct world *w, uint8_t unit, const char *blob)
{
	uint8_t uuid[16] = {unit};
	void *got;
	size_t len;

	int err = catalog_lu_load(w->c, SCSI_PERSIST_PR, uuid, &got, &len);
	if (!blob) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	assert_int_equal(err, 0);
	assert_int_equal(len, strlen(blob));
	assert_memory_equal(got, blob, len);
	free(got);
}

static void
saved_reservations_come_back(void **state)
{
	static const struct save_step steps[] = {{1, "one", NULL}, {2, "two", NULL}};
	struct world *w = *state;

	assert_stored(w, 1, NULL);
	run_saves(w, steps, 2, true);
	assert_stored(w, 1, "one");
	assert_stored(w, 2, "two");
	assert_stored(w, 3, NULL);
}

static void
last_save_wins_and_order_is_kept(void **state)
{
	static const struct save_step steps[] = {{1, "a", NULL}, {1, "bb", NULL}, {2, "x", NULL},
	    {1, "ccc", NULL}, {2, NULL, NULL}, {3, NULL, NULL}};
	struct world *w = *state;

	run_saves(w, steps, 6, false);
	assert_stored(w, 1, "ccc");
	assert_stored(w, 2, NULL);
	assert_stored(w, 3, NULL);
}

static void
forgetting_a_store_forgets_its_reservations(void **state)
{
	struct world *w = *state;

	struct catalog_identity a = identity(w, "file:/srv/a.img", 1);
	const struct save_step steps[] = {{.blob = "one", .uuid = a.uuid}};
	run_saves(w, steps, 1, true);
	void *got;
	size_t len;
	assert_int_equal(catalog_lu_load(w->c, SCSI_PERSIST_PR, a.uuid, &got, &len), 0);
	free(got);
	assert_int_equal(catalog_lu_forget(w->c, "file:/srv/a.img"), 0);
	assert_int_equal(catalog_lu_load(w->c, SCSI_PERSIST_PR, a.uuid, &got, &len), -ENOENT);
}

/* ---- damage ------------------------------------------------------------------------------------------ */

static void
file_is_sparse_and_private(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(stat(tmpdir_file(&w->tmp, "catalog.mdb"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(st.st_blocks * 512 < 1024 * 1024);
}

static void
garbage_is_refused(void **state)
{
	struct world *w = *state;
	static char junk[65536];

	memset(junk, 0x5a, sizeof(junk));
	catalog_close(w->c);
	w->c = NULL;
	tmpdir_write(&w->tmp, "catalog.mdb", junk, sizeof(junk));
	must_refuse(w, -EINVAL, "damaged: restore it from a backup");
}

static void
truncated_file_is_refused(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "file:/srv/%d", i);
		identity(w, name, 1);
	}
	catalog_close(w->c);
	w->c = NULL;
	assert_int_equal(truncate(tmpdir_file(&w->tmp, "catalog.mdb"), 3 * 4096), 0);
	must_refuse(w, -EINVAL, "damaged");
}

static void
catalog_that_vanished_is_not_made_anew(void **state)
{
	struct world *w = *state;

	catalog_close(w->c);
	w->c = NULL;
	assert_int_equal(unlink(tmpdir_file(&w->tmp, "catalog.mdb")), 0);
	must_refuse(w, -EINVAL, "is gone");
	/* The cure that the sentence names. */
	assert_int_equal(unlink(tmpdir_file(&w->tmp, "catalog.mdb.made")), 0);
	reopen(w);
}

/* A record of a catalogue that is closed. */
struct record {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key, val; /* val: valid until record_put() */
};

static void
record_get(struct world *w, struct record *r, const char *table, const char *key)
{
	catalog_close(w->c);
	w->c = NULL;
	assert_int_equal(mdb_env_create(&r->env), 0);
	mdb_env_set_maxdbs(r->env, 8);
	assert_int_equal(
	    mdb_env_open(r->env, tmpdir_file(&w->tmp, "catalog.mdb"), MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(r->env, NULL, 0, &r->txn), 0);
	assert_int_equal(mdb_dbi_open(r->txn, table, 0, &r->dbi), 0);
	r->key = (MDB_val){strlen(key), (void *)(uintptr_t)key};
	assert_int_equal(mdb_get(r->txn, r->dbi, &r->key, &r->val), 0);
}

static void
record_put(struct record *r, void *data, size_t len)
{
	r->val = (MDB_val){len, data};
	assert_int_equal(mdb_put(r->txn, r->dbi, &r->key, &r->val, 0), 0);
	assert_int_equal(mdb_txn_commit(r->txn), 0);
	mdb_env_close(r->env);
}

/* Changes one byte of the record of `table` under `key`. */
static void
poke(struct world *w, const char *table, const char *key, size_t at, uint8_t value)
{
	struct record r;
	uint8_t copy[4096];

	record_get(w, &r, table, key);
	size_t len = r.val.mv_size;
	assert_true(len <= sizeof(copy) && at < len);
	memcpy(copy, r.val.mv_data, len);
	copy[at] = value;
	/* The record of the format has its checksum at 92. */
	if (strcmp(table, "meta") == 0) {
		le32 crc = {{0}};
		memcpy(copy + 92, &crc, sizeof crc);
		le32_put(&crc, crc32c(copy, 96));
		memcpy(copy + 92, &crc, sizeof crc);
	}
	record_put(&r, copy, len);
}

static void
newer_formats_are_refused(void **state)
{
	struct world *w = *state;
	/* version, incompat, ro_compat */
	static const uint8_t at[] = {0, 4, 8};

	for (size_t i = 0; i < sizeof(at); i++) {
		uint8_t good = i <= 1 ? 1 : 0;
		poke(w, "meta", "format", at[i], 2);
		must_refuse(w, -ENOTSUP, "newer version");
		poke(w, "meta", "format", at[i], good);
		reopen(w);
	}
}

static void
unknown_compatible_features_are_ignored(void **state)
{
	struct world *w = *state;

	poke(w, "meta", "format", 12, 0xff);
	reopen(w);
}

static void
damaged_identity_is_not_replaced(void **state)
{
	struct world *w = *state;
	struct catalog_identity id;

	id = identity(w, "file:/srv/a.img", 1);
	poke(w, "identity", "nfile:/srv/a.img", 20, id.uuid[4] ^ 0x40);
	must_refuse(w, -EINVAL, "damaged");
	/* As it was, it is welcome. */
	poke(w, "identity", "nfile:/srv/a.img", 20, id.uuid[4]);
	reopen(w);
	assert_int_equal(catalog_lu_find(w->c, "file:/srv/a.img", &id), 0);
}

/* One from before there were sums: 80 bytes of the record, bit 0 of `incompat` clear. */
static void
catalogue_without_sums_gets_them(void **state)
{
	struct world *w = *state;
	struct record r;
	uint8_t old[80];

	struct catalog_identity a = identity(w, "file:/srv/a.img", 1), b;
	record_get(w, &r, "meta", "format");
	assert_int_equal(r.val.mv_size, 96);
	memcpy(old, r.val.mv_data, sizeof(old));
	old[4] = 0;
	record_put(&r, old, sizeof(old));
	reopen(w);
	assert_int_equal(catalog_lu_find(w->c, "file:/srv/a.img", &b), 0);
	assert_memory_equal(a.uuid, b.uuid, sizeof(a.uuid));
	/* And from then on they are looked at. */
	poke(w, "identity", "nfile:/srv/a.img", 20, a.uuid[4] ^ 0x40);
	must_refuse(w, -EINVAL, "damaged");
}

/* The cure of the sentence, with the copy that the last start made. */
static void
copy_of_the_last_start_takes_the_place_of_a_damaged_one(void **state)
{
	struct world *w = *state;
	static uint8_t copy[1 << 20];
	struct catalog_identity a = identity(w, "file:/srv/a.img", 1), b;
	struct stat st;

	reopen(w);
	poke(w, "identity", "nfile:/srv/a.img", 20, a.uuid[4] ^ 0x40);
	must_refuse(w, -EINVAL, "catalog.mdb.last");
	assert_int_equal(stat(tmpdir_file(&w->tmp, "catalog.mdb.last"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	size_t len = tmpdir_read(&w->tmp, "catalog.mdb.last", copy, sizeof(copy));
	assert_in_range(len, 1, sizeof(copy) - 1);
	tmpdir_write(&w->tmp, "catalog.mdb", copy, len);
	reopen(w);
	assert_int_equal(catalog_lu_find(w->c, "file:/srv/a.img", &b), 0);
	assert_memory_equal(a.uuid, b.uuid, sizeof(a.uuid));
}

/* docs/format/catalog.md */
static void
identity_record_has_its_golden_bytes(void **state)
{
	struct world *w = *state;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	struct catalog_identity id = identity(w, "ram:x", 0x1122334455667788);
	catalog_close(w->c);
	w->c = NULL;
	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	assert_int_equal(
	    mdb_env_open(env, tmpdir_file(&w->tmp, "catalog.mdb"), MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "identity", 0, &dbi), 0);
	MDB_val key = {6, (void *)(uintptr_t) "nram:x"}, val;
	assert_int_equal(mdb_get(txn, dbi, &key, &val), 0);
	uint8_t want[69] = {1, 0, 16, 0, 5, 0, 0, 0};
	memcpy(want + 8, (uint8_t *)val.mv_data + 8, 4); /* the CRC: checked by decoding */
	memcpy(want + 16, id.uuid, 16);
	memcpy(want + 32, "\x88\x77\x66\x55\x44\x33\x22\x11\xe8\x03\0\0\0\0\0\0", 16);
	memcpy(want + 48, id.serial, 16);
	memcpy(want + 64, "ram:x", 5);
	assert_int_equal(val.mv_size, sizeof(want));
	assert_memory_equal(val.mv_data, want, sizeof(want));
	mdb_txn_abort(txn);
	mdb_env_close(env);
	reopen(w);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(identity_is_made_once_and_kept),
	    T(identities_of_stores_differ),
	    T(long_names_that_differ_at_their_end_differ),
	    T(names_at_the_limits_are_refused_cleanly),
	    T(forgotten_store_gets_another_identity),
	    T(saved_reservations_come_back),
	    T(last_save_wins_and_order_is_kept),
	    T(forgetting_a_store_forgets_its_reservations),
	    T(file_is_sparse_and_private),
	    T(garbage_is_refused),
	    T(truncated_file_is_refused),
	    T(catalog_that_vanished_is_not_made_anew),
	    T(newer_formats_are_refused),
	    T(unknown_compatible_features_are_ignored),
	    T(damaged_identity_is_not_replaced),
	    T(identity_record_has_its_golden_bytes),
	    T(catalogue_without_sums_gets_them),
	    T(copy_of_the_last_start_takes_the_place_of_a_damaged_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
