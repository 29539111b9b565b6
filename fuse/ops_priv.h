/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the kernel's requests (ops.c) and what is done for each kind of file: texts (text.c), images
 * (image.c), control files (control.c). A struct request or transfer holds its node and answers its
 * fuse_req_t exactly once.
 */
#ifndef FUSE_OPS_PRIV_H
#define FUSE_OPS_PRIV_H

#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include "fuse/terrace_fuse.h"

struct job;

/* An open file or folder. */
struct file {
	struct list link; /* of server.opens */
	struct node *node;
	char *data; /* of a text, or the result of a verb */
	size_t len;
	bool was_read;
	uint64_t made_ms;
	/*
	 * Of a text that is paged: `data` is one page of it, which begins at `base` of the file. What comes
	 * behind it is asked for when it is read.
	 */
	uint64_t base;
	json_int_t next;  /* "from" of the next page; < 0: there is none */
	unsigned reading; /* grows when it is begun anew */
	struct disk *disk;
	size_t block_bytes;     /* of the LUN */
	struct job *verb;       /* under way */
	struct listing listing; /* of a folder */
};

/* A request of the kernel that waits for answers. */
struct request {
	struct list link; /* of server.requests */
	struct server *server;
	fuse_req_t req;
	struct node *node; /* the folder of a lookup */
	struct gather gather;
	struct fuse_file_info fi;
	struct file *file;
	char *name;          /* of a lookup */
	unsigned max_age_ms; /* of answers, see struct gather_need */
	size_t size;
	off_t offset;
	bool is_new; /* the file is being opened */
	/* A page that was asked for: of which reading, and until when it may take. */
	json_int_t from;
	unsigned reading;
	uint64_t until_ms;
};

static inline struct server *
server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct node *
node_of(struct server *s, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? tree_top(s->tree) : (struct node *)(uintptr_t)ino;
}

static inline struct file *
file_of(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
}

/* ---- ops.c ------------------------------------------------------------------------------------- */

/* NULL: no memory, and the kernel has been told. */
struct request *request_begin(fuse_req_t req, struct node *n);
void request_end(struct request *r);           /* answered */
void request_fail(struct request *r, int err); /* answers with this error, and ends */
/* Asks for what a table names; `done` may run before this returns. */
void gather_methods(struct request *r, const char *const *methods, void (*done)(struct gather *g));
/* The object of a LUN's file in lun.list; NULL: it isn't there. */
const json_t *lun_row(json_t *luns, const struct node *n);
void file_free(struct server *s, struct file *f);
/* Answers an open. Takes the file: the kernel may have given up on it. */
void reply_open(struct request *r, struct file *f);
/* Answers a read from what the file holds. `offset`: of the file. */
void reply_part(fuse_req_t req, const struct file *f, size_t size, off_t offset);

/* ---- text.c -------------------------------------------------------------------------------------- */

/* Makes the text and answers the open; ends the request. */
void text_open(struct request *r);
void text_read(fuse_req_t req, struct file *f, size_t size, off_t offset);

/* ---- image.c ------------------------------------------------------------------------------------- */

void image_open(struct request *r);
void image_transfer(fuse_req_t req, struct file *f, enum disk_op op, size_t size, off_t offset);
void image_write(fuse_req_t req, struct file *f, const char *data, size_t size, off_t offset);

/* ---- control.c ------------------------------------------------------------------------------------- */

void control_open(struct request *r);
void control_write(fuse_req_t req, struct file *f, const char *data, size_t size);
/* Closed while a verb is under way: it goes on. */
void control_release(struct file *f);
/* All verbs are forgotten. */
void control_end(struct server *s);

#endif
