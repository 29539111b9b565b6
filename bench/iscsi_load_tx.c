/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a session sends: answers to pings, data-out bursts, new commands, in this order, as far as the
 * send queue and the command window have room. Nothing is sent here; the engine flushes.
 */
#include "bench/iscsi_load.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <string.h>

/* Serial number arithmetic (RFC 1982): a <= b. */
static bool
serial_le(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a) >= 0;
}

static uint32_t
padded_crc(const uint8_t *data, uint32_t len)
{
	static const uint8_t zeroes[4];
	uint32_t crc = crc32c_update(CRC32C_INIT, data, len);
	if (len % 4)
		crc = crc32c_update(crc, zeroes, 4 - len % 4);
	return crc32c_final(crc);
}

/*
 * Digest of a segment to send. All load writes send the start of one buffer, so that its digest is
 * computed once per length (a transfer has at most two: full segments and the last one).
 */
static uint32_t
segment_crc(struct load_engine *e, const struct load_session *s, const uint8_t *data, uint32_t len)
{
	if (!s->params.data_digest)
		return 0;
	if (data != e->pattern)
		return padded_crc(data, len);
	for (uint32_t i = 0; i < 2; i++) {
		if (e->pattern_crc_len[i] == 0) {
			e->pattern_crc_len[i] = len;
			e->pattern_crc[i] = padded_crc(data, len);
		}
		if (e->pattern_crc_len[i] == len)
			return e->pattern_crc[i];
	}
	return padded_crc(data, len);
}

/* Where a segment's bytes are: at their offset in a verified transfer, else the pattern's start. */
static const uint8_t *
segment_data(const struct load_engine *e, const struct load_task *t, uint32_t offset)
{
	return t->data == e->pattern ? e->pattern : t->data + offset;
}

static uint32_t
smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void
fill_burst(struct load_session *s, struct load_task *t)
{
	struct load_engine *e = s->engine;
	while (t->burst_offset < t->burst_end && load_tx_has_room(&s->tx)) {
		uint32_t len =
		    smaller(t->burst_end - t->burst_offset, s->params.send_segment_bytes);
		struct bench_data_out out = {.opcode = BENCH_OP_DATA_OUT};
		if (t->burst_offset + len == t->burst_end)
			out.flags = BENCH_FINAL;
		memcpy(out.lun, t->cmd.lun, sizeof out.lun);
		out.itt = t->cmd.itt;
		be32_put(&out.ttt, t->burst_ttt);
		be32_put(&out.exp_stat_sn, s->exp_stat_sn);
		be32_put(&out.data_sn, t->burst_data_sn++);
		be32_put(&out.offset, t->burst_offset);
		const uint8_t *data = segment_data(e, t, t->burst_offset);
		load_tx_add(&s->tx, &s->params, &out, data, len, segment_crc(e, s, data, len));
		t->burst_offset += len;
	}
	if (t->burst_offset == t->burst_end)
		list_remove(&t->burst_link);
}

static void
fill_bursts(struct load_session *s)
{
	while (!list_empty(&s->bursts) && load_tx_has_room(&s->tx))
		fill_burst(s, container_of(s->bursts.next, struct load_task, burst_link));
}

/* Chooses address and direction. False: nothing is due. */
static bool
next_transfer(struct load_session *s, struct load_task *t)
{
	struct load_engine *e = s->engine;
	const struct load_options *o = e->opt;
	if (o->commands != 0 && e->begun >= o->commands)
		return false;
	t->start_ns = e->now_ns;
	if (e->pace_interval_ns) {
		if (e->now_ns < e->pace_due_ns)
			return false;
		t->start_ns = e->pace_due_ns;
		e->pace_due_ns += e->pace_interval_ns;
	}
	t->is_write = o->read_percent < 100 &&
	              (o->read_percent == 0 || load_random(e) % 100 >= o->read_percent);
	t->block_count = e->io_blocks;
	if (o->pattern == LOAD_PATTERN_SEQUENTIAL) {
		t->lba = s->seq_lba;
		s->seq_lba += e->io_blocks;
		if (s->seq_lba + e->io_blocks > e->region_blocks)
			s->seq_lba = 0;
	} else if (o->pattern == LOAD_PATTERN_ZIPF) {
		t->lba = load_zipf_place(&e->zipf, load_zipf_rank(&e->zipf, load_random(e))) *
		         e->io_blocks;
	} else {
		t->lba = load_random(e) % (e->region_blocks / e->io_blocks) * e->io_blocks;
	}
	t->data = e->pattern;
	e->begun++;
	return true;
}

static void
send_command(struct load_session *s, struct load_task *t)
{
	struct load_engine *e = s->engine;
	struct bench_scsi_cmd *cmd = &t->cmd;
	uint32_t immediate = 0;
	t->len = t->block_count * e->logical_block_bytes;
	t->received = 0;
	t->data_sn = 0;
	cmd->flags = BENCH_FINAL | BENCH_ATTR_SIMPLE;
	if (t->is_write) {
		uint32_t unsolicited = smaller(t->len, s->params.first_burst_bytes);
		if (s->params.immediate_data)
			immediate = smaller(unsolicited, s->params.send_segment_bytes);
		if (s->params.initial_r2t)
			unsolicited = immediate;
		cmd->flags |= BENCH_CMD_WRITE;
		if (unsolicited > immediate) {
			cmd->flags &= (uint8_t)~BENCH_FINAL; /* Data-Out follows unasked. */
			t->burst_offset = immediate;
			t->burst_end = unsolicited;
			t->burst_ttt = BENCH_TAG_NONE;
			t->burst_data_sn = 0;
			list_push_back(&s->bursts, &t->burst_link);
		}
	} else {
		cmd->flags |= BENCH_CMD_READ;
	}
	be32_put(&cmd->itt, (uint32_t)t->generation << 16 | t->idx);
	be32_put(&cmd->expected_len, t->len);
	be32_put(&cmd->cmd_sn, s->cmd_sn++);
	be32_put(&cmd->exp_stat_sn, s->exp_stat_sn);
	load_pdu_cdb(cmd->cdb, t->is_write, t->lba, t->block_count);
	load_tx_add(&s->tx, &s->params, cmd, t->data, immediate,
	    immediate ? segment_crc(e, s, t->data, immediate) : 0);
}

void
load_tx_fill(struct load_session *s)
{
	struct load_engine *e = s->engine;
	ASSERT(s->fd >= 0);
	if (s->nop_pending && load_tx_has_room(&s->tx)) {
		be32_put(&s->nop_out.sn0, s->cmd_sn);
		be32_put(&s->nop_out.sn1, s->exp_stat_sn);
		load_tx_add(&s->tx, &s->params, &s->nop_out, NULL, 0, 0);
		s->nop_pending = false;
	}
	fill_bursts(s);
	/* A window that the target closed opens with its next response. */
	while (e->issuing && s->free_count > 0 && serial_le(s->cmd_sn, s->max_cmd_sn) &&
	       list_empty(&s->bursts) && load_tx_has_room(&s->tx)) {
		struct load_task *t = &s->tasks[s->free_tasks[s->free_count - 1]];
		ASSERT(!t->busy);
		if (!(e->verify ? load_verify_next(s, t) : next_transfer(s, t)))
			break;
		s->free_count--;
		t->busy = true;
		e->busy_count++;
		send_command(s, t);
		fill_bursts(s);
	}
}
