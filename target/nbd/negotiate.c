/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The handshake phase (doc/proto.md, "Fixed newstyle negotiation"): options in, replies out, until an
 * export is chosen. One option at a time: the next one is looked at when the answer has been taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "nbd/nbd_priv.h"

#define META_ALLOCATION_ID 1u
#define PREFERRED_MIN_BYTES 4096u

/* ---- output ------------------------------------------------------------------------------------ */

static void
put(struct negotiation *n, const void *p, size_t len)
{
	if (n->out_failed || len > NEGOTIATE_OUT_MAX_BYTES - n->out_len) {
		n->out_failed = true;
		return;
	}
	if (n->out_len + len > n->out_cap) {
		size_t cap = n->out_cap == 0 ? 512 : n->out_cap;
		while (cap < n->out_len + len)
			cap *= 2;
		uint8_t *out = realloc(n->out, cap);
		if (out == NULL) {
			n->out_failed = true;
			return;
		}
		n->out = out;
		n->out_cap = cap;
	}
	if (len > 0)
		memcpy(n->out + n->out_len, p, len);
	n->out_len += len;
}

static void
put_reply(struct negotiation *n, uint32_t option, uint32_t type, size_t len)
{
	struct nbd_option_reply r;
	be64_put(&r.magic, NBD_OPTION_REPLY_MAGIC);
	be32_put(&r.option, option);
	be32_put(&r.type, type);
	be32_put(&r.len, (uint32_t)len);
	put(n, &r, sizeof r);
}

/* A reply that ends an option; errors with a sentence for a person. */
static void
end_option(struct negotiation *n, uint32_t option, uint32_t type, const char *message)
{
	size_t len = message != NULL ? strlen(message) : 0;
	put_reply(n, option, type, len);
	put(n, message, len);
}

/* ---- exports ------------------------------------------------------------------------------------ */

void
nbd_choose(const struct nbd_export *e, struct nbd_chosen *ret)
{
	const struct blk_info *info = blk_get_info(e->blk);
	*ret = (struct nbd_chosen){
	    .blk = e->blk,
	    .size_bytes = __atomic_load_n(&info->size_bytes, __ATOMIC_ACQUIRE),
	    .block_bytes = info->block_bytes,
	    .writable = e->writable && !(info->caps & BLK_CAP_READ_ONLY),
	    .can_trim = (info->caps & BLK_CAP_UNMAP) != 0,
	    /* A store that can't unmap has only the holes that its file system knows. */
	    .holes_are_zeros =
	        !(info->caps & BLK_CAP_UNMAP) || (info->caps & BLK_CAP_UNMAP_ZEROES) != 0,
	};
}

uint16_t
nbd_transmission_flags(const struct nbd_chosen *c, uint32_t caps)
{
	unsigned flags = NBD_FLAG_HAS_FLAGS;
	if (caps & BLK_CAP_ROTATIONAL)
		flags |= NBD_FLAG_ROTATIONAL;
	if (!c->writable)
		return (uint16_t)(flags | NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN);
	flags |= NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_WRITE_ZEROES;
	if (c->can_trim)
		flags |= NBD_FLAG_SEND_TRIM;
	return (uint16_t)flags;
}

/* 0 or -errno. *ret_name is the callee's, or `buf`. */
static int
open_export(struct negotiation *n, const uint8_t *name, size_t len, struct nbd_export *ret,
    char buf[static NBD_NAME_MAX_BYTES + 1])
{
	if (len > NBD_NAME_MAX_BYTES || memchr(name, '\0', len) != NULL)
		return -ENOENT;
	memcpy(buf, name, len);
	buf[len] = '\0';
	*ret = (struct nbd_export){.name = buf};
	int rc = n->ops->open(n->ctx, buf, ret);
	ASSERT(rc < 0 || ret->blk != NULL);
	return rc;
}

static void
refuse_export(struct negotiation *n, uint32_t option, int err)
{
	if (err == -ENOENT)
		end_option(n, option, NBD_REP_ERR_UNKNOWN, "no export has this name");
	else
		end_option(n, option, NBD_REP_ERR_POLICY, strerror(-err));
}

static void
choose(struct negotiation *n, const struct nbd_chosen *c, const uint8_t *name, size_t len)
{
	n->chosen = *c;
	n->chosen.structured = n->structured;
	n->chosen.allocation =
	    n->allocation && n->meta_len == len && memcmp(n->meta_export, name, len) == 0;
	n->state = NEGOTIATE_CHOSEN;
}

/* ---- options ------------------------------------------------------------------------------------ */

/* It has no way to refuse: the connection ends. */
static void
opt_export_name(struct negotiation *n, const uint8_t *data, size_t len)
{
	struct nbd_export_reply r = {0};
	struct nbd_export e;
	struct nbd_chosen c;
	char buf[NBD_NAME_MAX_BYTES + 1];

	if (open_export(n, data, len, &e, buf) < 0) {
		n->state = NEGOTIATE_BROKEN;
		return;
	}
	nbd_choose(&e, &c);
	be64_put(&r.size_bytes, c.size_bytes);
	be16_put(&r.flags, nbd_transmission_flags(&c, blk_get_info(e.blk)->caps));
	put(n, &r, n->no_zeroes ? offsetof(struct nbd_export_reply, zeroes) : sizeof r);
	choose(n, &c, data, len);
}

static bool
list_one(void *ctx, const char *name)
{
	struct negotiation *n = ctx;
	be32 len;
	size_t name_len = strlen(name);

	be32_put(&len, (uint32_t)name_len);
	put_reply(n, NBD_OPT_LIST, NBD_REP_SERVER, sizeof len + name_len);
	put(n, &len, sizeof len);
	put(n, name, name_len);
	return !n->out_failed;
}

static void
opt_list(struct negotiation *n, size_t len)
{
	if (len > 0) {
		end_option(n, NBD_OPT_LIST, NBD_REP_ERR_INVALID, "this option has no data");
		return;
	}
	n->ops->list(n->ctx, list_one, n);
	if (n->out_failed) { /* nothing of it was sent */
		n->out_failed = false;
		n->out_len = 0;
		end_option(n, NBD_OPT_LIST, NBD_REP_ERR_TOO_BIG, "too many exports to list");
		return;
	}
	put_reply(n, NBD_OPT_LIST, NBD_REP_ACK, 0);
}

static void
opt_structured_reply(struct negotiation *n, size_t len)
{
	if (len > 0) {
		end_option(
		    n, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID, "this option has no data");
		return;
	}
	n->structured = true;
	put_reply(n, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, 0);
}

static uint32_t
preferred_bytes(const struct blk_info *info)
{
	uint32_t want = PREFERRED_MIN_BYTES;
	while (want < info->physical_bytes && want < NBD_REQUEST_MAX_BYTES)
		want *= 2;
	return want;
}

static void
put_infos(struct negotiation *n, uint32_t option, const struct nbd_export *e,
    const struct nbd_chosen *c, bool with_name)
{
	const struct blk_info *info = blk_get_info(e->blk);
	struct nbd_info_export x;
	struct nbd_info_block_size b;
	be16 type;

	be16_put(&x.type, NBD_INFO_EXPORT);
	be64_put(&x.size_bytes, c->size_bytes);
	be16_put(&x.flags, nbd_transmission_flags(c, info->caps));
	put_reply(n, option, NBD_REP_INFO, sizeof x);
	put(n, &x, sizeof x);
	/* Reads are rounded; a write of less than a block would have to read first, and what another
	 * writes meanwhile would be lost. */
	be16_put(&b.type, NBD_INFO_BLOCK_SIZE);
	be32_put(&b.min_bytes, c->writable ? c->block_bytes : 1);
	be32_put(&b.preferred_bytes, preferred_bytes(info));
	be32_put(&b.max_bytes, NBD_REQUEST_MAX_BYTES);
	put_reply(n, option, NBD_REP_INFO, sizeof b);
	put(n, &b, sizeof b);
	if (!with_name)
		return;
	be16_put(&type, NBD_INFO_NAME);
	put_reply(n, option, NBD_REP_INFO, sizeof type + strlen(e->name));
	put(n, &type, sizeof type);
	put(n, e->name, strlen(e->name));
}

/* INFO and GO: name length, name, count, that many information types. */
static void
opt_info(struct negotiation *n, uint32_t option, const uint8_t *data, size_t len)
{
	struct nbd_export e;
	struct nbd_chosen c;
	char buf[NBD_NAME_MAX_BYTES + 1];
	bool with_name = false;

	if (len < 6 || load_be32(data) > len - 6 ||
	    len - 6 - load_be32(data) != 2u * load_be16(data + 4 + load_be32(data))) {
		end_option(n, option, NBD_REP_ERR_INVALID, "lengths that don't fit together");
		return;
	}
	uint32_t name_len = load_be32(data);
	for (size_t at = 6 + name_len; at < len; at += 2)
		with_name = with_name || load_be16(data + at) == NBD_INFO_NAME;
	int rc = open_export(n, data + 4, name_len, &e, buf);
	if (rc < 0) {
		refuse_export(n, option, rc);
		return;
	}
	nbd_choose(&e, &c);
	put_infos(n, option, &e, &c, with_name);
	put_reply(n, option, NBD_REP_ACK, 0);
	if (option == NBD_OPT_GO)
		choose(n, &c, data + 4, name_len);
}

/* True if the query asks for base:allocation. "base:" lists the namespace and chooses nothing. */
static bool
query_matches(const uint8_t *q, size_t len, bool list)
{
	const char *all = NBD_META_ALLOCATION;
	return (len == strlen(all) && memcmp(q, all, len) == 0) ||
	       (list && len == 5 && memcmp(q, "base:", 5) == 0);
}

/* LIST_ and SET_META_CONTEXT: name length, name, count, that many lengths and queries. */
static void
opt_meta_context(struct negotiation *n, uint32_t option, const uint8_t *data, size_t len)
{
	bool list = option == NBD_OPT_LIST_META_CONTEXT, found = false;
	struct nbd_export e;
	char buf[NBD_NAME_MAX_BYTES + 1];
	size_t at = 4;

	if (!list)
		n->allocation = false; /* whatever comes of it */
	if (!n->structured) {
		end_option(n, option, NBD_REP_ERR_INVALID, "structured replies come first");
		return;
	}
	if (len < 8 || load_be32(data) > len - 8)
		goto invalid;
	uint32_t name_len = load_be32(data);
	at += name_len;
	uint32_t queries = load_be32(data + at);
	at += 4;
	if (list && queries == 0)
		found = true;
	for (uint32_t i = 0; i < queries; i++) {
		if (len - at < 4 || load_be32(data + at) > len - at - 4)
			goto invalid;
		uint32_t query_len = load_be32(data + at);
		found = found || query_matches(data + at + 4, query_len, list);
		at += 4 + query_len;
	}
	if (at != len)
		goto invalid;
	int rc = open_export(n, data + 4, name_len, &e, buf);
	if (rc < 0) {
		refuse_export(n, option, rc);
		return;
	}
	if (found) {
		be32 id;
		be32_put(&id, list ? 0 : META_ALLOCATION_ID);
		put_reply(n, option, NBD_REP_META_CONTEXT, sizeof id + strlen(NBD_META_ALLOCATION));
		put(n, &id, sizeof id);
		put(n, NBD_META_ALLOCATION, strlen(NBD_META_ALLOCATION));
	}
	if (found && !list) {
		n->allocation = true;
		n->meta_len = name_len;
		memcpy(n->meta_export, data + 4, name_len);
	}
	put_reply(n, option, NBD_REP_ACK, 0);
	return;

invalid:
	end_option(n, option, NBD_REP_ERR_INVALID, "lengths that don't fit together");
}

static void
handle_option(struct negotiation *n, uint32_t option, const uint8_t *data, size_t len)
{
	switch (option) {
	case NBD_OPT_EXPORT_NAME:
		opt_export_name(n, data, len);
		break;
	case NBD_OPT_ABORT:
		put_reply(n, option, NBD_REP_ACK, 0);
		n->state = NEGOTIATE_ENDED;
		break;
	case NBD_OPT_LIST:
		opt_list(n, len);
		break;
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		opt_info(n, option, data, len);
		break;
	case NBD_OPT_STRUCTURED_REPLY:
		opt_structured_reply(n, len);
		break;
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		opt_meta_context(n, option, data, len);
		break;
	case NBD_OPT_STARTTLS:
		end_option(n, option, NBD_REP_ERR_UNSUP, "a UNIX socket needs no TLS");
		break;
	default:
		end_option(n, option, NBD_REP_ERR_UNSUP, NULL);
		break;
	}
}

/* ---- input -------------------------------------------------------------------------------------- */

void
negotiation_init(struct negotiation *n, const struct nbd_ops *ops, void *ctx)
{
	struct nbd_greeting g;
	memset(n, 0, offsetof(struct negotiation, in));
	n->ops = ops;
	n->ctx = ctx;
	be64_put(&g.magic, NBD_MAGIC);
	be64_put(&g.option_magic, NBD_OPTION_MAGIC);
	be16_put(&g.flags, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	put(n, &g, sizeof g);
	if (n->out_failed)
		n->state = NEGOTIATE_BROKEN;
}

void
negotiation_fini(struct negotiation *n)
{
	free(n->out);
	n->out = NULL;
}

uint8_t *
negotiation_room(struct negotiation *n, size_t *ret_len)
{
	memmove(n->in, n->in + n->in_at, n->in_len - n->in_at);
	n->in_len -= n->in_at;
	n->in_at = 0;
	*ret_len = sizeof n->in - n->in_len;
	return n->in + n->in_len;
}

static bool
step_flags(struct negotiation *n)
{
	if (n->in_len - n->in_at < 4)
		return false;
	uint32_t flags = load_be32(n->in + n->in_at);
	n->in_at += 4;
	n->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
	n->state = NEGOTIATE_OPTIONS;
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		n->state = NEGOTIATE_BROKEN;
	return true;
}

static bool
step_skip(struct negotiation *n)
{
	size_t have = n->in_len - n->in_at;
	uint32_t len = have < n->skip_left ? (uint32_t)have : n->skip_left;
	n->in_at += len;
	n->skip_left -= len;
	if (n->skip_left > 0)
		return len > 0;
	n->state = NEGOTIATE_OPTIONS;
	end_option(n, n->skip_option, NBD_REP_ERR_TOO_BIG, "an option with that much data");
	return true;
}

static bool
step_option(struct negotiation *n)
{
	struct nbd_option h;
	size_t have = n->in_len - n->in_at;

	if (have < sizeof h)
		return false;
	memcpy(&h, n->in + n->in_at, sizeof h);
	uint32_t option = be32_get(h.option), len = be32_get(h.len);
	if (be64_get(h.magic) != NBD_OPTION_MAGIC || len > NEGOTIATE_SKIP_MAX_BYTES ||
	    (len > NEGOTIATE_OPTION_MAX_BYTES && option == NBD_OPT_EXPORT_NAME)) {
		n->state = NEGOTIATE_BROKEN;
		return true;
	}
	if (len > NEGOTIATE_OPTION_MAX_BYTES) {
		n->in_at += sizeof h;
		n->skip_option = option;
		n->skip_left = len;
		n->state = NEGOTIATE_SKIPPING;
		return true;
	}
	if (have - sizeof h < len)
		return false;
	n->in_at += sizeof h + len;
	handle_option(n, option, n->in + n->in_at - len, len);
	return true;
}

bool
negotiation_step(struct negotiation *n)
{
	bool moved = false;
	ASSERT(n->out_len == 0);
	ASSERT(n->in_at <= n->in_len && n->in_len <= sizeof n->in);
	switch (n->state) {
	case NEGOTIATE_FLAGS:
		moved = step_flags(n);
		break;
	case NEGOTIATE_OPTIONS:
		moved = step_option(n);
		break;
	case NEGOTIATE_SKIPPING:
		moved = step_skip(n);
		break;
	case NEGOTIATE_CHOSEN:
	case NEGOTIATE_ENDED:
	case NEGOTIATE_BROKEN:
		break;
	}
	if (n->out_failed)
		n->state = NEGOTIATE_BROKEN;
	return moved;
}
