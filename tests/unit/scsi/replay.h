/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client's own sequence as a table: who sends which CDB with which data, and what comes back.
 *
 * Bytes are written in hexadecimal, with blanks between; besides
 *	??	any byte
 *	80/C0	a byte whose bits of the mask C0 are 80
 *	AA*512	512 times
 *	'TEXT'	its characters
 *	@16	goes on at byte 16; what is between isn't looked at (data-out: zeros)
 *	#36	exactly so many bytes in all
 *	N0 N1	sixteen bytes: the NAA identifier of unit 0 or 1
 */
#ifndef TESTS_SCSI_REPLAY_H
#define TESTS_SCSI_REPLAY_H

#include "tests/unit/scsi/scsi_fixture.h"

/* Statuses (SAM-5 5.3.1) and what else a row can be. */
enum replay_end { GOOD, CHECK, CONFLICT, LUN_RESET };

struct replay_row {
	const char *what; /* for people; also says where the table fails */
	unsigned who;     /* index of the nexus */
	uint16_t lun;
	const char *cdb; /* NULL of LUN_RESET */
	const char *out; /* data-out; NULL: none */
	unsigned in;     /* room for data-in */
	enum replay_end end;
	const char *answer; /* data-in; of CHECK sense key, ASC, ASCQ; NULL: not looked at */
};

/* Each row in its order; the first that isn't answered as it says fails the test. */
void replay(struct fx_nexus *const *nexuses, const struct replay_row *rows, size_t count);

#endif
