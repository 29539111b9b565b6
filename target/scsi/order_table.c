/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who waits for whom. Within a task set the task attributes say it (order.c); between all tasks of a
 * unit this table does. Overlapping reads and writes of SIMPLE tasks aren't ordered: the control mode
 * page says unrestricted reordering (QUEUE ALGORITHM MODIFIER 1h, SPC-4 7.5.8).
 */
#include "scsi/scsi_priv.h"

#define P ORDER_PASS
#define R ORDER_RANGE
#define B ORDER_BLOCK

/* clang-format off */
/* The tests spell out the reason of each cell. */
const uint8_t scsi_order_table[ORD_COUNT][ORD_COUNT] = {
	/* new          running: NONE READ WRITE ATOMIC FLUSH CONFIG EXCLUSIVE */
	[ORD_NONE]      =       {P,   P,   P,    P,     P,    P,     P},
	[ORD_READ]      =       {P,   P,   P,    R,     P,    P,     B},
	[ORD_WRITE]     =       {P,   P,   P,    R,     P,    P,     B},
	[ORD_ATOMIC]    =       {P,   R,   R,    R,     P,    P,     B},
	[ORD_FLUSH]     =       {P,   P,   P,    P,     P,    P,     B},
	[ORD_CONFIG]    =       {P,   P,   P,    P,     P,    P,     P},
	[ORD_EXCLUSIVE] =       {P,   B,   B,    B,     B,    P,     B},
};
/* clang-format on */
