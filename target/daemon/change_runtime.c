/* SPDX-License-Identifier: BSD-2-Clause */
/* What commands with --runtime have changed, for whoever reads the configuration beside the engine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/change_priv.h"

int
change_runtime_files(const struct daemon *d, struct conf_file **ret, unsigned *ret_count)
{
	const struct change_engine *e = d->changes;
	unsigned count = e != NULL ? e->runtime_count : 0;
	struct conf_file *copy = calloc(count + 1u, sizeof *copy);

	if (copy == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const struct conf_file *f = &e->runtime[i];
		copy[i].name = strdup(f->name);
		copy[i].text = f->text != NULL ? strdup(f->text) : NULL;
		copy[i].runtime = f->runtime;
		if (copy[i].name == NULL || (f->text != NULL && copy[i].text == NULL)) {
			conf_files_destroy(copy, i + 1);
			return -ENOMEM;
		}
	}
	*ret = copy;
	*ret_count = count;
	return 0;
}
