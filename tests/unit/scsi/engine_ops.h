/* SPDX-License-Identifier: BSD-2-Clause */
/* A small command set for tests of the engine alone, in place of the real tables. */
#ifndef TESTS_SCSI_ENGINE_OPS_H
#define TESTS_SCSI_ENGINE_OPS_H

#include "scsi/scsi_priv.h"
#include "tests/unit/scsi/scsi_fixture.h"

enum {
	EO_TUR = 0x00,
	EO_INQUIRY = 0x12,
	EO_READ = 0x88, /* as READ(16), WRITE(16) */
	EO_WRITE = 0x8a,
	EO_INCREMENT = 0xc0, /* adds 1 to the first 8 bytes of a block, under a range lock */
	EO_HOLD = 0xc1,      /* service action: enum scsi_order; runs until engine_let_go() */
	EO_PARAMS = 0xc2,    /* parameter list; length in bytes 4-5; replies nothing */
	EO_SWAP = 0xc3,      /* adds 1 to two blocks under two locks, byte 2-5 and 6-9 */
	EO_FENCE =
	    0xc4, /* byte 2: 1 fences off initiators named iqn.denied…, 0 lets them in; drains */
	EO_REFUSED = 0xc5, /* a change that home refuses */
	EO_GET_SG2 = 0xc6, /* parameter list of bytes 4-5 KiB, and as much again as second buffer */
};

/* Commands that hold, in order of arrival. */
extern struct scsi_task *engine_held[64];
extern unsigned engine_held_count;
/* On the task's loop: the n-th goes on. False if it had been aborted. */
bool engine_let_go(unsigned n);
void engine_reset(void);
/* cleanup() calls, to check that each command got one. */
extern unsigned engine_cleanups;
/* What EO_FENCE's decide saw, EO_PARAMS' last list length. */
extern size_t engine_params_len;

#endif
