/* Images: opened by what lun.list says, then bytes of the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ops_priv.h"

static void
on_image_gathered(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	struct server *s = r->server;
	const json_t *lun = lun_row(g->parts[0].answer, r->node);
	bool writes = (r->fi.flags & O_ACCMODE) != O_RDONLY;
	int err = g->err;

	if (err == 0 && lun == NULL)
		err = -ENOENT;
	if (err == 0 && json_text(lun, "why")[0] != '\0')
		err = -ENODEV;
	if (err == 0 && writes && !json_is_true(json_object_get(lun, "nbd_writable")))
		err = -EROFS;
	if (err == 0)
		err = disks_set_path(
		    s->disks, s->nbd != NULL ? s->nbd : json_text(g->parts[1].answer, "nbd"));
	if (err == 0)
		err = disk_open(s->disks, lun, &r->file->disk);
	if (err == 0) {
		disks_note(s->disks, g->parts[0].answer);
		reply_open(r, r->file);
	} else {
		fuse_reply_err(r->req, -err);
		file_free(s, r->file);
	}
	request_end(r);
}

/* A request for bytes under way. */
struct transfer {
	struct disk_io io;
	struct server *server;
	fuse_req_t req;
	struct node *node;
	uint8_t *copy; /* of what is written */
};

static void
on_transfer_done(struct disk_io *io)
{
	struct transfer *t = container_of(io, struct transfer, io);

	if (io->err < 0)
		fuse_reply_err(t->req, -io->err);
	else if (io->op == DISK_READ)
		fuse_reply_buf(t->req, (const char *)io->data, (size_t)io->at);
	else if (io->op == DISK_WRITE)
		fuse_reply_write(t->req, (size_t)io->at);
	else if (io->op == DISK_FLUSH)
		fuse_reply_err(t->req, 0);
	else
		fuse_reply_lseek(t->req, (off_t)io->at);
	t->node->users--;
	tree_put(t->server->tree, t->node);
	free(t->copy);
	free(t);
}

void
image_transfer(
    fuse_req_t req, struct file *f, enum disk_op op, const char *data, size_t size, off_t offset)
{
	struct transfer *t = calloc(1, sizeof *t);

	if (t != NULL && data != NULL && (t->copy = malloc(size)) != NULL)
		memcpy(t->copy, data, size);
	if (t == NULL || (data != NULL && t->copy == NULL)) {
		free(t);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	t->server = server_of(req);
	t->req = req;
	t->node = f->node;
	t->node->users++;
	t->io.op = op;
	t->io.offset = (uint64_t)offset;
	t->io.len = (uint32_t)size;
	t->io.data = t->copy;
	t->io.done = on_transfer_done;
	disk_submit(f->disk, &t->io);
}

static const char *const image_methods[GATHER_MAX] = {LUN_LIST, "version"};

void
image_open(struct request *r)
{
	gather_methods(r, image_methods, on_image_gathered);
}
