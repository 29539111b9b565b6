/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration as it would be: the files, what holds at runtime, the edits. On a worker. */
#include "daemon/change_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the files as they are ---------------------------------------------------------------------------- */

/* The text of the one object in a file of conf.d, printed as commands print it. NULL: there is none. */
static char *
text_on_disk(const char *path)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf_edit *e = NULL;
	char *text = NULL;

	if (conf_parse_file(path, &errors, &tree) == 0) {
		const struct conf_node *root = conf_tree_root(tree);
		if (root->child_count == 1 && conf_edit_from(root->children[0], &e) == 0)
			text = conf_edit_text(e);
	}
	conf_edit_destroy(e);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return text;
}

/* An object whose file somebody has changed since it was read: the change would overwrite that. */
static int
check_disk(struct change *c, unsigned i)
{
	const struct change_edit *e = &c->edits[i];
	const char *conf = c->daemon->options->config_file;
	const char *slash = strrchr(conf, '/');
	char *path, *text;

	if (asprintf(&path, "%.*sconf.d/%s", slash != NULL ? (int)(slash + 1 - conf) : 0, conf,
	        c->files[i].name) < 0)
		return -ENOMEM;
	bool there = access(path, F_OK) == 0;
	if (e->on_disk != there) {
		(void)change_fail(c, CTL_FAILED,
		    there
		        ? "%s is there and isn't loaded: `terracectl reload` loads it, or remove it"
		        : "%s has been removed: `terracectl reload` makes that so",
		    path);
		free(path);
		return -EINVAL;
	}
	text = there ? text_on_disk(path) : NULL;
	if (there && (text == NULL || strcmp(text, e->before) != 0)) {
		(void)change_fail(c, CTL_FAILED,
		    "%s has been changed since it was loaded: `terracectl reload` first", path);
		conf_text_destroy(text);
		free(path);
		return -EINVAL;
	}
	conf_text_destroy(text);
	free(path);
	return 0;
}

bool
change_edits(const struct change *c, const char *file)
{
	for (unsigned i = 0; i < c->edit_count; i++)
		if (strcmp(c->files[i].name, file) == 0)
			return true;
	return false;
}

/*
 * What holds on top of the files: what runtime changes left, and the edits. An object that is changed
 * for good isn't a matter of runtime any more.
 */
static struct conf_file *
overlay(struct change *c, unsigned *ret_count)
{
	const struct change_engine *e = c->engine;
	struct conf_file *list = calloc(e->runtime_count + c->edit_count + 1, sizeof *list);
	unsigned count = 0;
	if (list == NULL)
		return NULL;
	for (unsigned i = 0; i < e->runtime_count; i++)
		if (!change_edits(c, e->runtime[i].name))
			list[count++] = e->runtime[i];
	for (unsigned i = 0; i < c->edit_count; i++)
		list[count++] = c->files[i];
	*ret_count = count;
	return list;
}

/*
 * What is written is read again at the next start without what holds until then only: it must stand
 * by itself. Otherwise a start, maybe after a power cut, would find a configuration with errors.
 */
static int
check_kept(struct change *c)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	const struct conf_load_args args = {
	    .path = c->daemon->options->config_file,
	    .overlay = c->files,
	    .overlay_count = c->edit_count,
	    .events = daemon_event_names(),
	};

	if (args.path == NULL || c->runtime || c->edit_count == 0 || c->engine->runtime_count == 0)
		return 0;
	int rc = conf_load(&args, &errors, &tree, &conf);
	if (rc < 0 && rc != -ENOMEM) {
		const struct conf_error *first = NULL;
		for (unsigned i = 0; first == NULL && i < errors.count; i++)
			if (!errors.list[i].remark)
				first = &errors.list[i];
		(void)change_fail(c, CTL_FAILED,
		    "this would be kept, but needs what was changed with --runtime and isn't (%s): "
		    "say "
		    "--runtime here too, or make that for good first",
		    first != NULL ? first->text : "the configuration can't be loaded without");
		rc = -EINVAL;
	}
	conf_errors_fini(&errors);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	return rc;
}

int
change_load_work(struct loop_job *j)
{
	struct change *c = container_of(j, struct change, job);
	const char *path = c->daemon->options->config_file;
	unsigned count;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && path != NULL && !c->runtime && i < c->edit_count; i++)
		rc = check_disk(c, i);
	if (rc < 0)
		return rc;
	struct conf_file *files = overlay(c, &count);
	if (files == NULL)
		return -ENOMEM;
	struct conf_load_args args = {
	    .path = path,
	    .text = path == NULL ? c->engine->base_text : NULL,
	    .text_name = "command line",
	    .overlay = files,
	    .overlay_count = count,
	    .events = daemon_event_names(),
	};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	rc = conf_load(&args, &c->errors, &tree, &conf);
	free(files);
	if (rc < 0) {
		c->tree = tree;
		return rc;
	}
	c->config = (struct daemon_config){tree, conf};
	rc = check_kept(c);
	return rc < 0 ? rc : conf_diff(c->daemon->conf, conf, &c->diff);
}
