/* SPDX-License-Identifier: BSD-2-Clause */
/* Reservations over the fixture: logins with iSCSI port names, the commands, what to expect. */
#ifndef TESTS_SCSI_PR_UTIL_H
#define TESTS_SCSI_PR_UTIL_H

#include "base/endian.h"
#include "scsi/pr.h"
#include "tests/unit/scsi/scsi_fixture.h"

#define PRF_APTPL 0x01u
#define PRF_ALL_TG_PT 0x04u
#define PRF_SPEC_I_PT 0x08u

/* LUN 0 over `spec`, target ports 1 and 2. */
void pr_up(struct fx *f, unsigned loops, uint64_t seed, const char *spec);
/* A nexus with the TransportID "iqn.<name>,i,0x000000000001" (format 01b) through a port. */
struct fx_nexus *pr_login(struct fx *f, unsigned loop, const char *name, uint16_t rel_port);
size_t pr_make_tid(const char *port_name, uint8_t buf[SCSI_TRANSPORT_ID_MAX]);

/* PERSISTENT RESERVE OUT with the basic list; made, not started. Type as in the CDB's byte 2. */
struct fx_cmd *pr_out_cmd(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, uint64_t key,
    uint64_t sa_key, unsigned flags);
/* …and executed. */
struct fx_cmd *pr_out(struct fx_nexus *n, enum pr_out_sa sa, unsigned type, uint64_t key,
    uint64_t sa_key, unsigned flags);
struct fx_cmd *pr_out_list(
    struct fx_nexus *n, enum pr_out_sa sa, unsigned type, const void *list, size_t len);
struct fx_cmd *pr_in(struct fx_nexus *n, unsigned sa, uint16_t alloc);
#define pr_register(n, key) fx_assert_good(pr_out(n, PR_OUT_REGISTER_AND_IGNORE, 0, 0, key, 0))
#define pr_reserve(n, key, type) fx_assert_good(pr_out(n, PR_OUT_RESERVE, type, key, 0, 0))
#define assert_conflict(c) assert_int_equal((c)->status, SCSI_RESERVATION_CONFLICT)

/* RESERVE(6) and RELEASE(6). */
struct fx_cmd *spc2_cmd(struct fx_nexus *n, bool reserve);

/* Exactly these keys, in this order; then 0. */
void assert_keys(struct fx_nexus *n, ...);
/* type 0: none. */
void assert_reservation(struct fx_nexus *n, unsigned type, uint64_t key);
uint32_t pr_generation(struct fx_nexus *n);
/* The next command reports this unit attention (2Ah, ascq), the one after it none. */
void assert_ua(struct fx_nexus *n, unsigned ascq);
void assert_no_ua(struct fx_nexus *n);
bool may_read(struct fx_nexus *n);
bool may_write(struct fx_nexus *n);

#endif
