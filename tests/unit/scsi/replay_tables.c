/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three clients' sequences as tables (replay.h has the notation): a VMware ESXi host that finds a thin
 * datastore, tests its offloads, uses them and resets the unit; a Windows server that finds a disk; and the
 * validation of a Windows failover cluster with two nodes, which is mostly persistent reservations. In the
 * order in which they send it. What of it depends on races and on many commands is in replay_esxi.c and
 * replay_windows.c.
 */
#include "tests/unit/scsi/replay.h"

static struct fx f;

/* clang-format off */

/* ---- VMware ESXi: hosts 0 and 1, units 0 and 1, thin, 16 MiB ---------------------------------------- */

static const struct replay_row esxi[] = {
	/* Discovery. */
	{"REPORT LUNS", 0, 0, "A0 00 00 00 00 00 00 00 02 08 00 00", NULL, 520, GOOD,
	    "00 00 00 10 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 #24"},
	{"INQUIRY", 0, 0, "12 00 00 00 24 00", NULL, 36, GOOD,
	    /* disk; SPC-4; TPGS implicit; 3PC; CMDQUE; vendor, product: the same for all units */
	    "00 00 06 02/0F ?? 18/18 ?? 02/02 'TERRACE ' 'VIRTUAL-DISK    ' #36"},
	{"INQUIRY of a unit that isn't there", 0, 9, "12 00 00 00 24 00", NULL, 36, GOOD, "7F"},
	{"TEST UNIT READY there", 0, 9, "00 00 00 00 00 00", NULL, 0, CHECK, "05 25 00"},
	{"VPD pages", 0, 0, "12 01 00 00 FF 00", NULL, 255, GOOD,
	    "00 00 00 0A 00 80 83 86 87 88 8F B0 B1 B2 #14"},
	{"VPD: unit serial number", 0, 0, "12 01 80 00 FF 00", NULL, 255, GOOD, "00 80 00"},
	{"VPD: device identification", 0, 0, "12 01 83 00 FF 00", NULL, 255, GOOD,
	    /* NAA locally assigned, of the unit, 16 bytes, first */
	    "00 83 ?? ?? 01 03 00 10 N0"},
	{"VPD: extended INQUIRY, without which ESXi stops", 0, 0, "12 01 86 00 FF 00", NULL, 255, GOOD,
	    /* HEADSUP, ORDSUP, SIMPSUP; V_SUP=0: no volatile cache */
	    "00 86 00 3C ?? 07/07 00/01 #64"},
	{"VPD: block limits", 0, 0, "12 01 B0 00 FF 00", NULL, 255, GOOD,
	    /* WSNZ=0; ATS of up to 255 blocks; UNMAP; granularity of 4 KiB */
	    "00 B0 00 3C 00/01 FF @28 00 00 00 08 #64"},
	{"VPD: block device characteristics", 0, 0, "12 01 B1 00 FF 00", NULL, 255, GOOD, "00 B1 00 3C #64"},
	{"VPD: logical block provisioning", 0, 0, "12 01 B2 00 FF 00", NULL, 255, GOOD,
	    /* LBPU LBPWS LBPWS10, LBPRZ; thin */
	    "00 B2 00 ?? ?? E4/E4 02/07"},
	{"VPD: a page that isn't there", 0, 0, "12 01 C9 00 FF 00", NULL, 255, CHECK, "05 24 00"},
	{"TEST UNIT READY", 0, 0, "00 00 00 00 00 00", NULL, 0, GOOD, "#0"},
	{"READ CAPACITY(10)", 0, 0, "25 00 00 00 00 00 00 00 00 00", NULL, 8, GOOD,
	    "00 00 7F FF 00 00 02 00 #8"},
	{"READ CAPACITY(16)", 0, 0, "9E 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", NULL, 32, GOOD,
	    /* 8 logical blocks a physical one; LBPME, LBPRZ */
	    "00 00 00 00 00 00 7F FF 00 00 02 00 00/01 03/0F C0/C0 00 #32"},
	{"MODE SENSE(6): caching", 0, 0, "1A 00 08 00 FF 00", NULL, 255, GOOD,
	    /* writable, DPOFUA; WCE=0 */
	    "?? 00 10/90 08 @12 08 12 00/04"},
	{"MODE SENSE(6): informational exceptions", 0, 0, "1A 08 1C 00 FF 00", NULL, 255, GOOD,
	    "?? 00 00/80 00 1C 0A"},
	{"MODE SENSE(6): control", 0, 0, "1A 08 0A 00 FF 00", NULL, 255, GOOD,
	    /* TST: a task set for each nexus */
	    "?? 00 00/80 00 0A 0A 20/E0"},
	{"REPORT TARGET PORT GROUPS", 0, 0, "A3 0A 00 00 00 00 00 00 02 00 00 00", NULL, 512, GOOD,
	    /* one group, active/optimized, with ports */
	    "00 00 00 0C 00/0F 0F/01 00 01 00 ?? ?? 01 00 00 00 01 #16"},
	{"READ(10): partition table", 0, 0, "28 00 00 00 00 00 00 00 01 00", NULL, 512, GOOD, "00*512 #512"},
	{"READ(16): the last block, GPT's second header", 0, 0,
	    "88 00 00 00 00 00 00 00 7F FF 00 00 00 01 00 00", NULL, 512, GOOD, "00*512 #512"},
	{"READ(16) beyond it", 0, 0, "88 00 00 00 00 00 00 00 80 00 00 00 00 01 00 00", NULL, 512, CHECK,
	    "05 21 00"},
	{"a command nobody has", 0, 0, "C1 00 00 00 00 00", NULL, 0, CHECK, "05 20 00"},

	/* Which offloads there are. SUPPORT 3: as in a standard. */
	{"RSOC: COMPARE AND WRITE", 0, 0, "A3 0C 01 89 00 00 00 00 02 00 00 00", NULL, 512, GOOD,
	    "00 03/07 00 10 89"},
	{"RSOC: WRITE SAME(16)", 0, 0, "A3 0C 01 93 00 00 00 00 02 00 00 00", NULL, 512, GOOD,
	    "00 03/07 00 10 93"},
	{"RSOC: UNMAP", 0, 0, "A3 0C 01 42 00 00 00 00 02 00 00 00", NULL, 512, GOOD, "00 03/07 00 0A 42"},
	{"RSOC: EXTENDED COPY", 0, 0, "A3 0C 02 83 00 00 00 00 02 00 00 00", NULL, 512, GOOD,
	    "00 03/07 00 10 83"},
	{"RSOC: a command nobody has", 0, 0, "A3 0C 01 C1 00 00 00 00 02 00 00 00", NULL, 512, GOOD,
	    "00 01/07"},
	{"PR IN: READ KEYS", 0, 0, "5E 00 00 00 00 00 00 00 FF 00", NULL, 255, GOOD,
	    "00 00 00 00 00 00 00 00 #8"},

	/* ATS: the block is what the first half says, and becomes the second half. */
	{"ATS: takes a free lock", 0, 0, "89 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00", "00*512 A1*512", 0,
	    GOOD, "#0"},
	{"ATS: it isn't free for the other host", 1, 0, "89 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00",
	    "00*512 B2*512", 0, CHECK, "0E 1D 00"},
	{"READ(16): whose it is", 1, 0, "88 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00", NULL, 512, GOOD,
	    "A1*512 #512"},
	{"ATS: heartbeat", 0, 0, "89 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00", "A1*512 A2*512", 0, GOOD,
	    NULL},
	{"ATS: gives it back", 0, 0, "89 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00", "A2*512 00*512", 0,
	    GOOD, NULL},
	{"ATS: the other host takes it", 1, 0, "89 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00",
	    "00*512 B2*512", 0, GOOD, NULL},
	{"ATS of 255 blocks, the most that fits: somebody else's", 0, 0,
	    "89 00 00 00 00 00 00 00 10 00 00 00 00 FF 00 00", "00*261120", 0, CHECK, "0E 1D 00"},

	/* Zero, clone, delete. */
	{"WRITE(16): 64 KiB at 0", 0, 0, "8A 00 00 00 00 00 00 00 00 00 00 00 00 80 00 00", "CC*65536", 0, GOOD,
	    NULL},
	{"WRITE SAME(16): 16 blocks are zeroed", 0, 0, "93 00 00 00 00 00 00 00 00 08 00 00 00 10 00 00",
	    "00*512", 0, GOOD, NULL},
	{"READ(16): those and no others", 1, 0, "88 00 00 00 00 00 00 00 00 07 00 00 00 12 00 00", NULL, 9216,
	    GOOD, "CC*512 00*8192 CC*512 #9216"},
	{"RECEIVE COPY RESULTS: operating parameters", 0, 0, "84 03 00 00 00 00 00 00 00 00 00 00 02 00 00 00",
	    NULL, 512, GOOD, /* SNLID; targets, segments */ "00 00 00 ?? 01/01 @8 00 ?? 00 ??"},
	{"EXTENDED COPY: 64 KiB from unit 0 to unit 1", 0, 0,
	    "83 00 00 00 00 00 00 00 00 00 00 00 00 6C 00 00",
	    "00 18 00 40 00 00 00 00 00 00 00 1C 00 00 00 00 "
	    "E4 00 00 00 01 03 00 10 N0 00 00 00 00 00 00 02 00 "
	    "E4 00 00 00 01 03 00 10 N1 00 00 00 00 00 00 02 00 "
	    "02 02 00 18 00 00 00 01 00 00 00 80 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10 00 #108",
	    0, GOOD, NULL},
	{"READ(16): the clone", 1, 1, "88 00 00 00 00 00 00 00 10 00 00 00 00 09 00 00", NULL, 4608, GOOD,
	    "CC*4096 00*512 #4608"},
	{"EXTENDED COPY from a unit nobody has", 0, 0, "83 00 00 00 00 00 00 00 00 00 00 00 00 6C 00 00",
	    "00 18 00 40 00 00 00 00 00 00 00 1C 00 00 00 00 "
	    "E4 00 00 00 01 03 00 10 6E*16 00 00 00 00 00 00 02 00 "
	    "E4 00 00 00 01 03 00 10 N1 00 00 00 00 00 00 02 00 "
	    "02 02 00 18 00 00 00 01 00 00 00 80 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10 00 #108",
	    0, CHECK, NULL},
	{"UNMAP: 1 MiB at 0", 0, 0, "42 00 00 00 00 00 00 00 18 00",
	    "00 16 00 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00 00", 0, GOOD, NULL},
	{"READ(16): zeros now", 1, 0, "88 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00", NULL, 4096, GOOD,
	    "00*4096 #4096"},
	{"GET LBA STATUS", 0, 0, "9E 12 00 00 00 00 00 00 00 00 00 00 00 18 00 00", NULL, 24, GOOD,
	    /* from 0, deallocated */ "00 00 00 ?? 00 00 00 00 00 00 00 00 00 00 00 00 ?? ?? ?? ?? 01/0F"},
	{"SYNCHRONIZE CACHE(10)", 0, 0, "35 00 00 00 00 00 00 00 00 00", NULL, 0, GOOD, "#0"},

	/* Without ATS, and a host that died: a reset of the unit frees it. */
	{"RESERVE(6)", 0, 0, "16 00 00 00 00 00", NULL, 0, GOOD, NULL},
	{"WRITE(10) of the other host", 1, 0, "2A 00 00 00 00 00 00 00 01 00", "00*512", 0, CONFLICT, NULL},
	{"INQUIRY of the other host", 1, 0, "12 00 00 00 24 00", NULL, 36, GOOD, "00"},
	{"LOGICAL UNIT RESET by the other host", 1, 0, NULL, NULL, 0, LUN_RESET, NULL},
	{"it is told: bus device reset function occurred", 1, 0, "00 00 00 00 00 00", NULL, 0, CHECK, "06 29 03"},
	{"WRITE(10) of the other host again", 1, 0, "2A 00 00 00 00 00 00 00 01 00", "00*512", 0, GOOD, NULL},
	{"the first host is told, too", 0, 0, "00 00 00 00 00 00", NULL, 0, CHECK, "06 29 03"},
	{"RELEASE(6): nothing is held, and that is good", 0, 0, "17 00 00 00 00 00", NULL, 0, GOOD, NULL},
	{"the other unit was left alone", 1, 1, "00 00 00 00 00 00", NULL, 0, GOOD, NULL},
};

/* ---- Windows Server: a disk arrives ------------------------------------------------------------------ */

static const struct replay_row windows[] = {
	{"REPORT LUNS: with room for one", 0, 0, "A0 00 00 00 00 00 00 00 00 10 00 00", NULL, 16, GOOD,
	    "00 00 00 10 00 00 00 00 00 00 00 00 00 00 00 00 #16"},
	{"INQUIRY: 36 bytes", 0, 0, "12 00 00 00 24 00", NULL, 36, GOOD,
	    "00 00 06 02/0F ?? 10/10 ?? 02/02 'TERRACE ' 'VIRTUAL-DISK    ' #36"},
	{"VPD pages: the header first", 0, 0, "12 01 00 00 04 00", NULL, 4, GOOD, "00 00 00 0A #4"},
	{"VPD 80h: the header first", 0, 0, "12 01 80 00 04 00", NULL, 4, GOOD, "00 80 00 ?? #4"},
	{"VPD 83h: identity, unique and lasting", 0, 0, "12 01 83 00 FF 00", NULL, 255, GOOD,
	    "00 83 ?? ?? 01 03 00 10 N0"},
	{"TEST UNIT READY", 0, 0, "00 00 00 00 00 00", NULL, 0, GOOD, NULL},
	{"READ CAPACITY(16)", 0, 0, "9E 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", NULL, 32, GOOD,
	    "00 00 00 00 00 00 7F FF 00 00 02 00 00/01 03/0F C0/C0 00 #32"},
	{"READ CAPACITY(10)", 0, 0, "25 00 00 00 00 00 00 00 00 00", NULL, 8, GOOD, "00 00 7F FF 00 00 02 00 #8"},
	{"MODE SENSE(6): all pages, 192 bytes", 0, 0, "1A 00 3F 00 C0 00", NULL, 192, GOOD,
	    "?? 00 00/80 08 @8 00 00 02 00"},
	{"MODE SENSE(10): caching", 0, 0, "5A 08 08 00 00 00 00 00 C0 00", NULL, 192, GOOD,
	    "00 ?? 00 00/80 00 00 00 00 08 12 00/04"},
	{"MODE SENSE(6): caching, what can be changed", 0, 0, "1A 08 48 00 C0 00", NULL, 192, GOOD,
	    "?? 00 ?? 00 08 12"},
	{"MODE SELECT(6): WCE on, where a write is durable anyway", 0, 0, "15 10 00 00 18 00",
	    "00 00 00 00 08 12 04 00*17", 0, CHECK, "05 26 00"},
	{"VPD B0h: block limits", 0, 0, "12 01 B0 00 40 00", NULL, 64, GOOD, "00 B0 00 3C #64"},
	{"VPD B1h: it doesn't rotate: no defragmentation", 0, 0, "12 01 B1 00 40 00", NULL, 64, GOOD,
	    "00 B1 00 3C 00 01 #64"},
	{"VPD B2h: thin", 0, 0, "12 01 B2 00 40 00", NULL, 64, GOOD, "00 B2 00 ?? ?? 80/80 02/07"},
	{"VPD 8Fh: no ODX", 0, 0, "12 01 8F 00 FF 00", NULL, 255, GOOD, "00 8F"},
	{"POPULATE TOKEN: none", 0, 0, "83 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00", NULL, 0, CHECK,
	    "05 24 00"},
	{"LOG SENSE: pages", 0, 0, "4D 00 40 00 00 00 00 00 FF 00", NULL, 255, GOOD, "00/3F 00 00 ?? 00"},
	{"WRITE(10), FUA", 0, 0, "2A 08 00 00 00 00 00 00 08 00", "11*4096", 0, GOOD, NULL},
	{"READ(10)", 0, 0, "28 00 00 00 00 00 00 00 08 00", NULL, 4096, GOOD, "11*4096 #4096"},
	{"SYNCHRONIZE CACHE(10): all", 0, 0, "35 00 00 00 00 00 00 00 00 00", NULL, 0, GOOD, NULL},
	{"SYNCHRONIZE CACHE(16): all", 0, 0, "91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", NULL, 0, GOOD,
	    NULL},
	{"VERIFY(10)", 0, 0, "2F 00 00 00 00 00 00 00 10 00", NULL, 0, GOOD, NULL},
	{"UNMAP of the optimizer: 1 MiB", 0, 0, "42 00 00 00 00 00 00 00 18 00",
	    "00 16 00 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00 00", 0, GOOD, NULL},
	{"READ(10): zeros, not rubbish", 0, 0, "28 00 00 00 00 00 00 00 08 00", NULL, 4096, GOOD,
	    "00*4096 #4096"},
	{"START STOP UNIT: start", 0, 0, "1B 00 00 00 01 00", NULL, 0, GOOD, NULL},
	{"REQUEST SENSE: nothing", 0, 0, "03 00 00 00 FC 00", NULL, 252, GOOD, "70 00 00"},
	{"REPORT TARGET PORT GROUPS: MSDSM", 0, 0, "A3 0A 00 00 00 00 00 00 01 00 00 00", NULL, 256, GOOD,
	    "00 00 00 0C 00/0F 0F/01 00 01"},
};

/* ---- Windows: cluster validation; nodes 0 and 1, a stranger 2 ------------------------------------------ */

#define KEY_A "70 A1 B2 C3 73 4D 53 46" /* a random part and Microsoft's mask: "sMSF" */
#define KEY_B "70 D4 E5 F6 73 4D 53 46"
#define KEY_0 "00 00 00 00 00 00 00 00"
/* PERSISTENT RESERVE OUT: service action, type, then key, service action's key, flags. */
#define PR_OUT(sa, type) "5F " sa " " type " 00 00 00 00 00 18 00"
#define PR_LIST(key, sa_key) key " " sa_key " 00 00 00 00 00 00 00 00"

static const struct replay_row cluster[] = {
	{"VPD 83h: both nodes see one disk", 1, 0, "12 01 83 00 FF 00", NULL, 255, GOOD,
	    "00 83 ?? ?? 01 03 00 10 N0"},
	{"PR IN: REPORT CAPABILITIES", 0, 0, "5E 02 00 00 00 00 00 00 08 00", NULL, 8, GOOD,
	    /* type mask valid: all six */ "00 08 ?? 80/80 EA 01 00 00 #8"},
	{"PR IN: READ KEYS: none", 0, 0, "5E 00 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 00 00 00 00 00 #8"},
	{"PR IN: READ RESERVATION: none", 0, 0, "5E 01 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 00 00 00 00 00 #8"},
	{"RESERVE without registration", 0, 0, PR_OUT("01", "05"), PR_LIST(KEY_A, KEY_0), 0, CONFLICT, NULL},
	{"REGISTER, node A", 0, 0, PR_OUT("00", "00"), PR_LIST(KEY_0, KEY_A), 0, GOOD, NULL},
	{"REGISTER again as if it weren't", 0, 0, PR_OUT("00", "00"), PR_LIST(KEY_0, KEY_A), 0, CONFLICT, NULL},
	{"REGISTER AND IGNORE EXISTING KEY, node B", 1, 0, PR_OUT("06", "00"), PR_LIST(KEY_0, KEY_B), 0, GOOD,
	    NULL},
	{"READ KEYS: both", 1, 0, "5E 00 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 02 00 00 00 10 " KEY_A " " KEY_B " #24"},
	{"READ KEYS: with room for the header", 1, 0, "5E 00 00 00 00 00 00 00 08 00", NULL, 8, GOOD,
	    "00 00 00 02 00 00 00 10 #8"},
	{"RESERVE, type 5 (registrants write), node A", 0, 0, PR_OUT("01", "05"), PR_LIST(KEY_A, KEY_0), 0,
	    GOOD, NULL},
	{"READ RESERVATION", 1, 0, "5E 01 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 02 00 00 00 10 " KEY_A " 00 00 00 00 00 05 00 00 #24"},
	{"READ RESERVATION: with room for half of it", 1, 0, "5E 01 00 00 00 00 00 00 10 00", NULL, 16, GOOD,
	    "00 00 00 02 00 00 00 10 " KEY_A " #16"},
	{"READ FULL STATUS", 1, 0, "5E 03 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    /* the holder: scope and type, relative port 1, a TransportID of iSCSI */
	    "00 00 00 02 00 00 ?? ?? " KEY_A " 00 00 00 00 01/01 05 00 00 00 00 00 01 00 00 00 ?? 05/0F"},
	{"READ FULL STATUS: with room for the header", 1, 0, "5E 03 00 00 00 00 00 00 08 00", NULL, 8, GOOD,
	    "00 00 00 02 00 00 ?? ?? #8"},
	{"WRITE(10) of the owner", 0, 0, "2A 00 00 00 00 00 00 00 01 00", "AA*512", 0, GOOD, NULL},
	{"WRITE(10) of the registered node", 1, 0, "2A 00 00 00 00 00 00 00 01 00", "BB*512", 0, GOOD, NULL},
	{"WRITE(10) of a stranger", 2, 0, "2A 00 00 00 00 00 00 00 01 00", "CC*512", 0, CONFLICT, NULL},
	{"READ(10) of a stranger", 2, 0, "28 00 00 00 00 00 00 00 01 00", NULL, 512, GOOD, "BB*512 #512"},
	{"SYNCHRONIZE CACHE(10) of a stranger", 2, 0, "35 00 00 00 00 00 00 00 00 00", NULL, 0, CONFLICT, NULL},
	{"TEST UNIT READY of a stranger", 2, 0, "00 00 00 00 00 00", NULL, 0, GOOD, NULL},
	{"RESERVE of what node A has", 1, 0, PR_OUT("01", "05"), PR_LIST(KEY_B, KEY_0), 0, CONFLICT, NULL},
	{"RESERVE(6) beside it", 2, 0, "16 00 00 00 00 00", NULL, 0, CONFLICT, NULL},
	{"PREEMPT with a wrong key", 1, 0, PR_OUT("04", "05"), PR_LIST(KEY_A, KEY_A), 0, CONFLICT, NULL},
	{"PREEMPT by node B: node A was silent", 1, 0, PR_OUT("04", "05"), PR_LIST(KEY_B, KEY_A), 0, GOOD, NULL},
	{"READ RESERVATION: node B's", 1, 0, "5E 01 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 03 00 00 00 10 " KEY_B " 00 00 00 00 00 05 00 00 #24"},
	{"node A is told: registrations preempted", 0, 0, "00 00 00 00 00 00", NULL, 0, CHECK, "06 2A 05"},
	{"WRITE(10) of node A: fenced", 0, 0, "2A 00 00 00 00 00 00 00 01 00", "AA*512", 0, CONFLICT, NULL},
	{"RESERVE with its old key", 0, 0, PR_OUT("01", "05"), PR_LIST(KEY_A, KEY_0), 0, CONFLICT, NULL},
	{"REGISTER, node A comes back", 0, 0, PR_OUT("00", "00"), PR_LIST(KEY_0, KEY_A), 0, GOOD, NULL},
	{"WRITE(10) of node A", 0, 0, "2A 00 00 00 00 00 00 00 01 00", "AA*512", 0, GOOD, NULL},
	{"RELEASE of another's: done, nothing released", 0, 0, PR_OUT("02", "05"), PR_LIST(KEY_A, KEY_0), 0,
	    GOOD, NULL},
	{"RELEASE with another type", 1, 0, PR_OUT("02", "03"), PR_LIST(KEY_B, KEY_0), 0, CHECK, "05 26 04"},
	{"RELEASE by the owner", 1, 0, PR_OUT("02", "05"), PR_LIST(KEY_B, KEY_0), 0, GOOD, NULL},
	{"node A is told: reservations released", 0, 0, "00 00 00 00 00 00", NULL, 0, CHECK, "06 2A 04"},
	{"WRITE(10) of a stranger: nothing is reserved", 2, 0, "2A 00 00 00 00 00 00 00 01 00", "CC*512", 0,
	    GOOD, NULL},
	{"PREEMPT AND ABORT of a registrant", 1, 0, PR_OUT("05", "05"), PR_LIST(KEY_B, KEY_A), 0, GOOD, NULL},
	{"node A is told", 0, 0, "00 00 00 00 00 00", NULL, 0, CHECK, "06 2A 05"},
	{"CLEAR", 1, 0, PR_OUT("03", "00"), PR_LIST(KEY_B, KEY_0), 0, GOOD, NULL},
	{"READ KEYS: none; the generation has gone on", 1, 0, "5E 00 00 00 00 00 00 20 00 00", NULL, 8192, GOOD,
	    "00 00 00 06 00 00 00 00 #8"},
	{"a parameter list that is too short", 0, 0, "5F 00 00 00 00 00 00 00 10 00",
	    KEY_0 " " KEY_A, 0, CHECK, "05 1A 00"},
	{"a service action nobody has", 0, 0, "5F 0F 00 00 00 00 00 00 18 00", PR_LIST(KEY_0, KEY_A), 0, CHECK,
	    "05 24 00"},
};
/* clang-format on */

#define RUN(nexuses, table) replay(nexuses, table, sizeof(table) / sizeof((table)[0]))

static void
thin_units(unsigned loops, unsigned count)
{
	struct scsi_lu_args a = {.thin = true, .physical_exponent = 3};

	fx_up(&f, loops, 11);
	for (unsigned i = 0; i < count; i++)
		fx_add_lu(&f, "ram:", &a);
}

static void
vmware_esxi(void **state)
{
	(void)state;
	thin_units(2, 2);
	struct fx_nexus *hosts[] = {fx_login(&f, 0, "iqn.1998-01.com.vmware:esx1"),
	    fx_login(&f, 1, "iqn.1998-01.com.vmware:esx2")};
	RUN(hosts, esxi);
	fx_down(&f);
}

static void
windows_disk(void **state)
{
	(void)state;
	thin_units(1, 2);
	struct fx_nexus *node[] = {fx_login(&f, 0, "iqn.1991-05.com.microsoft:node-a")};
	RUN(node, windows);
	fx_down(&f);
}

static void
windows_cluster(void **state)
{
	(void)state;
	thin_units(2, 1);
	struct fx_nexus *nodes[] = {fx_login(&f, 0, "iqn.1991-05.com.microsoft:node-a"),
	    fx_login(&f, 1, "iqn.1991-05.com.microsoft:node-b"),
	    fx_login(&f, 1, "iqn.2000-01.org.other:host")};
	RUN(nodes, cluster);
	fx_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vmware_esxi),
	    cmocka_unit_test(windows_disk),
	    cmocka_unit_test(windows_cluster),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
