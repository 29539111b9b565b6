/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's requests. Those that need the daemon wait in a struct request, and are answered from its
 * callbacks; everything else is answered at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/ops_priv.h"

#define ROW_TIMEOUT_S 1.0 /* rows of the table don't go */
#define STATS_MANY 8u     /* in 2 * CACHED_MS */
/*
 * Objects do. What was there lately is found, as under a name that the kernel knows; what is in it, or that it
 * is there in a folder that is read, is as fresh as anything.
 */
#define OBJECT_TIMEOUT_S 0.1
#define LATELY_MS 1000u

/* ---- requests that wait --------------------------------------------------------------------------------- */

struct request *
request_begin(fuse_req_t req, struct node *n)
{
	struct request *r = calloc(1, sizeof *r);
	if (r == NULL) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	r->server = server_of(req);
	r->req = req;
	r->node = n;
	n->users++;
	list_init(&r->link);
	list_push_back(&r->server->requests, &r->link);
	return r;
}

void
request_end(struct request *r)
{
	r->node->users--;
	tree_put(r->server->tree, r->node);
	list_remove(&r->link);
	free(r->name);
	free(r);
}

void
request_fail(struct request *r, int err)
{
	fuse_reply_err(r->req, -err);
	request_end(r);
}

/*
 * Somebody reads the statistics of many LUNs one after the other: asking once for all of them costs the
 * daemon less.
 */
static bool
is_many(struct server *s)
{
	if (s->ev.now_ms - s->stats_since_ms > 2 * CACHED_MS) {
		s->stats_since_ms = s->ev.now_ms;
		s->stats_many = s->stats_asked > STATS_MANY;
		s->stats_asked = 0;
	}
	s->stats_asked++;
	return s->stats_many || s->stats_asked > STATS_MANY;
}

/* "METHOD KEY": see struct recipe. */
static json_t *
params_of(const struct request *r, const char *method)
{
	const char *blank = strchr(method, ' ');

	if (blank == NULL || (strcmp(method, LUN_STATS) == 0 && is_many(r->server)))
		return NULL;
	if (strcmp(blank, " -") == 0)
		return json_pack("{s:b}", "stats", 0);
	return json_pack("{s:s}", blank + 1, node_object(r->node));
}

void
gather_methods(struct request *r, const char *const *methods, void (*done)(struct gather *g))
{
	struct gather_need needs[GATHER_MAX];
	unsigned count = 0;

	for (; count < GATHER_MAX && methods[count] != NULL; count++)
		needs[count] = (struct gather_need){
		    methods[count], params_of(r, methods[count]), r->max_age_ms};
	gather_init(&r->gather, done);
	gather_start(&r->gather, r->server->source, needs, count);
}

/* ---- attributes -------------------------------------------------------------------------------------------- */

static double
attr_timeout(const struct node *n)
{
	switch (n->entry->type) {
	case NODE_DIR:
	case NODE_LINK:
		return ROW_TIMEOUT_S;
	case NODE_TEXT:
	case NODE_IMAGE:
	case NODE_CONTROL:
		break;
	}
	return 0; /* sizes change */
}

/* `lun`: the object of an image. */
static void
fill_attr(const struct server *s, const struct node *n, const json_t *lun, struct stat *st)
{
	static const mode_t types[] = {
	    [NODE_DIR] = S_IFDIR,
	    [NODE_TEXT] = S_IFREG,
	    [NODE_LINK] = S_IFLNK,
	    [NODE_IMAGE] = S_IFREG,
	    [NODE_CONTROL] = S_IFREG,
	};
	*st = (struct stat){
	    .st_ino = n->ino,
	    .st_mode = types[n->entry->type] | n->entry->mode,
	    .st_nlink = n->entry->type == NODE_DIR ? 2 : 1,
	    .st_uid = s->uid,
	    .st_gid = s->gid,
	    .st_blksize = 4096,
	};
	clock_gettime(CLOCK_REALTIME, &st->st_mtim);
	st->st_atim = st->st_ctim = st->st_mtim;
	if (n->entry->type == NODE_LINK)
		st->st_size = (off_t)strlen(n->target);
	if (n->entry->type == NODE_TEXT)
		st->st_size = (off_t)n->size;
	if (n->entry->type != NODE_IMAGE)
		return;
	json_int_t size = json_number(lun, "size_bytes", 0);
	const char *nbd = json_text(lun, "nbd");
	st->st_size = (off_t)(size > 0 ? size : 0);
	st->st_blksize = 1 << 20; /* what is best read at once */
	/*
	 * Where the holes are is only known to those who ask (SEEK_HOLE), and tools ask where there
	 * seem to be some. Never none at all: for some that means that all of it is a hole.
	 */
	st->st_blocks = st->st_size / 512 > 1 ? st->st_size / 512 - 1 : 1;
	if (strcmp(nbd, "rw") == 0 || strcmp(nbd, "force") == 0)
		st->st_mode |= 0200;
}

const json_t *
lun_row(json_t *luns, const struct node *n)
{
	return json_find(luns, "name", node_object(n));
}

static void
on_attr_gathered(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	const json_t *lun = lun_row(g->parts[0].answer, r->node);
	struct stat st;

	if (g->err < 0 || lun == NULL) {
		request_fail(r, g->err < 0 ? g->err : -ENOENT);
		return;
	}
	disks_note(r->server->disks, g->parts[0].answer);
	fill_attr(r->server, r->node, lun, &st);
	fuse_reply_attr(r->req, &st, attr_timeout(r->node));
	request_end(r);
}

static const char *const lun_methods[GATHER_MAX] = {LUN_LIST};

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct node *n = node_of(s, ino);
	struct stat st;

	(void)fi;
	if (n->entry->type != NODE_IMAGE) {
		fill_attr(s, n, NULL, &st);
		fuse_reply_attr(req, &st, attr_timeout(n));
		return;
	}
	struct request *r = request_begin(req, n);
	if (r != NULL)
		gather_methods(r, lun_methods, on_attr_gathered);
}

/* What shells do when they open for writing: a file that has no size of its own keeps it. */
static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	const struct node *n = node_of(server_of(req), ino);
	int allowed = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW |
	              FUSE_SET_ATTR_CTIME;
	bool writes = n->entry->type == NODE_IMAGE || n->entry->type == NODE_CONTROL;

	if (!writes || (to_set & ~allowed))
		fuse_reply_err(req, EPERM);
	else if ((to_set & FUSE_SET_ATTR_SIZE) && attr->st_size != 0)
		fuse_reply_err(req, EINVAL);
	else
		op_getattr(req, ino, fi);
}

/* ---- looking up ------------------------------------------------------------------------------------------------ */

static void
reply_entry(struct server *s, fuse_req_t req, struct node *n, const json_t *lun)
{
	struct fuse_entry_param e = {
	    .ino = (fuse_ino_t)(uintptr_t)n,
	    .generation = 1,
	    .attr_timeout = attr_timeout(n),
	    .entry_timeout = n->entry->name != NULL ? ROW_TIMEOUT_S : OBJECT_TIMEOUT_S,
	};
	fill_attr(s, n, lun, &e.attr);
	n->lookups++;
	if (fuse_reply_entry(req, &e) < 0) {
		n->lookups--;
		tree_put(s->tree, n);
	}
}

static void
on_image_found(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	const json_t *lun = lun_row(g->parts[0].answer, r->node);

	if (g->err < 0 || lun == NULL) {
		request_fail(r, g->err < 0 ? g->err : -ENOENT);
		return;
	}
	reply_entry(r->server, r->req, r->node, lun);
	request_end(r);
}

static void
on_object_found(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	struct listing l = {.only = r->name};
	const struct list_item *item = NULL;
	json_t *answers[GATHER_MAX];
	struct node *n = NULL;

	for (unsigned i = 0; i < GATHER_MAX; i++)
		answers[i] = g->parts[i].answer;
	if (g->err == 0) {
		r->node->entry->list(r->node, answers, &l);
		item = listing_find(&l, r->name);
	}
	if (item == NULL && g->err == 0 && !l.failed && r->max_age_ms > 0) {
		listing_fini(&l);
		r->max_age_ms = 0; /* it may be new */
		gather_methods(r, r->node->entry->methods, on_object_found);
		return;
	}
	if (item != NULL)
		n = tree_node(r->server->tree, r->node, r->node->entry->object, item);
	if (n != NULL)
		reply_entry(r->server, r->req, n, NULL);
	else
		fuse_reply_err(r->req, g->err < 0                  ? -g->err
		                       : item == NULL && !l.failed ? ENOENT
		                                                   : ENOMEM);
	listing_fini(&l);
	request_end(r);
}

static const struct entry *
row_of(const struct node *dir, const char *name)
{
	for (unsigned i = 0; i < dir->entry->row_count; i++)
		if (strcmp(dir->entry->rows[i].name, name) == 0)
			return &dir->entry->rows[i];
	return NULL;
}

static void
lookup_row(fuse_req_t req, struct node *dir, const struct entry *row)
{
	struct server *s = server_of(req);
	struct node *n = row != NULL ? tree_node(s->tree, dir, row, NULL) : NULL;

	if (n == NULL) {
		fuse_reply_err(req, row != NULL ? ENOMEM : ENOENT);
	} else if (row->type == NODE_IMAGE) {
		struct request *r = request_begin(req, n);
		if (r != NULL)
			gather_methods(r, lun_methods, on_image_found);
		else
			tree_put(s->tree, n);
	} else {
		reply_entry(s, req, n, NULL);
	}
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_of(server_of(req), parent);

	if (dir->entry->list == NULL) {
		lookup_row(req, dir, row_of(dir, name));
		return;
	}
	struct request *r = request_begin(req, dir);
	if (r == NULL)
		return;
	r->name = strdup(name);
	r->max_age_ms = LATELY_MS;
	if (r->name != NULL)
		gather_methods(r, dir->entry->methods, on_object_found);
	else
		request_fail(r, -ENOMEM);
}

static void
forget(struct server *s, fuse_ino_t ino, uint64_t count)
{
	struct node *n = node_of(s, ino);
	if (ino == FUSE_ROOT_ID)
		return;
	ASSERT(n->lookups >= count);
	n->lookups -= count;
	tree_put(s->tree, n);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(server_of(req), ino, count);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	for (size_t i = 0; i < count; i++)
		forget(server_of(req), list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct node *n = node_of(server_of(req), ino);
	if (n->target != NULL)
		fuse_reply_readlink(req, n->target);
	else
		fuse_reply_err(req, EINVAL);
}

/* ---- open files --------------------------------------------------------------------------------------------- */

static struct file *
file_new(struct server *s, struct node *n)
{
	struct file *f = calloc(1, sizeof *f);
	if (f == NULL)
		return NULL;
	f->node = n;
	n->users++;
	list_init(&f->link);
	list_push_back(&s->opens, &f->link);
	return f;
}

void
file_free(struct server *s, struct file *f)
{
	list_remove(&f->link);
	if (f->disk != NULL)
		disk_close(f->disk);
	listing_fini(&f->listing);
	free(f->data);
	f->node->users--;
	tree_put(s->tree, f->node);
	free(f);
}

/* Takes the file; the kernel may have given up on it. */
void
reply_open(struct request *r, struct file *f)
{
	r->fi.fh = (uint64_t)(uintptr_t)f;
	r->fi.direct_io = 1;
	if (fuse_reply_open(r->req, &r->fi) < 0)
		file_free(r->server, f);
}

void
reply_part(fuse_req_t req, const struct file *f, size_t size, off_t offset)
{
	uint64_t from = (uint64_t)offset - f->base;
	size_t at =
	    offset >= 0 && (uint64_t)offset >= f->base && from < f->len ? (size_t)from : f->len;
	size_t left = f->len - at;
	fuse_reply_buf(req, f->data != NULL ? f->data + at : NULL, left < size ? left : size);
}

/* ---- open, read, write, release ------------------------------------------------------------------------------------ */

static void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct node *n = node_of(s, ino);
	bool writes = (fi->flags & O_ACCMODE) != O_RDONLY;

	if (n->entry->type == NODE_TEXT && writes) {
		fuse_reply_err(req, EROFS);
		return;
	}
	struct request *r = request_begin(req, n);
	if (r == NULL)
		return;
	r->fi = *fi;
	r->file = file_new(s, n);
	if (r->file == NULL)
		request_fail(r, -ENOMEM);
	else if (n->entry->type == NODE_TEXT)
		text_open(r);
	else if (n->entry->type == NODE_IMAGE)
		image_open(r);
	else
		control_open(r);
}

static void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);

	(void)ino;
	if (f->node->entry->type == NODE_TEXT)
		text_read(req, f, size, offset);
	else if (f->node->entry->type == NODE_CONTROL)
		reply_part(req, f, size, offset);
	else
		image_transfer(
		    req, f, DISK_READ, size < DISK_IO_MAX_BYTES ? size : DISK_IO_MAX_BYTES, offset);
}

static void
op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
    struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);

	(void)ino;
	if (f->node->entry->type == NODE_CONTROL)
		control_write(req, f, data, size);
	else if (f->node->entry->type == NODE_IMAGE && size <= DISK_IO_MAX_BYTES)
		image_write(req, f, data, size, offset);
	else
		fuse_reply_err(req, EINVAL);
}

static void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);

	(void)ino;
	if (f->node->entry->type != NODE_IMAGE || (whence != SEEK_DATA && whence != SEEK_HOLE))
		fuse_reply_err(req, EINVAL);
	else
		image_transfer(
		    req, f, whence == SEEK_DATA ? DISK_SEEK_DATA : DISK_SEEK_HOLE, 0, offset);
}

static void
op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);

	(void)ino;
	(void)datasync;
	if (f->node->entry->type == NODE_IMAGE && (fi->flags & O_ACCMODE) != O_RDONLY)
		image_transfer(req, f, DISK_FLUSH, 0, 0);
	else
		fuse_reply_err(req, 0);
}

/* Nothing waits for a close(2): said once, the kernel doesn't ask again. */
static void
op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void
op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);

	(void)ino;
	control_release(f);
	file_free(server_of(req), f);
	fuse_reply_err(req, 0);
}

/* ---- folders ---------------------------------------------------------------------------------------------------------- */

static void
on_dir_gathered(struct gather *g)
{
	struct request *r = container_of(g, struct request, gather);
	json_t *answers[GATHER_MAX];
	int err = g->err;

	for (unsigned i = 0; i < GATHER_MAX; i++)
		answers[i] = g->parts[i].answer;
	if (err == 0)
		r->node->entry->list(r->node, answers, &r->file->listing);
	if (err == 0 && r->file->listing.failed)
		err = -ENOMEM;
	if (err < 0) {
		fuse_reply_err(r->req, -err);
		file_free(r->server, r->file);
	} else {
		reply_open(r, r->file);
	}
	request_end(r);
}

static void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct node *n = node_of(s, ino);
	struct request *r = request_begin(req, n);

	if (r == NULL)
		return;
	r->fi = *fi;
	r->file = file_new(s, n);
	if (r->file == NULL) {
		request_fail(r, -ENOMEM);
	} else if (n->entry->list != NULL) {
		gather_methods(r, n->entry->methods, on_dir_gathered);
	} else {
		reply_open(r, r->file);
		request_end(r);
	}
}

static mode_t
type_bits(const struct entry *e)
{
	return e->type == NODE_DIR ? S_IFDIR : e->type == NODE_LINK ? S_IFLNK : S_IFREG;
}

/* The `i`-th name of a folder: ".", "..", rows, objects. NULL: no more. */
static const char *
dir_name(const struct file *f, uint64_t i, mode_t *ret_type)
{
	const struct entry *e = f->node->entry;

	*ret_type = S_IFDIR;
	if (i < 2)
		return i == 0 ? "." : "..";
	i -= 2;
	if (e->list != NULL) {
		*ret_type = type_bits(e->object);
		return i < f->listing.count ? f->listing.items[i].name : NULL;
	}
	if (i >= e->row_count)
		return NULL;
	*ret_type = type_bits(&e->rows[i]);
	return e->rows[i].name;
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct file *f = file_of(fi);
	char *buf = malloc(size);
	size_t len = 0;
	mode_t type;
	const char *name;

	(void)ino;
	if (buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (uint64_t i = (uint64_t)offset; (name = dir_name(f, i, &type)) != NULL; i++) {
		/* The number is only a hint here: nobody has looked it up. */
		struct stat st = {.st_ino = UINT32_MAX, .st_mode = type};
		size_t need =
		    fuse_add_direntry(req, buf + len, size - len, name, &st, (off_t)(i + 1));
		if (need > size - len)
			break;
		len += need;
	}
	fuse_reply_buf(req, buf, len);
	free(buf);
}

static void
op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	file_free(server_of(req), file_of(fi));
	fuse_reply_err(req, 0);
}

static void
op_init(void *ctx, struct fuse_conn_info *conn)
{
	(void)ctx;
	/* Data goes through our buffers anyway. */
	conn->want &=
	    ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
	                FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS);
	conn->max_write = DISK_IO_MAX_BYTES;
	conn->max_background = 64;
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

void
server_end(struct server *s)
{
	disks_break(s->disks, -ESHUTDOWN);
	while (!list_empty(&s->requests)) {
		struct request *r = container_of(s->requests.next, struct request, link);
		gather_cancel(&r->gather);
		request_fail(r, -ESHUTDOWN);
	}
	control_end(s);
	while (!list_empty(&s->opens))
		file_free(s, container_of(s->opens.next, struct file, link));
}

const struct fuse_lowlevel_ops server_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .lseek = op_lseek,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .releasedir = op_releasedir,
};
