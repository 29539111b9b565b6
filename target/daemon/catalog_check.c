/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is this file an environment that LMDB can work with? LMDB trusts its pages: a damaged one makes it read
 * or write where nothing is, and the process ends by a signal, or pages in use are overwritten. So each page
 * that it could come upon is looked at first, through reads that may fail.
 *
 * Verified of the state that would be opened: both meta pages, and that they are of the last two commits;
 * each page is what it should be, where it should be, used once; nodes lie within their page and apart from
 * each other; keys ascend, and lie where a search from the root looks for them; depths and numbers of rows
 * are those that were noted; overflow pages are as many as their value needs; free pages are within the file's
 * range, and not in use. What rows hold is catalog_rows.c's business.
 *
 * The layout is that of LMDB 0.9 (data version 1) on machines with 64 bits, in the machine's byte order; field
 * names are those of mdb.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/catalog_priv.h"

_Static_assert(sizeof(size_t) == 8, "LMDB's page numbers have the machine's width");

#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1u
#define PAGE_BYTES_MIN 512u
#define PAGE_BYTES_MAX 0x8000u
#define FIRST_PAGE 2u /* after the meta pages */
#define NO_PAGE UINT64_MAX
#define KEY_MAX 511u
#define DEPTH_MAX 32u
#define LEVELS_MAX (3u * DEPTH_MAX) /* a table's tree hangs below the tree of tables */

enum { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08 };
enum { NODE_BIG = 0x01, NODE_TABLE = 0x02 };
#define DB_FLAGS 0x7fu /* those that are about keys, and the fixed map */
#define DB_INTEGER_KEY 0x08u

struct page_header {
	uint64_t pgno;
	uint16_t pad, flags;
	uint16_t lower, upper; /* of overflow pages: their number, 32 bits */
};
_Static_assert(sizeof(struct page_header) == 16, "format");

struct node_header {
	uint16_t lo, hi, flags, ksize;
};
_Static_assert(sizeof(struct node_header) == 8, "format");

struct db {
	uint32_t pad; /* of the tree of free pages: the size of a page */
	uint16_t flags, depth;
	uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
_Static_assert(sizeof(struct db) == 48, "format");

struct meta {
	uint32_t magic, version;
	uint64_t address, mapsize;
	struct db free, main;
	uint64_t last_pg, txnid;
};
_Static_assert(sizeof(struct meta) == 136, "format");

struct check {
	int fd;
	size_t page_bytes;
	uint64_t pages; /* that were ever used; the file may be shorter by free ones */
	uint64_t txnid;
	uint8_t *seen;  /* a bit a page */
	uint8_t *slots; /* a byte for each two bytes of the page that is looked at */
	uint8_t *buffers[LEVELS_MAX];
};

enum tree_kind { TREE_FREE, TREE_MAIN, TREE_TABLE };

struct key {
	const uint8_t *b; /* NULL: no bound */
	size_t len;
};

struct tree {
	enum tree_kind kind;
	unsigned depth;
	uint64_t entries;
	unsigned level; /* of its root's buffer */
};

struct node {
	struct node_header h;
	const uint8_t *key, *data;
	uint32_t data_bytes; /* of the value, wherever it is */
};

static int walk(
    struct check *c, struct tree *t, uint64_t pgno, unsigned depth, struct key from, struct key to);

/* ---- pages --------------------------------------------------------------------------------------- */

/* 0; -EINVAL: the file ends before that. */
static int
read_at(const struct check *c, uint64_t at, void *buf, size_t len)
{
	uint8_t *p = buf;
	while (len > 0) {
		ssize_t n = pread(c->fd, p, len, (off_t)at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EINVAL;
		if (n < 0)
			continue;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Each page has one use. */
static int
take_page(struct check *c, uint64_t pgno)
{
	if (pgno < FIRST_PAGE || pgno >= c->pages)
		return -EINVAL;
	uint8_t bit = (uint8_t)(1u << (pgno % 8));
	if (c->seen[pgno / 8] & bit)
		return -EINVAL;
	c->seen[pgno / 8] |= bit;
	return 0;
}

/* A page of a tree in the buffer of its level. */
static int
load_page(struct check *c, uint64_t pgno, unsigned level, struct page_header *h, uint8_t **ret)
{
	if (level >= LEVELS_MAX)
		return -EINVAL;
	if (c->buffers[level] == NULL)
		c->buffers[level] = malloc(c->page_bytes);
	uint8_t *page = c->buffers[level];
	if (page == NULL)
		return -ENOMEM;
	int err = take_page(c, pgno);
	if (err == 0)
		err = read_at(c, pgno * c->page_bytes, page, c->page_bytes);
	if (err < 0)
		return err;
	memcpy(h, page, sizeof *h);
	if (h->pgno != pgno || (h->flags != PAGE_BRANCH && h->flags != PAGE_LEAF) ||
	    h->lower < sizeof *h || h->lower % 2 != 0 || h->upper % 2 != 0 || h->lower > h->upper ||
	    h->upper > c->page_bytes)
		return -EINVAL;
	*ret = page;
	return 0;
}

/* Reads all of them: LMDB would be killed by what can't be read. The value, if the caller wants it (his to free). */
static int
read_overflow(struct check *c, const struct node *n, uint8_t **ret)
{
	uint64_t first;
	memcpy(&first, n->data, sizeof first);
	uint64_t need = (sizeof(struct page_header) + (uint64_t)n->data_bytes + c->page_bytes - 1) /
	                c->page_bytes;
	struct page_header h;
	if (first < FIRST_PAGE || first >= c->pages)
		return -EINVAL;
	int err = read_at(c, first * c->page_bytes, &h, sizeof h);
	if (err < 0)
		return err;
	/* One that was longer before keeps its pages. */
	uint64_t count = h.lower | (uint64_t)h.upper << 16;
	if (h.pgno != first || h.flags != PAGE_OVERFLOW || count < need || count > c->pages - first)
		return -EINVAL;
	for (uint64_t i = 0; err == 0 && i < count; i++)
		err = take_page(c, first + i);
	if (err < 0)
		return err;
	size_t bytes = sizeof h + n->data_bytes;
	uint8_t *all = malloc(bytes);
	if (all == NULL)
		return -ENOMEM;
	err = read_at(c, first * c->page_bytes, all, bytes);
	if (err < 0 || ret == NULL) {
		free(all);
		return err;
	}
	memmove(all, all + sizeof h, n->data_bytes);
	*ret = all;
	return 0;
}

/* ---- keys ---------------------------------------------------------------------------------------- */

static int
compare(const struct tree *t, struct key a, struct key b)
{
	if (t->kind == TREE_FREE) {
		uint64_t x, y;
		memcpy(&x, a.b, sizeof x);
		memcpy(&y, b.b, sizeof y);
		return x < y ? -1 : x > y;
	}
	int r = memcmp(a.b, b.b, a.len < b.len ? a.len : b.len);
	return r != 0 ? r : a.len < b.len ? -1 : a.len > b.len;
}

/* From `from` on, before `to`; after the one before it on its page. */
static int
check_key(const struct tree *t, struct key k, struct key before, struct key from, struct key to)
{
	if (t->kind == TREE_FREE ? k.len != sizeof(uint64_t) : k.len == 0 || k.len > KEY_MAX)
		return -EINVAL;
	if ((before.b != NULL && compare(t, before, k) >= 0) ||
	    (from.b != NULL && compare(t, from, k) > 0) || (to.b != NULL && compare(t, k, to) >= 0))
		return -EINVAL;
	return 0;
}

/* ---- nodes --------------------------------------------------------------------------------------- */

static uint16_t
place_of(const uint8_t *page, unsigned i)
{
	uint16_t at;
	memcpy(&at, page + sizeof(struct page_header) + 2 * (size_t)i, sizeof at);
	return at;
}

static uint32_t
data_bytes(const struct node_header *h)
{
	return h->lo | (uint32_t)h->hi << 16;
}

/* Node `i` lies within its page, where no other does; its bytes are added to *sum. */
static int
take_node(
    struct check *c, const uint8_t *page, const struct page_header *h, unsigned i, size_t *sum)
{
	struct node_header n;
	uint16_t at = place_of(page, i);
	if (at < h->upper || at % 2 != 0 || at + sizeof n > c->page_bytes)
		return -EINVAL;
	memcpy(&n, page + at, sizeof n);
	size_t bytes = sizeof n + n.ksize;
	if (h->flags == PAGE_LEAF)
		bytes += n.flags & NODE_BIG ? sizeof(uint64_t) : data_bytes(&n);
	bytes += bytes % 2;
	if (bytes > c->page_bytes - at)
		return -EINVAL;
	if (memchr(c->slots + at / 2, 1, bytes / 2) != NULL)
		return -EINVAL;
	memset(c->slots + at / 2, 1, bytes / 2);
	*sum += bytes;
	return 0;
}

/* All nodes of a page together are what lies above the room that is left. */
static int
check_nodes(struct check *c, const struct tree *t, const uint8_t *page, const struct page_header *h)
{
	unsigned count = (unsigned)(h->lower - sizeof *h) / 2;
	size_t sum = 0;
	/* mdb_page_search_root() takes that for granted. */
	if (count < (h->flags == PAGE_BRANCH && t->kind != TREE_FREE ? 2 : 1))
		return -EINVAL;
	memset(c->slots, 0, c->page_bytes / 2);
	for (unsigned i = 0; i < count; i++) {
		int err = take_node(c, page, h, i, &sum);
		if (err < 0)
			return err;
	}
	return sum == c->page_bytes - h->upper ? 0 : -EINVAL;
}

/* For a page whose nodes are checked. */
static struct node
node_at(const uint8_t *page, unsigned i)
{
	struct node n;
	uint16_t at = place_of(page, i);
	memcpy(&n.h, page + at, sizeof n.h);
	n.key = page + at + sizeof n.h;
	n.data = n.key + n.h.ksize;
	n.data_bytes = data_bytes(&n.h);
	return n;
}

/* ---- trees --------------------------------------------------------------------------------------- */

/* Pages that a commit freed: their number, then they, the highest first. */
static int
check_free_list(struct check *c, const struct node *n, const uint8_t *list)
{
	uint64_t commit, count, before = NO_PAGE;
	memcpy(&commit, n->key, sizeof commit);
	if (commit == 0 || commit > c->txnid || n->data_bytes < sizeof count ||
	    n->data_bytes % sizeof count != 0)
		return -EINVAL;
	memcpy(&count, list, sizeof count);
	if (count > n->data_bytes / sizeof count - 1)
		return -EINVAL;
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t pgno;
		memcpy(&pgno, list + i * sizeof pgno, sizeof pgno);
		if (pgno >= before || take_page(c, pgno) < 0)
			return -EINVAL;
		before = pgno;
	}
	return 0;
}

static int
check_tree(struct check *c, enum tree_kind kind, const struct db *db, unsigned level)
{
	struct tree t = {.kind = kind, .depth = db->depth, .level = level};
	if ((db->flags & DB_FLAGS) != (kind == TREE_FREE ? DB_INTEGER_KEY : 0))
		return -EINVAL;
	if (db->root == NO_PAGE)
		return db->depth == 0 && db->entries == 0 ? 0 : -EINVAL;
	if (db->depth == 0 || db->depth > DEPTH_MAX)
		return -EINVAL;
	int err = walk(c, &t, db->root, 1, (struct key){0}, (struct key){0});
	return err == 0 && t.entries != db->entries ? -EINVAL : err;
}

static int
check_value(struct check *c, const struct tree *t, const struct node *n, unsigned level)
{
	uint8_t *list = NULL;
	struct db db;
	int err;

	switch (t->kind) {
	case TREE_MAIN:
		if (n->h.flags != NODE_TABLE || n->data_bytes != sizeof db)
			return -EINVAL;
		memcpy(&db, n->data, sizeof db);
		return check_tree(c, TREE_TABLE, &db, level + 1);
	case TREE_TABLE:
		if (n->h.flags != 0 && n->h.flags != NODE_BIG)
			return -EINVAL;
		return n->h.flags == NODE_BIG ? read_overflow(c, n, NULL) : 0;
	case TREE_FREE:
		if (n->h.flags == 0)
			return check_free_list(c, n, n->data);
		err = n->h.flags == NODE_BIG ? read_overflow(c, n, &list) : -EINVAL;
		if (err == 0)
			err = check_free_list(c, n, list);
		free(list);
		return err;
	}
	return -EINVAL;
}

static int
walk_leaf(struct check *c, struct tree *t, const uint8_t *page, unsigned count, unsigned level,
    struct key from, struct key to)
{
	struct key before = {0};
	for (unsigned i = 0; i < count; i++) {
		struct node n = node_at(page, i);
		struct key k = {n.key, n.h.ksize};
		int err = check_key(t, k, before, from, to);
		if (err == 0)
			err = check_value(c, t, &n, level);
		if (err < 0)
			return err;
		before = k;
	}
	t->entries += count;
	return 0;
}

/* The first key of a branch isn't looked at by anybody: all that is less than the second goes there. */
static int
walk_branch(struct check *c, struct tree *t, const uint8_t *page, unsigned count, unsigned depth,
    struct key from, struct key to)
{
	struct key before = {0};
	for (unsigned i = 0; i < count; i++) {
		struct node n = node_at(page, i), next;
		struct key k = {n.key, n.h.ksize}, end = to;
		int err = i > 0 ? check_key(t, k, before, from, to) : 0;
		if (err == 0 && i + 1 < count) {
			next = node_at(page, i + 1);
			end = (struct key){next.key, next.h.ksize};
			err = check_key(t, end, (struct key){0}, from, to);
		}
		uint64_t child = n.data_bytes | (uint64_t)n.h.flags << 32;
		if (err == 0)
			err = walk(c, t, child, depth + 1, i > 0 ? k : from, end);
		if (err < 0)
			return err;
		if (i > 0)
			before = k;
	}
	return 0;
}

/* The part of a tree below `pgno`, whose keys are within the bounds. */
static int
walk(struct check *c, struct tree *t, uint64_t pgno, unsigned depth, struct key from, struct key to)
{
	unsigned level = t->level + depth - 1;
	struct page_header h;
	uint8_t *page;

	int err = load_page(c, pgno, level, &h, &page);
	if (err == 0)
		err = check_nodes(c, t, page, &h);
	if (err < 0)
		return err;
	if (h.flags != (depth == t->depth ? PAGE_LEAF : PAGE_BRANCH))
		return -EINVAL;
	unsigned count = (unsigned)(h.lower - sizeof h) / 2;
	if (h.flags == PAGE_LEAF)
		return walk_leaf(c, t, page, count, level, from, to);
	return walk_branch(c, t, page, count, depth, from, to);
}

/* ---- meta pages ---------------------------------------------------------------------------------- */

static int
read_meta_page(const struct check *c, unsigned i, struct meta *m)
{
	struct page_header h;
	int err = read_at(c, i * c->page_bytes, &h, sizeof h);
	if (err == 0)
		err = read_at(c, i * c->page_bytes + sizeof h, m, sizeof *m);
	if (err < 0)
		return err;
	size_t bytes = m->free.pad;
	if (h.pgno != i || h.flags != PAGE_META || m->magic != META_MAGIC ||
	    m->version != META_VERSION || bytes < PAGE_BYTES_MIN || bytes > PAGE_BYTES_MAX ||
	    (bytes & (bytes - 1)) != 0 || m->last_pg >= CATALOG_MAP_BYTES / bytes || m->last_pg < 1)
		return -EINVAL;
	return 0;
}

/* Commits take turns with the two; who looks at the file takes the later one. */
static int
choose_meta(struct check *c, struct meta *ret)
{
	struct meta m[2];
	int err = read_meta_page(c, 0, &m[0]);
	if (err < 0)
		return err;
	c->page_bytes = m[0].free.pad;
	err = read_meta_page(c, 1, &m[1]);
	if (err < 0)
		return err;
	if (m[1].free.pad != m[0].free.pad)
		return -EINVAL;
	unsigned later = m[1].txnid > m[0].txnid;
	bool fresh = m[0].txnid == 0 && m[1].txnid == 0;
	if (!fresh && (m[later].txnid != m[!later].txnid + 1 || m[later].txnid % 2 != later))
		return -EINVAL;
	*ret = m[later];
	return 0;
}

int
catalog_check_file(const char *path)
{
	struct check c = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
	struct meta m;

	if (c.fd < 0)
		return -errno;
	int err = choose_meta(&c, &m);
	if (err == 0) {
		c.pages = m.last_pg + 1;
		c.txnid = m.txnid;
		c.seen = calloc(1, c.pages / 8 + 1);
		c.slots = malloc(c.page_bytes / 2);
		err = c.seen != NULL && c.slots != NULL ? 0 : -ENOMEM;
	}
	if (err == 0)
		err = check_tree(&c, TREE_FREE, &m.free, 0);
	if (err == 0)
		err = check_tree(&c, TREE_MAIN, &m.main, 0);
	for (unsigned i = 0; i < LEVELS_MAX; i++)
		free(c.buffers[i]);
	free(c.seen);
	free(c.slots);
	close(c.fd);
	return err;
}
