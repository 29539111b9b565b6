/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A world for tests of the SCSI core: simulated loops, a core over them, logical units over ram or
 * fault stores, nexuses with a transport that gives and takes data at once. Everything runs in one
 * thread from a seed. A failure inside the fixture fails the test (assert_*).
 *
 *	struct fx f;
 *	fx_up(&f, 1, 42);
 *	fx_add_lu(&f, "ram:", NULL);                  LUN 0, 16 MiB, blocks of 512 bytes
 *	struct fx_nexus *n = fx_login(&f, 0, "iqn.a"); clears the first unit attention
 *	struct fx_cmd *c = fx_exec(n, 0, cdb, 16, data_out, out_len, in_cap);
 *	assert_int_equal(c->status, SCSI_GOOD);        c->in, c->in_len, c->sense …
 *	fx_down(&f);                                   logs out, frees all commands
 */
#ifndef TESTS_SCSI_FIXTURE_H
#define TESTS_SCSI_FIXTURE_H

#include "scsi/scsi.h"
#include "tests/cmocka_all.h"

#define FX_LUS_MAX 64
#define FX_NEXUSES_MAX 64
#define FX_LU_BYTES (16u * 1024u * 1024u)

struct fx;

struct fx_nexus {
	struct fx *f;
	struct scsi_nexus *n; /* NULL once it is gone */
	struct scsi_view *view;
	bool own_view; /* made with it, destroyed by fx_down() */
	unsigned loop;
	char initiator[64];
	uint8_t transport_id[SCSI_TRANSPORT_ID_MAX];
	size_t transport_id_len;
	uint16_t rel_port_id;
	uint32_t in_flight; /* commands started and not done */
	bool gone;
};

/* One command: a transport's task. Made by fx_cmd(), freed by fx_down() or fx_cmd_free(). */
struct fx_cmd {
	struct scsi_task task;
	struct list link;
	struct fx_nexus *nexus;
	const uint8_t *out; /* borrowed until done */
	size_t out_len;
	uint8_t *in; /* data-in as the initiator gets it */
	size_t in_len;
	bool with_command; /* the data comes with it, in memory that is gone after the submit */
	bool hold_data;    /* don't answer want_data by itself: fx_give_data() */
	bool hold_release; /* don't release in done: fx_release() */
	int data_result;   /* passed to scsi_task_data_ready(); default 0 */
	void (*on_done)(struct fx_cmd *c); /* may be NULL; after the fields below are set */
	void *ctx;
	/* the outcome */
	bool started, taken, wanted, done, released;
	bool aborted;
	uint8_t status;
	uint8_t sense[SCSI_SENSE_MAX_BYTES];
	uint8_t sense_len;
	uint64_t xfer_bytes; /* residual = xfer_bytes - out_len, or - in_cap */
	uint32_t data_out_len;
	uint64_t done_at_step; /* order of completion, from 1 */
};

struct fx {
	struct loop_sim *world;
	struct loop *loops[LOOP_COUNT_MAX];
	unsigned loop_count;
	struct scsi_core *core;
	struct blk *blks[FX_LUS_MAX];
	struct scsi_lu *lus[FX_LUS_MAX];
	unsigned lu_count;
	struct fx_nexus nexuses[FX_NEXUSES_MAX];
	unsigned nexus_count;
	struct list cmds;
	uint64_t done_count;
	/* what scsi_persist_ops.save got last, per call; the store answers at once with save_result */
	enum scsi_persist saved_what;
	uint8_t saved[65536];
	size_t saved_len;
	unsigned save_count;
	int save_result;
};

/* World, loops and an empty core with target port 1 ("iqn.test:target,t,0x0001"). */
void fx_up(struct fx *f, unsigned loops, uint64_t seed);
/* With so much for the buffers of each loop: under a sanitizer each MiB costs time. */
void fx_up_with(struct fx *f, unsigned loops, uint64_t seed, size_t buf_bytes);
/*
 * LUN number = lu_count before the call. `spec` as for blk_open() ("ram:", "fault:…"), size
 * FX_LU_BYTES unless args->… says otherwise via `size_bytes`. `args` may be NULL; of it blk, uuid
 * (when zero) and name (when NULL) are filled in, block_bytes 0 means 512.
 */
struct scsi_lu *fx_add_lu(struct fx *f, const char *spec, const struct scsi_lu_args *args);
struct scsi_lu *fx_add_lu_size(
    struct fx *f, const char *spec, const struct scsi_lu_args *args, uint64_t size_bytes);
/* A nexus on loop `loop` that sees every LU added so far; takes the 29h/00h of each. */
struct fx_nexus *fx_login(struct fx *f, unsigned loop, const char *initiator);
/* The same with choices: port, and whether unit attentions are left pending. */
struct fx_nexus *fx_login_port(
    struct fx *f, unsigned loop, const char *initiator, uint16_t rel_port_id, bool keep_ua);
/* With a view of one's own. */
struct fx_nexus *fx_login_view(struct fx *f, unsigned loop, const char *initiator,
    const struct scsi_view_entry *entries, uint32_t count);
/* With the view of somebody else. */
struct fx_nexus *fx_login_shared(
    struct fx *f, unsigned loop, const char *initiator, struct scsi_view *view);
/* Destroys the nexus and runs until it is gone. */
void fx_logout(struct fx_nexus *n);
/* The same without running: n->gone tells. */
void fx_logout_start(struct fx_nexus *n);
/* Destroys a unit that no nexus sees any more, before fx_down() does. */
void fx_end_lu(struct fx *f, unsigned lun);
/* Logs everybody out, destroys all, checks that nothing is left. */
void fx_down(struct fx *f);

/* A command, not started. cdb is copied. */
struct fx_cmd *fx_cmd(struct fx_nexus *n, uint16_t lun, const void *cdb, size_t cdb_len,
    const void *out, size_t out_len, size_t in_cap);
void fx_start(struct fx_cmd *c);
/* From a callback on the nexus's loop already. */
void fx_start_here(struct fx_cmd *c);
void fx_give_data(struct fx_cmd *c);
void fx_release(struct fx_cmd *c);
/* Runs until the world has nothing left to do (at most `steps_max` of fx_run_steps). */
void fx_run(struct fx *f);
void fx_run_steps(struct fx *f, uint64_t steps_max);
/* fx_cmd + fx_start + fx_run + asserts that it's done. */
struct fx_cmd *fx_exec(struct fx_nexus *n, uint16_t lun, const void *cdb, size_t cdb_len,
    const void *out, size_t out_len, size_t in_cap);
void fx_cmd_free(struct fx_cmd *c);

/* A task management function, started: t->done tells. */
struct fx_tmf {
	struct scsi_tmf_req req;
	struct fx_nexus *nexus;
	bool done;
	uint64_t done_at_step; /* in one order with fx_cmd's */
};
void fx_tmf_start(
    struct fx_tmf *t, struct fx_nexus *n, enum scsi_tmf function, uint16_t lun, uint64_t tag);
/* Runs a task management function to its end. *ret_found may be NULL. */
enum scsi_tmf_response fx_tmf(
    struct fx_nexus *n, enum scsi_tmf function, uint16_t lun, uint64_t tag, bool *ret_found);
/* Runs `fn` on a loop as a callback, at once. */
void fx_on_loop(struct fx *f, unsigned loop, void (*fn)(void *ctx), void *ctx);

/* Key, ASC, ASCQ of either sense format; -1 where there is no sense. As 0xKKAAQQ. */
int fx_sense(const struct fx_cmd *c);
#define FX_SENSE(key, asc, ascq) ((key) << 16 | (asc) << 8 | (ascq))
/* Sense key specific field pointer, or -1; *ret_bit -1 without BPV. */
int fx_sense_field(const struct fx_cmd *c, int *ret_bit);
/* INFORMATION if VALID. */
bool fx_sense_info(const struct fx_cmd *c, uint64_t *ret);
#define fx_assert_good(c) assert_int_equal((c)->status, SCSI_GOOD)
#define fx_assert_sense(c, key, asc, ascq)                                                         \
	do {                                                                                       \
		const struct fx_cmd *fx_c = (c);                                                   \
		assert_int_equal(fx_c->status, SCSI_CHECK_CONDITION);                              \
		assert_int_equal(fx_sense(fx_c), FX_SENSE(key, asc, ascq));                        \
	} while (0)

/* TransportID of an iSCSI initiator name (format 00b), SPC-4 7.6.4.6. Returns its length. */
size_t fx_iscsi_transport_id(const char *name, uint8_t buf[SCSI_TRANSPORT_ID_MAX]);
/* Commands that nearly every test needs. */
struct fx_cmd *fx_tur(struct fx_nexus *n, uint16_t lun);
struct fx_cmd *fx_rw16_cmd(struct fx_nexus *n, uint16_t lun, bool write, uint64_t lba,
    uint32_t blocks, const void *data); /* not started */
struct fx_cmd *fx_read16(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks);
struct fx_cmd *fx_write16(
    struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks, const void *data);

#endif
