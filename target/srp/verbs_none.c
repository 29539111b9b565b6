/* SPDX-License-Identifier: BSD-2-Clause */
/* Built without libibverbs and librdmacm: there is no RDMA, and whoever asks is told. */
#include <errno.h>

#include "srp/backend.h"

int
srp_verbs_create(struct srp_backend **ret)
{
	(void)ret;
	return -ENOTSUP;
}

int
srp_verbs_add_memory(struct srp_backend *b, void *base, size_t len)
{
	(void)b;
	(void)base;
	(void)len;
	return -ENOTSUP;
}

void
srp_verbs_destroy(struct srp_backend *b)
{
	(void)b;
}
