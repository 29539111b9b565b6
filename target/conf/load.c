/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole configuration: terrace.conf, what it includes, conf.d. Whilst a command writes into conf.d
 * a reader in another process may see a part of the change: it looks before and after whether
 * there was one, and reads again.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES_MAX 8u

/* What changes when something in the folder does. */
struct stamp {
	bool exists;
	dev_t dev;
	ino_t ino;
	struct timespec modified, changed;
	off_t changes; /* that commands made: the size of their lock */
};

static struct stamp
stamp_of(const char *path)
{
	struct stamp s = {0};
	struct stat st;
	int dir = path != NULL ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	if (dir < 0)
		return s;
	if (fstat(dir, &st) == 0)
		s = (struct stamp){.exists = true,
		    .dev = st.st_dev,
		    .ino = st.st_ino,
		    .modified = st.st_mtim,
		    .changed = st.st_ctim};
	/* Times are as coarse as the kernel's clock ticks; this isn't. */
	if (fstatat(dir, CONF_LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		s.changes = st.st_size;
	close(dir);
	return s;
}

static bool
same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool
same(const struct stamp *a, const struct stamp *b)
{
	return a->exists == b->exists && a->changes == b->changes && a->dev == b->dev &&
	       a->ino == b->ino && same_time(a->modified, b->modified) &&
	       same_time(a->changed, b->changed);
}

/* ---- conf.d ---------------------------------------------------------------------------------- */

/* A change that was interrupted counts as carried out. */
static int
read_pending(const char *path, const struct conf_pos *at, struct conf_errors *errors,
    struct conf_journal *ret)
{
	struct conf_why why;
	int dir = path != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (dir < 0)
		return 0; /* conf_dir_read() tells what is wrong with it */
	int rc = conf_journal_read(dir, ret, &why);
	close(dir);
	if (rc == 0 || rc == -ENOENT || rc == -ENOMEM)
		return rc == -ENOENT ? 0 : rc;
	conf_errors_add(errors, at,
	    "%s/%s holds a change that was interrupted, and %s: look what is missing in the "
	    "folder, "
	    "then remove that file",
	    path, CONF_JOURNAL_NAME, why.text);
	return -EINVAL;
}

/* Read by an include, or the file that we began with. */
static bool
was_read(const struct conf_tree *t, const struct conf_dir *d, const struct conf_dir_file *f)
{
	if (f->source != NULL)
		return true;
	if (!f->exists)
		return false;
	const struct conf_dir_file *twin = conf_dir_find(d, f->dev, f->ino);
	const struct conf_source *first = t->sources[0];
	return (twin != NULL && twin->source != NULL) ||
	       (first->is_file && first->dev == f->dev && first->ino == f->ino);
}

static int
read_file(struct conf_tree *t, struct conf_errors *errors, struct conf_dir_file *f, bool *stopped)
{
	struct conf_source *s;
	const char *dir = t->dir->path != NULL ? t->dir->path : "conf.d";
	size_t size = strlen(dir) + strlen(f->name) + 2;
	char *whole = malloc(size);
	if (whole == NULL)
		return -ENOMEM;
	stpcpy(stpcpy(stpcpy(whole, dir), "/"), f->name);
	int rc = f->instead != NULL ? conf_source_instead(t, whole, f, &s)
	                            : conf_source_read(t, whole, NULL, errors, &s);
	free(whole);
	if (rc == -EINVAL)
		return 0; /* told: the others are read nevertheless */
	return rc < 0 ? rc : conf_parse_source(t, errors, s, stopped);
}

static int
read_dir(struct conf_tree *t, struct conf_errors *errors, struct conf_dir *d, bool *stopped)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && !*stopped && i < d->count; i++) {
		struct conf_dir_file *f = &d->list[i];
		if ((f->instead != NULL && f->instead->text == NULL) || was_read(t, d, f))
			continue;
		if (t->source_count >= CONF_SOURCES_MAX) {
			struct conf_pos top = {.file = t->sources[0]->path, .line = 1, .column = 1};
			conf_errors_add(errors, &top,
			    "too many files: at most %u; the rest of %s isn't read",
			    CONF_SOURCES_MAX, d->path);
			return 0;
		}
		rc = read_file(t, errors, f, stopped);
	}
	return rc;
}

/* One object in a file of its name, and nothing else: commands may write it anew. 1, 0, -ENOMEM. */
static int
is_of_commands(const struct conf_dir_file *f)
{
	const struct conf_source *s = f->source;
	const struct conf_node *n = s != NULL ? s->top_last : NULL;
	struct conf_why why;
	enum conf_kind kind;
	char *name = NULL;

	if (n == NULL || s->top_count != 1 || s->has_include || (f->exists && !f->plain))
		return 0;
	if (!n->has_block || n->word_count != 2 || conf_kind_from_string(n->words[0], &kind) < 0)
		return 0;
	int rc = conf_schema_object(kind)->name_text(NULL, n->words[1], &name, &why);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	char *file = conf_file_name(kind, name);
	rc = file == NULL ? -ENOMEM : strcmp(file, f->name) == 0;
	free(file);
	free(name);
	return rc;
}

static int
set_owners(const struct conf_dir *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		const struct conf_dir_file *f = &d->list[i];
		int is = is_of_commands(f);
		bool runtime = f->instead != NULL && f->instead->runtime;
		if (is < 0)
			return is;
		if (is > 0)
			f->source->owner = runtime ? CONF_OWNER_RUNTIME : CONF_OWNER_COMMANDS;
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int
read_first(const struct conf_load_args *args, struct conf_tree *t, struct conf_errors *errors,
    struct conf_source **ret)
{
	if (args->path != NULL)
		return conf_source_read(t, args->path, NULL, errors, ret);
	const char *text = args->text != NULL ? args->text : "";
	const char *name = args->text_name != NULL ? args->text_name : "command line";
	int rc = conf_source_add(t, name, text, strlen(text), ret);
	if (rc == 0)
		(*ret)->owner = CONF_OWNER_COMMAND_LINE;
	return rc;
}

/* The name of the first file must be there before anything can be told. */
static int
read_all(const struct conf_load_args *args, const char *dir_path, struct conf_tree *t,
    struct conf_errors *errors)
{
	struct conf_pos top = {
	    .file = args->path != NULL ? args->path : "command line", .line = 1, .column = 1};
	struct conf_journal pending = {0};
	struct conf_dir dir = {0};
	struct conf_source *first;
	bool stopped = false;

	struct conf_errors of_folder = {0};
	int folder = read_pending(dir_path, &top, &of_folder, &pending);
	if (folder == 0)
		folder = conf_dir_read(dir_path, pending.files, pending.count, args->overlay,
		    args->overlay_count, &top, &of_folder, &dir);
	int rc = folder == -ENOMEM || (folder < 0 && of_folder.count == 0) ? -ENOMEM : 0;
	if (rc == 0) {
		t->dir = &dir;
		rc = read_first(args, t, errors, &first);
	}
	if (rc == 0)
		rc = conf_parse_source(t, errors, first, &stopped);
	if (rc == 0)
		rc = read_dir(t, errors, &dir, &stopped);
	if (rc == 0)
		rc = set_owners(&dir);
	/* What is wrong with the folder stands at the first file. */
	top.file = t->source_count > 0 ? t->sources[0]->path : top.file;
	for (unsigned i = 0; rc != -ENOMEM && i < of_folder.count; i++)
		conf_errors_add(errors, &top, "%s", of_folder.list[i].text);
	conf_errors_fini(&of_folder);
	t->dir = NULL;
	conf_dir_fini(&dir);
	conf_journal_fini(&pending);
	return rc;
}

/* 0 or -EINVAL: *ret is set. 1: the folder was changed meanwhile, *ret is set as well. */
static int
read_once(const struct conf_load_args *args, const char *dir_path, struct conf_errors *errors,
    struct conf_tree **ret)
{
	unsigned before = errors->wrong;
	struct conf_tree *t = calloc(1, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	struct stamp at_first = stamp_of(dir_path);
	int rc = read_all(args, dir_path, t, errors);
	if (rc == -ENOMEM) {
		conf_tree_destroy(t);
		return rc;
	}
	struct stamp at_last = stamp_of(dir_path);
	t->root.pos = (struct conf_pos){.file = t->sources[0]->path, .line = 1, .column = 1};
	*ret = t;
	if (!same(&at_first, &at_last))
		return 1;
	return errors->wrong > before ? -EINVAL : 0;
}

static int
read_stable(const struct conf_load_args *args, const char *dir_path, struct conf_errors *errors,
    struct conf_tree **ret)
{
	const struct conf_errors mark = *errors;
	int rc = 1;

	for (unsigned i = 0; rc == 1 && i < TRIES_MAX; i++) {
		conf_errors_cut(errors, &mark);
		conf_tree_destroy(*ret);
		*ret = NULL;
		rc = read_once(args, dir_path, errors, ret);
	}
	if (rc == 1) {
		conf_errors_add(errors, &(*ret)->root.pos,
		    "%s is being changed all the time: try again", dir_path);
		rc = -EINVAL;
	}
	return rc;
}

int
conf_load(const struct conf_load_args *args, struct conf_errors *errors,
    struct conf_tree **ret_tree, struct conf **ret)
{
	char *dir_path = args->path != NULL ? conf_dir_path(args->path) : NULL;
	struct conf_tree *t = NULL;

	*ret_tree = NULL;
	*ret = NULL;
	if (args->path != NULL && dir_path == NULL)
		return -ENOMEM;
	int rc = read_stable(args, dir_path, errors, &t);
	free(dir_path);
	if (rc == -ENOMEM)
		return rc;
	conf_errors_sort(errors, t);
	t->events = args->events;
	int built = conf_build(t, errors, ret);
	t->events = NULL;
	if (built == -ENOMEM) {
		conf_tree_destroy(t);
		return built;
	}
	if (rc < 0) {
		conf_destroy(*ret);
		*ret = NULL;
	}
	*ret_tree = t;
	return rc < 0 ? rc : built;
}
