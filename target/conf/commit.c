/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of conf.d. One file: written under another name, synced, renamed. Several: the journal is
 * written like that first. What a kill or a power cut leaves:
 *
 *   before the journal's rename   .tmp, perhaps               nothing has happened
 *   after it                      .pending                    everything counts as done: conf_load()
 *                                                             sees it so, conf_recover() does it
 *   whilst it is carried out      .pending, some files, .tmp  likewise: each step may be done again
 *   after its unlink              nothing                     done
 *
 * INV-1: a file is synced before it is renamed.
 * INV-2: the folder is synced after the journal's rename and before the first file of it is touched,
 *        and after the last one and before the journal is removed.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP_NAME ".tmp"

struct commit {
	char *dir_path;
	int dir, lock; /* -1: not open */
	mode_t mode;   /* of files without secrets */
	gid_t gid;
	char *reason;
	size_t reason_cap;
};

__attribute__((format(printf, 3, 4))) static int
failed(struct commit *c, int rc, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->reason, c->reason_cap, fmt, ap);
	va_end(ap);
	return rc;
}

static int
no_memory(struct commit *c)
{
	return failed(c, -ENOMEM, "out of memory");
}

/*
 * Tells those who read the folder meanwhile, who can't lock it, that what they read may be of two
 * times: the lock's size counts. Called when no file has changed yet, with the journal, if there is
 * one, in its place: who has looked for it before sees another size afterwards. That it fails is no
 * reason to stop; a change of the folder's time says nearly the same.
 */
static void
count_change(struct commit *c)
{
	struct stat st;
	if (fstat(c->lock, &st) == 0 && ftruncate(c->lock, (st.st_size + 1) % (1 << 30)) < 0)
		return;
}

/* ---- one file -------------------------------------------------------------------------------- */

static int
write_all(int fd, const char *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, data + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* -EIO, whatever the reason: what was renamed may be there after a power cut, or not. */
static int
sync_dir(struct commit *c)
{
	if (fsync(c->dir) == 0)
		return 0;
	return failed(c, -EIO, "can't make %s durable: %s", c->dir_path, strerror(errno));
}

/* The whole file, synced, under the temporary name. */
static int
write_tmp(struct commit *c, const char *data, size_t len, mode_t mode, gid_t gid)
{
	unlinkat(c->dir, TMP_NAME, 0);
	int fd =
	    openat(c->dir, TMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = 0;
	/* Only root can give a file to any group; without it nobody else may read. */
	if ((mode & 0040u) != 0 && fchown(fd, (uid_t)-1, gid) < 0)
		mode &= ~0040u;
	if (fchmod(fd, mode) < 0)
		rc = -errno;
	if (rc == 0)
		rc = write_all(fd, data, len);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

/* Durable once the folder is synced. */
static int
put(struct commit *c, const char *name, const char *data, size_t len, mode_t mode, gid_t gid)
{
	int rc = write_tmp(c, data, len, mode, gid);
	if (rc == 0 && renameat(c->dir, TMP_NAME, c->dir, name) < 0)
		rc = -errno;
	if (rc == 0)
		return 0;
	unlinkat(c->dir, TMP_NAME, 0);
	return failed(c, rc, "can't write %s/%s: %s", c->dir_path, name, strerror(-rc));
}

static int
put_or_remove(struct commit *c, const struct conf_file *f, mode_t mode)
{
	if (f->text != NULL)
		return put(c, f->name, f->text, strlen(f->text), mode, c->gid);
	if (unlinkat(c->dir, f->name, 0) == 0 || errno == ENOENT)
		return 0;
	int rc = -errno;
	return failed(c, rc, "can't remove %s/%s: %s", c->dir_path, f->name, strerror(-rc));
}

/* ---- the journal ----------------------------------------------------------------------------- */

/* The journal is there, durable. */
static int
carry_out(struct commit *c, const struct conf_file *files, const mode_t *modes, unsigned count)
{
	int rc = 0;

	count_change(c);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = put_or_remove(c, &files[i], modes[i]);
	if (rc == 0)
		rc = sync_dir(c);
	if (rc == 0 && unlinkat(c->dir, CONF_JOURNAL_NAME, 0) < 0 && errno != ENOENT) {
		rc = -errno;
		failed(
		    c, rc, "can't remove %s/%s: %s", c->dir_path, CONF_JOURNAL_NAME, strerror(-rc));
	}
	/* Should it come back, it says what is there. */
	return rc < 0 ? rc : sync_dir(c);
}

/* What an earlier process left. */
static int
roll_forward(struct commit *c)
{
	struct conf_journal j;
	struct conf_why why;
	int rc = conf_journal_read(c->dir, &j, &why);

	if (rc == -ENOENT)
		return 0;
	if (rc == -ENOMEM)
		return no_memory(c);
	if (rc < 0)
		return failed(c, rc == -EINVAL ? -EUCLEAN : rc,
		    "%s/%s holds a change that was interrupted, and %s: look what is missing in "
		    "the folder, then remove that file",
		    c->dir_path, CONF_JOURNAL_NAME, why.text);
	/* Its rename may not have reached the disk yet. */
	rc = sync_dir(c);
	if (rc == 0)
		rc = carry_out(c, j.files, j.modes, j.count);
	conf_journal_fini(&j);
	return rc;
}

static int
commit_several(struct commit *c, const struct conf_file *files, const mode_t *modes, unsigned count)
{
	char *text;
	size_t len;

	if (conf_journal_print(files, modes, count, &text, &len) < 0)
		return no_memory(c);
	int rc = len <= CONF_JOURNAL_MAX_BYTES
	             ? put(c, CONF_JOURNAL_NAME, text, len, 0600, c->gid)
	             : failed(c, -EINVAL, "the change is too large: divide it");
	explicit_bzero(text, len);
	free(text);
	if (rc < 0)
		return rc;
	rc = sync_dir(c);
	if (rc < 0) {
		unlinkat(c->dir, CONF_JOURNAL_NAME, 0);
		fsync(c->dir);
		return rc;
	}
	c->reason[0] = '\0';
	carry_out(c, files, modes, count); /* what remains is a remark: the change is durable */
	return 0;
}

/* ---- what is asked --------------------------------------------------------------------------- */

static bool
has_secret(const struct conf_node *n)
{
	for (unsigned i = 0; i < n->child_count; i++) {
		const struct conf_node *child = n->children[i];
		if (strcmp(child->words[0], "secret") == 0 ||
		    strcmp(child->words[0], "mutual_secret") == 0 || has_secret(child))
			return true;
	}
	return false;
}

/* A text that would be an error when it is read is refused before it is there. */
static int
check_file(struct commit *c, const struct conf_file *f, mode_t *ret)
{
	struct conf_errors errors = {0};
	struct conf_tree *t = NULL;

	*ret = 0600;
	if (!conf_file_name_ok(f->name))
		return failed(
		    c, -EINVAL, "'%s' is no name for a file of conf.d", CONF_SHOW(f->name));
	if (f->text == NULL)
		return 0;
	int rc = conf_parse_text(f->name, f->text, strlen(f->text), &errors, &t);
	if (rc == -ENOMEM)
		no_memory(c);
	else if (rc < 0)
		failed(c, rc, "%s:%u:%u: %s", f->name,
		    errors.count > 0 ? errors.list[0].pos.line : 1,
		    errors.count > 0 ? errors.list[0].pos.column : 1,
		    errors.count > 0 ? errors.list[0].text : "out of memory");
	else if (t->sources[0]->has_include)
		rc = failed(c, -EINVAL, "%s: a command's file includes nothing", f->name);
	else if (!has_secret(conf_tree_root(t)))
		*ret = c->mode;
	conf_errors_fini(&errors);
	conf_tree_destroy(t);
	return rc;
}

static int
check_files(struct commit *c, const struct conf_file *files, unsigned count, mode_t **ret)
{
	mode_t *modes = calloc(count + 1u, sizeof *modes);
	int rc = 0;

	if (modes == NULL)
		return no_memory(c);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = files[i].runtime ? failed(c, -EINVAL, "%s is for this process only",
		                            CONF_SHOW(files[i].name))
		                      : check_file(c, &files[i], &modes[i]);
	if (rc < 0)
		free(modes);
	else
		*ret = modes;
	return rc;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static int
make_dir(struct commit *c, const char *conf_path)
{
	/* Who may read terrace.conf may look into the folder. */
	if (mkdir(c->dir_path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	int fd = open(c->dir_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	mode_t read = c->mode & 0044u;
	if ((read & 0040u) != 0 && fchown(fd, (uid_t)-1, c->gid) < 0)
		read &= ~0040u;
	int rc = fchmod(fd, 0700u | read | read >> 2) < 0 ? -errno : 0;
	close(fd);
	char *above = conf_path_from(conf_path, ".");
	if (above == NULL)
		return -ENOMEM;
	int parent = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(above);
	if (parent < 0)
		return -errno;
	if (fsync(parent) < 0)
		rc = -errno;
	close(parent);
	return rc;
}

/* The lock is a file that nobody else can open: who may only read can't stop changes. */
static int
lock(struct commit *c)
{
	c->lock = openat(c->dir, CONF_LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->lock < 0)
		return failed(c, -errno, "can't write into %s: %s", c->dir_path, strerror(errno));
	if (flock(c->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	int rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
	return failed(c, rc, "%s is being changed by another process", c->dir_path);
}

/* conf.d, open. -ENOENT without a reason: it isn't there and `create` is false. */
static int
begin(struct commit *c, const char *conf_path, bool create, char *reason, size_t reason_cap)
{
	struct stat st;

	*c = (struct commit){.dir = -1, .lock = -1, .reason = reason, .reason_cap = reason_cap};
	if (reason_cap > 0)
		reason[0] = '\0';
	c->dir_path = conf_dir_path(conf_path);
	if (c->dir_path == NULL)
		return no_memory(c);
	if (stat(conf_path, &st) < 0)
		return failed(c, -errno, "can't look at %s: %s", conf_path, strerror(errno));
	c->mode = 0600u | (st.st_mode & 0044u);
	c->gid = st.st_gid;
	int rc = create ? make_dir(c, conf_path) : 0;
	if (rc == 0) {
		c->dir = open(c->dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = c->dir < 0 ? -errno : 0;
	}
	if (rc == -ENOENT && !create)
		return rc;
	if (rc < 0)
		return failed(c, rc, "can't open or create %s: %s", c->dir_path, strerror(-rc));
	return 0;
}

static void
end(struct commit *c)
{
	if (c->lock >= 0)
		close(c->lock);
	if (c->dir >= 0)
		close(c->dir);
	free(c->dir_path);
}

/* ---- entry ------------------------------------------------------------------------------------ */

int
conf_commit(const char *conf_path, const struct conf_file *files, unsigned count, char *reason,
    size_t reason_cap)
{
	struct commit c;
	mode_t *modes = NULL;
	int rc = begin(&c, conf_path, count > 0, reason, reason_cap);

	if (rc == -ENOENT && reason[0] == '\0')
		rc = 0; /* nothing to do, and nowhere */
	else if (rc == 0)
		rc = lock(&c);
	if (rc == 0 && c.lock >= 0)
		rc = roll_forward(&c);
	if (rc == 0 && count > 0)
		rc = check_files(&c, files, count, &modes);
	if (rc == 0 && count == 1) {
		count_change(&c);
		rc = put_or_remove(&c, &files[0], modes[0]);
		if (rc == 0)
			rc = sync_dir(&c);
	} else if (rc == 0 && count > 1) {
		rc = commit_several(&c, files, modes, count);
	}
	free(modes);
	end(&c);
	return rc;
}

int
conf_recover(const char *conf_path, char *reason, size_t reason_cap)
{
	struct commit c;
	struct stat st;
	int rc = begin(&c, conf_path, false, reason, reason_cap);
	/* Nothing is written, perhaps can't be, where there is nothing to do. */
	bool needed =
	    rc == 0 && (fstatat(c.dir, CONF_JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	                   fstatat(c.dir, TMP_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0);

	if (needed)
		rc = lock(&c);
	if (rc == 0 && needed)
		rc = roll_forward(&c);
	if (rc == 0 && needed)
		unlinkat(c.dir, TMP_NAME, 0); /* in nobody's way, should it stay */
	end(&c);
	return rc == -ENOENT && reason[0] == '\0' ? 0 : rc;
}
