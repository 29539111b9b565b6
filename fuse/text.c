/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts: made when they are opened, when they are read again, and long ones while they are read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops_priv.h"

#define SKIPPED_MAX_MS 3000u /* pages before the one that is read */

static void
fail(struct request *r, int err)
{
	fuse_reply_err(r->req, -err);
	if (r->is_new)
		file_free(r->server, r->file);
	request_end(r);
}

static void
answer(struct request *r)
{
	if (r->is_new)
		reply_open(r, r->file);
	else
		reply_part(r->req, r->file, r->size, r->offset);
	request_end(r);
}

/* Takes the text: it is what the file holds, from `base` on. */
static void
hold(struct request *r, uint64_t base, char *text, size_t len)
{
	struct file *f = r->file;

	free(f->data);
	f->data = text;
	f->len = len;
	f->base = base;
	r->node->size = base + len;
}

/* ---- whole ---------------------------------------------------------------------------------------- */

static char *
render(const struct request *r, const struct gather *g, size_t *ret_len, int *ret_err)
{
	const struct node *n = r->node;
	const struct recipe *recipe = n->entry->recipe;
	json_t *answers[GATHER_MAX];

	*ret_err = -ENOMEM;
	for (unsigned i = 0; i < GATHER_MAX; i++)
		answers[i] = g->parts[i].answer;
	if (g->err == 0)
		return recipe->render(n, answers, ret_len, ret_err);
	if (recipe->render_down != NULL)
		return recipe->render_down(n, g->err, ret_len);
	*ret_err = g->err;
	return NULL;
}

static void
on_text_gathered(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	size_t len = 0;
	int err;
	char *text = render(r, g, &len, &err);

	if (text == NULL) {
		fail(r, err);
		return;
	}
	hold(r, 0, text, len);
	r->file->made_ms = r->server->ev.now_ms;
	answer(r);
}

/* ---- page by page: however long it is, one page of it is held ----------------------------------------- */

static void on_page(struct gather *g);

static void
ask_page(struct request *r)
{
	const char *method = r->node->entry->recipe->methods[0], *key = strchr(method, ' ') + 1;
	struct file *f = r->file;

	r->from = f->next;
	r->reading = f->reading;
	struct gather_need need = {.method = method,
	    .params = json_pack("{s:s, s:I}", key, node_object(r->node), "from", r->from)};
	gather_init(&r->gather, on_page);
	gather_start(&r->gather, r->server->source, &need, 1);
}

static void
first_page(struct request *r)
{
	struct file *f = r->file;

	f->reading++;
	f->base = f->len = 0;
	f->next = 0;
	f->made_ms = r->server->ev.now_ms;
	ask_page(r);
}

/* Answers, or asks for the page that is missing. */
static void
go_on(struct request *r)
{
	const struct file *f = r->file;
	uint64_t at = (uint64_t)r->offset;

	if (r->is_new || (at >= f->base && (at - f->base < f->len || f->next < 0)))
		answer(r);
	else if (r->server->ev.now_ms > r->until_ms)
		fail(r, -ETIMEDOUT);
	else if (at < f->base)
		first_page(r);
	else
		ask_page(r);
}

/* The page goes behind what was held before, which goes. 0 or -errno. */
static int
take_page(struct request *r, const json_t *page)
{
	const struct recipe *recipe = r->node->entry->recipe;
	const json_t *next = json_object_get(page, "next");
	struct file *f = r->file;
	size_t len = 0;
	int err = -ENOMEM;
	json_t *given = json_pack("{s:O*, s:b}", recipe->paged,
	    json_object_get(page, recipe->paged), "first", r->from == 0);

	if (given == NULL)
		return -ENOMEM;
	char *text = recipe->render(r->node, &given, &len, &err);
	json_decref(given);
	if (text == NULL)
		return err;
	hold(r, f->base + f->len, text, len);
	/* Those of another program: they have to lead somewhere. */
	f->next = json_is_integer(next) && json_integer_value(next) > r->from
	              ? json_integer_value(next)
	              : -1;
	return 0;
}

static void
on_page(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	int err = g->err;

	/* Another read of the same open file may have been faster, or begun anew. */
	if (err == 0 && r->reading == r->file->reading && r->from == r->file->next)
		err = take_page(r, g->parts[0].answer);
	if (err < 0)
		fail(r, err);
	else
		go_on(r);
}

/* ---- open, read ------------------------------------------------------------------------------------------ */

static void
begin(struct request *r, struct file *f, bool is_new)
{
	r->file = f;
	r->is_new = is_new;
	r->until_ms = r->server->ev.now_ms + SKIPPED_MAX_MS;
	if (r->node->entry->recipe->paged != NULL)
		first_page(r);
	else
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
	bool anew = offset == 0 && f->was_read && s->ev.now_ms - f->made_ms > CACHED_MS;

	f->was_read = true;
	if (!anew && f->node->entry->recipe->paged == NULL) {
		reply_part(req, f, size, offset);
		return;
	}
	struct request *r = request_begin(req, f->node);
	if (r == NULL)
		return;
	r->size = size;
	r->offset = offset;
	if (anew) {
		begin(r, f, false);
		return;
	}
	r->file = f;
	r->until_ms = s->ev.now_ms + SKIPPED_MAX_MS;
	go_on(r);
}
