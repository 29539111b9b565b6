/* SPDX-License-Identifier: BSD-2-Clause */
/* Single values for command lines, by the rules of the configuration. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
secret(const char *word, bool from_file, char **ret, struct conf_why *why)
{
	char *value = NULL;
	int rc = 0;

	if (from_file)
		rc = conf_secret_read(word, &value, why);
	else if ((value = strdup(word)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = conf_secret_check(value, why);
	if (rc < 0)
		conf_wipe(value);
	else
		*ret = value;
	return rc;
}

int
conf_word(enum conf_word kind, const char *word, char **ret, char *reason, size_t reason_cap)
{
	struct conf_why why = {"out of memory"};
	char *value;
	int rc = -EINVAL;

	switch (kind) {
	case CONF_WORD_LISTEN:
		rc = conf_text_listen(NULL, word, &value, &why);
		break;
	case CONF_WORD_ISCSI_NAME:
		rc = conf_text_iscsi(NULL, word, &value, &why);
		break;
	case CONF_WORD_SECRET:
		rc = secret(word, false, &value, &why);
		break;
	case CONF_WORD_SECRET_FILE:
		rc = secret(word, true, &value, &why);
		break;
	}
	if (rc < 0)
		snprintf(reason, reason_cap, "%s", why.text);
	else
		*ret = value;
	return rc;
}
