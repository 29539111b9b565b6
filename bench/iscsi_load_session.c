/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions and the engine around them: made before the load, unmade after it. */
#include "bench/iscsi_load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SETUP_NS (20ull * 1000000000)

uint64_t
load_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* xorshift64*: cheap, and the same addresses for the same seed. All 64 bits: Zipf's ranks use the upper ones. */
uint64_t
load_random(struct load_engine *e)
{
	uint64_t x = e->random_state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	e->random_state = x;
	return x * 0x2545f4914f6cdd1dull;
}

void
load_error(struct load_engine *e, uint64_t *counter, const char *fmt, ...)
{
	(*counter)++;
	if (e->errors.first[0])
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->errors.first, sizeof e->errors.first, fmt, ap);
	va_end(ap);
}

static int
session_init(struct load_session *s, struct load_engine *e, uint32_t idx)
{
	const uint32_t depth = e->opt->depth;
	s->engine = e;
	s->idx = idx;
	s->fd = -1;
	list_init(&s->bursts);
	/* ISID of the random kind (RFC 7143 §11.12.5), told apart by its qualifier. */
	s->isid[0] = 0x80;
	store_be24(s->isid + 1, (uint32_t)getpid());
	store_be16(s->isid + 4, (uint16_t)idx);
	s->tasks = calloc(depth, sizeof s->tasks[0]);
	s->free_tasks = calloc(depth, sizeof s->free_tasks[0]);
	s->rx.buf = malloc(LOAD_RX_BYTES);
	if (!s->tasks || !s->free_tasks || !s->rx.buf)
		return -ENOMEM;
	for (uint32_t i = 0; i < depth; i++) {
		struct load_task *t = &s->tasks[i];
		t->idx = i;
		list_init(&t->burst_link);
		t->cmd.opcode = BENCH_OP_SCSI_CMD;
		load_pdu_lun(t->cmd.lun, e->opt->lun);
		s->free_tasks[s->free_count++] = depth - 1 - i;
		if (e->opt->mode == LOAD_MODE_VERIFY) {
			t->data = malloc(e->opt->block_bytes);
			if (!t->data)
				return -ENOMEM;
		}
	}
	return load_tx_init(&s->tx, depth);
}

static void
session_fini(struct load_session *s)
{
	if (s->fd >= 0)
		close(s->fd);
	for (uint32_t i = 0;
	     s->tasks && s->engine->opt->mode == LOAD_MODE_VERIFY && i < s->engine->opt->depth; i++)
		free(s->tasks[i].data);
	free(s->tasks);
	free(s->free_tasks);
	free(s->rx.buf);
	load_tx_fini(&s->tx);
}

int
load_engine_init(struct load_engine *e, const struct load_options *o)
{
	memset(e, 0, sizeof *e);
	e->opt = o;
	e->random_state = o->seed;
	histogram_init(&e->latency);
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll_fd < 0)
		return -errno;
	e->sessions = calloc(o->sessions, sizeof e->sessions[0]);
	e->pattern = aligned_alloc(4096, (o->block_bytes + 4095) & ~4095u);
	if (!e->sessions || !e->pattern)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->block_bytes; i++)
		e->pattern[i] = (uint8_t)load_random(e);
	for (uint32_t i = 0; i < o->sessions; i++) {
		int r = session_init(&e->sessions[i], e, i);
		if (r)
			return r;
	}
	return 0;
}

void
load_engine_fini(struct load_engine *e)
{
	for (uint32_t i = 0; e->sessions && i < e->opt->sessions; i++)
		if (e->sessions[i].engine)
			session_fini(&e->sessions[i]);
	free(e->sessions);
	free(e->pattern);
	load_verify_destroy(e);
	if (e->epoll_fd >= 0)
		close(e->epoll_fd);
}

/* What part of the unit the load uses, once its capacity is known. */
static int
choose_region(struct load_engine *e)
{
	const struct load_options *o = e->opt;
	e->region_blocks = o->region_bytes / e->logical_block_bytes;
	if (e->region_blocks == 0 || e->region_blocks > e->capacity_blocks)
		e->region_blocks = e->capacity_blocks;
	e->io_blocks = o->block_bytes / e->logical_block_bytes;
	if (o->block_bytes % e->logical_block_bytes || e->io_blocks > e->region_blocks ||
	    (o->pattern == LOAD_PATTERN_ZIPF && 2 * e->io_blocks > e->region_blocks)) {
		load_error(e, &e->errors.status,
		    "--block %u does not fit a unit of %llu blocks of %u bytes", o->block_bytes,
		    (unsigned long long)e->capacity_blocks, e->logical_block_bytes);
		return -EIO;
	}
	if (o->pattern == LOAD_PATTERN_ZIPF) {
		uint64_t places = e->region_blocks / e->io_blocks;
		load_zipf_init(&e->zipf, places, 0.99);
	}
	/* Sequential sessions start apart, so that they don't read the same blocks. */
	for (uint32_t i = 0; i < o->sessions; i++)
		e->sessions[i].seq_lba =
		    e->region_blocks / o->sessions * i / e->io_blocks * e->io_blocks;
	return o->mode == LOAD_MODE_VERIFY ? load_verify_create(e) : 0;
}

int
load_engine_connect(struct load_engine *e)
{
	for (uint32_t i = 0; i < e->opt->sessions; i++) {
		struct load_session *s = &e->sessions[i];
		uint64_t deadline_ns = load_now_ns() + SETUP_NS;
		int r = load_session_login(s, deadline_ns);
		if (r == 0)
			r = load_session_prepare(s, deadline_ns);
		if (r)
			return r;
		e->alive_count++;
	}
	return choose_region(e);
}
