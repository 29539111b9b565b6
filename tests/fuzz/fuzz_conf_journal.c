/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The journal of conf.d, as a disk may give it back. With an odd first byte the rest gets a right
 * checksum, so that what is behind it is reached as well.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "conf/conf_priv.h"

static void
check(const struct conf_journal *j)
{
	struct conf_journal again;
	struct conf_why why;
	char *text;
	size_t len;

	for (unsigned i = 0; i < j->count; i++) {
		ASSERT(conf_file_name_ok(j->files[i].name));
		ASSERT(strchr(j->files[i].name, '/') == NULL && j->files[i].name[0] != '.');
		ASSERT(j->files[i].text == NULL || (j->modes[i] & ~0644u) == 0);
	}
	ASSERT(conf_journal_print(j->files, j->modes, j->count, &text, &len) == 0);
	ASSERT(conf_journal_parse(text, len, &again, &why) == 0);
	ASSERT(again.count == j->count);
	for (unsigned i = 0; i < j->count; i++) {
		const struct conf_file *x = &j->files[i], *y = &again.files[i];
		ASSERT(strcmp(x->name, y->name) == 0 && again.modes[i] == j->modes[i]);
		ASSERT((x->text == NULL) == (y->text == NULL));
		ASSERT(x->text == NULL || strcmp(x->text, y->text) == 0);
	}
	conf_journal_fini(&again);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_journal j;
	struct conf_why why = {""};

	if (size == 0)
		return 0;
	bool sealed = data[0] % 2 != 0;
	size_t len = size - 1;
	char *text = malloc(len + 32);
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, len);
	if (sealed)
		len += (size_t)snprintf(text + len, 32, "end %08x\n", crc32c(text, len));
	int rc = conf_journal_parse(text, len, &j, &why);
	ASSERT(rc == 0 || rc == -ENOMEM || (rc == -EINVAL && why.text[0] != '\0'));
	if (rc == 0) {
		check(&j);
		conf_journal_fini(&j);
	}
	free(text);
	return 0;
}
