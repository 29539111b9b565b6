/* SPDX-License-Identifier: BSD-2-Clause */
/* `limits { … }` of the configuration and where its keys go. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/daemon.h"

/* clang-format off */
#define LIMIT(field) {#field, offsetof(struct iscsi_limits, field)}
/* clang-format on */
static const struct {
	const char *key;
	size_t offset;
} limit_fields[] = {
    LIMIT(login_timeout_ms),
    LIMIT(half_open_max),
    LIMIT(half_open_per_addr_max),
    LIMIT(sessions_max),
    LIMIT(sessions_per_initiator_max),
    LIMIT(sessions_per_addr_max),
    LIMIT(login_keys_max),
    LIMIT(login_text_max_bytes),
    LIMIT(chap_value_max_bytes),
    LIMIT(auth_failures_max),
    LIMIT(nop_data_max_bytes),
    LIMIT(ahs_max_bytes),
    LIMIT(immediate_max),
    LIMIT(tmf_max),
    LIMIT(depth_max),
    LIMIT(send_queue_max_bytes),
    LIMIT(send_stall_ms),
    LIMIT(nop_interval_ms),
    LIMIT(nop_timeout_ms),
    LIMIT(logout_grace_ms),
};
#define LIMIT_COUNT (sizeof limit_fields / sizeof limit_fields[0])
_Static_assert(LIMIT_COUNT * sizeof(uint32_t) == sizeof(struct iscsi_limits), "a key each");

void
daemon_limits(const struct conf *conf, struct iscsi_limits *ret)
{
	unsigned found = 0;

	iscsi_limits_default(ret);
	for (size_t i = 0; i < LIMIT_COUNT; i++) {
		uint64_t value;
		if (!conf_get_limit(conf, limit_fields[i].key, &value))
			continue;
		ASSERT(value <= UINT32_MAX); /* conf_build() checked the ranges */
		uint32_t value32 = (uint32_t)value;
		memcpy((char *)ret + limit_fields[i].offset, &value32, sizeof value32);
		found++;
	}
	ASSERT(found == conf->limit_count); /* each key of the configuration is in the table */
}
