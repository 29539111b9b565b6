/* SPDX-License-Identifier: BSD-2-Clause */
/* The target of a run: loops, units over fault stores, the SCSI core, the iSCSI server. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <sys/socket.h>

#include "iscsi/iscsi.h"
#include "loop/loop.h"
#include "scsi/scsi.h"
#include "tests/sim/sim.h"

#define WORLD_LUNS 2u
#define WORLD_SPARE 2u   /* number of a unit that comes and goes (changes.h) */
#define WORLD_NUMBERS 3u /* in use, with that one */
#define WORLD_SECTORS 4096u
#define WORLD_LOOPS_MAX 4u
#define WORLD_TARGET "iqn.2024-01.com.example:sim"

struct world_cfg {
	uint64_t seed;
	unsigned loops; /* of the target; one more is the initiators' */
	uint32_t net_delay_us, net_chunk_bytes;
	uint32_t store_delay_us;
	double store_errors; /* chance of a read or write of unit 0 to fail */
	size_t buf_bytes;    /* of a loop */
	uint32_t nop_interval_ms;
	struct iscsi_offer offer;
	uint32_t depth;
	bool sanitize; /* units offer SANITIZE */
};

struct world {
	struct world_cfg cfg;
	struct loop_sim *sim;
	struct loop *loops[WORLD_LOOPS_MAX + 1];
	struct loop *client;
	struct scsi_core *core;
	struct blk *blks[WORLD_LUNS];
	struct scsi_lu *lus[WORLD_LUNS];
	struct scsi_view *view;
	struct iscsi_config *config;
	struct iscsi_limits limits;
	struct changes *changes; /* NULL: nobody changes anything */
	struct iscsi_server *server;
	struct sockaddr_storage portal;
	bool stopping, stopped;
	unsigned lus_gone;
	uint64_t logins, drops;
};

void world_up(struct world *w, const struct world_cfg *cfg);
/* From a callback of the initiators' loop, or from outside. */
void world_stop_server(struct world *w, uint32_t grace_ms);
/* After the server has stopped and the world is at rest: everything must be back where it came from
 * (asserted by those who lent it). Returns the hash of all that happened. */
uint64_t world_down(struct world *w);

#endif
