/* SPDX-License-Identifier: BSD-2-Clause */
/* See recovery_image.h. Every segment but a few is full and sealed, all of the running epoch. */
#include "bench/recovery_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "cache/codec.h"

#define RECORD_BLOCKS 32u
#define FREE_SEGMENTS 8u

struct making {
	struct recovery_image *i;
	struct cache_geometry geo;
	int fd, err;
	uint8_t uuid[16];
	uint64_t extents, extent, seq, ver;
	uint32_t crc, zero_crc;
	struct cache_position checkpoint;
	uint64_t seq_at_checkpoint;
	char *foot;
};

static void
put(struct making *m, const void *p, size_t bytes, uint64_t block)
{
	if (m->err == 0 &&
	    pwrite(m->fd, p, bytes, (off_t)(block * CF_BLOCK_BYTES)) != (ssize_t)bytes)
		m->err = errno != 0 ? -errno : -EIO;
	m->i->written_bytes += bytes;
}

/* The extents in an order that has nothing to do with their addresses, each once. */
static uint64_t
scattered(const struct making *m, uint64_t n)
{
	uint64_t x = n;
	do
		x = (x * 0x9e3779b1ull + 12345) & (m->extents - 1);
	while (x >= m->extents);
	return x;
}

static uint32_t
record(struct making *m, uint32_t seg, uint32_t unit, char *to)
{
	static struct cache_desc descs[CACHE_RECORD_DESCS_MAX];
	static uint32_t crcs[CACHE_RECORD_BLOCKS_MAX];
	uint32_t n = RECORD_BLOCKS / m->i->extent_blocks;
	struct cache_record r = {
	    .generation = 1,
	    .epoch = 1,
	    .seq = ++m->seq,
	    .durable_seq = m->seq - 1,
	    .prev_crc = m->crc,
	    .stream = CF_W,
	    .unit = unit,
	    .header_blocks = cache_record_header_blocks(n, 0, RECORD_BLOCKS),
	    .payload_blocks = n * m->i->extent_blocks,
	    .desc_count = n,
	};
	for (uint32_t k = 0; k < n; k++)
		descs[k] = (struct cache_desc){
		    .volume = 1,
		    .mask = 0xff,
		    .block = scattered(m, m->extent++) * m->i->extent_blocks,
		    .count = m->i->extent_blocks,
		    .ver = ++m->ver,
		    .place = unit + r.header_blocks + k * m->i->extent_blocks,
		};
	for (uint32_t k = 0; k < r.payload_blocks; k++)
		crcs[k] = m->zero_crc;
	cache_record_encode(&m->geo, m->uuid, seg, &r, descs, crcs, to);
	m->crc = r.crc;
	if (m->seq == m->seq_at_checkpoint)
		m->checkpoint = (struct cache_position){1, r.seq, r.crc};
	m->i->extents += n;
	m->i->records++;
	return r.header_blocks + r.payload_blocks;
}

static void
segment(struct making *m, uint32_t seg)
{
	char block[CF_BLOCK_BYTES],
	    *header = malloc(CACHE_RECORD_HEADER_BLOCKS_MAX * CF_BLOCK_BYTES);
	uint32_t descs = RECORD_BLOCKS / m->i->extent_blocks;
	uint32_t need = cache_footer_need(cache_record_bytes(descs, RECORD_BLOCKS));
	uint32_t blocks = cache_record_header_blocks(descs, 0, RECORD_BLOCKS) + RECORD_BLOCKS;
	struct cache_footer f = {
	    .generation = 1, .epoch = 1, .stream = CF_W, .bytes = sizeof(struct cf_footer)};
	struct cache_seghead h = {1, 1, m->seq + 1, CF_W};
	if (header == NULL) {
		m->err = -ENOMEM;
		return;
	}
	cache_seghead_encode(&m->geo, m->uuid, seg, &h, block);
	put(m, block, sizeof block, cache_segment_block(&m->geo, seg));
	while (f.used_blocks + blocks <= m->geo.data_blocks &&
	       f.bytes + need <= m->geo.footer_blocks * CF_BLOCK_BYTES &&
	       m->extent + descs <= m->extents) {
		memset(m->foot + f.bytes, 0, need);
		uint32_t used = record(m, seg, f.used_blocks, header);
		memcpy(m->foot + f.bytes, header, cache_record_bytes(descs, RECORD_BLOCKS));
		f.used_blocks += used;
		f.bytes += need;
		f.record_count++;
	}
	cache_footer_encode(&m->geo, m->uuid, seg, &f, m->foot);
	put(m, m->foot, f.bytes, cache_footer_block(&m->geo, seg));
	free(header);
}

/* Nine in ten blocks are clean. */
static void
slots(struct making *m, uint32_t used)
{
	static uint8_t dead[CF_SLOT_BITMAP_BYTES], clean[CF_SLOT_BITMAP_BYTES];
	char block[CF_BLOCK_BYTES];
	memset(clean, 0xff, sizeof clean * 9 / 10);
	for (uint32_t seg = 0; seg < m->geo.segment_count; seg++) {
		struct cache_slot s = {.checkpoint = 1, .dead = dead, .clean = clean};
		s.in_use = seg < used;
		s.generation = s.in_use;
		cache_slot_encode(&m->geo, m->uuid, seg, 0, &s, block);
		put(m, block, sizeof block, cache_slot_block(&m->geo, seg, 0));
	}
}

static void
fixed(struct making *m)
{
	size_t bytes = (size_t)m->geo.voltable_blocks * CF_BLOCK_BYTES;
	char *block = calloc(1, bytes);
	struct cache_super s = {.generation = 1, .geo = m->geo, .epoch = 1};
	struct cache_volrow row = {.id = 1,
	    .dirty = true,
	    .uuid = {1},
	    .name = "bench",
	    .store = "bench",
	    .size_bytes = m->i->volume_bytes,
	    .marker_gen = 1,
	    .marker_next = 1};
	struct cache_ckhead c = {.number = 1, .ver = m->ver, .slots_crc = CRC32C_INIT};
	if (block == NULL) {
		m->err = -ENOMEM;
		return;
	}
	memcpy(s.uuid, m->uuid, 16);
	c.pos[CF_W] = m->checkpoint;
	for (uint32_t seg = 0; seg < m->geo.segment_count; seg++)
		c.slots_crc = cache_slots_crc(c.slots_crc, 1);
	c.slots_crc = crc32c_final(c.slots_crc);
	for (unsigned k = 0; k < 2; k++) {
		cache_voltable_encode(&m->geo, m->uuid, k, 1, 2, &row, 1, block);
		put(m, block, bytes, m->geo.voltable_block + (uint64_t)k * m->geo.voltable_blocks);
		cache_ckhead_encode(&m->geo, m->uuid, k, &c, block);
		put(m, block, CF_BLOCK_BYTES, m->geo.checkpoint_block + k);
		cache_super_encode(&s, k, block);
		put(m, block, CF_BLOCK_BYTES, k);
	}
	free(block);
}

int
recovery_image_make(const char *path, struct recovery_image *i)
{
	static const char zeros[CF_BLOCK_BYTES];
	struct making m = {.i = i, .zero_crc = crc32c(zeros, sizeof zeros), .extents = 1};
	memset(m.uuid, 0x42, sizeof m.uuid);
	int err = cache_geometry_make(&m.geo, i->size_bytes, 0, 255);
	if (err < 0 || m.geo.segment_count <= FREE_SEGMENTS)
		return err < 0 ? err : -ENOSPC;
	i->extents = i->records = i->written_bytes = 0;
	i->segments = m.geo.segment_count;
	/* A power of two, so that each comes once. */
	uint64_t blocks = (uint64_t)m.geo.segment_count * m.geo.segment_blocks;
	while (m.extents * i->extent_blocks < blocks)
		m.extents *= 2;
	i->volume_bytes = m.extents * i->extent_blocks * CF_BLOCK_BYTES;
	uint32_t descs = RECORD_BLOCKS / i->extent_blocks;
	uint32_t each = m.geo.data_blocks /
	                (cache_record_header_blocks(descs, 0, RECORD_BLOCKS) + RECORD_BLOCKS);
	uint64_t total = (uint64_t)each * (m.geo.segment_count - FREE_SEGMENTS);
	m.seq_at_checkpoint = total > i->tail_records ? total - i->tail_records : 1;
	m.foot = calloc(m.geo.footer_blocks, CF_BLOCK_BYTES);
	m.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (m.fd < 0 || m.foot == NULL || ftruncate(m.fd, (off_t)i->size_bytes) < 0)
		m.err = m.foot == NULL ? -ENOMEM : -errno;
	for (uint32_t seg = 0; m.err == 0 && seg < m.geo.segment_count - FREE_SEGMENTS; seg++)
		segment(&m, seg);
	if (m.err == 0)
		slots(&m, m.geo.segment_count - FREE_SEGMENTS);
	if (m.err == 0)
		fixed(&m);
	if (m.err == 0 && fsync(m.fd) < 0)
		m.err = -errno;
	/* Nothing of it is in memory when it is attached. */
	if (m.fd >= 0)
		(void)posix_fadvise(m.fd, 0, 0, POSIX_FADV_DONTNEED);
	if (m.fd >= 0)
		close(m.fd);
	free(m.foot);
	return m.err;
}
