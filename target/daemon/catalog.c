/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Saves wait in a queue of the loop; a job takes all that wait into one transaction, so that many
 * changes cost one sync. One job at a time: commits follow each other in the order of the calls.
 */
#include "daemon/catalog_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/endian.h"

#define NAME_MAX_BYTES 8192u
#define SAVES_MAX 65536u /* more than one unit each can't wait */
#define SHA256_BYTES 32u

struct identity_record {
	le16 version;      /*  0  1 */
	le16 serial_bytes; /*  2 */
	le32 name_bytes;   /*  4 */
	le32 crc;          /*  8  CRC32C of the record with this field 0 */
	le32 reserved;     /* 12  0 */
	uint8_t uuid[16];  /* 16 */
	le64 size_bytes;   /* 32 */
	le64 created_s;    /* 40 */
	                   /* 48: serial, then name, neither terminated */
};
_Static_assert(sizeof(struct identity_record) == 48, "format");

struct save {
	struct list link;
	enum scsi_persist what;
	uint8_t uuid[16];
	const void *blob;
	void *copy; /* ours, or NULL: borrowed */
	size_t len;
	void (*done)(void *ctx, int result);
	void *ctx;
};

/* ---- errors ------------------------------------------------------------------------------------ */

int
catalog_errno(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return -EINVAL;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

static int fail(int err, char *reason, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
fail(int err, char *reason, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	return err;
}

static int
fail_damaged(const struct catalog *c, char *reason, size_t cap)
{
	return fail(-EINVAL, reason, cap,
	    "the catalogue %s is damaged: restore it from a backup or from %s.last, the copy that"
	    " the last start made, or remove it and %s.made to start with new identities"
	    " (initiators will see new disks; see DAMAGE in terraced(8))",
	    c->path, c->path, c->path);
}

static int
fail_open(const struct catalog *c, int err, char *reason, size_t cap)
{
	if (err == -EINVAL)
		return fail_damaged(c, reason, cap);
	return fail(err, reason, cap,
	    "cannot open the catalogue %s (%s): check its permissions and the room on its file "
	    "system",
	    c->path, strerror(-err));
}

/* ---- open --------------------------------------------------------------------------------------- */

/* DIR/catalog.mdb.made says that there has been a catalogue: one that vanished isn't made anew. */
static bool
was_made(const struct catalog *c)
{
	char made[PATH_MAX + 8];

	snprintf(made, sizeof(made), "%s.made", c->path);
	return access(made, F_OK) == 0;
}

static int
note_made(const struct catalog *c, const char *dir)
{
	char made[PATH_MAX + 8];

	snprintf(made, sizeof(made), "%s.made", c->path);
	int fd = open(made, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int
open_tables(struct catalog *c, MDB_txn *txn)
{
	int rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &c->meta);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "identity", MDB_CREATE, &c->identity);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "reservations", MDB_CREATE, &c->lu[SCSI_PERSIST_PR]);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "sanitize", MDB_CREATE, &c->lu[SCSI_PERSIST_SANITIZE]);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "numbers", MDB_CREATE, &c->numbers);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "intents", MDB_CREATE, &c->intents);
	return catalog_errno(rc);
}

/* A new one begins; one from before there were sums gets them; in others they have to be right. */
static int
check_rows(struct catalog *c, MDB_txn *txn, const char *machine_id, struct catalog_format *f)
{
	char id[sizeof f->machine_id] = {0};
	uint64_t sum;
	uint32_t rows;

	memcpy(id, machine_id, strnlen(machine_id, sizeof id));
	int err = catalog_format_get(c, txn, f);
	bool fresh = err == -ENOENT && !was_made(c);
	if (err == -ENOENT)
		err = fresh ? 0 : -EINVAL;
	if (err == 0)
		err = catalog_sum(c, txn, &sum, &rows);
	if (err < 0)
		return err;
	if (fresh)
		memset(f, 0, sizeof *f);
	bool counted = le32_get(f->incompat) & CATALOG_INCOMPAT_SUMS;
	if (fresh && rows > 0)
		return -EINVAL;
	if (counted && (le64_get(f->sum) != sum || le32_get(f->rows) != rows))
		return -EINVAL;
	if (counted && memcmp(id, f->machine_id, sizeof id) == 0)
		return 0;
	le32_put(&f->version, CATALOG_FORMAT_VERSION);
	le64_put(&f->sum, sum);
	le32_put(&f->rows, rows);
	memcpy(f->machine_id, id, sizeof id);
	return catalog_format_put(c, txn, f);
}

static int
open_format(struct catalog *c, const char *machine_id, char *reason, size_t cap)
{
	struct catalog_format f;
	MDB_txn *txn;

	int err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return fail_open(c, err, reason, cap);
	err = open_tables(c, txn);
	if (err == 0)
		err = check_rows(c, txn, machine_id, &f);
	if (err == 0)
		err = catalog_errno(mdb_txn_commit(txn));
	else
		mdb_txn_abort(txn);
	if (err == -ENOTSUP)
		return fail(err, reason, cap,
		    "the catalogue %s was written by a newer version (format %u, features %x/%x; "
		    "this one"
		    " knows format %u): install that version, or name another directory with "
		    "--state-dir",
		    c->path, le32_get(f.version), le32_get(f.incompat), le32_get(f.ro_compat),
		    CATALOG_FORMAT_VERSION);
	return err < 0 ? fail_open(c, err, reason, cap) : 0;
}

static int
open_env(struct catalog *c, char *reason, size_t cap)
{
	struct stat st;

	bool there = stat(c->path, &st) == 0 && st.st_size > 0;
	if (!there && was_made(c))
		return fail(-EINVAL, reason, cap,
		    "the catalogue %s is gone: restore it from a backup, or remove %s.made to "
		    "start with new"
		    " identities (initiators will see new disks)",
		    c->path, c->path);
	int err = there ? catalog_check_file(c->path) : 0;
	if (err == 0)
		err = catalog_errno(mdb_env_create(&c->env));
	if (err == 0)
		err = catalog_errno(mdb_env_set_mapsize(c->env, CATALOG_MAP_BYTES));
	if (err == 0)
		err = catalog_errno(mdb_env_set_maxdbs(c->env, 8));
	if (err == 0)
		err = catalog_errno(mdb_env_open(c->env, c->path, MDB_NOSUBDIR | MDB_NOTLS, 0600));
	return err < 0 ? fail_open(c, err, reason, cap) : 0;
}

/*
 * DIR/catalog.mdb.last is what was found right at this start, for the time when it isn't. Not a reason not to
 * start where it can't be made: the catalogue itself is there.
 */
static void
keep_copy(struct catalog *c)
{
	char name[PATH_MAX + 8], made[PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s.last", c->path);
	snprintf(made, sizeof(made), "%s.new", name);
	int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	bool whole = mdb_env_copyfd2(c->env, fd, 0) == 0 && fsync(fd) == 0;
	close(fd);
	if (!whole || rename(made, name) < 0)
		unlink(made);
}

int
catalog_open(
    const char *dir, const char *machine_id, struct catalog **ret, char *reason, size_t reason_cap)
{
	struct catalog *c = calloc(1, sizeof(*c));

	if (!c)
		return fail(-ENOMEM, reason, reason_cap, "out of memory");
	list_init(&c->queue);
	list_init(&c->batch);
	int n = snprintf(c->path, sizeof(c->path), "%s/catalog.mdb", dir);
	int err = pool_init(&c->saves, "catalog saves", sizeof(struct save), SAVES_MAX);
	if (err < 0)
		err = fail(err, reason, reason_cap, "out of memory");
	else if (n < 0 || (size_t)n >= sizeof(c->path))
		err = fail(-ENAMETOOLONG, reason, reason_cap,
		    "the state directory's path is too long: name a shorter one with --state-dir");
	if (err == 0)
		err = open_env(c, reason, reason_cap);
	if (err == 0)
		err = open_format(c, machine_id, reason, reason_cap);
	if (err == 0) {
		err = note_made(c, dir);
		if (err < 0)
			fail_open(c, err, reason, reason_cap);
	}
	if (err < 0) {
		catalog_close(c);
		return err;
	}
	keep_copy(c);
	*ret = c;
	return 0;
}

void
catalog_close(struct catalog *c)
{
	if (!c)
		return;
	ASSERT(!c->busy && list_empty(&c->queue) && list_empty(&c->batch));
	if (c->env)
		mdb_env_close(c->env);
	pool_fini(&c->saves);
	free(c);
}

/* ---- identities ------------------------------------------------------------------------------------ */

int
catalog_make_key(const char *name, char tag, struct catalog_key *k)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (len <= CATALOG_KEY_PLAIN_MAX) {
		k->b[0] = (uint8_t)tag;
		memcpy(k->b + 1, name, len);
		k->len = 1 + len;
		return 0;
	}
	k->b[0] = 'h';
	k->len = 1 + SHA256_BYTES;
	return EVP_Digest(name, len, k->b + 1, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

static uint32_t
record_crc(const uint8_t *rec, size_t len)
{
	static const uint8_t zero[4];
	const size_t at = offsetof(struct identity_record, crc);

	uint32_t crc = crc32c_update(CRC32C_INIT, rec, at);
	crc = crc32c_update(crc, zero, sizeof(zero));
	crc = crc32c_update(crc, rec + at + sizeof(zero), len - at - sizeof(zero));
	return crc32c_final(crc);
}

static int
decode_identity(const MDB_val *val, const char *name, struct catalog_identity *id)
{
	struct identity_record r;
	const uint8_t *p = val->mv_data;

	if (val->mv_size < sizeof(r))
		return -EINVAL;
	memcpy(&r, p, sizeof(r));
	size_t serial = le16_get(r.serial_bytes), bytes = le32_get(r.name_bytes);
	if (le16_get(r.version) != 1 || le32_get(r.reserved) != 0 || serial > CATALOG_SERIAL_MAX ||
	    bytes > NAME_MAX_BYTES || val->mv_size != sizeof(r) + serial + bytes ||
	    le32_get(r.crc) != record_crc(p, val->mv_size))
		return -EINVAL;
	if (bytes != strlen(name) || memcmp(p + sizeof(r) + serial, name, bytes) != 0)
		return -EINVAL;
	memcpy(id->uuid, r.uuid, sizeof(id->uuid));
	memcpy(id->serial, p + sizeof(r), serial);
	id->serial[serial] = '\0';
	id->size_bytes = le64_get(r.size_bytes);
	id->created_s = (int64_t)le64_get(r.created_s);
	id->fresh = false;
	return 0;
}

static int
put_identity(struct catalog *c, MDB_txn *txn, const struct catalog_key *k, const char *name,
    const struct catalog_identity *id, uint64_t size_bytes)
{
	struct identity_record r = {0};
	size_t serial = strlen(id->serial), bytes = strlen(name);
	size_t len = sizeof(r) + serial + bytes;

	uint8_t *rec = malloc(len);
	if (!rec)
		return -ENOMEM;
	le16_put(&r.version, 1);
	le16_put(&r.serial_bytes, (uint16_t)serial);
	le32_put(&r.name_bytes, (uint32_t)bytes);
	memcpy(r.uuid, id->uuid, sizeof(r.uuid));
	le64_put(&r.size_bytes, size_bytes);
	le64_put(&r.created_s, (uint64_t)id->created_s);
	memcpy(rec, &r, sizeof(r));
	memcpy(rec + sizeof(r), id->serial, serial);
	memcpy(rec + sizeof(r) + serial, name, bytes);
	le32_put(&r.crc, record_crc(rec, len));
	memcpy(rec, &r, sizeof(r));
	MDB_val key = {.mv_size = k->len, .mv_data = (void *)(uintptr_t)k->b};
	MDB_val val = {.mv_size = len, .mv_data = rec};
	int err = catalog_put(c, txn, c->identity, &key, &val);
	free(rec);
	return err;
}

static void
serial_from_uuid(struct catalog_identity *id)
{
	for (size_t i = 0; i < 8; i++)
		snprintf(id->serial + 2 * i, 3, "%02x", id->uuid[i]);
}

/* A random UUID (RFC 9562, version 4); the serial number is its first half. */
static int
new_identity(struct catalog_identity *id, int64_t now_s)
{
	if (getrandom(id->uuid, sizeof(id->uuid), 0) != (ssize_t)sizeof(id->uuid))
		return -EIO;
	id->uuid[6] = (id->uuid[6] & 0x0f) | 0x40;
	id->uuid[8] = (id->uuid[8] & 0x3f) | 0x80;
	serial_from_uuid(id);
	id->size_bytes = 0;
	id->created_s = now_s;
	id->fresh = true;
	return 0;
}

/* Finds or makes one; *ret_write says whether anything was written. */
static int
identity_in(struct catalog *c, MDB_txn *txn, struct catalog_identity_request *r, int64_t now_s,
    bool *ret_write)
{
	struct catalog_identity id = {.fresh = false};
	struct catalog_key k;
	MDB_val val;

	int err = catalog_make_key(r->key, 'n', &k);
	if (err < 0)
		return err;
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b};
	err = catalog_errno(mdb_get(txn, c->identity, &mk, &val));
	if (err == 0)
		err = decode_identity(&val, r->key, &id);
	else if (err == -ENOENT)
		err = new_identity(&id, now_s);
	if (err == 0 && (id.fresh || id.size_bytes != r->size_bytes)) {
		err = put_identity(c, txn, &k, r->key, &id, r->size_bytes);
		*ret_write = true;
	}
	if (err == 0)
		r->identity = id;
	return err;
}

int
catalog_lu_identities(struct catalog *c, struct catalog_identity_request *list, unsigned count,
    int64_t now_s, unsigned *ret_failed)
{
	MDB_txn *txn;
	bool write = false;
	unsigned i;

	int err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0) {
		*ret_failed = 0;
		return err;
	}
	for (i = 0; err == 0 && i < count; i++)
		err = identity_in(c, txn, &list[i], now_s, &write);
	if (err < 0)
		*ret_failed = i - 1;
	if (err < 0 || !write) {
		mdb_txn_abort(txn);
		return err;
	}
	err = catalog_errno(mdb_txn_commit(txn));
	if (err < 0)
		*ret_failed = 0;
	return err;
}

int
catalog_lu_identity(struct catalog *c, const char *key, uint64_t size_bytes, int64_t now_s,
    struct catalog_identity *ret)
{
	struct catalog_identity_request r = {.key = key, .size_bytes = size_bytes};
	unsigned failed;

	int err = catalog_lu_identities(c, &r, 1, now_s, &failed);
	if (err == 0)
		*ret = r.identity;
	return err;
}

int
catalog_lu_find(struct catalog *c, const char *key, struct catalog_identity *ret)
{
	struct catalog_identity id = {.fresh = false};
	struct catalog_key k;
	MDB_txn *txn;

	int err = catalog_make_key(key, 'n', &k);
	if (err == 0)
		err = catalog_errno(mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn));
	if (err < 0)
		return err;
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b}, val;
	err = catalog_errno(mdb_get(txn, c->identity, &mk, &val));
	if (err == 0)
		err = decode_identity(&val, key, &id);
	mdb_txn_abort(txn);
	if (err == 0)
		*ret = id;
	return err;
}

int
catalog_lu_adopt(
    struct catalog *c, const char *key, const uint8_t uuid[16], uint64_t size_bytes, int64_t now_s)
{
	struct catalog_identity id = {.created_s = now_s};
	struct catalog_key k;
	MDB_txn *txn;

	memcpy(id.uuid, uuid, sizeof id.uuid);
	serial_from_uuid(&id);
	int err = catalog_make_key(key, 'n', &k);
	if (err == 0)
		err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return err;
	err = put_identity(c, txn, &k, key, &id, size_bytes);
	if (err == 0)
		return catalog_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	return err;
}

int
catalog_lu_forget(struct catalog *c, const char *key)
{
	struct catalog_identity id;
	struct catalog_key k;
	MDB_txn *txn;

	int err = catalog_make_key(key, 'n', &k);
	if (err == 0)
		err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return err;
	MDB_val mk = {.mv_size = k.len, .mv_data = k.b}, val;
	err = catalog_errno(mdb_get(txn, c->identity, &mk, &val));
	if (err == 0 && decode_identity(&val, key, &id) == 0) {
		MDB_val uuid = {.mv_size = sizeof(id.uuid), .mv_data = id.uuid};
		for (unsigned i = 0; i < SCSI_PERSIST_COUNT && err == 0; i++) {
			err = catalog_del(c, txn, c->lu[i], &uuid);
			if (err == -ENOENT)
				err = 0;
		}
	}
	if (err == 0)
		err = catalog_del(c, txn, c->identity, &mk);
	if (err == 0)
		return catalog_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	return err;
}

/* ---- what units remember ------------------------------------------------------------------------------ */

int
catalog_lu_load(struct catalog *c, enum scsi_persist what, const uint8_t lu_uuid[16], void **ret,
    size_t *ret_len)
{
	MDB_val key = {.mv_size = 16, .mv_data = (void *)(uintptr_t)lu_uuid}, val;
	MDB_txn *txn;

	int err = catalog_errno(mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn));
	if (err < 0)
		return err;
	err = catalog_errno(mdb_get(txn, c->lu[what], &key, &val));
	if (err == 0) {
		void *copy = malloc(val.mv_size ? val.mv_size : 1);
		if (copy) {
			memcpy(copy, val.mv_data, val.mv_size);
			*ret = copy;
			*ret_len = val.mv_size;
		} else {
			err = -ENOMEM;
		}
	}
	mdb_txn_abort(txn);
	return err;
}

static int
put_save(struct catalog *c, MDB_txn *txn, const struct save *s)
{
	MDB_val key = {.mv_size = sizeof(s->uuid), .mv_data = (void *)(uintptr_t)s->uuid};
	MDB_val val = {.mv_size = s->len, .mv_data = (void *)(uintptr_t)s->blob};

	if (s->len > 0)
		return catalog_put(c, txn, c->lu[s->what], &key, &val);
	int err = catalog_del(c, txn, c->lu[s->what], &key);
	return err == -ENOENT ? 0 : err;
}

/* On the helper thread; the batch is its own until save_done(). */
static int
save_work(struct loop_job *j)
{
	struct catalog *c = container_of(j, struct catalog, job);
	MDB_txn *txn;

	int err = catalog_errno(mdb_txn_begin(c->env, NULL, 0, &txn));
	if (err < 0)
		return err;
	LIST_FOREACH (l, &c->batch) {
		err = put_save(c, txn, container_of(l, struct save, link));
		if (err < 0) {
			mdb_txn_abort(txn);
			return err;
		}
	}
	return catalog_errno(
	    mdb_txn_commit(txn)); /* synced: neither MDB_NOSYNC nor MDB_NOMETASYNC is set */
}

static void save_done(struct loop_job *j, int result);

static void
save_start(struct catalog *c)
{
	if (c->busy || list_empty(&c->queue))
		return;
	ASSERT(list_empty(&c->batch));
	list_splice_back(&c->batch, &c->queue);
	c->busy = true;
	c->job = (struct loop_job){.work = save_work, .done = save_done};
	loop_job_submit(c->loop, &c->job);
}

static void
save_done(struct loop_job *j, int result)
{
	struct catalog *c = container_of(j, struct catalog, job);
	struct list ended;

	list_init(&ended);
	list_splice_back(&ended, &c->batch);
	c->busy = false;
	/* The next batch starts first: a done() may close the catalogue after the last one. */
	save_start(c);
	while (!list_empty(&ended)) {
		struct save *s = container_of(list_pop_front(&ended), struct save, link);
		void (*done)(void *ctx, int result) = s->done;
		void *ctx = s->ctx;
		free(s->copy);
		pool_put(&c->saves, s);
		done(ctx, result);
	}
}

static void
save_submit(struct catalog *c, struct loop *loop, const struct save *request)
{
	ASSERT(loop_is_current(loop));
	ASSERT(c->loop == NULL || c->loop == loop);
	c->loop = loop;
	struct save *s = pool_get(&c->saves);
	ASSERT(s != NULL); /* each unit waits for its save before it asks for the next */
	*s = *request;
	list_init(&s->link);
	list_push_back(&c->queue, &s->link);
	save_start(c);
}

int
catalog_lu_save_async(struct catalog *c, struct loop *loop, enum scsi_persist what,
    const uint8_t lu_uuid[16], const void *blob, size_t len, void (*done)(void *ctx, int result),
    void *ctx)
{
	struct save s = {.what = what, .len = len, .done = done, .ctx = ctx};

	memcpy(s.uuid, lu_uuid, sizeof(s.uuid));
	if (pool_free_count(&c->saves) == 0)
		return -ENOMEM;
	if (len > 0) {
		s.copy = malloc(len);
		if (!s.copy)
			return -ENOMEM;
		memcpy(s.copy, blob, len);
		s.blob = s.copy;
	}
	save_submit(c, loop, &s);
	return 0;
}

/* The core keeps the blob until done: nothing to copy, nothing that can fail here. */
static void
persist_save(void *ctx, enum scsi_persist what, const uint8_t lu_uuid[16], const void *blob,
    size_t len, void (*done)(void *done_ctx, int result), void *done_ctx)
{
	struct catalog *c = ctx;
	struct save s = {.what = what, .blob = blob, .len = len, .done = done, .ctx = done_ctx};

	memcpy(s.uuid, lu_uuid, sizeof(s.uuid));
	save_submit(c, c->loop, &s);
}

struct scsi_persist_ops
catalog_persist_ops(struct catalog *c, struct loop *loop)
{
	ASSERT(c->loop == NULL || c->loop == loop);
	c->loop = loop;
	return (struct scsi_persist_ops){.save = persist_save, .ctx = c};
}
