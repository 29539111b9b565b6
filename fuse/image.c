/* SPDX-License-Identifier: BSD-2-Clause */
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
	json_int_t block = json_number(lun, "block_bytes", 0);
	r->file->block_bytes = block >= 512 && block <= 65536 ? (size_t)block : 4096;
	if (err == 0) {
		disks_note(s->disks, g->parts[0].answer);
		reply_open(r, r->file);
	} else {
		fuse_reply_err(r->req, -err);
		file_free(s, r->file);
	}
	request_end(r);
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

/* A request for bytes under way. */
struct transfer {
	struct disk_io io;
	struct disk *disk;
	struct server *server;
	fuse_req_t req;
	struct node *node;
	/*
	 * Of what is written: whole blocks. The kernel cuts a write where its pages end, not where our
	 * blocks do: what is missing of the first and of the last one is read before.
	 */
	uint8_t *copy;
	uint64_t copy_at;
	size_t copy_len, block;
	uint64_t at; /* of the request */
	size_t len;
	bool head_missing, tail_missing;
};

static void
end(struct transfer *t)
{
	t->node->users--;
	tree_put(t->server->tree, t->node);
	free(t->copy);
	free(t);
}

static void
on_transfer_done(struct disk_io *io)
{
	struct transfer *t = container_of(io, struct transfer, io);

	if (io->err < 0)
		fuse_reply_err(t->req, -io->err);
	else if (io->op == DISK_READ)
		fuse_reply_buf(t->req, (const char *)io->data, (size_t)io->at);
	else if (io->op == DISK_WRITE)
		fuse_reply_write(t->req, t->len);
	else if (io->op == DISK_FLUSH)
		fuse_reply_err(t->req, 0);
	else
		fuse_reply_lseek(t->req, (off_t)io->at);
	end(t);
}

static struct transfer *
transfer_new(fuse_req_t req, struct file *f, enum disk_op op, size_t size, off_t offset)
{
	struct transfer *t = calloc(1, sizeof *t);

	if (t == NULL) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	t->server = server_of(req);
	t->req = req;
	t->disk = f->disk;
	t->node = f->node;
	t->node->users++;
	t->at = (uint64_t)offset;
	t->len = size;
	t->io.op = op;
	t->io.offset = (uint64_t)offset;
	t->io.len = (uint32_t)size;
	t->io.done = on_transfer_done;
	return t;
}

void
image_transfer(fuse_req_t req, struct file *f, enum disk_op op, size_t size, off_t offset)
{
	struct transfer *t = transfer_new(req, f, op, size, offset);
	if (t != NULL)
		disk_submit(t->disk, &t->io);
}

static void write_step(struct transfer *t);

/* The first or the last block, as it is: what the request doesn't say of it. */
static void
on_edge(struct disk_io *io)
{
	struct transfer *t = container_of(io, struct transfer, io);
	uint64_t end_at = t->at + t->len, block_end = io->offset + t->block;

	if (io->err == 0 && io->at < t->block)
		io->err = -ENOSPC; /* behind the end */
	if (io->err < 0) {
		fuse_reply_err(t->req, -io->err);
		end(t);
		return;
	}
	uint8_t *to = t->copy + (io->offset - t->copy_at);
	if (t->at > io->offset)
		memcpy(to, io->data, (size_t)(t->at - io->offset));
	if (end_at < block_end)
		memcpy(to + (end_at - io->offset), io->data + (end_at - io->offset),
		    (size_t)(block_end - end_at));
	t->head_missing = t->head_missing && io->offset != t->copy_at;
	t->tail_missing = t->tail_missing && block_end != t->copy_at + t->copy_len;
	write_step(t);
}

static void
write_step(struct transfer *t)
{
	bool edge = t->head_missing || t->tail_missing;

	t->io.op = edge ? DISK_READ : DISK_WRITE;
	t->io.offset = t->head_missing || !edge ? t->copy_at : t->copy_at + t->copy_len - t->block;
	t->io.len = (uint32_t)(edge ? t->block : t->copy_len);
	t->io.data = t->copy;
	t->io.done = edge ? on_edge : on_transfer_done;
	disk_submit(t->disk, &t->io);
}

void
image_write(fuse_req_t req, struct file *f, const char *data, size_t size, off_t offset)
{
	struct transfer *t = transfer_new(req, f, DISK_WRITE, size, offset);

	if (t == NULL)
		return;
	t->block = f->block_bytes;
	t->copy_at = t->at - t->at % t->block;
	t->copy_len = (size_t)((t->at + size + t->block - 1) / t->block * t->block - t->copy_at);
	t->head_missing = t->at != t->copy_at;
	t->tail_missing = t->at + size != t->copy_at + t->copy_len;
	t->copy = malloc(t->copy_len);
	if (t->copy == NULL || size == 0) {
		fuse_reply_err(req, size == 0 ? EINVAL : ENOMEM);
		end(t);
		return;
	}
	memcpy(t->copy + (t->at - t->copy_at), data, size);
	write_step(t);
}

/* ---- open ----------------------------------------------------------------------------------------------- */

static const char *const image_methods[GATHER_MAX] = {LUN_LIST, "version"};

void
image_open(struct request *r)
{
	gather_methods(r, image_methods, on_image_gathered);
}
