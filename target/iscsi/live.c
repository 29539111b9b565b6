/* Changes while sessions work. */
#include "iscsi/conn.h"

#include <errno.h>

int
iscsi_server_set_config(struct iscsi_server *s, struct iscsi_config *config,
    void (*done)(void *ctx, struct iscsi_config *old), void *ctx)
{
	(void)s;
	(void)config;
	(void)done;
	(void)ctx;
	return -EOPNOTSUPP;
}

uint32_t
iscsi_server_affected(const struct iscsi_server *s, const struct iscsi_config *config,
    struct iscsi_session_info *ret, uint32_t cap)
{
	(void)s;
	(void)config;
	(void)ret;
	(void)cap;
	return 0;
}

int
iscsi_server_set_limits(struct iscsi_server *s, const struct iscsi_limits *limits)
{
	(void)s;
	(void)limits;
	return -EOPNOTSUPP;
}

int
iscsi_server_unlisten(struct iscsi_server *s, const struct sockaddr *addr, uint16_t tag)
{
	(void)s;
	(void)addr;
	(void)tag;
	return -EOPNOTSUPP;
}

int
iscsi_server_drop(struct iscsi_server *s, uint16_t tsih, const char *reason)
{
	(void)s;
	(void)tsih;
	(void)reason;
	return -EOPNOTSUPP;
}
