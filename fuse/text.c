/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts: made when they are opened, and when they are read again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops_priv.h"

static char *
render(const struct request *r, const struct gather *g, size_t *ret_len, int *ret_err)
{
	const struct node *n = r->node;
	const struct recipe *recipe = n->entry->recipe;
	json_t *answers[GATHER_MAX];

	*ret_err = -ENOMEM;
	for (unsigned i = 0; i < GATHER_MAX; i++)
		answers[i] = g->parts[i].answer;
	if (recipe->paged != NULL && g->err == 0) {
		json_t *next = json_object_get(answers[0], "next");
		answers[0] = json_pack("{s:O, s:O*}", recipe->paged, r->pages, "next", next);
		char *text =
		    answers[0] != NULL ? recipe->render(n, answers, ret_len, ret_err) : NULL;
		json_decref(answers[0]);
		return text;
	}
	if (g->err == 0)
		return recipe->render(n, answers, ret_len, ret_err);
	if (recipe->render_down != NULL)
		return recipe->render_down(n, g->err, ret_len);
	*ret_err = g->err;
	return NULL;
}

static void on_text_gathered(struct gather *g);

/* True: another page was asked for. */
static bool
next_page(struct request *r, struct gather *g)
{
	const struct recipe *recipe = r->node->entry->recipe;
	const json_t *answer = g->parts[0].answer;
	const json_t *next = json_object_get(answer, "next");

	if (r->pages == NULL && (r->pages = json_array()) == NULL) {
		g->err = -ENOMEM;
		return false;
	}
	json_array_extend(r->pages, json_object_get(answer, recipe->paged));
	if (!json_is_integer(next) || ++r->page_count == PAGES_MAX)
		return false;
	const char *method = recipe->methods[0], *key = strchr(method, ' ') + 1;
	struct gather_need need = {method,
	    json_pack("{s:s, s:I}", key, node_object(r->node), "from", json_integer_value(next))};
	gather_init(g, on_text_gathered); /* the answer is dropped by who called */
	gather_start(g, r->server->source, &need, 1);
	return true;
}

static void
on_text_gathered(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	struct file *f = r->file;
	size_t len = 0;
	int err;

	if (r->node->entry->recipe->paged != NULL && g->err == 0 && next_page(r, g))
		return;
	char *text = render(r, g, &len, &err);

	if (text == NULL) {
		fuse_reply_err(r->req, -err);
		if (r->is_new)
			file_free(r->server, f);
		request_end(r);
		return;
	}
	free(f->data);
	f->data = text;
	f->len = len;
	f->made_ms = r->server->ev.now_ms;
	r->node->size = len;
	if (r->is_new)
		reply_open(r, f);
	else
		reply_part(r->req, f, r->size, r->offset);
	request_end(r);
}

static void
begin(struct request *r, struct file *f, bool is_new)
{
	r->file = f;
	r->is_new = is_new;
	gather_methods(r, r->node->entry->recipe->methods, on_text_gathered);
}

void
text_open(struct request *r)
{
	begin(r, r->file, true);
}

/* Read again from the beginning it is what holds then, as in /proc. */
void
text_read(fuse_req_t req, struct file *f, size_t size, off_t offset)
{
	struct server *s = server_of(req);

	if (offset == 0 && f->was_read && s->ev.now_ms - f->made_ms > CACHED_MS) {
		struct request *r = request_begin(req, f->node);
		if (r == NULL)
			return;
		r->size = size;
		begin(r, f, false);
		return;
	}
	f->was_read = true;
	reply_part(req, f, size, offset);
}
