/* SPDX-License-Identifier: BSD-2-Clause */
/* Control files: a verb a write, on a connection of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops_priv.h"

#define VERBS_MAX 8u
#define VERB_MAX_BYTES 4096u

/* A verb under way, on a connection of its own: it may take its time. */
struct job {
	struct list link; /* of server.jobs */
	struct server *server;
	struct rpc *rpc;
	struct rpc_call call;
	struct timer end;  /* rpc isn't destroyed in its own callback */
	struct file *file; /* NULL: closed meanwhile */
	fuse_req_t req;    /* NULL: interrupted */
	size_t size;
};

static void
on_job_end(struct timer *t)
{
	struct job *j = container_of(t, struct job, end);
	list_remove(&j->link);
	rpc_destroy(j->rpc);
	free(j);
}

static bool
is_of_cache(const struct file *f)
{
	return strcmp(f->node->parent->parent->entry->name, "caches") == 0;
}

static void
set_result(struct file *f, char *text)
{
	if (f == NULL) {
		free(text);
		return;
	}
	free(f->data);
	f->data = text;
	f->len = text != NULL ? strlen(text) : 0;
}

static void
on_verb_done(struct rpc_call *c)
{
	struct job *j = container_of(c, struct job, call);
	struct text t = {0};

	if (c->err == 0) {
		set_result(j->file, verb_result(c->result));
	} else {
		text_add(&t, "%s\n", c->message[0] != '\0' ? c->message : strerror(-c->err));
		set_result(j->file, t.p);
	}
	source_expire(j->server->source);
	if (j->file != NULL)
		j->file->verb = NULL;
	if (j->req != NULL && c->err == 0)
		fuse_reply_write(j->req, j->size);
	else if (j->req != NULL)
		fuse_reply_err(j->req, -c->err);
	j->req = NULL;
	j->server->verbs--;
	timer_set(&j->server->ev, &j->end, 0);
}

/* Whoever waits is let go; the daemon goes on with what it was told. */
static void
on_interrupt(fuse_req_t req, void *ctx)
{
	struct job *j = ctx;
	if (j->req != req)
		return;
	j->req = NULL;
	fuse_reply_err(req, EINTR);
}

static void
verb_begin(fuse_req_t req, struct file *f, const struct verb *v, size_t size)
{
	struct server *s = server_of(req);
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL || rpc_create(&s->ev, s->control, &j->rpc) < 0) {
		free(j);
		json_decref(v->params);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	j->server = s;
	j->file = f;
	j->req = req;
	j->size = size;
	j->call.done = on_verb_done;
	timer_init(&j->end, on_job_end);
	list_init(&j->link);
	list_push_back(&s->jobs, &j->link);
	s->verbs++;
	f->verb = j;
	rpc_submit(j->rpc, &j->call, v->method, v->params, 0);
	fuse_req_interrupt_func(req, on_interrupt, j);
}

void
control_write(fuse_req_t req, struct file *f, const char *data, size_t size)
{
	struct server *s = server_of(req);
	char reason[512] = "";
	struct verb v;

	if (size > VERB_MAX_BYTES) {
		fuse_reply_err(req, EMSGSIZE);
		return;
	}
	if (f->verb != NULL || s->verbs == VERBS_MAX) {
		fuse_reply_err(req, EBUSY);
		return;
	}
	int rc =
	    verb_parse(data, size, is_of_cache(f), node_object(f->node), &v, reason, sizeof reason);
	if (rc < 0) {
		struct text t = {0};
		text_add(&t, "%s\n", reason);
		set_result(f, t.p);
		fuse_reply_err(req, -rc);
		return;
	}
	verb_begin(req, f, &v, size);
}

void
control_open(struct request *r)
{
	struct file *f = r->file;
	char *help = strdup(verb_help(is_of_cache(f)));

	if (help == NULL) {
		file_free(r->server, f);
		request_fail(r, -ENOMEM);
		return;
	}
	set_result(f, help);
	reply_open(r, f);
	request_end(r);
}

void
control_release(struct file *f)
{
	if (f->verb != NULL)
		f->verb->file = NULL;
	f->verb = NULL;
}

void
control_end(struct server *s)
{
	LIST_FOREACH_SAFE (n, &s->jobs) {
		struct job *j = container_of(n, struct job, link);
		if (j->req != NULL)
			fuse_reply_err(j->req, ESHUTDOWN);
		if (j->file != NULL)
			j->file->verb = NULL;
		timer_cancel(&j->end);
		on_job_end(&j->end);
	}
}
